//! Slices merged ahead, so that a HOP window of thousands of slices does not merge each of them every time.
//!
//! ```text
//! level 1   |    b0     |    b1     |        a block is the merge of 4 of the level below
//! slices    |0 |1 |2 |3 |4 |5 |6 |7 |8 |9 |
//! a window        [2  3 +    b1     + 8 ]
//! ```
//!
//! Invariant: a block holds what its slices hold; a row that comes to a slice takes the blocks over it away. Blocks are
//! not saved: they are made again.

use super::aggregate::Shape;
use crate::aggregate::Groups;
use millstream_dataflow::Result;
use std::collections::BTreeMap;

const FAN: i64 = 4;

/// Blocks by level (from 1) and number.
#[derive(Default)]
pub(super) struct Blocks {
    made: BTreeMap<(u32, i64), Groups>,
}

impl Blocks {
    /// A slice changed.
    pub(super) fn forget(&mut self, slice: i64) {
        let mut number = slice;
        for level in 1.. {
            number = number.div_euclid(FAN);
            if self.made.remove(&(level, number)).is_none() && !self.has_above(level) {
                return;
            }
        }
    }

    /// Slices below this one are gone for good: so are blocks with any of them, and no window asks for them again.
    pub(super) fn drop_before(&mut self, slice: i64) {
        self.made
            .retain(|(level, number), _| number.saturating_mul(FAN.pow(*level)) >= slice);
    }

    /// Adds the slices `from..to` (numbers) of `open` to `into`.
    pub(super) fn merge(
        &mut self,
        shape: &Shape,
        open: &BTreeMap<i64, Groups>,
        (from, to): (i64, i64),
        into: &mut Groups,
    ) -> Result<()> {
        let mut at = from;
        while at < to {
            let mut level = 0;
            while at.rem_euclid(FAN.pow(level + 1)) == 0 && at + FAN.pow(level + 1) <= to {
                level += 1;
            }
            let number = at.div_euclid(FAN.pow(level));
            self.make(shape, open, level, number)?;
            if let Some(groups) = self.get(shape, open, level, number) {
                into.absorb(groups)?;
            }
            at += FAN.pow(level);
        }
        Ok(())
    }

    /// Makes a block and those under it.
    fn make(
        &mut self,
        shape: &Shape,
        open: &BTreeMap<i64, Groups>,
        level: u32,
        number: i64,
    ) -> Result<()> {
        if level == 0 || self.made.contains_key(&(level, number)) {
            return Ok(());
        }
        let mut groups = Groups::new(&shape.plan)?;
        for child in number * FAN..(number + 1) * FAN {
            self.make(shape, open, level - 1, child)?;
            if let Some(child) = self.get(shape, open, level - 1, child) {
                groups.absorb(child)?;
            }
        }
        self.made.insert((level, number), groups);
        Ok(())
    }

    fn get<'a>(
        &'a self,
        shape: &Shape,
        open: &'a BTreeMap<i64, Groups>,
        level: u32,
        number: i64,
    ) -> Option<&'a Groups> {
        if level == 0 {
            open.get(&shape.window.slice_at(number))
        } else {
            self.made.get(&(level, number))
        }
    }

    fn has_above(&self, level: u32) -> bool {
        self.made
            .last_key_value()
            .is_some_and(|((top, _), _)| *top > level)
    }
}
