//! Text to statements: tokens, cut at semicolons, each statement by a recursive descent over sqlparser's parser.
//!
//! ```text
//! text -> tokens -> hints taken out -> statements -> limits checked -> StatementParser -> queries rewritten
//! ```
//! Each statement has a parser of its own, so that an error in one cannot run into the next.

mod create;
mod failure;
mod insert;
mod other;
mod table;

use sqlparser::ast::{Expr, Query};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan, Tokenizer};

use crate::cursor::{self, Result, at_words, eat};
use crate::diagnostic::{Diagnostic, SyntaxError};
use crate::dialect::{Fault, Flink, describe};
use crate::hint::{self, TableHints};
use crate::limits::{self, Limits};
use crate::name::Name;
use crate::pattern;
use crate::rewrite;
use crate::span::{Lines, Span, Spanned};
use crate::statement::{Insert, Parsed, Property, Statement};

/// The statements of a text, and what the user should know about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Statements in their order.
    pub statements: Vec<Spanned<Statement>>,
    /// Things that were ignored, such as query hints.
    pub notes: Vec<Diagnostic>,
}

/// Parses a text of statements that end with semicolons (the last may go without).
///
/// # Errors
/// The first thing that is not the dialect, or exceeds [`Limits::default`].
pub fn parse(text: &str) -> std::result::Result<Vec<Spanned<Statement>>, SyntaxError> {
    parse_script(text, &Limits::default()).map(|script| script.statements)
}

/// As [`parse`], with limits of one's own, and with notes.
///
/// # Errors
/// The first thing that is not the dialect, or exceeds the limits.
pub fn parse_script(text: &str, limits: &Limits) -> std::result::Result<Script, SyntaxError> {
    if text.len() > limits.text_bytes_max {
        let message = format!(
            "the text has {} bytes, more than the limit of {}",
            text.len(),
            limits.text_bytes_max
        );
        return Err(Diagnostic::new(message, Span::default())
            .with_hint("split it into several files")
            .into());
    }
    reserve_stack();
    let lines = Lines::new(text);
    let diagnose = |fault: Fault| SyntaxError::from(diagnostic(fault, &lines));
    let mut hints = TableHints::new();
    let mut notes = Vec::new();
    let tokens = tokens(text).map_err(diagnose)?;
    let tokens = hint::take(tokens, &mut hints, &mut notes).map_err(diagnose)?;
    if let Some(token) = tokens.get(limits.tokens_max) {
        let message = format!("the text has more than {} tokens", limits.tokens_max);
        let hint = Some("split it into several files".to_string());
        return Err(diagnose(Fault {
            span: token.span,
            message,
            hint,
        }));
    }
    let mut source = Source {
        lines: &lines,
        limits,
        hints,
    };
    let statements = source.statements(tokens)?;
    if let Some((_, hint)) = source.hints.pop_first() {
        let message = "the OPTIONS hint is not behind a table's name".to_string();
        return Err(diagnose(Fault {
            span: hint.span,
            message,
            hint: None,
        }));
    }
    let notes = notes
        .into_iter()
        .map(|fault| diagnostic(fault, &lines))
        .collect();
    Ok(Script { statements, notes })
}

/// Parses one type, such as `ROW<a INT, b STRING> NOT NULL`.
///
/// # Errors
/// The text is not a type.
pub fn parse_type(text: &str) -> std::result::Result<crate::types::FieldType, SyntaxError> {
    parse_whole(text, |parser| {
        crate::type_parser::field_type(parser.flink, &mut parser.parser)
    })
}

/// Parses one expression.
///
/// # Errors
/// The text is not an expression.
pub fn parse_expression(text: &str) -> std::result::Result<Parsed<Expr>, SyntaxError> {
    parse_whole(text, |parser| parser.expression())
}

/// Parses one query.
///
/// # Errors
/// The text is not a query.
pub fn parse_query(text: &str) -> std::result::Result<Parsed<Box<Query>>, SyntaxError> {
    parse_whole(text, |parser| parser.query())
}

