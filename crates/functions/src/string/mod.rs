//! Functions of text. Positions and lengths count characters, from 1.

pub(crate) mod affix;
pub(crate) mod case;
pub(crate) mod code;
pub(crate) mod codec;
pub(crate) mod concat;
pub(crate) mod hash;
pub(crate) mod inet;
pub(crate) mod like;
pub(crate) mod pad;
pub(crate) mod position;
pub(crate) mod predicate;
pub(crate) mod printf;
pub(crate) mod regexp;
pub(crate) mod repeat;
pub(crate) mod replace;
pub(crate) mod split;
pub(crate) mod str_to_map;
pub(crate) mod substring;
pub(crate) mod trim;
pub(crate) mod url;

use crate::error::Error;

/// The largest text that a function makes of a small one.
pub(crate) const TEXT_MAX: usize = 256 << 20;

/// The characters from one index to another, as many of them as there are.
pub(crate) fn characters(text: &str, start: usize, end: usize) -> &str {
    if text.is_ascii() {
        let end = end.min(text.len());
        return text.get(start.min(end)..end).unwrap_or("");
    }
    let mut starts = text.char_indices().map(|(at, _)| at);
    let Some(from) = starts.nth(start) else {
        return "";
    };
    if end <= start {
        return "";
    }
    let to = starts.nth(end - start - 1).unwrap_or(text.len());
    &text[from..to]
}

/// The number of characters.
pub(crate) fn count(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}

/// A count as SQL has it.
pub(crate) fn long(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Refuses to make a text beyond all measure.
pub(crate) fn check_size(name: &str, bytes: Option<usize>) -> Result<(), Error> {
    match bytes {
        Some(bytes) if bytes <= TEXT_MAX => Ok(()),
        _ => Err(Error::argument(
            name,
            "the result would be larger than 256 MiB",
        )),
    }
}

#[cfg(test)]
mod tests;
