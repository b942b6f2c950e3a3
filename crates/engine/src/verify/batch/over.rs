//! Aggregates OVER the rows before each row, which come when the watermark has passed the row.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr, LogicalPlan, SortExpr, Window, WindowFrameUnits};
use millstream_dataflow::Result;
use millstream_planner::from_datafusion;
use millstream_planner::logical::Role;
use std::sync::Arc;

use super::order::{has_ties, integers, place, window_call};
use super::{Arrivals, Part, Promise, Walk, Wish, aggregate, no_batch, role_of};
use crate::verify::functions;

/// The frame that all calls of a window share.
struct Shared<'a> {
    params: &'a WindowFunctionParams,
    order: &'a SortExpr,
    by_clock: bool,
    /// Whether some function takes values in their order.
    in_order: bool,
}

impl<'a> Shared<'a> {
    fn of(window: &'a Window) -> Result<Self> {
        let first = window.window_expr.first().and_then(window_call);
        let Some(WindowFunction { params, .. }) = first else {
            return Err(no_batch("a window without a function"));
        };
        let [order] = params.order_by.as_slice() else {
            return Err(no_batch("OVER without ORDER BY a time"));
        };
        let by_clock = match role_of(&order.expr, window.input.schema()) {
            Some(Role::Rowtime) => false,
            Some(Role::Proctime) => true,
            Some(Role::WindowStart | Role::WindowEnd) | None => {
                return Err(no_batch("OVER by what is no time"));
            }
        };
        let in_order = |call: &Expr| functions::called(call).is_some_and(functions::in_order);
        Ok(Self {
            params,
            order,
            by_clock,
            in_order: window.window_expr.iter().any(in_order),
        })
    }

    fn is_rows(&self) -> bool {
        self.params.window_frame.units == WindowFrameUnits::Rows
    }
}

impl Walk<'_, '_> {
    pub(super) async fn over(&mut self, window: &Window) -> Result<Part> {
        let shared = Shared::of(window)?;
        let input = self.part(&window.input, Wish::default()).await?;
        let names = window.input.schema();
        let mut marks = input.marks.clone();
        marks.decide_by(&shared.params.partition_by, names);
        if !shared.by_clock {
            marks.decide_by([&shared.order.expr], names);
        }
        let mut keys = vec![shared.order.expr.clone()];
        keys.extend(shared.params.partition_by.iter().cloned());
        let mut arrivals = self.arrivals(&window.input, &input, &keys).await?;
        if !shared.by_clock {
            self.passed(&mut arrivals, &input.promise)?;
        }
        let width = names.fields().len();
        let doubt = doubt(&shared, &arrivals)?;
        for (at, call) in window.window_expr.iter().enumerate() {
            let field: &Field = window.schema.field(width + at);
            let passed = input.marks.inexactness_of(call, names);
            let off = aggregate::off(call, field.data_type(), passed);
            let own = input.marks.doubt_of(call, names);
            marks.set(
                width + at,
                doubt.clone().or(own.filter(|_| !shared.by_clock)),
                off,
            );
        }
        Ok(Part {
            plan: self.framed(window, &shared, &arrivals)?,
            promise: Promise {
                append_only: true,
                ordered: false,
                may_lack_late: input.promise.may_lack_late || !arrivals.has_steps,
                ..input.promise
            },
            marks,
        })
    }

    /// Leaves the rows that the watermark has passed, and had not passed when they came.
    fn passed(&self, arrivals: &mut Arrivals, promise: &Promise) -> Result<()> {
        let watermark = self.watermark(&promise.tables)?;
        let before = self.watermarks_before(&promise.tables).unwrap_or_default();
        let unit = arrivals
            .added
            .first()
            .map(|added| added[0].data_type().clone());
        let per_ms = match unit {
            Some(DataType::Timestamp(TimeUnit::Microsecond, _)) => 1_000,
            Some(DataType::Timestamp(TimeUnit::Nanosecond, _)) => 1_000_000,
            _ => 1,
        };
        let times = arrivals.added.iter().map(|added| integers(&added[0]));
        let times = times.collect::<Result<Vec<_>>>()?;
        let steps = arrivals.steps.clone();
        arrivals.retain(|at, row| {
            let step = steps.get(at).map(|steps| steps[row] as usize);
            let before = step.and_then(|step| before.get(step)).copied();
            times[at][row].is_some_and(|time| {
                let is_late = before.is_some_and(|before| time <= before.saturating_mul(per_ms));
                time <= watermark.0.saturating_mul(per_ms) && !is_late
            })
        })
    }

    /// The rows with the results of the calls, under the names of the plan.
    fn framed(
        &self,
        window: &Window,
        shared: &Shared<'_>,
        arrivals: &Arrivals,
    ) -> Result<LogicalPlan> {
        let mut order = Vec::new();
        if !(shared.by_clock && shared.is_rows()) {
            order.push(shared.order.clone());
        }
        if shared.is_rows() {
            order.push(place().sort(true, false));
        }
        let calls = window.window_expr.iter().map(|call| {
            let call = functions::runnable(ordered(call, &order), None);
            call.map_err(from_datafusion)
        });
        let calls = calls.collect::<Result<Vec<Expr>>>()?;
        let width = window.input.schema().fields().len();
        let places = (0..width).chain(width + 1..=width + calls.len());
        let rows = self.numbered(arrivals)?;
        let framed = Window::try_new(calls, Arc::new(rows)).map_err(from_datafusion)?;
        let places: Vec<usize> = places.collect();
        super::as_named(LogicalPlan::Window(framed), &window.schema, &places)
    }
}

/// A call in another order.
fn ordered(call: &Expr, order: &[SortExpr]) -> Expr {
    match call {
        Expr::Alias(alias) => ordered(&alias.expr, order),
        Expr::WindowFunction(call) => {
            let mut call = call.clone();
            call.params.order_by = order.to_vec();
            Expr::WindowFunction(call)
        }
        other => other.clone(),
    }
}

/// Why the results may be others: rows of one time, of which nobody knows which came first.
fn doubt(shared: &Shared<'_>, arrivals: &Arrivals) -> Result<Option<String>> {
    let is_known = match (shared.by_clock, shared.is_rows()) {
        (_, true) => arrivals.ordered,
        // Rows of one time share their results; DataFusion takes them in any order.
        (false, false) => !shared.in_order,
        (true, false) => arrivals.has_steps && !shared.in_order,
    };
    if is_known {
        return Ok(None);
    }
    let keys: Vec<Vec<ArrayRef>> = match shared.by_clock {
        false => arrivals.added.clone(),
        // All rows of a partition have a time that nobody knows.
        true => arrivals
            .added
            .iter()
            .map(|added| added[1..].to_vec())
            .collect(),
    };
    let tied = has_ties(&arrivals.batches, &keys)?;
    Ok(tied.then(|| {
        "OVER takes rows of one time in the order of their arrival, which is not known here"
            .to_owned()
    }))
}
