//! Turns sqlparser's errors into diagnostics: where, in the user's words, and with a guess at what was meant.

use sqlparser::keywords::Keyword;
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
        None => found_before(message, here, tokens).unwrap_or(here),
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

/// The token that a message without a place says it found: the last such one up to where the parser stopped.
fn found_before(message: &str, here: TokenSpan, tokens: &[TokenWithSpan]) -> Option<TokenSpan> {
    let (_, found) = message.rsplit_once("found: ")?;
    let read = tokens
        .iter()
        .rev()
        .filter(|token| token.span.start <= here.start);
    read.take(3)
        .find(|token| token.token.to_string() == found)
        .map(|token| token.span)
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
    if let Some((wanted, found)) = message.split_once(", found: ") {
        let wanted = wanted
            .trim_start_matches("Expected")
            .trim_start_matches(':')
            .trim();
        let symbol = !wanted.is_empty() && wanted.chars().all(|c| c.is_ascii_punctuation());
        let wanted = if symbol {
            format!("`{wanted}`")
        } else {
            wanted.to_string()
        };
        let found = match found {
            "EOF" => "the end of the statement".to_string(),
            found => format!("`{found}`"),
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
        .position(|token| token.span.start >= fault.span.start);
    let at = at.unwrap_or(tokens.len());
    let before = [at.checked_sub(1), at.checked_sub(2)].into_iter().flatten();
    let misspelt = before
        .chain([at])
        .filter_map(|idx| unknown_word(tokens.get(idx)?))
        .find_map(|word| {
            let meant = nearest(&word.to_ascii_uppercase(), CLAUSES.iter().copied())?;
            Some(format!("did you mean {meant} instead of `{word}`?"))
        });
    fault.hint = misspelt.or_else(|| misused_word(tokens, at));
    fault
}

/// A word that is no keyword, and long enough to be one that is misspelt.
fn unknown_word(token: &TokenWithSpan) -> Option<&str> {
    let Token::Word(word) = &token.token else {
        return None;
    };
    let unknown = word.quote_style.is_none()
        && word.keyword == Keyword::NoKeyword
        && word.value.len() >= 3
        && !CLAUSES
            .iter()
            .any(|clause| word.value.eq_ignore_ascii_case(clause));
    unknown.then_some(&word.value)
}

/// A comma before the end of a list, a GROUP without BY, or a keyword that serves as a name.
fn misused_word(tokens: &[TokenWithSpan], at: usize) -> Option<String> {
    const BY: &[&str] = &["GROUP", "ORDER", "PARTITION"];
    const NAMES: &[&str] = &[
        "TABLE", "USER", "END", "LIMIT", "OFFSET", "LEFT", "RIGHT", "WINDOW", "VALUES",
    ];
    let after_comma = at
        .checked_sub(1)
        .is_some_and(|idx| tokens[idx].token == Token::Comma);
    let Some(TokenWithSpan {
        token: Token::Word(word),
        ..
    }) = tokens.get(at)
    else {
        return None;
    };
    let is = |names: &[&str]| {
        word.quote_style.is_none()
            && names
                .iter()
                .any(|name| word.value.eq_ignore_ascii_case(name))
    };
    if after_comma && is(&["FROM", "WHERE", "GROUP", "ORDER"]) {
        return Some("leave out the comma".to_string());
    }
    if is(BY) {
        return Some(format!("write {} BY", word.value.to_ascii_uppercase()));
    }
    is(NAMES).then(|| {
        format!(
            "if {} is a name here, put it in back quotes",
            describe(&tokens[at].token)
        )
    })
}
