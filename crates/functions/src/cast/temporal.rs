//! DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ among each other. What is cut is cut toward the past, a local time becomes
//! an instant in the session's time zone.

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, IntervalUnit};

use super::{Cx, no_cast};
use crate::error::Result;
use crate::moments::{Moments, column};
use crate::types::fraction_digits;
use crate::zone::Zone;

/// A temporal value as another.
pub(super) fn convert(array: &ArrayRef, to: &DataType, cx: &Cx<'_>) -> Result<ArrayRef> {
    use DataType as T;
    let from = array.data_type();
    let temporal = |t: &DataType| {
        matches!(
            t,
            T::Date32 | T::Time32(_) | T::Time64(_) | T::Timestamp(..)
        )
    };
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
    let mut local = if moments.zoned && !matches!(to, T::Timestamp(_, Some(_))) {
        cx.zone
    } else {
        Zone::UTC
    }
    .converter();
    let to_instant = matches!(to, T::Timestamp(_, Some(_))) && !moments.zoned;
    let digits = cx.fraction.map(usize::from);
    let digits = match to {
        T::Timestamp(unit, _) => digits.unwrap_or(fraction_digits(*unit)),
        T::Time64(_) => digits.unwrap_or(9),
        _ => digits.unwrap_or(0),
    };
    let converted = column("cast", to, array.len(), |idx| {
        let mut moment = moments.get(idx)?;
        moment.ms = if to_instant {
            cx.zone.to_utc(moment.ms)
        } else {
            local.local(moment.ms)
        };
        Some(moment.truncate(digits))
    })?;
    if converted.null_count() > array.null_count() {
        cx.failed::<()>("a timestamp out of range", to)?;
    }
    Ok(converted)
}

/// Intervals and what has no cast.
fn other(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = array.data_type();
    let interval = |t: &DataType| matches!(t, DataType::Interval(_) | DataType::Duration(_));
    let same_family = match (from, to) {
        (
            DataType::Interval(IntervalUnit::YearMonth),
            DataType::Interval(IntervalUnit::DayTime),
        ) => false,
        (from, to) => interval(from) && interval(to),
    };
    if same_family {
        Ok(arrow_cast(array, to)?)
    } else {
        no_cast(from, to)
    }
}
