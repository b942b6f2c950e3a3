//! SHOW and DESCRIBE.

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use millstream_dataflow::Result;
use millstream_planner::catalog::{DeclaredTable, Relation};
use millstream_planner::types;
use millstream_sql::{Name, ObjectKind, Show, ShowKind, ShowLike};
use std::sync::Arc;

use crate::engine::{Response, State};

/// Lines of text as rows of one column.
pub(crate) fn text(column: &str, lines: impl IntoIterator<Item = String>) -> Response {
    table(
        &[column],
        &lines
            .into_iter()
            .map(|line| vec![Some(line)])
            .collect::<Vec<_>>(),
    )
}

fn table(columns: &[&str], rows: &[Vec<Option<String>>]) -> Response {
    let schema = Arc::new(Schema::new(
        columns
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, true))
            .collect::<Vec<_>>(),
    ));
    let arrays = (0..columns.len()).map(|idx| {
        Arc::new(
            rows.iter()
                .map(|row| row[idx].as_deref())
                .collect::<StringArray>(),
        ) as ArrayRef
    });
    let batches = RecordBatch::try_new(Arc::clone(&schema), arrays.collect())
        .into_iter()
        .collect();
    Response::Rows { schema, batches }
}

/// What SHOW lists.
pub(crate) fn show(state: &State, show: &Show) -> Result<Response> {
    let named = |wanted: &[&str]| {
        let relations = state.declared.catalog.iter().filter(|(name, relation)| {
            wanted.contains(&relation.kind()) && !name.starts_with('\u{1}')
        });
        relations
            .map(|(name, _)| name.to_owned())
            .filter(|name| show.like.as_ref().is_none_or(|like| matches(like, name)))
            .collect::<Vec<_>>()
    };
    Ok(match &show.kind {
        ShowKind::Tables(_) => text("table name", named(&["table", "view", "materialized view"])),
        ShowKind::Views(_) => text("view name", named(&["view"])),
        ShowKind::MaterializedViews(_) => {
            text("materialized view name", named(&["materialized view"]))
        }
        ShowKind::CreateTable(name)
        | ShowKind::CreateView(name)
        | ShowKind::CreateMaterializedView(name) => text(
            "result",
            [state.declared.catalog.require(name.object())?.sql()],
        ),
        ShowKind::Columns(name) => columns(state, name)?,
        ShowKind::Functions => text("function name", state.declared.binder().function_names()),
        ShowKind::Catalogs | ShowKind::CurrentCatalog => {
            text("catalog name", ["default_catalog".to_owned()])
        }
        ShowKind::Databases | ShowKind::CurrentDatabase => {
            text("database name", ["default_database".to_owned()])
        }
        ShowKind::Jobs => text("job", state.job.iter().map(|_| "millstream".to_owned())),
    })
}

/// SET without arguments.
pub(crate) fn settings(state: &State) -> Result<Response> {
    let rows: Vec<_> = state
        .declared
        .settings
        .iter()
        .map(|(key, value)| vec![Some(key.to_owned()), Some(value.to_owned())])
        .collect();
    Ok(table(&["key", "value"], &rows))
}

/// DESCRIBE.
pub(crate) fn describe(state: &State, name: &Name) -> Result<Response> {
    columns(state, name)
}

fn columns(state: &State, name: &Name) -> Result<Response> {
    let relation = state.declared.catalog.require(name.object())?;
    let schema = relation.schema();
    let declared = match relation.as_ref() {
        Relation::Table(table) => Some(table),
        Relation::View(_) | Relation::Materialized(_) => None,
    };
    let rows: Vec<Vec<Option<String>>> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(idx, field)| {
            let nullable = if field.is_nullable() { "TRUE" } else { "FALSE" };
            vec![
                Some(field.name().clone()),
                Some(types::name(field)),
                Some(nullable.to_owned()),
                declared.and_then(|table| key(table, idx)),
                declared.and_then(|table| extras(table, idx)),
                declared.and_then(|table| watermark(table, idx)),
            ]
        })
        .collect();
    Ok(table(
        &["name", "type", "null", "key", "extras", "watermark"],
        &rows,
    ))
}

fn key(table: &DeclaredTable, column: usize) -> Option<String> {
    let names: Vec<&str> = table
        .primary_key
        .iter()
        .map(|idx| table.schema.field(*idx).name().as_str())
        .collect();
    table
        .primary_key
        .contains(&column)
        .then(|| format!("PRI({})", names.join(", ")))
}

fn extras(table: &DeclaredTable, column: usize) -> Option<String> {
    use millstream_sql::ColumnKind;
    match &table.create.columns.get(column)?.kind {
        ColumnKind::Physical(_) => None,
        ColumnKind::Computed(parsed) => Some(format!("AS {}", parsed.text)),
        ColumnKind::Metadata {
            key, is_virtual, ..
        } => {
            let from = key
                .as_ref()
                .map(|key| format!(" FROM '{key}'"))
                .unwrap_or_default();
            Some(format!(
                "METADATA{from}{}",
                if *is_virtual { " VIRTUAL" } else { "" }
            ))
        }
    }
}

fn watermark(table: &DeclaredTable, column: usize) -> Option<String> {
    let declared = table.create.watermark.as_ref()?;
    (table.watermark.as_ref()?.0 == column).then(|| declared.expr.text.clone())
}

/// The words of a kind of object.
pub(crate) fn kind_words(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table => "TABLE",
        ObjectKind::View => "VIEW",
        ObjectKind::MaterializedView => "MATERIALIZED VIEW",
        ObjectKind::Catalog => "CATALOG",
        ObjectKind::Database => "DATABASE",
        ObjectKind::Function => "FUNCTION",
    }
}

fn matches(like: &ShowLike, name: &str) -> bool {
    let pattern = arrow::array::StringArray::new_scalar(&like.pattern);
    let names = StringArray::from(vec![name]);
    let found = if like.ignore_case {
        arrow::compute::ilike(&names, &pattern)
    } else {
        arrow::compute::like(&names, &pattern)
    };
    found.is_ok_and(|found| found.value(0)) != like.negated
}
