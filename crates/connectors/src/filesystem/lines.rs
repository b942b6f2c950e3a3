//! Files of records, read a block at a time. The offset in a file is the (decompressed) byte that the next record
//! begins at.

use super::blocks::Blocks;
use super::input::{self, Compression};
use super::location::{Entry, Location};
use super::place::{self, Slot};
use crate::{clock, columns};
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::format::{Decoded, Decoder, Records};
use millstream_dataflow::source::{
    BadRecord, Offset, Partition, Polled, Reader, RowOffsets, Source, State,
};
use millstream_dataflow::{Changes, Result};
use millstream_formats::{DecodingFormat, Input};
use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Records are decoded at most so many at a time: enough to amortize a batch, few enough to stay in the cache.
const CHUNK: usize = 8192;

/// Files of records as a source.
#[derive(Debug)]
pub(super) struct LineFiles {
    pub(super) location: Location,
    pub(super) compression: Option<Compression>,
    pub(super) listing: Listing,
    pub(super) format: Arc<dyn DecodingFormat>,
    pub(super) row: Arc<Row>,
}

/// How a row is put together.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) slots: Vec<Slot>,
    pub(super) schema: SchemaRef,
    pub(super) null_directory: String,
}

impl Row {
    /// The values that all rows of a file share, by slot.
    pub(super) fn constants(&self, file: &Entry) -> Result<Vec<Option<ArrayRef>>> {
        let value = |slot| place::value(slot, file, &self.null_directory);
        self.slots.iter().map(value).collect()
    }

    /// The columns of a row in their order: decoded ones, and constants repeated.
    pub(super) fn columns(
        &self,
        decoded: &[ArrayRef],
        constants: &[Option<ArrayRef>],
        rows: usize,
    ) -> Result<Vec<ArrayRef>> {
        let column = |(slot, constant): (&Slot, &Option<ArrayRef>)| match (slot, constant) {
            (Slot::Decoded(idx), _) => Ok(Arc::clone(&decoded[*idx])),
            (_, Some(value)) => columns::repeat(value, rows),
            (Slot::File(name, _) | Slot::Directory(name, _), None) => Err(
                millstream_dataflow::Error::internal(format!("a file gave no value of '{name}'")),
            ),
        };
        self.slots.iter().zip(constants).map(column).collect()
    }
}

/// The files of a table, listed anew at most every so often.
#[derive(Debug)]
pub(super) struct Listing {
    monitor: Option<Duration>,
    last: Mutex<Option<(Instant, Vec<Partition>)>>,
}

impl Listing {
    pub(super) fn new(monitor: Option<Duration>) -> Self {
        Self {
            monitor,
            last: Mutex::new(None),
        }
    }

    /// Whether no file is added later.
    pub(super) fn bounded(&self) -> bool {
        self.monitor.is_none()
    }

    /// The partitions now, or as they were less than the monitor interval ago.
    pub(super) fn partitions(
        &self,
        list: impl FnOnce() -> Result<Vec<Partition>>,
    ) -> Result<Vec<Partition>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(monitor), Some((at, partitions))) = (self.monitor, &*last)
            && at.elapsed() < monitor
        {
            return Ok(partitions.clone());
        }
        let partitions = list()?;
        *last = Some((clock::now(), partitions.clone()));
        Ok(partitions)
    }
}

impl fmt::Display for LineFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filesystem {} ({})", self.location, self.format)
    }
}

impl LineFiles {
    fn compression(&self, name: &str) -> Compression {
        self.compression.unwrap_or_else(|| Compression::of(name))
    }

    fn partition(&self, file: &Entry) -> Partition {
        let plain = self.compression(&file.name) == Compression::Plain;
        Partition {
            name: file.name.clone(),
            start: Offset(0),
            end: plain.then_some(Offset(file.size.cast_signed())),
        }
    }
}

impl LineFiles {
    /// The records of a file from a position on.
    fn blocks(&self, file: &Entry, end: Option<u64>, from: u64) -> Result<Blocks> {
        let mut bytes = input::open(&self.location, file, self.compression(&file.name), from)?;
        if let Some(end) = end {
            bytes = Box::new(bytes.take(end - from.min(end)));
        }
        Ok(Blocks::new(bytes, self.format.framing(), from))
    }

