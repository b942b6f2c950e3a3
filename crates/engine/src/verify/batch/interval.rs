//! Interval joins whose steps are known: a row meets those rows of the other side that are still kept when it comes.
//!
//! ```text
//! the first of a pair is kept     its deadline lies behind the watermark before its step
//! and found by the second         its deadline, as coarsely as it is kept, lies behind the watermark before the second's step
//! ```

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan};
use millstream_dataflow::Result;
use std::sync::Arc;

use super::join::{Expiry, col_of, joined_anew};
use super::{Part, Walk, millis};

/// What a row is found by: its step, its deadline, whether it is kept, and which deadlines its step had reached.
const COLUMNS: [[&str; 4]; 2] = [
    ["\u{1}l0", "\u{1}l1", "\u{1}l2", "\u{1}l3"],
    ["\u{1}r0", "\u{1}r1", "\u{1}r2", "\u{1}r3"],
];

impl Walk<'_, '_> {
    /// The inputs with what their rows are found by as last columns; `None` where steps are not known.
    pub(super) async fn with_deadlines(
        &mut self,
        join: &Join,
        [left, right]: [&Part; 2],
        expiry: &Expiry,
        before: &[i64],
    ) -> Result<Option<[LogicalPlan; 2]>> {
        let left = self.side(&join.left, left, 0, expiry, before).await?;
        let right = self.side(&join.right, right, 1, expiry, before).await?;
        Ok(left.zip(right).map(|(left, right)| [left, right]))
    }

    async fn side(
        &mut self,
        input: &LogicalPlan,
        part: &Part,
        side: usize,
        expiry: &Expiry,
        before: &[i64],
    ) -> Result<Option<LogicalPlan>> {
        let time = std::slice::from_ref(&expiry.columns[side]);
        let arrivals = self.arrivals(input, part, time).await?;
        if !arrivals.has_steps {
            return Ok(None);
        }
        let types = [
            DataType::Int64,
            DataType::Int64,
            DataType::Boolean,
            DataType::Int64,
        ];
        let fields = COLUMNS[side].iter().zip(types);
        let fields = fields
            .map(|(name, kind)| Field::new(*name, kind, true))
            .collect();
        let (names, batches) = arrivals.with(fields, |at| {
            let steps = &arrivals.steps[at];
            let watermark = |step: &i64| before.get(*step as usize).copied().unwrap_or(i64::MIN);
            let deadlines: Vec<Option<i64>> = millis(&arrivals.added[at][0])?
                .into_iter()
                .map(|time| Some(time?.saturating_add(expiry.plus_ms[side])))
                .collect();
            let kept = steps.iter().zip(&deadlines);
            let kept = kept.map(|(step, deadline)| Some((*deadline)? > watermark(step)));
            let kept: BooleanArray = kept.collect();
            let reached = steps.iter().map(|step| expiry.reached(watermark(step)));
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(steps.clone())),
                Arc::new(Int64Array::from(deadlines)),
                Arc::new(kept),
                Arc::new(Int64Array::from_iter_values(reached)),
            ];
            Ok(columns)
        })?;
        self.held(&names, batches).map(Some)
    }
}

/// The join of inputs with deadlines: the pairs that were found.
pub(super) fn found(join: &Join, [left, right]: [LogicalPlan; 2]) -> Result<LogicalPlan> {
    let [l, r] = COLUMNS.map(|names| names.map(col_of));
    let by_right = l[0]
        .clone()
        .lt_eq(r[0].clone())
        .and(l[2].clone())
        .and(l[1].clone().gt(r[3].clone()));
    let by_left = l[0]
        .clone()
        .gt(r[0].clone())
        .and(r[2].clone())
        .and(r[1].clone().gt(l[3].clone()));
    let found = by_right.or(by_left);
    let filter: Option<Expr> = join.filter.clone().map(|own| own.and(found.clone()));
    let join = Join {
        filter: filter.or(Some(found)),
        ..join.clone()
    };
    let (left_width, right_width) = (
        join.left.schema().fields().len(),
        join.right.schema().fields().len(),
    );
    let pairs = joined_anew(&join, left, right)?;
    let behind = left_width + COLUMNS[0].len();
    let places: Vec<usize> = match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti => (0..left_width).collect(),
        JoinType::RightSemi | JoinType::RightAnti => (0..right_width).collect(),
        _ => (0..left_width)
            .chain(behind..behind + right_width)
            .collect(),
    };
    super::as_named(pairs, &join.schema, &places)
}
