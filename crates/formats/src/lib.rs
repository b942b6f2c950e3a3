//! Formats: how records become rows and rows become records. A format knows bytes and columns, and nothing of files,
//! topics or SQL.
//!
//! | format | reads | writes | changes |
//! |---|---|---|---|
//! | `json` | yes | yes | inserts |
//! | `csv` | yes | yes | inserts |
//! | `raw` | yes | yes | inserts |
//! | `debezium-json` | yes | yes | inserts and retractions |
//! | `canal-json` | yes | yes | inserts and retractions |
//! | `maxwell-json` | yes | yes | inserts and retractions |
//! | `ogg-json` | yes | yes | inserts and retractions |
//!
//! A [`DecodingFormat`] is made once, when a table is planned; it checks the options and prints in EXPLAIN. Each reader
//! then opens a decoder of its own.

mod bits;
mod csv;
mod framing;
mod json;
mod lane;
#[cfg(test)]
mod testing;
mod text;
mod time;
mod utf8;
mod value;
mod views;

pub use framing::{Framing, Input};

use arrow::datatypes::SchemaRef;
use millstream_dataflow::format::Decoder;
use millstream_dataflow::{Changes, Column, Error, Options, Place, Result, Table};
use std::fmt::{Debug, Display};
use std::sync::Arc;

/// A source's format with its options, settled. Printed by EXPLAIN.
pub trait DecodingFormat: Debug + Display + Send + Sync {
    /// The columns that its decoders give.
    fn schema(&self) -> SchemaRef;

    /// Which changes its records hold: `AppendOnly` or `All`.
    fn changes(&self) -> Changes;

    /// How records stand in a file.
    fn framing(&self) -> Framing;

    /// Whether the options ask to skip bad records (`ignore-parse-errors`). They are reported all the same, so that
    /// they can be counted.
    fn skips_bad(&self) -> bool;

    /// A decoder for one reader.
    ///
    /// # Errors
    /// `User` when the header of a file lacks a wanted column.
    fn open(&self, input: &Input<'_>) -> Result<Box<dyn Decoder>>;
}

/// The format of a source by its name. Takes its options (`json.ignore-parse-errors`...) from `options`.
///
/// # Errors
/// `User` for an unknown format, a bad option, or a column that the format cannot give.
pub fn decoder(
    format: &str,
    options: &mut Options,
    table: &Table,
    wanted: &[Column],
) -> Result<Arc<dyn DecodingFormat>> {
    Ok(match format {
        "csv" => Arc::new(csv::Csv::new(options, table, wanted)?),
        "json" => Arc::new(json::Json::new(options, wanted)?),
        _ => return Err(Error::user(format!("unknown format '{format}'"))),
    })
}

/// The path of a wanted column, for a format without metadata.
fn wanted_path<'a>(format: &str, column: &'a Column) -> Result<&'a [String]> {
    match &column.place {
        Place::Field(path) => Ok(path),
        Place::Metadata(key) => Err(Error::user(format!(
            "column `{}`: the format '{format}' has no metadata '{key}'",
            column.field.name()
        ))),
    }
}
