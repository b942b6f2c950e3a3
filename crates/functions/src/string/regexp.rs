//! REGEXP, REGEXP_REPLACE, REGEXP_EXTRACT, REGEXP_EXTRACT_ALL, REGEXP_COUNT, REGEXP_INSTR, REGEXP_SUBSTR.
//!
//! Patterns are Java's, translated to the `regex` crate, whose time is linear in the text. What that crate cannot do
//! (look-around, back-references, possessive quantifiers) is refused with an error rather than matched differently.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, ListBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field};
use regex::Regex;

use super::{count, long};
use crate::call::{Arg, Call};
use crate::error::{Error, Result};
use crate::function::{Function, Kind, takes, takes_optional};
use crate::pattern_cache::{Cache, Last};
use crate::types::list_of;

thread_local! {
    static PATTERNS: Cache<Regex> = Cache::default();
}

pub(crate) fn functions() -> Vec<Function> {
    const TWO: &[Kind] = &[Kind::Text, Kind::Text];
    const THREE: &[Kind] = &[Kind::Text, Kind::Text, Kind::Text];
    vec![
        Function::new("regexp", takes(TWO), |_| Ok(DataType::Boolean), regexp)
            .aliases(&["regexp_like", "rlike"]),
        Function::new(
            "regexp_replace",
            takes(THREE),
            |_| Ok(DataType::Utf8View),
            replace,
        ),
        Function::new(
            "regexp_extract",
            takes_optional(TWO, &[Kind::Long]),
            |_| Ok(DataType::Utf8View),
            extract,
        ),
        Function::new(
            "regexp_substr",
            takes(TWO),
            |_| Ok(DataType::Utf8View),
            extract,
        ),
        Function::new(
            "regexp_extract_all",
            takes_optional(TWO, &[Kind::Long]),
            |_| Ok(list_of(DataType::Utf8View)),
            all,
        ),
        Function::new(
            "regexp_count",
            takes(TWO),
            |_| Ok(DataType::Int32),
            |call| int(call, |pattern, text| long(pattern.find_iter(text).count())),
        ),
        Function::new(
            "regexp_instr",
            takes(TWO),
            |_| Ok(DataType::Int32),
            |call| {
                int(call, |pattern, text| {
                    pattern
                        .find(text)
                        .map_or(0, |found| long(count(&text[..found.start()])) + 1)
                })
            },
        ),
    ]
}

/// The pattern, compiled once per text of it.
pub(crate) struct Patterns {
    name: &'static str,
    last: Last<Regex>,
}

impl Patterns {
    /// For one evaluation of a function.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            last: Last::new(&PATTERNS),
        }
    }

    /// The compiled pattern.
    pub(crate) fn get(&mut self, pattern: &str) -> Result<&Regex> {
        let name = self.name;
        self.last.get(pattern, |pattern| {
            Regex::new(&translate(pattern)).map_err(|error| {
                let reason = error.to_string();
                let reason = reason
                    .lines()
                    .last()
                    .unwrap_or("")
                    .trim()
                    .trim_start_matches("error: ")
                    .to_string();
                Error::argument(
                    name,
                    format!("cannot use the regular expression '{pattern}': {reason}"),
                )
                .into()
            })
        })
    }
}

/// Java's pattern in the words of the `regex` crate: the classes of one letter mean ASCII, and `\Q..\E` quotes.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut depth = 0usize;
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('Q') => {
                    let quoted = rest.as_str();
                    let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                    out.push_str(&regex::escape(literal));
                    rest = after.chars();
                }
                Some('d') => out.push_str(if depth > 0 { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if depth > 0 {
                    "a-zA-Z0-9_"
                } else {
                    "[a-zA-Z0-9_]"
                }),
                Some('s') => out.push_str(if depth > 0 {
                    r" \t\n\x0B\f\r"
                } else {
                    r"[ \t\n\x0B\f\r]"
                }),
                Some('h') => out.push_str(if depth > 0 {
                    r" \t\u00A0"
                } else {
                    r"[ \t\u00A0]"
                }),
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^a-zA-Z0-9_]"),
                Some('S') => out.push_str(r"[^ \t\n\x0B\f\r]"),
                Some('b') if depth == 0 => out.push_str(r"(?-u:\b)"),
                Some('R') => out.push_str(r"(?:\r\n|[\n\x0B\f\r])"),
                Some('Z') => out.push_str(r"\n?\z"),
                Some('e') => out.push_str(r"\x1B"),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' => {
                depth += 1;
                out.push('[');
                // A bracket that comes first, perhaps behind a caret, is an ordinary character for the other crate only.
                if rest.as_str().starts_with("^") {
                    out.push('^');
                    rest.next();
                }
            }
            ']' if depth > 0 => {
                depth -= 1;
                out.push(']');
            }
            other => out.push(other),
        }
    }
    out
}

