//! Files as a sink.
//!
//! ```text
//! delta -> by directory -> growing file --(full, old, or a checkpoint)--> staged --(publish)--> visible, then listed
//! ```
//!
//! Rows are written to files that no reader sees. `prepare` makes them durable, still unseen; `publish` makes them
//! appear and commits them as a whole to the table's list of files. What the table lists is what checkpoints committed,
//! no row more or less, wherever the process was killed.
//!
//! ```text
//! table/
//!   country=FR/part-<run>-<n>.parquet            what readers see
//!   _millstream/commits/<number>.commit          the list: each commit names the files that it adds; or _delta_log/
//!   _millstream/staged/<writer>/part-<run>-<n>   not yet visible: the file itself, or the name of its upload
//! ```

mod delta;
mod destination;
mod directories;
mod disk;
mod growing;
mod log;
mod output;
mod prepared;
mod records;
mod rolling;
mod staging;
mod upload;
mod writer;

use super::input::Compression;
use super::location::Location;
use arrow::datatypes::SchemaRef;
use destination::Destination;
use millstream_dataflow::sink::{Delivery, Sink, Writer};
use millstream_dataflow::{Changes, Result};
use millstream_formats::EncodingFormat;
use parquet::file::properties::WriterProperties;
use std::fmt;
use std::sync::Arc;
use writer::FileWriter;

pub(super) use delta::{DeltaTable, stored};
pub(super) use directories::Directories;
pub(super) use log::ListFormat;
pub(super) use rolling::Policy;

/// Files as a sink.
#[derive(Clone, Debug)]
pub(super) struct FileSink {
    pub(super) location: Location,
    pub(super) directories: Directories,
    /// The columns that are in the files, among those of the rows.
    pub(super) kept: Vec<usize>,
    /// The columns in the files.
    pub(super) schema: SchemaRef,
    pub(super) content: Content,
    pub(super) policy: Policy,
    /// How the table lists its files.
    pub(super) list: ListFormat,
    /// Whether files are listed in a job without checkpoints, too.
    pub(super) always_listed: bool,
}

/// What is in the files.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Lines {
        format: Arc<dyn EncodingFormat>,
        /// What the files' names end with.
        extension: &'static str,
        compression: Compression,
    },
    Parquet(Box<WriterProperties>),
}

impl fmt::Display for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filesystem {} (", self.location)?;
        match &self.content {
            Content::Lines { format, .. } => write!(f, "{format}")?,
            Content::Parquet(_) => write!(f, "parquet")?,
        }
        match self.list {
            ListFormat::Manifest => write!(f, ")"),
            ListFormat::Delta(_) => write!(f, ", delta)"),
        }
    }
}

impl FileSink {
    /// What the files' names end with.
    fn extension(&self) -> String {
        match &self.content {
            Content::Lines {
                extension,
                compression,
                ..
            } => format!(".{extension}{}", compression.extension()),
            Content::Parquet(_) => ".parquet".to_owned(),
        }
    }
}

impl Sink for FileSink {
    fn changes(&self) -> Changes {
        match &self.content {
            Content::Lines { format, .. } => format.changes(),
            Content::Parquet(_) => Changes::AppendOnly,
        }
    }

    fn open(&self) -> Result<Box<dyn Writer>> {
        let destination = Destination::new(self.location.clone(), self.list.clone());
        Ok(Box::new(FileWriter::new(self.clone(), destination)))
    }

    fn delivery(&self) -> Delivery {
        Delivery::Checkpoint
    }
}

#[cfg(test)]
mod tests;
