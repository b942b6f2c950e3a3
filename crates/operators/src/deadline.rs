//! Rows, or groups of rows, by the watermark at which they are past use.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use millstream_dataflow::{Error, Result};
use std::collections::BTreeMap;

/// When a row is past use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadlinePlan {
    /// The time column.
    pub(crate) column: usize,
    /// What to add to it.
    pub(crate) plus_ms: i64,
    /// How coarsely deadlines are kept.
    pub(crate) grain_ms: i64,
}

impl DeadlinePlan {
    /// Past use once the window has closed whose exclusive end the column holds.
    pub(crate) fn window_end(column: usize) -> Self {
        Self {
            column,
            plus_ms: -1,
            grain_ms: 1,
        }
    }
}

/// Ids by deadline, rounded up to the grain.
#[derive(Debug)]
pub(crate) struct Deadlines {
    plan: DeadlinePlan,
    buckets: BTreeMap<i64, Vec<u32>>,
}

impl Deadlines {
    pub(crate) fn new(plan: DeadlinePlan) -> Self {
        Self {
            plan,
            buckets: BTreeMap::new(),
        }
    }

    /// The column of the input that says when.
    pub(crate) fn column(&self) -> usize {
        self.plan.column
    }

    /// The watermark at which each row is past use; `None` where the time is NULL: such a row has no partner.
    pub(crate) fn of(&self, times: &ArrayRef) -> Result<Vec<Option<i64>>> {
        let plus = self.plan.plus_ms;
        let times = millis(times)?;
        Ok(times
            .into_iter()
            .map(|time| time.map(|time| time.saturating_add(plus)))
            .collect())
    }

    pub(crate) fn add(&mut self, id: u32, deadline_ms: i64) {
        let grain = self.plan.grain_ms;
        let bucket = deadline_ms.div_euclid(grain) + i64::from(deadline_ms.rem_euclid(grain) != 0);
        self.buckets.entry(bucket).or_default().push(id);
    }

    /// Takes the rows whose deadline this watermark has reached. Some may be gone already, or be others by now.
    pub(crate) fn take(&mut self, watermark_ms: i64) -> Vec<u32> {
        let reached = watermark_ms.div_euclid(self.plan.grain_ms);
        let kept = match reached.checked_add(1) {
            Some(first) => self.buckets.split_off(&first),
            None => BTreeMap::new(),
        };
        std::mem::replace(&mut self.buckets, kept)
            .into_values()
            .flatten()
            .collect()
    }
}

/// Times as milliseconds, rounded up.
fn millis(times: &ArrayRef) -> Result<Vec<Option<i64>>> {
    let up = |value: i64, per_ms: i64| {
        value.div_euclid(per_ms) + i64::from(value.rem_euclid(per_ms) != 0)
    };
    Ok(match times.data_type() {
        DataType::Int64 => times.as_primitive::<Int64Type>().iter().collect(),
        DataType::Timestamp(TimeUnit::Second, _) => times
            .as_primitive::<TimestampSecondType>()
            .iter()
            .map(|time| time.map(|time| time.saturating_mul(1000)))
            .collect(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => times
            .as_primitive::<TimestampMillisecondType>()
            .iter()
            .collect(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => times
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .map(|time| time.map(|time| up(time, 1000)))
            .collect(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => times
            .as_primitive::<TimestampNanosecondType>()
            .iter()
            .map(|time| time.map(|time| up(time, 1_000_000)))
            .collect(),
        DataType::Date32 => times
            .as_primitive::<Date32Type>()
            .iter()
            .map(|day| day.map(|day| i64::from(day) * 86_400_000))
            .collect(),
        other => {
            return Err(Error::internal(format!(
                "the time column of a join is {other}"
            )));
        }
    })
}
