//! `filesystem`: files as a table, local or in an object store, in rows (json, csv, raw, the changelog formats) or in
//! columns (parquet).
//!
//! | option | default | |
//! |---|---|---|
//! | `path` | | a file, a directory or a glob; `file://` and `s3://` URLs |
//! | `format` | | json, csv, raw, debezium-json, canal-json, maxwell-json, ..., parquet |
//! | `compression` | auto | none, gzip, zstd; auto goes by the file's name when reading, and is none when writing |
//! | `source.monitor-interval` | | watch for new files instead of ending |
//! | `partition.default-name` | `__DEFAULT_PARTITION__` | the directory of a NULL in a PARTITIONED BY column |
//! | `sink.rolling-policy.file-size` | 128 mb | a file ends when it is this long |
//! | `sink.rolling-policy.rollover-interval` | 30 min | a file ends when it is this old |
//! | `sink.rolling-policy.inactivity-interval` | 30 min | a file ends when nothing came for so long |
//! | `sink.rolling-policy.check-interval` | 1 min | how often the ages are looked at |
//! | `parquet.compression` | snappy | zstd, gzip, lz4, uncompressed |
//! | `s3.endpoint`, `s3.access-key`, `s3.secret-key`, `s3.region`, `s3.path-style-access`, ... | the environment (`AWS_*`) | |

mod blocks;
mod input;
mod lines;
mod location;
mod parquet_files;
mod place;

use crate::{Capabilities, Connector, Reads, cannot_write, columns};
use input::Compression;
use lines::{LineFiles, Listing, Row};
use location::Location;
use millstream_dataflow::source::Source;
use millstream_dataflow::{Column, Options, Result, Table};
use parquet_files::ParquetFiles;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const CONNECTOR: Connector = Connector {
    name: "filesystem",
    check,
    source,
    sink: |table, _| Err(cannot_write(table)),
};

const PARQUET: &str = "parquet";

/// The options of both directions.
struct Settings {
    location: Location,
    format: String,
    compression: Option<Compression>,
    monitor: Option<Duration>,
    null_directory: String,
}

impl Settings {
    fn new(options: &mut Options) -> Result<Self> {
        let path = options.required("path")?;
        let store = options.prefixed("s3.");
        let _: Option<u32> = options.parse("scan.parallelism")?;
        Ok(Self {
            location: Location::new(&path, &store)?,
            format: options.required("format")?,
            compression: Compression::option(options)?,
            monitor: options.duration("source.monitor-interval")?,
            null_directory: options
                .text("partition.default-name")
                .unwrap_or_else(|| "__DEFAULT_PARTITION__".to_owned()),
        })
    }
}

fn check(table: &Table, options: Options) -> Result<Capabilities> {
    let files = Files::new(table, options, &columns::physical(table))?;
    let (source, skips_bad): (&dyn Source, bool) = match &files {
        Files::Lines(files) => (files, files.format.skips_bad()),
        Files::Parquet(files) => (files, false),
    };
    Ok(Capabilities {
        source: Some(Reads {
            changes: source.changes(),
            bounded: source.bounded(),
            skips_bad,
        }),
        sink: None,
        metadata: place::metadata(),
    })
}

fn source(table: &Table, options: Options, wanted: &[Column]) -> Result<Arc<dyn Source>> {
    Ok(match Files::new(table, options, wanted)? {
        Files::Lines(files) => Arc::new(files),
        Files::Parquet(files) => Arc::new(files),
    })
}

/// The files of a table, by how they are read.
enum Files {
    Lines(LineFiles),
    Parquet(ParquetFiles),
}

impl Files {
    fn new(table: &Table, mut options: Options, wanted: &[Column]) -> Result<Self> {
        let settings = Settings::new(&mut options)?;
        let (slots, decoded) = place::slots(table, wanted);
        let listing = Listing::new(&settings);
        let row = Arc::new(Row {
            slots,
            schema: columns::schema(wanted),
            null_directory: settings.null_directory,
        });
        if settings.format == PARQUET {
            let missing = options.word("parquet.missing-columns", &["error", "null"])?;
            options.finish()?;
            return Ok(Self::Parquet(ParquetFiles {
                location: settings.location,
                listing,
                row,
                wanted: decoded.into(),
                missing_is_null: missing == "null",
            }));
        }
        let format = millstream_formats::decoder(&settings.format, &mut options, table, &decoded)?;
        options.finish()?;
        Ok(Self::Lines(LineFiles {
            location: settings.location,
            compression: settings.compression,
            listing,
            format,
            row,
        }))
    }
}

#[cfg(test)]
mod tests;
