//! A logical plan as nodes of a graph: one match, one line an arm.

mod aggregate;
mod join;
mod over;
mod rows;
mod scan;
mod sink;
mod temporal;
pub(crate) mod top_k;
pub(crate) mod window;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use millstream_dataflow::graph::{Edge, Graph, Node, NodeId, NodeKind, ViewNode};
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Error, Expression, Partitioning, Result, Spec};
use std::collections::HashMap;
use std::sync::Arc;

use crate::catalog::{Catalog, DeclaredTable};
use crate::clock_filter::ClockFilter;
use crate::error::from_datafusion;
use crate::expr;
use crate::paths::{self, Layout, Wanted};
use crate::text;
use crate::unnest::Unnest;
use crate::window_tvf::WindowTvf;

/// What a query becomes: a view that is maintained, or rows for a table.
#[derive(Clone, Debug)]
pub enum Target {
    /// A materialized view under this node.
    View {
        /// Its name.
        name: String,
        /// The node that will hold it.
        node: NodeId,
    },
    /// INSERT INTO a table, whose columns the query's fill by position.
    Insert {
        /// The table's name.
        table: String,
    },
}

/// What planning gave: nodes to add to the job.
#[derive(Debug, Default)]
pub struct Planned {
    /// The new nodes.
    pub graph: Graph,
    /// What the user should know: state that nothing bounds.
    pub warnings: Vec<String>,
}

/// A stream of rows while it is planned.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// The node that gives it.
    pub node: NodeId,
    /// Its columns as the binder names them.
    pub names: DFSchemaRef,
    /// Its columns as they are.
    pub schema: SchemaRef,
    /// Set while the columns are those of a source: paths into the table's columns.
    pub layout: Option<Arc<Layout>>,
    /// How its rows are spread over the workers.
    pub partitioning: Partitioning,
    /// Whether nothing is ever retracted.
    pub append_only: bool,
    /// Columns that identify a row, if the plan guarantees some.
    pub key: Option<Vec<usize>>,
    /// Whether rows leave as the wall clock moves: then also after the watermark has passed them.
    pub clocked: bool,
}

impl Stream {
    /// What people call a column that holds an expression over this stream: the query's name for it, or its text.
    fn shown(&self, expr: &Expr) -> String {
        match (expr, &self.layout) {
            (Expr::Alias(alias), _) if !text::is_made_up(&alias.name) => alias.name.clone(),
            (_, Some(layout)) => match layout.rewrite(expr.clone()) {
                Ok(expr) => expr::sql(&expr, &layout.names, &layout.schema),
                Err(_) => text::plain_sql(expr),
            },
            (_, None) => expr::sql(expr, &self.names, &self.schema),
        }
    }

    /// The names of the columns for people.
    fn shown_names(&self) -> impl Iterator<Item = String> {
        let fields = self.schema.fields().iter();
        fields.map(|field| field.name().clone())
    }
}

/// Plans queries into one job: what runs already is shared.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    next: u32,
    /// The sources that run, by table.
    sources: HashMap<String, Vec<Stream>>,
    /// The materialized views that run.
    views: HashMap<NodeId, Stream>,
    /// The nodes of a table's bad records and of the view over them.
    dead_letters: HashMap<String, (NodeId, NodeId)>,
}

impl Planner {
    /// A planner that knows the materialized views of this one, and no source that runs: what it plans shows all that a query
    /// computes.
    #[must_use]
    pub fn over_views(&self) -> Self {
        Self {
            sources: HashMap::new(),
            ..self.clone()
        }
    }

    /// The number of the last node.
    pub fn last_node(&self) -> NodeId {
        NodeId(self.next)
    }

    /// Numbers the nodes to come from behind this one.
    pub fn number_from(&mut self, last: NodeId) {
        self.next = self.next.max(last.0);
    }

    /// A number for a node that is to come.
    pub fn reserve(&mut self) -> NodeId {
        self.next += 1;
        NodeId(self.next)
    }

    /// The node of the view over a table's bad records.
    pub fn reserve_dead_letters(&mut self, table: &str) -> NodeId {
        let (node, view) = (self.reserve(), self.reserve());
        self.dead_letters.insert(table.to_owned(), (node, view));
        view
    }

    /// Forgets nodes that no longer run.
    pub fn forget(&mut self, gone: &[NodeId]) {
        self.sources
            .values_mut()
            .for_each(|streams| streams.retain(|stream| !gone.contains(&stream.node)));
        self.views.retain(|node, _| !gone.contains(node));
    }

    /// Forgets the sources of a table: another one may get its name.
    pub fn forget_table(&mut self, name: &str) {
        self.sources.remove(name);
        self.dead_letters.remove(name);
    }

    /// The columns that identify a row of a view that was planned, and whether it never retracts.
    pub fn view_key(&self, node: NodeId) -> Option<(&[usize], bool)> {
        self.views.get(&node).map(|stream| {
            (
                stream.key.as_deref().unwrap_or_default(),
                stream.append_only,
            )
        })
    }

