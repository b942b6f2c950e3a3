//! IS_ALPHA, IS_DIGIT, IS_DECIMAL: what a text is made of. NULL and the empty text are nothing of it.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes};
use crate::java;
use crate::types::is_text;

pub(crate) fn functions() -> Vec<Function> {
    let boolean =
        |name, eval| Function::new(name, takes(&[Kind::Any]), |_| Ok(DataType::Boolean), eval);
    vec![
        boolean("is_alpha", |call| {
            each(
                call,
                |_| false,
                |text| text.chars().all(char::is_alphabetic),
            )
        }),
        boolean("is_digit", |call| {
            each(call, DataType::is_integer, |text| {
                text.chars().all(char::is_numeric)
            })
        }),
        boolean("is_decimal", |call| {
            each(call, DataType::is_numeric, |text| {
                java::parse_f64(text).is_some()
            })
        }),
    ]
}

fn each(
    call: &Call<'_>,
    is_type: fn(&DataType) -> bool,
    is_text_of: fn(&str) -> bool,
) -> Result<ArrayRef> {
    let values = call.arg(0)?;
    let data_type = values.array.data_type();
    if !is_text(data_type) {
        let of_type = is_type(data_type);
        return call.booleans(|row| Some(of_type && !values.is_null(row)));
    }
    let texts = call.text(0)?;
    call.booleans(|row| {
        Some(
            texts
                .get(row)
                .is_some_and(|text| !text.is_empty() && is_text_of(text)),
        )
    })
}
