//! The interval between two event times in a join's condition: `r.ts BETWEEN l.ts - x AND l.ts + y` in any spelling.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

use crate::lower::Stream;
use crate::time::{self, Role};

/// `right - left` is within `lower_ms..=upper_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    /// The event-time column of the left side.
    pub left: usize,
    /// The event-time column of the right side.
    pub right: usize,
    /// The least difference.
    pub lower_ms: i64,
    /// The greatest difference.
    pub upper_ms: i64,
}

/// The interval of a condition, if it bounds the difference of two event times on both sides. Strict bounds count as inclusive:
/// the condition itself is still checked.
pub(crate) fn between(condition: &Expr, left: &Stream, right: &Stream) -> Option<Interval> {
    let rowtime = |stream: &Stream, column: &Column| {
        let idx = stream.names.maybe_index_of_column(column)?;
        (time::role(stream.schema.field(idx)) == Some(Role::Rowtime)).then_some(idx)
    };
    let side = |column: &Column| {
        let left = rowtime(left, column).map(Side::Left);
        left.or_else(|| rowtime(right, column).map(Side::Right))
    };
    bounds(condition, side)
}

/// The same of a plan's inputs.
pub(crate) fn between_columns(
    condition: &Expr,
    left: &DFSchema,
    right: &DFSchema,
) -> Option<Interval> {
    let rowtime = |names: &DFSchema, column: &Column| {
        let idx = names.maybe_index_of_column(column)?;
        (time::role(names.field(idx)) == Some(Role::Rowtime)).then_some(idx)
    };
    let side = |column: &Column| {
        let left = rowtime(left, column).map(Side::Left);
        left.or_else(|| rowtime(right, column).map(Side::Right))
    };
    bounds(condition, side)
}

fn bounds(condition: &Expr, side: impl Fn(&Column) -> Option<Side>) -> Option<Interval> {
    let side = |expr: &Expr| match expr {
        Expr::Column(column) => side(column),
        _ => None,
    };
    let mut found: Option<(usize, usize)> = None;
    let (mut lower, mut upper) = (None, None);
    for (greater, less) in split_conjunction(condition).into_iter().flat_map(orders) {
        let (Some(greater), Some(less)) = (shifted(&greater), shifted(&less)) else {
            continue;
        };
        let sides = (side(&greater.0), side(&less.0));
        // greater.column + greater.ms >= less.column + less.ms
        let (pair, difference_ms, bounds_below) = match sides {
            (Some(Side::Right(r)), Some(Side::Left(l))) => ((l, r), less.1 - greater.1, true),
            (Some(Side::Left(l)), Some(Side::Right(r))) => ((l, r), greater.1 - less.1, false),
            _ => continue,
        };
        if *found.get_or_insert(pair) != pair {
            continue;
        }
        let bound = if bounds_below { &mut lower } else { &mut upper };
        let tighter = |known: i64| {
            if bounds_below {
                known.max(difference_ms)
            } else {
                known.min(difference_ms)
            }
        };
        *bound = Some(bound.map_or(difference_ms, tighter));
    }
    let (left, right) = found?;
    Some(Interval {
        left,
        right,
        lower_ms: lower?,
        upper_ms: upper?,
    })
}

enum Side {
    Left(usize),
    Right(usize),
}

/// The `a >= b` that a condition says, as (a, b).
fn orders(condition: &Expr) -> Vec<(Expr, Expr)> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (left, right) = (left.as_ref().clone(), right.as_ref().clone());
            match op {
                Operator::GtEq | Operator::Gt => vec![(left, right)],
                Operator::LtEq | Operator::Lt => vec![(right, left)],
                Operator::Eq => vec![(left.clone(), right.clone()), (right, left)],
                _ => Vec::new(),
            }
        }
        Expr::Between(Between {
            expr,
            negated: false,
            low,
            high,
        }) => {
            vec![
                (expr.as_ref().clone(), low.as_ref().clone()),
                (high.as_ref().clone(), expr.as_ref().clone()),
            ]
        }
        _ => Vec::new(),
    }
}

/// `column`, `column + interval`, `column - interval` as the column and the milliseconds added.
pub(crate) fn shifted(expr: &Expr) -> Option<(Expr, i64)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (base, ms) = shifted(left)?;
            let by = literal_ms(right)?;
            match op {
                Operator::Plus => Some((base, ms + by)),
                Operator::Minus => Some((base, ms - by)),
                _ => None,
            }
        }
        other => Some((other.clone(), 0)),
    }
}

/// The milliseconds of an interval literal; none for months, which differ in length.
pub(crate) fn literal_ms(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano {
                months: 0,
                days,
                nanoseconds,
            })),
            _,
        ) => Some(i64::from(*days) * 86_400_000 + nanoseconds / 1_000_000),
        _ => None,
    }
}
