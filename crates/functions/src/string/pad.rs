//! LPAD, RPAD: to a number of characters, cut where the text is longer.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::{characters, check_size, count};
use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    const ARGUMENTS: &[Kind] = &[Kind::Text, Kind::Long, Kind::Text];
    vec![
        Function::new(
            "lpad",
            takes(ARGUMENTS),
            |_| Ok(DataType::Utf8View),
            |call| pad(call, true),
        ),
        Function::new(
            "rpad",
            takes(ARGUMENTS),
            |_| Ok(DataType::Utf8View),
            |call| pad(call, false),
        ),
    ]
}

/// A negative length or an empty padding gives NULL.
fn pad(call: &Call<'_>, before: bool) -> Result<ArrayRef> {
    let (texts, lengths, pads) = (call.text(0)?, call.long(1)?, call.text(2)?);
    call.texts(|row, out| {
        let (Some(text), Some(length), Some(pad)) =
            (texts.get(row), lengths.get(row), pads.get(row))
        else {
            return Ok(false);
        };
        let Ok(length) = usize::try_from(length) else {
            return Ok(false);
        };
        if pad.is_empty() {
            return Ok(false);
        }
        let missing = length.saturating_sub(count(text));
        check_size(call.name, missing.checked_mul(4))?;
        if !before {
            out.push_str(characters(text, 0, length));
        }
        out.extend(pad.chars().cycle().take(missing));
        if before {
            out.push_str(characters(text, 0, length));
        }
        Ok(true)
    })
}
