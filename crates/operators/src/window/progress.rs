//! How far a window operator has come: what a restored one must know to fire nothing twice.

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Result};
use std::sync::Arc;

/// The local time up to which windows are closed, and the number of the next row in the order of arrival.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) closed: i64,
    arrived: u64,
    dirty: bool,
    schema: SchemaRef,
}

impl Default for Progress {
    fn default() -> Self {
        let columns = ["id", "closed_ms", "arrived"];
        let fields = columns.map(|name| Field::new(name, DataType::Int64, false));
        Self {
            closed: i64::MIN,
            arrived: 0,
            dirty: false,
            schema: Arc::new(Schema::new(fields.to_vec())),
        }
    }
}

impl Progress {
    /// Rows arrive: the number of the first.
    pub(super) fn arrive(&mut self, rows: usize) -> u64 {
        self.dirty = true;
        let first = self.arrived;
        self.arrived += rows as u64;
        first
    }

    /// Windows that end up to this local time are closed.
    pub(super) fn close(&mut self, closed: i64) {
        self.dirty = true;
        self.closed = closed;
    }
}

impl Checkpointed for Progress {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn key_columns(&self) -> usize {
        1
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        if std::mem::take(&mut self.dirty) {
            let values = [0, self.closed, self.arrived as i64];
            let columns = values.map(|value| Arc::new(Int64Array::from(vec![value])) as _);
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns.to_vec())?;
            out.push(Delta::inserts(batch));
        }
        Ok(())
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        for row in (0..change.rows()).filter(|row| change.weight(*row) > 0) {
            let value = |at: usize| change.column(at).as_primitive::<Int64Type>().value(row);
            self.closed = self.closed.max(value(1));
            self.arrived = self.arrived.max(value(2) as u64);
        }
        self.dirty = true;
        Ok(())
    }

    fn track(&mut self) -> Result<()> {
        self.dirty = false;
        Ok(())
    }
}
