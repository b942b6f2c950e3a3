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
//! | `sink.commit-format` | manifest | how the table lists what checkpoints committed: manifest, or delta (Delta Lake, of parquet) |
//! | `parquet.compression` | snappy | zstd, gzip, lz4, uncompressed |
//! | `parquet.block.size` | 128 mb | of a row group |
//! | `parquet.missing-columns` | error | null: a column that a file does not have is NULL |
//! | `s3.endpoint`, `s3.access-key`, `s3.secret-key`, `s3.region`, `s3.path-style-access`, ... | the environment (`AWS_*`) | |

mod blocks;
mod input;
mod lines;
mod location;
mod parquet_files;
mod place;
mod remote;
mod sink;

use crate::format::Format;
use crate::{Capabilities, Connector, Metadata, Reads, columns};
use arrow::datatypes::{Field, Schema};
use input::Compression;
use lines::{LineFiles, Listing, Row};
use location::Location;
use millstream_dataflow::sink::Sink;
use millstream_dataflow::source::Source;
use millstream_dataflow::{Changes, Column, Error, Options, Result, Table};
use parquet::basic;
use parquet::file::properties::WriterProperties;
use parquet_files::ParquetFiles;
use sink::{Content, DeltaTable, Directories, FileSink, ListFormat, Policy};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const CONNECTOR: Connector = Connector {
    name: "filesystem",
    check,
    source: |table, options, wanted| Settings::new(options)?.source(table, wanted),
    sink: |table, options| Ok(Arc::new(Settings::new(options)?.sink(table)?)),
};

const PARQUET: &str = "parquet";

fn check(table: &Table, options: Options) -> Result<Capabilities> {
    let settings = Settings::new(options)?;
    let metadata = settings.metadata(table);
    let wanted = columns::all(table, &metadata);
    let (changes, skips_bad) = match &settings.format {
        Rows::Parquet { .. } => (Changes::AppendOnly, false),
        Rows::Lines(format) => {
            let (_, decoded) = place::slots(table, &wanted);
            let format = format.decoder(table, &decoded)?;
            (format.changes(), format.skips_bad())
        }
    };
    Ok(Capabilities {
        source: Some(Reads {
            changes,
            bounded: settings.monitor.is_none(),
            skips_bad,
        }),
        // What the format can read and not write is no error before someone writes.
        sink: settings.sink(table).ok().map(|sink| sink.changes()),
        metadata,
    })
}

/// The options of both directions.
struct Settings {
    location: Location,
    format: Rows,
    compression: Option<Compression>,
    monitor: Option<Duration>,
    null_directory: String,
    policy: Policy,
    list: Option<List>,
}

/// How a written table lists its files.
#[derive(Clone, Copy)]
enum List {
    Manifest,
    Delta,
}

/// How rows stand in files.
enum Rows {
    Lines(Format),
    Parquet {
        missing_is_null: bool,
        properties: Box<WriterProperties>,
    },
}

impl Settings {
    fn new(mut options: Options) -> Result<Self> {
        let path = options.required("path")?;
        let store = options.prefixed("s3.");
        let _: Option<u32> = options.parse("scan.parallelism")?;
        let _: Option<u32> = options.parse("sink.parallelism")?;
        let format = match options.required("format")? {
            name if name == PARQUET => parquet_options(&mut options)?,
            name => Rows::Lines(Format::take(&mut options, "", name)),
        };
        let settings = Self {
            location: Location::new(&path, &store)?,
            format,
            compression: Compression::option(&mut options)?,
            monitor: options.duration("source.monitor-interval")?,
            null_directory: options
                .text("partition.default-name")
                .unwrap_or_else(|| "__DEFAULT_PARTITION__".to_owned()),
            policy: Policy::new(&mut options)?,
            list: list_option(&mut options)?,
        };
        if let (Some(List::Delta), Rows::Lines(format)) = (&settings.list, &settings.format) {
            return Err(Error::user(format!(
                "table `{}`: a Delta table's files are parquet, not {}",
                options.owner(),
                format.name
            )));
        }
        options.finish()?;
        Ok(settings)
    }

    fn metadata(&self, table: &Table) -> Vec<Metadata> {
        let mut offered = place::metadata();
        if let Rows::Lines(format) = &self.format {
            offered.extend(columns::of_format(table, &format.name, ""));
        }
        offered
    }

