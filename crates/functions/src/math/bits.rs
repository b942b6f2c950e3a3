//! BITAND, BITOR, BITXOR, BITNOT of integers, in the wider type.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Arguments, Function, arity, common_of, wrong_type};

pub(crate) fn functions() -> Vec<Function> {
    let two = |name, rule, eval| {
        Function::new(
            name,
            Arguments::Own(rule),
            |g| Ok(g.data_type(0).clone()),
            eval,
        )
    };
    vec![
        two(
            "bitand",
            |given| types("bitand", given, 2),
            |call| pairs(call, |l, r| l & r),
        ),
        two(
            "bitor",
            |given| types("bitor", given, 2),
            |call| pairs(call, |l, r| l | r),
        ),
        two(
            "bitxor",
            |given| types("bitxor", given, 2),
            |call| pairs(call, |l, r| l ^ r),
        ),
        two(
            "bitnot",
            |given| types("bitnot", given, 1),
            |call| {
                let values = call.long(0)?;
                call.longs(|row| values.get(row).map(|value| !value))
            },
        ),
    ]
}

fn types(name: &str, given: &[DataType], count: usize) -> Result<Vec<DataType>> {
    arity(name, given, count, count)?;
    if let Some(idx) = given
        .iter()
        .position(|given| !given.is_signed_integer() && !given.is_null())
    {
        return Err(wrong_type(name, idx, &given[idx], "an integer").into());
    }
    let common = match common_of(name, given)? {
        DataType::Null => DataType::Int32,
        common => common,
    };
    Ok(vec![common; count])
}

fn pairs(call: &Call<'_>, of: fn(i64, i64) -> i64) -> Result<ArrayRef> {
    let (left, right) = (call.long(0)?, call.long(1)?);
    call.longs(|row| Some(of(left.get(row)?, right.get(row)?)))
}
