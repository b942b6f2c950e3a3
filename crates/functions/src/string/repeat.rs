//! REPEAT, REVERSE.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::check_size;
use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "repeat",
            takes(&[Kind::Text, Kind::Long]),
            |_| Ok(DataType::Utf8View),
            repeat,
        ),
        Function::new(
            "reverse",
            takes(&[Kind::Text]),
            |_| Ok(DataType::Utf8View),
            reverse,
        ),
    ]
}

fn repeat(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, times) = (call.text(0)?, call.long(1)?);
    call.texts(|row, out| {
        let (Some(text), Some(times)) = (texts.get(row), times.get(row)) else {
            return Ok(false);
        };
        let times = usize::try_from(times).unwrap_or(0);
        check_size(call.name, text.len().checked_mul(times))?;
        if !text.is_empty() {
            out.extend(std::iter::repeat_n(text, times));
        }
        Ok(true)
    })
}

fn reverse(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row, out| {
        let Some(text) = texts.get(row) else {
            return Ok(false);
        };
        out.extend(text.chars().rev());
        Ok(true)
    })
}
