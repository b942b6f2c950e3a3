//! The statements of the dialect as values.
//!
//! Queries and expressions stay sqlparser's AST, next to the text they were written in: the AST is what the planner binds, the text
//! is what SHOW CREATE prints (the AST holds the conventions of this crate, which are not the user's words).

use sqlparser::ast::{Expr, Query};

use crate::name::Name;
use crate::span::{Span, Spanned};
use crate::types::FieldType;

/// A parsed piece of SQL with its own words.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<T> {
    /// sqlparser's AST, after this crate's conventions (see the crate's documentation).
    pub ast: T,
    /// The text as written, without the blanks around it.
    pub text: String,
    /// Where it was written.
    pub span: Span,
}

/// A key and its value in WITH, SET and OPTIONS hints.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Key, as written.
    pub key: Spanned<String>,
    /// Value, without its quotes.
    pub value: Spanned<String>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// CREATE TABLE, with or without AS query.
    CreateTable(Box<CreateTable>),
    /// CREATE VIEW
    CreateView(CreateView),
    /// CREATE MATERIALIZED VIEW
    CreateMaterializedView(CreateMaterializedView),
    /// CREATE CATALOG name WITH (...)
    CreateCatalog(CreateCatalog),
    /// CREATE DATABASE name
    CreateDatabase(CreateDatabase),
    /// ALTER TABLE
    AlterTable(Alter),
    /// ALTER VIEW
    AlterView(Alter),
    /// ALTER MATERIALIZED VIEW
    AlterMaterializedView(Alter),
    /// DROP of anything
    Drop(Drop),
    /// INSERT
    Insert(Insert),
    /// EXECUTE STATEMENT SET BEGIN ... END, or BEGIN STATEMENT SET; ... END
    StatementSet(Vec<Spanned<Insert>>),
    /// SET without arguments: list the settings
    ShowSettings,
    /// SET key = value
    Set(Property),
    /// `RESET [key]`
    Reset(Option<Spanned<String>>),
    /// EXPLAIN
    Explain(Explain),
    /// SHOW
    Show(Show),
    /// `DESCRIBE [EXTENDED] name`
    Describe {
        /// EXTENDED was asked for.
        extended: bool,
        /// The table or view.
        name: Name,
    },
    /// `USE [CATALOG] name`
    Use {
        /// A catalog, not a database.
        catalog: bool,
        /// Its name.
        name: Name,
    },
    /// SELECT, WITH, VALUES or TABLE
    Query(Parsed<Box<Query>>),
}

/// `CREATE [TEMPORARY] TABLE`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// TEMPORARY
    pub temporary: bool,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// Name.
    pub name: Name,
    /// Columns in their order; empty in CREATE TABLE AS without a column list.
    pub columns: Vec<Column>,
    /// WATERMARK FOR
    pub watermark: Option<Watermark>,
    /// PRIMARY KEY, of the table or of its one key column.
    pub primary_key: Option<PrimaryKey>,
    /// COMMENT
    pub comment: Option<String>,
    /// PARTITIONED BY
    pub partitioned_by: Vec<Spanned<String>>,
    /// WITH
    pub options: Vec<Property>,
    /// LIKE
    pub like: Option<Like>,
    /// AS query
    pub query: Option<Parsed<Box<Query>>>,
}

/// A column of CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name, in the case it was written.
    pub name: Spanned<String>,
    /// What it holds.
    pub kind: ColumnKind,
    /// COMMENT
    pub comment: Option<String>,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// A field of the connector's rows.
    Physical(Spanned<FieldType>),
    /// `name AS expression`
    Computed(Box<Parsed<Expr>>),
    /// `name type METADATA [FROM 'key'] [VIRTUAL]`
    Metadata {
        /// Type.
        field_type: Spanned<FieldType>,
        /// FROM; the column's name where it is not given.
        key: Option<String>,
        /// Read only: left out when the table is written.
        is_virtual: bool,
    },
}

/// WATERMARK FOR column AS expression
#[derive(Debug, Clone, PartialEq)]
pub struct Watermark {
    /// The column, or the path to a field of it.
    pub column: Name,
    /// The watermark of a row.
    pub expr: Parsed<Expr>,
}

/// [CONSTRAINT name] PRIMARY KEY (columns) NOT ENFORCED
#[derive(Debug, Clone, PartialEq)]
pub struct PrimaryKey {
    /// CONSTRAINT name
    pub name: Option<String>,
    /// Columns, at least one.
    pub columns: Vec<Spanned<String>>,
    /// Where it was written.
    pub span: Span,
}

/// LIKE source (INCLUDING ...)
#[derive(Debug, Clone, PartialEq)]
pub struct Like {
    /// The table to copy from.
    pub source: Name,
    /// What to copy, in the order written.
    pub rules: Vec<LikeRule>,
}

/// One rule of LIKE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LikeRule {
    /// INCLUDING, EXCLUDING or OVERWRITING
    pub merge: LikeMerge,
    /// What it is about.
    pub feature: LikeFeature,
}

/// What LIKE does with a feature of the source table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum LikeMerge {
    Including,
    Excluding,
    Overwriting,
}

/// A feature of the source table that LIKE copies or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum LikeFeature {
    All,
    Constraints,
    Distribution,
    Generated,
    Metadata,
    Options,
    Partitions,
    Watermarks,
}

