//! OVER: for each row the results of aggregate functions over the rows before it and itself, in its partition.
//!
//! ```text
//! rows --wait until the watermark has passed them--> in order of time --frame--> row + results
//! ```
//!
//! A row is put out once, when no earlier row can come any more; so the output never retracts. Rows of a partition come
//! one after the other, but partitions side by side: the first rows of all partitions are folded together, then the
//! second ones.

mod rows;
mod running;
#[cfg(test)]
mod tests;

use crate::aggregate::{Call, Function, Plan, show};
use arrow::datatypes::{Field, Schema, SchemaRef};
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Error, Operator, Partitioning, Result, Spec};
use running::Running;
use std::fmt;
use std::sync::Arc;

/// The rows that a result is over. Each frame ends at the current row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// ROWS BETWEEN n PRECEDING (`None`: UNBOUNDED) AND CURRENT ROW.
    Rows(Option<u64>),
    /// RANGE BETWEEN an interval in milliseconds PRECEDING (`None`: UNBOUNDED) AND CURRENT ROW: rows of the same time share
    /// their results.
    Range(Option<i64>),
}

/// LAG: a column of the row that is this many rows before, NULL where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lag {
    column: usize,
    rows: u64,
}

/// Aggregates over the rows before each row.
#[derive(Clone, Debug)]
pub struct Over {
    input: SchemaRef,
    partition: Vec<usize>,
    time: Option<usize>,
    frame: Frame,
    calls: Vec<Call>,
    lags: Vec<Lag>,
    schema: SchemaRef,
    /// The columns of the input that partition and calls use, and the plan over them.
    used: Vec<usize>,
    plan: Arc<Plan>,
    /// The calls depend on the order of the rows and the frame moves: each frame is folded anew.
    refolds: bool,
}

impl Over {
    /// Calls over frames of the rows of `input` (append-only) with equal `partition` columns, in the order of the event
    /// time `time`; without one in the order of arrival. The output is the input's columns, then the results.
    ///
    /// # Errors
    /// `User` when a call does not fit its arguments, or a RANGE has no time.
    pub fn new(
        input: SchemaRef,
        partition: Vec<usize>,
        time: Option<usize>,
        frame: Frame,
        calls: Vec<Call>,
    ) -> Result<Self> {
        if time.is_none() && matches!(frame, Frame::Range(Some(_))) {
            return Err(
                Error::user("a RANGE of time needs an event time to order by")
                    .hint("ORDER BY a column with a watermark, or use ROWS"),
            );
        }
        let arguments = calls
            .iter()
            .flat_map(|call| call.args.iter().chain(&call.filter));
        let mut used: Vec<usize> = partition.iter().chain(arguments).copied().collect();
        used.sort_unstable();
        used.dedup();
        let place = |column: &usize| used.partition_point(|used| used < column);
        let moved: Vec<Call> = calls
            .iter()
            .map(|call| Call {
                args: call.args.iter().map(place).collect(),
                filter: call.filter.as_ref().map(place),
                ..call.clone()
            })
            .collect();
        let bounded = !matches!(frame, Frame::Rows(None) | Frame::Range(None));
        let refolds = bounded && calls.iter().any(|call| in_order(call.function));
        let keys = partition.iter().map(place).collect();
        let kept = Arc::new(input.project(&used)?);
        let plan = Plan::new(&kept, keys, &moved, !bounded || refolds)?;
        let fields = input.fields().iter().map(|field| field.as_ref().clone());
        let results = calls.iter().map(|call| call.output.clone());
        Ok(Self {
            schema: Arc::new(Schema::new(fields.chain(results).collect::<Vec<_>>())),
            input,
            partition,
            time,
            frame,
            calls,
            lags: Vec::new(),
            used,
            plan: Arc::new(plan),
            refolds,
        })
    }

    /// Adds a last column of this name: `column` of the row that is `rows` before, NULL where there is none (LAG).
    ///
    /// # Errors
    /// `Internal` unless the frame is of ROWS, and that row is in it.
    pub fn lag(self, column: usize, rows: u64, name: &str) -> Result<Self> {
        if !matches!(self.frame, Frame::Rows(Some(frame)) if rows <= frame) {
            return Err(Error::internal(format!(
                "LAG over {rows} rows needs a frame of as many rows"
            )));
        }
        let lagged = self.input.project(&[column])?;
        let mut fields: Vec<Field> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        fields.push(lagged.field(0).clone().with_name(name).with_nullable(true));
        let mut lags = self.lags;
        lags.push(Lag { column, rows });
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            lags,
            ..self
        })
    }

    fn is_bounded(&self) -> bool {
        !matches!(self.frame, Frame::Rows(None) | Frame::Range(None))
    }

    /// Whether the totals don't follow from the rows that are in a frame: a sum of floats keeps the rounding of those that
    /// have left.
    fn saves_totals(&self) -> bool {
        !self.is_bounded() || !self.refolds && !self.plan.is_exact()
    }
}

/// Whether the result depends on the order of the rows.
fn in_order(function: Function) -> bool {
    matches!(
        function,
        Function::FirstValue | Function::LastValue | Function::ListAgg | Function::ArrayAgg
    )
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Over: ")?;
        show(f, &self.input, &self.partition, &self.calls)?;
        for lag in &self.lags {
            let name = self.input.field(lag.column).name();
            write!(f, " LAG({name}, {})", lag.rows)?;
        }
        match self.time {
            Some(time) => write!(f, " in order of {}", self.input.field(time).name())?,
            None => f.write_str(" in order of arrival")?,
        }
        match self.frame {
            Frame::Rows(None) => f.write_str(", ROWS UNBOUNDED PRECEDING"),
            Frame::Rows(Some(rows)) => write!(f, ", ROWS {rows} PRECEDING"),
            Frame::Range(None) => f.write_str(", RANGE UNBOUNDED PRECEDING"),
            Frame::Range(Some(ms)) => write!(f, ", RANGE {ms} ms PRECEDING"),
        }
    }
}

impl Spec for Over {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, _port: usize) -> Partitioning {
        if self.partition.is_empty() {
            Partitioning::Single
        } else {
            Partitioning::Keys(self.partition.clone())
        }
    }

    fn partitioning(&self, _inputs: &[Partitioning]) -> Partitioning {
        self.keys(0)
    }

    fn bound(&self) -> Bound {
        match (self.frame, self.time) {
            (Frame::Range(Some(_)), _) => Bound::Watermark,
            _ => {
                let name = |column: &usize| self.input.field(*column).name().as_str();
                Bound::Keys(
                    self.partition
                        .iter()
                        .map(name)
                        .collect::<Vec<_>>()
                        .join(", "),
                )
            }
        }
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Running::new(self)?))
    }
}
