//! A pipeline file as what is to be verified: its views' queries, and the graph that maintains them.

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use millstream_dataflow::graph::{Graph, NodeId, NodeKind, OnBad, SourceNode};
use millstream_dataflow::{Error, Result};
use millstream_planner::catalog::{Content, DeclaredTable, Relation};
use millstream_planner::{Planner, Target, engine_schema, logical};
use millstream_sql::{Property, Spanned, Statement};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::facts::Range;
use super::history::History;
use super::read;
use super::table::Table;
use crate::engine::{Config, Engine, State, parse};
use crate::script::located;

/// What a pipeline file declares, as far as its views go. Nothing of it runs.
#[derive(Debug)]
pub struct Pipeline {
    /// The views that are to be verified, in their order.
    wanted: Vec<String>,
    views: BTreeMap<String, View>,
    tables: BTreeMap<String, DeclaredTable>,
    planner: Planner,
    /// The views and what they follow from.
    pub(crate) graph: Graph,
}

/// A view of the file.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) node: NodeId,
    pub(crate) schema: SchemaRef,
    pub(crate) definition: Option<String>,
    content: Rows,
}

/// What a view holds.
#[derive(Debug)]
enum Rows {
    /// The rows of its query.
    Of(Box<LogicalPlan>),
    /// The bad records of a table.
    Letters(String),
}

impl Pipeline {
    /// Reads a pipeline file. `views`: what is to be verified; none: all materialized views. A view that is not materialized is
    /// taken as if it were. Gives notes for the user.
    ///
    /// # Errors
    /// `User`, with the place in the text.
    pub fn new(
        text: &str,
        settings: &[(String, String)],
        views: &[String],
    ) -> Result<(Self, Vec<String>)> {
        let engine = Engine::new(Config::default());
        for (key, value) in settings {
            engine.set(key, value)?;
        }
        let mut statements = parse(text)?;
        statements
            .iter_mut()
            .for_each(|statement| as_reader(&mut statement.node));
        let mut state = engine.inner.state.lock();
        for statement in &statements {
            state
                .take(statement, text)
                .map_err(|error| located(error, statement.span, text))?;
        }
        let pipeline = Self::of(&mut state, views)?;
        Ok((pipeline, std::mem::take(&mut state.declared.notes)))
    }

    fn of(state: &mut State, chosen: &[String]) -> Result<Self> {
        let declared = &mut state.declared;
        let mut queries = std::mem::take(&mut declared.queries);
        for name in chosen {
            if let Relation::View(view) = declared.catalog.require(name)?.as_ref() {
                let node = declared.planner.reserve();
                let name = name.clone();
                queries.push((Target::View { name, node }, view.plan.clone()));
            }
        }
        // With what only sinks want: a record whose fault lies there is bad for the views as well.
        let planned = declared.planner.plan(&declared.catalog, queries.clone())?;
        let mut pipeline = Self {
            wanted: Vec::new(),
            views: BTreeMap::new(),
            tables: BTreeMap::new(),
            planner: std::mem::take(&mut declared.planner),
            graph: planned.graph,
        };
        let mut all = Vec::new();
        for (target, plan) in queries {
            let Target::View { name, node } = target else {
                continue;
            };
            let plan = logical::optimized(plan)?;
            let schema = engine_schema(plan.schema());
            let definition = declared.catalog.get(&name);
            let definition = definition.and_then(|relation| relation.definition());
            let view = View {
                node,
                schema,
                definition: definition.map(|definition| definition.sql.clone()),
                content: Rows::Of(Box::new(plan)),
            };
            all.push(name.clone());
            pipeline.views.insert(name, view);
        }
        for (name, relation) in declared.catalog.iter() {
            match relation.as_ref() {
                Relation::Table(table) => {
                    pipeline.tables.insert(name.to_owned(), table.clone());
                }
                Relation::Materialized(view) => {
                    if let Content::BadRecords { table } = &view.content
                        && pipeline.planner.view_key(view.node).is_some()
                    {
                        all.push(name.to_owned());
                        let view = View {
                            node: view.node,
                            schema: Arc::clone(&view.schema),
                            definition: None,
                            content: Rows::Letters(table.clone()),
                        };
                        pipeline.views.insert(name.to_owned(), view);
                    }
                }
                Relation::View(_) => {}
            }
        }
        pipeline.choose(all, chosen)?;
        Ok(pipeline)
    }

