//! A view's rows from nothing but its tables' rows: the plan that `lower` makes operators of, run by DataFusion once.
//!
//! ```text
//! plan -> part: a plan that DataFusion can run, node by node
//!           leaf      tables, views computed before
//!           rows      projections, filters, unions, UNNEST, the clock
//!           windows   each row in its windows; those that have closed      sessions
//!           aggregate GROUP BY            over      OVER
//!           order     rankings, LIMIT     join      joins that wait for a time   interval
//! ```
//! What a maintained view holds back until the watermark says so is held back here as well: only then are the two the same.
//! What the order of arrival decides is marked where that order is not known.

mod aggregate;
mod interval;
mod join;
mod leaf;
mod order;
mod over;
mod rows;
mod sessions;
mod windows;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, TimeUnit};
use datafusion::catalog::MemTable;
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::datasource::provider_as_source;
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, TableScan};
use futures::future::BoxFuture;
use millstream_dataflow::{Error, Result, Watermark};
use millstream_planner::{from_datafusion, logical};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::facts::{Facts, Range, ViewFacts};
use super::marks::Marks;
use super::pipeline::Pipeline;
use super::read;
use super::table::{STEP, Table};

/// Computes views of one step.
pub(crate) struct Batch<'a> {
    pipeline: &'a Pipeline,
    facts: &'a Facts,
    session: SessionContext,
    tables: HashMap<(String, Vec<Range>), Arc<Table>>,
    answers: BTreeMap<String, Arc<Answer>>,
}

/// A view's rows as a batch computes them.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) marks: Marks,
    /// Whether the view may lack rows that came late, and it is not known which.
    pub(crate) may_lack_late: bool,
    promise: Promise,
}

/// What is known of rows beside their columns.
#[derive(Clone, Debug, Default)]
struct Promise {
    /// The tables that they follow from.
    tables: BTreeSet<String>,
    /// Nothing is ever retracted.
    append_only: bool,
    /// Rows leave as the wall clock moves.
    clocked: bool,
    /// They are in the order in which they arrived.
    ordered: bool,
    /// The view may lack rows that came late, and it is not known which.
    may_lack_late: bool,
}

/// A plan that DataFusion can run, with what is known of its rows.
struct Part {
    plan: LogicalPlan,
    promise: Promise,
    marks: Marks,
}

/// What a node above wants of the node below, through projections.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    /// Windows that have closed, and no others.
    closed: bool,
    /// Only rows of this rank or a smaller one are kept.
    rank_max: Option<u64>,
}

/// The view that is being computed.
struct Walk<'b, 'a> {
    batch: &'b mut Batch<'a>,
    view: &'a ViewFacts,
}

impl<'a> Batch<'a> {
    /// Computes views from what is known of a step.
    pub(crate) fn new(pipeline: &'a Pipeline, facts: &'a Facts) -> Self {
        let mut config = SessionConfig::new()
            // One partition: rows stay in their order.
            .with_target_partitions(1)
            .with_collect_statistics(false);
        config
            .options_mut()
            .execution
            .skip_physical_aggregate_schema_check = true;
        Self {
            pipeline,
            facts,
            session: SessionContext::new_with_config(config),
            tables: HashMap::new(),
            answers: BTreeMap::new(),
        }
    }

    /// The rows of a view.
    ///
    /// # Errors
    /// Why it cannot be computed.
    pub(crate) fn answer<'s>(&'s mut self, name: &'s str) -> BoxFuture<'s, Result<Arc<Answer>>> {
        Box::pin(async move {
            if let Some(known) = self.answers.get(name) {
                return Ok(Arc::clone(known));
            }
            let view = self
                .facts
                .views
                .get(name)
                .ok_or_else(|| Error::user(format!("nothing is known of the view `{name}`")))?;
            let answer = match self.pipeline.letters_of(name) {
                Some(table) => {
                    let table = table.to_owned();
                    Walk { batch: self, view }.letters(&table)?
                }
                None => {
                    let (plan, schema) = self.pipeline.query(name)?;
                    let (plan, schema) = (plan.clone(), Arc::clone(schema));
                    Walk { batch: self, view }.rows_of(&plan, schema).await?
                }
            };
            let answer = Arc::new(answer);
            self.answers.insert(name.to_owned(), Arc::clone(&answer));
            Ok(answer)
        })
    }
}

