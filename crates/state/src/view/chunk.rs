//! A run of rows of a view: columns that never change, and a mask of the dead that is copied when a reader holds it.

use super::compact;
use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::Result;
use std::sync::Arc;

/// One bit for each row, set when the row is dead.
pub(super) type Mask = Vec<u64>;

/// Rows with ascending ids.
#[derive(Debug)]
pub(super) struct Chunk {
    ids: Ids,
    batch: Arc<RecordBatch>,
    bytes: usize,
    dead: Option<Arc<Mask>>,
    dead_rows: usize,
}

/// The ids of a chunk's rows.
#[derive(Debug)]
enum Ids {
    /// From this one on, without gaps.
    Dense(u64),
    /// Each row's.
    Each(Vec<u64>),
}

/// What a snapshot holds of a chunk.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    batch: Arc<RecordBatch>,
    dead: Option<Arc<Mask>>,
}

impl Chunk {
    /// Rows that all live, with ids from `first` on.
    pub(super) fn dense(first: u64, batch: RecordBatch) -> Self {
        Self::of(Ids::Dense(first), batch)
    }

    /// Rows that all live, with these ids; they share their memory with others, and count `bytes` of it as their own.
    pub(super) fn shared(ids: Vec<u64>, batch: RecordBatch, bytes: usize) -> Self {
        Self {
            bytes,
            ..Self::with_ids(ids, batch)
        }
    }

    /// Rows that all live, with these ids.
    pub(super) fn with_ids(ids: Vec<u64>, batch: RecordBatch) -> Self {
        let first = ids.first().copied().unwrap_or_default();
        let dense = ids
            .last()
            .is_none_or(|last| last - first + 1 == ids.len() as u64);
        Self::of(
            if dense {
                Ids::Dense(first)
            } else {
                Ids::Each(ids)
            },
            batch,
        )
    }

    fn of(ids: Ids, batch: RecordBatch) -> Self {
        Self {
            ids,
            bytes: batch.get_array_memory_size(),
            batch: Arc::new(batch),
            dead: None,
            dead_rows: 0,
        }
    }

    pub(super) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    pub(super) fn live(&self) -> usize {
        self.batch.num_rows() - self.dead_rows
    }

    pub(super) fn is_mostly_dead(&self) -> bool {
        self.dead_rows * 2 > self.batch.num_rows()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn first_id(&self) -> u64 {
        match &self.ids {
            Ids::Dense(first) => *first,
            Ids::Each(ids) => ids.first().copied().unwrap_or_default(),
        }
    }

    pub(super) fn last_id(&self) -> u64 {
        self.id(self.batch.num_rows() - 1)
    }

    pub(super) fn id(&self, row: usize) -> u64 {
        match &self.ids {
            Ids::Dense(first) => first + row as u64,
            Ids::Each(ids) => ids[row],
        }
    }

    /// Where the row with this id is.
    pub(super) fn position(&self, id: u64) -> Option<usize> {
        match &self.ids {
            Ids::Dense(first) => {
                let row = id.checked_sub(*first)? as usize;
                (row < self.batch.num_rows()).then_some(row)
            }
            Ids::Each(ids) => ids.binary_search(&id).ok(),
        }
    }

    pub(super) fn is_dead(&self, row: usize) -> bool {
        self.dead
            .as_ref()
            .is_some_and(|mask| mask[row / 64] & (1 << (row % 64)) != 0)
    }

    /// The rows that live, in order.
    pub(super) fn live_rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.batch.num_rows()).filter(|row| !self.is_dead(*row))
    }

    /// Marks a live row dead.
    pub(super) fn kill(&mut self, row: usize) {
        let words = self.batch.num_rows().div_ceil(64);
        let mask = self.dead.get_or_insert_with(|| Arc::new(vec![0; words]));
        Arc::make_mut(mask)[row / 64] |= 1 << (row % 64);
        self.dead_rows += 1;
    }

    /// The live rows from this id on, with their ids; without a copy if that is all of them.
    pub(super) fn since(&self, id: u64) -> Result<Option<(Vec<u64>, RecordBatch)>> {
        let rows: Vec<u32> = self
            .live_rows()
            .filter(|row| self.id(*row) >= id)
            .map(|row| row as u32)
            .collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let ids = rows.iter().map(|row| self.id(*row as usize)).collect();
        if rows.len() == self.batch.num_rows() {
            return Ok(Some((ids, self.batch.as_ref().clone())));
        }
        let rows = compute::take_record_batch(&self.batch, &UInt32Array::from(rows))?;
        Ok(Some((ids, compact::batch(&rows)?)))
    }

    pub(super) fn share(&self) -> Shared {
        Shared {
            batch: Arc::clone(&self.batch),
            dead: self.dead.clone(),
        }
    }
}

impl Shared {
    /// The live rows.
    pub(super) fn live(&self) -> Result<RecordBatch> {
        let Some(mask) = &self.dead else {
            return Ok(self.batch.as_ref().clone());
        };
        let rows = self.batch.num_rows();
        let dead = BooleanBuffer::new(mask.as_ref().clone().into(), 0, rows);
        let live = BooleanArray::new(!&dead, None);
        Ok(compute::filter_record_batch(&self.batch, &live)?)
    }
}

/// One chunk of the live rows of some neighbours.
pub(super) fn join(schema: &SchemaRef, chunks: &[Chunk]) -> Result<Chunk> {
    let live = chunks.iter().map(|chunk| chunk.share().live());
    let live = live.collect::<Result<Vec<_>>>()?;
    let batch = compact::batch(&compute::concat_batches(schema, &live)?)?;
    let ids = chunks
        .iter()
        .flat_map(|chunk| chunk.live_rows().map(|row| chunk.id(row)))
        .collect();
    Ok(Chunk::with_ids(ids, batch))
}
