//! A whole pipeline file: its statements in order, then everything that computes as one job.

use datafusion::logical_expr::LogicalPlan;
use millstream_dataflow::graph::{Node, NodeId, NodeKind};
use millstream_dataflow::{Error, Location, Result};
use millstream_planner::catalog::{
    BadRecords, Content, Definition, MaterializedView, Relation, View,
};
use millstream_planner::{Binder, Catalog, Planner, Target};
use millstream_sql::{
    CreateMaterializedView, CreateView, Diagnostic, Insert, Name, ObjectKind, Parsed, Span,
    Spanned, Statement, ViewColumn,
};

use crate::settings::Settings;

/// What statements have declared, and what they want computed.
#[derive(Debug)]
pub(crate) struct Declarations {
    pub catalog: Catalog,
    pub planner: Planner,
    pub settings: Settings,
    /// What is to be computed from here on.
    pub queries: Vec<(Target, LogicalPlan)>,
    /// All INSERTs, those that are to run among them.
    pub inserts: Vec<Inserted>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// What was declared at some time.
pub(crate) struct Known {
    catalog: Catalog,
    inserts: Vec<Inserted>,
}

/// An INSERT.
#[derive(Clone, Debug)]
pub(crate) struct Inserted {
    /// The table that it writes.
    pub table: String,
    /// Its query, and what that reads.
    pub definition: Definition,
    /// The node that writes, once it is planned.
    pub sink: Option<NodeId>,
}

impl Declarations {
    pub(crate) fn new() -> Self {
        Self {
            catalog: Catalog::default(),
            planner: Planner::default(),
            settings: Settings::default(),
            queries: Vec::new(),
            inserts: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// What is declared, to go back to.
    pub(crate) fn known(&self) -> Known {
        Known {
            catalog: self.catalog.clone(),
            inserts: self.inserts.clone(),
        }
    }

    /// Forgets what a statement has declared that failed.
    pub(crate) fn go_back(&mut self, known: &Known) {
        self.catalog = known.catalog.clone();
        self.inserts.clone_from(&known.inserts);
        self.queries.clear();
    }

    /// A binder over what is declared.
    pub(crate) fn binder(&self) -> Binder<'_> {
        Binder::new(&self.catalog, self.settings.time_zone())
    }

    /// Takes a statement that declares or computes. Gives its command tag.
    ///
    /// # Errors
    /// `User`; then nothing has changed.
    pub(crate) fn declare(
        &mut self,
        statement: &Spanned<Statement>,
        text: &str,
    ) -> Result<&'static str> {
        match &statement.node {
            Statement::CreateTable(create) => self.create_table(create).map(|()| "CREATE TABLE"),
            Statement::CreateView(_) | Statement::CreateMaterializedView(_)
                if self.replaces(&statement.node).is_some() =>
            {
                self.replace_pending(statement, text)
            }
            Statement::CreateView(create) => self
                .create_view(create, words(statement, text))
                .map(|()| "CREATE VIEW"),
            Statement::CreateMaterializedView(create) => self
                .create_materialized_view(create, words(statement, text))
                .map(|()| "CREATE MATERIALIZED VIEW"),
            Statement::Insert(insert) => self.insert(insert).map(|()| "INSERT"),
            Statement::StatementSet(inserts) => {
                inserts
                    .iter()
                    .try_for_each(|insert| self.insert(&insert.node))?;
                Ok("EXECUTE STATEMENT SET")
            }
            Statement::Set(property) => {
                let note = self
                    .settings
                    .set(&property.key.node, &property.value.node)?;
                self.notes.extend(note);
                Ok("SET")
            }
            Statement::Reset(key) => {
                self.settings
                    .reset(key.as_ref().map(|key| key.node.as_str()));
                Ok("RESET")
            }
            Statement::Use { name, .. } => match name.object() {
                "default_catalog" | "default_database" | "default" => Ok("USE"),
                other => Err(
                    Error::user(format!("there is no catalog or database `{other}`"))
                        .hint("there is one: default_catalog.default_database"),
                ),
            },
            Statement::CreateCatalog(_) | Statement::CreateDatabase(_) => Err(Error::user(
                "there is one catalog and one database: default_catalog.default_database",
            )
            .hint("leave the statement out")),
            Statement::AlterTable(alter) => self.alter(ObjectKind::Table, alter),
            Statement::AlterView(alter) => self.alter(ObjectKind::View, alter),
            Statement::AlterMaterializedView(alter) => {
                self.alter(ObjectKind::MaterializedView, alter)
            }
            Statement::Query(_) => Err(Error::user("a query alone computes nothing that stays")
                .hint("write CREATE MATERIALIZED VIEW name AS ..., or INSERT INTO a table")),
            Statement::Drop(_)
            | Statement::ShowSettings
            | Statement::Explain(_)
            | Statement::Show(_)
            | Statement::Describe { .. } => {
                Err(Error::internal("a statement that declares nothing"))
            }
        }
    }

