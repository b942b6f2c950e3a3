//! From the hash of a key to the ids of the live rows that have it.
//!
//! Equal hashes share an entry: a row that is there a million times is one entry with a list, and adding to it or
//! taking its youngest costs the same as for a single row. Who asks compares the rows.

use hashbrown::HashTable;

/// Set in an entry's id when it is the number of a list.
const LIST: u64 = 1 << 63;

/// Hash -> ids.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashTable<Entry>,
    lists: Vec<Vec<u64>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    id: u64,
}

impl Index {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            entries: HashTable::with_capacity(rows),
            ..Self::default()
        }
    }

    /// Adds rows with consecutive ids.
    pub(super) fn insert_all(&mut self, hashes: &[u64], first_id: u64) {
        self.entries.reserve(hashes.len(), |entry| entry.hash);
        for (hash, id) in hashes.iter().zip(first_id..) {
            self.insert(*hash, id);
        }
    }

    pub(super) fn insert(&mut self, hash: u64, id: u64) {
        let found = self.entries.find_mut(hash, |entry| entry.hash == hash);
        let Some(entry) = found else {
            self.entries
                .insert_unique(hash, Entry { hash, id }, |entry| entry.hash);
            return;
        };
        if entry.id & LIST != 0 {
            self.lists[(entry.id & !LIST) as usize].push(id);
            return;
        }
        let list = self.free.pop().unwrap_or_else(|| {
            self.lists.push(Vec::new());
            self.lists.len() - 1
        });
        self.lists[list].extend([entry.id, id]);
        entry.id = list as u64 | LIST;
    }

    /// The ids of the rows with this hash.
    pub(super) fn get(&self, hash: u64) -> &[u64] {
        match self.entries.find(hash, |entry| entry.hash == hash) {
            None => &[],
            Some(entry) if entry.id & LIST != 0 => &self.lists[(entry.id & !LIST) as usize],
            Some(entry) => std::slice::from_ref(&entry.id),
        }
    }

    /// Removes the row at this place of [`Index::get`].
    pub(super) fn remove(&mut self, hash: u64, at: usize) {
        let Ok(mut found) = self.entries.find_entry(hash, |entry| entry.hash == hash) else {
            return;
        };
        let entry = found.get_mut();
        if entry.id & LIST == 0 {
            found.remove();
            return;
        }
        let list = (entry.id & !LIST) as usize;
        self.lists[list].swap_remove(at);
        if let [last] = self.lists[list][..] {
            entry.id = last;
            self.lists[list] = Vec::new();
            self.free.push(list);
        }
    }
}
