//! Fired windows being collected into one delta.

use super::aggregate::{Shape, WindowColumn};
use super::local::LocalTime;
use crate::aggregate::Accumulators;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute;
use millstream_dataflow::{Delta, Result};
use std::sync::Arc;

/// The rows of windows that fire in a step, in the order in which they fire.
#[derive(Default)]
pub(super) struct Fired {
    pieces: Vec<Vec<ArrayRef>>,
}

impl Fired {
    /// Adds a row for each of `ids`: their keys, and the results of their accumulators. Begins and ends are those of
    /// the rows' windows.
    pub(super) fn add(
        &mut self,
        shape: &Shape,
        keys: &[ArrayRef],
        accumulators: &Accumulators,
        ids: &[u32],
        (begins, ends): (Vec<i64>, Vec<i64>),
    ) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut cells = accumulators.cells();
        accumulators.finish(ids, &mut cells)?;
        let results = accumulators.decode(&cells, None)?;
        let time: &LocalTime = &shape.time;
        let columns = shape.columns.iter().map(|column| match column {
            WindowColumn::Key(at) => Arc::clone(&keys[*at]),
            WindowColumn::Call(at) => Arc::clone(&results[*at]),
            WindowColumn::Start(_) => time.bounds(begins.clone()),
            WindowColumn::End(_) => time.bounds(ends.clone()),
            WindowColumn::Time(_) => time.window_times(&ends),
        });
        self.pieces.push(columns.collect());
        Ok(())
    }

    /// All rows as one delta.
    pub(super) fn finish(mut self, shape: &Shape) -> Result<Option<Delta>> {
        let columns = match self.pieces.len() {
            0 => return Ok(None),
            1 => self.pieces.swap_remove(0),
            _ => (0..shape.columns.len())
                .map(|at| {
                    let parts: Vec<&dyn Array> =
                        self.pieces.iter().map(|piece| piece[at].as_ref()).collect();
                    Ok(compute::concat(&parts)?)
                })
                .collect::<Result<_>>()?,
        };
        let batch = RecordBatch::try_new(Arc::clone(&shape.schema), columns)?;
        Ok(Some(Delta::inserts(batch)))
    }
}
