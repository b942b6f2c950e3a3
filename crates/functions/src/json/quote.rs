//! JSON_QUOTE, JSON_UNQUOTE.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::value::Json;
use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    let text =
        |name, eval| Function::new(name, takes(&[Kind::Text]), |_| Ok(DataType::Utf8View), eval);
    vec![text("json_quote", quote), text("json_unquote", unquote)]
}

/// Everything but printable ASCII is escaped, and the slash too.
fn quote(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row, out| {
        let Some(text) = texts.get(row) else {
            return Ok(false);
        };
        out.push('"');
        for unit in text.encode_utf16() {
            match char::from_u32(unit.into()) {
                Some(c @ ('"' | '\\' | '/')) => out.extend(['\\', c]),
                Some('\u{8}') => out.push_str("\\b"),
                Some('\u{c}') => out.push_str("\\f"),
                Some('\n') => out.push_str("\\n"),
                Some('\r') => out.push_str("\\r"),
                Some('\t') => out.push_str("\\t"),
                Some(c @ ' '..='~') => out.push(c),
                _ => out.push_str(&format!("\\u{unit:04x}")),
            }
        }
        out.push('"');
        Ok(true)
    })
}

/// What is no JSON text in quotes stays as it is.
fn unquote(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row, out| {
        let Some(text) = texts.get(row) else {
            return Ok(false);
        };
        match Json::parse(text) {
            Some(Json::Text(unquoted)) => out.push_str(&unquoted),
            _ => out.push_str(text),
        }
        Ok(true)
    })
}
