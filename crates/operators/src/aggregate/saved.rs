//! Groups as a relation, for checkpoints.
//!
//! ```text
//! keys ... | part | item | body | rows, state of the accumulators that have one entry a group ...
//!    a     |  -1  | ''   | ''   | 3, 17                    the group itself
//!    a     |   2  | x    | 1    | NULL, NULL               an entry of the accumulator 2: key and body as bytes
//! ```
//!
//! Keys, part and item identify a row.

use super::accumulator::{Exported, Shape};
use super::accumulators::Accumulators;
use super::groups::Groups;
use super::plan::Plan;
use arrow::array::{
    ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, Int32Array, Int64Array, UInt32Array,
    new_null_array,
};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use millstream_dataflow::{Delta, Error, Result};
use millstream_state::{ABSENT, Cells, Codec, Form};
use std::sync::Arc;

/// The part of the rows that are the groups themselves.
pub(crate) const GROUP: i32 = -1;

/// Rows of the relation: its columns, and how many rows they have.
#[derive(Debug)]
pub(crate) struct SavedRows {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) rows: usize,
}

/// The columns of the relation after the keys.
///
/// # Errors
/// `User` when the plan cannot be built.
pub(crate) fn fields(plan: &Plan) -> Result<Vec<Field>> {
    let mut fields = vec![
        Field::new("part", DataType::Int32, false),
        Field::new("item", DataType::BinaryView, false),
        Field::new("body", DataType::BinaryView, false),
        Field::new("rows", DataType::Int64, true),
    ];
    for (at, shape) in plan
        .shapes()?
        .iter()
        .enumerate()
        .filter(|(_, s)| s.key.is_empty())
    {
        for (number, form) in shape.body.iter().enumerate() {
            fields.push(Field::new(
                format!("state_{at}_{number}"),
                state_type(form),
                true,
            ));
        }
    }
    Ok(fields)
}

/// The Arrow type in which a form is saved.
fn state_type(form: &Form) -> DataType {
    match form {
        Form::Long => DataType::Int64,
        Form::Wide => DataType::Decimal128(38, 0),
        Form::Bytes | Form::Lists(_) => DataType::BinaryView,
    }
}

impl Groups {
    /// What is gone and what is there since the last call, as rows; everything at the first.
    ///
    /// # Errors
    /// `Internal` when there is too much text for a column.
    pub(crate) fn changes(&mut self) -> Result<(Vec<SavedRows>, Vec<SavedRows>)> {
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        let first = self.tracker.is_none();
        let tracker = self.tracker.get_or_insert_default();
        let dropped = std::mem::take(&mut tracker.gone);
        let mut live = std::mem::take(&mut tracker.dirty);
        tracker.marked.resize(self.index.id_limit(), false);
        live.iter()
            .for_each(|id| tracker.marked[*id as usize] = false);
        dropped
            .iter()
            .for_each(|id| tracker.marked[*id as usize] = true);
        live.retain(|id| !tracker.marked[*id as usize]);
        dropped
            .iter()
            .for_each(|id| tracker.marked[*id as usize] = false);
        if first {
            live = self.index.live_ids();
        }
        if !dropped.is_empty() {
            gone.push(self.saved(&dropped, self.accumulators.void_columns(dropped.len())?)?);
        }
        if !live.is_empty() {
            kept.push(self.saved(&live, self.accumulators.state_columns(&live)?)?);
        }
        for at in 0..self.plan.accumulators.len() {
            let Some((away, here)) = self.accumulators.entry_changes(at, first, &live) else {
                continue;
            };
            for (exported, out) in [(away, &mut gone), (here, &mut kept)] {
                if !exported.ids.is_empty() {
                    let columns = self.accumulators.entry_columns(at, &exported)?;
                    out.push(self.saved(&exported.ids, columns)?);
                }
            }
        }
        dropped.iter().for_each(|id| self.index.release(*id));
        Ok((gone, kept))
    }

    /// Applies a change that holds saved rows, in its order.
    ///
    /// # Errors
    /// `Internal` for rows that this plan did not save.
    pub(crate) fn restore_delta(&mut self, change: &Delta) -> Result<()> {
        for (saved, present) in runs(change) {
            self.restore(&saved, present)?;
        }
        Ok(())
    }

