//! Reading words and names off sqlparser's parser, and giving back what was read as text.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Value,
};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span as TokenSpan, Token};

use crate::dialect::{Flink, describe};
use crate::nearest::did_you_mean;

pub(crate) type Result<T> = std::result::Result<T, ParserError>;

/// The `n`th next token's text, if it is a word without quotes.
pub(crate) fn word_at<'p>(parser: &'p Parser<'_>, n: usize) -> Option<&'p str> {
    match &parser.peek_nth_token_ref(n).token {
        Token::Word(word) if word.quote_style.is_none() => Some(&word.value),
        _ => None,
    }
}

/// Whether the next tokens are these words.
pub(crate) fn at_words(parser: &Parser<'_>, words: &[&str]) -> bool {
    words
        .iter()
        .enumerate()
        .all(|(n, word)| word_at(parser, n).is_some_and(|found| found.eq_ignore_ascii_case(word)))
}

/// Reads these words, or nothing.
pub(crate) fn eat(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    let found = at_words(parser, words);
    if found {
        for _ in words {
            parser.advance_token();
        }
    }
    found
}

/// Reads one of these words; a near miss becomes the error's hint.
pub(crate) fn one_of<'w>(
    flink: &Flink,
    parser: &mut Parser<'_>,
    words: &[&'w str],
) -> Result<&'w str> {
    if let Some(found) = words.iter().find(|word| eat(parser, &[word])) {
        return Ok(found);
    }
    let hint = word_at(parser, 0).and_then(|word| did_you_mean(word, words.iter().copied()));
    let found = parser.peek_token_ref();
    let list = match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        words => words.join(""),
    };
    Err(flink.fault(
        found.span,
        format!("expected {list}, found {}", describe(&found.token)),
        hint,
    ))
}

/// Reads these words.
pub(crate) fn expect(flink: &Flink, parser: &mut Parser<'_>, words: &[&str]) -> Result<()> {
    words
        .iter()
        .try_for_each(|word| one_of(flink, parser, &[word]).map(|_| ()))
}

/// Reads this token.
pub(crate) fn expect_token(
    flink: &Flink,
    parser: &mut Parser<'_>,
    token: &Token,
) -> Result<TokenSpan> {
    if parser.consume_token(token) {
        return Ok(parser.get_current_token().span);
    }
    Err(flink.expected(&format!("`{token}`"), parser))
}

/// Reads a name: a word, quoted or not.
pub(crate) fn ident(flink: &Flink, parser: &mut Parser<'_>, what: &str) -> Result<Ident> {
    let next = parser.peek_token_ref();
    let found = match &next.token {
        Token::Word(word) if !word.value.is_empty() => word.to_ident(next.span),
        _ => return Err(flink.expected(what, parser)),
    };
    parser.advance_token();
    Ok(found)
}

/// Reads a string in single quotes.
pub(crate) fn text(
    flink: &Flink,
    parser: &mut Parser<'_>,
    what: &str,
) -> Result<(String, TokenSpan)> {
    let next = parser.peek_token_ref();
    let found = match &next.token {
        Token::SingleQuotedString(text) | Token::UnicodeStringLiteral(text) => {
            (text.clone(), next.span)
        }
        _ => return Err(flink.expected(what, parser)),
    };
    parser.advance_token();
    Ok(found)
}

/// Reads an unsigned whole number of at most `max`.
pub(crate) fn number(
    flink: &Flink,
    parser: &mut Parser<'_>,
    what: &str,
    min: u32,
    max: u32,
) -> Result<u32> {
    let next = parser.peek_token_ref();
    let found = match &next.token {
        Token::Number(digits, false) => digits.parse().ok().filter(|n| (min..=max).contains(n)),
        _ => return Err(flink.expected(what, parser)),
    };
    match found {
        Some(found) => {
            parser.advance_token();
            Ok(found)
        }
        None => Err(flink.fault(
            next.span,
            format!("{what} must be between {min} and {max}"),
            None,
        )),
    }
}

/// Reads `( item, item, ... )` with at least one item.
pub(crate) fn list<T>(
    flink: &Flink,
    parser: &mut Parser<'_>,
    mut item: impl FnMut(&mut Parser<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    expect_token(flink, parser, &Token::LParen)?;
    let mut items = vec![item(parser)?];
    while parser.consume_token(&Token::Comma) {
        items.push(item(parser)?);
    }
    if !parser.consume_token(&Token::RParen) {
        return Err(flink.expected("`,` or `)`", parser));
    }
    Ok(items)
}

/// A call `name(args)` without any clauses.
pub(crate) fn call(name: &str, span: TokenSpan, args: Vec<Expr>) -> Function {
    let mut ident = Ident::new(name);
    ident.span = span;
    let args = args
        .into_iter()
        .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)))
        .collect();
    Function {
        name: ObjectName::from(vec![ident]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// A string literal.
pub(crate) fn string(text: impl Into<String>, span: TokenSpan) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.into()).with_span(span))
}

/// The literal NULL.
pub(crate) fn null(span: TokenSpan) -> Expr {
    Expr::Value(Value::Null.with_span(span))
}
