//! One row for each key, in columns: what deduplication and upserts keep.

use crate::project;
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Output, Result};
use millstream_state::{ABSENT, GroupIndex, NONE, RowLog};

/// A key whose row changes, and the row of the batch that it gets; [`NONE`] takes its row away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Winner {
    pub(crate) group: u32,
    pub(crate) row: u32,
}

/// One row for each key.
#[derive(Debug)]
pub(crate) struct LatestRows {
    log: RowLog,
    groups: GroupIndex,
    /// The kept row of each group.
    row_of: Vec<u32>,
    /// The input's columns that are kept, and those of them that are the key.
    stored: Vec<usize>,
    keys: Vec<usize>,
    restored: bool,
    fresh: Vec<u32>,
}

impl LatestRows {
    pub(crate) fn new(
        name: &str,
        input: &SchemaRef,
        stored: Vec<usize>,
        keys: &[usize],
    ) -> Result<Self> {
        let types: Vec<DataType> = keys
            .iter()
            .map(|key| input.field(*key).data_type().clone())
            .collect();
        Ok(Self {
            log: RowLog::new(name, &input.project(&stored)?)?,
            groups: GroupIndex::new(&types)?,
            row_of: Vec::new(),
            stored,
            keys: keys.to_vec(),
            restored: false,
            fresh: Vec::new(),
        })
    }

    /// The group of the key of each row of a batch of the input.
    pub(crate) fn resolve(&mut self, batch: &RecordBatch, groups: &mut Vec<u32>) -> Result<()> {
        self.refresh()?;
        let keys = self.key_columns_of(batch);
        self.groups
            .resolve(&keys, batch.num_rows(), groups, &mut self.fresh)?;
        self.row_of.resize(self.groups.id_limit(), NONE);
        Ok(())
    }

    /// The key columns of a batch of the input.
    pub(crate) fn key_columns_of(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.keys
            .iter()
            .map(|key| ArrayRef::clone(batch.column(*key)))
            .collect()
    }

    /// The kept row of each key, [`NONE`] where there is none.
    pub(crate) fn find(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        self.refresh()?;
        self.groups.find(keys, rows, ids)?;
        for id in ids.iter_mut().filter(|id| **id != ABSENT) {
            *id = self.row_of[*id as usize];
        }
        Ok(())
    }

    /// All ids of groups are below this.
    pub(crate) fn group_limit(&self) -> usize {
        self.row_of.len()
    }

    /// The kept row of a group, or [`NONE`].
    #[inline]
    pub(crate) fn row(&self, group: u32) -> u32 {
        self.row_of[group as usize]
    }

    pub(crate) fn log(&self) -> &RowLog {
        &self.log
    }

    /// Sets the weight of the row of a group.
    pub(crate) fn set_weight(&mut self, group: u32, weight: i64) {
        self.log.set_weight(self.row_of[group as usize], weight);
    }

    /// The key columns of kept rows.
    pub(crate) fn columns(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys
            .iter()
            .map(|key| self.log.gather(self.place(*key), ids))
            .collect()
    }

    /// Where a column of the input is kept.
    pub(crate) fn place(&self, column: usize) -> usize {
        self.stored.partition_point(|stored| *stored < column)
    }

    /// Puts out what changes, in these columns of the input, when the keys get their new rows.
    pub(crate) fn announce(
        &self,
        batch: &RecordBatch,
        winners: &[Winner],
        output: &[usize],
        schema: &SchemaRef,
        out: &mut Output,
    ) -> Result<()> {
        let old: Vec<u32> = winners
            .iter()
            .map(|winner| self.row(winner.group))
            .filter(|row| *row != NONE)
            .collect();
        if !old.is_empty() {
            out.push(Delta::retractions(self.show(&old, output, schema)?));
        }
        let came: Vec<u32> = winners
            .iter()
            .map(|winner| winner.row)
            .filter(|row| *row != NONE)
            .collect();
        if !came.is_empty() {
            let columns = output.iter().map(|column| batch.column(*column));
            let columns = take(columns, &came, batch.num_rows())?;
            out.push(Delta::inserts(project::batch(schema, columns, came.len())?));
        }
        Ok(())
    }

