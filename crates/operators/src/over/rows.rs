//! The rows of an OVER: those that wait for the watermark, by time, and those in a frame.

use crate::deadline;
use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Error, Result, Step, Watermark};
use millstream_state::RowLog;
use std::collections::BTreeMap;

/// A step's rows are numbered from its own number shifted by this: in the order of arrival, over restores too.
const STEP_SHIFT: u32 = 24;

/// The number of the first row of a step.
pub(super) fn number_of(step: Step) -> i64 {
    (step.0 << STEP_SHIFT) as i64
}

/// The rows, with their order of arrival and whether they are in a frame.
#[derive(Debug)]
pub(super) struct Rows {
    log: RowLog,
    arrival: usize,
    time: Option<usize>,
    /// Units of the time column in a millisecond.
    per_ms: i64,
    waiting: BTreeMap<i64, Vec<u32>>,
    restored: bool,
}

impl Rows {
    pub(super) fn new(input: &SchemaRef, time: Option<usize>) -> Result<Self> {
        let own = ["arrival", "framed"].map(|name| Field::new(name, DataType::Int64, false));
        let kept = input.fields().iter().map(|field| field.as_ref().clone());
        let per_ms = match time.map(|time| input.field(time).data_type()) {
            Some(DataType::Timestamp(TimeUnit::Microsecond, _)) => 1_000,
            Some(DataType::Timestamp(TimeUnit::Nanosecond, _)) => 1_000_000,
            Some(_) | None => 1,
        };
        Ok(Self {
            log: RowLog::new("rows", &Schema::new(kept.chain(own).collect::<Vec<_>>()))?,
            arrival: input.fields().len(),
            time,
            per_ms,
            waiting: BTreeMap::new(),
            restored: false,
        })
    }

    /// A number of milliseconds in units of the time column.
    pub(super) fn span(&self, ms: i64) -> i64 {
        ms.saturating_mul(self.per_ms)
    }

    /// The time up to which no row is expected, in units of the time column.
    pub(super) fn time_of(&self, watermark: Watermark) -> i64 {
        self.span(watermark.0)
    }

    /// Times in units of the time column; all the same without one.
    fn times(
        &self,
        column: impl Fn(usize) -> Result<ArrayRef>,
        rows: usize,
    ) -> Result<Vec<Option<i64>>> {
        let Some(time) = self.time else {
            return Ok(vec![Some(i64::MIN); rows]);
        };
        let times = column(time)?;
        if self.per_ms == 1 {
            return deadline::from(&times, true);
        }
        let times = compute::cast(&times, &DataType::Int64)?;
        Ok(times.as_primitive::<Int64Type>().iter().collect())
    }

    fn times_of(&self, ids: &[u32]) -> Result<Vec<i64>> {
        let times = self.times(|column| self.gather(column, ids), ids.len())?;
        let known =
            |time: Option<i64>| time.ok_or_else(|| Error::internal("a row without a time waits"));
        times.into_iter().map(known).collect()
    }

    /// The rows that the watermark has not passed; one without a time has no place in the order.
    pub(super) fn on_time(&self, delta: &Delta, watermark: Watermark) -> Result<BooleanArray> {
        if self.time.is_none() {
            return Ok(vec![true; delta.rows()].into());
        }
        let now = self.time_of(watermark);
        let times = self.times(
            |column| Ok(ArrayRef::clone(delta.column(column))),
            delta.rows(),
        )?;
        Ok(times
            .into_iter()
            .map(|time| Some(time.is_some_and(|time| time > now)))
            .collect())
    }

    /// Adds rows to those that wait; the first has this number.
    pub(super) fn insert(&mut self, delta: &Delta, number: i64) -> Result<()> {
        if !delta.is_append_only() {
            return Err(Error::internal(
                "an input that was planned as append-only retracts a row",
            ));
        }
        let mut columns = delta.batch().columns().to_vec();
        let numbers = number..number + delta.rows() as i64;
        columns.push(std::sync::Arc::new(Int64Array::from_iter_values(numbers)));
        columns.push(std::sync::Arc::new(Int64Array::from_value(0, delta.rows())));
        let mut ids = Vec::new();
        let most = (0..delta.rows()).map(|row| delta.weight(row)).max();
        // A weight of n stands for n rows.
        for copy in 0..most.unwrap_or(0) {
            let again: BooleanArray = (0..delta.rows())
                .map(|row| Some(delta.weight(row) > copy))
                .collect();
            let columns = columns
                .iter()
                .map(|column| Ok(compute::filter(column, &again)?))
                .collect::<Result<Vec<_>>>()?;
            self.log.insert(&columns, again.true_count(), &mut ids)?;
            for (id, time) in ids.iter().zip(self.times_of(&ids)?) {
                self.waiting.entry(time).or_default().push(*id);
            }
        }
        Ok(())
    }

    /// The rows that the watermark has passed, with their times, in order.
    pub(super) fn take_due(&mut self, watermark: Watermark) -> Vec<(i64, u32)> {
        let now = match self.time {
            Some(_) => self.time_of(watermark),
            None => i64::MAX,
        };
        let mut due = Vec::new();
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() <= now
        {
            let time = *entry.key();
            let mut ids = entry.remove();
            ids.sort_by_key(|id| (self.log.integer(self.arrival, *id), *id));
            due.extend(ids.into_iter().map(|id| (time, id)));
        }
        due
    }

    pub(super) fn gather(&self, column: usize, ids: &[u32]) -> Result<ArrayRef> {
        self.log.gather(column, ids)
    }

    pub(super) fn gather_or_null(&self, column: usize, ids: &[u32]) -> Result<ArrayRef> {
        self.log.gather_or_null(column, ids)
    }

    /// These rows are in a frame now.
    pub(super) fn frame(&mut self, ids: &[u32]) {
        let framed = self.arrival + 1;
        ids.iter()
            .for_each(|id| self.log.set_integer(framed, *id, 1));
    }

    pub(super) fn remove(&mut self, ids: &[u32]) {
        ids.iter().for_each(|id| self.log.remove(*id));
    }

    /// Sorts restored rows; gives those in a frame, with their times, in order.
    pub(super) fn refresh(&mut self) -> Result<Vec<(i64, u32)>> {
        if !std::mem::take(&mut self.restored) {
            return Ok(Vec::new());
        }
        let ids: Vec<u32> = self.log.ids().collect();
        let mut rows: Vec<(i64, u32)> = self.times_of(&ids)?.into_iter().zip(ids).collect();
        rows.sort_by_key(|(time, id)| (*time, self.log.integer(self.arrival, *id), *id));
        let framed = |id: u32| self.log.integer(self.arrival + 1, id) != 0;
        let (framed, waiting): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, id)| framed(*id));
        for (time, id) in waiting {
            self.waiting.entry(time).or_default().push(id);
        }
        Ok(framed)
    }
}

impl Checkpointed for Rows {
    fn name(&self) -> &str {
        self.log.name()
    }

    fn schema(&self) -> SchemaRef {
        self.log.schema()
    }

    fn key_columns(&self) -> usize {
        self.log.key_columns()
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        self.log.changes(out)
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        self.restored = true;
        self.log.restore(change)
    }

    fn track(&mut self) -> Result<()> {
        self.log.track()
    }
}
