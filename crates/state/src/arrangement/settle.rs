//! Weighted rows against an arrangement: retractions find the row that they take back.
//!
//! A retraction walks the chain of its key. Where a chain is too long for that (a key with very many rows), whole rows
//! are indexed from then on, and equal rows are kept as one with their weights summed.

use super::{Arrangement, HashIndex, PROBE_ROWS, pick};
use crate::row_log::NONE;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute;
use hashbrown::HashMap;
use millstream_dataflow::{Result, hash};

/// A retraction that has walked this many rows of a chain asks for the index of whole rows.
const WALK_MAX: usize = 64;

/// What one row of a batch found.
enum Walk {
    /// These rows take so much weight each; the rest of the row's weight is left.
    Found { left: i64 },
    /// The chain is too long.
    TooLong,
}

impl Arrangement {
    /// Applies rows with these hashes of their keys and these weights. Weight goes first to rows that are equal and of the
    /// other sign; what is left of it is added. `ids` is cleared and gets the id of each row that was added, or
    /// [`NONE`].
    pub fn apply(
        &mut self,
        columns: &[ArrayRef],
        hashes: &[u64],
        weights: &[i64],
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        self.refresh()?;
        ids.clear();
        ids.resize(hashes.len(), NONE);
        let rows = |sign: bool| {
            let all = 0..weights.len() as u32;
            all.filter(|row| (weights[*row as usize] > 0) == sign)
                .collect::<Vec<u32>>()
        };
        let mut left = weights.to_vec();
        for sign in [true, false] {
            let rows = rows(sign);
            let others = !sign || self.log.negative_rows() > 0 || self.whole.is_some();
            if others && !rows.is_empty() {
                self.settle(columns, hashes, &rows, &mut left)?;
            }
            self.add(columns, hashes, &rows, &left, ids)?;
        }
        Ok(())
    }

    /// Adds what is left of some rows.
    fn add(
        &mut self,
        columns: &[ArrayRef],
        hashes: &[u64],
        rows: &[u32],
        left: &[i64],
        ids: &mut [u32],
    ) -> Result<()> {
        let rows: Vec<u32> = rows
            .iter()
            .copied()
            .filter(|row| left[*row as usize] != 0)
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let mut added = Vec::new();
        if rows.len() == hashes.len() {
            self.insert(columns, hashes, &mut added)?;
        } else {
            let at = UInt32Array::from(rows.clone());
            let columns: Vec<ArrayRef> = columns
                .iter()
                .map(|column| Ok(compute::take(column, &at, None)?))
                .collect::<Result<_>>()?;
            let hashes: Vec<u64> = rows.iter().map(|row| hashes[*row as usize]).collect();
            self.insert(&columns, &hashes, &mut added)?;
        }
        for (row, id) in rows.iter().zip(added) {
            ids[*row as usize] = id;
            if left[*row as usize] != 1 {
                self.log.set_weight(id, left[*row as usize]);
            }
        }
        Ok(())
    }

    /// Lets weight meet equal rows. `left` is reduced by what they took.
    fn settle(
        &mut self,
        columns: &[ArrayRef],
        hashes: &[u64],
        rows: &[u32],
        left: &mut [i64],
    ) -> Result<()> {
        let mut weights = HashMap::with_hasher(foldhash::fast::FixedState::default());
        let mut at = 0;
        if self.whole.is_none() {
            at = self.settle_by_chain(columns, hashes, rows, left, &mut weights)?;
            self.write(&mut weights)?;
            if at < rows.len() {
                self.build_whole()?;
            }
        }
        if at < rows.len() {
            self.settle_by_whole(columns, &rows[at..], left, &mut weights)?;
        }
        self.write(&mut weights)
    }

