//! SPLIT_INDEX, SPLIT, ELT.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field};

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes, takes_more};
use crate::types::list_of;

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "split_index",
            takes(&[Kind::Text, Kind::Any, Kind::Long]),
            |_| Ok(DataType::Utf8View),
            split_index,
        ),
        Function::new(
            "split",
            takes(&[Kind::Text, Kind::Text]),
            |_| Ok(list_of(DataType::Utf8View)),
            split,
        ),
        Function::new(
            "elt",
            takes_more(&[Kind::Long, Kind::TextOrBytes], Kind::TextOrBytes),
            elt_type,
            elt,
        ),
    ]
}

/// The part at an index from 0. An empty text has no parts; an integer separator is a character's code.
fn split_index(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, indexes) = (call.text(0)?, call.long(2)?);
    if call.arg(1)?.array.data_type().is_integer() {
        let codes = call.long(1)?;
        return call.slices(|row| {
            let code = u8::try_from(codes.get(row)?)
                .ok()
                .filter(|code| *code > 0)?;
            let mut buffer = [0; 4];
            part(
                texts.get(row)?,
                char::from(code).encode_utf8(&mut buffer),
                indexes.get(row)?,
            )
        });
    }
    let separators = call.text(1)?;
    call.slices(|row| part(texts.get(row)?, separators.get(row)?, indexes.get(row)?))
}

fn part<'a>(text: &'a str, separator: &str, idx: i64) -> Option<&'a str> {
    let idx = usize::try_from(idx).ok()?;
    if text.is_empty() {
        return None;
    }
    match separator.as_bytes() {
        [] => text.split(' ').nth(idx),
        [byte] => byte_part(text, *byte, idx),
        _ => text.split(separator).nth(idx),
    }
}

/// Jumps from separator to separator.
fn byte_part(text: &str, separator: u8, idx: usize) -> Option<&str> {
    let mut rest = text;
    for _ in 0..idx {
        rest = &rest[memchr::memchr(separator, rest.as_bytes())? + 1..];
    }
    let end = memchr::memchr(separator, rest.as_bytes()).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// Every part; an empty separator splits into characters.
fn split(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, separators) = (call.text(0)?, call.text(1)?);
    let mut builder = ListBuilder::new(StringViewBuilder::new())
        .with_field(Arc::new(Field::new_list_field(DataType::Utf8View, true)));
    for row in 0..call.rows {
        let (Some(text), Some(separator)) = (texts.get(row), separators.get(row)) else {
            builder.append(false);
            continue;
        };
        if text.is_empty() {
            // No parts, and not one empty part.
        } else if separator.is_empty() {
            let mut buffer = [0; 4];
            for c in text.chars() {
                builder.values().append_value(c.encode_utf8(&mut buffer));
            }
        } else {
            for part in text.split(separator) {
                builder.values().append_value(part);
            }
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of every result type")]
fn elt_type(given: &crate::function::Given<'_>) -> Result<DataType> {
    Ok(crate::types::canonical(given.data_type(1)))
}

/// The argument at an index from 1, NULL outside.
fn elt(call: &Call<'_>) -> Result<ArrayRef> {
    let indexes = call.long(0)?;
    let values = (1..call.len())
        .map(|idx| call.bytes(idx))
        .collect::<Result<Vec<_>>>()?;
    let chosen: arrow::array::BinaryViewArray = (0..call.rows)
        .map(|row| {
            values
                .get(usize::try_from(indexes.get(row)?.checked_sub(1)?).ok()?)?
                .get(row)
        })
        .collect();
    let chosen: ArrayRef = Arc::new(chosen);
    Ok(arrow::compute::cast(&chosen, call.returns)?)
}
