//! The coordinator: makes each transaction's state durable before it is answered, and writes the markers.
//!
//! A transactional id's lock is held for the whole of a change, markers included, and while a produce request of
//! its producer is appended; so no record can slip behind the marker that should have covered it.

use std::{collections::HashMap, path::Path, sync::Arc};

use kafka_protocol::error::ResponseError;
use parking_lot::{Mutex, MutexGuard};

use super::state::{End, Phase, TopicPartition, Transaction};
use crate::{
    error::{Error, Result},
    groups::offsets::Offsets,
    log::{
        journal::{Change, Journal},
        partition_log::Refused,
    },
    topics::Topics,
};

const NEXT_ID_KEY: &[u8] = b"n";
const TRANSACTION_PREFIX: u8 = b't';
/// Producer ids are reserved in blocks, so that handing one out rarely needs the disk.
const ID_BLOCK: i64 = 1000;
/// A transactional id that nobody used for so long is forgotten (Kafka's default, seven days).
const EXPIRY_MS: i64 = 604_800_000;

/// All transactional ids, and the numbering of producers.
#[derive(Debug)]
pub(crate) struct Transactions {
    all: Mutex<HashMap<String, Arc<Mutex<Transaction>>>>,
    journal: Mutex<Journal>,
    ids: Mutex<Ids>,
    topics: Arc<Topics>,
    offsets: Arc<Offsets>,
    timeout_max_ms: i64,
}

#[derive(Debug)]
struct Ids {
    next: i64,
    reserved: i64,
}

/// A producer that asks for an id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    /// What it says that it holds already.
    pub(crate) held: Option<(i64, i16)>,
    pub(crate) timeout_ms: i32,
    pub(crate) now_ms: i64,
}

impl Transactions {
    /// Reads the journal; call [`Transactions::resume`] before serving.
    pub(crate) fn open(
        path: &Path,
        topics: Arc<Topics>,
        offsets: Arc<Offsets>,
        timeout_max_ms: i64,
    ) -> Result<Transactions> {
        let journal = Journal::open(path)?;
        let mut all = HashMap::new();
        let mut next = 1;
        for (key, value) in journal.entries() {
            let damaged = || Error::Damaged {
                path: path.to_path_buf(),
                position: 0,
                what: format!("the entry {} cannot be read", String::from_utf8_lossy(key)),
            };
            if key == NEXT_ID_KEY {
                next = i64::from_be_bytes(value.try_into().map_err(|_| damaged())?);
            } else {
                let id = String::from_utf8_lossy(&key[1..]).into_owned();
                let transaction = Transaction::decode(value).map_err(|_| damaged())?;
                all.insert(id, Arc::new(Mutex::new(transaction)));
            }
        }
        Ok(Transactions {
            all: Mutex::new(all),
            journal: Mutex::new(journal),
            ids: Mutex::new(Ids {
                next,
                reserved: next,
            }),
            topics,
            offsets,
            timeout_max_ms,
        })
    }

    /// A producer id that nobody had before, across restarts.
    pub(crate) fn fresh_id(&self) -> Result<i64> {
        let mut ids = self.ids.lock();
        if ids.next == ids.reserved {
            let reserved = ids.next + ID_BLOCK;
            let change = (NEXT_ID_KEY.to_vec(), Some(reserved.to_be_bytes().to_vec()));
            self.journal.lock().write(vec![change])?;
            ids.reserved = reserved;
        }
        ids.next += 1;
        Ok(ids.next - 1)
    }

    /// Gives a transactional id to a producer, ending what its previous holder left open.
    pub(crate) fn init(&self, id: &str, asking: Asking) -> Result<(i64, i16), Refused> {
        let Asking {
            held,
            timeout_ms,
            now_ms,
        } = asking;
        if timeout_ms <= 0 || i64::from(timeout_ms) > self.timeout_max_ms {
            return Err(Refused::Answer(ResponseError::InvalidTransactionTimeout));
        }
        let entry = self.get_or_make(id, now_ms)?;
        let mut transaction = entry.lock();
        transaction.may_init(held).map_err(Refused::Answer)?;
        let held = if transaction.phase == Phase::Ongoing {
            self.abort_and_fence(id, &mut transaction, now_ms)?;
            None
        } else {
            held
        };
        let mut next = transaction.clone();
        let given = next.init(held, timeout_ms, now_ms, || self.fresh_id())?;
        self.save(id, &mut transaction, next)?;
        Ok(given)
    }

    /// Takes partitions or groups into a producer's transaction.
    pub(crate) fn add(
        &self,
        id: &str,
        producer: (i64, i16),
        partitions: Vec<TopicPartition>,
        groups: Vec<String>,
        now_ms: i64,
    ) -> Result<(), Refused> {
        let entry = self.get(id)?;
        let mut transaction = entry.lock();
        transaction
            .check(producer.0, producer.1)
            .map_err(Refused::Answer)?;
        let mut next = transaction.clone();
        if next
            .add(partitions, groups, now_ms)
            .map_err(Refused::Answer)?
        {
            self.save(id, &mut transaction, next)?;
        }
        Ok(())
    }

    /// Commits or aborts; when this returns well, the decision stays, whatever happens to the broker.
    pub(crate) fn end(
        &self,
        id: &str,
        producer: (i64, i16),
        commit: bool,
        now_ms: i64,
    ) -> Result<(), Refused> {
        let entry = self.get(id)?;
        let mut transaction = entry.lock();
        transaction
            .check(producer.0, producer.1)
            .map_err(Refused::Answer)?;
        let mut next = transaction.clone();
        match next.end(commit, now_ms).map_err(Refused::Answer)? {
            End::Done => Ok(()),
            End::Decide => {
                self.save(id, &mut transaction, next)?;
                Ok(self.write_markers(id, &mut transaction, now_ms)?)
            }
        }
    }

