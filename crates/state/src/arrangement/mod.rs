//! A multimap from key columns to the rows of a [`RowLog`]: the state of a side of a join.
//!
//! ```text
//! hash of the key -> newest row of the key -> the one before -> ...
//! ```
//!
//! Invariant: all live rows of the log hang in the chain of their key, and in no other.

mod hash_index;
mod settle;
#[cfg(test)]
mod tests;

pub use hash_index::HashIndex;

use crate::row_log::{NONE, Paged, RowLog};
use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Result, hash};

/// Rows that are looked at between two looks at how many pairs there are.
const PROBE_ROWS: usize = 1024;

/// How rows leave an arrangement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Never: the cheapest.
    Forever,
    /// By retraction, or by their id.
    Removable,
}

/// Pairs of a row of a batch and a row of an arrangement, by row, then by id.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    /// Rows of the batch.
    pub rows: Vec<u32>,
    /// Rows of the arrangement.
    pub ids: Vec<u32>,
}

impl Matches {
    /// Forgets all pairs.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.ids.clear();
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn sort_from(&mut self, start: usize) {
        let ids = &mut self.ids[start..];
        if ids.len() < 2 || ids.is_sorted() {
            return;
        }
        ids.reverse();
        if !ids.is_sorted() {
            ids.sort_unstable();
        }
    }
}

/// Rows by key.
#[derive(Debug)]
pub struct Arrangement {
    log: RowLog,
    keys: Vec<usize>,
    /// The columns by which equal rows are known (all but those that belong to the operator).
    identity: Vec<usize>,
    index: HashIndex,
    next: Paged<u32>,
    prev: Option<Paged<u32>>,
    /// Rows by all their columns, from the first retraction on that found a chain too long to walk.
    whole: Option<HashIndex>,
    /// The log was restored and the chains are not there yet.
    stale: bool,
}

impl Arrangement {
    /// An empty arrangement of rows with these columns by `keys`. The last `own` columns are the operator's (BIGINT), and
    /// don't tell rows apart.
    pub fn new(
        name: &str,
        schema: &Schema,
        keys: &[usize],
        own: usize,
        retention: Retention,
    ) -> Result<Self> {
        Ok(Self {
            log: RowLog::new(name, schema)?,
            keys: keys.to_vec(),
            identity: (0..schema.fields().len() - own).collect(),
            index: HashIndex::new(),
            next: Paged::new(),
            prev: (retention == Retention::Removable).then(Paged::new),
            whole: None,
            stale: false,
        })
    }

    /// The rows.
    pub fn log(&self) -> &RowLog {
        &self.log
    }

    /// Sets a column of a row that belongs to the operator.
    pub fn set_own(&mut self, column: usize, id: u32, value: i64) {
        self.log.set_integer(column, id, value);
    }

    /// The memory of rows and index, roughly.
    pub fn bytes(&self) -> usize {
        self.log.bytes() + self.index.bytes() + 4 * self.log.rows()
    }

    /// Adds to `out` the rows that have the keys of the rows from `from` on, and gives where it stopped: once `out` has
    /// `pairs_max` pairs or more. Rows that `skip` is true for match nothing.
    pub fn probe(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        skip: impl Fn(usize) -> bool,
        from: usize,
        pairs_max: usize,
        out: &mut Matches,
    ) -> Result<usize> {
        self.refresh()?;
        let equal = self.log.compare(&self.keys, keys)?;
        let next = &self.next;
        let mut at = from;
        while at < hashes.len() && out.len() < pairs_max {
            let end = (at + PROBE_ROWS).min(hashes.len());
            let found = |row: usize, head: u32| {
                let start = out.len();
                let mut id = head;
                while id != NONE {
                    out.ids.push(id);
                    id = next.get(id);
                }
                out.rows.resize(out.ids.len(), (at + row) as u32);
                out.sort_from(start);
            };
            let (part, skip) = (&hashes[at..end], |row: usize| skip(at + row));
            match equal.as_words() {
                Some((words, cells)) => {
                    let equal = |row: usize, id| words[at + row] == cells.get(id);
                    self.index.find_all(part, skip, equal, found);
                }
                None => {
                    let equal = |row: usize, id| equal.equal(at + row, id);
                    self.index.find_all(part, skip, equal, found);
                }
            }
            at = end;
        }
        Ok(at)
    }

