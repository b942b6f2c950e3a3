//! Window functions over tables, alone and under GROUP BY.

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{self, Expr, LogicalPlan};
use millstream_dataflow::{Error, Result, Spec};
use millstream_operators::stamp::OnClock;
use millstream_operators::window::{Assign, Window, WindowAggregate, WindowColumn};
use std::collections::HashMap;
use std::sync::Arc;

use super::aggregate::Columns;
use super::rows::unaliased;
use super::{Lowering, Stream, shown_schema, unsupported};
use crate::error::from_datafusion;
use crate::text;
use crate::time::{self, Role};
use crate::window_tvf::{self, WindowTvf};

/// What the columns of a plan are in terms of the columns of the window function below.
type Meaning = HashMap<Column, Expr>;

impl Lowering<'_> {
    /// A window function alone: each row, once for each of its windows.
    pub(super) fn windows(&mut self, windows: &WindowTvf) -> Result<Stream> {
        if matches!(windows.kind, Window::Session { .. }) {
            return Err(unsupported(
                "SESSION without GROUP BY window_start, window_end",
            ));
        }
        let input = self.lower(&windows.input)?;
        let mut columns = Columns::new(&input);
        for field in windows.input.schema().columns() {
            columns.add(&Expr::Column(field))?;
        }
        let time = columns.add(&windows.time)?;
        let rows = columns.finish(self)?;
        let schema = shown_schema(windows_schema(windows), input.shown_names());
        let spec = Assign::new(Arc::clone(&rows.schema), windows.kind, time)?;
        let stream = self.stream(Arc::new(spec), &[&rows], windows_schema(windows));
        Ok(Stream { schema, ..stream })
    }

    /// GROUP BY the windows of a window function: results come once, when the watermark closes the window.
    pub(super) fn windowed(&mut self, plan: &logical_expr::Aggregate) -> Result<Option<Stream>> {
        let Some(Grouped {
            windows,
            keys,
            calls,
            places,
        }) = grouped(plan)?
        else {
            return Ok(None);
        };
        let plain: Vec<&Expr> = places.others(&keys);
        check_session(windows, &plain)?;
        let input = self.lower_raw(&windows.input)?;
        if input.clocked {
            return Err(Error::user("rows that leave as time passes can't be taken out of a window that has closed")
                .hint("put the condition on NOW() above the window: WHERE window_end > NOW() - INTERVAL '1' HOUR over its results"));
        }
        let mut columns = Columns::new(&input);
        let time_column = columns.add(&windows.time)?;
        let key_columns = columns.add_all(plain.iter().copied())?;
        let shown_key = |(key, meant): (&Expr, &Expr)| match unaliased(key) {
            Expr::Column(column) if !text::is_made_up(&column.name) => column.name.clone(),
            _ => input.shown(meant),
        };
        let shown_keys = plan.group_expr.iter().zip(&keys).map(shown_key);
        let shown = shown_keys.chain(calls.iter().map(|call| input.shown(call)));
        let schema = shown_schema(&plan.schema, shown);
        let planned = calls
            .iter()
            .zip(&schema.fields()[keys.len()..])
            .map(|(call, field)| columns.call(call, field))
            .collect::<Result<Vec<_>>>()?;
        let rows = columns.finish(self)?;
        let mut output = places.columns(&schema.fields()[..keys.len()]);
        output.extend((0..planned.len()).map(WindowColumn::Call));
        let spec = WindowAggregate::new(
            Arc::clone(&rows.schema),
            windows.kind,
            time_column,
            key_columns,
            planned,
            output,
            rows.append_only,
        )?;
        let by_clock = time::role(rows.schema.field(time_column)) == Some(Role::Proctime);
        let spec: Arc<dyn Spec> = Arc::new(spec);
        let spec = if by_clock {
            Arc::new(OnClock::new(spec)) as Arc<dyn Spec>
        } else {
            spec
        };
        let stream = self.stream(spec, &[&rows], &plan.schema);
        Ok(Some(Stream {
            schema,
            append_only: true,
            key: Some((0..keys.len()).collect()),
            ..stream
        }))
    }
}

/// A GROUP BY of windows: its keys and calls in terms of the window function below.
struct Grouped<'a> {
    windows: &'a WindowTvf,
    keys: Vec<Expr>,
    calls: Vec<Expr>,
    places: Places,
}

/// Whether a GROUP BY is by the windows of a window function.
pub(crate) fn is_windowed(plan: &logical_expr::Aggregate) -> Result<bool> {
    Ok(grouped(plan)?.is_some())
}

fn grouped(plan: &logical_expr::Aggregate) -> Result<Option<Grouped<'_>>> {
    let Some((windows, meaning)) = meaning(&plan.input)? else {
        return Ok(None);
    };
    let mean = |expr: &Expr| substitute(unaliased(expr).clone(), &meaning);
    let keys = plan.group_expr.iter().map(mean);
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let calls = plan.aggr_expr.iter().map(mean);
    let calls = calls.collect::<Result<Vec<_>>>()?;
    let places = Places::of(&keys, windows);
    let others = places.others(&keys);
    let mut read = others.into_iter().chain(&calls);
    if !places.make_windows(windows.kind) || read.any(|expr| reads_bounds(expr, windows)) {
        return Ok(None);
    }
    Ok(Some(Grouped {
        windows,
        keys,
        calls,
        places,
    }))
}