/// Checks a text of another dialect, before that dialect's parser recurses on it.
///
/// # Errors
/// What is too long or too deep, and where.
pub fn check_limits(
    text: &str,
    tokens: &[TokenWithSpan],
    limits: &Limits,
) -> std::result::Result<(), SyntaxError> {
    let lines = Lines::new(text);
    let refuse = |span, message, hint: &str| {
        let hint = Some(hint.to_string());
        let fault = Fault {
            span,
            message,
            hint,
        };
        Err(SyntaxError::from(diagnostic(fault, &lines)))
    };
    if text.len() > limits.text_bytes_max {
        let message = format!(
            "the text has {} bytes, more than the limit of {}",
            text.len(),
            limits.text_bytes_max
        );
        return refuse(TokenSpan::empty(), message, "send it in parts");
    }
    if let Some(token) = tokens.get(limits.tokens_max) {
        let message = format!("the text has more than {} tokens", limits.tokens_max);
        return refuse(token.span, message, "send it in parts");
    }
    limits::check(tokens, limits).or_else(|excess| refuse(excess.span, excess.message, excess.hint))
}

fn parse_whole<T>(
    text: &str,
    read: impl FnOnce(&mut StatementParser<'_>) -> Result<T>,
) -> std::result::Result<T, SyntaxError> {
    reserve_stack();
    let limits = Limits::default();
    let lines = Lines::new(text);
    let diagnose = |fault: Fault| SyntaxError::from(diagnostic(fault, &lines));
    let mut hints = TableHints::new();
    let tokens = tokens(text).map_err(diagnose)?;
    let tokens = hint::take(tokens, &mut hints, &mut Vec::new()).map_err(diagnose)?;
    let mut source = Source {
        lines: &lines,
        limits: &limits,
        hints,
    };
    source.whole(tokens, read).map(|found| found.node)
}

/// sqlparser asks for more stack when less than this is left, but not in each of its functions; in builds without optimization the
/// 128 KiB that it keeps by default do not reach from one such place to the next.
fn reserve_stack() {
    const LEFT_BYTES_MIN: usize = 512 << 10;
    const GROWTH_BYTES: usize = 8 << 20;
    if recursive::get_minimum_stack_size() < LEFT_BYTES_MIN {
        recursive::set_stack_allocation_size(GROWTH_BYTES);
        recursive::set_minimum_stack_size(LEFT_BYTES_MIN);
    }
}

fn tokens(text: &str) -> std::result::Result<Vec<TokenWithSpan>, Fault> {
    // The tokenizer asks the dialect for characters only, so that any statement's will do.
    let flink = Flink::new(0, TokenSpan::empty());
    Tokenizer::new(&flink, text)
        .tokenize_with_location()
        .map_err(|error| {
            let span = TokenSpan {
                start: error.location,
                end: error.location,
            };
            Fault {
                span,
                message: failure::sentence(&error.message),
                hint: None,
            }
        })
}

pub(crate) fn diagnostic(fault: Fault, lines: &Lines<'_>) -> Diagnostic {
    Diagnostic {
        message: fault.message,
        span: lines.span(fault.span),
        hint: fault.hint,
    }
}

/// What the statements of one text share.
struct Source<'a> {
    lines: &'a Lines<'a>,
    limits: &'a Limits,
    hints: TableHints,
}

