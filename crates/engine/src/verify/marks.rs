//! What a batch cannot tell exactly: rows and values that depend on the order of arrival, and sums of floats.

use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use std::collections::BTreeMap;

/// What is known of the exactness of some rows, whose columns are counted from 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Marks {
    /// Why there may be other rows.
    pub(crate) rows: Option<String>,
    /// The columns in which other values may stand, and why.
    pub(crate) doubtful: BTreeMap<usize, String>,
    /// The columns of floats that were added up in some order, and how far they may be off, relatively.
    pub(crate) inexact: BTreeMap<usize, f64>,
}

impl Marks {
    /// Nothing but why there may be other rows.
    pub(crate) fn doubted(why: impl Into<String>) -> Self {
        Self {
            rows: Some(why.into()),
            ..Self::default()
        }
    }

    /// Doubts the rows, unless there is an earlier reason.
    pub(crate) fn doubt(&mut self, why: Option<String>) {
        if self.rows.is_none() {
            self.rows = why;
        }
    }

    /// Why the value of an expression over these rows may be another.
    pub(crate) fn doubt_of(&self, expr: &Expr, names: &DFSchema) -> Option<String> {
        places(expr, names).find_map(|place| self.doubtful.get(&place).cloned())
    }

    /// How far off the value of an expression over these rows may be.
    pub(crate) fn inexactness_of(&self, expr: &Expr, names: &DFSchema) -> Option<f64> {
        let off = places(expr, names).filter_map(|place| self.inexact.get(&place).copied());
        off.reduce(f64::max)
    }

    /// The rows are chosen, put together or put in order by some expressions.
    pub(crate) fn decide_by<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        names: &DFSchema,
    ) {
        for expr in exprs {
            let why = self.doubt_of(expr, names);
            self.doubt(why);
        }
    }

    /// The marks of a column become those of another rows' column.
    pub(crate) fn set(&mut self, column: usize, doubt: Option<String>, off: Option<f64>) {
        if let Some(why) = doubt {
            self.doubtful.insert(column, why);
        }
        if let Some(off) = off {
            self.inexact.insert(column, off);
        }
    }

    /// The marks of other rows' columns, which stand behind the first `width` here.
    pub(crate) fn beside(mut self, other: Self, width: usize) -> Self {
        self.doubt(other.rows);
        let moved = |column: usize| column + width;
        self.doubtful.extend(
            other
                .doubtful
                .into_iter()
                .map(|(column, why)| (moved(column), why)),
        );
        self.inexact.extend(
            other
                .inexact
                .into_iter()
                .map(|(column, off)| (moved(column), off)),
        );
        self
    }
}

fn places<'a>(expr: &'a Expr, names: &'a DFSchema) -> impl Iterator<Item = usize> + 'a {
    let columns = expr.column_refs().into_iter();
    columns.filter_map(|column| names.maybe_index_of_column(column))
}
