//! What is declared: tables, views and materialized views, by name.

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource};
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::{Error, Result, Table};
use millstream_sql::CreateTable;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something that has a name and columns.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "always behind an Arc")]
pub enum Relation {
    /// CREATE TABLE
    Table(DeclaredTable),
    /// CREATE VIEW: its query stands wherever its name does.
    View(View),
    /// CREATE MATERIALIZED VIEW: maintained by a node of the running graph.
    Materialized(MaterializedView),
}

/// A declared table.
#[derive(Clone, Debug)]
pub struct DeclaredTable {
    /// Physical and metadata columns and the connector's options.
    pub table: Table,
    /// All columns, in the declared order; the watermark's column is marked as rowtime.
    pub schema: SchemaRef,
    /// For each column of `schema` the expression that computes it (over those that are not computed), if it is computed.
    pub computed: Vec<Option<Expr>>,
    /// The watermark's column, and its expression over `schema`.
    pub watermark: Option<(usize, Expr)>,
    /// PRIMARY KEY, by column of `schema`.
    pub primary_key: Vec<usize>,
    /// What the connector can do.
    pub capabilities: millstream_connectors::Capabilities,
    /// What happens to bad records.
    pub bad_records: BadRecords,
    /// After how long without rows a partition no longer holds the watermark back.
    pub idle_timeout_ms: Option<u64>,
    /// How far a row's time may be ahead of its record's, in milliseconds; rows beyond are bad records.
    pub drift_max_ms: Option<i64>,
    /// The statement, with what LIKE copied: for SHOW CREATE and for LIKE.
    pub create: CreateTable,
}

/// A table's policy for bad records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BadRecords {
    /// The views that depend on the table stop.
    #[default]
    Fail,
    /// They are counted and skipped.
    Skip,
    /// They are rows of this table, which any query may read and which is also written to a topic if one is named.
    DeadLetter {
        /// The table of bad records.
        table: String,
        /// The topic.
        topic: Option<String>,
    },
}

/// A view that is replaced by its query.
#[derive(Clone, Debug)]
pub struct View {
    /// The bound query.
    pub plan: LogicalPlan,
    /// What it was made of.
    pub definition: Definition,
}

/// A view that is maintained.
#[derive(Clone, Debug)]
pub struct MaterializedView {
    /// The node that holds it.
    pub node: NodeId,
    /// Its columns.
    pub schema: SchemaRef,
    /// What it holds.
    pub content: Content,
}

/// What a maintained view holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// The rows of its query.
    Query(Definition),
    /// The bad records of a table.
    BadRecords {
        /// The table's name.
        table: String,
    },
}

/// What a view was made of: enough to bind it anew when what it reads becomes another.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The statement.
    pub sql: String,
    /// The session's time zone then.
    pub time_zone: String,
    /// The relations that its query names.
    pub reads: BTreeSet<String>,
}

impl Relation {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Self::Table(table) => Arc::clone(&table.schema),
            Self::View(view) => Arc::new(view.plan.schema().as_arrow().clone()),
            Self::Materialized(view) => Arc::clone(&view.schema),
        }
    }

    /// The statement that declared it.
    pub fn sql(&self) -> String {
        match self {
            Self::Table(table) => {
                millstream_sql::Statement::CreateTable(Box::new(table.create.clone())).to_string()
            }
            Self::View(View { definition, .. })
            | Self::Materialized(MaterializedView {
                content: Content::Query(definition),
                ..
            }) => definition.sql.clone(),
            Self::Materialized(MaterializedView {
                content: Content::BadRecords { table },
                ..
            }) => format!("-- the bad records of `{table}`"),
        }
    }

    /// What a view was made of, if this is one with a query.
    pub fn definition(&self) -> Option<&Definition> {
        match self {
            Self::View(View { definition, .. })
            | Self::Materialized(MaterializedView {
                content: Content::Query(definition),
                ..
            }) => Some(definition),
            Self::Table(_)
            | Self::Materialized(MaterializedView {
                content: Content::BadRecords { .. },
                ..
            }) => None,
        }
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "table",
            Self::View(_) => "view",
            Self::Materialized(_) => "materialized view",
        }
    }
}

/// All names.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    relations: BTreeMap<String, Arc<Relation>>,
}

impl Catalog {
    /// The relation of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Relation>> {
        self.relations.get(name)
    }

    /// The relation of this name.
    ///
    /// # Errors
    /// `User`, with the nearest name.
    pub fn require(&self, name: &str) -> Result<&Arc<Relation>> {
        self.get(name).ok_or_else(|| {
            let error = Error::user(format!("there is no table or view `{name}`"));
            match millstream_dataflow::options::nearest(name, self.names()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            }
        })
    }

    /// Declares a relation.
    ///
    /// # Errors
    /// `User` when the name is taken.
    pub fn create(&mut self, name: &str, relation: Relation) -> Result<()> {
        if let Some(known) = self.relations.get(name) {
            return Err(
                Error::user(format!("there already is a {} `{name}`", known.kind()))
                    .hint("drop it first, or use CREATE ... IF NOT EXISTS"),
            );
        }
        self.relations.insert(name.to_owned(), Arc::new(relation));
        Ok(())
    }

    /// Gives a name a meaning, whatever it meant before.
    pub fn set(&mut self, name: &str, relation: Arc<Relation>) {
        self.relations.insert(name.to_owned(), relation);
    }

    /// The views whose queries name a relation.
    pub fn readers(&self, name: &str) -> Vec<&str> {
        let reads = |relation: &Relation| {
            let definition = relation.definition();
            definition.is_some_and(|definition| definition.reads.contains(name))
        };
        let readers = self.iter().filter(|(_, relation)| reads(relation));
        readers.map(|(reader, _)| reader).collect()
    }

    /// A relation and all views that read it, themselves or through others; each comes after those that it reads.
    pub fn with_readers(&self, name: &str) -> Vec<String> {
        let mut found = vec![name.to_owned()];
        let mut at = 0;
        while let Some(name) = found.get(at) {
            let readers = self.readers(name).into_iter().map(str::to_owned);
            let new: Vec<String> = readers.filter(|reader| !found.contains(reader)).collect();
            found.extend(new);
            at += 1;
        }
        let mut ordered = Vec::with_capacity(found.len());
        while !found.is_empty() {
            let free = found.iter().position(|name| {
                let definition = self.get(name).and_then(|relation| relation.definition());
                definition.is_none_or(|of| found.iter().all(|other| !of.reads.contains(other)))
            });
            ordered.push(found.remove(free.unwrap_or(0)));
        }
        ordered
    }

    /// Forgets a name.
    pub fn remove(&mut self, name: &str) -> Option<Arc<Relation>> {
        self.relations.remove(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.relations.keys().map(String::as_str)
    }

    /// All relations by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Relation>)> {
        self.relations
            .iter()
            .map(|(name, relation)| (name.as_str(), relation))
    }
}

/// A relation under its name, as the binder sees it.
#[derive(Debug)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// What it is.
    pub relation: Arc<Relation>,
}

impl TableSource for Bound {
    fn schema(&self) -> SchemaRef {
        self.relation.schema()
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        match self.relation.as_ref() {
            Relation::View(view) => Some(Cow::Borrowed(&view.plan)),
            Relation::Table(_) | Relation::Materialized(_) => None,
        }
    }
}
