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

use crate::engine::{Engine, State, from_runtime};
use crate::provider::{ViewTable, frozen, view_of};

/// A view's rows, or why it has none.
type Rows = std::result::Result<Vec<RecordBatch>, millstream_runtime::Error>;

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
    let mut scans = Vec::new();
    let seen = plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan
            && let Some(view) = view_of(scan)
        {
            scans.push((scan.clone(), view));
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    seen.map_err(from_datafusion)?;
    if scans.is_empty() {
        return Ok(plan);
    }
    let mut rows = rows_of(engine, &scans)?.into_iter();
    let frozen_plan = plan.transform_down_with_subqueries(|plan| {
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
        scan.source = frozen(view, batches);
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    });
    Ok(frozen_plan.map_err(from_datafusion)?.data)
}

/// The rows of the views that scans read, all of one step. A name may have come to mean another view since the query was
/// planned, even since the job was asked.
fn rows_of(engine: &Engine, scans: &[(TableScan, ViewTable)]) -> Result<Vec<Rows>> {
    let mut asked = None;
    loop {
        let (requests, job) = engine.with_state(|state| {
            let requests = scans
                .iter()
                .map(|(scan, planned)| Ok(request(scan, &meant(state, planned)?)));
            (requests.collect::<Result<Vec<_>>>(), state.job.clone())
        });
        let (requests, Some(job)) = (requests?, job) else {
            return Ok(scans.iter().map(|_| Ok(Vec::new())).collect());
        };
        let nodes: Vec<NodeId> = requests.iter().map(|request| request.node).collect();
        let rows = job.snapshot(requests).map_err(from_runtime)?.1;
        let is_gone = |rows: &Rows| matches!(rows, Err(millstream_runtime::Error::UnknownNode(_)));
        if !rows.iter().any(is_gone) || asked.as_ref() == Some(&nodes) {
            return Ok(rows);
        }
        asked = Some(nodes);
    }
}

/// What the name of a planned view means now.
fn meant(state: &State, planned: &ViewTable) -> Result<ViewTable> {
    let name = &planned.name;
    let now = ViewTable::of(state, name).ok_or_else(|| missing(state, name))?;
    if now.schema != planned.schema {
        let why = format!("the columns of \"{name}\" have changed since the query was planned");
        return Err(Error::user(why).hint("send it again"));
    }
    Ok(now)
}

/// What there is to say about a name that means no view.
pub(crate) fn missing(state: &State, name: &str) -> Error {
    let missing = Error::user(format!("there is no table or view \"{name}\""));
    match state.declared.catalog.get(name) {
        Some(relation) if relation.kind() != "materialized view" => Error::user(format!(
            "\"{name}\" is a {}: it holds no rows to read",
            relation.kind()
        ))
        .hint(format!(
            "CREATE MATERIALIZED VIEW name AS SELECT ... FROM {name}, and read that"
        )),
        Some(_) => missing,
        None => match millstream_dataflow::options::nearest(name, state.declared.catalog.names()) {
            Some(near) => missing.hint(format!("did you mean \"{near}\"?")),
            None => missing,
        },
    }
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
    let quoted = error.message.split('\'').nth(1);
    let name = quoted.and_then(|name| name.rsplit('.').next());
    match name.filter(|_| error.message.contains("not found")) {
        Some(name) => engine.about_missing(name),
        None => error,
    }
}
