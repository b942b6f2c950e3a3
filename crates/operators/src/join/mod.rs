//! Joins of two changing relations.
//!
//! ```text
//! delta of a side --keys--> rows of the other side --residual--> pairs --> output
//!        \--> into the side's own arrangement            \--> match counts --> padding, semi, anti
//! ```
//!
//! Both sides are kept, so that a row of either finds its partners whenever it comes or goes. A side whose rows also
//! show when they have *no* partner (outer, semi, anti) counts the partners of each of its rows; the row's other
//! face changes exactly when the count leaves or reaches zero. The work follows the pairs that change.

mod counts;
mod not_in;
mod plan;
mod running;
mod semi;
mod side;
#[cfg(test)]
mod tests;

pub use not_in::NotIn;

use arrow::datatypes::{Field, Schema, SchemaRef};
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Error, Expression, Operator, Partitioning, Result, Spec};
use plan::Plan;
use running::Running;
use semi::Semi;
use std::fmt;
use std::sync::Arc;

/// Which rows a join puts out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pairs.
    Inner,
    /// Pairs, and left rows without a partner, padded with NULLs.
    Left,
    /// Pairs, and right rows without a partner.
    Right,
    /// Pairs, and rows of both sides without a partner.
    Full,
    /// Left rows that have a partner.
    LeftSemi,
    /// Left rows without a partner (NOT EXISTS).
    LeftAnti,
    /// Right rows that have a partner.
    RightSemi,
    /// Right rows without a partner.
    RightAnti,
}

/// A pair of columns that must be equal, of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The column of the left input.
    pub left: usize,
    /// The column of the right input.
    pub right: usize,
    /// IS NOT DISTINCT FROM: NULL equals NULL.
    pub null_equal: bool,
}

/// What else must be true of a pair.
#[derive(Clone, Debug)]
pub struct Residual {
    /// The columns that the predicate reads, of left and right inputs counted through.
    pub columns: Vec<usize>,
    /// A BOOLEAN over a batch of just these columns, in this order.
    pub predicate: Arc<dyn Expression>,
}

/// When rows can be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Both sides are windowed and join window by window: rows go when their window has closed. The columns hold the
    /// window's exclusive end. A row of a closed window is late.
    Windows {
        /// The left input's column.
        left: usize,
        /// The right input's column.
        right: usize,
    },
    /// Pairs satisfy `right_time BETWEEN left_time + lower_ms AND left_time + upper_ms` (the residual sees to that):
    /// rows go when no partner can come any more.
    Interval {
        /// The left input's column.
        left: usize,
        /// The right input's column.
        right: usize,
        /// May be negative.
        lower_ms: i64,
        /// May be negative.
        upper_ms: i64,
    },
}

/// A join.
#[derive(Clone, Debug)]
pub struct Join {
    left: SchemaRef,
    right: SchemaRef,
    kind: Kind,
    keys: Vec<Key>,
    residual: Option<Residual>,
    output: Vec<usize>,
    schema: SchemaRef,
    expiry: Option<Expiry>,
    padding_at_expiry: bool,
    append_only: [bool; 2],
}

impl Join {
    /// A join of inputs with these columns. Without keys every row meets every other (on one worker).
    pub fn new(left: SchemaRef, right: SchemaRef, kind: Kind, keys: Vec<Key>) -> Self {
        let (split, all) = (
            left.fields().len(),
            left.fields().len() + right.fields().len(),
        );
        let output: Vec<usize> = match kind {
            Kind::Inner | Kind::Left | Kind::Right | Kind::Full => (0..all).collect(),
            Kind::LeftSemi | Kind::LeftAnti => (0..split).collect(),
            Kind::RightSemi | Kind::RightAnti => (split..all).collect(),
        };
        Self {
            schema: schema_of(&left, &right, kind, &output),
            left,
            right,
            kind,
            keys,
            residual: None,
            output,
            expiry: None,
            padding_at_expiry: false,
            append_only: [false; 2],
        }
    }

    /// Pairs must also satisfy this.
    #[must_use]
    pub fn residual(self, residual: Residual) -> Self {
        Self {
            residual: Some(residual),
            ..self
        }
    }

    /// Puts out only these columns, of left and right inputs counted through.
    ///
    /// # Errors
    /// `Internal` when there is no such column, or a semi or anti join does not have it.
    pub fn output(self, columns: Vec<usize>) -> Result<Self> {
        let split = self.left.fields().len();
        let right = match self.kind {
            Kind::Inner | Kind::Left | Kind::Right | Kind::Full => {
                0..split + self.right.fields().len()
            }
            Kind::LeftSemi | Kind::LeftAnti => 0..split,
            Kind::RightSemi | Kind::RightAnti => split..split + self.right.fields().len(),
        };
        if let Some(column) = columns.iter().find(|column| !right.contains(column)) {
            return Err(Error::internal(format!(
                "a join {:?} has no output column {column}",
                self.kind
            )));
        }
        Ok(Self {
            schema: schema_of(&self.left, &self.right, self.kind, &columns),
            output: columns,
            ..self
        })
    }

