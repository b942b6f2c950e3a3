//! What an accumulator is: the state of one aggregate for all groups, in vectors by group id.

use arrow::array::BooleanArray;
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use millstream_dataflow::Result;
use millstream_state::{Cells, Form, Lane};

use super::function::Function;

/// The state of one aggregate for all groups.
///
/// Invariant: a group that was never updated, or was cleared, has the state of no rows.
pub(crate) trait Accumulator: Send {
    /// Makes room for the groups below `groups`.
    fn grow(&mut self, groups: usize);

    /// Folds rows into their groups.
    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()>;

    /// Adds the results of some groups to `out`, one a group.
    fn finish(&self, how: &Finish, ids: &[u32], out: &mut Cells) -> Result<()>;

    /// Forgets what some groups hold.
    fn clear(&mut self, ids: &[u32]);

    /// The columns in which the state is exported.
    fn shape(&self) -> Shape;

    /// Adds the state of some groups to `out`.
    fn export(&self, ids: &[u32], out: &mut Exported);

    /// Adds exported state to that of the groups that it names.
    fn merge(&mut self, from: &Exported) -> Result<()>;

    /// The state as entries with a key, when a group has any number of them.
    fn entries(&mut self) -> Option<&mut dyn Entries> {
        None
    }

    /// An accumulator behind this one, numbered from 0. It is saved by itself: what is exported here leaves it out,
    /// and [`Entries::set`] does not touch it.
    fn branch(&self, number: usize) -> Option<&dyn Accumulator> {
        let _ = number;
        None
    }

    /// As [`Accumulator::branch`].
    fn branch_mut(&mut self, number: usize) -> Option<&mut dyn Accumulator> {
        let _ = number;
        None
    }
}

/// State of which a group has any number of entries, tracked entry by entry for checkpoints. Entries change only
/// where the owner knows that the group does, and go with it.
pub(crate) trait Entries {
    /// From now on, remember which entries change; what is there is saved.
    fn track(&mut self);

    /// The entries that changed since the last call and are still there, and those that are gone (without bodies).
    /// An entry that is gone may be named twice, or may never have been saved.
    fn changed(&mut self, kept: &mut Exported, gone: &mut Exported);

    /// Sets entries, whatever they were; without bodies, removes them. An entry may be named twice: the last counts.
    fn set(&mut self, entries: &Exported, present: bool) -> Result<()>;
}

/// The forms of exported state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// What tells a group's entries apart; empty when a group has just one.
    pub(crate) key: Vec<Form>,
    /// What an entry holds.
    pub(crate) body: Vec<Form>,
}

impl Shape {
    /// One entry a group.
    pub(crate) fn scalar(body: Vec<Form>) -> Self {
        Self {
            key: Vec::new(),
            body,
        }
    }

    /// Nothing, of this shape.
    pub(crate) fn empty(&self) -> Exported {
        Exported {
            ids: Vec::new(),
            key: self.key.iter().map(Cells::new).collect(),
            body: self.body.iter().map(Cells::new).collect(),
        }
    }
}

/// State on its way to another place: one row an entry.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    /// The group of each entry.
    pub(crate) ids: Vec<u32>,
    /// See [`Shape::key`].
    pub(crate) key: Vec<Cells>,
    /// See [`Shape::body`].
    pub(crate) body: Vec<Cells>,
}

impl Exported {
    /// The entries of the groups that `keep` names.
    pub(crate) fn retain(self, keep: impl Fn(u32) -> bool) -> Self {
        if self.ids.iter().all(|id| keep(*id)) {
            return self;
        }
        let rows: Vec<usize> = (0..self.ids.len())
            .filter(|row| keep(self.ids[*row]))
            .collect();
        let pick = |cells: &Cells| {
            let mut picked = cells.same_form();
            // A removal has no body.
            rows.iter()
                .filter(|row| **row < cells.len())
                .for_each(|row| picked.push_from(cells, *row));
            picked
        };
        Self {
            ids: rows.iter().map(|row| self.ids[*row]).collect(),
            key: self.key.iter().map(pick).collect(),
            body: self.body.iter().map(pick).collect(),
        }
    }
}

/// The rows of a batch that an accumulator folds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    /// The group of each row.
    pub(crate) ids: &'a [u32],
    /// Where the rows are in the batch; `None`: they are all its rows.
    pub(crate) picks: Option<&'a [u32]>,
    /// The weight of each row; `None`: all are 1.
    pub(crate) weights: Option<&'a [i64]>,
    /// The places of the batch's rows in the order of arrival.
    pub(crate) arrival: Arrival<'a>,
}

/// Where the rows of a batch are in the order of arrival.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    /// The number from which they are counted.
    pub(crate) first: u64,
    /// Where each of them is from there on, ascending as they are folded; `None`: one after the other.
    pub(crate) places: Option<&'a [u32]>,
}

impl Arrival<'_> {
    /// Of rows that come one after the other.
    pub(crate) fn from(first: u64) -> Self {
        Self {
            first,
            places: None,
        }
    }

    /// The number of a row, no less than it is from `next` on.
    #[inline]
    pub(crate) fn number(&self, row: usize, next: u64) -> u64 {
        let place = self.places.map_or(row, |places| places[row] as usize);
        self.first.max(next) + place as u64
    }
}

impl Rows<'_> {
    /// Calls `fold` with group, row in the batch and weight of each row that is not NULL. The cases are decided once, so
    /// that each is a tight loop.
    #[inline(always)]
    pub(crate) fn each(&self, nulls: Option<&NullBuffer>, mut fold: impl FnMut(usize, usize, i64)) {
        match (self.picks, self.weights, nulls) {
            (None, None, None) => {
                for (row, id) in self.ids.iter().enumerate() {
                    fold(*id as usize, row, 1);
                }
            }
            (Some(picks), None, None) => {
                for (row, id) in picks.iter().zip(self.ids) {
                    fold(*id as usize, *row as usize, 1);
                }
            }
            (None, Some(weights), None) => {
                for (row, (id, weight)) in self.ids.iter().zip(weights).enumerate() {
                    fold(*id as usize, row, *weight);
                }
            }
            (picks, weights, nulls) => {
                for (at, id) in self.ids.iter().enumerate() {
                    let row = picks.map_or(at, |picks| picks[at] as usize);
                    if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                        fold(*id as usize, row, weights.map_or(1, |weights| weights[at]));
                    }
                }
            }
        }
    }
}

/// The arguments of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Args<'a> {
    /// All columns that any call uses.
    pub(crate) lanes: &'a [Lane],
    /// Those of this call.
    pub(crate) used: &'a [usize],
    /// The filter columns of all calls.
    pub(crate) filters: &'a [BooleanArray],
}

impl<'a> Args<'a> {
    /// The call's argument at `at`.
    pub(crate) fn lane(&self, at: usize) -> &'a Lane {
        &self.lanes[self.used[at]]
    }

    /// Where any argument is NULL.
    pub(crate) fn nulls(&self) -> Option<NullBuffer> {
        self.used.iter().fold(None, |nulls, at| {
            NullBuffer::union(nulls.as_ref(), self.lanes[*at].nulls())
        })
    }
}

/// How state becomes a result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finish {
    /// The function that was called.
    pub(crate) function: Function,
    /// The type of the result.
    pub(crate) output: DataType,
    /// The scale of the argument, if it is a decimal.
    pub(crate) scale: i8,
    /// Which branch of a DISTINCT (see [`super::distinct`]).
    pub(crate) branch: usize,
}
