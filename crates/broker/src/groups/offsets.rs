//! Committed offsets, and those that wait for their transaction.
//!
//! Everything is in the journal under a key of its own, and the end of a transaction moves its offsets in one
//! write: they are all committed or none.
//!
//! ```text
//! o <group> <topic> <partition>                 committed
//! p <producer id> <group> <topic> <partition>   pending
//! ```

use std::{collections::BTreeMap, path::Path};

use bytes::{Buf, BufMut, TryGetError};
use parking_lot::Mutex;

use crate::{
    codec::{put_text, take_text},
    error::{Error, Result},
    log::journal::{Change, Journal},
};

const COMMITTED: u8 = b'o';
const PENDING: u8 = b'p';

/// A topic's partition.
pub(crate) type TopicPartition = (String, i32);

/// How far a group has come on a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

type Partitions = BTreeMap<TopicPartition, Committed>;

/// The offsets of all groups.
#[derive(Debug)]
pub(crate) struct Offsets {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    journal: Journal,
    committed: BTreeMap<String, Partitions>,
    pending: BTreeMap<(i64, String), Partitions>,
}

impl Offsets {
    pub(crate) fn open(path: &Path) -> Result<Offsets> {
        let journal = Journal::open(path)?;
        let mut committed: BTreeMap<String, Partitions> = BTreeMap::new();
        let mut pending: BTreeMap<(i64, String), Partitions> = BTreeMap::new();
        for (key, value) in journal.entries() {
            let (producer_id, group, partition, offset) =
                decode(key, value).map_err(|_| Error::Damaged {
                    path: path.to_path_buf(),
                    position: 0,
                    what: "an entry cannot be read".into(),
                })?;
            let of_group = match producer_id {
                Some(id) => pending.entry((id, group)).or_default(),
                None => committed.entry(group).or_default(),
            };
            of_group.insert(partition, offset);
        }
        Ok(Offsets {
            inner: Mutex::new(Inner {
                journal,
                committed,
                pending,
            }),
        })
    }

    /// Commits offsets of a group.
    pub(crate) fn commit(
        &self,
        group: &str,
        offsets: Vec<(TopicPartition, Committed)>,
    ) -> Result<()> {
        let mut inner = self.inner.lock();
        let changes = offsets
            .iter()
            .map(|(at, offset)| (key(None, group, at), Some(encode(offset))))
            .collect();
        inner.journal.write(changes)?;
        inner
            .committed
            .entry(group.to_owned())
            .or_default()
            .extend(offsets);
        Ok(())
    }

    /// Keeps offsets until the producer's transaction ends.
    pub(crate) fn commit_in_transaction(
        &self,
        producer_id: i64,
        group: &str,
        offsets: Vec<(TopicPartition, Committed)>,
    ) -> Result<()> {
        let mut inner = self.inner.lock();
        let changes = offsets
            .iter()
            .map(|(at, offset)| (key(Some(producer_id), group, at), Some(encode(offset))))
            .collect();
        inner.journal.write(changes)?;
        inner
            .pending
            .entry((producer_id, group.to_owned()))
            .or_default()
            .extend(offsets);
        Ok(())
    }

    /// Commits or drops what a producer's transaction holds.
    pub(crate) fn end_transaction(&self, producer_id: i64, commit: bool) -> Result<()> {
        let mut inner = self.inner.lock();
        let range = (producer_id, String::new())..(producer_id + 1, String::new());
        let groups: Vec<String> = inner
            .pending
            .range(range)
            .map(|((_, group), _)| group.clone())
            .collect();
        let mut changes: Vec<Change> = Vec::new();
        for group in &groups {
            for (at, offset) in inner
                .pending
                .get(&(producer_id, group.clone()))
                .into_iter()
                .flatten()
            {
                changes.push((key(Some(producer_id), group, at), None));
                if commit {
                    changes.push((key(None, group, at), Some(encode(offset))));
                }
            }
        }
        inner.journal.write(changes)?;
        for group in groups {
            let ended = inner
                .pending
                .remove(&(producer_id, group.clone()))
                .unwrap_or_default();
            if commit {
                inner.committed.entry(group).or_default().extend(ended);
            }
        }
        Ok(())
    }

    /// The committed offset of one partition.
    pub(crate) fn get(&self, group: &str, at: &TopicPartition) -> Option<Committed> {
        self.inner.lock().committed.get(group)?.get(at).cloned()
    }

    /// Whether an open transaction is about to change the offset.
    pub(crate) fn is_pending(&self, group: &str, at: &TopicPartition) -> bool {
        let inner = self.inner.lock();
        inner
            .pending
            .iter()
            .any(|((_, of), partitions)| of == group && partitions.contains_key(at))
    }