    /// Sets the weights that rows have now; those without weight leave.
    fn write(&mut self, weights: &mut Weights) -> Result<()> {
        let mut weights: Vec<(u32, i64)> = weights.drain().collect();
        weights.sort_unstable();
        let gone: Vec<u32> = weights
            .iter()
            .filter(|(_, weight)| *weight == 0)
            .map(|(id, _)| *id)
            .collect();
        for (id, weight) in weights.iter().filter(|(_, weight)| *weight != 0) {
            self.log.set_weight(*id, *weight);
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.remove(&gone)
    }

    /// Gives where it stopped: at a row whose chain is too long, or at the end.
    fn settle_by_chain(
        &self,
        columns: &[ArrayRef],
        hashes: &[u64],
        rows: &[u32],
        left: &mut [i64],
        weights: &mut Weights,
    ) -> Result<usize> {
        let keys = pick(columns, &self.keys);
        let same_key = self.log.compare(&self.keys, &keys)?;
        let columns = &columns[..self.identity.len()];
        let same = self.log.compare(&self.identity, columns)?;
        for (at, row) in rows.iter().enumerate() {
            let row = *row as usize;
            let head = self
                .index
                .find(hashes[row], |head| same_key.equal(row, head));
            match self.walk(head, left[row], |id| same.equal(row, id), weights) {
                Walk::Found { left: rest } => left[row] = rest,
                Walk::TooLong => return Ok(at),
            }
        }
        Ok(rows.len())
    }

    fn walk(
        &self,
        head: Option<u32>,
        weight: i64,
        same: impl Fn(u32) -> bool,
        weights: &mut Weights,
    ) -> Walk {
        let mut left = weight;
        let mut taken: Vec<(u32, i64)> = Vec::new();
        let mut id = head.unwrap_or(NONE);
        let mut steps = 0;
        while id != NONE && left != 0 {
            let has = weights.get(&id).copied().unwrap_or(self.log.weight(id));
            if (has < 0) != (left < 0) && has != 0 && same(id) {
                let sum = has + left;
                // The weight that is nearer to zero is used up.
                let (kept, rest) = if (sum < 0) == (has < 0) {
                    (sum, 0)
                } else {
                    (0, sum)
                };
                taken.push((id, kept));
                left = rest;
            }
            id = self.next.get(id);
            steps += 1;
            if steps > WALK_MAX && left != 0 {
                return Walk::TooLong;
            }
        }
        weights.extend(taken);
        Walk::Found { left }
    }

    /// Adds the weight to the equal row, whatever its sign.
    fn settle_by_whole(
        &self,
        columns: &[ArrayRef],
        rows: &[u32],
        left: &mut [i64],
        weights: &mut Weights,
    ) -> Result<()> {
        let Some(whole) = &self.whole else {
            return Ok(());
        };
        let columns = &columns[..self.identity.len()];
        let mut hashes = Vec::new();
        hash::rows(columns, left.len(), &mut hashes)?;
        let same = self.log.compare(&self.identity, columns)?;
        for row in rows.iter().map(|row| *row as usize) {
            if let Some(id) = whole.find(hashes[row], |id| same.equal(row, id)) {
                let has = weights.get(&id).copied().unwrap_or(self.log.weight(id));
                weights.insert(id, has + left[row]);
                left[row] = 0;
            }
        }
        Ok(())
    }

    /// Indexes whole rows; equal ones become one.
    fn build_whole(&mut self) -> Result<()> {
        let ids: Vec<u32> = self.log.ids().collect();
        let mut whole = HashIndex::new();
        whole.reserve(ids.len());
        let mut weights = HashMap::with_hasher(foldhash::fast::FixedState::default());
        let mut hashes = Vec::new();
        for ids in ids.chunks(PROBE_ROWS) {
            let columns: Vec<ArrayRef> = self
                .identity
                .iter()
                .map(|column| self.log.gather(*column, ids))
                .collect::<Result<_>>()?;
            hash::rows(&columns, ids.len(), &mut hashes)?;
            let same = self.log.compare(&self.identity, &columns)?;
            for (row, id) in ids.iter().enumerate() {
                let first = whole.find_or_insert(hashes[row], *id, |other| same.equal(row, other));
                if let Some(first) = first {
                    let has = weights.get(&first).copied();
                    let has = has.unwrap_or(self.log.weight(first));
                    weights.insert(first, has + self.log.weight(*id));
                    weights.insert(*id, 0);
                }
            }
        }
        self.whole = Some(whole);
        self.write(&mut weights)
    }
}

type Weights = HashMap<u32, i64, foldhash::fast::FixedState>;
