//! ROW, ARRAY and MAP of values: `row(v, ...)`, `array(v, ...)`, `map(k, v, ...)`.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{DataType, Field, Fields};

use super::lists::Picker;
use super::map::{finish, keep_last};
use crate::call::Call;
use crate::error::{Error, Result};
use crate::function::{Arguments, Function, Given, Kind, arity, common_of, takes_more};
use crate::types::{list_of, map_of};

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new("row", takes_more(&[], Kind::Any), row_type, row),
        Function::new(
            "array",
            Arguments::Own(array_types),
            |given| Ok(list_of(given.data_type(0).clone())),
            array,
        )
        .aliases(&["make_array"]),
        Function::new(
            "map",
            Arguments::Own(map_types),
            |given| {
                Ok(map_of(
                    given.data_type(0).clone(),
                    given.data_type(1).clone(),
                ))
            },
            map,
        ),
    ]
}

/// Fields are called `EXPR$0`, `EXPR$1` and so on.
#[allow(clippy::unnecessary_wraps, reason = "the shape of every result type")]
fn row_type(given: &Given<'_>) -> Result<DataType> {
    let field = |(idx, data_type): (usize, &DataType)| {
        Field::new(format!("EXPR${idx}"), data_type.clone(), true)
    };
    Ok(DataType::Struct(
        given
            .types
            .iter()
            .enumerate()
            .map(field)
            .collect::<Fields>(),
    ))
}

fn row(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::Struct(fields) = call.returns else {
        return Err(Error::argument(call.name, "the result is no ROW").into());
    };
    let columns: Result<Vec<_>> = (0..call.len()).map(|idx| call.column(idx)).collect();
    Ok(Arc::new(StructArray::try_new_with_length(
        fields.clone(),
        columns?,
        None,
        call.rows,
    )?))
}

fn array_types(given: &[DataType]) -> Result<Vec<DataType>> {
    Ok(vec![common_of("array", given)?; given.len()])
}

fn array(call: &Call<'_>) -> Result<ArrayRef> {
    let values: Result<Vec<_>> = (0..call.len()).map(|idx| call.arg(idx)).collect();
    let values = values?;
    let mut picker = Picker::new(call.rows);
    for row in 0..call.rows {
        for (column, value) in values.iter().enumerate() {
            picker.pick(column, value.at(row));
        }
        picker.end(call, true)?;
    }
    let columns: Vec<&ArrayRef> = values.iter().map(|value| &value.array).collect();
    if columns.is_empty() {
        return picker.finish(call, &[&arrow::array::new_empty_array(&DataType::Null)]);
    }
    picker.finish(call, &columns)
}

fn map_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("map", given, 2, usize::MAX)?;
    if !given.len().is_multiple_of(2) {
        return Err(Error::argument("map", "every key needs a value").into());
    }
    let every_other = |from: usize| {
        given
            .iter()
            .skip(from)
            .step_by(2)
            .cloned()
            .collect::<Vec<_>>()
    };
    let (key, value) = (
        common_of("map", &every_other(0))?,
        common_of("map", &every_other(1))?,
    );
    Ok(given
        .iter()
        .enumerate()
        .map(|(idx, _)| {
            if idx % 2 == 0 {
                key.clone()
            } else {
                value.clone()
            }
        })
        .collect())
}

/// Of a key that comes twice the last value counts.
fn map(call: &Call<'_>) -> Result<ArrayRef> {
    let args: Result<Vec<_>> = (0..call.len()).map(|idx| call.arg(idx)).collect();
    let args = args?;
    let columns = |from: usize| {
        args.iter()
            .skip(from)
            .step_by(2)
            .map(|arg| &arg.array)
            .collect::<Vec<_>>()
    };
    let (key_columns, value_columns) = (columns(0), columns(1));
    let comparable = super::lists::Comparable::new(&key_columns)?;
    let (mut keys, mut values) = (Picker::new(call.rows), Picker::new(call.rows));
    for row in 0..call.rows {
        let places = (0..key_columns.len())
            .map(|nth| (nth, args[2 * nth].at(row), args[2 * nth + 1].at(row)));
        let entries: Vec<_> = places.collect();
        for idx in keep_last(entries.len(), |idx| {
            comparable.get(entries[idx].0, entries[idx].1)
        }) {
            keys.pick(entries[idx].0, entries[idx].1);
            values.pick(entries[idx].0, entries[idx].2);
        }
        keys.end(call, true)?;
        values.end(call, true)?;
    }
    finish(call, keys, &key_columns, values, &value_columns)
}
