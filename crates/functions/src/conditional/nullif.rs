//! NULLIF: the first argument, in its own type, unless it equals the second.

use arrow::array::ArrayRef;
use arrow::compute::{cast, kernels::cmp::eq, nullif as null_where};

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, common_of, takes};

pub(crate) fn functions() -> Vec<Function> {
    vec![Function::new(
        "nullif",
        takes(&[Kind::Any, Kind::Any]),
        |given| {
            common_of(given.name, given.types)?;
            Ok(given.data_type(0).clone())
        },
        nullif,
    )]
}

fn nullif(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, other) = (call.column(0)?, call.column(1)?);
    if value.data_type().is_null() || other.data_type().is_null() {
        return Ok(value);
    }
    let common = common_of(
        call.name,
        &[value.data_type().clone(), other.data_type().clone()],
    )?;
    let equal = eq(&cast(&value, &common)?, &cast(&other, &common)?)?;
    Ok(null_where(&value, &equal)?)
}
