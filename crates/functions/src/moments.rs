//! Columns of dates, times and timestamps read as moments, and moments as such columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, Int64Array, PrimitiveArray, Time32MillisecondArray,
    Time64NanosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};

use crate::call::downcast;
use crate::civil::{DAY_MS, Moment};
use crate::error::{Error, Result};
use crate::types::sql_name;

/// A column of dates, times or timestamps read as moments: a date is its midnight, a time is on 1970-01-01.
pub(crate) struct Moments {
    values: Values,
    /// Whether they are instants, to be seen in a time zone.
    pub(crate) zoned: bool,
}

enum Values {
    Days(PrimitiveArray<Date32Type>),
    Units(PrimitiveArray<Int64Type>, TimeUnit),
}

impl Moments {
    /// Of a DATE, TIME, TIMESTAMP or TIMESTAMP_LTZ column.
    pub(crate) fn new(name: &str, array: &ArrayRef) -> Result<Self> {
        let units = |values| Values::Units(values, TimeUnit::Millisecond);
        let values = match array.data_type() {
            DataType::Date32 => Values::Days(downcast(name, array)?),
            DataType::Time32(TimeUnit::Second) => {
                let seconds: PrimitiveArray<Time32SecondType> = downcast(name, array)?;
                Values::Units(seconds.unary(i64::from), TimeUnit::Second)
            }
            DataType::Time32(_) => {
                let ms: PrimitiveArray<Time32MillisecondType> = downcast(name, array)?;
                units(ms.unary(i64::from))
            }
            DataType::Time64(TimeUnit::Microsecond) => Values::Units(
                plain::<Time64MicrosecondType>(name, array)?,
                TimeUnit::Microsecond,
            ),
            DataType::Time64(_) => Values::Units(
                plain::<Time64NanosecondType>(name, array)?,
                TimeUnit::Nanosecond,
            ),
            DataType::Timestamp(unit, _) => Values::Units(timestamps(name, array, *unit)?, *unit),
            other => {
                let message = format!("{} is no date, time or timestamp", sql_name(other));
                return Err(Error::argument(name, message).into());
            }
        };
        Ok(Self {
            values,
            zoned: matches!(array.data_type(), DataType::Timestamp(_, Some(_))),
        })
    }

    /// The value at an index.
    #[inline]
    pub(crate) fn get(&self, idx: usize) -> Option<Moment> {
        match &self.values {
            Values::Days(days) => days
                .is_valid(idx)
                .then(|| Moment::from_ms(i64::from(days.value(idx)) * DAY_MS)),
            Values::Units(values, unit) => values
                .is_valid(idx)
                .then(|| Moment::from_units(values.value(idx), *unit)),
        }
    }
}

fn plain<T: ArrowPrimitiveType<Native = i64>>(name: &str, array: &ArrayRef) -> Result<Int64Array> {
    Ok(downcast::<PrimitiveArray<T>>(name, array)?.reinterpret_cast())
}

/// The counts of a timestamp column.
fn timestamps(name: &str, array: &ArrayRef, unit: TimeUnit) -> Result<Int64Array> {
    match unit {
        TimeUnit::Second => plain::<TimestampSecondType>(name, array),
        TimeUnit::Millisecond => plain::<TimestampMillisecondType>(name, array),
        TimeUnit::Microsecond => plain::<TimestampMicrosecondType>(name, array),
        TimeUnit::Nanosecond => plain::<TimestampNanosecondType>(name, array),
    }
}

/// The column of a temporal type that holds these moments: of a time the part within its day. A moment that the type
/// cannot hold is NULL.
pub(crate) fn column(
    name: &str,
    data_type: &DataType,
    rows: usize,
    mut moment: impl FnMut(usize) -> Option<Moment>,
) -> Result<ArrayRef> {
    let rows = 0..rows;
    Ok(match data_type {
        DataType::Date32 => {
            let days: Date32Array = rows
                .map(|row| i32::try_from(moment(row)?.days()).ok())
                .collect();
            Arc::new(days)
        }
        DataType::Time32(_) => {
            let ms: Time32MillisecondArray = rows
                .map(|row| i32::try_from(moment(row)?.ms_of_day()).ok())
                .collect();
            Arc::new(ms)
        }
        DataType::Time64(_) => {
            let nanos: Time64NanosecondArray =
                rows.map(|row| Some(moment(row)?.nanos_of_day())).collect();
            Arc::new(nanos)
        }
        DataType::Timestamp(unit, _) => {
            let counts: Int64Array = rows.map(|row| moment(row)?.to_units(*unit)).collect();
            cast(&(Arc::new(counts) as ArrayRef), data_type)?
        }
        other => {
            let message = format!("{} is no date, time or timestamp", sql_name(other));
            return Err(Error::argument(name, message).into());
        }
    })
}
