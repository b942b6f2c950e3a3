//! One transactional id: pure decisions, no I/O, the clock passed in.
//!
//! ```text
//!            add                end                 markers written
//!   Empty ---------> Ongoing ---------> Preparing ------------------> Complete
//!                       ^                                                 |
//!                       +------------------------ add --------------------+
//! ```
//!
//! The decision is taken when `Preparing` is in the journal: from then on a restart can only write the markers
//! again. A bumped epoch fences whoever holds the old one.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, TryGetError};
use kafka_protocol::error::ResponseError;

use crate::codec::{put_text, take_text};

/// Kafka keeps the last epoch for fencing; whoever reaches the one before gets a new producer id.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// Where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    Ongoing,
    Preparing { commit: bool },
    Complete { commit: bool },
}

/// A partition, by topic and index.
pub(crate) type TopicPartition = (String, i32);

/// A transactional id and its latest transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    /// Who held the id before the last bump: a repeated InitProducerId names them again.
    previous: Option<(i64, i16)>,
    pub(crate) timeout_ms: i32,
    pub(crate) phase: Phase,
    pub(crate) partitions: BTreeSet<TopicPartition>,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) started_ms: i64,
    pub(crate) updated_ms: i64,
}

/// What EndTxn has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Make the decision durable and write the markers.
    Decide,
    /// It was decided so before: the request is a repetition.
    Done,
}

impl Transaction {
    /// A transactional id that was just seen for the first time; no producer holds it yet.
    pub(crate) fn new(producer_id: i64, now_ms: i64) -> Transaction {
        Transaction {
            producer_id,
            epoch: -1,
            previous: None,
            timeout_ms: 0,
            phase: Phase::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            started_ms: -1,
            updated_ms: now_ms,
        }
    }

    /// Whether a producer may ask for a new epoch; `held` is what it says that it holds, if anything.
    pub(crate) fn may_init(&self, held: Option<(i64, i16)>) -> Result<(), ResponseError> {
        match (held, self.phase) {
            (_, Phase::Preparing { .. }) => Err(ResponseError::ConcurrentTransactions),
            (None, _) => Ok(()),
            (Some(held), _)
                if held == (self.producer_id, self.epoch) || Some(held) == self.previous =>
            {
                Ok(())
            }
            (Some(_), _) => Err(ResponseError::ProducerFenced),
        }
    }

    /// Gives the id to a producer under a new epoch. `fresh_id` is asked when the epochs are used up.
    pub(crate) fn init<E>(
        &mut self,
        held: Option<(i64, i16)>,
        timeout_ms: i32,
        now_ms: i64,
        fresh_id: impl FnOnce() -> Result<i64, E>,
    ) -> Result<(i64, i16), E> {
        let current = (self.producer_id, self.epoch);
        let repeated = held.is_some() && held != Some(current);
        if !repeated {
            if self.epoch >= EPOCH_MAX - 1 {
                self.producer_id = fresh_id()?;
                self.epoch = 0;
            } else {
                self.epoch += 1;
            }
            // Only a holder who bumps its own epoch may repeat the request; a newcomer locks all others out.
            self.previous = held;
        }
        self.timeout_ms = timeout_ms;
        self.phase = Phase::Empty;
        self.started_ms = -1;
        self.updated_ms = now_ms;
        Ok((self.producer_id, self.epoch))
    }

    /// Locks out whoever holds the current epoch, before aborting on their behalf.
    pub(crate) fn fence(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
        self.previous = None;
    }

    /// Whether `producer_id` at `epoch` holds the transactional id.
    pub(crate) fn check(&self, producer_id: i64, epoch: i16) -> Result<(), ResponseError> {
        if producer_id != self.producer_id {
            Err(ResponseError::InvalidProducerIdMapping)
        } else if epoch != self.epoch {
            Err(ResponseError::ProducerFenced)
        } else {
            Ok(())
        }
    }

