//! Aggregates OVER the rows before each row.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition,
};
use millstream_dataflow::{Error, Result};
use millstream_operators::over::{Frame, Over};
use std::sync::Arc;

use super::aggregate::{Columns, below};
use super::rows::{column_of, unaliased};
use super::{Lowering, Stream, shown_schema, unsupported};
use crate::time::{self, Role};

impl Lowering<'_> {
    /// The OVER aggregates of a plan, if they are such.
    pub(super) fn over(&mut self, window: &Window) -> Result<Option<Stream>> {
        let calls: Vec<&WindowFunction> =
            window.window_expr.iter().filter_map(window_call).collect();
        let Some(first) = calls.first() else {
            return Ok(None);
        };
        if !matches!(first.fun, WindowFunctionDefinition::AggregateUDF(_)) {
            return Ok(None);
        }
        let same = |call: &&WindowFunction| {
            let (one, other) = (&call.params, &first.params);
            one.partition_by == other.partition_by
                && one.order_by == other.order_by
                && one.window_frame == other.window_frame
        };
        if calls.len() != window.window_expr.len()
            || !calls.iter().all(same)
            || is_over(&window.input)
        {
            return Err(Error::user(
                "aggregates OVER different windows in one SELECT can't be maintained",
            )
            .hint("put one of them in a view, and the other over that view"));
        }
        let frame = frame(&first.params.window_frame)?;
        let input = self.lower(&window.input)?;
        if !input.append_only {
            return Err(unsupported("OVER rows that are updated or deleted")
                .hint("aggregate with GROUP BY, or use ROW_NUMBER for a Top-N"));
        }
        let width = input.schema.fields().len();
        let mut columns = Columns::new(&input);
        for column in input.names.columns() {
            columns.add(&Expr::Column(column))?;
        }
        let partition = columns.add_all(&first.params.partition_by)?;
        let time = match first.params.order_by.as_slice() {
            [order] if order.asc => columns.add(&order.expr)?,
            _ => return Err(unordered()),
        };
        let calls_shown = window.window_expr.iter().map(|call| input.shown(call));
        let schema = shown_schema(&window.schema, input.shown_names().chain(calls_shown));
        let mut planned = Vec::new();
        for (call, field) in calls.iter().zip(&schema.fields()[width..]) {
            planned.push(columns.call(&as_aggregate(call)?, field)?);
        }
        let rows = columns.finish(self)?;
        let time = match time::role(rows.schema.field(time)) {
            Some(Role::Rowtime) => Some(time),
            Some(Role::Proctime) => None,
            Some(Role::WindowStart | Role::WindowEnd) | None => return Err(unordered()),
        };
        let spec = Over::new(Arc::clone(&rows.schema), partition, time, frame, planned)?;
        let all = rows.schema.fields().len();
        let wide = self.stream(Arc::new(spec), &[&rows], &window.schema);
        let kept = (0..width)
            .chain(all..all + calls.len())
            .map(|idx| column_of(&wide, idx))
            .collect();
        let stream = self.project(&wide, kept, &window.schema, schema)?;
        Ok(Some(Stream {
            append_only: true,
            key: input.key.clone(),
            ..stream
        }))
    }
}

fn unordered() -> Error {
    Error::user("an aggregate OVER rows needs ORDER BY an event time, ascending")
        .hint("ORDER BY a column with a watermark (WATERMARK FOR in CREATE TABLE)")
}

fn window_call(expr: &Expr) -> Option<&WindowFunction> {
    match unaliased(expr) {
        Expr::WindowFunction(call) => Some(call),
        _ => None,
    }
}

/// Whether a plan gives OVER aggregates already.
fn is_over(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Window(window) => window
            .window_expr
            .iter()
            .filter_map(window_call)
            .any(|call| matches!(call.fun, WindowFunctionDefinition::AggregateUDF(_))),
        // A view between the two makes two SELECTs of them.
        LogicalPlan::Projection(_) => below(plan).is_some_and(is_over),
        _ => false,
    }
}

fn as_aggregate(call: &WindowFunction) -> Result<Expr> {
    let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else {
        return Err(unsupported("a ranking beside aggregates OVER one window"));
    };
    let WindowFunctionParams {
        args,
        filter,
        distinct,
        null_treatment,
        ..
    } = call.params.clone();
    Ok(Expr::AggregateFunction(AggregateFunction::new_udf(
        Arc::clone(function),
        args,
        distinct,
        filter,
        Vec::new(),
        null_treatment,
    )))
}

fn frame(frame: &WindowFrame) -> Result<Frame> {
    if !matches!(frame.end_bound, WindowFrameBound::CurrentRow) {
        return Err(Error::user("an OVER frame must end at CURRENT ROW")
            .hint("rows that are yet to come can't be waited for"));
    }
    let WindowFrameBound::Preceding(start) = &frame.start_bound else {
        return Err(Error::user("an OVER frame must begin with PRECEDING rows"));
    };
    match (frame.units, start) {
        (WindowFrameUnits::Rows, start) if start.is_null() => Ok(Frame::Rows(None)),
        (WindowFrameUnits::Range, start) if start.is_null() => Ok(Frame::Range(None)),
        (WindowFrameUnits::Rows, ScalarValue::UInt64(Some(rows))) => Ok(Frame::Rows(Some(*rows))),
        (
            WindowFrameUnits::Range,
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano {
                months: 0,
                days,
                nanoseconds,
            })),
        ) => Ok(Frame::Range(Some(
            i64::from(*days) * 86_400_000 + nanoseconds / 1_000_000,
        ))),
        _ => Err(
            Error::user(format!("the OVER frame {frame} can't be maintained"))
                .hint("use ROWS n PRECEDING, or RANGE INTERVAL ... PRECEDING"),
        ),
    }
}
