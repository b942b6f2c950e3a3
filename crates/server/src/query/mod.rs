//! Queries of clients: planned, bounded, run.
//!
//! ```text
//! tokens -> statement -> logical plan   (prepare: a planning thread with a large stack)
//!        -> values in, optimized, views frozen at one step, physical plan   (open: the same)
//!        -> batches over a bounded channel   (a task of the query runtime; it ends when its reader is dropped)
//! ```
//! Planning can't be interrupted, so that it has threads of its own, few of them; who waits for one can give up. A query's memory is counted
//! against its own share and the pool of all.

mod array_literals;
mod bounded;
mod catalogs;
mod functions;
mod memory;
mod naming;
mod parse;
mod placeholders;
mod variables;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{FunctionRegistry, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement as DFStatement;
use futures::{FutureExt, StreamExt};
use millstream_engine::{Engine, Response};
use pgwire::api::Type;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::pgwire::error::{Result, SqlError};
use crate::pgwire::parameters::Parameter;
use crate::pgwire::script::{self, Piece};
pub(crate) use variables::Variables;

/// Texts up to this length are cut into statements by whoever got them.
const SHORT_TEXT_BYTES: usize = 32 << 10;

/// What queries may take.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// Bytes of all queries together.
    pub memory_bytes_max: usize,
    /// Bytes of one query.
    pub query_bytes_max: usize,
    /// Bytes that all queries together may put on disk when memory does not do.
    pub spill_bytes_max: u64,
    /// Rows of one result.
    pub rows_max: u64,
    /// Statements that are planned at the same time.
    pub planners: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 30,
            query_bytes_max: 256 << 20,
            spill_bytes_max: 4 << 30,
            rows_max: 50_000_000,
            planners: 8,
        }
    }
}

/// Plans and runs queries over an engine's views.
pub(crate) struct Queries {
    pub engine: Engine,
    pub limits: QueryLimits,
    context: SessionContext,
    parser: parse::QueryParser,
    pool: Arc<dyn MemoryPool>,
    runtime_env: Arc<RuntimeEnv>,
    planners: Arc<Semaphore>,
    runtime: Handle,
    /// Counts statements that may have changed what names mean.
    generation: AtomicU64,
}

/// A planned query.
#[derive(Debug)]
pub(crate) struct Planned {
    plan: LogicalPlan,
    pub parameters: Vec<Parameter>,
    pub schema: SchemaRef,
    generation: u64,
}

/// A running query's rows; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Rows {
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    task: AbortHandle,
    left: u64,
}

