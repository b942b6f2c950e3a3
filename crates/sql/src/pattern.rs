//! WITHIN of MATCH_RECOGNIZE, for which sqlparser's AST has no place.
//!
//! `PATTERN (...) WITHIN i DEFINE a AS x` is read as `PATTERN (...) DEFINE $WITHIN AS i, a AS x`: the tokens change places, so that
//! each keeps its span. No variable of the user's can be called `$WITHIN` without quotes.

use sqlparser::ast::{Expr, SymbolDefinition};
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

const WITHIN: &str = "$WITHIN";

/// The WITHIN interval of a MATCH_RECOGNIZE, and the definitions that the user wrote.
pub fn match_within(symbols: &[SymbolDefinition]) -> (Option<&Expr>, &[SymbolDefinition]) {
    match symbols {
        [first, rest @ ..]
            if first.symbol.value == WITHIN && first.symbol.quote_style.is_none() =>
        {
            (Some(&first.definition), rest)
        }
        symbols => (None, symbols),
    }
}

/// Moves each WITHIN behind its DEFINE.
pub(crate) fn move_within(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let Some(mut within) = find_within(&tokens, 0) else {
        return tokens;
    };
    let mut moved = Vec::with_capacity(tokens.len() + 4);
    let mut copied = 0;
    loop {
        let define = find_define(&tokens, within + 1);
        if let Some(define) = define {
            let span = tokens[within].span;
            let spanned = |token| TokenWithSpan { token, span };
            moved.extend_from_slice(&tokens[copied..within]);
            moved.push(tokens[define].clone());
            moved.push(spanned(Token::Word(Word {
                value: WITHIN.to_string(),
                quote_style: None,
                keyword: sqlparser::keywords::Keyword::NoKeyword,
            })));
            moved.push(spanned(Token::make_keyword("AS")));
            moved.extend_from_slice(&tokens[within + 1..define]);
            moved.push(spanned(Token::Comma));
            copied = define + 1;
        }
        match find_within(&tokens, define.unwrap_or(within) + 1) {
            Some(next) => within = next,
            None => break,
        }
    }
    moved.extend_from_slice(&tokens[copied..]);
    moved
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// The next WITHIN right behind a `PATTERN (...)`.
fn find_within(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let mut idx = from;
    while idx + 1 < tokens.len() {
        if is_word(&tokens[idx].token, "PATTERN") && tokens[idx + 1].token == Token::LParen {
            let close = closing(tokens, idx + 1)?;
            if tokens
                .get(close + 1)
                .is_some_and(|token| is_word(&token.token, "WITHIN"))
            {
                return Some(close + 1);
            }
            idx = close;
        }
        idx += 1;
    }
    None
}

/// The parenthesis that closes the one at `open`.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (idx, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(idx);
        }
    }
    None
}

/// The next DEFINE outside of parentheses, before the parenthesis of MATCH_RECOGNIZE closes.
fn find_define(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (idx, token) in tokens.iter().enumerate().skip(from) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            token if depth == 0 && is_word(token, "DEFINE") => return Some(idx),
            _ => {}
        }
    }
    None
}
