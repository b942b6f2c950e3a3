//! ARRAY_CONTAINS, ARRAY_POSITION.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::lists::{Comparable, Lists, list_and_element};
use crate::call::Call;
use crate::error::Result;
use crate::function::{Arguments, Function};

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "array_contains",
            Arguments::Own(|g| list_and_element("array_contains", g)),
            |_| Ok(DataType::Boolean),
            contains,
        ),
        Function::new(
            "array_position",
            Arguments::Own(|g| list_and_element("array_position", g)),
            |_| Ok(DataType::Int32),
            position,
        ),
    ]
}

/// Where the needle stands in the row's array, from 0; the outer `None` is an array that is NULL.
fn find(call: &Call<'_>) -> Result<impl Fn(usize) -> Option<Option<usize>>> {
    let (lists, needles) = (Lists::new(call, 0)?, call.arg(1)?);
    let comparable = Comparable::new(&[lists.values(), &needles.array])?;
    Ok(move |row| {
        let mut range = lists.range(row)?;
        let needle = comparable.get(1, needles.at(row));
        Some(range.position(|idx| comparable.get(0, idx) == needle))
    })
}

/// NULL is found among NULLs.
fn contains(call: &Call<'_>) -> Result<ArrayRef> {
    let find = find(call)?;
    call.booleans(|row| find(row).map(|found| found.is_some()))
}

/// 0 where it is not there; NULL is nowhere: it gives NULL.
fn position(call: &Call<'_>) -> Result<ArrayRef> {
    let (find, needles) = (find(call)?, call.arg(1)?);
    call.longs(|row| {
        let found = find(row).filter(|_| !needles.is_null(row))?;
        Some(found.map_or(0, |offset| {
            i64::try_from(offset).unwrap_or(i64::MAX).saturating_add(1)
        }))
    })
}
