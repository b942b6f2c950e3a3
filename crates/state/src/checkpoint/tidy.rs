//! Work on what is already saved, after a commit: merges, moves, removals.

use super::collect;
use super::manifest::{Block, Run, SegmentId};
use super::merge::{self, Merge};
use super::store::{Store, numbered, writer_leaf};
use super::{MANIFESTS, SEGMENTS, Tidied, WRITERS, block, named, read};
use bytes::Bytes;
use millstream_dataflow::{Kind, Result};
use std::collections::{BTreeMap, BTreeSet};

/// So many bytes of blocks are moved at once.
const MOVE_BYTES: u64 = 32 << 20;

/// After a checkpoint, so many times its bytes may be merged: each row is written again about so often.
const BYTES_FOR_EACH: u64 = 6;

impl Store {
    /// Merges blocks, moves them out of hollow segments, and removes what no kept checkpoint names. A bounded piece of work a
    /// call; before the first commit, and while one is to be repeated, it does nothing.
    ///
    /// # Errors
    /// `Retryable`, and nothing is lost. `BadData`, once a table: a saved block is damaged, so checkpoints from now on are
    /// damaged too until its table is [replaced](Self::replace).
    pub fn tidy(&mut self) -> Result<Tidied> {
        let mut done = Tidied::default();
        if !self.committed || !self.is_settled() {
            return Ok(done);
        }
        self.merged.finish()?;
        self.note_uploads();
        let budget = self
            .settings
            .tidy_bytes
            .max(self.last_bytes * BYTES_FOR_EACH);
        let mut worked = self.merge_within(budget, &mut done);
        if worked.is_ok() && done.bytes < budget {
            worked = self.move_within(budget, &mut done);
        }
        self.merged.finish()?;
        self.note_uploads();
        done.more = self.merge.is_some() || self.next_merge().is_some();
        done.removed = self.collect()?;
        worked.map(|()| done)
    }

    fn merge_within(&mut self, budget: u64, done: &mut Tidied) -> Result<()> {
        while done.bytes < budget {
            let merge = self.merge.take().or_else(|| self.next_merge());
            let Some(mut merge) = merge else {
                return Ok(());
            };
            let fits = self
                .base
                .get(&merge.id)
                .is_some_and(|table| merge.fits(table));
            if !fits || self.pending.replaces(&merge.id) {
                continue;
            }
            match merge.step(self.place.as_ref(), &mut self.merged, &self.settings) {
                Ok(bytes) => done.bytes += bytes.max(1),
                Err(error) if error.kind == Kind::Retryable => {
                    self.merge = Some(merge);
                    return Err(error);
                }
                Err(error) => {
                    self.unmergeable.insert(merge.id);
                    if error.kind == Kind::BadData {
                        return Err(error);
                    }
                    done.notes.push(error.to_string());
                    continue;
                }
            }
            if merge.left() > 0 {
                self.merge = Some(merge);
            } else if let Some(table) = self.base.get_mut(&merge.id.clone()) {
                merge.finish(table);
            }
        }
        Ok(())
    }

    /// The smallest merge that is due: many small ones are done while a large one would be.
    fn next_merge(&self) -> Option<Merge> {
        let due = self.base.iter().filter_map(|(id, table)| {
            let first = merge::due(table, self.settings.block_bytes)?;
            let runs = &table.runs[first..];
            let bytes: u64 = runs.iter().map(Run::bytes).sum();
            // The output of a merge of this call may not be uploaded yet.
            let mut blocks = runs.iter().flat_map(|run| &run.blocks);
            let readable = blocks.all(|block| self.known.contains_key(&block.segment));
            let stays = !self.unmergeable.contains(id) && !self.pending.replaces(id);
            (stays && readable).then_some((bytes, id, table, first))
        });
        let (_, id, table, first) = due.min_by_key(|(bytes, ..)| *bytes)?;
        Some(Merge::new(id, table, first))
    }

