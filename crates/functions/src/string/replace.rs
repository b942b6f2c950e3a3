//! REPLACE of a text, TRANSLATE of single characters.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    const ARGUMENTS: &[Kind] = &[Kind::Text, Kind::Text, Kind::Text];
    vec![
        Function::new(
            "replace",
            takes(ARGUMENTS),
            |_| Ok(DataType::Utf8View),
            |call| each(call, replace),
        ),
        Function::new(
            "translate",
            takes(ARGUMENTS),
            |_| Ok(DataType::Utf8View),
            |call| each(call, translate),
        ),
    ]
}

fn each(call: &Call<'_>, convert: fn(&str, &str, &str, &mut String)) -> Result<ArrayRef> {
    let (texts, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    call.texts(|row, out| {
        let (Some(text), Some(from), Some(to)) = (texts.get(row), from.get(row), to.get(row))
        else {
            return Ok(false);
        };
        convert(text, from, to, out);
        Ok(true)
    })
}

fn replace(text: &str, from: &str, to: &str, out: &mut String) {
    let mut end = 0;
    for (at, found) in text.match_indices(from) {
        out.push_str(&text[end..at]);
        out.push_str(to);
        end = at + found.len();
    }
    out.push_str(&text[end..]);
}

/// A character without counterpart is dropped; of one that is named twice the first counts.
fn translate(text: &str, from: &str, to: &str, out: &mut String) {
    for c in text.chars() {
        match from.chars().position(|f| f == c) {
            Some(at) => out.extend(to.chars().nth(at)),
            None => out.push(c),
        }
    }
}
