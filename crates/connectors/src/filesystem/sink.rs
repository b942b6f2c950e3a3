//! Files as a sink: rows are appended to a growing file in each directory, which appears when it ends.
//!
//! ```text
//! delta -> by directory -> growing file --(full, old, quiet, or the input's end)--> file
//! ```
//!
//! A commit ends the files that are due by the rolling policy; rows of files that still grow are not visible yet. When
//! a job stops, its growing files end and appear. When its process is killed they are gone, and their rows with them
//! unless the job replays the steps since those files began.

use super::directories::Directories;
use super::input::Compression;
use super::location::Location;
use super::output::{Output, write_error};
use super::rolling::{Growth, Policy};
use crate::clock;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use flate2::write::GzEncoder;
use millstream_dataflow::sink::{Sink, Writer};
use millstream_dataflow::{Changes, Delta, Error, Result, Step, Weights};
use millstream_formats::EncodingFormat;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

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
        match &self.content {
            Content::Lines { format, .. } => write!(f, "filesystem {} ({format})", self.location),
            Content::Parquet(_) => write!(f, "filesystem {} (parquet)", self.location),
        }
    }
}

impl FileSink {
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
        let now = clock::now();
        Ok(Box::new(FileWriter {
            sink: self.clone(),
            files: BTreeMap::new(),
            run: format!("{:x}-{:x}", clock::wall_ms(), std::process::id()),
            count: 0,
            checked: now,
        }))
    }
}

/// Writes files.
struct FileWriter {
    sink: FileSink,
    /// Growing files by directory.
    files: BTreeMap<String, Growing>,
    /// Makes names unique over restarts.
    run: String,
    count: u64,
    checked: Instant,
}

/// A file that grows.
struct Growing {
    name: String,
    body: Body,
    /// Whether a write has failed in the middle: such a file never appears.
    broken: bool,
    began: Instant,
    last: Instant,
}

enum Body {
    Lines {
        encoder: Box<dyn millstream_dataflow::format::Encoder>,
        output: Packed,
    },
    Parquet(Box<ArrowWriter<Output>>),
}

