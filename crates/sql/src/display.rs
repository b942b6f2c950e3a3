//! Statements as text that parses to the same statement again: what SHOW CREATE prints.

use std::fmt::{self, Display, Formatter};

use crate::name::{quoted, text_literal};
use crate::span::Spanned;
use crate::statement::{
    Alter, AlterAction, Column, ColumnKind, CreateCatalog, CreateDatabase, CreateMaterializedView,
    CreateTable, CreateView, Drop, Explain, ExplainDetail, Insert, Like, LikeFeature, LikeMerge,
    ObjectKind, Parsed, PrimaryKey, Property, Show, ShowKind, Statement, ViewColumn, Watermark,
};

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Statement::CreateTable(table) => table.fmt(f),
            Statement::CreateView(view) => view.fmt(f),
            Statement::CreateMaterializedView(view) => view.fmt(f),
            Statement::CreateCatalog(catalog) => catalog.fmt(f),
            Statement::CreateDatabase(database) => database.fmt(f),
            Statement::AlterTable(alter) => write!(f, "ALTER TABLE {alter}"),
            Statement::AlterView(alter) => write!(f, "ALTER VIEW {alter}"),
            Statement::AlterMaterializedView(alter) => write!(f, "ALTER MATERIALIZED VIEW {alter}"),
            Statement::Drop(drop) => drop.fmt(f),
            Statement::Insert(insert) => insert.fmt(f),
            Statement::StatementSet(inserts) => statement_set(f, "EXECUTE ", inserts),
            Statement::ShowSettings => f.write_str("SET"),
            Statement::Set(property) => write!(f, "SET {property}"),
            Statement::Reset(None) => f.write_str("RESET"),
            Statement::Reset(Some(key)) => write!(f, "RESET {}", text_literal(key)),
            Statement::Explain(explain) => explain.fmt(f),
            Statement::Show(show) => show.fmt(f),
            Statement::Describe { extended, name } => {
                write!(f, "DESCRIBE {}{name}", when(*extended, "EXTENDED "))
            }
            Statement::Use { catalog, name } => {
                write!(f, "USE {}{name}", when(*catalog, "CATALOG "))
            }
            Statement::Query(query) => query.fmt(f),
        }
    }
}

impl<T> Display for Parsed<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Display for Property {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {}",
            text_literal(&self.key),
            text_literal(&self.value)
        )
    }
}

/// The words and a blank, or nothing.
fn when(condition: bool, words: &'static str) -> &'static str {
    if condition { words } else { "" }
}

/// The items with a separator between them.
struct Joined<'a, T>(&'a [T], &'static str);

impl<T: Display> Display for Joined<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (idx, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", when(idx > 0, self.1))?;
        }
        Ok(())
    }
}

fn quoted_list(names: &[Spanned<String>]) -> String {
    names
        .iter()
        .map(|name| quoted(name))
        .collect::<Vec<_>>()
        .join(", ")
}

fn comment(f: &mut Formatter<'_>, comment: Option<&String>, before: &str) -> fmt::Result {
    match comment {
        Some(text) => write!(f, "{before}COMMENT {}", text_literal(text)),
        None => Ok(()),
    }
}

/// `WITH (...)`, one option to a line, as Flink prints it.
fn with(f: &mut Formatter<'_>, options: &[Property]) -> fmt::Result {
    if options.is_empty() {
        return Ok(());
    }
    write!(f, "\nWITH (\n  {}\n)", Joined(options, ",\n  "))
}

impl Display for CreateTable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (temporary, guard) = (
            when(self.temporary, "TEMPORARY "),
            when(self.if_not_exists, "IF NOT EXISTS "),
        );
        write!(f, "CREATE {temporary}TABLE {guard}{}", self.name)?;
        let mut elements: Vec<String> = self.columns.iter().map(ToString::to_string).collect();
        elements.extend(self.watermark.as_ref().map(ToString::to_string));
        elements.extend(self.primary_key.as_ref().map(ToString::to_string));
        if !elements.is_empty() {
            write!(f, " (\n  {}\n)", Joined(&elements, ",\n  "))?;
        }
        comment(f, self.comment.as_ref(), "\n")?;
        if !self.partitioned_by.is_empty() {
            write!(
                f,
                "\nPARTITIONED BY ({})",
                quoted_list(&self.partitioned_by)
            )?;
        }
        with(f, &self.options)?;
        if let Some(like) = &self.like {
            write!(f, "\n{like}")?;
        }
        match &self.query {
            Some(query) => write!(f, "\nAS {query}"),
            None => Ok(()),
        }
    }
}

