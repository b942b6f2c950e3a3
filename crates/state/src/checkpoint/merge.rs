//! Merging blocks of a table by key: the last change of each wins, and the rows that stay keep their order.
//!
//! ```text
//! run 0          run 1     run 2            read from the newest block to the oldest: a row stays
//! [b0][b1][b2]   [b3][b4]  [b5]             if its key has not been seen
//!  ---------------------------              a removal stays unless run 0 is the oldest of the table
//! ```
//!
//! The log of changes since a run may become as long as the run itself, then they are merged. So a row is written again
//! only when the run that it is in doubles, and restoring reads at most twice what is there, and as many removals.

use super::block::{self, encode};
use super::keys::{self, Keys};
use super::manifest::{Block, Run, Table, TableId};
use super::place::Place;
use super::segments::Segments;
use super::{Settings, dense, read};
use arrow::array::{BooleanArray, UInt32Array};
use millstream_dataflow::{Delta, Error, Result};
use std::collections::VecDeque;

/// Runs of fewer bytes than this part of a block are merged when so many have come together: each costs requests, and
/// little to restore.
const SMALL_PART: u64 = 8;
const SMALL_RUNS: usize = 4;

/// So many bytes of blocks are read at once.
const READ_BYTES: u64 = 32 << 20;

/// The first of the runs that should be merged with all behind it, if any should.
pub(super) fn due(table: &Table, block_bytes: usize) -> Option<usize> {
    let runs = &table.runs;
    let mut start = None;
    let (mut rows, mut removals, mut bytes) = (0, 0, 0);
    for (at, run) in runs.iter().enumerate().rev() {
        let doubled = at + 1 < runs.len() && rows >= run.rows();
        removals += run.removals();
        // Of the oldest run, so many rows may be gone.
        let hollow = at == 0 && 3 * removals > run.rows() + rows - removals.min(rows);
        rows += run.rows();
        bytes += run.bytes();
        let worth = bytes >= block_bytes as u64 / SMALL_PART || runs.len() - at >= SMALL_RUNS;
        if (doubled || hollow) && worth {
            start = Some(at);
        }
    }
    start
}

/// A merge that is under way.
pub(super) struct Merge {
    pub(super) id: TableId,
    /// The runs that are merged; the first of them is this one of the table.
    first: usize,
    runs: Vec<Run>,
    key_columns: usize,
    /// What is still to be read, oldest first, and whether its keys are to be remembered.
    left: Vec<(Block, bool)>,
    keys: Option<Keys>,
    /// What stays and is no block yet, newest first.
    kept: VecDeque<Delta>,
    kept_bytes: usize,
    /// Newest first.
    output: Vec<Block>,
}

impl Merge {
    pub(super) fn new(id: &TableId, table: &Table, first: usize) -> Self {
        let runs = table.runs[first..].to_vec();
        let mut left = Vec::new();
        for (at, run) in runs.iter().enumerate() {
            let remember = at > 0 || !run.merged;
            left.extend(run.blocks.iter().map(|block| (*block, remember)));
        }
        Self {
            id: id.clone(),
            first,
            runs,
            key_columns: table.key_columns,
            left,
            keys: None,
            kept: VecDeque::new(),
            kept_bytes: 0,
            output: Vec::new(),
        }
    }

    /// The bytes that are still to be read.
    pub(super) fn left(&self) -> u64 {
        self.left.iter().map(|(block, _)| block.bytes).sum()
    }

    /// Whether the runs that are merged are still those of the table.
    pub(super) fn fits(&self, table: &Table) -> bool {
        table.runs.get(self.first..).is_some_and(|runs| {
            runs.len() >= self.runs.len() && runs[..self.runs.len()] == self.runs[..]
        })
    }

