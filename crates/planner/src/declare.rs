//! CREATE TABLE: from the statement to a declared table, everything checked.

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::Expr;
use millstream_dataflow::{Error, Options, Result, Table, TableColumn};
use millstream_sql::{Column, ColumnKind, CreateTable, LikeFeature, LikeMerge, LikeRule};
use std::sync::Arc;

use crate::bind::Binder;
use crate::catalog::{BadRecords, Catalog, DeclaredTable, Relation};
use crate::time::{self, Role};
use crate::types;

/// Declares the table of a CREATE TABLE statement.
///
/// # Errors
/// `User` for everything that the statement gets wrong: types, names, options, keys.
pub fn declare(catalog: &Catalog, create: &CreateTable, time_zone: &str) -> Result<DeclaredTable> {
    let create = with_like(catalog, create)?;
    let binder = Binder::new(catalog, time_zone);
    let name = create.name.object().to_owned();
    let (schema, computed) = columns(&binder, &name, &create.columns)?;
    let (schema, watermark) = watermark(&binder, &create, &schema)?;
    let primary_key = create
        .primary_key
        .iter()
        .flat_map(|key| &key.columns)
        .map(|column| index(&name, &schema, &column.node))
        .collect::<Result<Vec<_>>>()?;
    let mut options = Options::new(
        &name,
        create
            .options
            .iter()
            .map(|option| (option.key.node.clone(), option.value.node.clone())),
    );
    let bad_records = bad_records(&name, &mut options)?;
    let idle_timeout_ms = options
        .duration("scan.watermark.idle-timeout")?
        .map(|timeout| timeout.as_millis() as u64);
    let drift_max_ms = options
        .duration("scan.watermark.drift-max")?
        .map(|drift| drift.as_millis() as i64);
    for accepted in [
        "scan.watermark.emit.strategy",
        "scan.watermark.emit.on-event.gap",
    ] {
        options.text(accepted);
    }
    let table = Table {
        name: name.clone(),
        columns: table_columns(&create.columns, &schema),
        primary_key: physical(
            &create,
            create
                .primary_key
                .iter()
                .flat_map(|key| key.columns.iter().map(|column| column.node.as_str())),
        ),
        partitioned_by: physical(
            &create,
            create
                .partitioned_by
                .iter()
                .map(|column| column.node.as_str()),
        ),
        options: options.prefixed(""),
    };
    let capabilities = millstream_connectors::check(&table)?;
    Ok(DeclaredTable {
        table,
        schema,
        computed,
        watermark,
        primary_key,
        capabilities,
        bad_records,
        idle_timeout_ms,
        drift_max_ms,
        create,
    })
}

fn columns(
    binder: &Binder<'_>,
    table: &str,
    columns: &[Column],
) -> Result<(SchemaRef, Vec<Option<Expr>>)> {
    let zone = binder.time_zone();
    let read: Vec<Field> = columns
        .iter()
        .filter_map(|column| match &column.kind {
            ColumnKind::Physical(kind)
            | ColumnKind::Metadata {
                field_type: kind, ..
            } => Some(types::field(&column.name.node, &kind.node, zone)),
            ColumnKind::Computed(_) => None,
        })
        .collect();
    let read = Arc::new(Schema::new(read));
    let (mut fields, mut computed): (Vec<Field>, Vec<Option<Expr>>) = (Vec::new(), Vec::new());
    for column in columns {
        let name = &column.name.node;
        if fields.iter().any(|field| field.name() == name) {
            return Err(Error::user(format!(
                "table `{table}` has two columns `{name}`"
            )));
        }
        match &column.kind {
            ColumnKind::Computed(parsed) => {
                let expr = binder
                    .expression(&parsed.ast, &read)
                    .map_err(|error| error.context(format!("column `{name}`")))?;
                fields.push(expression_field(name, &expr, &read)?);
                computed.push(Some(expr));
            }
            ColumnKind::Physical(kind)
            | ColumnKind::Metadata {
                field_type: kind, ..
            } => {
                fields.push(types::field(name, &kind.node, zone));
                computed.push(None);
            }
        }
    }
    if fields.is_empty() {
        return Err(Error::user(format!("table `{table}` has no columns")));
    }
    Ok((Arc::new(Schema::new(fields)), computed))
}

fn expression_field(name: &str, expr: &Expr, schema: &SchemaRef) -> Result<Field> {
    use datafusion::common::ToDFSchema;
    use datafusion::logical_expr::ExprSchemable;
    let schema = Arc::clone(schema)
        .to_dfschema()
        .map_err(crate::error::from_datafusion)?;
    let kind = expr
        .get_type(&schema)
        .map_err(crate::error::from_datafusion)?;
    let field = Field::new(name, kind, true);
    Ok(match crate::now::is_proctime(expr) {
        true => time::with_role(field, Role::Proctime),
        false => field,
    })
}

type Watermark = Option<(usize, Expr)>;

fn watermark(
    binder: &Binder<'_>,
    create: &CreateTable,
    schema: &SchemaRef,
) -> Result<(SchemaRef, Watermark)> {
    let Some(watermark) = &create.watermark else {
        return Ok((Arc::clone(schema), None));
    };
    let table = create.name.object();
    let column = match watermark.column.parts.as_slice() {
        [one] => index(table, schema, one)?,
        _ => {
            return Err(Error::user(format!(
                "table `{table}`: the watermark is on `{}`, a field inside a ROW",
                watermark.column
            ))
            .hint("declare a computed column for the field, and the watermark on that"));
        }
    };
    let field = schema.field(column);
    if !matches!(
        field.data_type(),
        arrow::datatypes::DataType::Timestamp(_, _)
    ) {
        return Err(Error::user(format!("table `{table}`: the watermark's column `{}` is {}", field.name(), types::name(field)))
            .hint("it must be TIMESTAMP(3) or TIMESTAMP_LTZ(3); for texts and numbers declare a computed column with TO_TIMESTAMP or TO_TIMESTAMP_LTZ"));
    }
    let expr = binder
        .expression(&watermark.expr.ast, schema)
        .map_err(|error| error.context("WATERMARK"))?;
    let mut fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    fields[column] = time::with_role(fields[column].clone(), Role::Rowtime);
    Ok((Arc::new(Schema::new(fields)), Some((column, expr))))
}

