//! UPPER, LOWER, INITCAP.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    let text =
        |name, eval| Function::new(name, takes(&[Kind::Text]), |_| Ok(DataType::Utf8View), eval);
    vec![
        text("upper", |call| each(call, upper)).aliases(&["ucase"]),
        text("lower", |call| each(call, lower)).aliases(&["lcase"]),
        text("initcap", |call| each(call, initcap)),
    ]
}

fn each(call: &Call<'_>, convert: fn(&str, &mut String)) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row, out| {
        let Some(text) = texts.get(row) else {
            return Ok(false);
        };
        convert(text, out);
        Ok(true)
    })
}

fn upper(text: &str, out: &mut String) {
    if text.is_ascii() {
        out.push_str(text);
        out.make_ascii_uppercase();
    } else {
        out.extend(text.chars().flat_map(char::to_uppercase));
    }
}

fn lower(text: &str, out: &mut String) {
    if text.is_ascii() {
        out.push_str(text);
        out.make_ascii_lowercase();
    } else {
        out.push_str(&text.to_lowercase());
    }
}

/// A word is a run of letters and digits.
fn initcap(text: &str, out: &mut String) {
    let mut starts = true;
    for c in text.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        starts = !c.is_alphanumeric();
    }
}