    /// The same where the first record of a file is its header, which is read wherever reading goes on.
    fn open_with_header(
        &self,
        file: &Entry,
        end: Option<u64>,
        from: u64,
    ) -> Result<(Blocks, Box<dyn Decoder>)> {
        let failed = |error: io::Error| input::read_error(&file.name, &error);
        let mut blocks = self.blocks(file, end, 0)?;
        let (records, _) = blocks.records(1).map_err(failed)?;
        let header = (!records.is_empty()).then(|| records.get(0));
        let decoder = self
            .format
            .open(&Input::File { header })
            .map_err(|error| error.context(format_args!("file '{}'", file.name)))?;
        if from > blocks.position() {
            blocks = self.blocks(file, end, from)?;
        }
        Ok((blocks, decoder))
    }
}

impl Source for LineFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.row.schema)
    }

    fn changes(&self) -> Changes {
        self.format.changes()
    }

    fn bounded(&self) -> bool {
        self.listing.bounded()
    }

    fn partitions(&self) -> Result<Vec<Partition>> {
        self.listing.partitions(|| {
            let files = self.location.files()?;
            Ok(files.iter().map(|file| self.partition(file)).collect())
        })
    }

    fn open(&self, partition: &Partition, from: Offset) -> Result<Box<dyn Reader>> {
        let file = self.location.file(&partition.name)?;
        let from = from.0.max(0).cast_unsigned();
        let compression = self.compression(&file.name);
        let end = partition.end.map(|end| end.0.cast_unsigned());
        let needed = from.max(end.unwrap_or(0));
        if compression == Compression::Plain && file.size < needed {
            return Err(input::truncated(&file.name, needed, file.size));
        }
        let (blocks, decoder) = if self.format.framing().header {
            self.open_with_header(&file, end, from)?
        } else {
            let input = Input::File { header: None };
            (self.blocks(&file, end, from)?, self.format.open(&input)?)
        };
        Ok(Box::new(LineReader {
            constants: self.row.constants(&file)?,
            blocks,
            decoder,
            row: Arc::clone(&self.row),
            name: file.name,
            end,
        }))
    }
}

/// Reads one file.
struct LineReader {
    name: String,
    blocks: Blocks,
    decoder: Box<dyn Decoder>,
    row: Arc<Row>,
    constants: Vec<Option<ArrayRef>>,
    end: Option<u64>,
}

impl Reader for LineReader {
    fn poll(&mut self, rows_max: usize, _: Duration) -> Result<Polled> {
        let (records, base) = self
            .blocks
            .records(rows_max.clamp(1, CHUNK))
            .map_err(|error| input::read_error(&self.name, &error))?;
        let position = self.blocks.position();
        let ended = self.blocks.ended();
        if let (true, Some(end)) = (ended, self.end)
            && position < end
        {
            return Err(input::truncated(&self.name, end, position));
        }
        let decoded = self
            .decoder
            .decode(&records)
            .map_err(|error| error.context(format_args!("file '{}'", self.name)))?;
        let bad = bad_records(&records, base, &decoded);
        let offsets = row_offsets(&records, base, &decoded);
        let batch = decoded.delta.batch();
        let columns = self
            .row
            .columns(batch.columns(), &self.constants, batch.num_rows())?;
        let batch = columns::batch(&self.row.schema, columns, batch.num_rows())?;
        Ok(Polled {
            delta: decoded.delta.with_batch(batch)?,
            offsets,
            bad,
            position: Offset(position.cast_signed()),
            state: if ended { State::End } else { State::More },
        })
    }

    fn end(&mut self) -> Option<Offset> {
        self.end.map(|end| Offset(end.cast_signed()))
    }
}

/// Where the records of the rows begin.
fn row_offsets(records: &Records, base: u64, decoded: &Decoded) -> RowOffsets {
    let base = base.cast_signed();
    let begins = |record: usize| base + begin(records, record) as i64;
    RowOffsets::Each(match &decoded.origin {
        Some(origin) => origin
            .iter()
            .map(|record| begins(*record as usize))
            .collect(),
        None => (0..decoded.delta.rows()).map(begins).collect(),
    })
}

/// Where a record begins among its bytes.
fn begin(records: &Records, record: usize) -> usize {
    match record {
        0 => records.start,
        _ => records.ends[record - 1],
    }
}

/// The records that are no rows, with their bytes and where they stand.
fn bad_records(records: &Records, base: u64, decoded: &Decoded) -> Vec<BadRecord> {
    let bad = |(record, reason): &(u32, String)| {
        let record = *record as usize;
        let bytes = records.get(record);
        BadRecord {
            bytes: bytes.strip_suffix(b"\n").unwrap_or(bytes).to_vec(),
            offset: Offset((base + begin(records, record) as u64).cast_signed()),
            reason: reason.clone(),
        }
    };
    decoded.bad.iter().map(bad).collect()
}
