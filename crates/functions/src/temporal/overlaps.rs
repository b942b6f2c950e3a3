//! OVERLAPS: `overlaps(start, end, start, end)`. Periods that touch overlap, and an end may come before its start.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use std::sync::Arc;

use super::Locals;
use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    let arguments = takes(&[Kind::Any, Kind::Any, Kind::Any, Kind::Any]);
    vec![Function::new(
        "overlaps",
        arguments,
        |_| Ok(DataType::Boolean),
        overlaps,
    )]
}

fn overlaps(call: &Call<'_>) -> Result<ArrayRef> {
    let mut ends = [
        Locals::new(call, 0)?,
        Locals::new(call, 1)?,
        Locals::new(call, 2)?,
        Locals::new(call, 3)?,
    ];
    let found: BooleanArray = (0..call.rows)
        .map(|row| {
            let [a, b, c, d] = ends.each_mut().map(|end| end.get(row));
            let (a, b, c, d) = (a?, b?, c?, d?);
            Some(a.min(b) <= c.max(d) && c.min(d) <= a.max(b))
        })
        .collect();
    Ok(Arc::new(found))
}