impl Batch<'_> {
    /// Why rows that came late may explain a difference; `None`: none was late.
    pub(crate) fn late(&self, view: &ViewFacts) -> Result<Option<String>> {
        if view.late_rows > 0 {
            return Ok(Some(format!(
                "{} late rows were left out, and which ones is not known here",
                view.late_rows
            )));
        }
        let tables: BTreeSet<&str> = view.ranges.iter().map(|range| &*range.table).collect();
        for name in tables {
            let source = self.pipeline.source(name)?;
            let ranges = view.ranges_of(name)?;
            if source.idle_timeout_ms.is_some() && ranges.len() > 1 {
                return Ok(Some(format!(
                    "partitions of table `{name}` may have been idle: which rows were late then depends on the steps"
                )));
            }
            let behind = read::behind(source, &ranges)?;
            if behind > 0 {
                return Ok(Some(format!(
                    "{behind} rows of table `{name}` stand behind the watermark of their partition: which of them were late depends on the steps"
                )));
            }
        }
        Ok(None)
    }
}

impl Walk<'_, '_> {
    async fn rows_of(&mut self, plan: &LogicalPlan, schema: SchemaRef) -> Result<Answer> {
        let part = self.part(plan, Wish::default()).await?;
        let batches = self.collect(&part.plan).await?;
        let cast = |batch: &RecordBatch| {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns =
                columns.map(|(column, field)| Ok(compute::cast(column, field.data_type())?));
            rebuilt(&schema, columns.collect::<Result<_>>()?, batch.num_rows())
        };
        Ok(Answer {
            batches: batches.iter().map(cast).collect::<Result<_>>()?,
            schema,
            marks: part.marks,
            may_lack_late: part.promise.may_lack_late,
            promise: part.promise,
        })
    }

