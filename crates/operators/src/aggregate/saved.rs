//! Groups as a relation, for checkpoints.
//!
//! ```text
//! keys ... | part | item | body | rows, state of the accumulators that have one entry a group ...
//!    a     |  -1  | ''   | ''   | 3, 17                    the group itself
//!    a     |   2  | x    | 1    | NULL, NULL               an entry of the accumulator 2: key and body as bytes
//! ```
//!
//! Keys, part and item identify a row. Invariant: at no place in the changes is there an entry of a group that is not there, so
//! that whatever is left of them leaves none: entries are removed before their group, and come after it.

use super::accumulator::{Accumulator, Exported, Shape};
use super::accumulators::Accumulators;
use super::groups::Groups;
use super::plan::Plan;
use crate::tracker::{Changes, Tracker};
use arrow::array::{
    ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, Int32Array, Int64Array, UInt32Array,
    new_null_array,
};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use millstream_dataflow::{Delta, Error, Result};
use millstream_state::{ABSENT, Cells, Codec, Form};
use std::ops::Range;
use std::sync::Arc;

/// The part of the rows that are the groups themselves.
pub(crate) const GROUP: i32 = -1;

/// The rows that are saved together at most.
const PIECE_ROWS: usize = 1 << 16;

/// Rows of the relation: its columns, and how many rows they have.
#[derive(Debug)]
pub(crate) struct SavedRows {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) rows: usize,
}

/// The accumulators of a plan as they are saved.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    parts: Vec<Part>,
    /// The columns after the body.
    states: Vec<Field>,
}

/// An accumulator of a call, or one behind it.
#[derive(Debug)]
struct Part {
    at: usize,
    branch: Option<usize>,
    shape: Shape,
}

impl Part {
    fn is_scalar(&self) -> bool {
        self.shape.key.is_empty()
    }
}

impl Layout {
    pub(super) fn new(accumulators: &[Box<dyn Accumulator>]) -> Self {
        let mut parts = Vec::new();
        for (at, accumulator) in accumulators.iter().enumerate() {
            let part = |branch, shape| Part { at, branch, shape };
            parts.push(part(None, accumulator.shape()));
            let branches = (0..).map_while(|number| accumulator.branch(number));
            let branches = branches.map(Accumulator::shape).enumerate();
            parts.extend(branches.map(|(number, shape)| part(Some(number), shape)));
        }
        let mut states = vec![Field::new("rows", DataType::Int64, true)];
        for (at, part) in parts.iter().enumerate().filter(|(_, p)| p.is_scalar()) {
            for (number, form) in part.shape.body.iter().enumerate() {
                let name = format!("state_{at}_{number}");
                states.push(Field::new(name, state_type(form), true));
            }
        }
        Self { parts, states }
    }

    /// How many accumulators there are.
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
    }
}

/// The columns of the relation after the keys.
pub(crate) fn fields(plan: &Plan) -> Vec<Field> {
    let mut fields = vec![
        Field::new("part", DataType::Int32, false),
        Field::new("item", DataType::BinaryView, false),
        Field::new("body", DataType::BinaryView, false),
    ];
    fields.extend_from_slice(&plan.saved.states);
    fields
}

/// The Arrow type in which a form is saved.
fn state_type(form: &Form) -> DataType {
    match form {
        Form::Long => DataType::Int64,
        Form::Wide => DataType::Decimal128(38, 0),
        Form::Bytes | Form::Lists(_) => DataType::BinaryView,
    }
}

/// Some rows, cut into pieces that are saved together.
pub(crate) fn pieces(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows)
        .step_by(PIECE_ROWS)
        .map(move |start| start..rows.min(start + PIECE_ROWS))
}

/// What happened to the groups since the last save.
struct Changed {
    groups: Changes,
    /// Entries that are gone, and those that are here, by part.
    gone: Vec<(usize, Exported)>,
    here: Vec<(usize, Exported)>,
}

