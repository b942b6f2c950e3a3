//! DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ among each other. What is cut is cut toward the past, a local time becomes
//! an instant in the session's time zone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, Int64Array, Time32MillisecondArray, Time64NanosecondArray};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, IntervalUnit};

use super::{Cx, no_cast};
use crate::civil::{DAY_MS, Moment, Moments};
use crate::error::Result;
use crate::types::fraction_digits;
use crate::zone::Zone;

/// A temporal value as another.
pub(super) fn convert(array: &ArrayRef, to: &DataType, cx: &Cx<'_>) -> Result<ArrayRef> {
    use DataType as T;
    let from = array.data_type();
    let temporal = |t: &DataType| matches!(t, T::Date32 | T::Time32(_) | T::Time64(_) | T::Timestamp(..));
    if !temporal(from) || !temporal(to) {
        return other(array, to);
    }
    let date_and_time = matches!(
        (from, to),
        (T::Date32, T::Time32(_) | T::Time64(_)) | (T::Time32(_) | T::Time64(_), T::Date32)
    );
    if date_and_time {
        return no_cast(from, to);
    }
    let moments = Moments::new("cast", array)?;
    let mut local = if moments.zoned && !matches!(to, T::Timestamp(_, Some(_))) { cx.zone } else { Zone::UTC }.converter();
    let to_instant = matches!(to, T::Timestamp(_, Some(_))) && !moments.zoned;
    let digits = cx.fraction.map(usize::from);
    let mut read = |idx: usize| {
        let mut moment = moments.get(idx)?;
        moment.ms = if to_instant { cx.zone.to_utc(moment.ms) } else { local.to_local(moment.ms) };
        Some(moment)
    };
    let rows = 0..array.len();
    Ok(match to {
        T::Date32 => {
            let days: Date32Array = rows.map(|idx| read(idx).and_then(|m| i32::try_from(m.days()).ok())).collect();
            Arc::new(days)
        }
        T::Time32(_) => {
            let digits = digits.unwrap_or(0);
            let of_day = |m: Moment| i32::try_from(m.truncate(digits).ms.rem_euclid(DAY_MS)).ok();
            let times: Time32MillisecondArray = rows.map(|idx| read(idx).and_then(of_day)).collect();
            Arc::new(times)
        }
        T::Time64(_) => {
            let digits = digits.unwrap_or(9);
            let times: Time64NanosecondArray =
                rows.map(|idx| read(idx).map(|m| m.truncate(digits).nanos_of_day())).collect();
            Arc::new(times)
        }
        T::Timestamp(unit, _) => {
            let digits = digits.unwrap_or(fraction_digits(*unit));
            let counts: Int64Array = rows.map(|idx| read(idx)?.truncate(digits).to_units(*unit)).collect();
            let counts: ArrayRef = Arc::new(counts);
            if counts.null_count() > array.null_count() {
                cx.failed::<()>("a timestamp out of range", to)?;
            }
            arrow_cast(&counts, to)?
        }
        other => return no_cast(from, other),
    })
}

/// Intervals and what has no cast.
fn other(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = array.data_type();
    let interval = |t: &DataType| matches!(t, DataType::Interval(_) | DataType::Duration(_));
    let same_family = match (from, to) {
        (DataType::Interval(IntervalUnit::YearMonth), DataType::Interval(IntervalUnit::DayTime)) => false,
        (from, to) => interval(from) && interval(to),
    };
    if same_family { Ok(arrow_cast(array, to)?) } else { no_cast(from, to) }
}