    /// All committed offsets of a group.
    pub(crate) fn list(&self, group: &str) -> Vec<(TopicPartition, Committed)> {
        let inner = self.inner.lock();
        let partitions = inner.committed.get(group).into_iter().flatten();
        partitions
            .map(|(at, offset)| (at.clone(), offset.clone()))
            .collect()
    }

    /// The groups that have committed anything.
    pub(crate) fn groups(&self) -> Vec<String> {
        self.inner.lock().committed.keys().cloned().collect()
    }

    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.inner.lock().committed.contains_key(group)
    }

    /// Forgets some offsets of a group.
    pub(crate) fn delete(&self, group: &str, partitions: &[TopicPartition]) -> Result<()> {
        let mut inner = self.inner.lock();
        inner.journal.write(
            partitions
                .iter()
                .map(|at| (key(None, group, at), None))
                .collect(),
        )?;
        if let Some(committed) = inner.committed.get_mut(group) {
            partitions.iter().for_each(|at| drop(committed.remove(at)));
        }
        Ok(())
    }

    /// Forgets a group.
    pub(crate) fn delete_group(&self, group: &str) -> Result<()> {
        let partitions: Vec<_> = self.list(group).into_iter().map(|(at, _)| at).collect();
        self.delete(group, &partitions)?;
        self.inner.lock().committed.remove(group);
        Ok(())
    }

    /// Forgets a topic that is gone, so that its namesake does not inherit offsets.
    pub(crate) fn delete_topic(&self, topic: &str) -> Result<()> {
        for group in self.groups() {
            let partitions: Vec<_> = self
                .list(&group)
                .into_iter()
                .map(|(at, _)| at)
                .filter(|at| at.0 == topic)
                .collect();
            self.delete(&group, &partitions)?;
        }
        Ok(())
    }
}

fn key(producer_id: Option<i64>, group: &str, at: &TopicPartition) -> Vec<u8> {
    let mut out = Vec::new();
    match producer_id {
        Some(id) => {
            out.put_u8(PENDING);
            out.put_i64(id);
        }
        None => out.put_u8(COMMITTED),
    }
    put_text(&mut out, group);
    put_text(&mut out, &at.0);
    out.put_i32(at.1);
    out
}

fn encode(offset: &Committed) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_i64(offset.offset);
    out.put_i32(offset.leader_epoch);
    put_text(&mut out, &offset.metadata);
    out
}

type Entry = (Option<i64>, String, TopicPartition, Committed);

fn decode(mut key: &[u8], mut value: &[u8]) -> Result<Entry, TryGetError> {
    let producer_id = match key.try_get_u8()? {
        PENDING => Some(key.try_get_i64()?),
        _ => None,
    };
    let group = take_text(&mut key)?;
    let at = (take_text(&mut key)?, key.try_get_i32()?);
    let offset = value.try_get_i64()?;
    let leader_epoch = value.try_get_i32()?;
    Ok((
        producer_id,
        group,
        at,
        Committed {
            offset,
            leader_epoch,
            metadata: take_text(&mut value)?,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Committed {
        Committed {
            offset,
            leader_epoch: 0,
            metadata: "m".into(),
        }
    }

    #[test]
    fn a_transaction_commits_its_offsets_together_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groups");
        let partition = ("t".to_owned(), 0);
        let offsets = Offsets::open(&path).unwrap();
        offsets
            .commit("g", vec![(partition.clone(), at(1))])
            .unwrap();
        offsets
            .commit_in_transaction(7, "g", vec![(partition.clone(), at(5))])
            .unwrap();
        drop(offsets);
        let offsets = Offsets::open(&path).unwrap();
        assert_eq!(offsets.get("g", &partition), Some(at(1)));
        assert!(offsets.is_pending("g", &partition));
        offsets.end_transaction(7, false).unwrap();
        assert_eq!(offsets.get("g", &partition), Some(at(1)));
        offsets
            .commit_in_transaction(7, "g", vec![(partition.clone(), at(6))])
            .unwrap();
        offsets.end_transaction(7, true).unwrap();
        drop(offsets);
        let offsets = Offsets::open(&path).unwrap();
        assert_eq!(offsets.get("g", &partition), Some(at(6)));
        assert!(!offsets.is_pending("g", &partition));
    }

    #[test]
    fn a_deleted_topic_takes_its_offsets_along() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = Offsets::open(&dir.path().join("groups")).unwrap();
        let entries = vec![(("t".to_owned(), 0), at(1)), (("u".to_owned(), 0), at(2))];
        offsets.commit("g", entries).unwrap();
        offsets.delete_topic("t").unwrap();
        assert_eq!(offsets.list("g"), [(("u".to_owned(), 0), at(2))]);
        offsets.delete_group("g").unwrap();
        assert!(!offsets.has_group("g"));
    }
}