impl Display for Column {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", quoted(&self.name))?;
        match &self.kind {
            ColumnKind::Physical(field_type) => write!(f, "{}", field_type.node)?,
            ColumnKind::Computed(expr) => write!(f, "AS {expr}")?,
            ColumnKind::Metadata {
                field_type,
                key,
                is_virtual,
            } => {
                write!(f, "{} METADATA", field_type.node)?;
                if let Some(key) = key {
                    write!(f, " FROM {}", text_literal(key))?;
                }
                f.write_str(when(*is_virtual, " VIRTUAL"))?;
            }
        }
        comment(f, self.comment.as_ref(), " ")
    }
}

impl Display for Watermark {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "WATERMARK FOR {} AS {}", self.column, self.expr)
    }
}

impl Display for PrimaryKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "CONSTRAINT {} ", quoted(name))?;
        }
        write!(
            f,
            "PRIMARY KEY ({}) NOT ENFORCED",
            quoted_list(&self.columns)
        )
    }
}

impl Display for Like {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "LIKE {}", self.source)?;
        if self.rules.is_empty() {
            return Ok(());
        }
        f.write_str(" (")?;
        for rule in &self.rules {
            let merge = match rule.merge {
                LikeMerge::Including => "INCLUDING",
                LikeMerge::Excluding => "EXCLUDING",
                LikeMerge::Overwriting => "OVERWRITING",
            };
            let feature = match rule.feature {
                LikeFeature::All => "ALL",
                LikeFeature::Constraints => "CONSTRAINTS",
                LikeFeature::Distribution => "DISTRIBUTION",
                LikeFeature::Generated => "GENERATED",
                LikeFeature::Metadata => "METADATA",
                LikeFeature::Options => "OPTIONS",
                LikeFeature::Partitions => "PARTITIONS",
                LikeFeature::Watermarks => "WATERMARKS",
            };
            write!(f, "\n  {merge} {feature}")?;
        }
        f.write_str("\n)")
    }
}

fn view_columns(f: &mut Formatter<'_>, columns: &[ViewColumn]) -> fmt::Result {
    if columns.is_empty() {
        return Ok(());
    }
    write!(f, " ({})", Joined(columns, ", "))
}

impl Display for ViewColumn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.name))?;
        comment(f, self.comment.as_ref(), " ")
    }
}

impl Display for CreateView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (replace, temporary) = (
            when(self.or_replace, "OR REPLACE "),
            when(self.temporary, "TEMPORARY "),
        );
        let guard = when(self.if_not_exists, "IF NOT EXISTS ");
        write!(f, "CREATE {replace}{temporary}VIEW {guard}{}", self.name)?;
        view_columns(f, &self.columns)?;
        comment(f, self.comment.as_ref(), "\n")?;
        write!(f, "\nAS {}", self.query)
    }
}

impl Display for CreateMaterializedView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let replace = when(self.or_replace, "OR REPLACE ");
        let guard = when(self.if_not_exists, "IF NOT EXISTS ");
        write!(f, "CREATE {replace}MATERIALIZED VIEW {guard}{}", self.name)?;
        view_columns(f, &self.columns)?;
        comment(f, self.comment.as_ref(), "\n")?;
        with(f, &self.options)?;
        write!(f, "\nAS {}", self.query)
    }
}

impl Display for CreateCatalog {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CREATE CATALOG {}{}",
            when(self.if_not_exists, "IF NOT EXISTS "),
            self.name
        )?;
        comment(f, self.comment.as_ref(), "\n")?;
        with(f, &self.options)
    }
}

impl Display for CreateDatabase {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CREATE DATABASE {}{}",
            when(self.if_not_exists, "IF NOT EXISTS "),
            self.name
        )?;
        comment(f, self.comment.as_ref(), "\n")?;
        with(f, &self.options)
    }
}

impl Display for Alter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} ", when(self.if_exists, "IF EXISTS "), self.name)?;
        match &self.action {
            AlterAction::Rename(name) => write!(f, "RENAME TO {name}"),
            AlterAction::RenameColumn { from, to } => {
                write!(f, "RENAME {} TO {}", quoted(from), quoted(to))
            }
            AlterAction::Set(options) => write!(f, "SET ({})", Joined(options, ", ")),
            AlterAction::Reset(keys) => {
                let keys: Vec<String> = keys.iter().map(|key| text_literal(key)).collect();
                write!(f, "RESET ({})", Joined(&keys, ", "))
            }
            AlterAction::Query(query) => write!(f, "AS {query}"),
        }
    }
}

