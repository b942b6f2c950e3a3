//! What a bound query says, for who computes it another way: a batch over all rows, which the maintained views must equal.
//!
//! ```text
//! bound plan -> optimized() -> DataFusion's nodes, and ours: leaf(), node(), function(), ranking()
//! ```
//! Nothing of the operators is behind this: only the plan that `lower` begins with, and what its rows promise of event time.

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, Extension, Filter, Join, LogicalPlan, TableScan, WindowUDF,
};
use millstream_dataflow::Result;
use millstream_functions::cast;
pub use millstream_operators::aggregate::Function;
pub use millstream_operators::top_k::Rank;
pub use millstream_operators::window::Window;

use crate::aggregates;
use crate::catalog::Relation;
use crate::clock_filter::ClockFilter;
use crate::error::from_datafusion;
use crate::lower::{top_k, window};
use crate::paths;
pub use crate::time::Role;
use crate::unnest::Unnest;
use crate::window_tvf::WindowTvf;
use crate::{interval, now, time};

/// A bound plan as `lower` takes it: filters where they belong, subqueries as joins.
///
/// # Errors
/// `User` when DataFusion's rules refuse it.
pub fn optimized(plan: LogicalPlan) -> Result<LogicalPlan> {
    crate::analyze::optimize(plan).map_err(from_datafusion)
}

/// The name and the relation that a scan reads.
pub fn leaf(scan: &TableScan) -> Option<(&str, &Relation)> {
    let bound = paths::relation(scan)?;
    Some((&bound.name, &bound.relation))
}

/// A node that DataFusion does not have.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    /// Each row, once for each of its windows, with `window_start`, `window_end` and `window_time` as last columns.
    Windows {
        /// The rows.
        input: &'a LogicalPlan,
        /// The event-time column.
        time: &'a Expr,
        /// SESSION's PARTITION BY.
        partition: &'a [Expr],
        /// Which windows.
        kind: Window,
    },
    /// Each row, once for each element of a collection of its own, with the element as last columns.
    Unnest {
        /// The rows.
        input: &'a LogicalPlan,
        /// The collection.
        collection: &'a Expr,
        /// Rows without elements stay, with NULLs.
        is_outer: bool,
        /// The element's number, from 1, is the last column.
        is_numbered: bool,
    },
    /// Rows while a condition on the clock is true.
    WhileTrue {
        /// The rows.
        input: &'a LogicalPlan,
        /// The condition.
        predicate: &'a Expr,
    },
}

/// The node that an extension is.
pub fn node(extension: &Extension) -> Option<Node<'_>> {
    let node = extension.node.as_any();
    if let Some(WindowTvf {
        input,
        time,
        partition,
        kind,
        ..
    }) = node.downcast_ref()
    {
        return Some(Node::Windows {
            input,
            time,
            partition,
            kind: *kind,
        });
    }
    if let Some(unnest) = node.downcast_ref::<Unnest>() {
        return Some(Node::Unnest {
            input: &unnest.input,
            collection: &unnest.collection,
            is_outer: unnest.kind.is_outer,
            is_numbered: unnest.kind.is_numbered,
        });
    }
    let ClockFilter { input, predicate } = node.downcast_ref()?;
    Some(Node::WhileTrue { input, predicate })
}

/// What an aggregate function of a bound query is.
pub fn function(function: &AggregateUDF) -> Option<Function> {
    let ours = function.inner().downcast_ref::<aggregates::Aggregate>()?;
    ours.function()
}

/// What a ranking function of a bound query is.
pub fn ranking(function: &WindowUDF) -> Option<Rank> {
    match function.name() {
        "row_number" => Some(Rank::RowNumber),
        "rank" => Some(Rank::Rank),
        "dense_rank" => Some(Rank::DenseRank),
        _ => None,
    }
}

/// What a column means in event time.
pub fn role(field: &Field) -> Option<Role> {
    time::role(field)
}

/// Whether an expression is PROCTIME().
pub fn is_proctime(expr: &Expr) -> bool {
    now::is_proctime(expr)
}

/// Whether GROUP BY is by the windows of a window function: then a window's rows come once, when it closes.
///
/// # Errors
/// When the plan makes no sense.
pub fn is_windowed(aggregate: &Aggregate) -> Result<bool> {
    window::is_windowed(aggregate)
}

/// The rank that a filter bounds, and the bound: a Top-N.
pub fn top_n(filter: &Filter) -> Option<(Column, u64)> {
    let rank = top_k::rank_column(filter)?;
    let bounds = split_conjunction(&filter.predicate)
        .into_iter()
        .filter_map(|condition| top_k::at_most(condition, &rank));
    let least = bounds.min()?;
    Some((rank, least))
}

/// The event times that a join's condition holds together: `right BETWEEN left + lower_ms AND left + upper_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The left input's column.
    pub left: usize,
    /// The right input's column.
    pub right: usize,
    /// The least difference.
    pub lower_ms: i64,
    /// The greatest difference.
    pub upper_ms: i64,
}

/// The interval of an interval join.
pub fn interval(join: &Join) -> Option<Interval> {
    let condition = conjunction(join.filter.iter().cloned())?;
    let found = interval::between_columns(&condition, join.left.schema(), join.right.schema())?;
    Some(Interval {
        left: found.left,
        right: found.right,
        lower_ms: found.lower_ms,
        upper_ms: found.upper_ms,
    })
}

/// An expression with the clock's reading in the place of NOW() and its kin.
///
/// # Errors
/// `Internal` when a function of the clock has a type that no clock has.
pub fn at_clock(expr: Expr, now_ms: i64) -> Result<Expr> {
    let read = expr.transform_up(|expr| {
        let Some((kind, zone)) = now::kind(&expr) else {
            return Ok(Transformed::no(expr));
        };
        Ok(Transformed::yes(reading(&kind, &zone, now_ms)?))
    });
    Ok(read.map_err(from_datafusion)?.data)
}

fn reading(kind: &DataType, zone: &str, now_ms: i64) -> datafusion::common::Result<Expr> {
    let instant = ScalarValue::TimestampMillisecond(Some(now_ms), Some(zone.into()));
    let instant = Expr::Literal(instant, None);
    match kind {
        DataType::Timestamp(TimeUnit::Millisecond, Some(_)) => Ok(instant),
        DataType::Timestamp(_, _) | DataType::Date32 => {
            let options = millstream_functions::Options {
                time_zone: zone.to_owned(),
            };
            Ok(cast::cast_udf(kind.clone(), None, &options).call(vec![instant]))
        }
        other => Err(datafusion::common::DataFusionError::Internal(format!(
            "a clock of type {other}"
        ))),
    }
}