impl Queries {
    /// Queries over an engine, run on a runtime whose threads have large stacks.
    pub(crate) fn new(engine: Engine, limits: QueryLimits, runtime: Handle) -> Result<Self> {
        let context = engine.session();
        catalogs::register(&context)?;
        functions::register(&context);
        bounded::register(&context);
        let options = context.state_ref();
        {
            let mut state = options.write();
            let sql = &mut state.config_mut().options_mut().sql_parser;
            sql.collect_spans = true;
            sql.parse_float_as_decimal = true;
        }
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(limits.memory_bytes_max));
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::OsTmpDirectory)
            .with_max_temp_directory_size(limits.spill_bytes_max);
        let runtime_env = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::clone(&pool))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        Ok(Self {
            engine,
            limits,
            context,
            parser: parse::QueryParser::new(),
            pool,
            runtime_env,
            planners: Arc::new(Semaphore::new(limits.planners)),
            runtime,
            generation: AtomicU64::new(0),
        })
    }

    /// Runs a statement of the engine's.
    pub(crate) async fn change(&self, piece: &Piece) -> Result<Vec<Response>> {
        millstream_sql::parse(&piece.text).map_err(|error| {
            let state = if script::is_too_much(&error) {
                "54001"
            } else {
                "42601"
            };
            let span = error.diagnostic.span;
            let at = piece.place_in_whole(script::place(
                span.start.line as u64,
                span.start.column as u64,
            ));
            SqlError {
                hint: error.diagnostic.hint.map(String::into_boxed_str),
                at: Some(at),
                ..SqlError::new(state, error.diagnostic.message)
            }
        })?;
        let responses = self.engine.execute(&self.context, &piece.text).await;
        let only_tells = |responses: &Vec<Response>| {
            responses
                .iter()
                .all(|response| matches!(response, Response::Rows { .. }))
        };
        if !responses.as_ref().is_ok_and(only_tells) {
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
        responses.map_err(|error| {
            let at = error.at.map(|at| piece.place_in_whole(at));
            SqlError {
                at,
                ..SqlError::from(error)
            }
        })
    }

    /// Cuts a text into its statements; a long one where it holds up nobody.
    pub(crate) async fn cut(&self, text: &str) -> Result<Vec<Piece>> {
        if text.len() <= SHORT_TEXT_BYTES {
            return script::pieces(text);
        }
        let text = text.to_owned();
        self.planning(move |_| script::pieces(&text)).await
    }

    /// Plans a query. `declared`: the types that the client gives its parameters.
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        variables: Variables,
        piece: &Piece,
        declared: &[Type],
    ) -> Result<Arc<Planned>> {
        let (queries, tokens, text, declared) = (
            Arc::clone(self),
            piece.tokens.clone(),
            piece.text.clone(),
            declared.to_vec(),
        );
        self.planning(move |handle| {
            let generation = queries.generation.load(Ordering::Relaxed);
            let statement = queries.parser.statement(&text, tokens)?;
            let names = naming::names(&statement);
            let state = queries.state(variables);
            let plan = handle
                .block_on(state.statement_to_plan(DFStatement::Statement(Box::new(statement))));
            let plan = plan.map_err(|error| queries.explained(error))?;
            let plan = array_literals::as_lists(plan)?;
            SQLOptions::new()
                .with_allow_ddl(false)
                .with_allow_dml(false)
                .with_allow_statements(false)
                .verify_plan(&plan)?;
            let parameters = parameters(&plan, &declared)?;
            let schema = named(described(&state, &plan, &parameters)?, &names);
            Ok(Arc::new(Planned {
                plan,
                parameters,
                schema,
                generation,
            }))
        })
        .await
    }

    /// Whether names still mean what they meant when it was planned.
    pub(crate) fn is_current(&self, planned: &Planned) -> bool {
        planned.generation == self.generation.load(Ordering::Relaxed)
    }

    /// Runs a planned query.
    pub(crate) async fn open(
        self: &Arc<Self>,
        variables: Variables,
        planned: &Arc<Planned>,
        values: Vec<ScalarValue>,
    ) -> Result<Rows> {
        let (queries, planned) = (Arc::clone(self), Arc::clone(planned));
        let share = Arc::new(memory::Share::new(
            Arc::clone(&self.pool),
            self.limits.query_bytes_max,
        ));
        let environment = Arc::new(RuntimeEnv {
            memory_pool: share,
            ..self.runtime_env.as_ref().clone()
        });
        let (physical, context) = self
            .planning(move |handle| {
                let mut state = queries.state(variables);
                let plan = with_values(planned.plan.clone(), values)?;
                let plan = state.optimize(&plan)?;
                let options = state.config_mut().options_mut();
                options.execution.batch_size =
                    ConfigNonZeroUsize::try_new(bounded::batch_rows(&plan)?)?;
                let plan = queries.engine.freeze(plan)?;
                let physical =
                    handle.block_on(state.query_planner().create_physical_plan(&plan, &state))?;
                Ok((
                    physical,
                    TaskContext::from(&state).with_runtime(environment),
                ))
            })
            .await?;
        let (sender, batches) = mpsc::channel(2);
        let task = self
            .runtime
            .spawn(run(physical, Arc::new(context), sender))
            .abort_handle();
        Ok(Rows {
            batches,
            task,
            left: self.limits.rows_max,
        })
    }

    /// Runs something on a planning thread. Who gives up waiting leaves it to end by itself.
    async fn planning<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&Handle) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.planners)
            .acquire_owned()
            .await
            .map_err(|_| SqlError::fatal("57P01", "the server stops"))?;
        let handle = self.runtime.clone();
        let planned = self.runtime.spawn_blocking(move || {
            let _permit = permit;
            plan(&handle)
        });
        planned
            .await
            .map_err(|error| SqlError::internal(format!("planning failed: {error}")))?
    }

    /// DataFusion's state with a session's settings in it.
    fn state(&self, variables: Variables) -> SessionState {
        let mut state = self.context.state();
        let options = state.config_mut().options_mut();
        options.execution.time_zone = Some(variables.settings.time_zone());
        options.extensions.insert(variables);
        // `now()` and its like were made for another zone.
        let functions = state.scalar_functions().values();
        let of_zone: Vec<_> = functions
            .filter_map(|function| function.inner().with_updated_config(state.config_options()))
            .collect();
        for function in of_zone {
            // A state takes any function.
            let _ = state.register_udf(Arc::new(function));
        }
        state.mark_start_execution();
        state
    }

    /// A planner's error, with what the engine knows of a name that was not found.
    fn explained(&self, error: DataFusionError) -> SqlError {
        let found = SqlError::from(error);
        if found.state != "42P01" {
            return found;
        }
        let name = found
            .message
            .split('\'')
            .nth(1)
            .and_then(|name| name.rsplit('.').next())
            .unwrap_or_default()
            .to_owned();
        let at = found.at;
        let about = SqlError::from(self.engine.about_missing(&name));
        SqlError { at, ..about }
    }
}

