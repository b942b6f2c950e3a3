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
use super::groups::Groups;
use super::plan::Plan;
use arrow::array::{
    ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, Int32Array, Int64Array, UInt32Array,
    new_null_array,
};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int32Type};
use millstream_dataflow::{Delta, Error, Result};
use millstream_state::{ABSENT, Cells, Codec, Form};
use std::sync::Arc;

/// The part of the rows that are the groups themselves.
const GROUP: i32 = -1;

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
        let dirty = std::mem::take(&mut tracker.dirty);
        dirty
            .iter()
            .for_each(|id| tracker.marked[*id as usize] = false);
        let live = if first {
            self.index.live_ids()
        } else {
            self.still_there(dirty, &dropped)
        };
        if !dropped.is_empty() {
            gone.push(self.group_rows(&dropped, false)?);
        }
        if !live.is_empty() {
            kept.push(self.group_rows(&live, true)?);
        }
        for at in 0..self.accumulators.len() {
            self.entry_changes(at, first, &live, &mut gone, &mut kept)?;
        }
        dropped.iter().for_each(|id| self.index.release(*id));
        Ok((gone, kept))
    }

    /// Applies a change that holds saved rows, in its order.
    ///
    /// # Errors
    /// `Internal` for rows that this plan did not save.
    pub(crate) fn restore_delta(&mut self, change: &Delta) -> Result<()> {
        let mut start = 0;
        while start < change.rows() {
            let present = change.weight(start) > 0;
            let same = |row: &usize| (change.weight(*row) > 0) == present;
            let rows = (start..change.rows()).take_while(same).count();
            let slice = change.slice(start, rows);
            let columns = slice.batch().columns().to_vec();
            self.restore(&SavedRows { columns, rows }, present)?;
            start += rows;
        }
        Ok(())
    }

    /// Applies saved rows, in which the keys come first.
    ///
    /// # Errors
    /// `Internal` for rows that this plan did not save.
    pub(crate) fn restore(&mut self, saved: &SavedRows, present: bool) -> Result<()> {
        let keys = self.plan.keys.len();
        let parts = saved.columns[keys].as_primitive::<Int32Type>();
        let mut known: Vec<i32> = parts.values().to_vec();
        known.sort_unstable();
        known.dedup();
        for part in known {
            let rows: UInt32Array = (0..saved.rows as u32)
                .filter(|row| parts.value(*row as usize) == part)
                .collect::<Vec<_>>()
                .into();
            let columns = compute::take_arrays(&saved.columns, &rows, None)?;
            self.restore_part(part, &columns, rows.len(), present)?;
        }
        Ok(())
    }

    fn still_there(&self, mut dirty: Vec<u32>, dropped: &[u32]) -> Vec<u32> {
        let mut gone = vec![false; self.index.id_limit()];
        dropped.iter().for_each(|id| gone[*id as usize] = true);
        dirty.retain(|id| !gone[*id as usize]);
        dirty
    }

    fn group_rows(&self, ids: &[u32], with_state: bool) -> Result<SavedRows> {
        let mut columns = self.index.gather(ids)?;
        columns.push(Arc::new(Int32Array::from_value(GROUP, ids.len())));
        let empty: ArrayRef = Arc::new(BinaryViewArray::from_iter_values(ids.iter().map(|_| b"")));
        columns.extend([Arc::clone(&empty), empty]);
        let counts = self.plan.count_rows && with_state;
        let rows = ids.iter().map(|id| counts.then(|| self.rows[*id as usize]));
        columns.push(Arc::new(rows.collect::<Int64Array>()));
        for accumulator in &self.accumulators {
            let shape = accumulator.shape();
            if !shape.key.is_empty() {
                continue;
            }
            let mut state = shape.empty();
            if with_state {
                accumulator.export(ids, &mut state);
            }
            for (form, cells) in shape.body.iter().zip(&state.body) {
                columns.push(if with_state {
                    Codec::new(&state_type(form))?.decode(cells, None)?
                } else {
                    new_null_array(&state_type(form), ids.len())
                });
            }
        }
        Ok(SavedRows {
            columns,
            rows: ids.len(),
        })
    }

    fn entry_changes(
        &mut self,
        at: usize,
        first: bool,
        live: &[u32],
        gone: &mut Vec<SavedRows>,
        kept: &mut Vec<SavedRows>,
    ) -> Result<()> {
        let shape = self.accumulators[at].shape();
        let (mut here, mut away) = (shape.empty(), shape.empty());
        if first {
            self.accumulators[at].export(live, &mut here);
        }
        let Some(entries) = self.accumulators[at].entries() else {
            return Ok(());
        };
        if first {
            entries.track();
        } else {
            entries.changed(&mut here, &mut away);
        }
        for (exported, out) in [(away, gone), (here, kept)] {
            if !exported.ids.is_empty() {
                out.push(self.entry_rows(at, &exported)?);
            }
        }
        Ok(())
    }

    fn entry_rows(&self, at: usize, exported: &Exported) -> Result<SavedRows> {
        let rows = exported.ids.len();
        let mut columns = self.index.gather(&exported.ids)?;
        columns.push(Arc::new(Int32Array::from_value(at as i32, rows)));
        columns.push(written(&exported.key, rows));
        columns.push(written(&exported.body, rows));
        let states = fields(&self.plan)?;
        columns.extend(
            states[3..]
                .iter()
                .map(|field| new_null_array(field.data_type(), rows)),
        );
        Ok(SavedRows { columns, rows })
    }

    fn restore_part(
        &mut self,
        part: i32,
        columns: &[ArrayRef],
        rows: usize,
        present: bool,
    ) -> Result<()> {
        let keys = self.plan.keys.len();
        let (mut ids, mut fresh) = (Vec::new(), Vec::new());
        if present {
            self.index
                .resolve(&columns[..keys], rows, &mut ids, &mut fresh)?;
        } else {
            self.index.find(&columns[..keys], rows, &mut ids)?;
        }
        self.grow();
        if part == GROUP && present {
            return self.restore_groups(&ids, &columns[keys + 3..]);
        }
        if part == GROUP {
            // A key that came and went twice between two saves is there twice.
            ids.retain(|id| *id != ABSENT);
            ids.sort_unstable();
            ids.dedup();
            self.remove(&ids);
            return Ok(());
        }
        let at = part as usize;
        let shape = match self.accumulators.get(at) {
            Some(accumulator) => accumulator.shape(),
            None => return Err(foreign()),
        };
        let mut entries = shape.empty();
        for (row, id) in ids.iter().enumerate().filter(|(_, id)| **id != ABSENT) {
            entries.ids.push(*id);
            read(&columns[keys + 1], row, &mut entries.key)?;
            if present {
                read(&columns[keys + 2], row, &mut entries.body)?;
            }
        }
        match self.accumulators[at].entries() {
            Some(target) => target.set(&entries, present),
            None => Err(foreign()),
        }
    }

    fn restore_groups(&mut self, ids: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let mut columns = columns.iter();
        let rows = columns.next().ok_or_else(foreign)?;
        if self.plan.count_rows {
            let rows = rows.as_primitive::<arrow::datatypes::Int64Type>();
            for (id, rows) in ids.iter().zip(rows.values()) {
                self.rows[*id as usize] = *rows;
            }
        }
        for accumulator in &mut self.accumulators {
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
