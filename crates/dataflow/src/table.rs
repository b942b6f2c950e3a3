//! A declared table, as connectors and formats need to know it, and the columns that a query wants of it.

use arrow::datatypes::{DataType, Field};
use std::collections::BTreeMap;

/// Which changes a stream holds or a sink can express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Inserts only.
    AppendOnly,
    /// Upserts and deletes by these columns.
    Upsert(Vec<usize>),
    /// Inserts and retractions of whole rows.
    All,
}

/// A table as declared, without what the planner does itself (computed columns, the watermark).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Physical and metadata columns, in the order of the declaration.
    pub columns: Vec<TableColumn>,
    /// The primary key, by index in `columns`.
    pub primary_key: Vec<usize>,
    /// PARTITIONED BY, by index in `columns`.
    pub partitioned_by: Vec<usize>,
    /// The WITH clause.
    pub options: BTreeMap<String, String>,
}

/// A column of a declared table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableColumn {
    /// Name, type and nullability.
    pub field: Field,
    /// The metadata key, for a METADATA column.
    pub metadata: Option<String>,
    /// A METADATA VIRTUAL column is read and never written.
    pub is_virtual: bool,
}

/// A column that a query wants, as the source shall give it.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name and type in the source's output. Always nullable: NOT NULL is checked later.
    pub field: Field,
    /// Where it comes from.
    pub place: Place,
}

/// Where a wanted column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A column of the table, or a field inside a ROW column: `["bid", "price"]`. NULL where a parent is.
    Field(Vec<String>),
    /// A metadata key of the connector or format.
    Metadata(String),
}

impl Column {
    /// A whole column of the table.
    pub fn whole(name: &str, data_type: DataType) -> Self {
        Self {
            field: Field::new(name, data_type, true),
            place: Place::Field(vec![name.to_owned()]),
        }
    }
}
