//! Joins. Where the inputs only append and time bounds the join, a row without a partner comes once, when none can come any more.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, Projection, cast, lit};
use millstream_dataflow::{Error, Result, Watermark};
use millstream_planner::logical::Role;
use millstream_planner::{from_datafusion, logical};
use std::sync::Arc;

use super::{Part, Promise, Walk, Wish, interval, role_of};
use crate::verify::marks::Marks;

/// When rows of a side can have no partner any more.
pub(super) struct Expiry {
    /// The column of each side that says when.
    pub(super) columns: [Expr; 2],
    /// How long after it, in milliseconds.
    pub(super) plus_ms: [i64; 2],
    /// How coarsely that is kept.
    grain_ms: i64,
    /// Rows of a window that has closed are late.
    windows: bool,
}

impl Expiry {
    fn of(join: &Join) -> Option<Self> {
        let (left, right) = (join.left.schema(), join.right.schema());
        let is_end = |expr: &Expr, names: &DFSchema| role_of(expr, names) == Some(Role::WindowEnd);
        let ends = join
            .on
            .iter()
            .find(|(l, r)| is_end(l, left) && is_end(r, right));
        if let Some((left, right)) = ends {
            return Some(Self {
                columns: [left.clone(), right.clone()],
                plus_ms: [-1, -1],
                grain_ms: 1,
                windows: true,
            });
        }
        let interval = logical::interval(join)?;
        let column = |names: &DFSchema, at: usize| Expr::Column(names.columns()[at].clone());
        Some(Self {
            columns: [column(left, interval.left), column(right, interval.right)],
            plus_ms: [interval.upper_ms, interval.lower_ms.saturating_neg()],
            grain_ms: (interval.upper_ms.saturating_sub(interval.lower_ms) / 64).max(1),
            windows: false,
        })
    }

    /// The last time (inclusive) in the column of a side at which a row is past use.
    fn last(&self, side: usize, watermark: Watermark) -> i64 {
        if watermark == Watermark::MAX {
            return i64::MAX;
        }
        self.reached(watermark.0).saturating_sub(self.plus_ms[side])
    }

    /// The last deadline that a watermark has reached, as coarsely as deadlines are kept.
    pub(super) fn reached(&self, watermark_ms: i64) -> i64 {
        let grains = watermark_ms.div_euclid(self.grain_ms);
        grains.saturating_mul(self.grain_ms)
    }
}

/// The column that tells rows of a side from padding.
const MARKER: [&str; 2] = ["\u{1}left", "\u{1}right"];

impl Walk<'_, '_> {
    pub(super) async fn join(&mut self, join: &Join) -> Result<Part> {
        let mut left = self.part(&join.left, Wish::default()).await?;
        let mut right = self.part(&join.right, Wish::default()).await?;
        let mut promise = left.promise.clone().joined(right.promise.clone());
        let expiry = Expiry::of(join).filter(|_| !promise.clocked && !join.null_aware);
        if let Some(expiry) = expiry.as_ref().filter(|expiry| expiry.windows) {
            let [end, right_end] = &expiry.columns;
            let tables = &promise.tables;
            let exact = self
                .leave_out_late(&join.left, &mut left, end, tables, 1)
                .await?
                & self
                    .leave_out_late(&join.right, &mut right, right_end, tables, 1)
                    .await?;
            promise.may_lack_late |= !exact;
        }
        let waits = expiry.is_some() && promise.append_only;
        let marks = marks(join, &left.marks, &right.marks);
        let by_step = match &expiry {
            Some(expiry) if !expiry.windows => {
                let by_step = self
                    .by_step(join, [&left, &right], expiry, &promise)
                    .await?;
                // Late rows find those partners that are still kept.
                promise.may_lack_late |= by_step.is_none();
                by_step
            }
            _ => None,
        };
        let plan = match (by_step, expiry.as_ref().filter(|_| waits)) {
            (Some(found), _) => found,
            (None, Some(expiry)) => self.waiting(join, left.plan, right.plan, expiry, &promise)?,
            (None, None) => joined(join, left.plan, right.plan, join.join_type)?,
        };
        let only_pairs = join.join_type == JoinType::Inner;
        Ok(Part {
            plan,
            promise: Promise {
                append_only: promise.append_only && !join.null_aware && (waits || only_pairs),
                ordered: false,
                ..promise
            },
            marks,
        })
    }

    /// The pairs of an interval join that have found each other, when all input has ended; `None` where steps are not known.
    async fn by_step(
        &mut self,
        join: &Join,
        sides: [&Part; 2],
        expiry: &Expiry,
        promise: &Promise,
    ) -> Result<Option<LogicalPlan>> {
        let before = self.watermarks_before(&promise.tables);
        let Some(before) = before.filter(|_| {
            let watermark = self.watermark(&promise.tables);
            watermark.is_ok_and(|watermark| watermark == Watermark::MAX)
        }) else {
            return Ok(None);
        };
        let inputs = self.with_deadlines(join, sides, expiry, &before).await?;
        inputs
            .map(|inputs| interval::found(join, inputs))
            .transpose()
    }

