//! Saving a view: a relation of row id and columns, of which each checkpoint holds what came and went since the last.

use super::chunk::Chunk;
use super::{CHUNK_ROWS_MAX, ViewTable, compact};
use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Error, Result, Weights};
use std::sync::Arc;

/// What happened since the last save.
#[derive(Debug)]
pub(super) struct Tracked {
    /// Rows from this id on are not saved yet.
    saved_to: u64,
    /// Saved rows that have gone since.
    removed: Vec<u64>,
}

impl Tracked {
    pub(super) fn removed(&mut self, id: u64) {
        if id < self.saved_to {
            self.removed.push(id);
        }
    }
}

/// The columns of the saved relation: the row's id, then the view's columns.
pub(super) fn schema(view: &SchemaRef) -> SchemaRef {
    let id = Arc::new(Field::new("row", DataType::Int64, false));
    let columns = view.fields().iter();
    let columns = columns.map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(
        std::iter::once(id).chain(columns).collect::<Vec<_>>(),
    ))
}

impl Checkpointed for ViewTable {
    fn name(&self) -> &str {
        "rows"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.checkpoint_schema)
    }

    fn key_columns(&self) -> usize {
        1
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        let (saved_to, mut removed) = match self.tracked.take() {
            Some(Tracked { saved_to, removed }) => (saved_to, removed),
            None => (0, Vec::new()),
        };
        if !removed.is_empty() {
            removed.sort_unstable();
            let ids = Int64Array::from_iter_values(removed.iter().map(|id| *id as i64));
            out.push(Delta::retractions(self.saved(ids, None)?));
        }
        let first = self
            .chunks
            .partition_point(|chunk| chunk.last_id() < saved_to);
        for chunk in &self.chunks[first..] {
            if let Some((ids, rows)) = chunk.since(saved_to)? {
                let ids = Int64Array::from_iter_values(ids.into_iter().map(|id| id as i64));
                out.push(Delta::inserts(self.saved(ids, Some(&rows))?));
            }
        }
        self.track()
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        // Rebuilt when it is needed: most views are restored from several changes.
        self.index = None;
        let Weights::Each(weights) = change.weights() else {
            return self.restore_rows(change);
        };
        let ids = change.column(0).as_primitive::<Int64Type>().values();
        let mut start = 0;
        for run in weights.values().chunk_by(|one, other| one == other) {
            let rows = start..start + run.len();
            start = rows.end;
            if run[0] > 0 {
                self.restore_rows(&change.slice(rows.start, rows.len()))?;
            } else {
                self.restore_removals(&ids[rows])?;
            }
        }
        Ok(())
    }

    fn track(&mut self) -> Result<()> {
        self.tracked = Some(Tracked {
            saved_to: self.next_id,
            removed: Vec::new(),
        });
        Ok(())
    }
}

impl ViewTable {
    fn restore_removals(&mut self, ids: &[i64]) -> Result<()> {
        let mut touched = Vec::new();
        for id in ids {
            // A row that is not there was removed along with its insertion.
            let place = self.find(*id as u64);
            let live = place.filter(|(chunk, row)| !self.chunks[*chunk].is_dead(*row));
            if let Some((chunk, row)) = live {
                self.chunks[chunk].kill(row);
                self.rows -= 1;
                touched.push(chunk);
            }
        }
        self.tidy(touched)
    }

    fn restore_rows(&mut self, added: &Delta) -> Result<()> {
        let ids = added.column(0).as_primitive::<Int64Type>().values();
        let ascends = ids.is_sorted_by(|id, next| id < next);
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            return Ok(());
        };
        if (*first as u64) < self.next_id || !ascends {
            return Err(Error::internal(format!(
                "a saved view gives row {first} after row {}",
                self.next_id
            )));
        }
        let columns = added.batch().columns()[1..].to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        // Pieces of one size: a small rest would be copied when the next one comes.
        let pieces = ids.len().div_ceil(CHUNK_ROWS_MAX);
        let piece_rows = ids.len().div_ceil(pieces);
        let bytes = compact::used_bytes(&batch) / pieces;
        for (number, ids) in ids.chunks(piece_rows).enumerate() {
            let piece = batch.slice(number * piece_rows, ids.len());
            let ids = ids.iter().map(|id| *id as u64).collect();
            self.chunks.push(Chunk::shared(ids, piece, bytes));
        }
        self.next_id = *last as u64 + 1;
        self.rows += ids.len();
        self.join_pieces()
    }

    fn saved(&self, ids: Int64Array, rows: Option<&RecordBatch>) -> Result<RecordBatch> {
        let length = arrow::array::Array::len(&ids);
        let mut columns: Vec<ArrayRef> = vec![Arc::new(ids)];
        match rows {
            Some(rows) => columns.extend(rows.columns().iter().cloned()),
            None => columns.extend(
                self.schema
                    .fields()
                    .iter()
                    .map(|field| new_null_array(field.data_type(), length)),
            ),
        }
        Ok(RecordBatch::try_new(
            Arc::clone(&self.checkpoint_schema),
            columns,
        )?)
    }
}