    /// Applies saved rows, in which the keys come first.
    ///
    /// # Errors
    /// `Internal` for rows that this plan did not save.
    pub(crate) fn restore(&mut self, saved: &SavedRows, present: bool) -> Result<()> {
        let keys = self.plan.keys.len();
        for (part, saved) in parts(saved, keys)? {
            let (mut ids, mut fresh) = (Vec::new(), Vec::new());
            let columns = &saved.columns[..keys];
            if present {
                self.index
                    .resolve(columns, saved.rows, &mut ids, &mut fresh)?;
            } else {
                self.index.find(columns, saved.rows, &mut ids)?;
            }
            self.accumulators.grow(self.index.id_limit());
            if part != GROUP || present {
                let columns = &saved.columns[keys..];
                self.accumulators.restore(part, &ids, columns, present)?;
                continue;
            }
            // A key that came and went twice between two saves is there twice.
            ids.retain(|id| *id != ABSENT);
            ids.sort_unstable();
            ids.dedup();
            self.remove(&ids);
        }
        Ok(())
    }

    /// The rows of everything that is there, to be removed.
    ///
    /// # Errors
    /// `Internal` when there is too much text for a column.
    pub(crate) fn obituary(&self) -> Result<Vec<SavedRows>> {
        let ids = self.index.live_ids();
        let mut gone = vec![self.saved(&ids, self.accumulators.void_columns(ids.len())?)?];
        for (ids, columns) in self.accumulators.all_entry_columns(&ids)? {
            gone.push(self.saved(&ids, columns)?);
        }
        Ok(gone)
    }

    fn saved(&self, ids: &[u32], rest: Vec<ArrayRef>) -> Result<SavedRows> {
        let mut columns = self.index.gather(ids)?;
        columns.extend(rest);
        Ok(SavedRows {
            columns,
            rows: ids.len(),
        })
    }
}

/// A change cut where insertions and removals meet, in its order.
pub(crate) fn runs(change: &Delta) -> Vec<(SavedRows, bool)> {
    let mut runs = Vec::new();
    let mut start = 0;
    while start < change.rows() {
        let present = change.weight(start) > 0;
        let same = |row: &usize| (change.weight(*row) > 0) == present;
        let rows = (start..change.rows()).take_while(same).count();
        let columns = change.slice(start, rows).batch().columns().to_vec();
        runs.push((SavedRows { columns, rows }, present));
        start += rows;
    }
    runs
}

/// Saved rows by their part, the groups first. `keys` columns come before the part.
pub(crate) fn parts(saved: &SavedRows, keys: usize) -> Result<Vec<(i32, SavedRows)>> {
    let parts = saved.columns[keys].as_primitive::<Int32Type>();
    let mut known: Vec<i32> = parts.values().to_vec();
    known.sort_unstable();
    known.dedup();
    known
        .into_iter()
        .map(|part| {
            let rows: UInt32Array = (0..saved.rows as u32)
                .filter(|row| parts.value(*row as usize) == part)
                .collect::<Vec<_>>()
                .into();
            let columns = compute::take_arrays(&saved.columns, &rows, None)?;
            let rows = rows.len();
            Ok((part, SavedRows { columns, rows }))
        })
        .collect()
}

impl Accumulators {
    /// The rows of groups that are gone, after the keys.
    ///
    /// # Errors
    /// `User` when the plan cannot be built.
    pub(crate) fn void_columns(&self, rows: usize) -> Result<Vec<ArrayRef>> {
        let mut columns = group_columns(rows);
        let states = fields(&self.plan)?;
        columns.extend(
            states[3..]
                .iter()
                .map(|field| new_null_array(field.data_type(), rows)),
        );
        Ok(columns)
    }

    /// The rows of groups, after the keys.
    ///
    /// # Errors
    /// `Internal` when there is too much text for a column.
    pub(crate) fn state_columns(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = group_columns(ids.len());
        let count = |id: &u32| self.plan.count_rows.then(|| self.rows[*id as usize]);
        columns.push(Arc::new(ids.iter().map(count).collect::<Int64Array>()));
        for accumulator in &self.each {
            let shape = accumulator.shape();
            if shape.key.is_empty() {
                let mut state = shape.empty();
                accumulator.export(ids, &mut state);
                for (form, cells) in shape.body.iter().zip(&state.body) {
                    columns.push(Codec::new(&state_type(form))?.decode(cells, None)?);
                }
            }
        }
        Ok(columns)
    }

    /// The entries of an accumulator that are gone and those that are there since the last call, at the first all of
    /// the groups `live`; `None` when it has none.
    pub(crate) fn entry_changes(
        &mut self,
        at: usize,
        first: bool,
        live: &[u32],
    ) -> Option<(Exported, Exported)> {
        let shape = self.each[at].shape();
        let (mut away, mut here) = (shape.empty(), shape.empty());
        self.each[at].entries()?;
        if first {
            self.each[at].export(live, &mut here);
        }
        let entries = self.each[at].entries()?;
        if first {
            entries.track();
        } else {
            entries.changed(&mut here, &mut away);
        }
        Some((away, here))
    }

