//! The values of a group with how often they are there, in their order: MIN and MAX under retractions, COLLECT,
//! PERCENTILE.

use super::accumulator::{Accumulator, Args, Entries, Exported, Finish, Rows, Shape};
use super::change_log::ChangeLog;
use super::extreme::Number;
use super::function::Function;
use arrow::array::BinaryViewArray;
use millstream_dataflow::{Error, Result};
use millstream_state::{Cells, Form, Lane};
use std::borrow::Borrow;
use std::collections::BTreeMap;

/// A value that a bag can hold, and how it is looked up without a copy.
pub(crate) trait Item: Ord + Clone + Send + Borrow<Self::Look> {
    /// What is compared.
    type Look: Ord + ToOwned<Owned = Self> + ?Sized;
    /// A column of values.
    type Column: ?Sized;
    /// The form of the values.
    const FORM: Form;
    fn column(lane: &Lane) -> Option<&Self::Column>;
    fn look(column: &Self::Column, row: usize) -> &Self::Look;
    fn cell(cells: &Cells, at: usize) -> Self;
    fn push(&self, cells: &mut Cells);
}

impl<T: Number> Item for T {
    type Look = T;
    type Column = [T];
    const FORM: Form = <T as Number>::FORM;

    fn column(lane: &Lane) -> Option<&[T]> {
        T::lane(lane)
    }

    fn look(column: &[T], row: usize) -> &T {
        &column[row]
    }

    fn cell(cells: &Cells, at: usize) -> Self {
        <T as Number>::cell(cells, at)
    }

    fn push(&self, cells: &mut Cells) {
        Number::push(*self, cells);
    }
}

impl Item for Vec<u8> {
    type Look = [u8];
    type Column = BinaryViewArray;
    const FORM: Form = Form::Bytes;

    fn column(lane: &Lane) -> Option<&BinaryViewArray> {
        match lane {
            Lane::Bytes(values) => Some(values),
            Lane::Long { .. } | Lane::Wide { .. } => None,
        }
    }

    fn look(column: &BinaryViewArray, row: usize) -> &[u8] {
        column.value(row)
    }

    fn cell(cells: &Cells, at: usize) -> Self {
        cells.bytes(at).to_vec()
    }

    fn push(&self, cells: &mut Cells) {
        cells.push_bytes(self);
    }
}

/// The values of each group. Invariant: no count is zero; one may be negative within a step, while a retraction has
/// come before its insertion.
#[derive(Debug)]
pub(crate) struct Bag<T> {
    groups: Vec<BTreeMap<T, i64>>,
    log: ChangeLog<T>,
}

impl<T> Bag<T> {
    /// Empty bags.
    pub(crate) fn new() -> Self {
        Self {
            groups: Vec::new(),
            log: ChangeLog::default(),
        }
    }
}

impl<T: Item> Bag<T> {
    #[inline]
    pub(super) fn add(&mut self, id: usize, value: &T::Look, weight: i64) {
        let group = &mut self.groups[id];
        match group.get_mut(value) {
            Some(count) if *count + weight == 0 => {
                group.remove(value);
            }
            Some(count) => *count += weight,
            None => {
                group.insert(value.to_owned(), weight);
            }
        }
        self.log.note(id as u32, || value.to_owned());
    }

    /// The values of a group, least first, with their counts.
    pub(super) fn sorted(&self, id: u32) -> impl Iterator<Item = (T, i64)> {
        self.groups[id as usize]
            .iter()
            .map(|(value, count)| (value.clone(), *count))
    }

    fn push_extreme(&self, id: u32, greatest: bool, out: &mut Cells) {
        let mut present = self.groups[id as usize]
            .iter()
            .filter(|(_, count)| **count > 0);
        let found = if greatest {
            present.next_back()
        } else {
            present.next()
        };
        match found {
            Some((value, _)) => value.push(out),
            None => out.push_null(),
        }
    }

    fn push_all(&self, id: u32, out: &mut Cells) {
        out.push_list(|children| {
            for (value, count) in &self.groups[id as usize] {
                if *count > 0 {
                    value.push(&mut children[0]);
                    children[1].push_long(*count);
                }
            }
        });
    }
}

impl<T: Item> Accumulator for Bag<T> {
    fn grow(&mut self, groups: usize) {
        if self.groups.len() < groups {
            self.groups.resize_with(groups, BTreeMap::new);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let lane = args.lane(0);
        let column = T::column(lane).ok_or_else(|| Error::internal("a bag of another form"))?;
        rows.each(lane.nulls(), |id, row, weight| {
            self.add(id, T::look(column, row), weight)
        });
        Ok(())
    }

    fn finish(&self, how: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        match how.function {
            Function::Collect => ids.iter().for_each(|id| self.push_all(*id, out)),
            function => {
                let greatest = function == Function::Max;
                ids.iter()
                    .for_each(|id| self.push_extreme(*id, greatest, out));
            }
        }
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        for id in ids {
            for value in std::mem::take(&mut self.groups[*id as usize]).into_keys() {
                self.log.note(*id, || value);
            }
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            key: vec![T::FORM],
            body: vec![Form::Long],
        }
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        for id in ids {
            for (value, count) in &self.groups[*id as usize] {
                out.ids.push(*id);
                value.push(&mut out.key[0]);
                out.body[0].push_long(*count);
            }
        }
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (at, id) in from.ids.iter().enumerate() {
            let value = T::cell(&from.key[0], at);
            self.add(*id as usize, value.borrow(), from.body[0].long(at));
        }
        Ok(())
    }

    fn entries(&mut self) -> Option<&mut dyn Entries> {
        Some(self)
    }
}

impl<T: Item> Entries for Bag<T> {
    fn track(&mut self) {
        self.log.start();
    }

    fn changed(&mut self, kept: &mut Exported, gone: &mut Exported) {
        for (id, value) in self.log.take() {
            let count = self.groups[id as usize].get(value.borrow());
            let out = if count.is_some() {
                &mut *kept
            } else {
                &mut *gone
            };
            out.ids.push(id);
            value.push(&mut out.key[0]);
            if let Some(count) = count {
                out.body[0].push_long(*count);
            }
        }
    }

    fn set(&mut self, entries: &Exported, present: bool) -> Result<()> {
        for (at, id) in entries.ids.iter().enumerate() {
            let value = T::cell(&entries.key[0], at);
            if present {
                self.groups[*id as usize].insert(value, entries.body[0].long(at));
            } else {
                self.groups[*id as usize].remove::<T::Look>(value.borrow());
            }
        }
        Ok(())
    }
}
