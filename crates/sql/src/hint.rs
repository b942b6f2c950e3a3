//! Hints: `/*+ OPTIONS('k' = 'v') */` behind a table's name, and `/*+ ... */` behind SELECT.
//!
//! To sqlparser they are comments. They are taken out of the tokens before it reads them, remembered by the place where the
//! token before them ends, and put back when the rewriter meets the table whose name ends there.

use std::collections::BTreeMap;

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{
    Location, Span as TokenSpan, Token, TokenWithSpan, Tokenizer, Whitespace,
};

use crate::dialect::Fault;
use crate::nearest::did_you_mean;

/// A hint of options, by the place where its table's name ends.
pub(crate) type TableHints = BTreeMap<Location, TableHint>;

/// The options of one OPTIONS hint.
#[derive(Debug)]
pub(crate) struct TableHint {
    pub(crate) span: TokenSpan,
    pub(crate) options: Vec<(String, String)>,
}

/// Query hints of Flink, which ask for a strategy and never change a result.
const QUERY_HINTS: &[&str] = &[
    "STATE_TTL",
    "BROADCAST",
    "SHUFFLE_HASH",
    "SHUFFLE_MERGE",
    "NEST_LOOP",
    "LOOKUP",
    "MULTI_JOIN",
];

/// Blanks and comments taken out of the tokens; hints go to `hints`, or to `notes` where they are ignored.
pub(crate) fn take(
    tokens: Vec<TokenWithSpan>,
    hints: &mut TableHints,
    notes: &mut Vec<Fault>,
) -> Result<Vec<TokenWithSpan>, Fault> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() / 2);
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+') => {
                hint(&text[1..], token.span, kept.last(), hints, notes)?;
            }
            Token::Whitespace(_) => {}
            _ => kept.push(token),
        }
    }
    Ok(kept)
}

fn hint(
    text: &str,
    span: TokenSpan,
    previous: Option<&TokenWithSpan>,
    hints: &mut TableHints,
    notes: &mut Vec<Fault>,
) -> Result<(), Fault> {
    let bad = |message: String, hint: Option<String>| Fault {
        span,
        message,
        hint,
    };
    let malformed = || {
        bad(
            "a hint must have the form /*+ NAME(arguments) */".to_string(),
            None,
        )
    };
    let tokens = Tokenizer::new(&GenericDialect, text)
        .tokenize()
        .map_err(|_| malformed())?;
    let mut tokens = tokens
        .into_iter()
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .peekable();
    while let Some(token) = tokens.next() {
        let Token::Word(name) = token else {
            return Err(malformed());
        };
        let upper = name.value.to_ascii_uppercase();
        let mut arguments = Vec::new();
        if tokens.next_if_eq(&Token::LParen).is_some() {
            arguments.extend(tokens.by_ref().take_while(|token| *token != Token::RParen));
        }
        if upper == "OPTIONS" {
            let place = previous.ok_or_else(malformed)?.span.end;
            let options = options(&arguments).ok_or_else(|| {
                bad(
                    "the OPTIONS hint needs quoted keys and values".into(),
                    Some("write OPTIONS('key' = 'value')".into()),
                )
            })?;
            hints.insert(place, TableHint { span, options });
        } else if QUERY_HINTS.contains(&upper.as_str()) {
            notes.push(bad(
                format!("the hint {upper} is ignored"),
                Some("this engine picks its own strategy".into()),
            ));
        } else {
            let known = QUERY_HINTS.iter().copied().chain(["OPTIONS"]);
            return Err(bad(
                format!("unknown hint {}", name.value),
                did_you_mean(&upper, known),
            ));
        }
        tokens.next_if_eq(&Token::Comma);
    }
    Ok(())
}

fn options(arguments: &[Token]) -> Option<Vec<(String, String)>> {
    arguments
        .split(|token| *token == Token::Comma)
        .map(|pair| match pair {
            [
                Token::SingleQuotedString(key),
                Token::Eq,
                Token::SingleQuotedString(value),
            ] => Some((key.clone(), value.clone())),
            _ => None,
        })
        .collect()
}
