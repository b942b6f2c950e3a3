//! Event times as local milliseconds, and which local times a watermark has passed.

use super::zone::Zone;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowTimestampType, DataType, Field, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use millstream_dataflow::{Error, Result, Watermark};
use std::sync::Arc;

/// The time column of a window operator.
#[derive(Clone, Debug)]
pub(crate) struct LocalTime {
    name: String,
    zone: Zone,
    zone_name: Option<Arc<str>>,
    unit: TimeUnit,
}

impl LocalTime {
    /// # Errors
    /// `User` when the column is no timestamp.
    pub(crate) fn new(field: &Field) -> Result<Self> {
        let DataType::Timestamp(unit, zone_name) = field.data_type() else {
            return Err(Error::user(format!(
                "{} is no time for a window: its type is {}, not TIMESTAMP or TIMESTAMP_LTZ",
                field.name(),
                field.data_type()
            )));
        };
        Ok(Self {
            name: field.name().clone(),
            zone: zone_name.as_deref().map_or(Ok(Zone::UTC), Zone::parse)?,
            zone_name: zone_name.clone(),
            unit: *unit,
        })
    }

    /// The local times of a column, in milliseconds (rounded down).
    ///
    /// # Errors
    /// `BadData` when a time is NULL.
    pub(crate) fn read(&self, column: &ArrayRef) -> Result<Vec<i64>> {
        if column.null_count() > 0 {
            return Err(
                Error::bad_data(format!("the time {} of a row is NULL", self.name))
                    .hint("filter such rows out before the window"),
            );
        }
        let mut times = match self.unit {
            TimeUnit::Second => read::<TimestampSecondType>(column, |v| v.saturating_mul(1000)),
            TimeUnit::Millisecond => read::<TimestampMillisecondType>(column, |v| v),
            TimeUnit::Microsecond => {
                read::<TimestampMicrosecondType>(column, |v| v.div_euclid(1000))
            }
            TimeUnit::Nanosecond => {
                read::<TimestampNanosecondType>(column, |v| v.div_euclid(1_000_000))
            }
        };
        self.zone.to_local(&mut times);
        Ok(times)
    }

    /// The greatest local time such that windows that end there are closed.
    pub(crate) fn closed(&self, watermark: Watermark) -> i64 {
        let guess = match (self.zone, watermark) {
            (_, Watermark::MIN | Watermark::MAX) => return watermark.0,
            (Zone::Fixed { offset_ms }, _) => return watermark.0.saturating_add(1 + offset_ms),
            (Zone::Named(_), Watermark(ms)) => ms,
        };
        // A window that ends at e is closed when e - 1 is due, and later times are due later.
        let day = 86_400_000;
        let (mut closed, mut open) = (guess - 2 * day, guess + 2 * day);
        while open - closed > 1 {
            let middle = closed + (open - closed) / 2;
            if self.zone.due(middle - 1) <= watermark.0 {
                closed = middle;
            } else {
                open = middle;
            }
        }
        closed
    }

    /// The type of window_start and window_end.
    pub(crate) fn bound_type() -> DataType {
        DataType::Timestamp(TimeUnit::Millisecond, None)
    }

    /// The type of window_time: a time of the same kind as the column's.
    pub(crate) fn window_time_type(&self) -> DataType {
        DataType::Timestamp(TimeUnit::Millisecond, self.zone_name.clone())
    }

    /// Window bounds as a column.
    pub(crate) fn bounds(&self, local: Vec<i64>) -> ArrayRef {
        Arc::new(PrimitiveArray::<TimestampMillisecondType>::new(
            local.into(),
            None,
        ))
    }

    /// window_time, the last millisecond of windows that end at these local times, as a column.
    pub(crate) fn window_times(&self, ends: &[i64]) -> ArrayRef {
        let times: Vec<i64> = match self.zone {
            Zone::Fixed { offset_ms } => ends.iter().map(|end| end - 1 - offset_ms).collect(),
            Zone::Named(_) => {
                let (mut last, mut due) = (None, 0);
                let due = |end: &i64| {
                    if last != Some(*end) {
                        last = Some(*end);
                        due = self.zone.due(*end - 1);
                    }
                    due
                };
                ends.iter().map(due).collect()
            }
        };
        let column = PrimitiveArray::<TimestampMillisecondType>::new(times.into(), None);
        Arc::new(column.with_timezone_opt(self.zone_name.clone()))
    }
}

fn read<T: ArrowTimestampType>(column: &ArrayRef, ms: impl Fn(i64) -> i64) -> Vec<i64> {
    column
        .as_primitive::<T>()
        .values()
        .iter()
        .map(|value| ms(*value))
        .collect()
}
