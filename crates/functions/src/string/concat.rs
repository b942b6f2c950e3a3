//! CONCAT is NULL if any argument is; CONCAT_WS skips NULLs and is NULL only if its separator is.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes_more};

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "concat",
            takes_more(&[Kind::Text], Kind::Text),
            |_| Ok(DataType::Utf8View),
            concat,
        ),
        Function::new(
            "concat_ws",
            takes_more(&[Kind::Text], Kind::Text),
            |_| Ok(DataType::Utf8View),
            concat_ws,
        ),
    ]
}

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = (0..call.len())
        .map(|idx| call.text(idx))
        .collect::<Result<Vec<_>>>()?;
    call.texts(|row, out| {
        for text in &texts {
            let Some(text) = text.get(row) else {
                return Ok(false);
            };
            out.push_str(text);
        }
        Ok(true)
    })
}

fn concat_ws(call: &Call<'_>) -> Result<ArrayRef> {
    let separator = call.text(0)?;
    let texts = (1..call.len())
        .map(|idx| call.text(idx))
        .collect::<Result<Vec<_>>>()?;
    call.texts(|row, out| {
        let Some(separator) = separator.get(row) else {
            return Ok(false);
        };
        let mut first = true;
        for text in texts.iter().filter_map(|text| text.get(row)) {
            if !std::mem::take(&mut first) {
                out.push_str(separator);
            }
            out.push_str(text);
        }
        Ok(true)
    })
}
