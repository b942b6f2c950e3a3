//! A file that grows: rows are encoded into its output, which no reader sees.

use super::super::input::Compression;
use super::output::Output;
use super::prepared::DataFile;
use super::rolling::Growth;
use super::{Content, FileSink};
use crate::{clock, columns};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use flate2::write::GzEncoder;
use millstream_dataflow::format::Encoder;
use millstream_dataflow::{Delta, Error, Result, Weights};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

/// A file that grows.
pub(super) struct Growing {
    name: String,
    partition: Map<String, Value>,
    body: Body,
    rows: u64,
    /// Whether a write has failed in the middle: such a file never appears.
    broken: bool,
    began: Instant,
    last: Instant,
}

enum Body {
    Lines {
        encoder: Box<dyn Encoder>,
        output: Packed,
    },
    Parquet(Box<ArrowWriter<Output>>),
}

/// Rows in the form of a file, ready to be appended.
pub(super) struct Encoded {
    rows: u64,
    form: Form,
}

enum Form {
    Bytes(Vec<u8>),
    Batch(RecordBatch),
}

/// A file that no row is added to any more.
pub(super) struct Ended {
    name: String,
    partition: Map<String, Value>,
    rows: u64,
    output: Output,
}

impl Growing {
    /// Begins a file of this name.
    pub(super) fn new(
        sink: &FileSink,
        name: String,
        partition: Map<String, Value>,
        output: Output,
    ) -> Result<Self> {
        let body = match &sink.content {
            Content::Lines {
                format,
                compression,
                ..
            } => {
                let mut output =
                    Packed::new(output, *compression).map_err(|error| broken(&name, &error))?;
                if let Some(mut header) = format.header() {
                    header.push(b'\n');
                    output
                        .write_all(&header)
                        .map_err(|error| broken(&name, &error))?;
                }
                Body::Lines {
                    encoder: format.open(),
                    output,
                }
            }
            Content::Parquet(properties) => {
                let schema = Arc::clone(&sink.schema);
                // Many readers that find Arrow's schema in a file cannot do much with its view types.
                let options = ArrowWriterOptions::new()
                    .with_properties(WriterProperties::clone(properties))
                    .with_skip_arrow_metadata(true);
                let writer = ArrowWriter::try_new_with_options(output, schema, options);
                Body::Parquet(Box::new(
                    writer.map_err(|error| parquet_error(&name, &error))?,
                ))
            }
        };
        let now = clock::now();
        Ok(Self {
            name,
            partition,
            body,
            rows: 0,
            broken: false,
            began: now,
            last: now,
        })
    }

    /// Rows as this file takes them. Changes nothing of the file.
    pub(super) fn encode(&mut self, sink: &FileSink, delta: &Delta) -> Result<Encoded> {
        let batch = delta.batch().project(&sink.kept)?;
        match &mut self.body {
            Body::Lines { encoder, .. } => {
                let (mut bytes, mut ends) = (Vec::new(), Vec::new());
                encoder.encode(&delta.with_batch(batch)?, &mut bytes, &mut ends)?;
                Ok(Encoded {
                    rows: ends.len() as u64,
                    form: Form::Bytes(lines(&bytes, &ends)),
                })
            }
            Body::Parquet(_) => {
                let batch = inserts(batch, delta)?;
                let fields = sink.schema.fields().iter();
                let columns = fields
                    .zip(batch.columns())
                    .map(|(field, column)| columns::to_type(Arc::clone(column), field.data_type()))
                    .collect::<Result<Vec<_>>>()?;
                let batch = columns::batch(&sink.schema, columns, batch.num_rows())?;
                Ok(Encoded {
                    rows: batch.num_rows() as u64,
                    form: Form::Batch(batch),
                })
            }
        }
    }

    /// Appends rows: to memory, whatever the disk may be like.
    pub(super) fn append(&mut self, encoded: &Encoded) -> Result<()> {
        self.last = clock::now();
        self.rows += encoded.rows;
        self.broken = true;
        match (&mut self.body, &encoded.form) {
            (Body::Lines { output, .. }, Form::Bytes(bytes)) => output
                .write_all(bytes)
                .map_err(|error| broken(&self.name, &error))?,
            (Body::Parquet(writer), Form::Batch(batch)) => writer
                .write(batch)
                .map_err(|error| parquet_error(&self.name, &error))?,
            (Body::Lines { .. }, Form::Batch(_)) | (Body::Parquet(_), Form::Bytes(_)) => {
                return Err(Error::internal(format!(
                    "the file '{}' was given rows of another form",
                    self.name
                )));
            }
        }
        self.broken = false;
        Ok(())
    }

    /// Hands on what was appended, as far as that is possible in whole pieces.
    pub(super) fn drain(&mut self) -> Result<()> {
        match &mut self.body {
            Body::Lines { output, .. } => output.output().drain(),
            Body::Parquet(writer) => writer.inner_mut().drain(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match &self.body {
            Body::Lines { output, .. } => output.bytes(),
            Body::Parquet(writer) => (writer.bytes_written() + writer.in_progress_size()) as u64,
        }
    }

    pub(super) fn last(&self) -> Instant {
        self.last
    }

    pub(super) fn growth(&self) -> Growth {
        Growth {
            bytes: self.bytes(),
            age: self.began.elapsed(),
            quiet: self.last.elapsed(),
        }
    }

    /// Ends it; `None`: it has no row, and is gone.
    pub(super) fn end(self) -> Result<Option<Ended>> {
        if self.broken {
            return Err(Error::internal(format!(
                "the file '{}' is broken",
                self.name
            )));
        }
        if self.rows == 0 {
            return Ok(None);
        }
        let output = match self.body {
            Body::Lines { output, .. } => {
                output.end().map_err(|error| broken(&self.name, &error))?
            }
            Body::Parquet(writer) => writer
                .into_inner()
                .map_err(|error| parquet_error(&self.name, &error))?,
        };
        Ok(Some(Ended {
            name: self.name,
            partition: self.partition,
            rows: self.rows,
            output,
        }))
    }
}

impl Ended {
    /// Hands on what was written, as far as that is possible in whole pieces.
    pub(super) fn drain(&mut self) -> Result<()> {
        self.output.drain()
    }

    /// Makes its bytes durable.
    ///
    /// # Errors
    /// `Retryable`: nothing is lost, call again.
    pub(super) fn stage(&mut self) -> Result<()> {
        self.output.stage()
    }

    /// The file as it is staged.
    pub(super) fn staged(self) -> DataFile {
        DataFile {
            path: self.name,
            bytes: self.output.bytes(),
            rows: self.rows,
            partition: self.partition,
            upload: self.output.keep(),
        }
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

/// Writing to memory failed: in the encoder.
fn broken(name: &str, error: &io::Error) -> Error {
    Error::internal(format!("the file '{name}' cannot be encoded")).detail(error.to_string())
}

fn parquet_error(name: &str, error: &ParquetError) -> Error {
    Error::internal(format!("the file '{name}' cannot be encoded")).detail(error.to_string())
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

    fn output(&mut self) -> &mut Output {
        match self {
            Self::Plain(output) => output,
            Self::Gzip(packed) => packed.get_mut(),
            Self::Zstd(packed) => packed.get_mut(),
        }
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
