//! Where rows come from: a [`Source`] has partitions, a partition is read by a [`Reader`] from an [`Offset`] on.
//!
//! A reader polls *and decodes*, on a thread of its own ahead of the steps, so what it gives must depend on nothing but the
//! partition's bytes: the same offsets always give the same rows, however they are cut into polls.

use crate::{Changes, Delta, Result};
use arrow::datatypes::SchemaRef;
use std::fmt::{Debug, Display};
use std::time::Duration;

/// A place in a partition: the connector's own count (a Kafka offset, a row number, a byte position).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

/// A part of a source that has an order of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Its name, unique in its source and stable over restarts: `topic/3`, a file's path.
    pub name: String,
    /// Where a new job begins to read.
    pub start: Offset,
    /// Where the partition ends, if that is already known (bounded reading).
    pub end: Option<Offset>,
}

/// A table's source: connector, format, options and the wanted columns, all settled. Printed by EXPLAIN.
pub trait Source: Debug + Display + Send + Sync {
    /// The columns that [`Reader::poll`] gives.
    fn schema(&self) -> SchemaRef;

    /// What the weights mean: `AppendOnly`: there are none. `Upsert`: +1 sets the row with this key, -1 removes it (the
    /// other columns are NULL); the key is by column of [`Source::schema`]. `All`: whole rows come and go.
    fn changes(&self) -> Changes;

    /// Whether the source comes to an end.
    fn bounded(&self) -> bool;

    /// The partitions that exist now, in a stable order. Asked again while the job runs, as partitions can be added;
    /// those added later start where they begin.
    ///
    /// # Errors
    /// `User` when nothing is there (a path that matches no file), `Retryable` when the outside does not answer.
    fn partitions(&self) -> Result<Vec<Partition>>;

    /// Called once, before anything else, when a job goes on from a checkpoint in which these partitions are known: all
    /// others that `partitions` finds were added since, and start where they begin.
    fn resume(&self, known: &[Partition]) {
        let _ = known;
    }

    /// A reader of one partition, from an offset on.
    fn open(&self, partition: &Partition, from: Offset) -> Result<Box<dyn Reader>>;
}

/// Reads and decodes one partition.
pub trait Reader: Send {
    /// The next rows: at most `rows_max`, waiting no longer than `wait` for the first one.
    ///
    /// # Errors
    /// `Retryable`: call again; the position has not moved. Anything else ends the source.
    fn poll(&mut self, rows_max: usize, wait: Duration) -> Result<Polled>;

    /// How far the partition reaches now, to show lag; `None` if the connector cannot tell.
    fn end(&mut self) -> Option<Offset> {
        None
    }
}

/// What a poll gave.
#[derive(Debug)]
pub struct Polled {
    /// The decoded rows, in order. A changelog format gives weights.
    pub delta: Delta,
    /// Where the rows stand.
    pub offsets: RowOffsets,
    /// Records that could not become rows.
    pub bad: Vec<BadRecord>,
    /// Where the next poll goes on: behind every row and bad record given.
    pub position: Offset,
    /// Whether there is more.
    pub state: State,
}

/// Where the rows of a poll stand in their partition: by this a poll is cut as it was cut before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOffsets {
    /// Row `i` stands at this offset plus `i`.
    Consecutive(Offset),
    /// Row by row, ascending; rows of one record share its offset.
    Each(Vec<i64>),
}

impl RowOffsets {
    /// The offset of a row.
    pub fn get(&self, row: usize) -> Offset {
        match self {
            Self::Consecutive(first) => Offset(first.0 + row as i64),
            Self::Each(offsets) => Offset(offsets[row]),
        }
    }

    /// How many of `rows` rows stand before `end`.
    pub fn before(&self, end: Offset, rows: usize) -> usize {
        match self {
            Self::Consecutive(first) => usize::try_from(end.0 - first.0).unwrap_or(0).min(rows),
            Self::Each(offsets) => offsets.partition_point(|offset| *offset < end.0),
        }
    }

    /// Those of the rows from `from` on, `rows` of them.
    pub fn slice(&self, from: usize, rows: usize) -> Self {
        match self {
            Self::Consecutive(first) => Self::Consecutive(Offset(first.0 + from as i64)),
            Self::Each(offsets) => Self::Each(offsets[from..from + rows].to_vec()),
        }
    }
}

/// What a reader knows of the rest of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Ask again.
    More,
    /// Nothing more is there for now.
    CaughtUp,
    /// The partition has ended for good.
    End,
}

/// A record that could not become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// The record as it arrived.
    pub bytes: Vec<u8>,
    /// Where it stands in its partition.
    pub offset: Offset,
    /// Why it is bad: column, value and what was wanted.
    pub reason: String,
}

/// What is done to the rows of a source before any operator sees them: computed columns, NOT NULL, the watermark.
/// Stateless, and run on the reader's thread.
pub trait Prepare: Debug + Send + Sync {
    /// The columns that come out.
    fn schema(&self) -> SchemaRef;

    /// Whether the table declares a watermark.
    fn watermarked(&self) -> bool;

    /// Prepares rows.
    fn prepare(&self, delta: Delta) -> Result<Prepared>;
}

/// Rows ready for the operators.
#[derive(Debug)]
pub struct Prepared {
    /// The rows.
    pub delta: Delta,
    /// The largest value of the watermark expression over these rows, in milliseconds; `None` without rows or watermark.
    pub watermark_ms: Option<i64>,
    /// Rows (by index in the delta that was given) that the table's declaration refuses, with the reason.
    pub refused: Vec<(usize, String)>,
}

/// The columns of a table's dead letters: `raw`, `source` (the partition's name), `offset`, `reason`.
pub fn dead_letter_schema() -> SchemaRef {
    use arrow::datatypes::{DataType, Field, Schema};
    std::sync::Arc::new(Schema::new(vec![
        Field::new("raw", DataType::BinaryView, false),
        Field::new("source", DataType::Utf8View, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("reason", DataType::Utf8View, false),
    ]))
}
