//! Saving a view: a relation of row id and columns, of which each checkpoint holds what came and went since the last.

use super::ViewTable;
use super::chunk::Chunk;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Error, Result};
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
        let tracked = self.tracked.take();
        let saved_to = tracked.as_ref().map_or(0, |tracked| tracked.saved_to);
        let mut removed = tracked.map_or_else(Vec::new, |tracked| tracked.removed);
        if !removed.is_empty() {
            removed.sort_unstable();
            let ids = Int64Array::from_iter_values(removed.iter().map(|id| *id as i64));
            out.push(Delta::retractions(self.saved(ids, None)?));
        }
        for chunk in &self.chunks {
            if chunk.id(chunk.batch().num_rows() - 1) < saved_to {
                continue;
            }
            let rows: Vec<usize> = chunk
                .live_rows()
                .filter(|row| chunk.id(*row) >= saved_to)
                .collect();
            let take = arrow::array::UInt32Array::from_iter_values(rows.iter().map(|r| *r as u32));
            let batch = compute::take_record_batch(chunk.batch(), &take)?;
            let ids = Int64Array::from_iter_values(rows.iter().map(|r| chunk.id(*r) as i64));
            if !rows.is_empty() {
                out.push(Delta::inserts(self.saved(ids, Some(&batch))?));
            }
        }
        self.tracked = Some(Tracked {
            saved_to: self.next_id,
            removed: Vec::new(),
        });
        Ok(())
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        // Rebuilt when it is needed: most views are restored from several changes.
        self.index = None;
        let ids = change.column(0).as_primitive::<Int64Type>();
        let gone = (0..change.rows()).filter(|row| change.weight(*row) < 0);
        for row in gone {
            let (chunk, position) = self.place(ids.value(row) as u64)?;
            self.chunks[chunk].kill(position);
            self.rows -= 1;
            if self.chunks[chunk].live() == 0 {
                self.chunks.remove(chunk);
            }
        }
        let keep = (0..change.rows()).map(|row| Some(change.weight(row) > 0));
        let added = change.filter(&keep.collect())?;
        self.restore_rows(&added)
    }
}

impl ViewTable {
    fn restore_rows(&mut self, added: &Delta) -> Result<()> {
        let ids = added.column(0).as_primitive::<Int64Type>();
        let ids: Vec<u64> = ids.values().iter().map(|id| *id as u64).collect();
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            return Ok(());
        };
        let ascending = ids.windows(2).all(|pair| pair[0] < pair[1]);
        if *first < self.next_id || !ascending {
            return Err(Error::internal(format!(
                "a saved view gives row {first} after row {}",
                self.next_id
            )));
        }
        self.next_id = last + 1;
        self.rows += ids.len();
        let columns = added.batch().columns()[1..].to_vec();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(ids.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        self.chunks.push(Chunk::with_ids(ids, batch));
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