/// Where a window's bounds stand among the keys of a GROUP BY.
struct Places {
    start: Option<usize>,
    end: Option<usize>,
    time: Option<usize>,
}

impl Places {
    fn of(keys: &[Expr], windows: &WindowTvf) -> Self {
        let place = |name: &str| keys.iter().position(|key| is_bound(key, windows, name));
        let [start, end, time] = window_tvf::COLUMNS.map(place);
        Self { start, end, time }
    }

    /// Whether grouping by these bounds is grouping by windows: where one bound does not tell the other, both must be there.
    fn make_windows(&self, kind: Window) -> bool {
        match kind {
            Window::Tumble { .. } | Window::Hop { .. } => {
                self.start.is_some() || self.end.is_some()
            }
            Window::Cumulate { .. } | Window::Session { .. } => {
                self.start.is_some() && self.end.is_some()
            }
        }
    }

    /// The keys that are no bounds.
    fn others<'k>(&self, keys: &'k [Expr]) -> Vec<&'k Expr> {
        let bounds = [self.start, self.end, self.time];
        let others = keys
            .iter()
            .enumerate()
            .filter(|(idx, _)| !bounds.contains(&Some(*idx)));
        others.map(|(_, key)| key).collect()
    }

    /// The operator's columns for the keys, in their order.
    fn columns(&self, keys: &[FieldRef]) -> Vec<WindowColumn> {
        let mut others = 0..;
        let column = |(idx, field): (usize, &FieldRef)| {
            let name = field.name().clone();
            match Some(idx) {
                at if at == self.start => WindowColumn::Start(name),
                at if at == self.end => WindowColumn::End(name),
                at if at == self.time => WindowColumn::Time(name),
                _ => WindowColumn::Key(others.next().unwrap_or_default()),
            }
        };
        keys.iter().enumerate().map(column).collect()
    }
}

/// The rows of a session are those of its PARTITION BY: grouping by something else would split it.
fn check_session(windows: &WindowTvf, keys: &[&Expr]) -> Result<()> {
    let same = keys.len() == windows.partition.len()
        && windows.partition.iter().all(|key| keys.contains(&key));
    if same || !matches!(windows.kind, Window::Session { .. }) {
        return Ok(());
    }
    Err(Error::user(
        "a SESSION window must be grouped by its PARTITION BY columns, window_start and window_end, and nothing else",
    ))
}

fn windows_schema(windows: &WindowTvf) -> &datafusion::common::DFSchemaRef {
    datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(windows)
}

/// The window function that a plan is a projection of, and what the plan's columns are of it.
fn meaning(plan: &LogicalPlan) -> Result<Option<(&WindowTvf, Meaning)>> {
    match plan {
        LogicalPlan::Extension(extension) => {
            let Some(windows) = extension.node.as_any().downcast_ref::<WindowTvf>() else {
                return Ok(None);
            };
            let columns = windows_schema(windows).columns();
            Ok(Some((
                windows,
                columns
                    .into_iter()
                    .map(|column| (column.clone(), Expr::Column(column)))
                    .collect(),
            )))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let Some((windows, inner)) = meaning(&alias.input)? else {
                return Ok(None);
            };
            Ok(Some((
                windows,
                renamed(&alias.schema, alias.input.schema(), &inner),
            )))
        }
        LogicalPlan::Projection(projection) => {
            let Some((windows, inner)) = meaning(&projection.input)? else {
                return Ok(None);
            };
            let mut outer = Meaning::new();
            for (column, expr) in projection
                .schema
                .columns()
                .into_iter()
                .zip(&projection.expr)
            {
                outer.insert(column, substitute(unaliased(expr).clone(), &inner)?);
            }
            Ok(Some((windows, outer)))
        }
        _ => Ok(None),
    }
}

fn renamed(outer: &DFSchema, inner: &DFSchema, meaning: &Meaning) -> Meaning {
    outer
        .columns()
        .into_iter()
        .zip(inner.columns())
        .filter_map(|(name, column)| Some((name, meaning.get(&column)?.clone())))
        .collect()
}

fn substitute(expr: Expr, meaning: &Meaning) -> Result<Expr> {
    let substituted = expr.transform_up(|expr| {
        let meant = match &expr {
            Expr::Column(column) => meaning.get(column).cloned(),
            _ => None,
        };
        Ok(meant.map_or_else(|| Transformed::no(expr), Transformed::yes))
    });
    Ok(substituted.map_err(from_datafusion)?.data)
}

fn is_bound(expr: &Expr, windows: &WindowTvf, name: &str) -> bool {
    matches!(expr, Expr::Column(column) if column.name == name && windows.input.schema().maybe_index_of_column(column).is_none())
}

fn reads_bounds(expr: &Expr, windows: &WindowTvf) -> bool {
    expr.column_refs().into_iter().any(|column| {
        window_tvf::COLUMNS
            .iter()
            .any(|name| is_bound(&Expr::Column(column.clone()), windows, name))
    })
}
