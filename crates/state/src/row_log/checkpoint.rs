//! Saving a log: a relation of row id, weight and columns.

use super::RowLog;
use super::paged::{PAGE_ROWS, Run, page_of};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Result};
use std::sync::Arc;

/// The columns of the relation.
pub(super) fn schema(columns: &Schema) -> SchemaRef {
    let mut fields = vec![
        Arc::new(Field::new("row", DataType::UInt32, false)),
        Arc::new(Field::new("weight", DataType::Int64, true)),
    ];
    let columns = columns.fields().iter();
    fields.extend(columns.map(|field| Arc::new(field.as_ref().clone().with_nullable(true))));
    Arc::new(Schema::new(fields))
}

impl RowLog {
    fn saved(&self, ids: &[u32]) -> Result<Delta> {
        let weights: Vec<i64> = if self.all_one() {
            vec![1; ids.len()]
        } else {
            ids.iter().map(|id| self.weight(*id)).collect()
        };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(ids.to_vec())),
            Arc::new(Int64Array::from(weights)),
        ];
        for column in &self.columns {
            columns.push(column.gather(ids, false)?);
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(Delta::inserts(batch))
    }

    fn removed(&self, ids: Vec<u32>) -> Result<Delta> {
        let absent = self.schema.fields()[1..].iter();
        let absent: Vec<ArrayRef> = absent
            .map(|field| new_null_array(field.data_type(), ids.len()))
            .collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(ids))];
        columns.extend(absent);
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(Delta::retractions(batch))
    }

    /// Applies a change whose ids ascend, so that none is there twice.
    fn restore_ascending(&mut self, change: &Delta, ids: &[u32]) -> Result<()> {
        for id in ids {
            if self.live.contains(*id) {
                self.remove(*id);
            }
        }
        let mut runs: Vec<Run> = Vec::new();
        for (from, id) in ids.iter().enumerate() {
            if change.weight(from) < 0 {
                continue;
            }
            match runs.last_mut() {
                Some(run)
                    if run.from + run.rows == from
                        && run.id + run.rows as u32 == *id
                        && page_of(run.id) == page_of(*id) =>
                {
                    run.rows += 1;
                }
                _ => runs.push(Run {
                    id: *id,
                    from,
                    rows: 1,
                }),
            }
        }
        runs.iter().for_each(|run| self.live.occupy(*run));
        let columns = &change.batch().columns()[2..];
        for (column, array) in self.columns.iter_mut().zip(columns) {
            column.write(array, &runs)?;
        }
        let weights = change.column(1).as_primitive::<Int64Type>().values();
        for run in runs {
            for (row, id) in (run.from..run.from + run.rows).zip(run.id..) {
                if weights[row] != 1 {
                    self.set_weight(id, weights[row]);
                }
            }
        }
        Ok(())
    }
}

impl Checkpointed for RowLog {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn key_columns(&self) -> usize {
        1
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        let Some(mut dirty) = self.dirty.replace(Vec::new()) else {
            for page in (0..self.live.pages()).filter(|page| self.live.page_rows(*page) > 0) {
                let ids: Vec<u32> = self.live.ids(page).collect();
                out.push(self.saved(&ids)?);
            }
            return Ok(());
        };
        dirty.sort_unstable();
        dirty.dedup();
        let (live, dead): (Vec<u32>, Vec<u32>) =
            dirty.into_iter().partition(|id| self.live.contains(*id));
        if !dead.is_empty() {
            out.push(self.removed(dead)?);
        }
        for ids in live.chunks(PAGE_ROWS) {
            out.push(self.saved(ids)?);
        }
        Ok(())
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        let ids = change.column(0).as_primitive::<UInt32Type>();
        let mut start = 0;
        for ids in ids.values().chunk_by(|id, next| id < next) {
            self.restore_ascending(&change.slice(start, ids.len()), ids)?;
            start += ids.len();
        }
        Ok(())
    }

    fn track(&mut self) -> Result<()> {
        self.dirty = Some(Vec::new());
        Ok(())
    }
}
