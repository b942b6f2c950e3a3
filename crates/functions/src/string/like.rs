//! LIKE and SIMILAR TO, with an escape character only where ESCAPE names one: a backslash is an ordinary character.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use regex::{Regex, RegexBuilder};

use crate::call::Call;
use crate::error::{Error, Result};
use crate::function::{Function, Kind, takes_optional};
use crate::pattern_cache::{Cache, Last};

thread_local! {
    static LIKES: Cache<Like> = Cache::default();
    static SIMILARS: Cache<Regex> = Cache::default();
}

pub(crate) fn functions() -> Vec<Function> {
    const TWO: &[Kind] = &[Kind::Text, Kind::Text];
    vec![
        Function::new(
            "like",
            takes_optional(TWO, &[Kind::Text]),
            |_| Ok(DataType::Boolean),
            like,
        ),
        Function::new(
            "similar_to",
            takes_optional(TWO, &[Kind::Text]),
            |_| Ok(DataType::Boolean),
            similar,
        ),
    ]
}

/// A pattern, in its cheapest form.
enum Like {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Any(Regex),
}

impl Like {
    fn compile(name: &str, pattern: &str, escape: Option<char>) -> Result<Self> {
        let plain = |text: &str| {
            !text.contains(['%', '_']) && escape.is_none_or(|escape| !text.contains(escape))
        };
        let open_left = pattern.strip_prefix('%').filter(|rest| plain(rest));
        let open_right = pattern.strip_suffix('%').filter(|rest| plain(rest));
        let open_both = pattern
            .strip_prefix('%')
            .and_then(|rest| rest.strip_suffix('%'))
            .filter(|rest| plain(rest));
        Ok(if plain(pattern) {
            Self::Exact(pattern.into())
        } else if let Some(infix) = open_both {
            Self::Contains(infix.into())
        } else if let Some(suffix) = open_left {
            Self::Suffix(suffix.into())
        } else if let Some(prefix) = open_right {
            Self::Prefix(prefix.into())
        } else {
            Self::Any(regex(name, pattern, escape, false)?)
        })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::Contains(infix) => text.contains(infix.as_str()),
            Self::Any(pattern) => pattern.is_match(text),
        }
    }
}

/// `%` is any text, `_` any character; in SIMILAR TO the signs of regular expressions keep their meaning.
fn regex(name: &str, pattern: &str, escape: Option<char>, similar: bool) -> Result<Regex> {
    let wrong = |reason: &str| {
        Error::argument(
            name,
            format!("cannot use the pattern '{pattern}': {reason}"),
        )
    };
    let mut out = String::from("^(?:");
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let escaped = chars
                .next()
                .ok_or_else(|| wrong("it ends with the escape character"))?;
            out.push_str(&regex::escape(escaped.encode_utf8(&mut [0; 4])));
            continue;
        }
        match c {
            ']' if similar && in_class => {
                in_class = false;
                out.push(']');
            }
            c if in_class => out.push(c),
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '[' if similar => {
                in_class = true;
                out.push('[');
            }
            '|' | '*' | '+' | '?' | '{' | '}' | '(' | ')' if similar => out.push(c),
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push_str(")$");
    let built = RegexBuilder::new(&out).dot_matches_new_line(true).build();
    built.map_err(|error| wrong(error.to_string().lines().last().unwrap_or("").trim()).into())
}

fn like(call: &Call<'_>) -> Result<ArrayRef> {
    let mut last = Last::new(&LIKES);
    each(call, |text, pattern, escape, key| {
        Ok(last
            .get(key, |_| Like::compile(call.name, pattern, escape))?
            .matches(text))
    })
}

fn similar(call: &Call<'_>) -> Result<ArrayRef> {
    let mut last = Last::new(&SIMILARS);
    each(call, |text, pattern, escape, key| {
        Ok(last
            .get(key, |_| regex(call.name, pattern, escape, true))?
            .is_match(text))
    })
}

/// Calls with the text, the pattern, its escape character and the key of both.
fn each(
    call: &Call<'_>,
    mut matches: impl FnMut(&str, &str, Option<char>, &str) -> Result<bool>,
) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let escapes = if call.len() > 2 {
        Some(call.text(2)?)
    } else {
        None
    };
    let mut key = String::new();
    let found: Result<BooleanArray> = (0..call.rows)
        .map(|row| {
            let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
                return Ok(None);
            };
            let Some(escapes) = &escapes else {
                return matches(text, pattern, None, pattern).map(Some);
            };
            let Some(escape) = escapes.get(row) else {
                return Ok(None);
            };
            let mut chars = escape.chars();
            let (Some(escape), None) = (chars.next(), chars.next()) else {
                return Err(Error::argument(
                    call.name,
                    format!("ESCAPE needs one character, not '{escape}'"),
                )
                .into());
            };
            key.clear();
            key.extend(['\0', escape]);
            key.push_str(pattern);
            matches(text, pattern, Some(escape), &key).map(Some)
        })
        .collect();
    Ok(Arc::new(found?))
}
