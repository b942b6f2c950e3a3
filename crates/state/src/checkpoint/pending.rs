//! What was added since the last checkpoint: changes that wait for more of their table, and blocks.
//!
//! ```text
//! add --> waiting (up to a block's bytes a table) --> block in a segment --> uploaded --> named by the next manifest
//! ```
//!
//! Invariant: what was added is here until a checkpoint that names it is written, whatever fails in between.

use super::keys::{self, Keys};
use super::manifest::{Block, Run, SegmentId, Table, TableId};
use super::segments::Segments;
use super::{Settings, block, dense};
use arrow::array::UInt32Array;
use millstream_dataflow::{Delta, Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// What was added since the last checkpoint.
pub(super) struct Pending {
    settings: Settings,
    pub(super) segments: Segments,
    tables: BTreeMap<TableId, Added>,
    /// The bytes of the changes that wait, roughly.
    waiting: usize,
}

#[derive(Default)]
struct Added {
    key_columns: usize,
    /// The blocks of earlier checkpoints don't count.
    replaces: bool,
    waiting: Vec<Delta>,
    waiting_bytes: usize,
    blocks: Vec<Block>,
}

impl Pending {
    pub(super) fn new(settings: Settings, segments: Segments) -> Self {
        Self {
            settings,
            segments,
            tables: BTreeMap::new(),
            waiting: 0,
        }
    }

    /// Whether there is nothing but promises to replace tables.
    pub(super) fn is_empty(&self) -> bool {
        let mut added = self.tables.values();
        added.all(|added| added.waiting.is_empty() && added.blocks.is_empty())
    }

    /// The bytes in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.waiting + self.segments.waiting()
    }

    /// The segments that blocks are in.
    pub(super) fn segments_used(&self) -> impl Iterator<Item = SegmentId> {
        let blocks = self.tables.values().flat_map(|added| &added.blocks);
        blocks.map(|block| block.segment)
    }

    /// Forgets what earlier checkpoints, and earlier calls, hold of a table.
    pub(super) fn replace(&mut self, id: &TableId) {
        let added = self.tables.entry(id.clone()).or_default();
        self.waiting -= added.waiting_bytes;
        *added = Added {
            replaces: true,
            ..Added::default()
        };
    }

    /// Whether the table's earlier blocks don't count.
    pub(super) fn replaces(&self, id: &TableId) -> bool {
        self.tables.get(id).is_some_and(|added| added.replaces)
    }

    pub(super) fn add(&mut self, id: &TableId, key_columns: usize, change: Delta) -> Result<()> {
        block::removals(&change)?;
        if key_columns > change.batch().num_columns() {
            return Err(Error::internal(format!(
                "a change of the table {id} has fewer than its {key_columns} key columns"
            )));
        }
        if change.is_empty() {
            return Ok(());
        }
        let bytes = dense::bytes(change.batch());
        let added = self.tables.entry(id.clone()).or_default();
        let known = !added.blocks.is_empty() || !added.waiting.is_empty();
        if known && added.key_columns != key_columns {
            return Err(other_keys(id, added.key_columns, key_columns));
        }
        added.key_columns = key_columns;
        let alone = bytes >= self.settings.block_bytes
            || !keys::are_comparable(&change.schema(), key_columns)
            || added
                .waiting
                .first()
                .is_some_and(|first| first.schema() != change.schema());
        if alone {
            self.encode(id)?;
        }
        let added = self.tables.entry(id.clone()).or_default();
        added.waiting.push(change);
        added.waiting_bytes += bytes;
        self.waiting += bytes;
        if alone || added.waiting_bytes >= self.settings.block_bytes {
            self.encode(id)?;
        } else if self.waiting >= self.settings.segment_bytes {
            self.encode_all()?;
        }
        self.segments.relieve();
        Ok(())
    }

    /// Makes blocks of all that waits.
    pub(super) fn encode_all(&mut self) -> Result<()> {
        let waiting = self.tables.iter().filter(|(_, it)| !it.waiting.is_empty());
        let ids: Vec<TableId> = waiting.map(|(id, _)| id.clone()).collect();
        ids.iter().try_for_each(|id| self.encode(id))
    }

    /// Makes blocks of what waits of a table.
    fn encode(&mut self, id: &TableId) -> Result<()> {
        let Some(added) = self.tables.get_mut(id).filter(|it| !it.waiting.is_empty()) else {
            return Ok(());
        };
        let change = together(&added.waiting, added.key_columns)?;
        let bytes = dense::bytes(change.batch()).max(1);
        let blocks = bytes.div_ceil(self.settings.block_bytes.max(1));
        let rows = change.rows().div_ceil(blocks).max(1);
        let mut encoded = Vec::new();
        for start in (0..change.rows()).step_by(rows) {
            let part = change.slice(start, rows.min(change.rows() - start));
            encoded.push(block::encode(&part, self.settings.codec)?);
        }
        let segments = &mut self.segments;
        added
            .blocks
            .extend(encoded.into_iter().map(|it| segments.push(it)));
        added.waiting.clear();
        self.waiting -= std::mem::take(&mut added.waiting_bytes);
        Ok(())
    }

    /// The tables of the next checkpoint: those of the last with what was added, as far as they live.
    pub(super) fn applied(
        &self,
        base: &BTreeMap<TableId, Table>,
        live: &BTreeSet<&TableId>,
    ) -> BTreeMap<TableId, Table> {
        let next = live.iter().map(|id| {
            let mut table = match base.get(*id) {
                Some(table) if !self.replaces(id) => table.clone(),
                Some(_) | None => Table::default(),
            };
            if let Some(added) = self.tables.get(*id).filter(|it| !it.blocks.is_empty()) {
                table.key_columns = added.key_columns;
                table.runs.push(Run {
                    merged: false,
                    blocks: added.blocks.clone(),
                });
            }
            ((*id).clone(), table)
        });
        next.collect()
    }

    /// Forgets what is part of a checkpoint now.
    pub(super) fn clear(&mut self) {
        self.tables.clear();
        self.waiting = 0;
    }
}

pub(super) fn other_keys(id: &TableId, before: usize, now: usize) -> Error {
    Error::internal(format!(
        "the table {id} had {before} key columns and has {now} now"
    ))
}

/// Changes as one, in which no key is twice: a table takes a change's rows in any order.
fn together(changes: &[Delta], key_columns: usize) -> Result<Delta> {
    let [first, _, ..] = changes else {
        return Ok(changes[0].clone());
    };
    let all = Delta::concat(&first.schema(), changes)?;
    let newest = Keys::new(&all.schema(), key_columns)?.newest(all.batch(), true)?;
    if newest.false_count() == 0 {
        return Ok(all);
    }
    let rows = newest.values().set_indices_u32().collect::<Vec<u32>>();
    all.take(&UInt32Array::from(rows))
}
