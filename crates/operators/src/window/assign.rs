//! The window table functions without an aggregation: each row with the bounds of its windows, once a window.

use super::local::LocalTime;
use super::span::Window;
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Delta, Error, Operator, Output, Partitioning, Result, Spec};
use std::fmt;
use std::sync::Arc;

/// TUMBLE, HOP or CUMULATE over a stream: its columns, then window_start, window_end (TIMESTAMP(3), local) and
/// window_time (a time of the same kind as the time column). HOP and CUMULATE repeat a row for each of its windows.
#[derive(Clone, Debug)]
pub struct Assign {
    input: SchemaRef,
    window: Window,
    column: usize,
    time: LocalTime,
    schema: SchemaRef,
}

impl Assign {
    /// Windows over the column `time` (TIMESTAMP or TIMESTAMP_LTZ).
    ///
    /// # Errors
    /// `User` when the window makes no sense, `time` is no time, or the window is a SESSION, whose bounds are known
    /// only when it ends.
    pub fn new(input: SchemaRef, window: Window, time: usize) -> Result<Self> {
        window.check()?;
        if matches!(window, Window::Session { .. }) {
            return Err(Error::user("SESSION windows are known only when they end")
                .hint("aggregate over the window: GROUP BY window_start, window_end"));
        }
        let local = LocalTime::new(input.field(time))?;
        let bound = |name: &str| Field::new(name, LocalTime::bound_type(), false);
        let fields = input
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .chain([
                bound("window_start"),
                bound("window_end"),
                Field::new("window_time", local.window_time_type(), false),
            ]);
        Ok(Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            input,
            window,
            column: time,
            time: local,
        })
    }
}

impl fmt::Display for Assign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Window {} on {}",
            self.window,
            self.input.field(self.column).name()
        )
    }
}

impl Spec for Assign {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, _: usize) -> Partitioning {
        Partitioning::Any
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        inputs.first().cloned().unwrap_or(Partitioning::Any)
    }

    fn bound(&self) -> Bound {
        Bound::Stateless
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Running(self.clone())))
    }
}

struct Running(Assign);

impl Operator for Running {
    fn step(&mut self, _: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let spec = &self.0;
        let times = spec.time.read(delta.column(spec.column))?;
        let (mut rows, mut begins, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (row, ms) in times.iter().enumerate() {
            spec.window.each_window(*ms, |begin, end| {
                rows.push(row as u32);
                begins.push(begin);
                ends.push(end);
            });
        }
        let once = matches!(spec.window, Window::Tumble { .. });
        let delta = if once {
            delta
        } else {
            delta.take(&UInt32Array::from(rows))?
        };
        let mut columns: Vec<ArrayRef> = delta.batch().columns().to_vec();
        let window_times = spec.time.window_times(&ends);
        columns.extend([
            spec.time.bounds(begins),
            spec.time.bounds(ends),
            window_times,
        ]);
        let batch = RecordBatch::try_new(Arc::clone(&spec.schema), columns)?;
        out.push(delta.with_batch(batch)?);
        Ok(())
    }
}