impl Display for Drop {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ObjectKind::Table => "TABLE",
            ObjectKind::View => "VIEW",
            ObjectKind::MaterializedView => "MATERIALIZED VIEW",
            ObjectKind::Catalog => "CATALOG",
            ObjectKind::Database => "DATABASE",
            ObjectKind::Function => "FUNCTION",
        };
        let (temporary, guard) = (
            when(self.temporary, "TEMPORARY "),
            when(self.if_exists, "IF EXISTS "),
        );
        write!(
            f,
            "DROP {temporary}{kind} {guard}{}{}",
            self.name,
            when(self.cascade, " CASCADE")
        )
    }
}

impl Display for Insert {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "INSERT {} {}",
            if self.overwrite { "OVERWRITE" } else { "INTO" },
            self.table
        )?;
        if !self.options.is_empty() {
            write!(f, " /*+ OPTIONS({}) */", Joined(&self.options, ", "))?;
        }
        if !self.partition.is_empty() {
            let pair = |(column, value): &(Spanned<String>, Parsed<_>)| {
                format!("{} = {value}", quoted(column))
            };
            let pairs: Vec<String> = self.partition.iter().map(pair).collect();
            write!(f, " PARTITION ({})", Joined(&pairs, ", "))?;
        }
        if !self.columns.is_empty() {
            write!(f, " ({})", quoted_list(&self.columns))?;
        }
        write!(f, "\n{}", self.query)
    }
}

fn statement_set(f: &mut Formatter<'_>, execute: &str, inserts: &[Spanned<Insert>]) -> fmt::Result {
    writeln!(f, "{execute}STATEMENT SET BEGIN")?;
    for insert in inserts {
        writeln!(f, "{};", insert.node)?;
    }
    f.write_str("END")
}

impl Display for Explain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("EXPLAIN ")?;
        for (idx, detail) in self.details.iter().enumerate() {
            let word = match detail {
                ExplainDetail::EstimatedCost => "ESTIMATED_COST",
                ExplainDetail::ChangelogMode => "CHANGELOG_MODE",
                ExplainDetail::JsonExecutionPlan => "JSON_EXECUTION_PLAN",
                ExplainDetail::PlanAdvice => "PLAN_ADVICE",
            };
            write!(
                f,
                "{word}{}",
                if idx + 1 < self.details.len() {
                    ", "
                } else {
                    " "
                }
            )?;
        }
        match &self.statement.node {
            Statement::StatementSet(inserts) => statement_set(f, "", inserts),
            statement => statement.fmt(f),
        }
    }
}

impl Display for Show {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let listed = |f: &mut Formatter<'_>, words: &str, from: &Option<crate::Name>| match from {
            Some(name) => write!(f, "SHOW {words} FROM {name}"),
            None => write!(f, "SHOW {words}"),
        };
        match &self.kind {
            ShowKind::Tables(from) => listed(f, "TABLES", from),
            ShowKind::Views(from) => listed(f, "VIEWS", from),
            ShowKind::MaterializedViews(from) => listed(f, "MATERIALIZED VIEWS", from),
            ShowKind::CreateTable(name) => write!(f, "SHOW CREATE TABLE {name}"),
            ShowKind::CreateView(name) => write!(f, "SHOW CREATE VIEW {name}"),
            ShowKind::CreateMaterializedView(name) => {
                write!(f, "SHOW CREATE MATERIALIZED VIEW {name}")
            }
            ShowKind::Columns(name) => write!(f, "SHOW COLUMNS FROM {name}"),
            ShowKind::Functions => f.write_str("SHOW FUNCTIONS"),
            ShowKind::Catalogs => f.write_str("SHOW CATALOGS"),
            ShowKind::CurrentCatalog => f.write_str("SHOW CURRENT CATALOG"),
            ShowKind::Databases => f.write_str("SHOW DATABASES"),
            ShowKind::CurrentDatabase => f.write_str("SHOW CURRENT DATABASE"),
            ShowKind::Jobs => f.write_str("SHOW JOBS"),
        }?;
        let Some(like) = &self.like else {
            return Ok(());
        };
        let word = if like.ignore_case { "ILIKE" } else { "LIKE" };
        write!(
            f,
            " {}{word} {}",
            when(like.negated, "NOT "),
            text_literal(&like.pattern)
        )
    }
}