    /// Takes partitions and groups into the transaction, starting one when none is open.
    /// Gives whether anything changed.
    pub(crate) fn add(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        groups: impl IntoIterator<Item = String>,
        now_ms: i64,
    ) -> Result<bool, ResponseError> {
        match self.phase {
            Phase::Preparing { .. } => return Err(ResponseError::ConcurrentTransactions),
            Phase::Ongoing => {}
            Phase::Empty | Phase::Complete { .. } => {
                self.phase = Phase::Ongoing;
                self.started_ms = now_ms;
            }
        }
        let before = self.partitions.len() + self.groups.len();
        self.partitions.extend(partitions);
        self.groups.extend(groups);
        self.updated_ms = now_ms;
        Ok(self.partitions.len() + self.groups.len() > before)
    }

    /// Whether records may be written to the partition under the open transaction.
    pub(crate) fn covers(&self, partition: &TopicPartition) -> bool {
        self.phase == Phase::Ongoing && self.partitions.contains(partition)
    }

    /// Whether offsets of the group may be committed under the open transaction.
    pub(crate) fn covers_group(&self, group: &str) -> bool {
        self.phase == Phase::Ongoing && self.groups.contains(group)
    }

    /// Decides the open transaction.
    pub(crate) fn end(&mut self, commit: bool, now_ms: i64) -> Result<End, ResponseError> {
        match self.phase {
            Phase::Ongoing => {
                self.phase = Phase::Preparing { commit };
                self.updated_ms = now_ms;
                Ok(End::Decide)
            }
            Phase::Complete { commit: before } if before == commit => Ok(End::Done),
            Phase::Preparing { commit: before } if before == commit => {
                Err(ResponseError::ConcurrentTransactions)
            }
            Phase::Empty | Phase::Preparing { .. } | Phase::Complete { .. } => {
                Err(ResponseError::InvalidTxnState)
            }
        }
    }

    /// All markers are written.
    pub(crate) fn complete(&mut self, now_ms: i64) {
        if let Phase::Preparing { commit } = self.phase {
            self.phase = Phase::Complete { commit };
            self.partitions.clear();
            self.groups.clear();
            self.started_ms = -1;
            self.updated_ms = now_ms;
        }
    }

    /// Whether the producer has taken longer than it said it would.
    pub(crate) fn is_overdue(&self, now_ms: i64) -> bool {
        self.phase == Phase::Ongoing && now_ms - self.started_ms > i64::from(self.timeout_ms)
    }

