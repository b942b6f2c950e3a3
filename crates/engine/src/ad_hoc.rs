//! Queries over the views: DataFusion's SQL, each over one step of the job.
//!
//! The query is planned and optimized first, over views that are only names. Then its scans are collected and all asked of the
//! job at once, so that they are of one step; a scan by a view's whole key asks for those rows alone. The plan then
//! runs over what came.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, TableScan};
use datafusion::physical_plan::collect;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::{Error, Result};
use millstream_planner::from_datafusion;
use millstream_runtime::{Job, ViewRequest};
use std::sync::Arc;

use crate::engine::{Engine, from_runtime};
use crate::provider::{Frozen, ViewTable, view_of};

/// Whether a text is a query for the views, by its first word. Everything else is a statement of the engine's.
pub(crate) fn is_query(text: &str) -> bool {
    let text = skip_comments(text);
    let word: String = text
        .chars()
        .take_while(|c| c.is_ascii_alphabetic())
        .collect();
    matches!(
        word.to_ascii_uppercase().as_str(),
        "SELECT" | "WITH" | "VALUES" | "TABLE"
    ) || text.starts_with('(')
}

fn skip_comments(text: &str) -> &str {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix("--") {
        return rest
            .split_once('\n')
            .map_or("", |(_, rest)| skip_comments(rest));
    }
    match text
        .strip_prefix("/*")
        .and_then(|rest| rest.split_once("*/"))
    {
        Some((_, rest)) => skip_comments(rest),
        None => text,
    }
}

/// Runs a query over the views of one step.
pub(crate) async fn query(
    engine: &Engine,
    session: &SessionContext,
    text: &str,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let plan = session
        .state()
        .create_logical_plan(text)
        .await
        .map_err(|error| explained(engine, error))?;
    run(engine, session, plan).await
}

/// Runs a planned query over the views of one step.
pub(crate) async fn run(
    engine: &Engine,
    session: &SessionContext,
    plan: LogicalPlan,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let state = session.state();
    let plan = state.optimize(&plan).map_err(from_datafusion)?;
    let plan = freeze(engine, plan)?;
    let schema: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
    // Optimized already: planning it again would look for rows by the same rules twice.
    let physical = state
        .query_planner()
        .create_physical_plan(&plan, &state)
        .await
        .map_err(from_datafusion)?;
    let batches = collect(physical, session.task_ctx())
        .await
        .map_err(from_datafusion)?;
    Ok((schema, batches))
}

/// All rows of a view.
pub(crate) fn whole_view(job: &Job, node: NodeId) -> Result<Vec<RecordBatch>> {
    let (_, mut views) = job
        .snapshot(vec![ViewRequest { node, lookup: None }])
        .map_err(from_runtime)?;
    views.pop().map_or_else(
        || Err(Error::internal("a snapshot without its view")),
        |view| view.map_err(from_runtime),
    )
}

/// Replaces the views of a plan by their rows at one step.
pub(crate) fn freeze(engine: &Engine, plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut requests = Vec::new();
    let seen = plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan
            && let Some(view) = view_of(scan)
        {
            requests.push(request(scan, &view));
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    seen.map_err(from_datafusion)?;
    if requests.is_empty() {
        return Ok(plan);
    }
    let job = engine.with_state(|state| state.job.clone());
    let rows = match job {
        Some(job) => job.snapshot(requests).map_err(from_runtime)?.1,
        None => requests.iter().map(|_| Ok(Vec::new())).collect(),
    };
    let mut rows = rows.into_iter();
    let frozen = plan.transform_down_with_subqueries(|plan| {
        let LogicalPlan::TableScan(mut scan) = plan else {
            return Ok(Transformed::no(plan));
        };
        let Some(view) = view_of(&scan) else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let batches = match rows.next() {
            Some(Ok(batches)) => batches,
            Some(Err(error)) => {
                return Err(DataFusionError::Execution(format!(
                    "view \"{}\": {}",
                    view.name,
                    from_runtime(error)
                )));
            }
            None => Vec::new(),
        };
        scan.source = Frozen::source(&view, batches);
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    });
    Ok(frozen.map_err(from_datafusion)?.data)
}

/// What a scan asks of the job: the rows of a key where its conditions fix every column of the key.
fn request(scan: &TableScan, view: &ViewTable) -> ViewRequest {
    let value_of = |column: &str| {
        scan.filters
            .iter()
            .find_map(|filter| equals(filter, column))
    };
    let fixed: Option<Vec<(usize, ScalarValue)>> = view
        .key
        .iter()
        .map(|idx| Some((*idx, value_of(view.schema.field(*idx).name())?)))
        .collect();
    let lookup = fixed
        .filter(|fixed| !fixed.is_empty())
        .and_then(|fixed| key_row(&fixed, &view.schema));
    ViewRequest {
        node: view.node,
        lookup,
    }
}

fn equals(filter: &Expr, column: &str) -> Option<ScalarValue> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = filter
    else {
        return None;
    };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(found), Expr::Literal(value, _))
        | (Expr::Literal(value, _), Expr::Column(found))
            if found.name == column =>
        {
            Some(value.clone())
        }
        _ => None,
    }
}

fn key_row(fixed: &[(usize, ScalarValue)], schema: &SchemaRef) -> Option<RecordBatch> {
    let fields: Vec<_> = fixed
        .iter()
        .map(|(idx, _)| schema.field(*idx).clone())
        .collect();
    let values = fixed
        .iter()
        .zip(&fields)
        .map(|((_, value), field)| value.cast_to(field.data_type()).ok()?.to_array().ok());
    let values = values.collect::<Option<Vec<ArrayRef>>>()?;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values).ok()
}

/// A binder's error, with what the engine knows of the name that was not found.
fn explained(engine: &Engine, error: DataFusionError) -> Error {
    let error = from_datafusion(error);
    let quoted = error
        .message
        .split('\'')
        .nth(1)
        .filter(|_| error.message.contains("not found"));
    let Some(name) = quoted
        .and_then(|name| name.rsplit('.').next())
        .map(str::to_owned)
    else {
        return error;
    };
    engine.with_state(|state| match state.declared.catalog.get(&name) {
        Some(relation) if relation.kind() != "materialized view" => Error::user(format!(
            "`{name}` is a {}: it holds no rows to read",
            relation.kind()
        ))
        .hint(format!(
            "CREATE MATERIALIZED VIEW name AS SELECT ... FROM {name}, and read that"
        )),
        Some(_) => error,
        None => {
            match millstream_dataflow::options::nearest(&name, state.declared.catalog.names()) {
                Some(near) => error.hint(format!("did you mean \"{near}\"?")),
                None => error,
            }
        }
    })
}