    /// A plan that gives the rows of a node.
    fn part<'s>(&'s mut self, plan: &'s LogicalPlan, wish: Wish) -> BoxFuture<'s, Result<Part>> {
        Box::pin(async move {
            match plan {
                LogicalPlan::Projection(projection) => self.projection(projection, wish).await,
                LogicalPlan::Filter(filter) => self.filter(filter).await,
                LogicalPlan::SubqueryAlias(alias) => self.alias(alias, wish).await,
                LogicalPlan::Subquery(subquery) => self.part(&subquery.subquery, wish).await,
                LogicalPlan::TableScan(scan) => self.scan(scan).await,
                LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Ok(Part {
                    plan: leaf::constants(plan)?,
                    promise: Promise {
                        append_only: true,
                        ordered: true,
                        ..Promise::default()
                    },
                    marks: Marks::default(),
                }),
                LogicalPlan::Union(union) => self.union(union).await,
                LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate).await,
                LogicalPlan::Distinct(distinct) => self.distinct(distinct).await,
                LogicalPlan::Window(window) => self.window(window, wish.rank_max).await,
                LogicalPlan::Limit(limit) => self.limit(limit).await,
                LogicalPlan::Sort(sort) => self.sort(sort).await,
                LogicalPlan::Join(join) => self.join(join).await,
                LogicalPlan::Extension(extension) => match logical::node(extension) {
                    Some(node) => self.node(plan, node, wish).await,
                    None => Err(no_batch(extension.node.name())),
                },
                LogicalPlan::Repartition(_)
                | LogicalPlan::Unnest(_)
                | LogicalPlan::Statement(_)
                | LogicalPlan::Explain(_)
                | LogicalPlan::Analyze(_)
                | LogicalPlan::Dml(_)
                | LogicalPlan::Ddl(_)
                | LogicalPlan::Copy(_)
                | LogicalPlan::DescribeTable(_)
                | LogicalPlan::RecursiveQuery(_) => Err(no_batch(&plan.display().to_string())),
            }
        })
    }

    async fn node(
        &mut self,
        plan: &LogicalPlan,
        node: logical::Node<'_>,
        wish: Wish,
    ) -> Result<Part> {
        match node {
            logical::Node::Windows {
                input,
                time,
                partition,
                kind,
            } => {
                let windows = windows::Windows {
                    input,
                    time,
                    partition,
                    kind,
                    names: plan.schema(),
                };
                self.windows(windows, wish.closed).await
            }
            logical::Node::Unnest {
                input,
                collection,
                is_outer,
                is_numbered,
            } => {
                let unnest = rows::Unnest {
                    collection,
                    is_outer,
                    is_numbered,
                };
                self.unnest(input, unnest, plan.schema()).await
            }
            logical::Node::WhileTrue { input, predicate } => {
                self.while_true(input, predicate).await
            }
        }
    }

    /// How far event time has come in what follows from these tables.
    fn watermark(&self, tables: &BTreeSet<String>) -> Result<Watermark> {
        if tables.is_empty() {
            return Ok(Watermark::MAX);
        }
        let found = self.view.watermarks.get(tables).copied();
        found.ok_or_else(|| {
            let names: Vec<&str> = tables.iter().map(String::as_str).collect();
            let names = names.join(", ");
            Error::user(format!(
                "the watermark of what follows from {names} is not known"
            ))
        })
    }

    /// The watermark before each step of what follows from these tables, where steps are known.
    fn watermarks_before(&self, tables: &BTreeSet<String>) -> Option<Vec<i64>> {
        let history = self.batch.facts.history.as_ref()?;
        Some(history.watermarks_before(tables))
    }

    /// Runs a plan: its rows with the columns that the plan says.
    async fn collect(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let state = self.batch.session.state();
        let physical = state
            .query_planner()
            .create_physical_plan(plan, &state)
            .await;
        let physical = physical.map_err(from_datafusion)?;
        let context = self.batch.session.task_ctx();
        let batches = datafusion::physical_plan::collect(physical, context).await;
        let schema: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
        let as_planned = |batch: RecordBatch| {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| {
                if column.data_type() == field.data_type() {
                    return Ok(Arc::clone(column));
                }
                Ok(compute::cast(column, field.data_type())?)
            });
            rebuilt(&schema, columns.collect::<Result<_>>()?, batch.num_rows())
        };
        batches
            .map_err(from_datafusion)?
            .into_iter()
            .map(as_planned)
            .collect()
    }

    /// Rows as a plan.
    fn held(&self, names: &DFSchemaRef, batches: Vec<RecordBatch>) -> Result<LogicalPlan> {
        let schema: SchemaRef = Arc::new(names.as_arrow().clone());
        let batches = batches
            .into_iter()
            .map(|batch| rebuilt(&schema, batch.columns().to_vec(), batch.num_rows()));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let table = MemTable::try_new(schema, vec![batches]).map_err(from_datafusion)?;
        Ok(scan_of(table, None, names))
    }

    /// The rows of a plan with these expressions as further columns, named by their places.
    fn with_columns(&self, plan: LogicalPlan, exprs: &[Expr]) -> Result<LogicalPlan> {
        if exprs.is_empty() {
            return Ok(plan);
        }
        let own = plan.schema().columns().into_iter().map(Expr::Column);
        let added = exprs
            .iter()
            .enumerate()
            .map(|(at, expr)| expr.clone().alias(format!("\u{1}{at}")));
        let all = own.chain(added).collect();
        let projection = Projection::try_new(all, Arc::new(plan)).map_err(from_datafusion)?;
        Ok(LogicalPlan::Projection(projection))
    }

    /// The rows of a node's input as they arrived, with these expressions as further columns.
    async fn arrivals(
        &mut self,
        input: &LogicalPlan,
        part: &Part,
        exprs: &[Expr],
    ) -> Result<Arrivals> {
        let stepped = self.stepped(input).await?;
        let has_steps = stepped.is_some();
        let plan = stepped.unwrap_or_else(|| part.plan.clone());
        let plan = self.with_columns(plan, exprs)?;
        let width = part.plan.schema().fields().len();
        let mut arrivals = Arrivals {
            names: Arc::clone(part.plan.schema()),
            batches: Vec::new(),
            added: Vec::new(),
            steps: Vec::new(),
            has_steps,
            ordered: has_steps || part.promise.ordered,
        };
        let schema: SchemaRef = Arc::new(arrivals.names.as_arrow().clone());
        for batch in self.collect(&plan).await? {
            let mut columns = batch.columns().to_vec();
            let added = columns.split_off(columns.len() - exprs.len());
            if has_steps {
                let steps = columns.remove(width);
                arrivals
                    .steps
                    .push(steps.as_primitive::<Int64Type>().values().to_vec());
            }
            arrivals
                .batches
                .push(rebuilt(&schema, columns, batch.num_rows())?);
            arrivals.added.push(added);
        }
        Ok(arrivals)
    }
}

