//! Rows on their way to another worker: split by the hash of their key, taken up in the order of the workers.

use arrow::array::{ArrayRef, UInt32Array};
use millstream_dataflow::{Delta, Partitioning, Result, hash};
use std::sync::Arc;

/// Splits deltas by hash, with buffers that it keeps.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    hashes: Vec<u64>,
    rows: Vec<Vec<u32>>,
}

impl Splitter {
    /// Gives each worker's share of a delta, in the order of its rows, if it has one.
    pub(crate) fn split(
        &mut self,
        delta: Delta,
        exchange: &Partitioning,
        workers: usize,
        mut give: impl FnMut(usize, Delta),
    ) -> Result<()> {
        let Partitioning::Keys(keys) = exchange else {
            give(0, delta);
            return Ok(());
        };
        let columns: Vec<ArrayRef> = keys
            .iter()
            .map(|key| Arc::clone(delta.column(*key)))
            .collect();
        hash::rows(&columns, delta.rows(), &mut self.hashes)?;
        self.rows.resize_with(workers, Vec::new);
        self.rows.iter_mut().for_each(Vec::clear);
        for (row, hash) in self.hashes.iter().enumerate() {
            self.rows[hash::worker(*hash, workers)].push(row as u32);
        }
        if let Some(only) = self.rows.iter().position(|rows| rows.len() == delta.rows()) {
            give(only, delta);
            return Ok(());
        }
        for (worker, rows) in self.rows.iter().enumerate() {
            if !rows.is_empty() {
                give(worker, delta.take(&UInt32Array::from(rows.clone()))?);
            }
        }
        Ok(())
    }
}

/// Cuts the deltas of one source, which stand in the order of its partitions, into contiguous shares of about as many
/// rows: one worker behind the other they are in the same order for any number of workers.
pub(crate) fn share_out(deltas: Vec<Delta>, workers: usize, mut give: impl FnMut(usize, Delta)) {
    let rows: usize = deltas.iter().map(Delta::rows).sum();
    let share = rows.div_ceil(workers).max(1);
    let mut before = 0;
    for delta in deltas {
        let mut at = 0;
        while at < delta.rows() {
            let worker = (before + at) / share;
            let length = ((worker + 1) * share - before - at).min(delta.rows() - at);
            give(worker, delta.slice(at, length));
            at += length;
        }
        before += delta.rows();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::{delta, show};

    #[test]
    fn shares_are_contiguous_and_even() {
        let deltas = vec![
            delta("a int", "+1 1 / +1 2 / +1 3"),
            delta("a int", "+1 4 / -1 5"),
        ];
        let mut given = Vec::new();
        share_out(deltas, 2, |worker, share| {
            given.push((worker, show(&share)))
        });
        let expected = [(0, "+1 1 / +1 2 / +1 3"), (1, "+1 4 / -1 5")];
        assert_eq!(
            given,
            expected.map(|(worker, text)| (worker, text.to_owned()))
        );
    }

    #[test]
    fn a_split_keeps_every_row_and_sends_equal_keys_to_one_worker() {
        let rows: Vec<String> = (0..100)
            .map(|row| format!("+1 {} {row}", row % 7))
            .collect();
        let all = delta("k int, v int", &rows.join(" / "));
        let mut homes = std::collections::HashMap::new();
        let mut total = 0;
        Splitter::default()
            .split(all, &Partitioning::Keys(vec![0]), 3, |worker, share| {
                total += share.rows();
                for line in show(&share).split(" / ") {
                    let key = line.split(' ').nth(1).unwrap().to_owned();
                    assert_eq!(*homes.entry(key).or_insert(worker), worker);
                }
            })
            .unwrap();
        assert_eq!(total, 100);
    }
}