    /// Gives the keys their new rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch, winners: &[Winner]) -> Result<()> {
        let (mut replaced, mut by) = (Vec::new(), Vec::new());
        let (mut new, mut groups) = (Vec::new(), Vec::new());
        for winner in winners {
            match (self.row(winner.group), winner.row) {
                (id, NONE) => self.forget(winner.group, id),
                (NONE, row) => {
                    new.push(row);
                    groups.push(winner.group);
                }
                (id, row) => {
                    replaced.push(id);
                    by.push(row);
                }
            }
        }
        if !replaced.is_empty() {
            let columns = self.stored.iter().map(|column| batch.column(*column));
            let columns = take(columns, &by, batch.num_rows())?;
            self.log.replace(&replaced, &columns)?;
        }
        if !new.is_empty() {
            let columns = self.stored.iter().map(|column| batch.column(*column));
            let columns = take(columns, &new, batch.num_rows())?;
            let mut ids = Vec::new();
            self.log.insert(&columns, new.len(), &mut ids)?;
            for (group, id) in groups.iter().zip(ids) {
                self.row_of[*group as usize] = id;
            }
        }
        Ok(())
    }

    /// Takes a key and its row, if it has one, out.
    pub(crate) fn forget(&mut self, group: u32, id: u32) {
        if id != NONE {
            self.log.remove(id);
        }
        self.row_of[group as usize] = NONE;
        self.groups.remove(group);
        self.groups.release(group);
    }

    /// Kept rows in these columns of the input.
    pub(crate) fn show(
        &self,
        ids: &[u32],
        output: &[usize],
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let columns = output
            .iter()
            .map(|column| self.log.gather(self.place(*column), ids))
            .collect::<Result<_>>()?;
        project::batch(schema, columns, ids.len())
    }

    /// The groups that have rows, and their rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..)
            .zip(self.row_of.iter().copied())
            .filter(|(_, row)| *row != NONE)
    }

    /// Finds the keys of restored rows. True when there were some to find.
    pub(crate) fn refresh(&mut self) -> Result<bool> {
        if !std::mem::take(&mut self.restored) {
            return Ok(false);
        }
        self.groups.clear();
        self.row_of.clear();
        let rows: Vec<u32> = self.log.ids().collect();
        let keys = self.columns(&rows)?;
        let mut groups = Vec::new();
        self.groups
            .resolve(&keys, rows.len(), &mut groups, &mut self.fresh)?;
        self.row_of.resize(self.groups.id_limit(), NONE);
        for (group, row) in groups.iter().zip(rows) {
            self.row_of[*group as usize] = row;
        }
        Ok(true)
    }
}

/// Rows of columns; all of them, in order, cost nothing.
pub(crate) fn take<'a>(
    columns: impl Iterator<Item = &'a ArrayRef>,
    rows: &[u32],
    of: usize,
) -> Result<Vec<ArrayRef>> {
    if rows.len() == of && (0..).zip(rows).all(|(at, row)| at == *row) {
        return Ok(columns.cloned().collect());
    }
    let rows = UInt32Array::from(rows.to_vec());
    columns
        .map(|column| Ok(compute::take(column.as_ref() as &dyn Array, &rows, None)?))
        .collect()
}

impl Checkpointed for LatestRows {
    fn name(&self) -> &str {
        self.log.name()
    }

    fn schema(&self) -> SchemaRef {
        self.log.schema()
    }

    fn key_columns(&self) -> usize {
        self.log.key_columns()
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        self.log.changes(out)
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        self.restored = true;
        self.log.restore(change)
    }

    fn track(&mut self) -> Result<()> {
        self.log.track()
    }
}