    /// Adds rows with these hashes of their keys and weight 1. `ids` is cleared and gets the id of each.
    pub fn insert(
        &mut self,
        columns: &[ArrayRef],
        hashes: &[u64],
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        self.refresh()?;
        self.log.insert(columns, hashes.len(), ids)?;
        let keys = pick(columns, &self.keys);
        self.link(&keys, hashes, ids)?;
        if let Some(whole) = &mut self.whole {
            let mut hashes = Vec::new();
            hash::rows(&columns[..self.identity.len()], ids.len(), &mut hashes)?;
            whole.reserve(ids.len());
            for (hash, id) in hashes.iter().zip(ids) {
                whole.upsert(*hash, *id, |_| false);
            }
        }
        Ok(())
    }

    /// Removes rows by their ids. Ids that are not live any more are skipped.
    pub fn remove(&mut self, ids: &[u32]) -> Result<()> {
        self.refresh()?;
        let mut ids: Vec<u32> = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| self.log.contains(*id));
        let mut hashes = Vec::new();
        if self.whole.is_some() {
            self.hash_log(&self.identity, &ids, &mut hashes)?;
            if let Some(whole) = &mut self.whole {
                let pairs = hashes.iter().zip(&ids);
                pairs.for_each(|(hash, id)| whole.remove(*hash, *id));
            }
        }
        self.hash_log(&self.keys, &ids, &mut hashes)?;
        for (hash, id) in hashes.iter().zip(&ids) {
            self.unlink(*hash, *id);
            self.log.remove(*id);
        }
        Ok(())
    }

    fn hash_log(&self, columns: &[usize], ids: &[u32], hashes: &mut Vec<u64>) -> Result<()> {
        let columns: Vec<ArrayRef> = columns
            .iter()
            .map(|column| self.log.gather(*column, ids))
            .collect::<Result<_>>()?;
        hash::rows(&columns, ids.len(), hashes)
    }

    /// Hangs rows that are in the log into the chains of their keys.
    fn link(&mut self, keys: &[ArrayRef], hashes: &[u64], ids: &[u32]) -> Result<()> {
        self.index.reserve(ids.len());
        let equal = self.log.compare(&self.keys, keys)?;
        let words = equal.as_words();
        let index = &mut self.index;
        for (row, id) in ids.iter().enumerate() {
            if row % hash_index::BLOCK == 0 {
                index.read_ahead(&hashes[row..]);
            }
            let head = match words {
                Some((words, cells)) => {
                    index.upsert(hashes[row], *id, |head| words[row] == cells.get(head))
                }
                None => index.upsert(hashes[row], *id, |head| equal.equal(row, head)),
            };
            self.next.set(*id, head.unwrap_or(NONE));
            if let Some(prev) = &mut self.prev {
                prev.set(*id, NONE);
                if let Some(head) = head {
                    prev.set(head, *id);
                }
            }
        }
        Ok(())
    }

    /// Takes a row out of its chain.
    fn unlink(&mut self, hash: u64, id: u32) {
        let Some(prev) = &mut self.prev else {
            return;
        };
        let (before, after) = (prev.get(id), self.next.get(id));
        if after != NONE {
            prev.set(after, before);
        }
        match (before, after) {
            (NONE, NONE) => self.index.remove(hash, id),
            (NONE, _) => self.index.replace(hash, id, after),
            _ => self.next.set(before, after),
        }
    }

    /// Builds the chains of a restored log.
    fn refresh(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.stale) {
            return Ok(());
        }
        self.index = HashIndex::new();
        self.whole = None;
        self.index.reserve(self.log.rows());
        let ids: Vec<u32> = self.log.ids().collect();
        let mut hashes = Vec::new();
        for ids in ids.chunks(PROBE_ROWS) {
            let keys: Vec<ArrayRef> = self
                .keys
                .iter()
                .map(|key| self.log.gather(*key, ids))
                .collect::<Result<_>>()?;
            hash::rows(&keys, ids.len(), &mut hashes)?;
            self.link(&keys, &hashes, ids)?;
        }
        Ok(())
    }
}

pub(crate) fn pick(columns: &[ArrayRef], which: &[usize]) -> Vec<ArrayRef> {
    which
        .iter()
        .map(|column| ArrayRef::clone(&columns[*column]))
        .collect()
}

impl Checkpointed for Arrangement {
    fn name(&self) -> &str {
        self.log.name()
    }

    fn schema(&self) -> SchemaRef {
        self.log.schema()
    }

    fn key_columns(&self) -> usize {
        self.log.key_columns()
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        self.log.changes(out)
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        self.stale = true;
        self.log.restore(change)
    }

    fn track(&mut self) -> Result<()> {
        self.log.track()
    }
}
