//! sqlparser's dialect for Flink: which of its switches are on, the hooks into its expression parser, and what those hooks leave
//! behind besides the AST.
//!
//! A hook can only give sqlparser a message. So that an error keeps its place and hint, the hook stores them here (a *fault*) and
//! hands sqlparser the fault's number; sqlparser may swallow it when it tries something else, and that is why the number travels
//! and not the last fault is taken.

use std::any::TypeId;
use std::cell::{Cell, RefCell};

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span as TokenSpan, Token};

/// Marks a message that is a fault's number; no text of sqlparser's starts with it.
const FAULT_MARK: char = '\u{1}';
/// How often an expression may be tried per token: sqlparser goes back where it guessed wrong, and nested wrong guesses multiply.
const TRIES_PER_TOKEN: u64 = 32;

/// An error's place and hint, waiting for its number to come back.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) span: TokenSpan,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// The dialect, for one statement.
#[derive(Debug)]
pub(crate) struct Flink {
    faults: RefCell<Vec<Fault>>,
    tries_left: Cell<u64>,
    /// Where the statement's last token ends: the place of errors about its end.
    end: TokenSpan,
}

impl Flink {
    pub(crate) fn new(tokens: usize, last: TokenSpan) -> Self {
        Self {
            faults: RefCell::default(),
            tries_left: Cell::new(1_000 + TRIES_PER_TOKEN * tokens as u64),
            end: TokenSpan {
                start: last.end,
                end: last.end,
            },
        }
    }

    /// An error at a place.
    pub(crate) fn fault(
        &self,
        span: TokenSpan,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> ParserError {
        let mut faults = self.faults.borrow_mut();
        faults.push(Fault {
            span: self.place(span),
            message: message.into(),
            hint,
        });
        ParserError::ParserError(format!("{FAULT_MARK}{}", faults.len() - 1))
    }

    /// `expected ..., found ...` at the next token.
    pub(crate) fn expected(&self, what: &str, parser: &Parser<'_>) -> ParserError {
        let found = parser.peek_token_ref();
        self.fault(
            found.span,
            format!("expected {what}, found {}", describe(&found.token)),
            None,
        )
    }

    /// The fault behind an error of sqlparser's, if a hook made it.
    pub(crate) fn take_fault(&self, error: &ParserError) -> Option<Fault> {
        let ParserError::ParserError(message) = error else {
            return None;
        };
        let number: usize = message.strip_prefix(FAULT_MARK)?.parse().ok()?;
        self.faults.borrow().get(number).cloned()
    }

    /// The tries are used up: the statement sends sqlparser back and forth too often.
    pub(crate) fn exhausted(&self) -> bool {
        self.tries_left.get() == 0
    }

    /// The span itself, or the statement's end for a token that has none (the end of input).
    pub(crate) fn place(&self, span: TokenSpan) -> TokenSpan {
        if span.start.line == 0 { self.end } else { span }
    }
}

/// A token as an error names it.
pub(crate) fn describe(token: &Token) -> String {
    match token {
        Token::EOF => "the end of the statement".to_string(),
        Token::SingleQuotedString(text) => format!("'{}'", shortened(text)),
        token => format!("`{}`", shortened(&token.to_string())),
    }
}

fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    let mut short: String = text.chars().take(SHOWN_CHARS).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

impl Dialect for Flink {
    /// sqlparser reads UNNEST and a few more only for dialects that it knows.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`' || ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_boolean_literals(&self) -> bool {
        true
    }

    /// Where one of these starts a wrong expression, it is not tried as a name: the error would be about something else.
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        matches!(
            keyword,
            Keyword::CASE
                | Keyword::CAST
                | Keyword::EXISTS
                | Keyword::EXTRACT
                | Keyword::INTERVAL
                | Keyword::NOT
                | Keyword::OVERLAY
                | Keyword::STRUCT
                | Keyword::SUBSTRING
                | Keyword::TRIM
                | Keyword::TRY_CAST
        )
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('`')
    }

    /// A colon separates key and value in JSON_OBJECT; it does not reach into JSON as in other systems.
    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        (parser.peek_token_ref().token == Token::Colon).then_some(Ok(0))
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let left = self.tries_left.get();
        if left == 0 {
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        self.tries_left.set(left - 1);
        crate::expr::prefix(self, parser)
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        crate::expr::infix(self, parser, expr)
    }
}