/// `CREATE [OR REPLACE] [TEMPORARY] VIEW`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// OR REPLACE
    pub or_replace: bool,
    /// TEMPORARY
    pub temporary: bool,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// Name.
    pub name: Name,
    /// Column names; empty: the query's.
    pub columns: Vec<ViewColumn>,
    /// COMMENT
    pub comment: Option<String>,
    /// AS
    pub query: Parsed<Box<Query>>,
}

/// A column of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewColumn {
    /// Name.
    pub name: Spanned<String>,
    /// COMMENT
    pub comment: Option<String>,
}

/// CREATE [OR REPLACE] MATERIALIZED VIEW
#[derive(Debug, Clone, PartialEq)]
pub struct CreateMaterializedView {
    /// OR REPLACE
    pub or_replace: bool,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// Name.
    pub name: Name,
    /// Column names; empty: the query's.
    pub columns: Vec<ViewColumn>,
    /// COMMENT
    pub comment: Option<String>,
    /// WITH
    pub options: Vec<Property>,
    /// AS
    pub query: Parsed<Box<Query>>,
}

/// CREATE CATALOG
#[derive(Debug, Clone, PartialEq)]
pub struct CreateCatalog {
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// Name.
    pub name: Name,
    /// COMMENT
    pub comment: Option<String>,
    /// WITH
    pub options: Vec<Property>,
}

/// CREATE DATABASE
#[derive(Debug, Clone, PartialEq)]
pub struct CreateDatabase {
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// Name.
    pub name: Name,
    /// COMMENT
    pub comment: Option<String>,
    /// WITH
    pub options: Vec<Property>,
}

/// ALTER TABLE, ALTER VIEW and ALTER MATERIALIZED VIEW
#[derive(Debug, Clone, PartialEq)]
pub struct Alter {
    /// IF EXISTS
    pub if_exists: bool,
    /// What to alter.
    pub name: Name,
    /// How.
    pub action: AlterAction,
}

/// What ALTER does.
#[derive(Debug, Clone, PartialEq)]
pub enum AlterAction {
    /// RENAME TO name
    Rename(Name),
    /// RENAME from TO to
    RenameColumn {
        /// The column's present name.
        from: Spanned<String>,
        /// Its new name.
        to: Spanned<String>,
    },
    /// SET (options)
    Set(Vec<Property>),
    /// RESET (keys)
    Reset(Vec<Spanned<String>>),
    /// AS query (views)
    Query(Parsed<Box<Query>>),
}

/// What a DROP drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum ObjectKind {
    Table,
    View,
    MaterializedView,
    Catalog,
    Database,
    Function,
}

/// DROP
#[derive(Debug, Clone, PartialEq)]
pub struct Drop {
    /// What kind of object.
    pub kind: ObjectKind,
    /// TEMPORARY
    pub temporary: bool,
    /// IF EXISTS
    pub if_exists: bool,
    /// Name.
    pub name: Name,
    /// CASCADE
    pub cascade: bool,
}

/// INSERT INTO or INSERT OVERWRITE
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// OVERWRITE
    pub overwrite: bool,
    /// The table written to.
    pub table: Name,
    /// OPTIONS hint of the table.
    pub options: Vec<Property>,
    /// PARTITION (column = value)
    pub partition: Vec<(Spanned<String>, Parsed<Expr>)>,
    /// Columns in the order of the query's; empty: the table's.
    pub columns: Vec<Spanned<String>>,
    /// The rows.
    pub query: Parsed<Box<Query>>,
}

/// EXPLAIN
#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    /// What to print besides the plan.
    pub details: Vec<ExplainDetail>,
    /// A query, an INSERT, a statement set or a CREATE MATERIALIZED VIEW.
    pub statement: Box<Spanned<Statement>>,
}

/// A detail of EXPLAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum ExplainDetail {
    EstimatedCost,
    ChangelogMode,
    JsonExecutionPlan,
    PlanAdvice,
}

/// SHOW
#[derive(Debug, Clone, PartialEq)]
pub struct Show {
    /// What to list.
    pub kind: ShowKind,
    /// `[NOT] LIKE 'pattern'`
    pub like: Option<ShowLike>,
}

/// The pattern of SHOW ... LIKE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShowLike {
    /// NOT
    pub negated: bool,
    /// ILIKE
    pub ignore_case: bool,
    /// A LIKE pattern.
    pub pattern: String,
}

/// What SHOW lists.
#[derive(Debug, Clone, PartialEq)]
pub enum ShowKind {
    /// TABLES [FROM database]
    Tables(Option<Name>),
    /// VIEWS [FROM database]
    Views(Option<Name>),
    /// MATERIALIZED VIEWS [FROM database]
    MaterializedViews(Option<Name>),
    /// CREATE TABLE name
    CreateTable(Name),
    /// CREATE VIEW name
    CreateView(Name),
    /// CREATE MATERIALIZED VIEW name
    CreateMaterializedView(Name),
    /// COLUMNS FROM name
    Columns(Name),
    /// `[USER] FUNCTIONS`
    Functions,
    /// CATALOGS
    Catalogs,
    /// CURRENT CATALOG
    CurrentCatalog,
    /// DATABASES
    Databases,
    /// CURRENT DATABASE
    CurrentDatabase,
    /// JOBS
    Jobs,
}
