//! What one partition remembers of its producers: pure bookkeeping, rebuilt by replaying the log's batch headers.
//!
//! It answers three questions. Is a batch the next one, a repetition or a gap (idempotence)? Where does the oldest
//! open transaction begin (the last stable offset)? Which transactions in a range of offsets were aborted?
//! Invariant: `open` holds exactly the producers whose `transaction` is set, by first offset.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::{Buf, BufMut, TryGetError};
use kafka_protocol::error::ResponseError;

use super::batch::{Header, sequence_after};

/// How many batches a producer may have in flight and still be answered exactly (Kafka's number).
const REMEMBERED_BATCHES: usize = 5;
const SNAPSHOT_MAGIC: u32 = 0x4d53_5052;

/// The producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
}

/// One producer, as this partition last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    batches: VecDeque<Remembered>,
    /// The first offset of its open transaction.
    pub(crate) transaction: Option<i64>,
    pub(crate) last_timestamp: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remembered {
    base_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    timestamp: i64,
}

/// An aborted transaction, from its first record to its marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    pub(crate) last_offset: i64,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// It is in the log already, there.
    Duplicate {
        base_offset: i64,
    },
    Reject(ResponseError),
}

impl Producer {
    fn new(epoch: i16) -> Producer {
        Producer {
            epoch,
            batches: VecDeque::new(),
            transaction: None,
            last_timestamp: -1,
        }
    }

    /// The sequence number of its last record, -1 before the first.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }

    fn enter_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

impl Producers {
    /// Judges a batch that a client wants to append.
    pub(crate) fn check(&self, header: &Header) -> Verdict {
        let Some(known) = self
            .by_id
            .get(&header.producer_id)
            .filter(|_| header.has_producer())
        else {
            return Verdict::Append;
        };
        if header.producer_epoch < known.epoch {
            return Verdict::Reject(ResponseError::InvalidProducerEpoch);
        }
        if known.transaction.is_some() && !header.is_transactional() {
            return Verdict::Reject(ResponseError::InvalidTxnState);
        }
        let expected = if header.producer_epoch > known.epoch {
            0
        } else {
            let repeated = known.batches.iter().find(|batch| {
                batch.base_sequence == header.base_sequence
                    && batch.last_sequence == header.last_sequence()
            });
            if let Some(batch) = repeated {
                return Verdict::Duplicate {
                    base_offset: batch.base_offset,
                };
            }
            known
                .batches
                .back()
                .map_or(0, |batch| sequence_after(batch.last_sequence, 1))
        };
        if header.base_sequence == expected {
            Verdict::Append
        } else {
            Verdict::Reject(ResponseError::OutOfOrderSequenceNumber)
        }
    }

    /// Judges a transaction marker.
    pub(crate) fn check_marker(&self, producer_id: i64, epoch: i16) -> Result<(), ResponseError> {
        match self.by_id.get(&producer_id) {
            Some(known) if epoch < known.epoch => Err(ResponseError::InvalidProducerEpoch),
            _ => Ok(()),
        }
    }

    /// Notes a data batch that is in the log now.
    pub(crate) fn appended(&mut self, header: &Header) {
        if !header.has_producer() {
            return;
        }
        let producer = self
            .by_id
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch));
        producer.enter_epoch(header.producer_epoch);
        producer.last_timestamp = header.max_timestamp;
        producer.batches.push_back(Remembered {
            base_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            timestamp: header.max_timestamp,
        });
        if producer.batches.len() > REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        if header.is_transactional() && producer.transaction.is_none() {
            producer.transaction = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
    }

