//! The table behind a materialized view: the integral of a delta stream, for readers that must not stop the writer.
//!
//! ```text
//!  ids   0 ........ 32767 | 32768 ..... 40000 | 40001 .. | ...     given in order of arrival, never again
//!  chunk [ columns, dead? ] [ columns, dead? ]  [ .. ]             columns never change, the dead mask is copied on write
//!  index hash of key -> id (or several)                            made when the first retraction or lookup needs it
//! ```
//!
//! A row is known by its id for ever: when a chunk drops its dead rows or is joined with its neighbour, the chunk keeps
//! the ids of the rows that are left, and the index needs no change. A row of weight n is n rows.
//!
//! Invariants: chunks are in the order of their ids; the index, if there is one, holds the live rows and no others.

mod checkpoint;
mod chunk;
mod compact;
mod index;
mod snapshot;
#[cfg(test)]
mod tests;

pub use snapshot::ViewSnapshot;

use arrow::array::{
    ArrayRef, BooleanArray, DynComparator, RecordBatch, UInt32Array, make_comparator,
};
use arrow::compute::{self, SortOptions};
use arrow::datatypes::SchemaRef;
use checkpoint::Tracked;
use chunk::Chunk;
use index::Index;
use millstream_dataflow::{Delta, Error, Result, hash};
use std::cmp::Ordering;
use std::sync::Arc;

/// The rows that a chunk holds at most.
const CHUNK_ROWS_MAX: usize = 32_768;
/// Chunks below this are joined when enough of them stand at the end.
const CHUNK_ROWS_MIN: usize = 8_192;
/// Chunks below this are joined with others like them first, so that a row is not copied again and again.
const PIECE_ROWS: usize = 64;
/// How many pieces a reader is given.
const SNAPSHOT_PIECES_MAX: usize = 8;
/// How many small chunks may stand at the end, before the pieces.
const SMALL_CHUNKS_MAX: usize = 32;
/// How many pieces may stand at the end.
const PIECES_MAX: usize = 64;

/// The integral of a delta stream.
#[derive(Debug)]
pub struct ViewTable {
    schema: SchemaRef,
    checkpoint_schema: SchemaRef,
    key: Vec<usize>,
    keyed: bool,
    chunks: Vec<Chunk>,
    next_id: u64,
    rows: usize,
    index: Option<Index>,
    tracked: Option<Tracked>,
}

/// Where a row is: its chunk and its place in it.
type Place = (usize, usize);

