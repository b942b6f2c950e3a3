//! Operators: synchronous, clock-free, deterministic.
//!
//! In a step an operator first gets the step's deltas, port by port, and judges lateness by the watermark of its
//! *last* [`Operator::advance`]; then it is told the new time once, and closes windows, fires timers, drops state.
//!
//! ```text
//! step k:   step(0, delta) step(0, delta) step(1, delta) ... advance(time k)
//! ```

use crate::{Delta, Result, StepTime};
use arrow::datatypes::SchemaRef;
use std::fmt::{Debug, Display};

/// How the rows of a stream are spread over the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// In any way.
    Any,
    /// Rows that agree in these columns (NULLs agree) are on one worker.
    Keys(Vec<usize>),
    /// All rows are on one worker.
    Single,
}

/// What keeps an operator's state from growing without end; EXPLAIN and the unbounded-state warning show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The operator keeps nothing.
    Stateless,
    /// One entry for each distinct value of these columns (named for people).
    Keys(String),
    /// The watermark drops what is behind it.
    Watermark,
    /// The wall clock drops what has passed.
    Clock,
    /// Every row of the input, as long as it is not retracted; the text says of which input.
    Rows(String),
}

/// An operator before it runs: immutable, shared by all workers, printed by EXPLAIN through `Display`.
pub trait Spec: Debug + Display + Send + Sync {
    /// The columns of the output.
    fn schema(&self) -> SchemaRef;

    /// How the input at `port` must be partitioned.
    fn keys(&self, port: usize) -> Partitioning;

    /// How the output is partitioned when the inputs are partitioned like this (after any exchange). `Any` promises
    /// nothing and is always right.
    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        let _ = inputs;
        Partitioning::Any
    }

    /// What bounds the state.
    fn bound(&self) -> Bound;

    /// Whether the operator acts as the wall clock moves, without input.
    fn clocked(&self) -> bool {
        false
    }

    /// A fresh running operator with empty state.
    fn build(&self) -> Result<Box<dyn Operator>>;
}

/// The running state of an operator on one worker.
pub trait Operator: Send {
    /// Takes a delta that arrived at `port`.
    fn step(&mut self, port: usize, delta: Delta, out: &mut Output) -> Result<()>;

    /// The step's deltas have all been seen: watermark and clock are now these.
    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        let _ = (time, out);
        Ok(())
    }

    /// The operator's state, table by table, in an order that never changes. Saved and restored generically.
    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        Vec::new()
    }
}

/// One table of an operator's state: a relation whose leading columns identify a row.
///
/// A checkpoint is what [`Checkpointed::changes`] gives; restoring applies all changes in the order in which they
/// were given to a freshly built operator. Between the two a store may compact the changes: of the changes of one key in a
/// run of consecutive ones only the last is left (in its place), and none when that is a removal and the run goes back
/// to the first. So a removal concerns its own key and nothing else, and removing what is not there changes nothing.
pub trait Checkpointed {
    /// The name of the table, unique in its operator.
    fn name(&self) -> &str;

    /// The columns of the table.
    fn schema(&self) -> SchemaRef;

    /// How many leading columns identify a row.
    fn key_columns(&self) -> usize;

    /// What changed since the last call, oldest first: weight +1 sets the row with this key, -1 removes it. The first
    /// call gives everything, and changes are tracked only from then on: who never saves pays nothing.
    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()>;

    /// Applies a change.
    fn restore(&mut self, change: &Delta) -> Result<()>;

    /// All that is there is saved already: the next `changes` gives what happens from now on.
    fn track(&mut self) -> Result<()> {
        self.changes(&mut Vec::new())
    }
}

/// What an operator puts out in a step.
#[derive(Debug, Default)]
pub struct Output {
    deltas: Vec<Delta>,
    late_rows: u64,
}

impl Output {
    /// Puts out a delta; an empty one is nothing.
    pub fn push(&mut self, delta: Delta) {
        if !delta.is_empty() {
            self.deltas.push(delta);
        }
    }

    /// Counts rows that came too late and were left out.
    pub fn late(&mut self, rows: u64) {
        self.late_rows += rows;
    }

    /// What was put out since the last take, in order.
    pub fn take(&mut self) -> Vec<Delta> {
        std::mem::take(&mut self.deltas)
    }

    /// The late rows since the last take.
    pub fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late_rows)
    }
}
