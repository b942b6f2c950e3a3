//! Parquet files as a source. The offset in a file is the number of the next row; only the wanted leaves of nested
//! columns are read.

use super::input::fetch;
use super::lines::{Listing, Row};
use super::location::{Entry, Location};
use super::remote::Remote;
use crate::columns;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::{Buf, Bytes};
use millstream_dataflow::source::{Offset, Partition, Polled, Reader, RowOffsets, Source, State};
use millstream_dataflow::{Changes, Column, Delta, Error, Place, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::SchemaDescriptor;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// Rows are read at most so many at a time.
const CHUNK: usize = 8192;

/// Parquet files as a source.
#[derive(Debug)]
pub(super) struct ParquetFiles {
    pub(super) location: Location,
    pub(super) listing: Listing,
    pub(super) row: Arc<Row>,
    /// The columns that the files hold, as wanted.
    pub(super) wanted: Arc<[Column]>,
    /// Whether a column that a file does not have is NULL.
    pub(super) missing_is_null: bool,
}

impl fmt::Display for ParquetFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filesystem {} (parquet)", self.location)
    }
}

impl Source for ParquetFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.row.schema)
    }

    fn changes(&self) -> Changes {
        Changes::AppendOnly
    }

    fn bounded(&self) -> bool {
        self.listing.bounded()
    }

    fn partitions(&self) -> Result<Vec<Partition>> {
        let partition = |file: Entry| Partition {
            name: file.name,
            start: Offset(0),
            end: None,
        };
        self.listing
            .partitions(|| Ok(self.location.files()?.into_iter().map(partition).collect()))
    }

    fn open(&self, partition: &Partition, from: Offset) -> Result<Box<dyn Reader>> {
        let file = self.location.file(&partition.name)?;
        let failed = |error| unreadable(&file.name, &error);
        let bytes = Chunks::open(&self.location, &file)?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(failed)?;
        let rows = builder.metadata().file_metadata().num_rows();
        if from.0 > rows {
            return Err(super::input::truncated(
                &file.name,
                from.0.cast_unsigned(),
                rows.cast_unsigned(),
            )
            .detail("counted in rows"));
        }
        let leaves = self.leaves(builder.parquet_schema(), &file.name)?;
        let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves);
        let reader = builder
            .with_batch_size(CHUNK)
            .with_offset(from.0.max(0) as usize)
            .with_projection(mask)
            .build()
            .map_err(failed)?;
        Ok(Box::new(ParquetReader {
            constants: self.row.constants(&file)?,
            name: file.name,
            reader,
            row: Arc::clone(&self.row),
            wanted: Arc::clone(&self.wanted),
            batch: RecordBatch::new_empty(Arc::new(Schema::empty())),
            next: 0,
            position: from.0.max(0),
            end: partition.end.map_or(rows, |end| end.0.min(rows)),
        }))
    }
}

impl ParquetFiles {
    /// The leaf columns of a file that the wanted columns are made of.
    fn leaves(&self, schema: &SchemaDescriptor, name: &str) -> Result<Vec<usize>> {
        let mut leaves = Vec::new();
        for column in &*self.wanted {
            let path = field_path(column);
            let of = |leaf: &usize| schema.column(*leaf).path().parts().starts_with(path);
            let found: Vec<usize> = (0..schema.num_columns()).filter(of).collect();
            if found.is_empty() && !self.missing_is_null {
                let roots = schema.root_schema().get_fields().iter();
                let names: Vec<&str> = roots.map(|field| field.name()).collect();
                return Err(Error::user(format!(
                    "the file '{name}' has no column `{}`",
                    path.join(".")
                ))
                .detail(format!("its columns are {}", names.join(", ")))
                .hint("'parquet.missing-columns' = 'null' makes columns that a file does not have NULL"));
            }
            leaves.extend(found);
        }
        Ok(leaves)
    }
}

fn field_path(column: &Column) -> &[String] {
    match &column.place {
        Place::Field(path) => path,
        Place::Metadata(_) => &[],
    }
}

fn unreadable(name: &str, error: &ParquetError) -> Error {
    Error::user(format!("the file '{name}' cannot be read as Parquet")).detail(error.to_string())
}

