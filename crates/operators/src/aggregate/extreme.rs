//! MIN and MAX over rows that are never retracted: only the extreme is kept.

use super::accumulator::{Accumulator, Args, Exported, Finish, Rows, Shape};
use millstream_dataflow::{Error, Result};
use millstream_state::{Cells, Form, Lane};

/// The least or the greatest 64-bit value a group.
#[derive(Debug)]
pub(crate) struct Extreme<T> {
    values: Vec<T>,
    set: Vec<bool>,
    greatest: bool,
}

impl<T> Extreme<T> {
    /// Keeps the greatest value, or the least.
    pub(crate) fn new(greatest: bool) -> Self {
        Self {
            values: Vec::new(),
            set: Vec::new(),
            greatest,
        }
    }
}

/// A number that is kept as it is.
pub(crate) trait Number: Copy + Default + Ord + Send {
    const FORM: Form;
    fn lane(lane: &Lane) -> Option<&[Self]>;
    fn cell(cells: &Cells, at: usize) -> Self;
    fn push(self, cells: &mut Cells);
}

impl Number for i64 {
    const FORM: Form = Form::Long;

    fn lane(lane: &Lane) -> Option<&[Self]> {
        match lane {
            Lane::Long { values, .. } => Some(values),
            Lane::Wide { .. } | Lane::Bytes(_) => None,
        }
    }

    fn cell(cells: &Cells, at: usize) -> Self {
        cells.long(at)
    }

    fn push(self, cells: &mut Cells) {
        cells.push_long(self);
    }
}

impl Number for i128 {
    const FORM: Form = Form::Wide;

    fn lane(lane: &Lane) -> Option<&[Self]> {
        match lane {
            Lane::Wide { values, .. } => Some(values),
            Lane::Long { .. } | Lane::Bytes(_) => None,
        }
    }

    fn cell(cells: &Cells, at: usize) -> Self {
        cells.wide(at)
    }

    fn push(self, cells: &mut Cells) {
        cells.push_wide(self);
    }
}

impl<T: Number> Extreme<T> {
    #[inline]
    fn fold(&mut self, id: usize, value: T) {
        let better = if self.greatest {
            value > self.values[id]
        } else {
            value < self.values[id]
        };
        if better || !self.set[id] {
            self.values[id] = value;
            self.set[id] = true;
        }
    }
}

impl<T: Number> Accumulator for Extreme<T> {
    fn grow(&mut self, groups: usize) {
        if self.values.len() < groups {
            self.values.resize(groups, T::default());
            self.set.resize(groups, false);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let lane = args.lane(0);
        let values = T::lane(lane).ok_or_else(|| Error::internal("an extreme of another form"))?;
        rows.each(lane.nulls(), |id, row, _| self.fold(id, values[row]));
        Ok(())
    }

    fn finish(&self, _: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        for id in ids {
            if self.set[*id as usize] {
                self.values[*id as usize].push(out);
            } else {
                out.push_null();
            }
        }
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        ids.iter().for_each(|id| self.set[*id as usize] = false);
    }

    fn shape(&self) -> Shape {
        Shape::scalar(vec![T::FORM])
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        out.ids.extend_from_slice(ids);
        for id in ids {
            if self.set[*id as usize] {
                self.values[*id as usize].push(&mut out.body[0]);
            } else {
                out.body[0].push_null();
            }
        }
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (at, id) in from.ids.iter().enumerate() {
            if from.body[0].is_valid(at) {
                self.fold(*id as usize, T::cell(&from.body[0], at));
            }
        }
        Ok(())
    }
}

/// The least or the greatest text a group. A group keeps its buffer: a better value is copied into it.
#[derive(Debug)]
pub(crate) struct ExtremeText {
    values: Vec<Vec<u8>>,
    set: Vec<bool>,
    greatest: bool,
}

impl ExtremeText {
    /// Keeps the greatest value, or the least.
    pub(crate) fn new(greatest: bool) -> Self {
        Self {
            values: Vec::new(),
            set: Vec::new(),
            greatest,
        }
    }

    #[inline]
    fn fold(&mut self, id: usize, value: &[u8]) {
        let held = &mut self.values[id];
        let better = if self.greatest {
            value > held.as_slice()
        } else {
            value < held.as_slice()
        };
        if better || !self.set[id] {
            held.clear();
            held.extend_from_slice(value);
            self.set[id] = true;
        }
    }
}

impl Accumulator for ExtremeText {
    fn grow(&mut self, groups: usize) {
        if self.values.len() < groups {
            self.values.resize_with(groups, Vec::new);
            self.set.resize(groups, false);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let Lane::Bytes(values) = args.lane(0) else {
            return Err(Error::internal("an extreme text of another form"));
        };
        rows.each(args.lane(0).nulls(), |id, row, _| {
            self.fold(id, values.value(row))
        });
        Ok(())
    }

    fn finish(&self, _: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        for id in ids {
            if self.set[*id as usize] {
                out.push_bytes(&self.values[*id as usize]);
            } else {
                out.push_null();
            }
        }
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        for id in ids {
            self.set[*id as usize] = false;
            self.values[*id as usize] = Vec::new();
        }
    }

    fn shape(&self) -> Shape {
        Shape::scalar(vec![Form::Bytes])
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        out.ids.extend_from_slice(ids);
        for id in ids {
            if self.set[*id as usize] {
                out.body[0].push_bytes(&self.values[*id as usize]);
            } else {
                out.body[0].push_null();
            }
        }
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (at, id) in from.ids.iter().enumerate() {
            if from.body[0].is_valid(at) {
                self.fold(*id as usize, from.body[0].bytes(at));
            }
        }
        Ok(())
    }
}
