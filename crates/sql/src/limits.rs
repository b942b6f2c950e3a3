//! What a text may not exceed, checked on its tokens before any parser recurses on them.
//!
//! Nesting costs stack while parsing. A flat chain (`1 + 1 + ...`, `... UNION ALL ...`) costs none while parsing, but its tree is as
//! deep as the chain is long, and everything that walks the tree afterwards recurses: so chains are cut here too.

use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};

/// The caps. The defaults leave room for any statement that a person or a generator writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a text.
    pub text_bytes_max: usize,
    /// Tokens of a text, without blanks and comments.
    pub tokens_max: usize,
    /// Parentheses, brackets, braces, CASE and subqueries inside each other.
    pub depth_max: usize,
    /// Operators in one expression, not counting those inside parentheses: `a = 1 OR a = 2` has three.
    pub chain_max: usize,
    /// UNION, INTERSECT and EXCEPT in one query, and JOIN in one SELECT.
    pub set_operations_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes_max: 8 << 20,
            tokens_max: 500_000,
            depth_max: 150,
            chain_max: 1_000,
            set_operations_max: 500,
        }
    }
}

/// What is too much, and where it became so.
pub(crate) struct Excess {
    pub(crate) span: TokenSpan,
    pub(crate) message: String,
    pub(crate) hint: &'static str,
}

/// Operators and set operations so far, at one level of parentheses.
#[derive(Default)]
struct Level {
    operators: usize,
    sets: usize,
    joins: usize,
    cases: usize,
}

/// Checks nesting and chains of one statement's tokens.
pub(crate) fn check(tokens: &[TokenWithSpan], limits: &Limits) -> Result<(), Excess> {
    let mut levels = vec![Level::default()];
    let mut cases = 0usize;
    let mut previous = "";
    for TokenWithSpan { token, span } in tokens {
        let nested = levels.len() > 1;
        let Some(level) = levels.last_mut() else {
            break;
        };
        let word = match token {
            Token::Word(word) if word.quote_style.is_none() => word.value.as_str(),
            _ => "",
        };
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => levels.push(Level::default()),
            Token::RParen | Token::RBracket | Token::RBrace if nested => {
                cases = cases.saturating_sub(level.cases);
                levels.pop();
            }
            Token::Comma => level.operators = 0,
            Token::Word(_) => count_word(word, previous, level, &mut cases),
            token if is_operator(token) => level.operators += 1,
            _ => {}
        }
        previous = word;
        if let Some(level) = levels.last()
            && let Some((message, hint)) = excess(levels.len() - 1 + cases, level, limits)
        {
            return Err(Excess {
                span: *span,
                message,
                hint,
            });
        }
    }
    Ok(())
}

fn excess(depth: usize, level: &Level, limits: &Limits) -> Option<(String, &'static str)> {
    if depth > limits.depth_max {
        let message = format!(
            "parentheses and CASE are nested more than {} levels deep",
            limits.depth_max
        );
        return Some((message, "name the inner parts with WITH or CREATE VIEW"));
    }
    if level.operators > limits.chain_max {
        let message = format!(
            "an expression has more than {} operators in a row",
            limits.chain_max
        );
        return Some((
            message,
            "use IN (...) for a list of values, or put groups of terms into parentheses",
        ));
    }
    if level.sets > limits.set_operations_max {
        let message = format!(
            "a query has more than {} set operations in a row",
            limits.set_operations_max
        );
        return Some((
            message,
            "group them with parentheses or views, or use VALUES for rows of constants",
        ));
    }
    if level.joins > limits.set_operations_max {
        return Some((
            format!("a query has more than {} joins", limits.set_operations_max),
            "split it with views",
        ));
    }
    None
}

fn count_word(word: &str, previous: &str, level: &mut Level, cases: &mut usize) {
    let is = |candidates: &[&str]| {
        candidates
            .iter()
            .any(|candidate| word.eq_ignore_ascii_case(candidate))
    };
    if is(&[
        "AND", "OR", "XOR", "IS", "LIKE", "ILIKE", "RLIKE", "BETWEEN", "IN", "SIMILAR", "OVERLAPS",
        "AT", "DIV",
    ]) || is(&["NOT", "REGEXP", "MEMBER", "COLLATE", "PIVOT", "UNPIVOT"])
    {
        level.operators += 1;
    } else if is(&["UNION", "INTERSECT", "EXCEPT", "MINUS"]) {
        level.sets += 1;
        level.operators = 0;
    } else if is(&["JOIN"]) {
        level.joins += 1;
        level.operators = 0;
    } else if is(&["SELECT"]) {
        level.joins = 0;
        level.operators = 0;
    } else if is(&[
        "WHERE",
        "GROUP",
        "HAVING",
        "ORDER",
        "ON",
        "WATERMARK",
        "DEFINE",
        "MEASURES",
    ]) || (is(&["FROM"]) && !previous.eq_ignore_ascii_case("DISTINCT"))
    {
        level.operators = 0;
    } else if is(&["CASE"]) {
        *cases += 1;
        level.cases += 1;
    } else if is(&["END"]) && level.cases > 0 {
        *cases = cases.saturating_sub(1);
        level.cases -= 1;
    }
}

fn is_operator(token: &Token) -> bool {
    !matches!(
        token,
        Token::EOF
            | Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Comma
            | Token::SemiColon
            | Token::RArrow
            | Token::RParen
            | Token::RBracket
            | Token::RBrace
            | Token::Whitespace(_)
    )
}
