//! TIMESTAMPDIFF: `timestampdiff(unit, from, to)`, the whole units between two times, toward zero.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use arrow::datatypes::DataType;

use super::Locals;
use super::unit::Unit;
use crate::call::Call;
use crate::civil::{Day, Moment};
use crate::error::{Error, Result};
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    let arguments = takes(&[Kind::Text, Kind::Any, Kind::Any]);
    vec![Function::new(
        "timestampdiff",
        arguments,
        |_| Ok(DataType::Int32),
        diff,
    )]
}

fn diff(call: &Call<'_>) -> Result<ArrayRef> {
    let unit = Unit::literal(call, 0)?;
    let (mut from, mut to) = (Locals::new(call, 1)?, Locals::new(call, 2)?);
    let mut counts = Int32Array::builder(call.rows);
    for row in 0..call.rows {
        let (Some(from), Some(to)) = (from.get(row), to.get(row)) else {
            counts.append_null();
            continue;
        };
        let count = match unit.nanos() {
            Some(nanos) => i64::try_from(nanos_between(from, to) / i128::from(nanos)).ok(),
            None => unit
                .months()
                .map(|months| months_between(from, to) / months),
        };
        let count = count.and_then(|count| i32::try_from(count).ok());
        let too_far = || {
            Error::argument(
                call.name,
                format!("the difference in {unit:?}s does not fit into an INT"),
            )
        };
        counts.append_value(count.ok_or_else(too_far)?);
    }
    Ok(Arc::new(counts.finish()))
}

fn nanos_between(from: Moment, to: Moment) -> i128 {
    let nanos = |moment: Moment| i128::from(moment.ms) * 1_000_000 + i128::from(moment.nanos);
    nanos(to) - nanos(from)
}

fn months_between(from: Moment, to: Moment) -> i64 {
    if to < from {
        return -months_between(to, from);
    }
    let (first, last) = (Day::from_days(from.days()), Day::from_days(to.days()));
    let months =
        i64::from(last.year - first.year) * 12 + i64::from(last.month) - i64::from(first.month);
    let reached = first.plus_months(months).to_days();
    let short = (reached, from.nanos_of_day()) > (to.days(), to.nanos_of_day());
    months - i64::from(short)
}