    /// A join whose rows without a partner show when they are past use.
    fn waiting(
        &self,
        join: &Join,
        left: LogicalPlan,
        right: LogicalPlan,
        expiry: &Expiry,
        promise: &Promise,
    ) -> Result<LogicalPlan> {
        let watermark = self.watermark(&promise.tables)?;
        let keys: Vec<[&Expr; 2]> = join.on.iter().map(|(left, right)| [left, right]).collect();
        let is_strict = join.null_equality == datafusion::common::NullEquality::NullEqualsNothing;
        // Past use, or never of any: a row with a NULL in its keys meets nobody.
        let shows = |side: usize, names: &DFSchema| -> Result<Expr> {
            let time = &expiry.columns[side];
            let mut any = vec![time.clone().is_null()];
            if is_strict {
                any.extend(keys.iter().map(|key| key[side].clone().is_null()));
            }
            any.push(reached(time, names, expiry.last(side, watermark))?);
            Ok(disjunction(any).unwrap_or_else(|| lit(true)))
        };
        let (left_names, right_names) = (join.left.schema(), join.right.schema());
        self.check_certain(expiry, watermark)?;
        match join.join_type {
            JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => {
                joined(join, left, right, join.join_type)
            }
            JoinType::LeftAnti => {
                let alone = joined(join, left, right, join.join_type)?;
                filtered(alone, shows(0, left_names)?)
            }
            JoinType::RightAnti => {
                let alone = joined(join, left, right, join.join_type)?;
                filtered(alone, shows(1, right_names)?)
            }
            JoinType::Left | JoinType::Right | JoinType::Full => {
                let (left, right) = (marked(left, 0)?, marked(right, 1)?);
                let pairs = joined_anew(join, left, right)?;
                let is_pair = col_of(MARKER[0])
                    .is_not_null()
                    .and(col_of(MARKER[1]).is_not_null());
                let alone = |side: usize| col_of(MARKER[1 - side]).is_null();
                let left_shows = alone(0).and(shows(0, left_names)?);
                let right_shows = alone(1).and(shows(1, right_names)?);
                let some = filtered(pairs, is_pair.or(left_shows).or(right_shows))?;
                // Left columns, the left marker, right columns, the right marker.
                let width = left_names.fields().len();
                let all = width + right_names.fields().len();
                let places: Vec<usize> = (0..width).chain(width + 1..=all).collect();
                super::as_named(some, &join.schema, &places)
            }
            JoinType::LeftMark | JoinType::RightMark => Err(super::no_batch("a mark join")),
        }
    }

    /// A row may show as soon as it comes when its interval lies in the past: then the step decides.
    fn check_certain(&self, expiry: &Expiry, watermark: Watermark) -> Result<()> {
        let is_certain = watermark == Watermark::MAX
            || expiry.windows
            || expiry.plus_ms.iter().all(|plus| *plus >= 0)
            || expiry.grain_ms == 1;
        if is_certain {
            return Ok(());
        }
        Err(Error::user(
            "an interval join whose interval lies before the row: when a row without a partner shows depends on the steps",
        ))
    }
}

pub(super) fn col_of(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// Whether a time is not after a moment, counted as the time is kept.
fn reached(time: &Expr, names: &DFSchema, last_ms: i64) -> Result<Expr> {
    if last_ms == i64::MAX {
        return Ok(lit(true));
    }
    use datafusion::logical_expr::ExprSchemable;
    let kind = time.get_type(names).map_err(from_datafusion)?;
    let DataType::Timestamp(unit, _) = kind else {
        return Err(Error::internal(format!("a join by a time of type {kind}")));
    };
    let last = match unit {
        TimeUnit::Second => last_ms.div_euclid(1_000),
        TimeUnit::Millisecond => last_ms,
        TimeUnit::Microsecond => last_ms.saturating_mul(1_000),
        TimeUnit::Nanosecond => last_ms.saturating_mul(1_000_000),
    };
    let last = Expr::Literal(ScalarValue::Int64(Some(last)), None);
    Ok(cast(time.clone(), DataType::Int64).lt_eq(last))
}

fn filtered(plan: LogicalPlan, predicate: Expr) -> Result<LogicalPlan> {
    let filter = Filter::try_new(predicate, Arc::new(plan)).map_err(from_datafusion)?;
    Ok(LogicalPlan::Filter(filter))
}

fn marked(plan: LogicalPlan, side: usize) -> Result<LogicalPlan> {
    let own = plan.schema().columns().into_iter().map(Expr::Column);
    let all = own.chain([lit(true).alias(MARKER[side])]).collect();
    let marked = Projection::try_new(all, Arc::new(plan)).map_err(from_datafusion)?;
    Ok(LogicalPlan::Projection(marked))
}

/// The join of other plans with the same columns.
fn joined(
    join: &Join,
    left: LogicalPlan,
    right: LogicalPlan,
    join_type: JoinType,
) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Join(Join {
        left: Arc::new(left),
        right: Arc::new(right),
        join_type,
        ..join.clone()
    }))
}

/// The join of other plans with further columns.
pub(super) fn joined_anew(
    join: &Join,
    left: LogicalPlan,
    right: LogicalPlan,
) -> Result<LogicalPlan> {
    let joined = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        join.on.clone(),
        join.filter.clone(),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    );
    Ok(LogicalPlan::Join(joined.map_err(from_datafusion)?))
}

/// What is exact of the pairs.
fn marks(join: &Join, left: &Marks, right: &Marks) -> Marks {
    let (left_names, right_names) = (join.left.schema(), join.right.schema());
    let (mut left, mut right) = (left.clone(), right.clone());
    left.decide_by(join.on.iter().map(|(key, _)| key), left_names);
    right.decide_by(join.on.iter().map(|(_, key)| key), right_names);
    left.decide_by(&join.filter, left_names);
    right.decide_by(&join.filter, right_names);
    let width = left_names.fields().len();
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            left.doubt(right.rows);
            left
        }
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
            right.doubt(left.rows);
            right
        }
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            left.beside(right, width)
        }
    }
}