impl Walk<'_, '_> {
    /// Leaves out the rows that came when the watermark had reached the end of their window, less a margin. False: which ones
    /// is not known.
    async fn leave_out_late(
        &mut self,
        input: &LogicalPlan,
        part: &mut Part,
        end: &Expr,
        tables: &BTreeSet<String>,
        margin_ms: i64,
    ) -> Result<bool> {
        let Some(before) = self.watermarks_before(tables) else {
            return Ok(false);
        };
        let mut arrivals = self
            .arrivals(input, part, std::slice::from_ref(end))
            .await?;
        if !arrivals.has_steps {
            return Ok(false);
        }
        let ends = arrivals.added.iter().map(|added| millis(&added[0]));
        let ends = ends.collect::<Result<Vec<_>>>()?;
        let steps = arrivals.steps.clone();
        arrivals.retain(|at, row| {
            let reached = ends[at][row].zip(before.get(steps[at][row] as usize));
            reached.is_none_or(|(end, before)| end.saturating_sub(margin_ms) > *before)
        })?;
        part.plan = self.held(&arrivals.names, arrivals.batches)?;
        part.promise.ordered = true;
        Ok(true)
    }
}

/// Rows as they arrived.
struct Arrivals {
    names: DFSchemaRef,
    batches: Vec<RecordBatch>,
    /// Columns that were computed for whoever asked.
    added: Vec<Vec<ArrayRef>>,
    /// The places of the rows' steps, where they are known.
    steps: Vec<Vec<i64>>,
    has_steps: bool,
    ordered: bool,
}