/// Both are NULL or neither.
fn pair<'a>(
    texts: &'a Arg<arrow::array::StringViewArray>,
    patterns: &'a Arg<arrow::array::StringViewArray>,
    row: usize,
) -> Option<(&'a str, &'a str)> {
    Some((texts.get(row)?, patterns.get(row)?))
}

fn regexp(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let mut compiled = Patterns::new(call.name);
    let found: Result<BooleanArray> = (0..call.rows)
        .map(|row| {
            let Some((text, pattern)) = pair(&texts, &patterns, row) else {
                return Ok(None);
            };
            Ok(Some(
                !pattern.is_empty() && compiled.get(pattern)?.is_match(text),
            ))
        })
        .collect();
    Ok(Arc::new(found?))
}

/// The replacement is taken literally.
fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns, replacements) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let mut compiled = Patterns::new(call.name);
    call.texts(|row, out| {
        let Some((text, pattern)) = pair(&texts, &patterns, row) else {
            return Ok(false);
        };
        let Some(replacement) = replacements.get(row) else {
            return Ok(false);
        };
        let mut end = 0;
        for found in compiled.get(pattern)?.find_iter(text) {
            out.push_str(&text[end..found.start()]);
            out.push_str(replacement);
            end = found.end();
        }
        out.push_str(&text[end..]);
        Ok(true)
    })
}

/// A group of the first match, by default all of it; NULL where nothing matches or there is no such group.
fn extract(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let groups = if call.len() > 2 {
        Some(call.long(2)?)
    } else {
        None
    };
    let mut compiled = Patterns::new(call.name);
    call.texts(|row, out| {
        let Some((text, pattern)) = pair(&texts, &patterns, row) else {
            return Ok(false);
        };
        let Some(group) = groups.as_ref().map_or(Some(0), |groups| groups.get(row)) else {
            return Ok(false);
        };
        let pattern = compiled.get(pattern)?;
        let found = match usize::try_from(group) {
            Ok(0) => pattern.find(text),
            Ok(group) => pattern
                .captures(text)
                .and_then(|captures| captures.get(group)),
            Err(_) => None,
        };
        out.push_str(found.map_or("", |found| found.as_str()));
        Ok(found.is_some())
    })
}

/// A group of every match, by default the first group.
fn all(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let groups = if call.len() > 2 {
        Some(call.long(2)?)
    } else {
        None
    };
    let mut compiled = Patterns::new(call.name);
    let mut builder = ListBuilder::new(StringViewBuilder::new())
        .with_field(Arc::new(Field::new_list_field(DataType::Utf8View, true)));
    for row in 0..call.rows {
        let group = groups
            .as_ref()
            .map_or(Some(1), |groups| groups.get(row))
            .map(usize::try_from);
        let (Some((text, pattern)), Some(Ok(group))) = (pair(&texts, &patterns, row), group) else {
            builder.append(false);
            continue;
        };
        let pattern = compiled.get(pattern)?;
        if group >= pattern.captures_len() {
            builder.append(false);
            continue;
        }
        for captures in pattern.captures_iter(text) {
            builder
                .values()
                .append_option(captures.get(group).map(|found| found.as_str()));
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

fn int(call: &Call<'_>, of: impl Fn(&Regex, &str) -> i64) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let mut compiled = Patterns::new(call.name);
    let found: Result<Int32Array> = (0..call.rows)
        .map(|row| {
            let Some((text, pattern)) = pair(&texts, &patterns, row) else {
                return Ok(None);
            };
            Ok(i32::try_from(of(compiled.get(pattern)?, text)).ok())
        })
        .collect();
    Ok(Arc::new(found?))
}