impl ViewTable {
    /// An empty table. `key`: the columns that identify a row; without any, equal rows can be there more than once.
    pub fn new(schema: SchemaRef, key: Vec<usize>) -> Self {
        let keyed = !key.is_empty();
        let key = if keyed {
            key
        } else {
            (0..schema.fields().len()).collect()
        };
        Self {
            checkpoint_schema: checkpoint::schema(&schema),
            schema,
            key,
            keyed,
            chunks: Vec::new(),
            next_id: 0,
            rows: 0,
            index: None,
            tracked: None,
        }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The bytes held, without the index.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::bytes).sum()
    }

    /// Applies the changes of one step, whose order does not matter.
    ///
    /// # Errors
    /// `Internal` when a row is retracted that is not there, or a column does not have the view's type. What the table
    /// holds is then unspecified.
    pub fn apply(&mut self, deltas: &[Delta]) -> Result<()> {
        for delta in deltas {
            self.insert(delta)?;
        }
        let mut touched = Vec::new();
        for delta in deltas {
            self.retract(delta, &mut touched)?;
        }
        self.tidy(touched)
    }

    /// An immutable copy of the rows as they are now; cheap, and it never changes.
    pub fn snapshot(&mut self) -> Result<ViewSnapshot> {
        let pieces = self.tail(PIECE_ROWS);
        if self.chunks.len() - pieces >= SNAPSHOT_PIECES_MAX {
            self.join_tail(pieces)?;
        }
        let chunks = self.chunks.iter().map(Chunk::share).collect();
        Ok(ViewSnapshot::new(
            Arc::clone(&self.schema),
            chunks,
            self.rows,
        ))
    }

    /// The rows with these keys, in the order of the keys: one column for each key column, in their order. NULL finds NULL.
    ///
    /// # Errors
    /// `User` when the view has no key or the columns do not fit it.
    pub fn lookup(&mut self, keys: &RecordBatch) -> Result<RecordBatch> {
        let keys = self.key_values(keys)?;
        self.ensure_index()?;
        let Some(index) = &self.index else {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        };
        let rows = keys.first().map_or(0, |column| column.len());
        let mut hashes = Vec::new();
        hash::rows(&keys, rows, &mut hashes)?;
        let mut comparators = Comparators::new(&keys, &self.key);
        let mut found = Vec::new();
        for (row, hash) in hashes.iter().enumerate() {
            for id in index.get(*hash) {
                let place = self.place(*id)?;
                if comparators.equal(&self.chunks, row, place)? {
                    found.push(place);
                }
            }
        }
        self.gather(&found)
    }

    fn key_values(&self, keys: &RecordBatch) -> Result<Vec<ArrayRef>> {
        if !self.keyed {
            return Err(Error::user("the view has no key to look up by"));
        }
        if keys.num_columns() != self.key.len() {
            return Err(Error::user(format!(
                "a lookup gives {} values, the view's key has {} columns",
                keys.num_columns(),
                self.key.len()
            )));
        }
        let cast = |(column, key): (&ArrayRef, &usize)| {
            let wanted = self.schema.field(*key).data_type();
            if column.data_type() == wanted {
                return Ok(Arc::clone(column));
            }
            compute::cast(column, wanted)
                .map_err(|error| Error::user(format!("the value does not fit the key: {error}")))
        };
        keys.columns().iter().zip(&self.key).map(cast).collect()
    }

    fn gather(&self, places: &[Place]) -> Result<RecordBatch> {
        if places.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let mut used: Vec<usize> = places.iter().map(|place| place.0).collect();
        used.sort_unstable();
        used.dedup();
        let batches: Vec<&RecordBatch> = used.iter().map(|at| self.chunks[*at].batch()).collect();
        let position = |chunk: usize| used.partition_point(|at| *at < chunk);
        let wanted: Vec<Place> = places
            .iter()
            .map(|(chunk, row)| (position(*chunk), *row))
            .collect();
        compact::batch(&compute::interleave_record_batch(&batches, &wanted)?)
    }

    fn insert(&mut self, delta: &Delta) -> Result<()> {
        let Some(batch) = weighted(delta, 1)? else {
            return Ok(());
        };
        let batch = conform(&batch, &self.schema)?;
        if let Some(index) = &mut self.index {
            let mut hashes = Vec::new();
            hash::rows(&select(&batch, &self.key), batch.num_rows(), &mut hashes)?;
            index.insert_all(&hashes, self.next_id);
        }
        let mut at = 0;
        while at < batch.num_rows() {
            let length = CHUNK_ROWS_MAX.min(batch.num_rows() - at);
            let piece = compact::batch(&batch.slice(at, length))?;
            self.chunks.push(Chunk::dense(self.next_id, piece));
            self.next_id += length as u64;
            at += length;
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    fn retract(&mut self, delta: &Delta, touched: &mut Vec<usize>) -> Result<()> {
        let Some(batch) = weighted(delta, -1)? else {
            return Ok(());
        };
        let batch = conform(&batch, &self.schema)?;
        self.ensure_index()?;
        let Some(mut index) = self.index.take() else {
            return Ok(());
        };
        let outcome = self.retract_rows(&batch, &mut index, touched);
        self.index = Some(index);
        outcome
    }

    fn retract_rows(
        &mut self,
        batch: &RecordBatch,
        index: &mut Index,
        touched: &mut Vec<usize>,
    ) -> Result<()> {
        let mut hashes = Vec::new();
        hash::rows(&select(batch, &self.key), batch.num_rows(), &mut hashes)?;
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let mut comparators = Comparators::new(batch.columns(), &all);
        for (row, hash) in hashes.iter().enumerate() {
            let mut found = None;
            // The youngest first: it is the likeliest among equal rows and in the fullest cache.
            for (at, id) in index.get(*hash).iter().enumerate().rev() {
                let place = self.place(*id)?;
                if comparators.equal(&self.chunks, row, place)? {
                    found = Some((at, *id, place));
                    break;
                }
            }
            let Some((at, id, (chunk, position))) = found else {
                return Err(absent(batch, row));
            };
            index.remove(*hash, at);
            self.chunks[chunk].kill(position);
            self.rows -= 1;
            touched.push(chunk);
            if let Some(tracked) = &mut self.tracked {
                tracked.removed(id);
            }
        }
        Ok(())
    }

    fn ensure_index(&mut self) -> Result<()> {
        if self.index.is_some() {
            return Ok(());
        }
        let mut index = Index::with_capacity(self.rows);
        let mut hashes = Vec::new();
        for chunk in &self.chunks {
            let batch = chunk.batch();
            hash::rows(&select(batch, &self.key), batch.num_rows(), &mut hashes)?;
            for row in chunk.live_rows() {
                index.insert(hashes[row], chunk.id(row));
            }
        }
        self.index = Some(index);
        Ok(())
    }

    fn place(&self, id: u64) -> Result<Place> {
        self.find(id).ok_or_else(|| {
            Error::internal(format!("the view's index names row {id}, which is gone"))
        })
    }

    /// The place of a row, which may be dead, while its chunk has it.
    fn find(&self, id: u64) -> Option<Place> {
        let after = self.chunks.partition_point(|chunk| chunk.first_id() <= id);
        let chunk = after.checked_sub(1)?;
        Some((chunk, self.chunks[chunk].position(id)?))
    }

    /// Chunks that are mostly dead are written anew, empty ones go, small ones at the end are joined.
    fn tidy(&mut self, mut touched: Vec<usize>) -> Result<()> {
        touched.sort_unstable();
        touched.dedup();
        for at in touched.into_iter().rev() {
            if self.chunks[at].live() == 0 {
                self.chunks.remove(at);
            } else if self.chunks[at].is_mostly_dead() {
                self.chunks[at] = chunk::join(&self.schema, &self.chunks[at..=at])?;
                self.join_neighbours(at)?;
            }
        }
        self.join_pieces()
    }

    fn join_neighbours(&mut self, at: usize) -> Result<()> {
        let before = at.saturating_sub(1);
        let joined: usize = self.chunks[before..=at].iter().map(Chunk::live).sum();
        if before < at && joined <= CHUNK_ROWS_MIN {
            let chunk = chunk::join(&self.schema, &self.chunks[before..=at])?;
            self.chunks.splice(before..=at, [chunk]);
        }
        Ok(())
    }

    /// Joins the pieces at the end once there are many, and then the small chunks before them once they fill one.
    fn join_pieces(&mut self) -> Result<()> {
        let start = self.tail(PIECE_ROWS);
        if self.chunks.len() - start >= PIECES_MAX {
            self.join_tail(start)?;
        }
        let start = self.tail(CHUNK_ROWS_MIN);
        let rows: usize = self.chunks[start..].iter().map(Chunk::live).sum();
        let count = self.chunks.len() - start;
        if count >= 2 && (rows >= 2 * CHUNK_ROWS_MIN || count >= SMALL_CHUNKS_MAX) {
            self.join_tail(start)?;
        }
        Ok(())
    }

    /// Where the run of chunks below `rows` begins at the end.
    fn tail(&self, rows: usize) -> usize {
        let small = |chunk: &&Chunk| chunk.live() < rows;
        self.chunks.len() - self.chunks.iter().rev().take_while(small).count()
    }

    fn join_tail(&mut self, start: usize) -> Result<()> {
        let chunk = chunk::join(&self.schema, &self.chunks[start..])?;
        self.chunks.truncate(start);
        if chunk.live() > 0 {
            self.chunks.push(chunk);
        }
        Ok(())
    }
}

/// Row-by-row equality of some columns with the chunks, made once for each chunk.
struct Comparators<'a> {
    columns: &'a [ArrayRef],
    stored: &'a [usize],
    made: Vec<Option<Vec<DynComparator>>>,
}

