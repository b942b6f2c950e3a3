//! GROUP BY and DISTINCT.

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{
    self, Aggregate, Distinct, Expr, GroupingSet, LogicalPlan, Union, cast, lit,
};
use millstream_dataflow::Result;
use millstream_planner::logical::Role;
use millstream_planner::{from_datafusion, logical};
use std::sync::Arc;

use super::{Part, Promise, Walk, Wish, no_batch};
use crate::verify::functions::{self, Undecided};
use crate::verify::marks::Marks;

impl Walk<'_, '_> {
    pub(super) async fn distinct(&mut self, distinct: &Distinct) -> Result<Part> {
        let Distinct::All(input) = distinct else {
            return Err(no_batch("DISTINCT ON"));
        };
        let columns = input.schema().columns().into_iter().map(Expr::Column);
        let aggregate = Aggregate::try_new(Arc::clone(input), columns.collect(), Vec::new());
        self.aggregate(&aggregate.map_err(from_datafusion)?).await
    }

    pub(super) async fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Part> {
        let closed = is_windowed(aggregate)?;
        let wish = Wish {
            closed,
            ..Wish::default()
        };
        let mut input = self.part(&aggregate.input, wish).await?;
        let names = aggregate.input.schema();
        let is_end = |key: &&Expr| super::role_of(key, names) == Some(Role::WindowEnd);
        let end = keys(aggregate).into_iter().find(is_end).cloned();
        if let Some(end) = end.filter(|_| !closed && !input.promise.clocked) {
            // A group is over when the watermark has reached the end of its window.
            let tables = input.promise.tables.clone();
            let rows = &aggregate.input;
            let exact = self
                .leave_out_late(rows, &mut input, &end, &tables, 0)
                .await?;
            input.promise.may_lack_late |= !exact;
        }
        let calls = &aggregate.aggr_expr;
        let in_order = |call: &Expr| functions::called(call).is_some_and(functions::in_order);
        let mut input = self
            .in_order(aggregate, input, calls.iter().any(in_order))
            .await?;
        let undecided = (!input.promise.ordered).then(Undecided::default);
        let marks = marks(aggregate, &mut input.marks);
        let promise = Promise {
            append_only: closed
                || (calls.is_empty()
                    && !aggregate.group_expr.is_empty()
                    && input.promise.append_only),
            ordered: false,
            ..input.promise
        };
        let plan = match aggregate.group_expr.as_slice() {
            [Expr::GroupingSet(sets)] => {
                let all = grouping_sets(aggregate, sets, &input.plan, undecided.as_ref())?;
                let rows = self.collect(&all).await?;
                self.held(&aggregate.schema, rows)?
            }
            _ => runnable(aggregate, input.plan, undecided.as_ref())?,
        };
        let mut part = Part {
            plan,
            promise,
            marks,
        };
        if undecided.is_some() && calls.iter().any(in_order) {
            self.look_for_undecided(aggregate, &mut part, undecided.as_ref())
                .await?;
        }
        Ok(part)
    }

    /// Gives rows in the order of their arrival to functions that need it, where that order is known.
    async fn in_order(
        &mut self,
        aggregate: &Aggregate,
        input: Part,
        is_needed: bool,
    ) -> Result<Part> {
        if !is_needed || input.promise.ordered || is_windowed(aggregate)? {
            return Ok(input);
        }
        let arrivals = self.arrivals(&aggregate.input, &input, &[]).await?;
        if !arrivals.ordered {
            return Ok(input);
        }
        Ok(Part {
            plan: self.held(&arrivals.names, arrivals.batches)?,
            promise: Promise {
                ordered: true,
                ..input.promise
            },
            marks: input.marks,
        })
    }

    /// Runs an aggregate to see whether the order of rows, which is not known, would have decided.
    async fn look_for_undecided(
        &mut self,
        aggregate: &Aggregate,
        part: &mut Part,
        undecided: Option<&Undecided>,
    ) -> Result<()> {
        let rows = self.collect(&part.plan).await?;
        part.plan = self.held(&aggregate.schema, rows)?;
        let groups = undecided.map_or(0, Undecided::groups);
        if groups == 0 {
            return Ok(());
        }
        let first = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
        for (at, call) in aggregate.aggr_expr.iter().enumerate() {
            if let Some(function) = functions::called(call).filter(|f| functions::in_order(*f)) {
                let why = format!(
                    "{function} takes values in the order of their arrival, which is not known here"
                );
                part.marks.set(first + at, Some(why), None);
            }
        }
        Ok(())
    }
}

/// The keys, each once.
fn keys(aggregate: &Aggregate) -> Vec<&Expr> {
    match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(sets)] => sets.distinct_expr(),
        keys => keys.iter().collect(),
    }
}

/// Whether all sets of keys are those of windows that close.
fn is_windowed(aggregate: &Aggregate) -> Result<bool> {
    let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() else {
        return logical::is_windowed(aggregate);
    };
    let mut windowed = 0;
    let sets = sets_of(sets);
    for set in &sets {
        let one = Aggregate::try_new(
            Arc::clone(&aggregate.input),
            set.clone(),
            aggregate.aggr_expr.clone(),
        );
        windowed += usize::from(logical::is_windowed(&one.map_err(from_datafusion)?)?);
    }
    match windowed {
        0 => Ok(false),
        all if all == sets.len() => Ok(true),
        _ => Err(no_batch("grouping sets of which some are windows")),
    }
}