    /// The journal's form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_i64(self.producer_id);
        out.put_i16(self.epoch);
        let (id, epoch) = self.previous.unwrap_or((-1, -1));
        out.put_i64(id);
        out.put_i16(epoch);
        out.put_i32(self.timeout_ms);
        out.put_u8(match self.phase {
            Phase::Empty => 0,
            Phase::Ongoing => 1,
            Phase::Preparing { commit } => 2 + u8::from(commit),
            Phase::Complete { commit } => 4 + u8::from(commit),
        });
        out.put_i64(self.started_ms);
        out.put_i64(self.updated_ms);
        out.put_u32(u32::try_from(self.partitions.len()).unwrap_or(u32::MAX));
        for (topic, partition) in &self.partitions {
            put_text(&mut out, topic);
            out.put_i32(*partition);
        }
        out.put_u32(u32::try_from(self.groups.len()).unwrap_or(u32::MAX));
        for group in &self.groups {
            put_text(&mut out, group);
        }
        out
    }

    /// Reads the journal's form.
    pub(crate) fn decode(mut at: &[u8]) -> Result<Transaction, TryGetError> {
        let at = &mut at;
        let mut transaction = Transaction::new(at.try_get_i64()?, 0);
        transaction.epoch = at.try_get_i16()?;
        transaction.previous =
            Some((at.try_get_i64()?, at.try_get_i16()?)).filter(|(id, _)| *id >= 0);
        transaction.timeout_ms = at.try_get_i32()?;
        transaction.phase = match at.try_get_u8()? {
            1 => Phase::Ongoing,
            phase @ 2..=3 => Phase::Preparing { commit: phase == 3 },
            phase @ 4..=5 => Phase::Complete { commit: phase == 5 },
            _ => Phase::Empty,
        };
        transaction.started_ms = at.try_get_i64()?;
        transaction.updated_ms = at.try_get_i64()?;
        for _ in 0..at.try_get_u32()? {
            transaction
                .partitions
                .insert((take_text(at)?, at.try_get_i32()?));
        }
        for _ in 0..at.try_get_u32()? {
            transaction.groups.insert(take_text(at)?);
        }
        Ok(transaction)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn fresh() -> Result<i64, Infallible> {
        Ok(99)
    }

    fn begun() -> Transaction {
        let mut transaction = Transaction::new(7, 0);
        assert_eq!(transaction.init(None, 1000, 0, fresh), Ok((7, 0)));
        transaction
    }

    #[test]
    fn a_second_producer_fences_the_first() {
        let mut transaction = begun();
        assert_eq!(transaction.init(None, 1000, 0, fresh), Ok((7, 1)));
        assert_eq!(transaction.check(7, 0), Err(ResponseError::ProducerFenced));
        assert_eq!(
            transaction.check(8, 1),
            Err(ResponseError::InvalidProducerIdMapping)
        );
        assert_eq!(transaction.check(7, 1), Ok(()));
        assert_eq!(
            transaction.may_init(Some((7, 0))),
            Err(ResponseError::ProducerFenced)
        );
    }

    #[test]
    fn a_repeated_bump_gives_the_same_epoch() {
        let mut transaction = begun();
        assert_eq!(transaction.init(Some((7, 0)), 1000, 0, fresh), Ok((7, 1)));
        assert_eq!(transaction.may_init(Some((7, 0))), Ok(()));
        assert_eq!(transaction.init(Some((7, 0)), 1000, 0, fresh), Ok((7, 1)));
        assert_eq!(transaction.init(Some((7, 1)), 1000, 0, fresh), Ok((7, 2)));
        assert_eq!(
            transaction.may_init(Some((7, 0))),
            Err(ResponseError::ProducerFenced)
        );
    }

    #[test]
    fn used_up_epochs_give_a_new_id() {
        let mut transaction = begun();
        transaction.epoch = EPOCH_MAX - 1;
        assert_eq!(transaction.init(None, 1000, 0, fresh), Ok((99, 0)));
    }

    #[test]
    fn a_decision_stays() {
        let mut transaction = begun();
        assert_eq!(
            transaction.end(true, 0),
            Err(ResponseError::InvalidTxnState)
        );
        assert_eq!(transaction.add([("t".into(), 0)], [], 5), Ok(true));
        assert_eq!(transaction.add([("t".into(), 0)], [], 6), Ok(false));
        assert!(transaction.covers(&("t".into(), 0)) && !transaction.covers(&("t".into(), 1)));
        assert_eq!(transaction.end(true, 0), Ok(End::Decide));
        assert_eq!(
            transaction.add([], [], 0),
            Err(ResponseError::ConcurrentTransactions)
        );
        assert_eq!(
            transaction.may_init(None),
            Err(ResponseError::ConcurrentTransactions)
        );
        transaction.complete(0);
        assert_eq!(transaction.end(true, 0), Ok(End::Done));
        assert_eq!(
            transaction.end(false, 0),
            Err(ResponseError::InvalidTxnState)
        );
        assert!(transaction.partitions.is_empty());
    }

    #[test]
    fn a_transaction_is_overdue_only_while_it_is_open() {
        let mut transaction = begun();
        assert!(!transaction.is_overdue(10_000));
        transaction.add([("t".into(), 0)], [], 5).unwrap();
        assert!(!transaction.is_overdue(1005));
        assert!(transaction.is_overdue(1006));
    }

    #[test]
    fn the_journal_form_holds_everything() {
        let mut transaction = begun();
        transaction.init(None, 1000, 0, fresh).unwrap();
        transaction
            .add([("t".into(), 0), ("u".into(), 3)], ["g".into()], 5)
            .unwrap();
        for commit in [None, Some(false), Some(true)] {
            let mut transaction = transaction.clone();
            if let Some(commit) = commit {
                transaction.end(commit, 7).unwrap();
            }
            let bytes = transaction.encode();
            assert_eq!(Transaction::decode(&bytes), Ok(transaction));
            assert!(Transaction::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}