    /// Moves the blocks of hollow segments together.
    fn move_within(&mut self, budget: u64, done: &mut Tidied) -> Result<()> {
        let merging: BTreeSet<SegmentId> = self
            .merge
            .iter()
            .flat_map(Merge::blocks)
            .map(|b| b.segment)
            .collect();
        let full = self.settings.segment_bytes as u64;
        let hollow = collect::hollow(&self.known, &self.base, full);
        let mut moves: BTreeMap<(SegmentId, u64), Block> = BTreeMap::new();
        let mut bytes = done.bytes;
        for block in self.base.values().flat_map(|table| table.blocks()) {
            let hollow = hollow.contains(&block.segment) && !merging.contains(&block.segment);
            if hollow && bytes < budget {
                bytes += block.bytes;
                moves.insert((block.segment, block.offset), *block);
            }
        }
        let blocks: Vec<Block> = moves.values().copied().collect();
        for group in read::groups(&blocks, MOVE_BYTES) {
            for (bytes, block) in read::bytes(self.place.as_ref(), group)?
                .into_iter()
                .zip(group)
            {
                block::check(&bytes, block)?;
                done.bytes += block.bytes;
                let (segment, offset) = self.merged.put(Bytes::copy_from_slice(&bytes));
                let moved = Block {
                    segment,
                    offset,
                    ..*block
                };
                moves.insert((block.segment, block.offset), moved);
            }
            self.merged.relieve();
        }
        for table in self.base.values_mut() {
            for block in table.runs.iter_mut().flat_map(|run| &mut run.blocks) {
                if let Some(moved) = moves.get(&(block.segment, block.offset)) {
                    *block = *moved;
                }
            }
        }
        Ok(())
    }

    /// Removes what no kept checkpoint names: manifests first, then segments. Gives how many objects.
    fn collect(&mut self) -> Result<usize> {
        let keep = self.settings.keep.max(1);
        let oldest = self.kept.len().saturating_sub(keep);
        let Some(oldest) = self.kept.get(oldest).map(|manifest| manifest.sequence) else {
            return Ok(0);
        };
        let old: Vec<u64> = self.listed.range(..oldest).copied().collect();
        let names = old.iter().map(|old| named(MANIFESTS, numbered(*old)));
        let mut removed = self.remove(&names.collect::<Vec<_>>())?;
        self.listed = self.listed.split_off(&oldest);
        self.kept.retain(|manifest| manifest.sequence >= oldest);
        let mut used: BTreeSet<SegmentId> = self.pending.segments_used().collect();
        used.extend(
            self.kept
                .iter()
                .flat_map(|manifest| manifest.segments.keys()),
        );
        used.extend(
            self.base
                .values()
                .flat_map(|table| table.blocks())
                .map(|b| b.segment),
        );
        used.extend(
            self.merge
                .iter()
                .flat_map(Merge::blocks)
                .map(|block| block.segment),
        );
        let garbage = collect::garbage(&self.known, &used, self.writer);
        let names = garbage.iter().map(|id| named(SEGMENTS, id));
        removed += self.remove(&names.collect::<Vec<_>>())?;
        for id in garbage {
            self.known.remove(&id);
        }
        Ok(removed + self.forget_writers()?)
    }

    /// Removes the entries of writers before this one, once.
    fn forget_writers(&mut self) -> Result<usize> {
        if self.alone {
            return Ok(0);
        }
        let mut leaves: Vec<String> = self.place.list(WRITERS)?.into_keys().collect();
        leaves.retain(|leaf| *leaf < writer_leaf(self.writer));
        let names = leaves.iter().map(|leaf| named(WRITERS, leaf));
        let removed = self.remove(&names.collect::<Vec<_>>())?;
        self.alone = true;
        Ok(removed)
    }

    fn remove(&self, names: &[String]) -> Result<usize> {
        if !names.is_empty() {
            self.place.remove(names)?;
        }
        Ok(names.len())
    }
}