    pub(crate) fn is_there(&self, name: &Name) -> bool {
        self.catalog.get(name.object()).is_some()
    }

    fn create_view(&mut self, create: &CreateView, sql: String) -> Result<()> {
        if create.if_not_exists && self.is_there(&create.name) {
            return Ok(());
        }
        let (plan, definition) = self.bind(&create.query, &create.columns, sql)?;
        self.catalog.create(
            create.name.object(),
            Relation::View(View { plan, definition }),
        )
    }

    fn create_materialized_view(
        &mut self,
        create: &CreateMaterializedView,
        sql: String,
    ) -> Result<()> {
        if create.if_not_exists && self.is_there(&create.name) {
            return Ok(());
        }
        let name = create.name.object();
        if let Some(option) = create.options.first() {
            let option = &option.key.node;
            let message = format!("materialized view `{name}` has the unknown option '{option}'");
            return Err(Error::user(message));
        }
        let (plan, definition) = self.bind(&create.query, &create.columns, sql)?;
        self.materialize(name, plan, definition).map(drop)
    }

    fn create_table(&mut self, create: &millstream_sql::CreateTable) -> Result<()> {
        if create.if_not_exists && self.is_there(&create.name) {
            return Ok(());
        }
        let mut create = create.clone();
        let query = create.query.take();
        self.add_brokers(&mut create);
        let mut table =
            millstream_planner::declare(&self.catalog, &create, self.settings.time_zone())?;
        if table.idle_timeout_ms.is_none() {
            let timeout = self.settings.idle_timeout();
            table.idle_timeout_ms = timeout.map(|timeout| timeout.as_millis() as u64);
        }
        let name = create.name.object().to_owned();
        let letters = match &table.bad_records {
            BadRecords::DeadLetter { table, .. } => Some(table.clone()),
            BadRecords::Fail | BadRecords::Skip => None,
        };
        self.catalog.create(&name, Relation::Table(table))?;
        if let Some(letters) = letters {
            let node = self.planner.reserve_dead_letters(&name);
            let relation = Relation::Materialized(MaterializedView {
                node,
                schema: millstream_dataflow::source::dead_letter_schema(),
                content: Content::BadRecords {
                    table: name.clone(),
                },
            });
            self.catalog
                .create(&letters, relation)
                .inspect_err(|_| drop(self.catalog.remove(&name)))?;
        }
        if let Some(query) = query {
            let (plan, definition) = self.bind(&query, &[], query.ast.to_string())?;
            self.add_insert(&name, plan, definition);
        }
        Ok(())
    }

    /// A kafka table without brokers takes those of the setting.
    fn add_brokers(&self, create: &mut millstream_sql::CreateTable) {
        const KEY: &str = "properties.bootstrap.servers";
        let option = |key: &str| create.options.iter().find(|option| option.key.node == key);
        let is_kafka = option("connector")
            .is_some_and(|option| matches!(option.value.node.as_str(), "kafka" | "upsert-kafka"));
        if let (true, None, Some(servers)) =
            (is_kafka, option(KEY), self.settings.bootstrap_servers())
        {
            let spanned = |text: &str| Spanned::new(text.to_owned(), create.name.span);
            let option = millstream_sql::Property {
                key: spanned(KEY),
                value: spanned(servers),
            };
            create.options.push(option);
        }
    }

    pub(crate) fn materialize(
        &mut self,
        name: &str,
        plan: LogicalPlan,
        definition: Definition,
    ) -> Result<NodeId> {
        let node = self.planner.reserve();
        let view = MaterializedView {
            node,
            schema: millstream_planner::engine_schema(plan.schema()),
            content: Content::Query(definition),
        };
        self.catalog.create(name, Relation::Materialized(view))?;
        self.queries.push((
            Target::View {
                name: name.to_owned(),
                node,
            },
            plan,
        ));
        Ok(node)
    }

    /// Binds a view's query. `sql`: the view's statement.
    pub(crate) fn bind(
        &self,
        query: &Parsed<Box<sqlparser::ast::Query>>,
        columns: &[ViewColumn],
        sql: String,
    ) -> Result<(LogicalPlan, Definition)> {
        let binder = self.binder();
        let plan = binder.query(&query.ast)?;
        let definition = Definition {
            sql,
            time_zone: binder.time_zone().to_owned(),
            reads: binder.reads(),
        };
        if columns.is_empty() {
            return Ok((plan, definition));
        }
        let names: Vec<&str> = columns
            .iter()
            .map(|column| column.name.node.as_str())
            .collect();
        Ok((millstream_planner::rename(plan, &names)?, definition))
    }