impl Writer for FileWriter {
    fn write(&mut self, _: Step, delta: &Delta) -> Result<()> {
        let shares = self.sink.directories.split(delta)?;
        // What can be tried again comes first: once a row is written, there is no second try.
        for (directory, _) in &shares {
            if !self.files.contains_key(directory) {
                let file = self.begin(directory)?;
                self.files.insert(directory.clone(), file);
            }
        }
        for (directory, share) in shares {
            let Some(file) = self.files.get_mut(&directory) else {
                continue;
            };
            file.write(&self.sink, &share)?;
            if self.sink.policy.is_full(file.bytes())
                && let Some(file) = self.files.remove(&directory)
            {
                file.end()?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, _: Step) -> Result<()> {
        if !self.sink.policy.is_check_due(self.checked.elapsed()) {
            return Ok(());
        }
        self.checked = clock::now();
        let policy = self.sink.policy;
        let due = self
            .files
            .extract_if(.., |_, file| policy.is_due(file.growth()));
        let due: Vec<(String, Growing)> = due.collect();
        due.into_iter().try_for_each(|(_, file)| file.end())
    }

    fn finish(&mut self, _: Step) -> Result<()> {
        std::mem::take(&mut self.files)
            .into_values()
            .try_for_each(Growing::end)
    }
}

impl Drop for FileWriter {
    /// The job stops: what was written appears.
    fn drop(&mut self) {
        for (_, file) in std::mem::take(&mut self.files) {
            let name = file.name.clone();
            if let Err(error) = file.end() {
                tracing::error!(file = name, %error, "rows that were written are lost");
            }
        }
    }
}

impl FileWriter {
    fn begin(&mut self, directory: &str) -> Result<Growing> {
        let slash = if directory.is_empty() { "" } else { "/" };
        let extension = self.sink.extension();
        let name = format!(
            "{directory}{slash}part-{}-{}{extension}",
            self.run, self.count
        );
        let output = Output::create(&self.sink.location, &name)?;
        self.count += 1;
        let body = match &self.sink.content {
            Content::Lines {
                format,
                compression,
                ..
            } => {
                let mut output = Packed::new(output, *compression)
                    .map_err(|error| write_error(&name, &error))?;
                if let Some(mut header) = format.header() {
                    header.push(b'\n');
                    output
                        .write_all(&header)
                        .map_err(|error| write_error(&name, &error))?;
                }
                Body::Lines {
                    encoder: format.open(),
                    output,
                }
            }
            Content::Parquet(properties) => {
                let schema = Arc::clone(&self.sink.schema);
                let writer =
                    ArrowWriter::try_new(output, schema, Some(WriterProperties::clone(properties)));
                Body::Parquet(Box::new(
                    writer.map_err(|error| parquet_error(&name, &error))?,
                ))
            }
        };
        let now = clock::now();
        Ok(Growing {
            name,
            body,
            broken: false,
            began: now,
            last: now,
        })
    }
}

impl Growing {
    fn write(&mut self, sink: &FileSink, delta: &Delta) -> Result<()> {
        self.last = clock::now();
        let batch = delta.batch().project(&sink.kept)?;
        match &mut self.body {
            Body::Lines { encoder, output } => {
                let (mut bytes, mut ends) = (Vec::new(), Vec::new());
                encoder.encode(&delta.with_batch(batch)?, &mut bytes, &mut ends)?;
                self.broken = true;
                output
                    .write_all(&lines(&bytes, &ends))
                    .map_err(|error| write_error(&self.name, &error))?;
            }
            Body::Parquet(writer) => {
                let columns = inserts(batch, delta)?.columns().to_vec();
                let batch = RecordBatch::try_new(Arc::clone(&sink.schema), columns)?;
                self.broken = true;
                writer
                    .write(&batch)
                    .map_err(|error| parquet_error(&self.name, &error))?;
            }
        }
        self.broken = false;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        match &self.body {
            Body::Lines { output, .. } => output.bytes(),
            Body::Parquet(writer) => (writer.bytes_written() + writer.in_progress_size()) as u64,
        }
    }

    fn growth(&self) -> Growth {
        Growth {
            bytes: self.bytes(),
            age: self.began.elapsed(),
            quiet: self.last.elapsed(),
        }
    }

    /// Makes the file appear. What fails here cannot be tried again: the rows are no longer at hand.
    fn end(self) -> Result<()> {
        let name = self.name;
        if self.broken {
            return Err(Error::internal(format!("the file '{name}' is broken")));
        }
        let output = match self.body {
            Body::Lines { output, .. } => {
                output.end().map_err(|error| write_error(&name, &error))?
            }
            Body::Parquet(writer) => writer
                .into_inner()
                .map_err(|error| parquet_error(&name, &error))?,
        };
        output.finish().map_err(|error| Error {
            kind: millstream_dataflow::Kind::Internal,
            ..error
        })
    }
}

/// Records with a line feed behind each.
fn lines(bytes: &[u8], ends: &[usize]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(bytes.len() + ends.len());
    let mut start = 0;
    for end in ends {
        lines.extend_from_slice(&bytes[start..*end]);
        lines.push(b'\n');
        start = *end;
    }
    lines
}

/// The rows of a delta that only inserts, a row of weight 2 twice.
fn inserts(batch: RecordBatch, delta: &Delta) -> Result<RecordBatch> {
    let Weights::Each(weights) = delta.weights() else {
        return Ok(batch);
    };
    let mut rows: Vec<u32> = Vec::with_capacity(batch.num_rows());
    for (row, weight) in weights.values().iter().enumerate() {
        let times = usize::try_from(*weight).map_err(|_| {
            Error::user("Parquet files cannot express a retraction").hint(
                "write to a table of another connector or format, or only what is never retracted",
            )
        })?;
        rows.extend(std::iter::repeat_n(row as u32, times));
    }
    Ok(take_record_batch(&batch, &UInt32Array::from(rows))?)
}

fn parquet_error(name: &str, error: &ParquetError) -> Error {
    Error::internal(format!("the file '{name}' cannot be written")).detail(error.to_string())
}

/// An output, compressed or not.
enum Packed {
    Plain(Output),
    Gzip(Box<GzEncoder<Output>>),
    Zstd(Box<zstd::Encoder<'static, Output>>),
}

impl Packed {
    fn new(output: Output, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Plain => Self::Plain(output),
            Compression::Gzip => Self::Gzip(Box::new(GzEncoder::new(
                output,
                flate2::Compression::default(),
            ))),
            Compression::Zstd => Self::Zstd(Box::new(zstd::Encoder::new(output, 0)?)),
        })
    }

    /// How many bytes have left the compressor.
    fn bytes(&self) -> u64 {
        match self {
            Self::Plain(output) => output.bytes(),
            Self::Gzip(packed) => packed.get_ref().bytes(),
            Self::Zstd(packed) => packed.get_ref().bytes(),
        }
    }

    fn end(self) -> io::Result<Output> {
        match self {
            Self::Plain(output) => Ok(output),
            Self::Gzip(packed) => packed.finish(),
            Self::Zstd(packed) => packed.finish(),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.write_all(bytes),
            Self::Gzip(packed) => packed.write_all(bytes),
            Self::Zstd(packed) => packed.write_all(bytes),
        }
    }
}