impl Groups {
    /// What is gone and what is there since the last call, as rows; everything at the first.
    ///
    /// # Errors
    /// `Internal` when there is too much text for a column.
    pub(crate) fn changes(&mut self) -> Result<(Vec<SavedRows>, Vec<SavedRows>)> {
        let (mut gone, mut here) = (Vec::new(), Vec::new());
        if self.tracker.is_none() {
            let ids = self.index.live_ids();
            self.save(&ids, &self.accumulators.all_entries(&ids), &mut here)?;
            self.track();
        } else if let Some(changed) = self.take_changed() {
            self.save_removals(&changed.groups.gone, &changed.gone, &mut gone)?;
            self.save(&changed.groups.here, &changed.here, &mut here)?;
            let gone = changed.groups.gone.iter();
            gone.for_each(|id| self.index.release(*id));
        }
        Ok((gone, here))
    }

    /// All that is there is saved already.
    pub(crate) fn track(&mut self) {
        self.forget_saves();
        self.tracker = Some(Tracker::default());
        self.accumulators.track();
    }

    /// The next save is as the first.
    pub(crate) fn forget_saves(&mut self) {
        if let Some(mut tracker) = self.tracker.take() {
            let gone = tracker.take().gone;
            gone.into_iter().for_each(|id| self.index.release(id));
        }
    }

    /// The rows that take away all that was saved, which will not be saved here again.
    ///
    /// # Errors
    /// `Internal` when there is too much text for a column.
    pub(crate) fn bury(&mut self) -> Result<Vec<SavedRows>> {
        let Some(tracker) = &self.tracker else {
            return Ok(Vec::new());
        };
        let mut rows = Vec::new();
        let mut ids = self.index.live_ids();
        ids.retain(|id| tracker.is_saved(*id));
        if let Some(changed) = self.take_changed() {
            self.save_removals(&changed.groups.gone, &changed.gone, &mut rows)?;
            let gone = changed.groups.gone.iter();
            gone.for_each(|id| self.index.release(*id));
        }
        self.save_removals(&ids, &self.accumulators.all_entries(&ids), &mut rows)?;
        Ok(rows)
    }

    fn take_changed(&mut self) -> Option<Changed> {
        let tracker = self
            .tracker
            .as_mut()
            .filter(|tracker| !tracker.is_clean())?;
        let (mut gone, mut here) = (Vec::new(), Vec::new());
        for part in 0..self.plan.saved.parts() {
            if let Some((away, kept)) = self.accumulators.entry_changes(part) {
                // The key of a group that came and went is not known any more.
                gone.push((part, away.retain(|id| !tracker.is_void(id))));
                here.push((part, kept));
            }
        }
        Some(Changed {
            groups: tracker.take(),
            gone,
            here,
        })
    }

    /// Groups, then entries.
    fn save(
        &self,
        ids: &[u32],
        entries: &[(usize, Exported)],
        out: &mut Vec<SavedRows>,
    ) -> Result<()> {
        for ids in ids.chunks(PIECE_ROWS) {
            out.push(self.saved(ids, self.accumulators.state_columns(ids)?)?);
        }
        self.save_entries(entries, out)
    }

    /// Removals of entries, then of groups.
    fn save_removals(
        &self,
        ids: &[u32],
        entries: &[(usize, Exported)],
        out: &mut Vec<SavedRows>,
    ) -> Result<()> {
        self.save_entries(entries, out)?;
        for ids in ids.chunks(PIECE_ROWS) {
            out.push(self.saved(ids, self.accumulators.void_columns(ids.len()))?);
        }
        Ok(())
    }

