//! How often each key is there: all that a semi or anti join without a residual needs of its other side.

use crate::top_k::{LatestRows, Winner};
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Result};
use millstream_state::NONE;

/// A key that is there now and was not, or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// A row of the delta that has the key.
    pub(super) row: u32,
    pub(super) is_there: bool,
}

/// The sum of the weights of each key.
#[derive(Debug)]
pub(super) struct KeyCounts {
    keys: LatestRows,
    /// By group, what the delta adds.
    sums: Vec<i64>,
    /// By group, the row of the delta that stands for it; else [`NONE`].
    first: Vec<u32>,
    /// The weight of the keys without a NULL and of those with one, once asked for.
    totals: Option<(i64, i64)>,
}

impl KeyCounts {
    /// Counts of these key columns of an input.
    pub(super) fn new(name: &str, input: &SchemaRef, keys: &[usize]) -> Result<Self> {
        let mut stored = keys.to_vec();
        stored.sort_unstable();
        stored.dedup();
        Ok(Self {
            keys: LatestRows::new(name, input, stored, keys)?,
            sums: Vec::new(),
            first: Vec::new(),
            totals: None,
        })
    }

    /// Adds a delta's weights; gives the keys that came to be there, or no longer are.
    pub(super) fn add(&mut self, delta: &Delta) -> Result<Vec<Turn>> {
        self.add_to_totals(delta);
        let mut groups = Vec::new();
        self.keys.resolve(delta.batch(), &mut groups)?;
        self.sums.resize(self.keys.group_limit(), 0);
        self.first.resize(self.keys.group_limit(), NONE);
        let mut touched = Vec::new();
        for (row, group) in groups.iter().enumerate() {
            if self.first[*group as usize] == NONE {
                self.first[*group as usize] = row as u32;
                touched.push(*group);
            }
            self.sums[*group as usize] += delta.weight(row);
        }
        let (mut turns, mut winners, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for group in touched {
            let sum = std::mem::take(&mut self.sums[group as usize]);
            let row = std::mem::replace(&mut self.first[group as usize], NONE);
            let id = self.keys.row(group);
            let old = if id == NONE {
                0
            } else {
                self.keys.log().weight(id)
            };
            let new = old + sum;
            if (old > 0) != (new > 0) {
                turns.push(Turn {
                    row,
                    is_there: new > 0,
                });
            }
            if new == 0 {
                winners.push(Winner { group, row: NONE });
            } else {
                if old == 0 {
                    winners.push(Winner { group, row });
                }
                weights.push((group, new));
            }
        }
        self.keys.write(delta.batch(), &winners)?;
        for (group, weight) in weights {
            self.keys.set_weight(group, weight);
        }
        Ok(turns)
    }

    /// Whether the key of each row is there.
    pub(super) fn there(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<bool>> {
        let mut ids = Vec::new();
        self.keys.find(keys, rows, &mut ids)?;
        let log = self.keys.log();
        Ok(ids
            .into_iter()
            .map(|id| id != NONE && log.weight(id) > 0)
            .collect())
    }

    /// The weight of the keys without a NULL, and of those with one.
    pub(super) fn totals(&mut self) -> Result<(i64, i64)> {
        if let Some(totals) = self.totals {
            return Ok(totals);
        }
        self.keys.refresh()?;
        let log = self.keys.log();
        let ids: Vec<u32> = log.ids().collect();
        let columns = self.keys.columns(&ids)?;
        let (mut whole, mut null) = (0, 0);
        for (row, id) in ids.iter().enumerate() {
            if columns.iter().any(|column| column.is_null(row)) {
                null += log.weight(*id);
            } else {
                whole += log.weight(*id);
            }
        }
        Ok(*self.totals.insert((whole, null)))
    }

    /// Counts a delta in the totals, which must be known.
    fn add_to_totals(&mut self, delta: &Delta) {
        let Some((whole, null)) = &mut self.totals else {
            return;
        };
        let columns = self.keys.key_columns_of(delta.batch());
        for row in 0..delta.rows() {
            let null_key = columns.iter().any(|column| column.is_null(row));
            *(if null_key { &mut *null } else { &mut *whole }) += delta.weight(row);
        }
    }
}

impl Checkpointed for KeyCounts {
    fn name(&self) -> &str {
        self.keys.name()
    }

    fn schema(&self) -> SchemaRef {
        self.keys.schema()
    }

    fn key_columns(&self) -> usize {
        self.keys.key_columns()
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        self.keys.changes(out)
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        self.totals = None;
        self.keys.restore(change)
    }

    fn track(&mut self) -> Result<()> {
        self.keys.track()
    }
}

/// Rows of a batch.
pub(super) fn rows_of(batch: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch> {
    Ok(arrow::compute::take_record_batch(
        batch,
        &UInt32Array::from(rows),
    )?)
}