    fn choose(&mut self, all: Vec<String>, chosen: &[String]) -> Result<()> {
        if let Some(table) = chosen.iter().find(|name| !self.views.contains_key(*name)) {
            return Err(Error::user(format!(
                "`{table}` is no view: there is nothing to verify"
            )));
        }
        self.wanted = if chosen.is_empty() {
            all
        } else {
            chosen.to_vec()
        };
        if self.wanted.is_empty() {
            return Err(Error::user("the file has no materialized view").hint(
                "name a view that is not materialized with --view to verify it as if it were",
            ));
        }
        let nodes: BTreeSet<NodeId> = self.views.values().map(|view| view.node).collect();
        let kept = upstream(&self.graph, &nodes);
        self.graph.nodes.retain(|node| kept.contains(&node.id));
        Ok(())
    }

    /// The views that are to be verified.
    pub fn wanted(&self) -> &[String] {
        &self.wanted
    }

    /// All views, by name: the wanted ones may follow from others.
    pub(crate) fn views(&self) -> &BTreeMap<String, View> {
        &self.views
    }

    /// The names of all views.
    pub fn names(&self) -> Vec<&str> {
        self.views.keys().map(String::as_str).collect()
    }

    /// The optimized query of a view, and the columns that the view has.
    pub(crate) fn query(&self, name: &str) -> Result<(&LogicalPlan, &SchemaRef)> {
        match self.views.get(name) {
            Some(View {
                content: Rows::Of(plan),
                schema,
                ..
            }) => Ok((plan, schema)),
            _ => Err(Error::user(format!("the file has no view `{name}`"))),
        }
    }

    /// The table whose bad records a view holds.
    pub(crate) fn letters_of(&self, name: &str) -> Option<&str> {
        match &self.views.get(name)?.content {
            Rows::Letters(table) => Some(table),
            Rows::Of(_) => None,
        }
    }

    /// The columns that identify a row of a view.
    pub(crate) fn key(&self, name: &str) -> Vec<usize> {
        let view = self.views.get(name);
        let key = view.and_then(|view| self.planner.view_key(view.node));
        key.map(|(key, _)| key.to_vec()).unwrap_or_default()
    }

    pub(crate) fn declared(&self, table: &str) -> Result<&DeclaredTable> {
        let found = self.tables.get(table);
        found.ok_or_else(|| Error::user(format!("the file has no table `{table}`")))
    }

    /// The source of a table.
    pub(crate) fn source(&self, table: &str) -> Result<&SourceNode> {
        let source =
            |node: &'_ NodeKind| matches!(node, NodeKind::Source(source) if source.table == table);
        let found = self.graph.nodes.iter().find(|node| source(&node.kind));
        match found.map(|node| &node.kind) {
            Some(NodeKind::Source(source)) => Ok(source),
            _ => Err(Error::internal(format!("table `{table}` has no source"))),
        }
    }

    /// Reads a table again.
    pub(crate) fn read(
        &self,
        declared: &DeclaredTable,
        ranges: &[Range],
        history: Option<&History>,
    ) -> Result<Table> {
        let name = &declared.table.name;
        let source = self.source(name)?;
        let parts = read::ranges(source, ranges)?;
        let paths = self.planner.table_paths(name).unwrap_or_default();
        Table::new(declared, &source.source.changes(), paths, &parts, history)
    }
}

/// Who verifies leaves no trace: the offsets of a table's consumer group stay those of the job.
fn as_reader(statement: &mut Statement) {
    const KEY: &str = "properties.enable.auto.commit";
    let Statement::CreateTable(create) = statement else {
        return;
    };
    let named = |key: &str| {
        create
            .options
            .iter()
            .position(|option| option.key.node == key)
    };
    let connector = named("connector").map(|at| create.options[at].value.node.as_str());
    if !matches!(connector, Some("kafka" | "upsert-kafka")) {
        return;
    }
    let spanned = |text: &str| Spanned::new(text.to_owned(), create.name.span);
    let never = Property {
        key: spanned(KEY),
        value: spanned("false"),
    };
    match named(KEY) {
        Some(at) => create.options[at] = never,
        None => create.options.push(never),
    }
}

/// Nodes and all that they follow from.
pub(crate) fn upstream(graph: &Graph, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut found = nodes.clone();
    // Inputs come first, so one look back finds all.
    for node in graph.nodes.iter().rev() {
        if found.contains(&node.id) {
            found.extend(node.inputs.iter().map(|input| input.from));
        }
    }
    let feeds = |node: &&millstream_dataflow::graph::Node| match &node.kind {
        NodeKind::Source(source) => {
            matches!(source.on_bad, OnBad::DeadLetter(letters) if found.contains(&letters))
        }
        _ => false,
    };
    let feeding: Vec<NodeId> = graph
        .nodes
        .iter()
        .filter(feeds)
        .map(|node| node.id)
        .collect();
    found.extend(feeding);
    found
}