    fn save_entries(&self, entries: &[(usize, Exported)], out: &mut Vec<SavedRows>) -> Result<()> {
        for (part, entries) in entries {
            for rows in pieces(entries.ids.len()) {
                let columns = self
                    .accumulators
                    .entry_columns(*part, entries, rows.clone());
                out.push(self.saved(&entries.ids[rows], columns)?);
            }
        }
        Ok(())
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
            // A key that came and went twice may be there twice; one that is not there was removed with its coming.
            ids.retain(|id| *id != ABSENT);
            ids.sort_unstable();
            ids.dedup();
            self.remove(&ids);
        }
        Ok(())
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
    let mut known: Vec<i32> = parts
        .values()
        .chunk_by(|one, other| one == other)
        .map(|run| run[0])
        .collect();
    if let [one] = known[..] {
        let columns = saved.columns.clone();
        let rows = saved.rows;
        return Ok(vec![(one, SavedRows { columns, rows })]);
    }
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
    fn part(&self, part: usize) -> &dyn Accumulator {
        let Part { at, branch, .. } = &self.plan.saved.parts[part];
        let whole = self.each[*at].as_ref();
        branch
            .and_then(|number| whole.branch(number))
            .unwrap_or(whole)
    }

    fn part_mut(&mut self, part: usize) -> Option<&mut dyn Accumulator> {
        let Part { at, branch, .. } = self.plan.saved.parts.get(part)?;
        let whole = &mut self.each[*at];
        match branch {
            None => Some(whole.as_mut()),
            Some(number) => whole.branch_mut(*number),
        }
    }

    /// From now on, remember which entries change.
    pub(crate) fn track(&mut self) {
        self.marks = Vec::new();
        for part in 0..self.plan.saved.parts() {
            if let Some(entries) = self.part_mut(part).and_then(Accumulator::entries) {
                entries.track();
            }
        }
    }

    /// The rows of groups that are gone, after the keys.
    pub(crate) fn void_columns(&self, rows: usize) -> Vec<ArrayRef> {
        let mut columns = group_columns(rows);
        columns.extend(self.no_states(rows));
        columns
    }

    fn no_states(&self, rows: usize) -> impl Iterator<Item = ArrayRef> {
        let states = self.plan.saved.states.iter();
        states.map(move |field| new_null_array(field.data_type(), rows))
    }

    /// The rows of groups, after the keys.
    ///
    /// # Errors
    /// `Internal` when there is too much text for a column.
    pub(crate) fn state_columns(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = group_columns(ids.len());
        columns.push(if self.plan.count_rows {
            let rows = ids.iter().map(|id| self.rows[*id as usize]);
            Arc::new(Int64Array::from_iter_values(rows))
        } else {
            Arc::new(Int64Array::new_null(ids.len()))
        });
        for (at, part) in self.plan.saved.parts.iter().enumerate() {
            if part.is_scalar() {
                let mut state = part.shape.empty();
                self.part(at).export(ids, &mut state);
                for (form, cells) in part.shape.body.iter().zip(&state.body) {
                    columns.push(Codec::new(&state_type(form))?.decode(cells, None)?);
                }
            }
        }
        Ok(columns)
    }

    /// The entries of a part that are gone and those that are there since the last call; `None` when it has none.
    pub(crate) fn entry_changes(&mut self, part: usize) -> Option<(Exported, Exported)> {
        let shape = &self.plan.saved.parts[part].shape;
        let (mut away, mut here) = (shape.empty(), shape.empty());
        self.part_mut(part)?
            .entries()?
            .changed(&mut here, &mut away);
        Some((away, here))
    }

