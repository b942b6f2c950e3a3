//! CHAR_LENGTH, OCTET_LENGTH, ASCII, CHR.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::{count, long};
use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    let int = |name, eval| Function::new(name, takes(&[Kind::Text]), |_| Ok(DataType::Int32), eval);
    vec![
        int("char_length", |call| {
            measure(call, |text| long(count(text)))
        })
        .aliases(&["character_length"]),
        int("octet_length", |call| {
            measure(call, |text| long(text.len()))
        }),
        int("ascii", |call| {
            measure(call, |text| {
                text.chars().next().map_or(0, |c| i64::from(u32::from(c)))
            })
        }),
        Function::new("chr", takes(&[Kind::Long]), |_| Ok(DataType::Utf8View), chr),
    ]
}

fn measure(call: &Call<'_>, of: fn(&str) -> i64) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.longs(|row| texts.get(row).map(of))
}

/// The character of Latin-1 with the code's low byte; a negative code gives an empty text.
fn chr(call: &Call<'_>) -> Result<ArrayRef> {
    let codes = call.long(0)?;
    call.texts(|row, out| {
        let Some(code) = codes.get(row) else {
            return Ok(false);
        };
        if code >= 0 {
            out.push(char::from(u8::try_from(code & 0xff).unwrap_or(0)));
        }
        Ok(true)
    })
}
