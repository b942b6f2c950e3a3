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
    from(times, true)
}

/// The first millisecond at which a clock shows a time (`reached`), or has passed it.
pub(crate) fn from(times: &ArrayRef, reached: bool) -> Result<Vec<Option<i64>>> {
    let first = |value: i64, per_ms: i64| {
        let exact = value.rem_euclid(per_ms) == 0;
        value.div_euclid(per_ms) + i64::from(!reached || !exact)
    };
    let whole = |value: i64| value.saturating_add(i64::from(!reached));
    macro_rules! each {
        ($kind:ty, $time:expr) => {
            times
                .as_primitive::<$kind>()
                .iter()
                .map(|time| time.map($time))
                .collect()
        };
    }
    Ok(match times.data_type() {
        DataType::Int64 => each!(Int64Type, whole),
        DataType::Timestamp(TimeUnit::Second, _) => {
            each!(TimestampSecondType, |time| whole(time.saturating_mul(1000)))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => each!(TimestampMillisecondType, whole),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            each!(TimestampMicrosecondType, |time| first(time, 1000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            each!(TimestampNanosecondType, |time| first(time, 1_000_000))
        }
        DataType::Date32 => each!(Date32Type, |day| whole(i64::from(day) * 86_400_000)),
        other => {
            return Err(Error::internal(format!("{other} is not a time column")));
        }
    })
}