impl Source<'_> {
    fn statements(
        &mut self,
        tokens: Vec<TokenWithSpan>,
    ) -> std::result::Result<Vec<Spanned<Statement>>, SyntaxError> {
        let mut statements = Vec::new();
        let mut open: Option<OpenSet> = None;
        for piece in pieces(tokens) {
            let found = self.whole(piece, |parser| parser.piece(&mut open))?;
            if let Some((statement, start)) = found.node {
                let start =
                    start.map_or(found.span.start, |start| self.lines.position(start.start));
                statements.push(Spanned::new(
                    statement,
                    Span {
                        start,
                        end: found.span.end,
                    },
                ));
            }
        }
        if let Some(set) = open {
            let fault = Fault {
                span: set.start,
                message: "the statement set has no end".to_string(),
                hint: Some("end it with END;".to_string()),
            };
            return Err(diagnostic(fault, self.lines).into());
        }
        Ok(statements)
    }

    /// Reads all of these tokens, which are one statement.
    fn whole<T>(
        &mut self,
        tokens: Vec<TokenWithSpan>,
        read: impl FnOnce(&mut StatementParser<'_>) -> Result<T>,
    ) -> std::result::Result<Spanned<T>, SyntaxError> {
        let first = tokens
            .first()
            .map_or(TokenSpan::empty(), |token| token.span);
        let last = tokens.last().map_or(TokenSpan::empty(), |token| token.span);
        limits::check(&tokens, self.limits).map_err(|excess| {
            let fault = Fault {
                span: excess.span,
                message: excess.message,
                hint: Some(excess.hint.to_string()),
            };
            SyntaxError::from(diagnostic(fault, self.lines))
        })?;
        let tokens = pattern::move_within(tokens);
        let flink = Flink::new(tokens.len(), last);
        let parser = Parser::new(&flink)
            .with_recursion_limit(recursion_limit(self.limits))
            .with_tokens_with_locations(tokens);
        let mut parser = StatementParser {
            parser,
            flink: &flink,
            lines: self.lines,
            hints: &mut self.hints,
        };
        let result = read(&mut parser).and_then(|found| parser.end().map(|()| found));
        match result {
            Ok(node) => Ok(Spanned::new(
                node,
                self.lines.span(TokenSpan {
                    start: first.start,
                    end: last.end,
                }),
            )),
            Err(error) => Err(diagnostic(failure::explain(&error, parser), self.lines).into()),
        }
    }
}

/// sqlparser counts a level for the expression and one for the query of each pair of parentheses.
fn recursion_limit(limits: &Limits) -> usize {
    16 + 4 * limits.depth_max
}

/// The tokens between semicolons, without empty pieces.
fn pieces(tokens: Vec<TokenWithSpan>) -> Vec<Vec<TokenWithSpan>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    for token in tokens {
        match token.token {
            Token::SemiColon => pieces.push(std::mem::take(&mut piece)),
            Token::EOF => {}
            _ => piece.push(token),
        }
    }
    pieces.push(piece);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// A statement set whose END has not come yet.
struct OpenSet {
    start: TokenSpan,
    inserts: Vec<Spanned<Insert>>,
    explain: Option<Vec<crate::statement::ExplainDetail>>,
}

/// Reads one statement.
struct StatementParser<'a> {
    parser: Parser<'a>,
    flink: &'a Flink,
    lines: &'a Lines<'a>,
    hints: &'a mut TableHints,
}