impl<'a> Comparators<'a> {
    fn new(columns: &'a [ArrayRef], stored: &'a [usize]) -> Self {
        Self {
            columns,
            stored,
            made: Vec::new(),
        }
    }

    fn equal(&mut self, chunks: &[Chunk], row: usize, place: Place) -> Result<bool> {
        let (chunk, position) = place;
        if self.made.len() < chunks.len() {
            self.made.resize_with(chunks.len(), || None);
        }
        let made = match self.made[chunk].take() {
            Some(made) => made,
            None => self.make(chunks[chunk].batch())?,
        };
        let equal = |compare: &DynComparator| compare(row, position) == Ordering::Equal;
        let all = made.iter().all(equal);
        self.made[chunk] = Some(made);
        Ok(all)
    }

    fn make(&self, batch: &RecordBatch) -> Result<Vec<DynComparator>> {
        let pairs = self.columns.iter().zip(self.stored);
        pairs
            .map(|(column, stored)| {
                let options = SortOptions::default();
                Ok(make_comparator(column, batch.column(*stored), options)?)
            })
            .collect()
    }
}

/// The rows whose weight has this sign, each as often as its weight says.
fn weighted(delta: &Delta, sign: i64) -> Result<Option<RecordBatch>> {
    let millstream_dataflow::Weights::Each(weights) = delta.weights() else {
        return Ok((sign > 0 && !delta.is_empty()).then(|| delta.batch().clone()));
    };
    let times = |weight: i64| (weight * sign).max(0);
    let rows: i64 = weights.values().iter().map(|weight| times(*weight)).sum();
    if rows == 0 {
        return Ok(None);
    }
    if weights.values().iter().all(|weight| times(*weight) == 1) {
        return Ok(Some(delta.batch().clone()));
    }
    if weights.values().iter().all(|weight| times(*weight) <= 1) {
        let keep = BooleanArray::from_iter(weights.values().iter().map(|w| Some(times(*w) == 1)));
        return Ok(Some(compute::filter_record_batch(delta.batch(), &keep)?));
    }
    let repeated = weights.values().iter().enumerate();
    let rows: UInt32Array = repeated
        .flat_map(|(row, weight)| std::iter::repeat_n(row as u32, times(*weight) as usize))
        .collect::<Vec<_>>()
        .into();
    Ok(Some(compute::take_record_batch(delta.batch(), &rows)?))
}

/// The batch with the view's names and types.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if Arc::ptr_eq(schema, batch.schema_ref()) {
        return Ok(batch.clone());
    }
    if batch.num_columns() != schema.fields().len() {
        return Err(Error::internal(format!(
            "a view of {} columns got a row of {}",
            schema.fields().len(),
            batch.num_columns()
        )));
    }
    let cast = |(column, field): (&ArrayRef, &arrow::datatypes::FieldRef)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            compute::cast(column, field.data_type())
        }
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(cast);
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

fn select(batch: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns
        .iter()
        .map(|column| Arc::clone(batch.column(*column)))
        .collect()
}

fn absent(batch: &RecordBatch, row: usize) -> Error {
    let text = compute::concat_batches(&batch.schema(), [&batch.slice(row, 1)])
        .and_then(|one| arrow::util::pretty::pretty_format_batches(&[one]).map(|t| t.to_string()))
        .unwrap_or_default();
    Error::internal("a row is retracted that the view does not hold").detail(text)
}