    /// Some rows of a part's entries, after the keys.
    pub(crate) fn entry_columns(
        &self,
        part: usize,
        exported: &Exported,
        rows: Range<usize>,
    ) -> Vec<ArrayRef> {
        let all = exported.ids.len();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_value(part as i32, rows.len())),
            written(&exported.key, all, rows.clone()),
            written(&exported.body, all, rows.clone()),
        ];
        columns.extend(self.no_states(rows.len()));
        columns
    }

    /// All entries of some groups, by part.
    pub(crate) fn all_entries(&self, ids: &[u32]) -> Vec<(usize, Exported)> {
        let parts = self.plan.saved.parts.iter().enumerate();
        parts
            .filter(|(_, part)| !part.is_scalar())
            .map(|(at, part)| {
                let mut entries = part.shape.empty();
                self.part(at).export(ids, &mut entries);
                (at, entries)
            })
            .collect()
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
            return match self.last_of_each(ids) {
                None => self.restore_groups(ids, &columns[3..]),
                Some(rows) => {
                    let columns = compute::take_arrays(&columns[3..], &rows, None)?;
                    let ids: Vec<u32> =
                        rows.values().iter().map(|row| ids[*row as usize]).collect();
                    self.restore_groups(&ids, &columns)
                }
            };
        }
        let part = part as usize;
        let known = self.plan.saved.parts.get(part).ok_or_else(foreign)?;
        let mut entries = known.shape.empty();
        for (row, id) in ids.iter().enumerate().filter(|(_, id)| **id != ABSENT) {
            entries.ids.push(*id);
            read(&columns[1], row, &mut entries.key)?;
            if present {
                read(&columns[2], row, &mut entries.body)?;
            }
        }
        match self.part_mut(part).and_then(Accumulator::entries) {
            Some(target) => target.set(&entries, present),
            None => Err(foreign()),
        }
    }

    /// The last row of each group; `None` when no group is there twice.
    fn last_of_each(&mut self, ids: &[u32]) -> Option<UInt32Array> {
        let limit = ids.iter().max().map_or(0, |id| *id as usize + 1);
        self.marks.resize(limit.max(self.marks.len()), false);
        let mut last: Vec<u32> = (0..ids.len() as u32).rev().collect();
        last.retain(|row| !std::mem::replace(&mut self.marks[ids[*row as usize] as usize], true));
        ids.iter().for_each(|id| self.marks[*id as usize] = false);
        last.reverse();
        (last.len() < ids.len()).then(|| last.into())
    }

    fn restore_groups(&mut self, ids: &[u32], columns: &[ArrayRef]) -> Result<()> {
        if columns.len() < self.plan.saved.states.len() {
            return Err(foreign());
        }
        if self.plan.count_rows {
            let rows = columns[0].as_primitive::<Int64Type>();
            for (id, rows) in ids.iter().zip(rows.values()) {
                self.rows[*id as usize] = *rows;
            }
        }
        let plan = Arc::clone(&self.plan);
        let mut columns = columns[1..].iter();
        for (at, part) in plan.saved.parts.iter().enumerate() {
            if !part.is_scalar() {
                continue;
            }
            let mut state = Exported {
                ids: ids.to_vec(),
                ..Exported::default()
            };
            for (form, column) in part.shape.body.iter().zip(&mut columns) {
                let lane = Codec::new(&state_type(form))?.encode(column)?;
                let mut cells = Cells::new(form);
                lane.push_all_to(&mut cells);
                state.body.push(cells);
            }
            let accumulator = self.part_mut(at).ok_or_else(foreign)?;
            accumulator.clear(ids);
            accumulator.merge(&state)?;
        }
        Ok(())
    }
}

/// Part, item and body of rows that are groups themselves.
fn group_columns(rows: usize) -> Vec<ArrayRef> {
    let empty: ArrayRef = Arc::new(BinaryViewArray::new(vec![0; rows].into(), Vec::new(), None));
    vec![
        Arc::new(Int32Array::from_value(GROUP, rows)),
        Arc::clone(&empty),
        empty,
    ]
}

fn foreign() -> Error {
    Error::internal("a checkpoint of an aggregate holds rows that it did not save")
}

/// Some of `all` rows as bytes; empty where the cells are those of removals.
fn written(cells: &[Cells], all: usize, rows: Range<usize>) -> ArrayRef {
    let mut builder = BinaryViewBuilder::with_capacity(rows.len());
    let mut bytes = Vec::new();
    for row in rows {
        bytes.clear();
        cells
            .iter()
            .filter(|cells| cells.len() == all)
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