    fn insert(&mut self, insert: &Insert) -> Result<()> {
        let table = insert.table.object();
        if insert.overwrite || !insert.partition.is_empty() || !insert.options.is_empty() {
            return Err(Error::user(format!("INSERT INTO `{table}`: OVERWRITE, PARTITION and OPTIONS are not supported"))
                .hint("write INSERT INTO with the partition columns in the query, and options in CREATE TABLE"));
        }
        let columns: Vec<&str> = insert
            .columns
            .iter()
            .map(|column| column.node.as_str())
            .collect();
        let sql = format!("({}) {}", columns.join(", "), insert.query.ast);
        let (plan, definition) = self.bind(&insert.query, &[], sql)?;
        let plan = if columns.is_empty() {
            plan
        } else {
            millstream_planner::arrange(plan, &columns, self.catalog.require(table)?, table)?
        };
        self.add_insert(table, plan, definition);
        Ok(())
    }

    fn add_insert(&mut self, table: &str, plan: LogicalPlan, definition: Definition) {
        let table = table.to_owned();
        self.inserts.push(Inserted {
            table: table.clone(),
            definition,
            sink: None,
        });
        self.queries.push((Target::Insert { table }, plan));
    }

    /// The INSERTs that were planned are written by these nodes, table by table in their order; others are given up.
    pub(crate) fn place_inserts(&mut self, planned: &[Node]) {
        let mut taken: Vec<NodeId> = Vec::new();
        for insert in self
            .inserts
            .iter_mut()
            .filter(|insert| insert.sink.is_none())
        {
            let writes = |node: &&Node| match &node.kind {
                NodeKind::Sink(sink) => sink.table == insert.table && !taken.contains(&node.id),
                NodeKind::Source(_)
                | NodeKind::Operator(_)
                | NodeKind::View(_)
                | NodeKind::DeadLetters(_) => false,
            };
            insert.sink = planned.iter().find(writes).map(|node| node.id);
            taken.extend(insert.sink);
        }
        self.inserts.retain(|insert| insert.sink.is_some());
    }
}

/// The words of a statement in its text.
pub(crate) fn words(statement: &Spanned<Statement>, text: &str) -> String {
    text.get(statement.span.range())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// An error of a statement with its place: its own, or where the first name that it mentions stands, or the statement's head.
pub(crate) fn located(error: Error, statement: Span, text: &str) -> Error {
    if error.at.is_some() {
        return error;
    }
    let body = text.get(statement.range()).unwrap_or_default();
    let mentioned = error
        .message
        .split('`')
        .nth(1)
        .filter(|name| !name.is_empty());
    let found = mentioned.and_then(|name| body.find(name).map(|at| (at, name.len())));
    let (offset, length) = found.unwrap_or_else(|| (0, body.find('\n').unwrap_or(body.len())));
    let from = statement.range().start + offset;
    let (line, column) = position(text, from);
    let (end_line, end_column) = position(text, from + length);
    error.at(Location {
        line,
        column,
        end_line,
        end_column,
    })
}

fn position(text: &str, offset: usize) -> (u64, u64) {
    let before = &text[..offset.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() as u64 + 1;
    (line, before[line_start..].chars().count() as u64 + 1)
}

/// An error as people read it: with its line underlined, if it has a place in the text.
pub fn render(error: &Error, text: &str, file: &str) -> String {
    let Some(at) = error.at else {
        return error.to_string();
    };
    let offset = |line: u64, column: u64| {
        let start: usize = text
            .split_inclusive('\n')
            .take(line.saturating_sub(1) as usize)
            .map(str::len)
            .sum();
        let rest = text.get(start..).unwrap_or_default();
        start
            + rest
                .char_indices()
                .nth(column.saturating_sub(1) as usize)
                .map_or(rest.len(), |(idx, _)| idx)
    };
    let place = |line: u64, column: u64| millstream_sql::Position {
        offset: offset(line, column),
        line: line as usize,
        column: column as usize,
    };
    let span = Span {
        start: place(at.line, at.column),
        end: place(at.end_line, at.end_column),
    };
    let message = match &error.detail {
        Some(detail) => format!("{} ({detail})", error.message),
        None => error.message.clone(),
    };
    Diagnostic {
        message,
        span,
        hint: error.hint.clone(),
    }
    .render(text, file)
}

/// The values of a column as CAST to STRING writes them.
pub fn text_of(
    column: &arrow::array::ArrayRef,
) -> std::result::Result<arrow::array::ArrayRef, arrow::error::ArrowError> {
    millstream_planner::to_text(column)
}