impl Arrivals {
    /// Leaves the rows for which `keep`, of batch and row, is true.
    fn retain(&mut self, keep: impl Fn(usize, usize) -> bool) -> Result<()> {
        for at in 0..self.batches.len() {
            let mask: BooleanArray = (0..self.batches[at].num_rows())
                .map(|row| Some(keep(at, row)))
                .collect();
            if mask.true_count() == mask.len() {
                continue;
            }
            self.batches[at] = compute::filter_record_batch(&self.batches[at], &mask)?;
            for column in &mut self.added[at] {
                *column = compute::filter(column, &mask)?;
            }
            if let Some(steps) = self.steps.get_mut(at) {
                let mut kept = mask.values().iter();
                steps.retain(|_| kept.next().unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Where rows are: batch and row.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let rows = |(at, batch): (usize, &RecordBatch)| {
            (0..batch.num_rows())
                .map(move |row| (at, row))
                .collect::<Vec<_>>()
        };
        self.batches.iter().enumerate().flat_map(rows)
    }

    /// The rows with some columns behind their own, as a plan's names and batches.
    fn with(
        &self,
        fields: Vec<Field>,
        columns: impl Fn(usize) -> Result<Vec<ArrayRef>>,
    ) -> Result<(DFSchemaRef, Vec<RecordBatch>)> {
        let names = with_fields(&self.names, fields)?;
        let schema: SchemaRef = Arc::new(names.as_arrow().clone());
        let batch = |(at, batch): (usize, &RecordBatch)| {
            let mut all = batch.columns().to_vec();
            all.extend(columns(at)?);
            rebuilt(&schema, all, batch.num_rows())
        };
        let batches = self.batches.iter().enumerate().map(batch);
        Ok((names, batches.collect::<Result<_>>()?))
    }
}

/// Names with further columns behind them.
fn with_fields(names: &DFSchema, fields: Vec<Field>) -> Result<DFSchemaRef> {
    let own = names
        .iter()
        .map(|(table, field)| (table.cloned(), Arc::clone(field)));
    let all = own.chain(fields.into_iter().map(|field| (None, Arc::new(field))));
    let names = DFSchema::new_with_metadata(all.collect(), names.metadata().clone());
    Ok(Arc::new(names.map_err(from_datafusion)?))
}

/// A batch with these columns, which need not say what cannot be NULL.
fn rebuilt(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

fn scan_of(table: MemTable, projection: Option<Vec<usize>>, names: &DFSchemaRef) -> LogicalPlan {
    LogicalPlan::TableScan(TableScan {
        table_name: "rows".into(),
        source: provider_as_source(Arc::new(table)),
        projection,
        projected_schema: Arc::clone(names),
        filters: Vec::new(),
        fetch: None,
        statistics_requests: BTreeSet::new(),
    })
}

/// The column with the place of a row's step.
fn step_column() -> Expr {
    Expr::Column(Column::new_unqualified(STEP))
}

/// Columns of a plan, by their places, under these names.
fn as_named(plan: LogicalPlan, names: &DFSchemaRef, places: &[usize]) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let exprs = places
        .iter()
        .map(|place| Expr::Column(columns[*place].clone()));
    renamed(plan, exprs.collect(), names)
}

/// Expressions over a plan under these names.
fn renamed(plan: LogicalPlan, exprs: Vec<Expr>, names: &DFSchemaRef) -> Result<LogicalPlan> {
    let named = exprs
        .into_iter()
        .zip(names.iter())
        .map(|(expr, (table, field))| match &expr {
            Expr::Column(column) if column.name == *field.name() => expr,
            _ => expr.unalias().alias_qualified(table.cloned(), field.name()),
        });
    let projection =
        Projection::try_new_with_schema(named.collect(), Arc::new(plan), Arc::clone(names));
    Ok(LogicalPlan::Projection(
        projection.map_err(from_datafusion)?,
    ))
}

/// What a field means in event time where an expression passes it on.
fn role_of(expr: &Expr, names: &DFSchema) -> Option<logical::Role> {
    match expr {
        Expr::Alias(alias) => role_of(&alias.expr, names),
        Expr::Column(column) => logical::role(names.field(names.maybe_index_of_column(column)?)),
        _ => None,
    }
}

/// Times as milliseconds, rounded up.
fn millis(times: &ArrayRef) -> Result<Vec<Option<i64>>> {
    let per_ms = match times.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000,
        _ => 1,
    };
    let factor = match times.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => 1_000,
        DataType::Date32 => 86_400_000,
        _ => 1,
    };
    let numbers = match times.data_type() {
        DataType::Date32 => {
            compute::cast(&compute::cast(times, &DataType::Int32)?, &DataType::Int64)?
        }
        _ => compute::cast(times, &DataType::Int64)?,
    };
    let numbers = numbers.as_primitive::<Int64Type>();
    let up = |value: i64| {
        let whole = value.saturating_mul(factor);
        whole.div_euclid(per_ms) + i64::from(whole.rem_euclid(per_ms) != 0)
    };
    Ok(numbers.iter().map(|value| value.map(up)).collect())
}

fn no_batch(what: &str) -> Error {
    Error::user(format!("{what} has no meaning for a batch"))
}