impl StatementParser<'_> {
    fn eat(&mut self, words: &[&str]) -> bool {
        eat(&mut self.parser, words)
    }

    fn at(&self, words: &[&str]) -> bool {
        at_words(&self.parser, words)
    }

    fn expect(&mut self, words: &[&str]) -> Result<()> {
        cursor::expect(self.flink, &mut self.parser, words)
    }

    fn one_of<'w>(&mut self, words: &[&'w str]) -> Result<&'w str> {
        cursor::one_of(self.flink, &mut self.parser, words)
    }

    fn at_token(&self, token: &Token) -> bool {
        self.parser.peek_token_ref().token == *token
    }

    /// Where the next token is.
    fn here(&self) -> TokenSpan {
        self.flink.place(self.parser.peek_token_ref().span)
    }

    /// From a token to the last one read.
    fn since(&self, start: TokenSpan) -> Span {
        self.lines.span(TokenSpan {
            start: start.start,
            end: self.parser.get_current_token().span.end,
        })
    }

    fn end(&mut self) -> Result<()> {
        if self.parser.peek_token_ref().token == Token::EOF {
            return Ok(());
        }
        Err(self
            .flink
            .expected("the end of the statement", &self.parser))
    }

    fn ident(&mut self, what: &str) -> Result<Spanned<String>> {
        let ident = cursor::ident(self.flink, &mut self.parser, what)?;
        Ok(Spanned::new(ident.value, self.lines.span(ident.span)))
    }

    fn name(&mut self, what: &str) -> Result<Name> {
        let first = self.ident(what)?;
        let mut span = first.span;
        let mut parts = vec![first.node];
        while self.parser.consume_token(&Token::Period) {
            let part = self.ident(what)?;
            span = span.to(part.span);
            parts.push(part.node);
        }
        Ok(Name { parts, span })
    }

    fn text(&mut self, what: &str) -> Result<Spanned<String>> {
        let (text, span) = cursor::text(self.flink, &mut self.parser, what)?;
        Ok(Spanned::new(text, self.lines.span(span)))
    }

    fn comment(&mut self) -> Result<Option<String>> {
        if !self.eat(&["COMMENT"]) {
            return Ok(None);
        }
        self.text("the comment's text").map(|text| Some(text.node))
    }

    fn if_not_exists(&mut self) -> bool {
        self.eat(&["IF", "NOT", "EXISTS"])
    }

    /// `('key' = 'value', ...)`, which may be empty.
    fn properties(&mut self) -> Result<Vec<Property>> {
        let mut properties: Vec<Property> = Vec::new();
        cursor::expect_token(self.flink, &mut self.parser, &Token::LParen)?;
        if self.parser.consume_token(&Token::RParen) {
            return Ok(properties);
        }
        loop {
            let start = self.here();
            let key = self.option_text("an option's key in single quotes")?;
            cursor::expect_token(self.flink, &mut self.parser, &Token::Eq)?;
            let value = self.option_text("the option's value in single quotes")?;
            if properties
                .iter()
                .any(|property| property.key.node == key.node)
            {
                return Err(self.flink.fault(
                    start,
                    format!("the option '{}' is given twice", key.node),
                    None,
                ));
            }
            properties.push(Property { key, value });
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if !self.parser.consume_token(&Token::RParen) {
            return Err(self.flink.expected("`,` or `)`", &self.parser));
        }
        Ok(properties)
    }

    fn option_text(&mut self, what: &str) -> Result<Spanned<String>> {
        if matches!(
            self.parser.peek_token_ref().token,
            Token::Word(_) | Token::Number(..)
        ) {
            let message = format!(
                "expected {what}, found {}",
                describe(&self.parser.peek_token_ref().token)
            );
            return Err(self.flink.fault(
                self.here(),
                message,
                Some("write 'key' = 'value'".into()),
            ));
        }
        self.text(what)
    }

    fn with(&mut self) -> Result<Vec<Property>> {
        if self.eat(&["WITH"]) {
            self.properties()
        } else {
            Ok(Vec::new())
        }
    }

    fn names(&mut self, what: &str) -> Result<Vec<Spanned<String>>> {
        let (flink, lines) = (self.flink, self.lines);
        cursor::list(flink, &mut self.parser, |parser| {
            let ident = cursor::ident(flink, parser, what)?;
            Ok(Spanned::new(ident.value, lines.span(ident.span)))
        })
    }

    fn query(&mut self) -> Result<Parsed<Box<Query>>> {
        let start = self.here();
        let mut query = self.parser.parse_query()?;
        self.rewrite(&mut query)?;
        Ok(self.parsed(query, start))
    }

    fn expression(&mut self) -> Result<Parsed<Expr>> {
        let start = self.here();
        let mut expr = self.parser.parse_expr()?;
        self.rewrite(&mut expr)?;
        Ok(self.parsed(expr, start))
    }

    fn rewrite(&mut self, node: &mut impl sqlparser::ast::VisitMut) -> Result<()> {
        rewrite::rewrite(node, self.hints)
            .map_err(|fault| self.flink.fault(fault.span, fault.message, fault.hint))
    }

    fn parsed<T>(&self, ast: T, start: TokenSpan) -> Parsed<T> {
        let span = self.since(start);
        let text = self
            .lines
            .text()
            .get(span.range())
            .unwrap_or_default()
            .to_string();
        Parsed { ast, text, span }
    }
}
