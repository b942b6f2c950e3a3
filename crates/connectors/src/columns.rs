//! The columns of a table as connectors need them: the physical ones, those a sink takes, those that a query wants.

use crate::{Capabilities, Metadata};
use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use millstream_dataflow::options::nearest;
use millstream_dataflow::{Column, Error, Place, Result, Table, TableColumn};
use std::sync::Arc;

/// The schema of a source that gives the wanted columns.
pub(crate) fn schema(wanted: &[Column]) -> SchemaRef {
    let fields = wanted.iter().map(|column| column.field.clone());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns that a table's sink takes: those that are not virtual, in their order.
pub(crate) fn written(table: &Table) -> impl Iterator<Item = &TableColumn> {
    table.columns.iter().filter(|column| !column.is_virtual)
}

/// The columns that a query may want of a format: the physical ones, and the metadata that it offers under a prefix.
pub(crate) fn of_format(table: &Table, format: &str, prefix: &str) -> Vec<Metadata> {
    let declared = |key: &str| {
        let column = table
            .columns
            .iter()
            .find(|c| c.metadata.as_deref() == Some(key));
        column.map_or(DataType::Utf8View, |c| c.field.data_type().clone())
    };
    let offer = |key: &str| {
        let key = format!("{prefix}{key}");
        Metadata {
            data_type: declared(&key),
            key,
            writable: false,
        }
    };
    let keys = millstream_formats::metadata_keys(format);
    keys.into_iter().map(offer).collect()
}

/// All columns of a table as a query that wants them, of the metadata only what is offered.
pub(crate) fn all(table: &Table, offered: &[Metadata]) -> Vec<Column> {
    let column = |column: &TableColumn| {
        let place = match &column.metadata {
            None => Place::Field(vec![column.field.name().clone()]),
            Some(key) if offered.iter().any(|offer| offer.key == *key) => {
                Place::Metadata(key.clone())
            }
            Some(_) => return None,
        };
        let field = column.field.clone().with_nullable(true);
        Some(Column { field, place })
    };
    table.columns.iter().filter_map(column).collect()
}

/// Refuses METADATA columns that the connector does not offer.
pub(crate) fn check_metadata(table: &Table, capabilities: &Capabilities) -> Result<()> {
    let offered = || capabilities.metadata.iter().map(|offer| offer.key.as_str());
    for column in &table.columns {
        let Some(key) = &column.metadata else {
            continue;
        };
        if offered().any(|offer| offer == key) {
            continue;
        }
        let error = Error::user(format!(
            "table `{}`: column `{}` wants the metadata key '{key}', which the table does not offer",
            table.name,
            column.field.name()
        ));
        return Err(match nearest(key, offered()) {
            Some(near) => error.hint(format!("did you mean METADATA FROM '{near}'?")),
            None if capabilities.metadata.is_empty() => error.hint("it offers no metadata"),
            None => error.hint(format!(
                "it offers: {}",
                offered().collect::<Vec<_>>().join(", ")
            )),
        });
    }
    Ok(())
}

/// Refuses columns that are METADATA, for connectors that have none.
pub(crate) fn field_path(column: &Column) -> Result<&[String]> {
    match &column.place {
        Place::Field(path) => Ok(path),
        Place::Metadata(key) => Err(Error::user(format!(
            "the connector offers no metadata '{key}'"
        ))),
    }
}

/// The array as a column of the wanted type: itself, or a cast that fails on values that do not fit.
pub(crate) fn to_type(array: ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if array.data_type() == wanted {
        return Ok(array);
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    Ok(cast_with_options(&array, wanted, &strict)?)
}

/// A batch of `rows` rows from columns; also of no columns.
pub(crate) fn batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// `rows` times the same value: the only one of an array.
pub(crate) fn repeat(value: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    if value.is_null(0) {
        return Ok(new_null_array(value.data_type(), rows));
    }
    let zeros = arrow::array::UInt32Array::from_value(0, rows);
    Ok(arrow::compute::take(value, &zeros, None)?)
}