fn index(table: &str, schema: &SchemaRef, column: &str) -> Result<usize> {
    schema.index_of(column).map_err(|_| {
        let error = Error::user(format!("table `{table}` has no column `{column}`"));
        match millstream_dataflow::options::nearest(
            column,
            schema.fields().iter().map(|field| field.name().as_str()),
        ) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        }
    })
}

fn bad_records(name: &str, options: &mut Options) -> Result<BadRecords> {
    let table = options.text("dead-letter.table");
    let topic = options.text("dead-letter.topic");
    Ok(
        match options
            .word("bad-records", &["fail", "skip", "dead-letter"])?
            .as_str()
        {
            "dead-letter" => BadRecords::DeadLetter {
                table: table.unwrap_or_else(|| format!("{name}_dead_letters")),
                topic,
            },
            other => {
                if table.is_some() || topic.is_some() {
                    return Err(Error::user(format!("table `{name}` names a place for dead letters, but its bad records do not go there"))
                    .hint("set 'bad-records' = 'dead-letter'"));
                }
                if other == "skip" {
                    BadRecords::Skip
                } else {
                    BadRecords::Fail
                }
            }
        },
    )
}

fn table_columns(columns: &[Column], schema: &SchemaRef) -> Vec<TableColumn> {
    let made = columns
        .iter()
        .zip(schema.fields())
        .filter_map(|(column, field)| {
            let (metadata, is_virtual) = match &column.kind {
                ColumnKind::Computed(_) => return None,
                ColumnKind::Physical(_) => (None, false),
                ColumnKind::Metadata {
                    key, is_virtual, ..
                } => (
                    Some(key.clone().unwrap_or_else(|| column.name.node.clone())),
                    *is_virtual,
                ),
            };
            Some(TableColumn {
                field: field.as_ref().clone(),
                metadata,
                is_virtual,
            })
        });
    made.collect()
}

/// The indexes of some columns among those that are not computed.
fn physical<'a>(create: &CreateTable, names: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let read: Vec<&str> = create
        .columns
        .iter()
        .filter(|column| !matches!(column.kind, ColumnKind::Computed(_)))
        .map(|column| column.name.node.as_str())
        .collect();
    names
        .filter_map(|name| read.iter().position(|known| *known == name))
        .collect()
}

/// The statement with what LIKE copies written out.
fn with_like(catalog: &Catalog, create: &CreateTable) -> Result<CreateTable> {
    let Some(like) = &create.like else {
        return Ok(create.clone());
    };
    let source = catalog.require(like.source.object())?;
    let Relation::Table(source) = source.as_ref() else {
        return Err(Error::user(format!(
            "LIKE `{}` names a {}",
            like.source.object(),
            source.kind()
        ))
        .hint("LIKE copies from a table"));
    };
    let source = &source.create;
    let includes = |feature| copies(&like.rules, feature);
    let mut whole = create.clone();
    whole.like = None;
    let copied = source.columns.iter().filter(|column| match column.kind {
        ColumnKind::Physical(_) => true,
        ColumnKind::Computed(_) => includes(LikeFeature::Generated).0,
        ColumnKind::Metadata { .. } => includes(LikeFeature::Metadata).0,
    });
    let own: Vec<Column> = whole.columns.clone();
    whole.columns = copied
        .filter(|column| !own.iter().any(|mine| mine.name.node == column.name.node))
        .cloned()
        .chain(own.iter().cloned())
        .collect();
    if whole.watermark.is_none() && includes(LikeFeature::Watermarks).0 {
        whole.watermark.clone_from(&source.watermark);
    }
    if whole.primary_key.is_none() && includes(LikeFeature::Constraints).0 {
        whole.primary_key.clone_from(&source.primary_key);
    }
    if whole.partitioned_by.is_empty() && includes(LikeFeature::Partitions).0 {
        whole.partitioned_by.clone_from(&source.partitioned_by);
    }
    let (options, overwrites) = includes(LikeFeature::Options);
    if options {
        for option in &source.options {
            match whole
                .options
                .iter()
                .find(|mine| mine.key.node == option.key.node)
            {
                None => whole.options.push(option.clone()),
                Some(_) if overwrites => {}
                Some(mine) => {
                    return Err(Error::user(format!(
                        "option '{}' is in both tables",
                        mine.key.node
                    ))
                    .hint("write OVERWRITING OPTIONS behind LIKE"));
                }
            }
        }
    }
    Ok(whole)
}

/// Whether a feature is copied, and whether what is there already wins. As in Flink the default is INCLUDING ALL
/// OVERWRITING OPTIONS.
fn copies(rules: &[LikeRule], feature: LikeFeature) -> (bool, bool) {
    let rule = |feature| {
        rules
            .iter()
            .rev()
            .find(|rule| rule.feature == feature)
            .map(|rule| rule.merge)
    };
    match rule(feature).or_else(|| rule(LikeFeature::All)) {
        None => (true, true),
        Some(LikeMerge::Including) => (true, false),
        Some(LikeMerge::Overwriting) => (true, true),
        Some(LikeMerge::Excluding) => (false, false),
    }
}
