//! Turns sqlparser's errors into diagnostics: where, in the user's words, and with a guess at what was meant.

use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span as TokenSpan, Token, TokenWithSpan};

use super::StatementParser;
use crate::dialect::{Fault, Flink, describe};
use crate::nearest::nearest;

/// Subqueries tried on their own to find where an error really is.
const SUBQUERIES_MAX: usize = 32;
/// Tokens of a statement up to which that is done: it reads nested queries once more for each level.
const SEARCH_TOKENS_MAX: usize = 20_000;
/// Words that a user may have misspelt where the parser took them for a name.
const CLAUSES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "OUTER",
    "WINDOW",
    "PARTITION",
    "DISTINCT",
    "BETWEEN",
    "VALUES",
    "QUALIFY",
    "MATCH_RECOGNIZE",
    "MEASURES",
    "PATTERN",
    "DEFINE",
    "INTERVAL",
    "LATERAL",
    "UNNEST",
    "FILTER",
    "WATERMARK",
    "METADATA",
    "VIRTUAL",
    "COMMENT",
    "PRIMARY",
    "ENFORCED",
    "PARTITIONED",
    "DESCRIPTOR",
];

/// The fault behind an error of a statement.
pub(super) fn explain(error: &ParserError, parser: StatementParser<'_>) -> Fault {
    if let Some(fault) = parser.flink.take_fault(error) {
        let tokens = parser.parser.into_tokens();
        return with_guess(fault, &tokens);
    }
    if *error == ParserError::RecursionLimitExceeded {
        let message = if parser.flink.exhausted() {
            "the statement is too ambiguous to parse"
        } else {
            "the statement is nested too deeply"
        };
        let hint = Some("name the inner parts with WITH or CREATE VIEW".to_string());
        return Fault {
            span: parser.here(),
            message: message.to_string(),
            hint,
        };
    }
    let here = parser.here();
    let flink = parser.flink;
    let tokens = parser.parser.into_tokens();
    let fault = located(error, here, &tokens, flink);
    let fault = deepest(fault, &tokens, flink);
    with_guess(fault, &tokens)
}

/// The error's own place, which sqlparser writes at the end of its message.
fn located(error: &ParserError, here: TokenSpan, tokens: &[TokenWithSpan], flink: &Flink) -> Fault {
    if let Some(fault) = flink.take_fault(error) {
        return fault;
    }
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply",
    };
    let (message, location) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => (message, parse_location(place)),
        None => (text, None),
    };
    let at_end = message.ends_with("found: EOF");
    let span = match location {
        _ if at_end => flink.place(TokenSpan::empty()),
        None => here,
        Some(start) => tokens
            .iter()
            .find(|token| token.span.start == start)
            .map_or(TokenSpan { start, end: start }, |token| token.span),
    };
    Fault {
        span,
        message: sentence(message),
        hint: None,
    }
}

fn parse_location(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Location {
        line: line.trim().parse().ok()?,
        column: column.trim().parse().ok()?,
    })
}

/// sqlparser's message as a sentence of ours: `Expected: x, found: y` is `expected x, found `y``.
pub(super) fn sentence(message: &str) -> String {
    let message = message.trim().trim_end_matches('.');
    if let Some(rest) = message.strip_prefix("Expected: ")
        && let Some((wanted, found)) = rest.split_once(", found: ")
    {
        let found = if found == "EOF" {
            "the end of the statement".to_string()
        } else {
            format!("`{found}`")
        };
        return format!("expected {wanted}, found {found}");
    }
    let mut chars = message.chars();
    match chars.next() {
        Some(first) if !message.starts_with("SQL") => first.to_lowercase().chain(chars).collect(),
        _ => message.to_string(),
    }
}

