//! GREATEST, LEAST: NULL if any argument is.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::{cmp, zip::zip};
use arrow::compute::{not, nullif};
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Arguments, Function, arity, common_of, wrong_type};

pub(crate) fn functions() -> Vec<Function> {
    let extreme = |name, rule, eval| {
        Function::new(
            name,
            Arguments::Own(rule),
            |g| Ok(g.data_type(0).clone()),
            eval,
        )
    };
    vec![
        extreme(
            "greatest",
            |given| types("greatest", given),
            |call| each(call, true),
        ),
        extreme(
            "least",
            |given| types("least", given),
            |call| each(call, false),
        ),
    ]
}

fn types(name: &str, given: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, given, 1, usize::MAX)?;
    let common = common_of(name, given)?;
    if common.is_nested() {
        return Err(wrong_type(name, 0, &common, "a value that has an order").into());
    }
    Ok(vec![common; given.len()])
}

fn each(call: &Call<'_>, greatest: bool) -> Result<ArrayRef> {
    let mut result = call.column(0)?;
    if result.data_type().is_null() {
        return Ok(result);
    }
    let mut nulls = result.nulls().cloned();
    for idx in 1..call.len() {
        let column = call.column(idx)?;
        nulls = NullBuffer::union(nulls.as_ref(), column.nulls());
        let better = if greatest {
            cmp::gt(&column, &result)?
        } else {
            cmp::lt(&column, &result)?
        };
        // Where one is NULL the comparison is, and the result will be.
        let better = BooleanArray::new(better.values().clone(), None);
        result = zip(&better, &column, &result)?;
    }
    let Some(nulls) = nulls else {
        return Ok(result);
    };
    let valid = BooleanArray::new(nulls.into_inner(), None);
    Ok(nullif(&result, &not(&valid)?)?)
}
