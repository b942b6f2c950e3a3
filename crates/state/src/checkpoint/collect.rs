//! Which segments may go, and which are worth emptying: plain decisions.

use super::manifest::{SegmentId, Table, TableId};
use std::collections::{BTreeMap, BTreeSet};

/// Segments that are small are moved together when so many have come together.
const SMALL_SEGMENTS: usize = 32;

/// A segment is small below this part of a full one.
const SMALL_PART: u64 = 64;

/// The segments that nobody names. Those of later writers are none of ours: they may be about to be named.
pub(super) fn garbage(
    known: &BTreeMap<SegmentId, u64>,
    used: &BTreeSet<SegmentId>,
    writer: u64,
) -> Vec<SegmentId> {
    let ids = known.keys().copied();
    ids.filter(|id| id.writer <= writer && !used.contains(id))
        .collect()
}

/// The segments of which less than half is named, and the small ones when there are many.
pub(super) fn hollow(
    known: &BTreeMap<SegmentId, u64>,
    tables: &BTreeMap<TableId, Table>,
    full: u64,
) -> BTreeSet<SegmentId> {
    let mut live: BTreeMap<SegmentId, u64> = BTreeMap::new();
    for block in tables.values().flat_map(Table::blocks) {
        *live.entry(block.segment).or_default() += block.bytes;
    }
    let small = |id: &SegmentId| {
        known
            .get(id)
            .is_some_and(|bytes| *bytes < full / SMALL_PART)
    };
    let many = live.keys().filter(|id| small(id)).count() > SMALL_SEGMENTS;
    let hollow = live.iter().filter(|(id, live)| {
        let half = known.get(*id).is_some_and(|bytes| **live < bytes / 2);
        half && !small(id) || many && small(id)
    });
    hollow.map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::{Block, Run};

    fn id(writer: u64, number: u32) -> SegmentId {
        SegmentId { writer, number }
    }

    fn tables(blocks: &[(SegmentId, u64)]) -> BTreeMap<TableId, Table> {
        let block = |(segment, bytes): &(SegmentId, u64)| Block {
            segment: *segment,
            offset: 64,
            bytes: *bytes,
            raw: 0,
            rows: 1,
            removals: 0,
            checksum: 0,
        };
        let run = Run {
            merged: false,
            blocks: blocks.iter().map(block).collect(),
        };
        let table = Table {
            key_columns: 1,
            runs: vec![run],
        };
        let id = TableId {
            node: 1,
            worker: 0,
            table: "rows".to_owned(),
        };
        BTreeMap::from([(id, table)])
    }

    #[test]
    fn what_is_named_or_of_a_later_writer_stays() {
        let known = BTreeMap::from([(id(1, 1), 9), (id(2, 1), 9), (id(2, 2), 9), (id(3, 1), 9)]);
        let used = BTreeSet::from([id(2, 1)]);
        assert_eq!(garbage(&known, &used, 2), [id(1, 1), id(2, 2)]);
    }

    #[test]
    fn half_empty_segments_are_hollow() {
        let known = BTreeMap::from([(id(1, 1), 1000), (id(1, 2), 1000)]);
        let tables = tables(&[(id(1, 1), 400), (id(1, 2), 300), (id(1, 2), 300)]);
        assert_eq!(hollow(&known, &tables, 1000), BTreeSet::from([id(1, 1)]));
    }

    #[test]
    fn many_small_segments_are_moved_together_and_few_are_not() {
        for (count, expected) in [
            (SMALL_SEGMENTS, 0),
            (SMALL_SEGMENTS + 1, SMALL_SEGMENTS + 1),
        ] {
            let ids: Vec<SegmentId> = (0..count as u32).map(|number| id(1, number)).collect();
            let known = ids.iter().map(|id| (*id, 10)).collect();
            let blocks: Vec<(SegmentId, u64)> = ids.iter().map(|id| (*id, 2)).collect();
            let found = hollow(&known, &tables(&blocks), 64_000);
            assert_eq!(found.len(), expected);
        }
    }
}