    /// Lets `write` append while the transaction cannot end, if the transaction covers what `covers` asks for.
    pub(crate) fn within<T>(
        &self,
        id: &str,
        producer: (i64, i16),
        covers: impl FnOnce(&Transaction) -> bool,
        write: impl FnOnce() -> T,
    ) -> Result<T, ResponseError> {
        let entry = self
            .all
            .lock()
            .get(id)
            .cloned()
            .ok_or(ResponseError::InvalidProducerIdMapping)?;
        let transaction = entry.lock();
        match transaction.check(producer.0, producer.1) {
            Err(ResponseError::ProducerFenced) => Err(ResponseError::InvalidProducerEpoch),
            Err(error) => Err(error),
            Ok(()) if covers(&transaction) => Ok(write()),
            Ok(()) => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Finishes what was decided before a restart and aborts what is overdue.
    pub(crate) fn tick(&self, now_ms: i64) -> Result<()> {
        for (id, entry) in self.list() {
            // Whoever holds the lock is working on it; the next tick looks again.
            let Some(mut transaction) = entry.try_lock() else {
                continue;
            };
            match transaction.phase {
                Phase::Preparing { .. } => self.write_markers(&id, &mut transaction, now_ms)?,
                Phase::Ongoing if transaction.is_overdue(now_ms) => {
                    tracing::info!(
                        transactional_id = id,
                        "aborted a transaction that took too long"
                    );
                    self.abort_and_fence(&id, &mut transaction, now_ms)?;
                }
                Phase::Empty | Phase::Complete { .. }
                    if now_ms - transaction.updated_ms > EXPIRY_MS =>
                {
                    self.forget(&id, &transaction)?;
                }
                Phase::Empty | Phase::Ongoing | Phase::Complete { .. } => {}
            }
        }
        Ok(())
    }

    /// All transactions, by id.
    pub(crate) fn list(&self) -> Vec<(String, Arc<Mutex<Transaction>>)> {
        let mut all: Vec<_> = self
            .all
            .lock()
            .iter()
            .map(|(id, entry)| (id.clone(), Arc::clone(entry)))
            .collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// A copy of one transaction's state.
    pub(crate) fn describe(&self, id: &str) -> Option<Transaction> {
        let entry = self.all.lock().get(id).cloned()?;
        let transaction = entry.lock().clone();
        Some(transaction)
    }

    fn get(&self, id: &str) -> Result<Arc<Mutex<Transaction>>, Refused> {
        let entry = self.all.lock().get(id).cloned();
        entry.ok_or(Refused::Answer(ResponseError::InvalidProducerIdMapping))
    }

    fn get_or_make(&self, id: &str, now_ms: i64) -> Result<Arc<Mutex<Transaction>>> {
        if let Some(entry) = self.all.lock().get(id) {
            return Ok(Arc::clone(entry));
        }
        let producer_id = self.fresh_id()?;
        let made = || Arc::new(Mutex::new(Transaction::new(producer_id, now_ms)));
        Ok(Arc::clone(
            self.all.lock().entry(id.to_owned()).or_insert_with(made),
        ))
    }

    fn abort_and_fence(
        &self,
        id: &str,
        transaction: &mut MutexGuard<'_, Transaction>,
        now_ms: i64,
    ) -> Result<()> {
        let mut next = transaction.clone();
        next.fence();
        if next.end(false, now_ms).is_ok() {
            self.save(id, transaction, next)?;
            self.write_markers(id, transaction, now_ms)?;
        }
        Ok(())
    }

    /// Writes what a decided transaction still owes. Repeating it is harmless.
    fn write_markers(
        &self,
        id: &str,
        transaction: &mut MutexGuard<'_, Transaction>,
        now_ms: i64,
    ) -> Result<()> {
        let Phase::Preparing { commit } = transaction.phase else {
            return Ok(());
        };
        for (name, index) in &transaction.partitions {
            let Some(topic) = self.topics.get(name) else {
                continue;
            };
            let Some(partition) = topic.partition(*index) else {
                continue;
            };
            let (producer_id, epoch) = (transaction.producer_id, transaction.epoch);
            match partition.append_marker(producer_id, epoch, commit, &topic.config()) {
                Ok(_) => {}
                Err(Refused::Answer(error)) => {
                    tracing::warn!(transactional_id = id, topic = name, index, %error, "marker refused");
                }
                Err(Refused::Disk(error)) => return Err(error),
            }
        }
        self.offsets
            .end_transaction(transaction.producer_id, commit)?;
        let mut next = transaction.clone();
        next.complete(now_ms);
        self.save(id, transaction, next)
    }

    fn save(
        &self,
        id: &str,
        current: &mut MutexGuard<'_, Transaction>,
        next: Transaction,
    ) -> Result<()> {
        self.journal.lock().write(vec![change(id, Some(&next))])?;
        **current = next;
        Ok(())
    }

    fn forget(&self, id: &str, transaction: &MutexGuard<'_, Transaction>) -> Result<()> {
        tracing::debug!(
            transactional_id = id,
            updated_ms = transaction.updated_ms,
            "forgot a transactional id"
        );
        self.journal.lock().write(vec![change(id, None)])?;
        self.all.lock().remove(id);
        Ok(())
    }
}

fn change(id: &str, transaction: Option<&Transaction>) -> Change {
    let mut key = vec![TRANSACTION_PREFIX];
    key.extend_from_slice(id.as_bytes());
    (key, transaction.map(Transaction::encode))
}

#[cfg(test)]
#[path = "coordinator_tests.rs"]
mod tests;