    /// Whether a block of it is in the segments where `is` says so.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        let inputs = self.runs.iter().flat_map(|run| &run.blocks);
        inputs.chain(&self.output)
    }

    /// Reads some blocks, and writes those that have become full. Gives the bytes that were read; 0 at the end.
    ///
    /// # Errors
    /// As of reading; nothing has happened then, and the call may be repeated. `Internal` when the blocks cannot be merged
    /// at all.
    pub(super) fn step(
        &mut self,
        place: &dyn Place,
        segments: &mut Segments,
        settings: &Settings,
    ) -> Result<u64> {
        let mut bytes = 0;
        let mut count = 0;
        for (block, _) in self.left.iter().rev() {
            if count > 0 && bytes + block.bytes > READ_BYTES {
                break;
            }
            bytes += block.bytes;
            count += 1;
        }
        let from = self.left.len() - count;
        let blocks: Vec<Block> = self.left[from..].iter().map(|(block, _)| *block).collect();
        let changes = read::changes(place, &blocks)?;
        for change in changes.into_iter().rev() {
            if let Some((block, remember)) = self.left.pop() {
                self.take(&block, &change, remember, segments, settings)?;
            }
        }
        if self.left.is_empty() {
            self.flush(segments, settings)?;
        }
        segments.relieve();
        Ok(bytes)
    }

    /// What the merged runs have become.
    pub(super) fn finish(mut self, table: &mut Table) {
        self.output.reverse();
        let merged = Run {
            merged: true,
            blocks: self.output,
        };
        let runs = self.first..self.first + self.runs.len();
        let merged = (!merged.blocks.is_empty()).then_some(merged);
        table.runs.splice(runs, merged);
    }

    fn take(
        &mut self,
        block: &Block,
        change: &Delta,
        remember: bool,
        segments: &mut Segments,
        settings: &Settings,
    ) -> Result<()> {
        let keys = match &mut self.keys {
            Some(keys) if keys.are_of(&change.schema()) => keys,
            Some(_) => return Err(unmergeable(&self.id, "its keys have changed")),
            None if keys::are_comparable(&change.schema(), self.key_columns) => self
                .keys
                .insert(Keys::new(&change.schema(), self.key_columns)?),
            None => return Err(unmergeable(&self.id, "its keys cannot be compared")),
        };
        let newest = keys.newest(change.batch(), remember)?;
        let stays = self.without_removals(change, newest);
        if stays.true_count() == 0 {
            return Ok(());
        }
        let whole = stays.true_count() == change.rows();
        if whole && block.bytes as usize >= settings.block_bytes / 2 {
            // It stays where it is.
            self.flush(segments, settings)?;
            self.output.push(*block);
            return Ok(());
        }
        let rows: Vec<u32> = stays.values().set_indices_u32().collect();
        let change = change.take(&UInt32Array::from(rows))?;
        if self
            .kept
            .back()
            .is_some_and(|kept| kept.schema() != change.schema())
        {
            return Err(unmergeable(&self.id, "its columns have changed"));
        }
        self.kept_bytes += dense::bytes(change.batch());
        self.kept.push_back(change);
        if self.kept_bytes >= settings.block_bytes {
            self.flush(segments, settings)?;
        }
        Ok(())
    }

    /// Removals have nothing left to remove when all older rows are here.
    fn without_removals(&self, change: &Delta, newest: BooleanArray) -> BooleanArray {
        if self.first > 0 || change.is_append_only() {
            return newest;
        }
        let newest = newest.values();
        let stays = (0..change.rows()).map(|row| newest.value(row) && change.weight(row) > 0);
        stays.map(Some).collect()
    }

    fn flush(&mut self, segments: &mut Segments, settings: &Settings) -> Result<()> {
        let Some(newest) = self.kept.front() else {
            return Ok(());
        };
        let schema = newest.schema();
        let oldest_first: Vec<Delta> = self.kept.iter().rev().cloned().collect();
        let change = Delta::concat(&schema, &oldest_first)?;
        let encoded = encode(&change, settings.codec)?;
        debug_assert!(self.first > 0 || block::removals(&change)? == 0);
        self.output.push(segments.push(encoded));
        self.kept.clear();
        self.kept_bytes = 0;
        Ok(())
    }
}

/// Blocks that cannot be merged are restored one after the other as they are.
fn unmergeable(id: &TableId, why: &str) -> Error {
    Error::internal(format!(
        "the blocks of the table {id} cannot be merged, and grow with every change: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::SegmentId;

    /// Runs of so many rows and removals among them, of a byte each.
    fn table(runs: &[(u64, u64)]) -> Table {
        let run = |(rows, removals): &(u64, u64)| Run {
            merged: false,
            blocks: vec![Block {
                segment: SegmentId {
                    writer: 1,
                    number: 1,
                },
                offset: 64,
                bytes: *rows,
                raw: 0,
                rows: *rows,
                removals: *removals,
                checksum: 0,
            }],
        };
        Table {
            key_columns: 1,
            runs: runs.iter().map(run).collect(),
        }
    }

    #[test]
    fn what_has_doubled_is_merged() {
        let due = |runs: &[(u64, u64)]| due(&table(runs), 80);
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[(100, 0)]), None);
        assert_eq!(due(&[(100, 0), (40, 0), (19, 0)]), None);
        assert_eq!(due(&[(100, 0), (60, 0), (40, 0)]), Some(0));
        assert_eq!(due(&[(100, 0), (30, 0), (30, 0)]), Some(1));
    }

    #[test]
    fn what_is_mostly_gone_is_merged() {
        let due = |runs: &[(u64, u64)]| due(&table(runs), 80);
        assert_eq!(due(&[(100, 0), (30, 30)]), None);
        assert_eq!(due(&[(100, 0), (40, 40)]), Some(0));
        assert_eq!(due(&[(100, 40)]), Some(0));
    }

    #[test]
    fn little_is_merged_when_there_is_much_of_it() {
        let due = |runs: &[(u64, u64)]| due(&table(runs), 1 << 20);
        assert_eq!(due(&[(9, 0), (9, 0), (9, 0)]), None);
        assert_eq!(due(&[(9, 0), (9, 0), (9, 0), (9, 0)]), Some(0));
        assert_eq!(due(&[(50, 0), (9, 0), (9, 0), (9, 0)]), None);
    }

    /// Appending and merging as it is due: each row is written again as often as the table has doubled, about.
    #[test]
    fn rows_are_written_again_a_logarithm_of_times() {
        let (mut runs, mut written) = (Vec::new(), 0);
        for _ in 0..4096 {
            runs.push((10, 0));
            while let Some(first) = due(&table(&runs), 80) {
                let rows = runs.drain(first..).map(|(rows, _)| rows).sum();
                written += rows;
                runs.push((rows, 0));
            }
            assert!(runs.len() < 16);
        }
        assert!(written <= 40_960 * 13, "{written}");
    }
}
