//! A hash table from hashes to row ids that keeps no keys: who looks up compares the rows.
//!
//! ```text
//! slot = low 32 bits of the hash | id + 1        0 = empty        linear probing, home = tag & mask
//! ```
//!
//! Eight bytes a slot, at most five of eight slots taken. Removal shifts back, so that there are no tombstones.

/// Slots of a batch that are read ahead together, so that their cache misses overlap.
pub(super) const BLOCK: usize = 64;

/// A hash table from hashes to ids below 2^32 - 1.
#[derive(Clone, Debug)]
pub struct HashIndex {
    slots: Vec<u64>,
    entries: usize,
}

impl Default for HashIndex {
    fn default() -> Self {
        Self {
            slots: vec![0; 16],
            entries: 0,
        }
    }
}

fn slot_of(tag: u32, id: u32) -> u64 {
    u64::from(tag) << 32 | (u64::from(id) + 1)
}

fn tag_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

fn id_of(slot: u64) -> u32 {
    (slot as u32).wrapping_sub(1)
}

impl HashIndex {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The memory of the table.
    pub fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }

    /// Makes room for this many more entries: until then slots stay where they are.
    pub fn reserve(&mut self, more: usize) {
        let wanted = (self.entries + more) * 8 / 5 + 1;
        if wanted <= self.slots.len() {
            return;
        }
        let size = wanted.next_power_of_two();
        let old = std::mem::replace(&mut self.slots, vec![0; size]);
        let mask = size - 1;
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            let mut at = tag_of(slot) as usize & mask;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = slot;
        }
    }

    /// The entry with this hash that `equal` accepts.
    #[inline]
    pub fn find(&self, hash: u64, equal: impl FnMut(u32) -> bool) -> Option<u32> {
        self.position(hash as u32, equal)
            .ok()
            .map(|at| id_of(self.slots[at]))
    }

    /// For each row that is not skipped the entry that `equal(row, id)` accepts: `found(row, id)`.
    #[inline]
    pub fn find_all(
        &self,
        hashes: &[u64],
        skip: impl Fn(usize) -> bool,
        equal: impl Fn(usize, u32) -> bool,
        mut found: impl FnMut(usize, u32),
    ) {
        let mask = self.slots.len() - 1;
        let mut first = [0_u64; BLOCK];
        for (block, hashes) in hashes.chunks(BLOCK).enumerate() {
            for (slot, hash) in first.iter_mut().zip(hashes) {
                *slot = self.slots[*hash as u32 as usize & mask];
            }
            for (place, hash) in hashes.iter().enumerate() {
                let row = block * BLOCK + place;
                let (slot, tag) = (first[place], *hash as u32);
                if slot == 0 || skip(row) {
                    continue;
                }
                if tag_of(slot) == tag && equal(row, id_of(slot)) {
                    found(row, id_of(slot));
                } else if let Ok(at) = self.position(tag, |id| equal(row, id)) {
                    found(row, id_of(self.slots[at]));
                }
            }
        }
    }

    /// Reads the home slots of the next block of rows, so that their cache misses overlap.
    #[inline]
    pub(super) fn read_ahead(&self, hashes: &[u64]) {
        let mask = self.slots.len() - 1;
        let homes = hashes.iter().take(BLOCK);
        let slots = homes.map(|hash| self.slots[*hash as u32 as usize & mask]);
        std::hint::black_box(slots.fold(0, |all, slot| all ^ slot));
    }

    /// Puts `id` in the place of the entry that `equal` accepts and gives that one, or adds it. Room must be reserved.
    #[inline]
    pub fn upsert(&mut self, hash: u64, id: u32, equal: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = hash as u32;
        match self.position(tag, equal) {
            Ok(at) => {
                let old = id_of(self.slots[at]);
                self.slots[at] = slot_of(tag, id);
                Some(old)
            }
            Err(at) => {
                self.slots[at] = slot_of(tag, id);
                self.entries += 1;
                None
            }
        }
    }

    /// The entry that `equal` accepts, or `id`, added. Room must be reserved.
    #[inline]
    pub fn find_or_insert(
        &mut self,
        hash: u64,
        id: u32,
        equal: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let tag = hash as u32;
        match self.position(tag, equal) {
            Ok(at) => Some(id_of(self.slots[at])),
            Err(at) => {
                self.slots[at] = slot_of(tag, id);
                self.entries += 1;
                None
            }
        }
    }

    /// Puts another id in the place of `old`, which has this hash.
    pub fn replace(&mut self, hash: u64, old: u32, new: u32) {
        if let Ok(at) = self.position(hash as u32, |id| id == old) {
            self.slots[at] = slot_of(hash as u32, new);
        }
    }

    /// Removes `id`, which has this hash.
    pub fn remove(&mut self, hash: u64, id: u32) {
        let Ok(mut hole) = self.position(hash as u32, |other| other == id) else {
            return;
        };
        let mask = self.slots.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let home = tag_of(slot) as usize & mask;
            // The entry may move into the hole unless its home lies behind the hole.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        self.entries -= 1;
    }

    /// The slot of the entry that `equal` accepts, or else the empty slot for it.
    #[inline]
    fn position(&self, tag: u32, mut equal: impl FnMut(u32) -> bool) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut at = tag as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return Err(at);
            }
            if tag_of(slot) == tag && equal(id_of(slot)) {
                return Ok(at);
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::Random;
    use std::collections::HashMap;

    #[test]
    fn it_agrees_with_a_map_under_inserts_and_removals() {
        let mut random = Random(3);
        let mut index = HashIndex::new();
        let mut map: HashMap<u64, u32> = HashMap::new();
        for id in 0..20_000_u32 {
            // Few different hashes, close together: long runs of taken slots.
            let hash = random.below(3000) as u64 / 3 * 2;
            index.reserve(1);
            match map.remove(&hash) {
                Some(old) if random.below(2) == 0 => index.remove(hash, old),
                old => {
                    let given = index.upsert(hash, id, |other| Some(other) == old);
                    assert_eq!(given, old);
                    map.insert(hash, id);
                }
            }
            assert_eq!(index.len(), map.len());
        }
        for (hash, id) in &map {
            assert_eq!(index.find(*hash, |other| other == *id), Some(*id));
        }
        let hashes: Vec<u64> = (0..3000).collect();
        let mut found = HashMap::new();
        index.find_all(
            &hashes,
            |row| row == 10,
            |row, id| map.get(&(row as u64)) == Some(&id),
            |row, id| {
                found.insert(row as u64, id);
            },
        );
        map.remove(&10);
        assert_eq!(found, map);
    }
}
