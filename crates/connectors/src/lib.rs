//! The connectors: where tables are read from and written to.
//!
//! ```text
//! WITH ('connector' = '...') -> check   at CREATE TABLE: every option is known and fits
//!                            -> source  partitions, readers: bytes -> (formats) -> deltas
//!                            -> sink    writers: deltas -> (formats) -> bytes
//! ```
//!
//! This file is the list of connectors; each is a module that does not know the others. Connectors know the outside
//! (files, brokers, clocks) and nothing of SQL, steps or operators.

mod clock;
mod columns;
mod format;

mod blackhole;
mod datagen;
mod filesystem;
mod kafka;
mod nexmark;
pub mod print;

use arrow::datatypes::DataType;
use millstream_dataflow::options::nearest;
use millstream_dataflow::sink::Sink;
use millstream_dataflow::source::Source;
use millstream_dataflow::{Changes, Column, Error, Options, Result, Table};
use std::sync::Arc;

/// What a table can do, as its connector, format and options say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capabilities {
    /// How it reads; `None`: it cannot be read.
    pub source: Option<Reads>,
    /// The changes that it can be written with; `None`: it cannot be written.
    pub sink: Option<Changes>,
    /// The METADATA columns that it offers.
    pub metadata: Vec<Metadata>,
}

/// How a table is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reads {
    /// What its rows mean. The key of `Upsert` is by column of the table.
    pub changes: Changes,
    /// Whether reading comes to an end.
    pub bounded: bool,
    /// Whether an option of the format asks to skip bad records (`json.ignore-parse-errors`): they are reported all the
    /// same, to be counted.
    pub skips_bad: bool,
}

/// A METADATA column that a table can declare.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// Its key: the name of the column, or what METADATA FROM names.
    pub key: String,
    /// Its own type; a column of another type is a cast of it.
    pub data_type: DataType,
    /// Whether it can be written (columns that cannot be must be VIRTUAL).
    pub writable: bool,
}

/// Every connector, by the name that `'connector' = '...'` gives it.
const CONNECTORS: [Connector; 7] = [
    blackhole::CONNECTOR,
    datagen::CONNECTOR,
    filesystem::CONNECTOR,
    kafka::CONNECTOR,
    kafka::UPSERT,
    nexmark::CONNECTOR,
    print::CONNECTOR,
];

/// A connector: its name and what it makes of a table. The options it is given are all of the table's but 'connector'.
struct Connector {
    name: &'static str,
    check: fn(&Table, Options) -> Result<Capabilities>,
    source: OpenSource,
    sink: OpenSink,
}

type OpenSource = fn(&Table, Options, &[Column]) -> Result<Arc<dyn Source>>;
type OpenSink = fn(&Table, Options) -> Result<Arc<dyn Sink>>;

/// Checks a table's options and says what it can do. Looks at nothing outside: a path or a topic need not exist yet.
///
/// # Errors
/// `User` for an unknown connector, an unknown option (with the nearest name), a value or a column that does not fit.
pub fn check(table: &Table) -> Result<Capabilities> {
    let (connector, options) = find(table)?;
    let capabilities = (connector.check)(table, options)?;
    columns::check_metadata(table, &capabilities)?;
    Ok(capabilities)
}

/// The source of a table that gives the wanted columns, in their order.
///
/// # Errors
/// `User` as for [`check`], and when the table cannot be read.
pub fn source(table: &Table, wanted: &[Column]) -> Result<Arc<dyn Source>> {
    let (connector, options) = find(table)?;
    (connector.source)(table, options, wanted)
}

/// The sink of a table. It takes the table's columns that are not VIRTUAL, in their order.
///
/// # Errors
/// `User` as for [`check`], and when the table cannot be written.
pub fn sink(table: &Table) -> Result<Arc<dyn Sink>> {
    let (connector, options) = find(table)?;
    (connector.sink)(table, options)
}

fn find(table: &Table) -> Result<(&'static Connector, Options)> {
    let mut options = Options::new(
        &table.name,
        table.options.iter().map(|(k, v)| (k.clone(), v.clone())),
    );
    let name = options.required("connector")?;
    let names = || CONNECTORS.iter().map(|connector| connector.name);
    match CONNECTORS.iter().find(|connector| connector.name == name) {
        Some(connector) => Ok((connector, options)),
        None => {
            let error = Error::user(format!(
                "table `{}` has the unknown connector '{name}'",
                table.name
            ));
            Err(match nearest(&name, names()) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint(format!(
                    "connectors: {}",
                    names().collect::<Vec<_>>().join(", ")
                )),
            })
        }
    }
}

/// For a connector that only writes.
fn cannot_read(table: &Table) -> Error {
    let connector = table.options.get("connector").map_or("", String::as_str);
    Error::user(format!(
        "table `{}` cannot be read: the connector '{connector}' only writes",
        table.name
    ))
}

/// For a connector that only reads.
fn cannot_write(table: &Table) -> Error {
    let connector = table.options.get("connector").map_or("", String::as_str);
    Error::user(format!(
        "table `{}` cannot be written: the connector '{connector}' only reads",
        table.name
    ))
}

#[cfg(test)]
mod tests;