fn sets_of(sets: &GroupingSet) -> Vec<Vec<Expr>> {
    match sets {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(keys) => (0..=keys.len())
            .map(|length| keys[..length].to_vec())
            .collect(),
        GroupingSet::Cube(keys) => {
            let chosen = |bits: u32| {
                let keys = keys.iter().enumerate();
                let keys = keys.filter(|(idx, _)| bits & (1 << idx) != 0);
                keys.map(|(_, key)| key.clone()).collect()
            };
            (0..1_u32 << keys.len()).map(chosen).collect()
        }
    }
}

/// What is exact of the groups.
fn marks(aggregate: &Aggregate, input: &mut Marks) -> Marks {
    let names = aggregate.input.schema();
    let keys = keys(aggregate);
    input.decide_by(keys.iter().copied(), names);
    let mut marks = Marks {
        rows: input.rows.clone(),
        ..Marks::default()
    };
    for (column, key) in keys.iter().enumerate() {
        marks.set(column, None, input.inexactness_of(key, names));
    }
    let first = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    for (at, call) in aggregate.aggr_expr.iter().enumerate() {
        let field: &Field = aggregate.schema.field(first + at);
        let passed = input.inexactness_of(call, names);
        let off = off(call, field.data_type(), passed);
        marks.set(first + at, input.doubt_of(call, names), off);
    }
    marks
}

/// How far off the result of a call may be.
pub(super) fn off(call: &Expr, result: &DataType, passed: Option<f64>) -> Option<f64> {
    let is_float = matches!(result, DataType::Float32 | DataType::Float64);
    let own = functions::called(call).and_then(|f| functions::inexactness(f, result));
    match (own, passed.filter(|_| is_float)) {
        (Some(own), Some(passed)) => Some(own.max(passed)),
        (own, passed) => own.or(passed),
    }
}

/// The aggregate with functions that can be run. Over no rows there is no group: not even that of all rows.
fn runnable(
    aggregate: &Aggregate,
    input: LogicalPlan,
    undecided: Option<&Undecided>,
) -> Result<LogicalPlan> {
    let calls = aggregate.aggr_expr.iter().cloned();
    let calls = calls.map(|call| functions::runnable(call, undecided));
    let calls = calls.collect::<datafusion::common::Result<Vec<Expr>>>();
    let calls = calls.map_err(from_datafusion)?;
    let input = Arc::new(input);
    if !aggregate.group_expr.is_empty() {
        let grouped = Aggregate::try_new_with_schema(
            input,
            aggregate.group_expr.clone(),
            calls,
            Arc::clone(&aggregate.schema),
        );
        return Ok(LogicalPlan::Aggregate(grouped.map_err(from_datafusion)?));
    }
    let all = lit(1_i64).alias("\u{1}all");
    let grouped = logical_expr::Aggregate::try_new(input, vec![all], calls);
    let grouped = grouped.map_err(from_datafusion)?;
    let places: Vec<usize> = (1..grouped.schema.fields().len()).collect();
    super::as_named(LogicalPlan::Aggregate(grouped), &aggregate.schema, &places)
}

/// Each set of keys as a grouping of its own, the other keys NULL.
fn grouping_sets(
    aggregate: &Aggregate,
    sets: &GroupingSet,
    input: &LogicalPlan,
    undecided: Option<&Undecided>,
) -> Result<LogicalPlan> {
    let keys = sets.distinct_expr();
    let mut inputs = Vec::new();
    for set in sets_of(sets) {
        let one = Aggregate::try_new(
            Arc::clone(&aggregate.input),
            set.clone(),
            aggregate.aggr_expr.clone(),
        );
        let one = one.map_err(from_datafusion)?;
        let grouped = runnable(&one, input.clone(), undecided)?;
        let columns = grouped.schema().columns();
        let column = |at: usize| Expr::Column(columns[at].clone());
        let fields = aggregate.schema.fields();
        let mut exprs: Vec<Expr> = Vec::new();
        for (key, field) in keys.iter().zip(fields) {
            let null = || cast(lit(ScalarValue::Null), field.data_type().clone());
            let place = set.iter().position(|member| member == *key);
            exprs.push(place.map_or_else(null, column));
        }
        // Bit i, from the right, is set where the key is not in the set.
        let id = keys
            .iter()
            .fold(0_i64, |id, key| (id << 1) | i64::from(!set.contains(key)));
        exprs.push(cast(lit(id), fields[keys.len()].data_type().clone()));
        exprs.extend((set.len()..columns.len()).map(column));
        inputs.push(Arc::new(super::renamed(grouped, exprs, &aggregate.schema)?));
    }
    let schema = Arc::clone(&aggregate.schema);
    Ok(LogicalPlan::Union(Union { inputs, schema }))
}
