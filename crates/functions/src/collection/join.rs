//! ARRAY_JOIN: the elements as one text; NULLs are left out unless a text stands for them.

use arrow::array::{Array, ArrayRef, StringViewArray};
use arrow::datatypes::DataType;

use super::lists::{Lists, list_type};
use crate::call::{Call, downcast};
use crate::cast::to_text::to_text;
use crate::error::Result;
use crate::function::{Arguments, Function, arity};

pub(crate) fn functions() -> Vec<Function> {
    vec![Function::new(
        "array_join",
        Arguments::Own(types),
        |_| Ok(DataType::Utf8View),
        join,
    )]
}

fn types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("array_join", given, 2, 3)?;
    let list = list_type("array_join", 0, &given[0])?;
    Ok(std::iter::once(list)
        .chain(given.iter().skip(1).map(|_| DataType::Utf8View))
        .collect())
}

fn join(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, separators) = (Lists::new(call, 0)?, call.text(1)?);
    let replacements = if call.len() > 2 {
        Some(call.text(2)?)
    } else {
        None
    };
    let values: StringViewArray = downcast(call.name, &to_text(lists.values(), None, call.zone)?)?;
    call.texts(|row, out| {
        let (Some(range), Some(separator)) = (lists.range(row), separators.get(row)) else {
            return Ok(false);
        };
        let replacement = match &replacements {
            Some(replacements) => match replacements.get(row) {
                Some(replacement) => Some(replacement),
                None => return Ok(false),
            },
            None => None,
        };
        let mut first = true;
        for idx in range {
            let value = if values.is_null(idx) {
                replacement
            } else {
                Some(values.value(idx))
            };
            let Some(value) = value else { continue };
            if !std::mem::take(&mut first) {
                out.push_str(separator);
            }
            out.push_str(value);
        }
        Ok(true)
    })
}