    fn source(self, table: &Table, wanted: &[Column]) -> Result<Arc<dyn Source>> {
        let (slots, decoded) = place::slots(table, wanted);
        let listing = Listing::new(self.monitor);
        let row = Arc::new(Row {
            slots,
            schema: columns::schema(wanted),
            null_directory: self.null_directory,
        });
        Ok(match self.format {
            Rows::Parquet {
                missing_is_null, ..
            } => Arc::new(ParquetFiles {
                location: self.location,
                listing,
                row,
                wanted: decoded.into(),
                missing_is_null,
            }),
            Rows::Lines(format) => Arc::new(LineFiles {
                location: self.location,
                compression: self.compression,
                listing,
                format: format.decoder(table, &decoded)?,
                row,
            }),
        })
    }

    fn sink(&self, table: &Table) -> Result<FileSink> {
        let mut fields: Vec<Field> = Vec::new();
        let (mut kept, mut directories) = (Vec::new(), Vec::new());
        for (idx, column) in columns::written(table).enumerate() {
            let name = column.field.name();
            if let Some(key) = &column.metadata {
                let message = format!(
                    "table `{}`: the metadata '{key}' of column `{name}` cannot be written",
                    table.name
                );
                return Err(Error::user(message).hint("declare it METADATA VIRTUAL"));
            }
            let of_table = |of: &usize| table.columns[*of].field.name() == name;
            match table.partitioned_by.iter().position(of_table) {
                Some(at) => directories.push((at, (name.clone(), idx))),
                None => {
                    kept.push(idx);
                    fields.push(column.field.clone());
                }
            }
        }
        // Directories in the order of PARTITIONED BY.
        directories.sort_by_key(|(at, _)| *at);
        let directories = directories.into_iter().map(|(_, column)| column).collect();
        let (list, schema) = self.listed(table, Schema::new(fields))?;
        let schema = Arc::new(schema);
        let content = match &self.format {
            Rows::Parquet { properties, .. } => Content::Parquet(properties.clone()),
            Rows::Lines(format) => Content::Lines {
                format: format.encoder(&schema)?,
                extension: extension(&format.name),
                compression: self.compression.unwrap_or(Compression::Plain),
            },
        };
        Ok(FileSink {
            location: self.location.clone(),
            directories: Directories::new(directories, self.null_directory.clone()),
            kept,
            schema,
            content,
            policy: self.policy,
            list,
            always_listed: self.list.is_some(),
        })
    }

    /// How the files are listed, and their columns as that demands.
    fn listed(&self, table: &Table, schema: Schema) -> Result<(ListFormat, Schema)> {
        match self.list {
            None | Some(List::Manifest) => Ok((ListFormat::Manifest, schema)),
            Some(List::Delta) => {
                let columns: Vec<&Field> = columns::written(table).map(|c| &c.field).collect();
                let name = |idx: &usize| table.columns[*idx].field.name().clone();
                let by = table.partitioned_by.iter().map(name).collect();
                let delta = DeltaTable::new(&table.name, &columns, by)?;
                Ok((ListFormat::Delta(Arc::new(delta)), sink::stored(&schema)))
            }
        }
    }
}

/// The option 'sink.commit-format'.
fn list_option(options: &mut Options) -> Result<Option<List>> {
    let name = "sink.commit-format";
    let Some(word) = options.text(name) else {
        return Ok(None);
    };
    match word.as_str() {
        "manifest" => Ok(Some(List::Manifest)),
        "delta" => Ok(Some(List::Delta)),
        _ => Err(options.invalid(name, &word, "manifest or delta")),
    }
}

/// What the names of a format's files end with.
fn extension(format: &str) -> &'static str {
    match format {
        "csv" => "csv",
        "raw" => "raw",
        _ => "json",
    }
}

/// The options `parquet.*`.
fn parquet_options(options: &mut Options) -> Result<Rows> {
    let missing = options.word("parquet.missing-columns", &["error", "null"])?;
    let word = options.word(
        "parquet.compression",
        &["snappy", "zstd", "gzip", "lz4", "uncompressed", "none"],
    )?;
    let compression = match word.as_str() {
        "zstd" => basic::Compression::ZSTD(basic::ZstdLevel::default()),
        "gzip" => basic::Compression::GZIP(basic::GzipLevel::default()),
        "lz4" => basic::Compression::LZ4_RAW,
        "uncompressed" | "none" => basic::Compression::UNCOMPRESSED,
        _ => basic::Compression::SNAPPY,
    };
    let block = options.bytes("parquet.block.size")?.unwrap_or(128 << 20);
    if block == 0 {
        return Err(options.invalid("parquet.block.size", "0", "above 0"));
    }
    Ok(Rows::Parquet {
        missing_is_null: missing == "null",
        properties: Box::new(
            WriterProperties::builder()
                .set_compression(compression)
                .set_max_row_group_bytes(usize::try_from(block).ok())
                .set_created_by(concat!("millstream ", env!("CARGO_PKG_VERSION")).to_owned())
                .build(),
        ),
    })
}

#[cfg(test)]
mod tests;
