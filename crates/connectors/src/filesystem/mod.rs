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
mod place;

use crate::codec::{self, MakeDecoder};
use crate::{Capabilities, Connector, Metadata, Reads, cannot_write, columns};
use arrow::datatypes::{DataType, TimeUnit};
use input::Compression;
use location::Location;
use millstream_dataflow::source::Source;
use millstream_dataflow::{Changes, Column, Options, Place, Result, Table};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const CONNECTOR: Connector = Connector {
    name: "filesystem",
    check,
    source,
    sink: |table, _| Err(cannot_write(table)),
};

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