/// Where sqlparser tries one reading after another, it reports the last; the user's error is where the reading that came furthest
/// stopped. So each subquery is read on its own, and an error further on wins.
fn deepest(fault: Fault, tokens: &[TokenWithSpan], flink: &Flink) -> Fault {
    if tokens.len() > SEARCH_TOKENS_MAX {
        return fault;
    }
    let starts = tokens
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0].token == Token::LParen && starts_query(&pair[1].token));
    let mut best = fault;
    for (idx, _) in starts.take(SUBQUERIES_MAX) {
        let Some(found) = subquery_fault(&tokens[idx + 1..], tokens, flink) else {
            continue;
        };
        if found.span.start > best.span.start {
            best = found;
        }
    }
    best
}

fn starts_query(token: &Token) -> bool {
    matches!(token, Token::Word(word) if ["SELECT", "WITH"].iter().any(|start| word.value.eq_ignore_ascii_case(start)))
}

fn subquery_fault(tokens: &[TokenWithSpan], all: &[TokenWithSpan], flink: &Flink) -> Option<Fault> {
    let mut depth = 0usize;
    let end = tokens.iter().position(|token| match token.token {
        Token::LParen => {
            depth += 1;
            false
        }
        Token::RParen if depth == 0 => true,
        Token::RParen => {
            depth -= 1;
            false
        }
        _ => false,
    });
    let inner = &tokens[..end.unwrap_or(tokens.len())];
    let behind = match end {
        Some(end) => tokens[end].span,
        None => flink.place(TokenSpan::empty()),
    };
    let own = Flink::new(
        inner.len(),
        TokenSpan {
            start: behind.start,
            end: behind.start,
        },
    );
    let mut parser = Parser::new(&own)
        .with_recursion_limit(200)
        .with_tokens_with_locations(inner.to_vec());
    let error = match parser.parse_query() {
        Ok(_) if parser.peek_token_ref().token == Token::EOF => return None,
        Ok(_) => own.expected("`)`", &parser),
        Err(ParserError::RecursionLimitExceeded) => return None,
        Err(error) => error,
    };
    let here = own.place(parser.peek_token_ref().span);
    Some(located(&error, here, all, &own))
}

/// Adds a hint where the place, or the word before it, is nearly a keyword.
fn with_guess(mut fault: Fault, tokens: &[TokenWithSpan]) -> Fault {
    if fault.hint.is_some() {
        return fault;
    }
    let at = tokens
        .iter()
        .position(|token| token.span.start >= fault.span.start)
        .unwrap_or(tokens.len());
    let before = [at.checked_sub(1), at.checked_sub(2)].into_iter().flatten();
    for idx in before.chain([at]) {
        let Some(TokenWithSpan {
            token: Token::Word(word),
            ..
        }) = tokens.get(idx)
        else {
            continue;
        };
        if word.quote_style.is_some() || word.value.len() < 3 {
            continue;
        }
        let upper = word.value.to_ascii_uppercase();
        if CLAUSES.contains(&upper.as_str()) {
            continue;
        }
        if let Some(found) = nearest(&upper, CLAUSES.iter().copied()) {
            fault.hint = Some(format!("did you mean {found} instead of `{}`?", word.value));
            return fault;
        }
    }
    fault.hint = reserved_word(tokens.get(at));
    fault
}

/// A keyword where a name was expected.
fn reserved_word(token: Option<&TokenWithSpan>) -> Option<String> {
    const NAMES: &[&str] = &[
        "ORDER",
        "GROUP",
        "TABLE",
        "USER",
        "END",
        "LIMIT",
        "OFFSET",
        "INTERVAL",
        "LEFT",
        "RIGHT",
        "WINDOW",
        "PARTITION",
    ];
    let Token::Word(word) = &token?.token else {
        return None;
    };
    let reserved = word.quote_style.is_none()
        && NAMES
            .iter()
            .any(|name| word.value.eq_ignore_ascii_case(name));
    reserved.then(|| {
        format!(
            "if {} is a name here, put it in back quotes",
            describe(&Token::Word(word.clone()))
        )
    })
}
