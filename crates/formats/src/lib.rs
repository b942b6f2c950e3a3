//! Formats: how records become rows and rows become records. A format knows bytes and columns, and nothing of files,
//! topics or SQL.
//!
//! | format | changes | metadata |
//! |---|---|---|
//! | `json`, `csv`, `raw` | inserts | |
//! | `debezium-json`, `canal-json`, `maxwell-json`, `ogg-json` | inserts and retractions | see [`metadata_keys`] |
//!
//! A [`DecodingFormat`] is made once, when a table is planned; it checks the options and prints in EXPLAIN. Each reader
//! then opens a decoder of its own. All formats can be written too ([`EncodingFormat`]).
//!
//! ```text
//! bytes -> Records -> lanes (columns under construction) -> Delta
//!             Delta -> cells (columns by row) -> bytes
//! ```

mod framing;

mod changelog;
mod csv;
mod json;
mod raw;

mod bits;
mod cells;
mod lane;
mod text;
mod time;
mod utf8;
mod value;
mod views;

#[cfg(test)]
mod testing;

pub use framing::{Framing, Input};

use arrow::datatypes::SchemaRef;
use millstream_dataflow::format::{Decoder, Encoder};
use millstream_dataflow::options::nearest;
use millstream_dataflow::{Changes, Column, Delta, Error, Options, Place, Result, Table};
use std::fmt::{Debug, Display};
use std::sync::Arc;

/// The names of all formats.
pub const FORMATS: [&str; 7] = [
    "json",
    "csv",
    "raw",
    "debezium-json",
    "canal-json",
    "maxwell-json",
    "ogg-json",
];

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

/// A sink's format with its options, settled. Printed by EXPLAIN.
pub trait EncodingFormat: Debug + Display + Send + Sync {
    /// Which changes it can express: `AppendOnly` or `All`.
    fn changes(&self) -> Changes;

    /// The record that a file begins with, if there is one, without a line end.
    fn header(&self) -> Option<Vec<u8>> {
        None
    }

    /// An encoder for one writer.
    fn open(&self) -> Box<dyn Encoder>;
}

/// The format of a source by its name. Takes its options (`json.ignore-parse-errors`...) from `options`. `table` has
/// the columns that stand in the records, in their order (`csv` needs it), besides metadata and partition columns.
/// `wanted` are the columns to give, in their order; metadata columns among them must be the format's own.
///
/// # Errors
/// `User` for an unknown format, a bad option, or a column that the format cannot give.
pub fn decoder(
    format: &str,
    options: &mut Options,
    table: &Table,
    wanted: &[Column],
) -> Result<Arc<dyn DecodingFormat>> {
    Ok(match (format, changelog::dialect(format)) {
        (_, Some(dialect)) => Arc::new(changelog::Changelog::new(dialect, options, wanted)?),
        ("json", None) => Arc::new(json::Json::new(options, wanted)?),
        ("csv", None) => Arc::new(csv::Csv::new(options, table, wanted)?),
        ("raw", None) => Arc::new(raw::Raw::new(options, table, wanted)?),
        (_, None) => return Err(unknown(format)),
    })
}

/// The format of a sink by its name, for deltas of this schema. Takes its options from `options`.
///
/// # Errors
/// `User` for an unknown format, a bad option, or a column that the format cannot write.
pub fn encoder(
    format: &str,
    options: &mut Options,
    schema: &SchemaRef,
) -> Result<Arc<dyn EncodingFormat>> {
    Ok(match (format, changelog::dialect(format)) {
        (_, Some(dialect)) => {
            Arc::new(changelog::ChangelogEncoding::new(dialect, options, schema)?)
        }
        ("json", None) => Arc::new(json::encoder::JsonEncoding::new(options, schema)?),
        ("csv", None) => Arc::new(csv::CsvEncoding::new(options, schema)?),
        ("raw", None) => Arc::new(raw::RawEncoding::new(options, schema)?),
        (_, None) => return Err(unknown(format)),
    })
}

/// The metadata keys that a format offers; none for an unknown one.
pub fn metadata_keys(format: &str) -> Vec<&'static str> {
    let keys = changelog::dialect(format).map(|dialect| dialect.metadata);
    keys.unwrap_or_default()
        .iter()
        .map(|known| known.key)
        .collect()
}

fn unknown(format: &str) -> Error {
    let error = Error::user(format!("unknown format '{format}'"));
    match nearest(format, FORMATS) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint(format!("known formats: {}", FORMATS.join(", "))),
    }
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

fn check_types(schema: &SchemaRef) -> Result<()> {
    let fields = schema.fields();
    fields
        .iter()
        .try_for_each(|field| cells::check_type(field.name(), field.data_type()))
}

/// How many records a row of an append-only format is.
fn copies(format: &str, delta: &Delta, row: usize) -> Result<u64> {
    u64::try_from(delta.weight(row)).map_err(|_| {
        Error::user(format!("the format '{format}' cannot express that a row is deleted")).hint(
            "write to a table with a changelog format ('debezium-json') or to one with a PRIMARY KEY ('upsert-kafka')",
        )
    })
}
