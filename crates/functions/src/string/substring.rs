//! SUBSTRING, LEFT, RIGHT, OVERLAY.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::{characters, count, long};
use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes, takes_optional};

pub(crate) fn functions() -> Vec<Function> {
    let text =
        |name, arguments, eval| Function::new(name, arguments, |_| Ok(DataType::Utf8View), eval);
    vec![
        text(
            "substring",
            takes_optional(&[Kind::Text, Kind::Long], &[Kind::Long]),
            substring,
        )
        .aliases(&["substr"]),
        text("left", takes(&[Kind::Text, Kind::Long]), left),
        text("right", takes(&[Kind::Text, Kind::Long]), right),
        text(
            "overlay",
            takes_optional(&[Kind::Text, Kind::Text, Kind::Long], &[Kind::Long]),
            overlay,
        ),
    ]
}

fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, starts) = (call.text(0)?, call.long(1)?);
    if call.len() == 2 {
        return call.slices(|row| slice(texts.get(row)?, starts.get(row)?, i64::MAX));
    }
    let lengths = call.long(2)?;
    call.slices(|row| slice(texts.get(row)?, starts.get(row)?, lengths.get(row)?))
}

/// A start of 0 means 1, a negative one counts from the end; a negative length gives NULL.
fn slice(text: &str, start: i64, length: i64) -> Option<&str> {
    let length = usize::try_from(length).ok()?;
    let start = match start {
        0 => 0,
        1.. => usize::try_from(start - 1).unwrap_or(usize::MAX),
        _ => match usize::try_from(long(count(text)).saturating_add(start)) {
            Ok(start) => start,
            Err(_) => return Some(""),
        },
    };
    Some(characters(text, start, start.saturating_add(length)))
}

fn left(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, lengths) = (call.text(0)?, call.long(1)?);
    call.slices(|row| {
        let (text, length) = (texts.get(row)?, lengths.get(row)?);
        Some(characters(text, 0, usize::try_from(length).unwrap_or(0)))
    })
}

fn right(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, lengths) = (call.text(0)?, call.long(1)?);
    call.slices(|row| {
        let (text, length) = (texts.get(row)?, lengths.get(row)?);
        let from = count(text).saturating_sub(usize::try_from(length).unwrap_or(0));
        Some(characters(text, from, usize::MAX))
    })
}

/// A start outside of the text leaves it as it is. A length of 0 or less drops what follows the replacement.
fn overlay(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, replacements, starts) = (call.text(0)?, call.text(1)?, call.long(2)?);
    let lengths = if call.len() > 3 {
        Some(call.long(3)?)
    } else {
        None
    };
    call.texts(|row, out| {
        let (Some(text), Some(with), Some(start)) =
            (texts.get(row), replacements.get(row), starts.get(row))
        else {
            return Ok(false);
        };
        let length = match &lengths {
            Some(lengths) => lengths.get(row),
            None => Some(long(count(with))),
        };
        let Some(length) = length else {
            return Ok(false);
        };
        let characters_all = long(count(text));
        if start <= 0 || start > characters_all {
            out.push_str(text);
            return Ok(true);
        }
        let before = usize::try_from(start - 1).unwrap_or(0);
        out.push_str(characters(text, 0, before));
        out.push_str(with);
        if length > 0 {
            let after = before.saturating_add(usize::try_from(length).unwrap_or(0));
            out.push_str(characters(text, after, usize::MAX));
        }
        Ok(true)
    })
}