    /// The rows of an accumulator's entries, after the keys.
    ///
    /// # Errors
    /// `User` when the plan cannot be built.
    pub(crate) fn entry_columns(&self, at: usize, exported: &Exported) -> Result<Vec<ArrayRef>> {
        let rows = exported.ids.len();
        let states = fields(&self.plan)?;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_value(at as i32, rows)),
            written(&exported.key, rows),
            written(&exported.body, rows),
        ];
        columns.extend(
            states[3..]
                .iter()
                .map(|field| new_null_array(field.data_type(), rows)),
        );
        Ok(columns)
    }

    /// The rows of all entries of some groups: the groups, and the columns after the keys.
    ///
    /// # Errors
    /// `User` when the plan cannot be built.
    pub(crate) fn all_entry_columns(&self, ids: &[u32]) -> Result<Vec<(Vec<u32>, Vec<ArrayRef>)>> {
        let mut all = Vec::new();
        for (at, accumulator) in self.each.iter().enumerate() {
            let shape = accumulator.shape();
            if shape.key.is_empty() {
                continue;
            }
            let mut entries = shape.empty();
            accumulator.export(ids, &mut entries);
            if !entries.ids.is_empty() {
                let columns = self.entry_columns(at, &entries)?;
                all.push((entries.ids, columns));
            }
        }
        Ok(all)
    }

    /// Applies saved rows of one part, whose groups are `ids` (absent ones are skipped), after the keys.
    ///
    /// # Errors
    /// `Internal` for rows that this plan did not save.
    pub(crate) fn restore(
        &mut self,
        part: i32,
        ids: &[u32],
        columns: &[ArrayRef],
        present: bool,
    ) -> Result<()> {
        if part == GROUP {
            return self.restore_groups(ids, &columns[3..]);
        }
        let at = part as usize;
        let shape = self
            .each
            .get(at)
            .map(|each| each.shape())
            .ok_or_else(foreign)?;
        let mut entries = shape.empty();
        for (row, id) in ids.iter().enumerate().filter(|(_, id)| **id != ABSENT) {
            entries.ids.push(*id);
            read(&columns[1], row, &mut entries.key)?;
            if present {
                read(&columns[2], row, &mut entries.body)?;
            }
        }
        match self.each[at].entries() {
            Some(target) => target.set(&entries, present),
            None => Err(foreign()),
        }
    }

    fn restore_groups(&mut self, ids: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let mut columns = columns.iter();
        let rows = columns.next().ok_or_else(foreign)?;
        if self.plan.count_rows {
            let rows = rows.as_primitive::<Int64Type>();
            for (id, rows) in ids.iter().zip(rows.values()) {
                self.rows[*id as usize] = *rows;
            }
        }
        for accumulator in &mut self.each {
            let Shape { key, body } = accumulator.shape();
            if !key.is_empty() {
                continue;
            }
            let mut state = Exported {
                ids: ids.to_vec(),
                ..Exported::default()
            };
            for form in &body {
                let column = columns.next().ok_or_else(foreign)?;
                let lane = Codec::new(&state_type(form))?.encode(column)?;
                let mut cells = Cells::new(form);
                (0..ids.len()).for_each(|row| lane.push_to(row, &mut cells));
                state.body.push(cells);
            }
            accumulator.clear(ids);
            accumulator.merge(&state)?;
        }
        Ok(())
    }
}

/// Part, item and body of rows that are groups themselves.
fn group_columns(rows: usize) -> Vec<ArrayRef> {
    let empty = std::iter::repeat_n(b"", rows);
    let empty: ArrayRef = Arc::new(BinaryViewArray::from_iter_values(empty));
    vec![
        Arc::new(Int32Array::from_value(GROUP, rows)),
        Arc::clone(&empty),
        empty,
    ]
}

fn foreign() -> Error {
    Error::internal("a checkpoint of an aggregate holds rows that it did not save")
}

fn written(cells: &[Cells], rows: usize) -> ArrayRef {
    let mut builder = BinaryViewBuilder::with_capacity(rows);
    let mut bytes = Vec::new();
    for row in 0..rows {
        bytes.clear();
        cells
            .iter()
            .filter(|cells| cells.len() == rows)
            .for_each(|c| c.write(row, &mut bytes));
        builder.append_value(&bytes);
    }
    Arc::new(builder.finish())
}

fn read(column: &ArrayRef, row: usize, cells: &mut [Cells]) -> Result<()> {
    let mut bytes = column.as_binary_view().value(row);
    cells
        .iter_mut()
        .try_for_each(|cells| cells.read(&mut bytes))
        .ok_or_else(|| Error::internal("an entry of an aggregate's checkpoint is cut short"))
}
