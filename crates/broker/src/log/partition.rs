//! A partition as the handlers see it: its log behind a lock, and who waits for it to grow.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    batch,
    partition_log::{Appended, Bounds, PartitionLog, Refused},
    producers::Aborted,
    waiters::Waiters,
};
use crate::{clock::now_ms, config::TopicConfig, error::Result};

/// One partition of a topic.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) index: i32,
    log: Mutex<PartitionLog>,
    waiters: Waiters,
}

/// What a reader got.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) bounds: Bounds,
    pub(crate) records: Bytes,
    pub(crate) aborted: Vec<Aborted>,
    /// More can be read at once, though not from the same file.
    pub(crate) more: bool,
}

/// How a reader reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) offset: i64,
    pub(crate) bytes_max: usize,
    pub(crate) at_least_one: bool,
    pub(crate) committed: bool,
}

impl Partition {
    pub(crate) fn open(index: i32, dir: PathBuf) -> Result<Partition> {
        Ok(Partition {
            index,
            log: Mutex::new(PartitionLog::open(dir)?),
            waiters: Waiters::default(),
        })
    }

    /// Appends the one batch that a produce request may hold for a partition.
    pub(crate) fn append(&self, records: &[u8], config: &TopicConfig) -> Result<Appended, Refused> {
        let refuse = |error| Err(Refused::Answer(error));
        if records.len() > config.message_bytes_max {
            return refuse(ResponseError::MessageTooLarge);
        }
        let header = match batch::verify_produced(records) {
            Ok(header) => header,
            Err(batch::Malformed::Magic(_)) => {
                return refuse(ResponseError::UnsupportedForMessageFormat);
            }
            Err(batch::Malformed::Count) => return refuse(ResponseError::InvalidRecord),
            Err(_) => return refuse(ResponseError::CorruptMessage),
        };
        if header.size != records.len() || header.is_control() {
            return refuse(ResponseError::InvalidRecord);
        }
        let appended = self.log.lock().append(records, &header, config, now_ms())?;
        self.waiters.ring();
        Ok(appended)
    }

    pub(crate) fn append_marker(
        &self,
        producer_id: i64,
        epoch: i16,
        commit: bool,
        config: &TopicConfig,
    ) -> Result<i64, Refused> {
        let offset = self
            .log
            .lock()
            .append_marker(producer_id, epoch, commit, config, now_ms())?;
        self.waiters.ring();
        Ok(offset)
    }

    /// Reads whole batches; the file is read after the lock is released.
    pub(crate) fn read(&self, reading: Reading) -> io::Result<Result<Read, ResponseError>> {
        let (bounds, end, located) = {
            let log = self.log.lock();
            let bounds = log.bounds();
            if reading.offset < bounds.start || reading.offset > bounds.end {
                return Ok(Err(ResponseError::OffsetOutOfRange));
            }
            let end = if reading.committed {
                bounds.stable
            } else {
                bounds.end
            };
            (
                bounds,
                end,
                (reading.offset < end)
                    .then(|| log.locate(reading.offset))
                    .flatten(),
            )
        };
        let Some((slice, more)) = located else {
            return Ok(Ok(Read {
                bounds,
                records: Bytes::new(),
                aborted: Vec::new(),
                more: false,
            }));
        };
        let records = slice.read(reading.offset, end, reading.bytes_max, reading.at_least_one)?;
        let aborted = if reading.committed && !records.is_empty() {
            let last = end_of(&records).unwrap_or(end);
            self.log.lock().aborted_in(reading.offset, last)
        } else {
            Vec::new()
        };
        Ok(Ok(Read {
            bounds,
            records,
            aborted,
            more,
        }))
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.log.lock().bounds()
    }

    pub(crate) fn size(&self) -> u64 {
        self.log.lock().size()
    }

    /// The offset and timestamp of the first record at or after `timestamp`.
    pub(crate) fn find_time(
        &self,
        timestamp: i64,
        committed: bool,
    ) -> io::Result<Option<(i64, i64)>> {
        let log = self.log.lock();
        let bounds = log.bounds();
        log.find_time(
            timestamp,
            if committed { bounds.stable } else { bounds.end },
        )
    }

    /// The offset and timestamp of the record with the largest timestamp.
    pub(crate) fn find_max_time(&self, committed: bool) -> io::Result<Option<(i64, i64)>> {
        let log = self.log.lock();
        let bounds = log.bounds();
        log.find_max_time(if committed { bounds.stable } else { bounds.end })
    }

    /// Deletes the records before `offset` (-1: all); gives the new start.
    pub(crate) fn delete_before(&self, offset: i64) -> Result<i64, Refused> {
        let mut log = self.log.lock();
        let bounds = log.bounds();
        let offset = if offset == -1 { bounds.end } else { offset };
        if offset < 0 || offset > bounds.end {
            return Err(Refused::Answer(ResponseError::OffsetOutOfRange));
        }
        log.delete_before(offset)?;
        Ok(log.bounds().start)
    }

    pub(crate) fn retain(&self, config: &TopicConfig) -> Result<()> {
        self.log.lock().retain(config, now_ms())
    }

    /// Looks at the producers under the lock.
    pub(crate) fn with_log<T>(&self, look: impl FnOnce(&PartitionLog) -> T) -> T {
        look(&self.log.lock())
    }

    pub(crate) fn wait(&self, waiter: &Arc<Notify>) {
        self.waiters.add(waiter);
    }

    pub(crate) fn stop_waiting(&self, waiter: &Arc<Notify>) {
        self.waiters.remove(waiter);
    }

    /// Wakes everyone who waits, because the partition is going away.
    pub(crate) fn ring(&self) {
        self.waiters.ring();
    }
}

/// The offset after the last batch in `records`.
fn end_of(records: &Bytes) -> Option<i64> {
    let mut rest = records.as_ref();
    let mut end = None;
    while let Ok(header) = batch::Header::read(rest) {
        end = Some(header.next_offset());
        rest = rest.get(header.size..)?;
    }
    end
}