/// Reads one file.
struct ParquetReader {
    name: String,
    reader: ParquetRecordBatchReader,
    row: Arc<Row>,
    wanted: Arc<[Column]>,
    constants: Vec<Option<ArrayRef>>,
    batch: RecordBatch,
    /// The next row of the batch.
    next: usize,
    position: i64,
    end: i64,
}

impl Reader for ParquetReader {
    fn poll(&mut self, rows_max: usize, _: Duration) -> Result<Polled> {
        if self.next == self.batch.num_rows() && self.position < self.end {
            self.batch = match self.reader.next() {
                Some(batch) => {
                    self.convert(&batch.map_err(|error| unreadable(&self.name, &error.into()))?)?
                }
                None => {
                    let (end, at) = (self.end.cast_unsigned(), self.position.cast_unsigned());
                    return Err(
                        super::input::truncated(&self.name, end, at).detail("counted in rows")
                    );
                }
            };
            self.next = 0;
        }
        let left = usize::try_from(self.end - self.position).unwrap_or(0);
        let rows = rows_max.min(left).min(self.batch.num_rows() - self.next);
        let batch = if self.batch.num_rows() == 0 {
            RecordBatch::new_empty(Arc::clone(&self.row.schema))
        } else {
            self.batch.slice(self.next, rows)
        };
        let offsets = RowOffsets::Consecutive(Offset(self.position));
        self.next += rows;
        self.position += rows as i64;
        Ok(Polled {
            delta: Delta::inserts(batch),
            offsets,
            bad: Vec::new(),
            position: Offset(self.position),
            state: if self.position >= self.end {
                State::End
            } else {
                State::More
            },
        })
    }

    fn end(&mut self) -> Option<Offset> {
        Some(Offset(self.end))
    }
}

impl ParquetReader {
    /// The rows of the file as the source's columns.
    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let decoded = self
            .wanted
            .iter()
            .map(|column| {
                let data_type = column.field.data_type();
                let found = descend(batch, field_path(column))
                    .unwrap_or_else(|| new_null_array(data_type, rows));
                let from = found.data_type().clone();
                columns::to_type(found, data_type).map_err(|error| {
                    Error::user(format!(
                        "the file '{}' has column `{}` as {from}, which does not fit {data_type}",
                        self.name,
                        field_path(column).join(".")
                    ))
                    .detail(error.message)
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let columns = self.row.columns(&decoded, &self.constants, rows)?;
        columns::batch(&self.row.schema, columns, rows)
    }
}

/// The column, or the field inside a ROW, that a path names: NULL where a parent is.
fn descend(batch: &RecordBatch, path: &[String]) -> Option<ArrayRef> {
    let (head, rest) = path.split_first()?;
    let mut array = Arc::clone(batch.column_by_name(head)?);
    for name in rest {
        let row = array.as_struct_opt()?;
        let child = row.column_by_name(name)?;
        let nulls = NullBuffer::union(child.nulls(), row.nulls());
        array = match row.nulls() {
            None => Arc::clone(child),
            Some(_) => make_array(child.to_data().into_builder().nulls(nulls).build().ok()?),
        };
    }
    Some(array)
}

/// A file's bytes by range, local or remote.
enum Chunks {
    Local(File),
    Remote {
        remote: Remote,
        name: String,
        size: u64,
    },
}

impl Chunks {
    fn open(location: &Location, file: &Entry) -> Result<Self> {
        match location {
            Location::Local(_) => File::open(&file.name)
                .map(Self::Local)
                .map_err(|error| super::input::read_error(&file.name, &error)),
            Location::Remote(remote) => Ok(Self::Remote {
                remote: remote.clone(),
                name: file.name.clone(),
                size: file.size,
            }),
        }
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::Local(file) => Length::len(file),
            Self::Remote { size, .. } => *size,
        }
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        match self {
            Self::Local(file) => Ok(Box::new(file.get_read(start)?)),
            Self::Remote { size, .. } => {
                // Asked for page headers only: what follows comes by `get_bytes`.
                let length = size.saturating_sub(start).min(64 << 10);
                Ok(Box::new(self.get_bytes(start, length as usize)?.reader()))
            }
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self {
            Self::Local(file) => file.get_bytes(start, length),
            Self::Remote { remote, name, .. } => fetch(remote, name, start, length as u64)
                .map_err(|error| ParquetError::External(Box::new(error))),
        }
    }
}