    /// Drops rows as the watermark moves.
    #[must_use]
    pub fn expiry(self, expiry: Expiry) -> Self {
        Self {
            expiry: Some(expiry),
            ..self
        }
    }

    /// Puts out rows without a partner (of outer and anti joins) only when they expire, so that the output is
    /// append-only if the inputs are. Needs an [`Expiry`].
    #[must_use]
    pub fn padding_at_expiry(self) -> Self {
        Self {
            padding_at_expiry: true,
            ..self
        }
    }

    /// Promises that the left, or the right, input never retracts: its state is cheaper then.
    #[must_use]
    pub fn append_only(self, left: bool, right: bool) -> Self {
        Self {
            append_only: [left, right],
            ..self
        }
    }

    fn name(&self, column: usize) -> &str {
        let split = self.left.fields().len();
        if column < split {
            self.left.field(column).name()
        } else {
            self.right.field(column - split).name()
        }
    }
}

/// The columns of the output; those of a side that is padded can be NULL.
fn schema_of(left: &Schema, right: &Schema, kind: Kind, output: &[usize]) -> SchemaRef {
    let split = left.fields().len();
    let padded = [
        matches!(kind, Kind::Right | Kind::Full),
        matches!(kind, Kind::Left | Kind::Full),
    ];
    let field = |column: &usize| -> Field {
        let (side, field) = if *column < split {
            (0, left.field(*column))
        } else {
            (1, right.field(column - split))
        };
        let field = field.clone();
        let nullable = field.is_nullable() || padded[side];
        field.with_nullable(nullable)
    };
    Arc::new(Schema::new(output.iter().map(field).collect::<Vec<_>>()))
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Inner => "inner",
            Kind::Left => "left",
            Kind::Right => "right",
            Kind::Full => "full",
            Kind::LeftSemi => "left semi",
            Kind::LeftAnti => "left anti",
            Kind::RightSemi => "right semi",
            Kind::RightAnti => "right anti",
        };
        write!(f, "Join: {kind}")?;
        let split = self.left.fields().len();
        for (idx, key) in self.keys.iter().enumerate() {
            let word = if idx == 0 { " on" } else { " and" };
            let equal = if key.null_equal { "<=>" } else { "=" };
            let (left, right) = (self.name(key.left), self.name(split + key.right));
            write!(f, "{word} {left} {equal} {right}")?;
        }
        if let Some(residual) = &self.residual {
            let word = if self.keys.is_empty() { "on" } else { "and" };
            write!(f, " {word} {}", residual.predicate)?;
        }
        match &self.expiry {
            None => Ok(()),
            Some(Expiry::Windows { .. }) => f.write_str(", window by window"),
            Some(Expiry::Interval {
                left,
                right,
                lower_ms,
                upper_ms,
            }) => write!(
                f,
                ", {} - {} in [{lower_ms}, {upper_ms}] ms",
                self.name(split + right),
                self.name(*left)
            ),
        }
    }
}

impl Spec for Join {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, port: usize) -> Partitioning {
        if self.keys.is_empty() {
            return Partitioning::Single;
        }
        let column = |key: &Key| if port == 0 { key.left } else { key.right };
        Partitioning::Keys(self.keys.iter().map(column).collect())
    }

    /// By the key columns of a side that is never padded.
    fn partitioning(&self, _inputs: &[Partitioning]) -> Partitioning {
        if self.keys.is_empty() {
            return Partitioning::Single;
        }
        let split = self.left.fields().len();
        let place = |column: usize| self.output.iter().position(|output| *output == column);
        let left = || self.keys.iter().map(|key| place(key.left)).collect();
        let right = || {
            self.keys
                .iter()
                .map(|key| place(split + key.right))
                .collect()
        };
        let keys: Option<Vec<usize>> = match self.kind {
            Kind::Inner => Option::or_else(left(), right),
            Kind::Left | Kind::LeftSemi | Kind::LeftAnti => left(),
            Kind::Right | Kind::RightSemi | Kind::RightAnti => right(),
            Kind::Full => None,
        };
        keys.map_or(Partitioning::Any, Partitioning::Keys)
    }

    fn bound(&self) -> Bound {
        match self.expiry {
            Some(_) => Bound::Watermark,
            None => Bound::Rows("both inputs".to_owned()),
        }
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.padding_at_expiry && self.expiry.is_none() {
            return Err(Error::internal(
                "a join pads its rows when they expire, but they don't",
            ));
        }
        let plan = Plan::new(self)?;
        match plan.kept {
            Some(kept) if self.residual.is_none() && self.expiry.is_none() => {
                Ok(Box::new(Semi::new(plan, kept)?))
            }
            _ => Ok(Box::new(Running::new(plan)?)),
        }
    }
}