    /// Plans bound queries into the job, in their order: a later one may read the views of earlier ones.
    ///
    /// # Errors
    /// `User` when a query can't be maintained correctly. Nothing is kept then.
    pub fn plan(
        &mut self,
        catalog: &Catalog,
        queries: Vec<(Target, LogicalPlan)>,
    ) -> Result<Planned> {
        let mut wanted = Wanted::new();
        let mut optimized = Vec::new();
        for (target, plan) in queries {
            let plan = crate::analyze::optimize(plan).map_err(from_datafusion)?;
            paths::collect(&plan, &mut wanted).map_err(from_datafusion)?;
            optimized.push((target, plan));
        }
        let before = (self.next, self.sources.clone(), self.views.clone());
        let mut lowering = Lowering {
            planner: self,
            catalog,
            wanted,
            graph: Graph::default(),
            memo: HashMap::new(),
            operators: HashMap::new(),
            warnings: Vec::new(),
        };
        let lowered = optimized
            .iter()
            .try_for_each(|(target, plan)| lowering.target(target, plan));
        let planned = Planned {
            graph: std::mem::take(&mut lowering.graph),
            warnings: std::mem::take(&mut lowering.warnings),
        };
        if let Err(error) = lowered {
            (self.next, self.sources, self.views) = before;
            return Err(error);
        }
        Ok(planned)
    }
}

/// What an operator computes, and of which nodes' rows exchanged how.
type Computation = (String, Vec<(NodeId, String)>);

/// One call of [`Planner::plan`].
pub(crate) struct Lowering<'a> {
    planner: &'a mut Planner,
    catalog: &'a Catalog,
    wanted: Wanted,
    graph: Graph,
    memo: HashMap<LogicalPlan, Stream>,
    /// Operators by what they compute of which inputs: equal ones run once.
    operators: HashMap<Computation, (NodeId, Partitioning, SchemaRef)>,
    warnings: Vec<String>,
}