/// The parameters in their order.
fn parameters(plan: &LogicalPlan, declared: &[Type]) -> Result<Vec<Parameter>> {
    let inferred = placeholders::types(plan)?;
    let number = |name: &String| {
        name.strip_prefix('$')
            .and_then(|number| number.parse::<usize>().ok())
    };
    let mut count = declared.len();
    for name in inferred.keys() {
        let number = number(name).filter(|number| (1..=65_535).contains(number));
        count = count.max(
            number
                .ok_or_else(|| SqlError::new("42P02", format!("there is no parameter {name}")))?,
        );
    }
    let of = |idx: usize| {
        Parameter::new(
            declared.get(idx),
            inferred
                .get(&format!("${}", idx + 1))
                .and_then(Option::as_ref),
        )
    };
    Ok((0..count).map(of).collect())
}

/// The columns of a query: those that it has when its parameters have their types.
fn described(
    state: &SessionState,
    plan: &LogicalPlan,
    parameters: &[Parameter],
) -> Result<SchemaRef> {
    let nulls = parameters
        .iter()
        .map(Parameter::null)
        .collect::<Result<Vec<_>>>()?;
    let plan = with_values(plan.clone(), nulls)?;
    let analyzed = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})?;
    let schema = analyzed.schema().as_arrow();
    if schema.fields().len() > 1_664 {
        return Err(SqlError::new(
            "54011",
            "target lists can have at most 1664 entries",
        ));
    }
    Ok(Arc::new(schema.clone()))
}

/// The columns under the names that Postgres would give them.
fn named(schema: SchemaRef, names: &[Option<String>]) -> SchemaRef {
    if names.len() != schema.fields().len() {
        return schema;
    }
    let fields = schema
        .fields()
        .iter()
        .zip(names)
        .map(|(field, name)| match name {
            Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
            None => Arc::clone(field),
        });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn with_values(plan: LogicalPlan, values: Vec<ScalarValue>) -> Result<LogicalPlan> {
    if values.is_empty() {
        return Ok(plan);
    }
    Ok(plan.replace_params_with_values(&ParamValues::from(values))?)
}

/// Runs a plan; a panic in it is an error of the query, never an early end that looks like all rows.
async fn run(
    physical: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    sender: mpsc::Sender<Result<RecordBatch, DataFusionError>>,
) {
    let batches = AssertUnwindSafe(send_batches(physical, context, &sender));
    let ended = batches.catch_unwind().await.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        Err(DataFusionError::Internal(format!(
            "the query panicked: {}",
            said.unwrap_or_default()
        )))
    });
    if let Err(error) = ended {
        // Who asked may have gone.
        let _ = sender.send(Err(error)).await;
    }
}

async fn send_batches(
    physical: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    sender: &mpsc::Sender<Result<RecordBatch, DataFusionError>>,
) -> Result<(), DataFusionError> {
    let mut stream = execute_stream(physical, context)?;
    while let Some(batch) = stream.next().await {
        if sender.send(Ok(batch?)).await.is_err() {
            break;
        }
    }
    Ok(())
}

impl Rows {
    /// The next rows; `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.batches.recv().await else {
            return Ok(None);
        };
        let batch = batch?;
        self.left = self
            .left
            .checked_sub(batch.num_rows() as u64)
            .ok_or_else(|| {
                SqlError::new("54000", "the result has more rows than the limit")
                    .hint("add a LIMIT, or aggregate in the query")
            })?;
        Ok(Some(batch))
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.task.abort();
    }
}