    /// Notes a marker that is in the log now.
    pub(crate) fn ended(&mut self, header: &Header, commit: bool) {
        let producer = self
            .by_id
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch));
        producer.enter_epoch(header.producer_epoch);
        producer.last_timestamp = header.max_timestamp;
        if let Some(first_offset) = producer.transaction.take() {
            self.open.remove(&first_offset);
            if !commit {
                self.aborted.push(Aborted {
                    producer_id: header.producer_id,
                    first_offset,
                    last_offset: header.base_offset,
                });
            }
        }
    }

    /// The first offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    /// The aborted transactions that touch the offsets `from..to`, by first offset.
    pub(crate) fn aborted_in(&self, from: i64, to: i64) -> Vec<Aborted> {
        // Markers are noted in log order, so `last_offset` rises.
        let start = self
            .aborted
            .partition_point(|aborted| aborted.last_offset < from);
        let mut found: Vec<_> = self.aborted[start..]
            .iter()
            .filter(|aborted| aborted.first_offset < to)
            .copied()
            .collect();
        found.sort_unstable_by_key(|aborted| aborted.first_offset);
        found
    }

    /// All producers, by id.
    pub(crate) fn list(&self) -> Vec<(i64, &Producer)> {
        let mut all: Vec<_> = self
            .by_id
            .iter()
            .map(|(id, producer)| (*id, producer))
            .collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// Forgets what lies before the log's start, and producers of which nothing is left. Age is no measure: the
    /// timestamps are the producers' own, and may be of another century.
    pub(crate) fn forget(&mut self, log_start: i64) {
        self.aborted
            .retain(|aborted| aborted.last_offset >= log_start);
        let is_left = |batch: &Remembered| batch.base_offset >= log_start;
        self.by_id.retain(|_, producer| {
            producer.transaction.is_some() || producer.batches.back().is_some_and(is_left)
        });
    }

    /// The snapshot that spares a restart the replay of older segments.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32(SNAPSHOT_MAGIC);
        out.put_u32(u32::try_from(self.by_id.len()).unwrap_or(u32::MAX));
        for (id, producer) in self.list() {
            out.put_i64(id);
            out.put_i16(producer.epoch);
            out.put_i64(producer.transaction.unwrap_or(-1));
            out.put_i64(producer.last_timestamp);
            out.put_u8(u8::try_from(producer.batches.len()).unwrap_or(0));
            for batch in &producer.batches {
                out.put_i32(batch.base_sequence);
                out.put_i32(batch.last_sequence);
                out.put_i64(batch.base_offset);
                out.put_i64(batch.timestamp);
            }
        }
        out.put_u32(u32::try_from(self.aborted.len()).unwrap_or(u32::MAX));
        for aborted in &self.aborted {
            out.put_i64(aborted.producer_id);
            out.put_i64(aborted.first_offset);
            out.put_i64(aborted.last_offset);
        }
        out.put_u32(crc32c::crc32c(&out));
        out
    }

    /// Reads a snapshot; `None` when it is damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Producers> {
        let (mut at, mut tail) = bytes.split_at(bytes.len().checked_sub(4)?);
        if tail.get_u32() != crc32c::crc32c(at) {
            return None;
        }
        Producers::decode_body(&mut at)
            .ok()
            .flatten()
            .filter(|_| at.is_empty())
    }

    fn decode_body(at: &mut &[u8]) -> Result<Option<Producers>, TryGetError> {
        if at.try_get_u32()? != SNAPSHOT_MAGIC {
            return Ok(None);
        }
        let mut all = Producers::default();
        for _ in 0..at.try_get_u32()? {
            let id = at.try_get_i64()?;
            let mut producer = Producer::new(at.try_get_i16()?);
            producer.transaction = Some(at.try_get_i64()?).filter(|first| *first >= 0);
            producer.last_timestamp = at.try_get_i64()?;
            for _ in 0..at.try_get_u8()? {
                producer.batches.push_back(Remembered {
                    base_sequence: at.try_get_i32()?,
                    last_sequence: at.try_get_i32()?,
                    base_offset: at.try_get_i64()?,
                    timestamp: at.try_get_i64()?,
                });
            }
            if let Some(first) = producer.transaction {
                all.open.insert(first, id);
            }
            all.by_id.insert(id, producer);
        }
        for _ in 0..at.try_get_u32()? {
            all.aborted.push(Aborted {
                producer_id: at.try_get_i64()?,
                first_offset: at.try_get_i64()?,
                last_offset: at.try_get_i64()?,
            });
        }
        Ok(Some(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(epoch: i16, sequence: i32, count: i32, offset: i64, transactional: bool) -> Header {
        Header {
            base_offset: offset,
            size: 100,
            magic: 2,
            crc: 0,
            attributes: if transactional { 0x10 } else { 0 },
            last_offset_delta: count - 1,
            max_timestamp: 1000,
            producer_id: 1,
            producer_epoch: epoch,
            base_sequence: sequence,
            count,
        }
    }

    #[test]
    fn next_repeated_and_missing_batches() {
        let mut producers = Producers::default();
        assert_eq!(producers.check(&data(0, 0, 3, -1, false)), Verdict::Append);
        producers.appended(&data(0, 0, 3, 10, false));
        assert_eq!(
            producers.check(&data(0, 0, 3, -1, false)),
            Verdict::Duplicate { base_offset: 10 }
        );
        assert_eq!(producers.check(&data(0, 3, 1, -1, false)), Verdict::Append);
        let gap = Verdict::Reject(ResponseError::OutOfOrderSequenceNumber);
        assert_eq!(producers.check(&data(0, 4, 1, -1, false)), gap);
        assert_eq!(producers.check(&data(1, 3, 1, -1, false)), gap);
        assert_eq!(producers.check(&data(1, 0, 1, -1, false)), Verdict::Append);
    }

    #[test]
    fn only_five_batches_are_remembered() {
        let mut producers = Producers::default();
        for batch in 0..6 {
            producers.appended(&data(0, batch, 1, i64::from(batch), false));
        }
        assert_eq!(
            producers.check(&data(0, 0, 1, -1, false)),
            Verdict::Reject(ResponseError::OutOfOrderSequenceNumber)
        );
        assert_eq!(
            producers.check(&data(0, 1, 1, -1, false)),
            Verdict::Duplicate { base_offset: 1 }
        );
    }

    #[test]
    fn an_old_epoch_is_fenced() {
        let mut producers = Producers::default();
        producers.appended(&data(3, 0, 1, 0, true));
        let fenced = ResponseError::InvalidProducerEpoch;
        assert_eq!(
            producers.check(&data(2, 1, 1, -1, true)),
            Verdict::Reject(fenced)
        );
        assert_eq!(producers.check_marker(1, 2), Err(fenced));
        assert_eq!(
            producers.check(&data(3, 1, 1, -1, false)),
            Verdict::Reject(ResponseError::InvalidTxnState),
            "a plain batch within a transaction"
        );
    }

    #[test]
    fn transactions_hold_the_stable_offset_and_aborts_are_listed() {
        let mut producers = Producers::default();
        producers.appended(&data(0, 0, 2, 5, true));
        assert_eq!(producers.first_open(), Some(5));
        producers.ended(&data(0, -1, 1, 7, true), false);
        assert_eq!(producers.first_open(), None);
        producers.appended(&data(0, 2, 1, 8, true));
        producers.ended(&data(0, -1, 1, 9, true), true);
        let aborted = Aborted {
            producer_id: 1,
            first_offset: 5,
            last_offset: 7,
        };
        assert_eq!(producers.aborted_in(0, 100), [aborted]);
        assert_eq!(producers.aborted_in(7, 8), [aborted]);
        assert_eq!(producers.aborted_in(8, 100), []);
        assert_eq!(producers.aborted_in(0, 5), []);
    }

    #[test]
    fn a_producer_goes_with_its_last_record() {
        let mut producers = Producers::default();
        producers.appended(&data(0, 0, 2, 5, true));
        producers.forget(6);
        assert_eq!(producers.list().len(), 1, "its transaction is open");
        producers.ended(&data(0, -1, 1, 7, true), false);
        producers.forget(5);
        assert_eq!(producers.list().len(), 1);
        producers.forget(8);
        assert_eq!(producers, Producers::default());
    }

    #[test]
    fn a_snapshot_holds_everything() {
        let mut producers = Producers::default();
        producers.appended(&data(0, 0, 2, 5, true));
        producers.ended(&data(0, -1, 1, 7, true), false);
        producers.appended(&data(0, 2, 2, 8, true));
        let bytes = producers.encode();
        assert_eq!(Producers::decode(&bytes), Some(producers));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Producers::decode(&damaged), None);
        }
    }
}
