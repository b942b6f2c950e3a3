//! Conditions on the clock: `expires_at > NOW()` lets rows leave as time passes, `starts_at <= NOW()` lets them enter.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator};
use millstream_dataflow::{Error, Result};
use millstream_operators::temporal_filter::{Limit, TemporalFilter};
use std::sync::Arc;

use super::aggregate::Columns;
use super::rows::column_of;
use super::{Lowering, Stream};
use crate::{interval, now, text};

/// Whether an expression reads the clock.
pub(super) fn has_now(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(now::is_now(expr))).unwrap_or(true)
}

/// Rows are there while the clock is on one side of a time of theirs.
struct Condition {
    time: Expr,
    /// Visible from this time on; otherwise until it.
    is_start: bool,
    inclusive: bool,
}

impl Lowering<'_> {
    /// The rows of a stream while some conditions on the clock hold.
    pub(super) fn temporal(&mut self, input: &Stream, conditions: &[&Expr]) -> Result<Stream> {
        let conditions = conditions
            .iter()
            .map(|expr| parse(expr))
            .collect::<Result<Vec<_>>>()?;
        let conditions: Vec<Condition> = conditions.into_iter().flatten().collect();
        let width = input.schema.fields().len();
        let mut columns = Columns::new(input);
        for column in input
            .layout
            .as_ref()
            .map_or(&input.names, |layout| &layout.names)
            .columns()
        {
            columns.add(&Expr::Column(column))?;
        }
        let times = conditions
            .iter()
            .map(|condition| columns.add(&condition.time))
            .collect::<Result<Vec<_>>>()?;
        let mut rows = columns.finish(self)?;
        for (condition, column) in conditions.iter().zip(times) {
            let bound = Some(Limit {
                column,
                inclusive: condition.inclusive,
            });
            let (lower, upper) = if condition.is_start {
                (bound, None)
            } else {
                (None, bound)
            };
            let spec = TemporalFilter::new(Arc::clone(&rows.schema), lower, upper);
            let names = Arc::clone(&rows.names);
            let stream = self.stream(Arc::new(spec), &[&rows], &names);
            rows = Stream {
                append_only: false,
                ..stream
            };
        }
        let kept = (0..width).map(|idx| column_of(&rows, idx)).collect();
        let stream = self.project(&rows, kept, &input.names, Arc::clone(&input.schema))?;
        Ok(Stream {
            layout: input.layout.clone(),
            key: input.key.clone(),
            clocked: true,
            ..stream
        })
    }
}

fn parse(expr: &Expr) -> Result<Vec<Condition>> {
    let refused = || {
        Error::user(format!("the condition {} on the current time can't be maintained", text::plain_sql(expr)))
            .hint("write a comparison of one time with the clock, joined by AND: expires_at > NOW(), ts > NOW() - INTERVAL '1' HOUR")
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let condition = match (has_now(left), has_now(right)) {
                (false, true) => compare(left, *op, right),
                (true, false) => op.swap().and_then(|op| compare(right, op, left)),
                _ => None,
            };
            condition
                .map(|condition| vec![condition])
                .ok_or_else(refused)
        }
        Expr::Between(Between {
            expr: value,
            negated: false,
            low,
            high,
        }) => {
            let at_least = BinaryExpr::new(value.clone(), Operator::GtEq, low.clone());
            let at_most = BinaryExpr::new(value.clone(), Operator::LtEq, high.clone());
            let mut both = parse(&Expr::BinaryExpr(at_least))?;
            both.extend(parse(&Expr::BinaryExpr(at_most))?);
            Ok(both)
        }
        _ => Err(refused()),
    }
}

/// `time op now + shift`.
fn compare(time: &Expr, op: Operator, clock: &Expr) -> Option<Condition> {
    let (zone, shift_ms) = clock_shift(clock)?;
    // An instant: a time without a zone is one of the session's.
    let instant = DataType::Timestamp(TimeUnit::Millisecond, Some(zone.into()));
    let time = Expr::Cast(Cast::new(Box::new(uncast(time).clone()), instant));
    let time = match shift_ms {
        0 => time,
        ahead @ 1.. => time - interval_of(ahead),
        behind => time + interval_of(behind.saturating_neg()),
    };
    let (is_start, inclusive) = match op {
        Operator::Gt => (false, false),
        Operator::GtEq => (false, true),
        Operator::Lt => (true, false),
        Operator::LtEq => (true, true),
        _ => return None,
    };
    Some(Condition {
        time,
        is_start,
        inclusive,
    })
}

fn clock_shift(expr: &Expr) -> Option<(String, i64)> {
    match expr {
        Expr::Cast(cast) => clock_shift(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (zone, ms) = clock_shift(left)?;
            let by = interval::literal_ms(right)?;
            match op {
                Operator::Plus => Some((zone, ms + by)),
                Operator::Minus => Some((zone, ms - by)),
                _ => None,
            }
        }
        other => now::zone(other).map(|zone| (zone, 0)),
    }
}

fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(_, _)) => {
            uncast(&cast.expr)
        }
        other => other,
    }
}

fn interval_of(ms: i64) -> Expr {
    let value = arrow::datatypes::IntervalMonthDayNano::new(0, 0, ms.saturating_mul(1_000_000));
    Expr::Literal(
        datafusion::common::ScalarValue::IntervalMonthDayNano(Some(value)),
        None,
    )
}
