//! Top-N: of each partition's rows the first few in an order, with or without their rank.
//!
//! Deduplication is the case of one row. An input that only appends needs no more rows than can be put out; one that
//! retracts needs all of them, in order, since any may move up. Changes are put out once a step, at its end.

mod first;
mod latest;
mod order;
mod ordered;
mod ranked;
#[cfg(test)]
mod tests;

pub(crate) use latest::{LatestRows, Winner};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use first::First;
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Operator, Partitioning, Result, Spec};
use order::{Encoded, Packed, Ranker};
use ranked::Ranked;
use std::fmt;
use std::sync::Arc;

/// A column to order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The column.
    pub column: usize,
    /// From great to small.
    pub descending: bool,
    /// Whether NULLs come first (in Flink they are the smallest: first ascending, last descending).
    pub nulls_first: bool,
}

/// How rows are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// ROW_NUMBER: rows with equal order in the order of their arrival.
    RowNumber,
    /// RANK: equal rows share a rank, and the next rank is as much greater.
    Rank,
    /// DENSE_RANK: equal rows share a rank, and the next rank is one greater.
    DenseRank,
}

/// The first rows of each partition.
#[derive(Clone, Debug)]
pub struct TopK {
    input: SchemaRef,
    partition: Vec<usize>,
    order: Vec<Order>,
    limit: u64,
    offset: u64,
    rank: Rank,
    shown: Option<String>,
    output: Vec<usize>,
    schema: SchemaRef,
    append_only: bool,
    later_first: bool,
    window_end: Option<usize>,
    at_expiry: bool,
}

impl TopK {
    /// Of the rows with equal `partition` columns (none: of all rows, on one worker) the first `limit` in the order;
    /// without an order columns: in the order of arrival.
    pub fn new(input: SchemaRef, partition: Vec<usize>, order: Vec<Order>, limit: u64) -> Self {
        let output: Vec<usize> = (0..input.fields().len()).collect();
        Self {
            schema: Arc::clone(&input),
            input,
            partition,
            order,
            limit,
            offset: 0,
            rank: Rank::RowNumber,
            shown: None,
            output,
            append_only: false,
            later_first: false,
            window_end: None,
            at_expiry: false,
        }
    }

    /// Leaves out the first rows of each partition; `limit` counts from there.
    #[must_use]
    pub fn offset(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Ranks rows in this way; `limit` and `offset` are of ranks.
    #[must_use]
    pub fn rank(self, rank: Rank) -> Self {
        Self { rank, ..self }
    }

    /// Puts the rank out as a last column, a BIGINT of this name.
    #[must_use]
    pub fn show_rank(self, name: &str) -> Self {
        let shown = Some(name.to_owned());
        let columns = self.output.clone();
        Self { shown, ..self }.with_output(columns)
    }

    /// Puts out only these columns of the input (and the rank).
    #[must_use]
    pub fn output(self, columns: Vec<usize>) -> Self {
        self.with_output(columns)
    }

    /// Promises that the input never retracts.
    #[must_use]
    pub fn append_only(self) -> Self {
        Self {
            append_only: true,
            ..self
        }
    }

    /// Of rows with equal order the later arrival comes first (keep-last deduplication).
    #[must_use]
    pub fn later_first(self) -> Self {
        Self {
            later_first: true,
            ..self
        }
    }

    /// The partitions are windows: a partition goes once the window has closed whose exclusive end this column (one of
    /// the partition's) holds. Rows of a closed window are late.
    #[must_use]
    pub fn window_end(self, column: usize) -> Self {
        Self {
            window_end: Some(column),
            ..self
        }
    }

    /// Puts out a window's rows only when it closes: the output never retracts.
    #[must_use]
    pub fn at_expiry(self) -> Self {
        Self {
            at_expiry: true,
            ..self
        }
    }

    fn with_output(self, output: Vec<usize>) -> Self {
        let mut fields: Vec<Arc<Field>> = output
            .iter()
            .map(|column| Arc::clone(&self.input.fields()[*column]))
            .collect();
        if let Some(name) = &self.shown {
            fields.push(Arc::new(Field::new(name, DataType::Int64, false)));
        }
        Self {
            schema: Arc::new(Schema::new(fields)),
            output,
            ..self
        }
    }

    /// The columns that are kept, ascending.
    fn stored(&self) -> Vec<usize> {
        let order = self.order.iter().map(|order| order.column);
        let mut stored: Vec<usize> = self.partition.iter().copied().chain(order).collect();
        stored.extend(self.output.iter().chain(&self.window_end));
        stored.sort_unstable();
        stored.dedup();
        stored
    }

    /// Whether one row a partition is all there is to keep.
    fn is_first(&self) -> bool {
        self.append_only
            && self.limit == 1
            && self.offset == 0
            && self.rank == Rank::RowNumber
            && self.shown.is_none()
    }

    fn build_with<R: Ranker + fmt::Debug + 'static>(&self, ranker: R) -> Result<Box<dyn Operator>>
    where
        R::Key: fmt::Debug,
    {
        Ok(if self.is_first() {
            Box::new(First::new(self, ranker)?)
        } else {
            Box::new(Ranked::new(self, ranker)?)
        })
    }
}

impl fmt::Display for TopK {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |column: &usize| self.input.field(*column).name().as_str();
        let rank = match self.rank {
            Rank::RowNumber => "",
            Rank::Rank => " by RANK",
            Rank::DenseRank => " by DENSE_RANK",
        };
        match self.limit {
            u64::MAX => write!(f, "TopK: all{rank}")?,
            limit => write!(f, "TopK: first {limit}{rank}")?,
        }
        if self.offset > 0 {
            write!(f, " after {}", self.offset)?;
        }
        if !self.partition.is_empty() {
            let names: Vec<&str> = self.partition.iter().map(name).collect();
            write!(f, " of each {}", names.join(", "))?;
        }
        for (idx, order) in self.order.iter().enumerate() {
            let word = if idx == 0 { " in order of" } else { "," };
            let descending = if order.descending { " DESC" } else { "" };
            write!(f, "{word} {}{descending}", name(&order.column))?;
            if order.nulls_first == order.descending {
                let place = if order.nulls_first { "FIRST" } else { "LAST" };
                write!(f, " NULLS {place}")?;
            }
        }
        if self.append_only {
            f.write_str(", append-only")?;
        }
        if self.at_expiry {
            f.write_str(", as windows close")?;
        }
        Ok(())
    }
}

impl Spec for TopK {
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
        crate::project::remap(Some(&self.keys(0)), |input| {
            self.output.iter().position(|column| *column == input)
        })
    }

    fn bound(&self) -> Bound {
        if self.window_end.is_some() {
            return Bound::Watermark;
        }
        if !self.append_only {
            return Bound::Rows("the input".to_owned());
        }
        let names: Vec<&str> = self
            .partition
            .iter()
            .map(|column| self.input.field(*column).name().as_str())
            .collect();
        Bound::Keys(names.join(", "))
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        match Packed::new(&self.input, &self.order) {
            Some(packed) => self.build_with(packed),
            None => self.build_with(Encoded::new(&self.input, &self.order)?),
        }
    }
}
