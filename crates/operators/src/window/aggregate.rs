//! The window aggregate: its plan and what it prints. [`super::sliced`] and [`super::session`] run it.

use super::local::LocalTime;
use super::session::Sessions;
use super::sliced::Sliced;
use super::span::Window;
use crate::aggregate::{Call, Plan, show};
use arrow::datatypes::{Field, Schema, SchemaRef};
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Delta, Error, Operator, Partitioning, Result, Spec};
use std::fmt;
use std::sync::Arc;

/// GROUP BY window and keys: one row for each window and key, once, when the watermark closes the window.
#[derive(Clone, Debug)]
pub struct WindowAggregate {
    input: SchemaRef,
    keys: Vec<usize>,
    calls: Vec<Call>,
    shape: Arc<Shape>,
}

/// A column of the output of a [`WindowAggregate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowColumn {
    /// A key, by its place among the keys.
    Key(usize),
    /// The window's begin, of this name: TIMESTAMP(3), local.
    Start(String),
    /// The window's end (exclusive), of this name: TIMESTAMP(3), local.
    End(String),
    /// The window's last millisecond, of this name: a time attribute of the same kind as the time column.
    Time(String),
    /// The result of a call, by its place among the calls.
    Call(usize),
}

/// What a running window aggregate needs to know.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) window: Window,
    pub(super) time: LocalTime,
    /// The time column, and the columns that keys and calls use: the first of `needed` is the time.
    pub(super) needed: Vec<usize>,
    /// The calls over the columns of `needed`.
    pub(super) plan: Arc<Plan>,
    pub(super) key_fields: Vec<Field>,
    pub(super) columns: Vec<WindowColumn>,
    pub(super) schema: SchemaRef,
}

impl WindowAggregate {
    /// An aggregation of `input` by windows over the column `time` (TIMESTAMP or TIMESTAMP_LTZ, whose windows follow
    /// its zone's local time) and `keys` (columns of the input). `columns` says what is put out. `append_only_input`
    /// says that no row is ever retracted: less state is kept.
    ///
    /// # Errors
    /// `User` when the window makes no sense, `time` is no time, a call does not fit its arguments, or SESSION windows
    /// get retractions.
    pub fn new(
        input: SchemaRef,
        window: Window,
        time: usize,
        keys: Vec<usize>,
        calls: Vec<Call>,
        columns: Vec<WindowColumn>,
        append_only_input: bool,
    ) -> Result<Self> {
        window.check()?;
        if matches!(window, Window::Session { .. }) && !append_only_input {
            return Err(
                Error::user("SESSION windows do not take updates and deletes").hint(
                    "aggregate the changes before the window, or use TUMBLE, HOP or CUMULATE",
                ),
            );
        }
        let local = LocalTime::new(input.field(time))?;
        let schema = output_schema(&input, &local, &keys, &calls, &columns);
        let mut needed = vec![time];
        let mut place = |column: usize| {
            needed
                .iter()
                .position(|held| *held == column)
                .unwrap_or_else(|| {
                    needed.push(column);
                    needed.len() - 1
                })
        };
        let mut moved = calls.clone();
        for call in &mut moved {
            call.args.iter_mut().for_each(|arg| *arg = place(*arg));
            call.filter = call.filter.map(&mut place);
        }
        let moved_keys = keys.iter().map(|key| place(*key)).collect();
        let projected = Arc::new(input.project(&needed)?);
        let plan = Plan::new(&projected, moved_keys, &moved, append_only_input)?;
        let shape = Shape {
            window,
            time: local,
            needed,
            plan: Arc::new(plan),
            key_fields: keys.iter().map(|key| input.field(*key).clone()).collect(),
            columns,
            schema,
        };
        Ok(Self {
            input,
            keys,
            calls,
            shape: Arc::new(shape),
        })
    }
}

fn output_schema(
    input: &SchemaRef,
    time: &LocalTime,
    keys: &[usize],
    calls: &[Call],
    columns: &[WindowColumn],
) -> SchemaRef {
    let fields = columns.iter().map(|column| match column {
        WindowColumn::Key(at) => input.field(keys[*at]).clone(),
        WindowColumn::Call(at) => calls[*at].output.clone(),
        WindowColumn::Start(name) | WindowColumn::End(name) => {
            Field::new(name, LocalTime::bound_type(), false)
        }
        WindowColumn::Time(name) => Field::new(name, time.window_time_type(), false),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl Shape {
    /// The delta with the needed columns only.
    pub(super) fn project(&self, delta: &Delta) -> Result<Delta> {
        delta.with_batch(delta.batch().project(&self.needed)?)
    }
}

impl fmt::Display for WindowAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.input.field(self.shape.needed[0]).name();
        write!(f, "WindowAggregate {} on {time} ", self.shape.window)?;
        show(f, &self.input, &self.keys, &self.calls)
    }
}

impl Spec for WindowAggregate {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shape.schema)
    }

    fn keys(&self, _: usize) -> Partitioning {
        if self.keys.is_empty() {
            Partitioning::Single
        } else {
            Partitioning::Keys(self.keys.clone())
        }
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        let place = |column: &usize| {
            let key = self.keys.iter().position(|key| key == column)?;
            let shown = |column: &WindowColumn| *column == WindowColumn::Key(key);
            self.shape.columns.iter().position(shown)
        };
        match inputs.first() {
            Some(Partitioning::Single) => Partitioning::Single,
            Some(Partitioning::Keys(columns)) => {
                let moved: Option<Vec<usize>> = columns.iter().map(place).collect();
                moved.map_or(Partitioning::Any, Partitioning::Keys)
            }
            Some(Partitioning::Any) | None => Partitioning::Any,
        }
    }

    fn bound(&self) -> Bound {
        Bound::Watermark
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        match self.shape.window {
            Window::Session { .. } => Ok(Box::new(Sessions::new(&self.shape)?)),
            Window::Tumble { .. } | Window::Hop { .. } | Window::Cumulate { .. } => {
                Ok(Box::new(Sliced::new(&self.shape)?))
            }
        }
    }
}
