//! PROCTIME(): stamps rows with the step's reading of the wall clock. Only inserts: what is retracted would have to carry the time
//! at which it was inserted.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMillisecondArray};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{
    Delta, Operator, Output, Partitioning, Result, Spec, StepTime, Watermark,
};
use std::fmt;
use std::sync::Arc;

/// Puts the clock's reading into a column.
#[derive(Clone, Debug)]
pub struct Stamp {
    schema: SchemaRef,
    column: usize,
}

impl Stamp {
    /// Rows of `schema`, whose TIMESTAMP_LTZ column at `column` takes the clock's reading.
    pub fn new(schema: SchemaRef, column: usize) -> Self {
        Self { schema, column }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Stamp: PROCTIME() AS {}",
            self.schema.field(self.column).name()
        )
    }
}

impl Spec for Stamp {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, _port: usize) -> Partitioning {
        Partitioning::Any
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        inputs.first().cloned().unwrap_or(Partitioning::Any)
    }

    fn bound(&self) -> Bound {
        Bound::Stateless
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Stamping {
            spec: self.clone(),
            waiting: Vec::new(),
        }))
    }
}

/// The rows of a step wait for its end, when the clock is told.
struct Stamping {
    spec: Stamp,
    waiting: Vec<Delta>,
}

impl Operator for Stamping {
    fn step(&mut self, _port: usize, delta: Delta, _out: &mut Output) -> Result<()> {
        self.waiting.push(delta);
        Ok(())
    }

    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        let Stamp { schema, column } = &self.spec;
        for delta in self.waiting.drain(..) {
            let now = TimestampMillisecondArray::from_value(time.now_ms, delta.rows());
            let mut columns: Vec<ArrayRef> = delta.batch().columns().to_vec();
            columns[*column] =
                compute::cast(&now.with_timezone("UTC"), schema.field(*column).data_type())?;
            let options = RecordBatchOptions::new().with_row_count(Some(delta.rows()));
            let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
            out.push(delta.with_batch(batch)?);
        }
        Ok(())
    }
}

/// An operator whose event time is the wall clock (windows over PROCTIME()). The end of the input is no time: windows that are open
/// then stay open, as in Flink.
#[derive(Clone, Debug)]
pub struct OnClock(Arc<dyn Spec>);

impl OnClock {
    /// Runs `spec` by the clock.
    pub fn new(spec: Arc<dyn Spec>) -> Self {
        Self(spec)
    }
}

impl fmt::Display for OnClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by the clock", self.0)
    }
}

impl Spec for OnClock {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn keys(&self, port: usize) -> Partitioning {
        self.0.keys(port)
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        self.0.partitioning(inputs)
    }

    fn bound(&self) -> Bound {
        Bound::Clock
    }

    fn clocked(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Clocked(self.0.build()?)))
    }
}

struct Clocked(Box<dyn Operator>);

impl Operator for Clocked {
    fn step(&mut self, port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        self.0.step(port, delta, out)
    }

    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        // Rows of this very millisecond may still come.
        let watermark = Watermark(time.now_ms - 1);
        self.0.advance(StepTime { watermark, ..time }, out)
    }

    fn tables(&mut self) -> Vec<&mut dyn millstream_dataflow::operator::Checkpointed> {
        self.0.tables()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::{Call, Function};
    use crate::window::{Window, WindowAggregate, WindowColumn};
    use arrow::datatypes::{DataType, Field};
    use millstream_dataflow::testing::{Script, check, delta, run, schema, show_sum};

    #[test]
    fn rows_carry_the_reading_of_their_step() {
        let columns = "a text, p timestamp";
        let script = Script::new()
            .step_at(vec![(0, delta(columns, "+1 x NULL"))], 0, 1_000)
            .step_at(vec![(0, delta(columns, "+1 y NULL"))], 0, 2_000);
        let stamped = run(&Stamp::new(schema(columns), 1), &script, 2, Some(3));
        assert_eq!(
            show_sum(&stamped),
            "+1 x 1970-01-01T00:00:01 / +1 y 1970-01-01T00:00:02"
        );
    }

    #[test]
    fn windows_close_by_the_clock_and_not_at_the_end() {
        let columns = "a text, p timestamp";
        let calls = vec![Call {
            function: Function::Count,
            args: Vec::new(),
            filter: None,
            distinct: false,
            output: Field::new("n", DataType::Int64, true),
        }];
        let window = Window::Tumble {
            size_ms: 10_000,
            offset_ms: 0,
        };
        let shown = vec![WindowColumn::Key(0), WindowColumn::Call(0)];
        let spec =
            WindowAggregate::new(schema(columns), window, 1, vec![0], calls, shown, true).unwrap();
        let script = Script::new()
            .step_at(
                vec![(
                    0,
                    delta(
                        columns,
                        "+1 x 1970-01-01T00:00:01 / +1 x 1970-01-01T00:00:02",
                    ),
                )],
                i64::MIN,
                2_000,
            )
            .step_at(
                vec![(0, delta(columns, "+1 x 1970-01-01T00:00:11"))],
                i64::MIN,
                11_000,
            )
            .step_at(Vec::new(), i64::MAX, 12_000);
        assert_eq!(check(&OnClock::new(Arc::new(spec)), &script), "+1 x 2");
    }
}