impl Lowering<'_> {
    fn target(&mut self, target: &Target, plan: &LogicalPlan) -> Result<()> {
        match target {
            Target::View { name, node } => self.view(name, *node, plan),
            Target::Insert { table } => self.insert(table, plan),
        }
    }

    fn view(&mut self, name: &str, node: NodeId, plan: &LogicalPlan) -> Result<()> {
        let stream = self
            .lower(plan)
            .map_err(|error| error.context(format!("view `{name}`")))?;
        // What it is read by are the query's names.
        let names = plan.schema().fields().iter();
        let schema = renamed(&stream.schema, names.map(|field| field.name().clone()));
        let stream = Stream { schema, ..stream };
        let key = stream.key.clone().unwrap_or_default();
        let exchange = match key.as_slice() {
            [] => Partitioning::Any,
            key => needed(&Partitioning::Keys(key.to_vec()), &stream.partitioning),
        };
        let view = ViewNode {
            name: name.to_owned(),
            schema: Arc::clone(&stream.schema),
            key,
        };
        self.graph.nodes.push(Node {
            id: node,
            inputs: vec![Edge {
                from: stream.node,
                exchange,
            }],
            kind: NodeKind::View(view),
        });
        self.planner.views.insert(node, Stream { node, ..stream });
        Ok(())
    }

    /// A plan's rows, with the columns that the plan says.
    pub(crate) fn lower(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        let stream = self.lower_raw(plan)?;
        match &stream.layout {
            Some(layout) => self.whole_columns(&stream, &Arc::clone(layout), plan.schema()),
            None => Ok(stream),
        }
    }

    /// A plan's rows; above a source the columns may still be the source's.
    fn lower_raw(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        if let Some(stream) = self.memo.get(plan) {
            return Ok(stream.clone());
        }
        let stream = self.lower_node(plan)?;
        self.memo.insert(plan.clone(), stream.clone());
        Ok(stream)
    }

    fn lower_node(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        match plan {
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Window(window) => match self.over(window)? {
                Some(stream) => Ok(stream),
                None => self.ranking(window, None, true),
            },
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::EmptyRelation(empty) => self.empty(empty),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias),
            LogicalPlan::Subquery(subquery) => self.lower(&subquery.subquery),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Distinct(distinct) => self.distinct(distinct),
            LogicalPlan::Unnest(_) => Err(unsupported("UNNEST of a collection that is no column")
                .hint(
                    "put the collection into a view's column: FROM v, UNNEST(v.items) AS t (...)",
                )),
            LogicalPlan::Extension(extension) => self.extension(extension),
            LogicalPlan::Repartition(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::RecursiveQuery(_) => Err(unsupported(&plan.display().to_string())),
        }
    }

    fn extension(&mut self, extension: &Extension) -> Result<Stream> {
        let node = extension.node.as_any();
        if let Some(filter) = node.downcast_ref::<ClockFilter>() {
            return self.while_true(&filter.input, &filter.predicate);
        }
        match (
            node.downcast_ref::<WindowTvf>(),
            node.downcast_ref::<Unnest>(),
        ) {
            (Some(windows), _) => self.windows(windows),
            (None, Some(unnest)) => self.unnest(unnest),
            (None, None) => Err(unsupported(extension.node.name())),
        }
    }

    /// Adds a node over some streams, with the exchanges that it needs; `what` says what it computes. A node that computes
    /// the same of the same is there already: that one, with its own columns' names.
    fn add(
        &mut self,
        what: String,
        spec: Arc<dyn Spec>,
        inputs: &[&Stream],
    ) -> (NodeId, Partitioning, SchemaRef) {
        let several = inputs.len() > 1;
        let mut edges = Vec::new();
        let mut after = Vec::new();
        for (port, input) in inputs.iter().enumerate() {
            let wanted = spec.keys(port);
            // The two sides of a join must be spread by the very same columns.
            let exchange = if several && input.partitioning != wanted {
                wanted.clone()
            } else {
                needed(&wanted, &input.partitioning)
            };
            after.push(if exchange == Partitioning::Any {
                input.partitioning.clone()
            } else {
                exchange.clone()
            });
            edges.push(Edge {
                from: input.node,
                exchange,
            });
        }
        let same = (
            what,
            edges
                .iter()
                .map(|edge| (edge.from, format!("{:?}", edge.exchange)))
                .collect(),
        );
        if let Some(known) = self.operators.get(&same) {
            return known.clone();
        }
        let added = (
            self.planner.reserve(),
            spec.partitioning(&after),
            spec.schema(),
        );
        if let Bound::Rows(rows) = spec.bound() {
            self.warnings.push(format!(
                "{spec}: nothing bounds its state: it keeps {rows}, for ever"
            ));
        }
        self.graph.nodes.push(Node {
            id: added.0,
            inputs: edges,
            kind: NodeKind::Operator(spec),
        });
        self.operators.insert(same, added.clone());
        added
    }

    /// A stream from an operator, its columns named by the plan.
    fn stream(&mut self, spec: Arc<dyn Spec>, inputs: &[&Stream], names: &DFSchemaRef) -> Stream {
        let what = format!("{spec:?}");
        self.stream_of(what, spec, inputs, names)
    }

    /// The same for an operator whose `Debug` says more than what it computes.
    fn stream_of(
        &mut self,
        what: String,
        spec: Arc<dyn Spec>,
        inputs: &[&Stream],
        names: &DFSchemaRef,
    ) -> Stream {
        let (node, partitioning, schema) = self.add(what, spec, inputs);
        let append_only = inputs.iter().all(|input| input.append_only);
        Stream {
            node,
            names: Arc::clone(names),
            schema,
            layout: None,
            partitioning,
            append_only,
            key: None,
            clocked: inputs.iter().any(|input| input.clocked),
        }
    }

    /// Plans an expression over a stream.
    pub(crate) fn expr(
        stream: &Stream,
        expr: &Expr,
        wanted: Option<&DataType>,
    ) -> Result<Arc<dyn Expression>> {
        match &stream.layout {
            Some(layout) => expr::plan(
                &layout.rewrite(expr.clone()).map_err(from_datafusion)?,
                &layout.names,
                wanted,
            ),
            None => expr::plan_shown(expr, &stream.names, &stream.schema, wanted),
        }
    }

    fn declared(&self, name: &str) -> Result<DeclaredTable> {
        match self.catalog.require(name)?.as_ref() {
            crate::catalog::Relation::Table(table) => Ok(table.clone()),
            other => Err(Error::user(format!(
                "`{name}` is a {}, not a table",
                other.kind()
            ))),
        }
    }
}

/// The exchange on the way to an operator that wants its rows spread like `wanted`; `Any`: none.
fn needed(wanted: &Partitioning, have: &Partitioning) -> Partitioning {
    let is_there = match (wanted, have) {
        (Partitioning::Any, _) | (_, Partitioning::Single) => true,
        // Rows that agree in all wanted columns agree in some of them.
        (Partitioning::Keys(wanted), Partitioning::Keys(have)) => {
            !have.is_empty() && have.iter().all(|key| wanted.contains(key))
        }
        (Partitioning::Keys(_) | Partitioning::Single, _) => false,
    };
    if is_there {
        Partitioning::Any
    } else {
        wanted.clone()
    }
}

/// The columns of a plan as the engine holds them: one text type, everything nullable.
pub fn engine_schema(names: &DFSchema) -> SchemaRef {
    let fields = names.fields().iter().map(|field| {
        Field::new(field.name(), engine_type(field.data_type()), true)
            .with_metadata(field.metadata().clone())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of a plan as the engine holds them, the first of them under other names.
fn shown_schema(names: &DFSchema, shown: impl IntoIterator<Item = String>) -> SchemaRef {
    renamed(&engine_schema(names), shown)
}

/// Columns, the first of them under other names.
fn renamed(schema: &Schema, names: impl IntoIterator<Item = String>) -> SchemaRef {
    let mut names = names.into_iter();
    let fields = schema.fields().iter().map(|field| match names.next() {
        Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
        None => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The one type that the engine holds values of a type in.
pub(crate) fn engine_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        // NULL without a type: Flink has none either.
        DataType::Null => DataType::Utf8View,
        other => other.clone(),
    }
}

fn unsupported(what: &str) -> Error {
    Error::user(format!("{what} can't be maintained incrementally yet"))
}
