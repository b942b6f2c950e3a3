//! The log of one partition: segments, the producers' state, and where the log starts.
//!
//! Invariants: segments follow each other without a gap; what `append` gave an offset is in the file before the
//! answer leaves; the last stable offset is never beyond an open transaction's first record.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

use kafka_protocol::error::ResponseError;

use super::{
    batch::{self, Header},
    producers::{Aborted, Producers, Verdict},
    recovery::{self, Recovered},
    segment::{Segment, Slice},
};
use crate::{
    config::TopicConfig,
    error::{At, Error, Result},
};

const START_FILE: &str = "start";

/// One partition's log.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    dir: PathBuf,
    segments: VecDeque<Segment>,
    pub(crate) producers: Producers,
    start_offset: i64,
    buffer: Vec<u8>,
}

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// The append time, for a topic that stamps its records; else -1.
    pub(crate) append_time_ms: i64,
    pub(crate) log_start: i64,
}

/// Why a batch was not appended.
#[derive(Debug)]
pub(crate) enum Refused {
    Answer(ResponseError),
    Disk(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Disk(error)
    }
}

/// The offsets that a client may ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) start: i64,
    pub(crate) stable: i64,
    pub(crate) end: i64,
}

impl PartitionLog {
    /// Opens the folder and finds the log's true end.
    pub(crate) fn open(dir: PathBuf) -> Result<PartitionLog> {
        fs::create_dir_all(&dir).at("create", &dir)?;
        let Recovered {
            segments,
            producers,
            cut_bytes,
        } = recovery::recover(&dir)?;
        if cut_bytes > 0 {
            tracing::warn!(dir = %dir.display(), cut_bytes, "cut a torn batch off the end of the log");
        }
        let first = segments.front().map_or(0, |segment| segment.base_offset);
        let end = segments
            .back()
            .map_or(i64::MAX, |segment| segment.next_offset);
        let start_offset = read_start(&dir)?.max(first).min(end);
        Ok(PartitionLog {
            dir,
            segments,
            producers,
            start_offset,
            buffer: Vec::new(),
        })
    }

    /// Start, last stable offset and end (which is the high watermark, with a single replica).
    pub(crate) fn bounds(&self) -> Bounds {
        let end = self
            .segments
            .back()
            .map_or(self.start_offset, |segment| segment.next_offset);
        let stable = self.producers.first_open().unwrap_or(end);
        let stable = stable.max(self.start_offset);
        Bounds {
            start: self.start_offset,
            stable,
            end,
        }
    }

    /// Bytes on disk.
    pub(crate) fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Appends one verified batch that a client sent.
    pub(crate) fn append(
        &mut self,
        bytes: &[u8],
        header: &Header,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<Appended, Refused> {
        let append_time_ms = if config.stamps_append_time {
            now_ms
        } else {
            -1
        };
        match self.producers.check(header) {
            Verdict::Append => {}
            Verdict::Reject(error) => return Err(Refused::Answer(error)),
            Verdict::Duplicate { base_offset } => {
                return Ok(Appended {
                    base_offset,
                    append_time_ms: -1,
                    log_start: self.start_offset,
                });
            }
        }
        let written = self.write(bytes, config, append_time_ms, now_ms)?;
        self.producers.appended(&written);
        Ok(Appended {
            base_offset: written.base_offset,
            append_time_ms,
            log_start: self.start_offset,
        })
    }

    /// Appends the marker that ends a transaction; gives its offset.
    pub(crate) fn append_marker(
        &mut self,
        producer_id: i64,
        epoch: i16,
        commit: bool,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<i64, Refused> {
        self.producers
            .check_marker(producer_id, epoch)
            .map_err(Refused::Answer)?;
        let bytes = batch::marker(producer_id, epoch, commit, now_ms);
        let written = self.write(&bytes, config, -1, now_ms)?;
        self.producers.ended(&written, commit);
        Ok(written.base_offset)
    }

    fn write(
        &mut self,
        bytes: &[u8],
        config: &TopicConfig,
        append_time_ms: i64,
        now_ms: i64,
    ) -> Result<Header> {
        let base_offset = self.bounds().end;
        self.make_room(bytes.len() as u64, base_offset, config)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend_from_slice(bytes);
        batch::assign(&mut buffer, base_offset);
        if append_time_ms >= 0 {
            batch::stamp(&mut buffer, append_time_ms);
        }
        let outcome = self.write_assigned(&buffer, now_ms);
        self.buffer = buffer;
        outcome
    }

    fn write_assigned(&mut self, batch: &[u8], now_ms: i64) -> Result<Header> {
        let active = self.segments.back_mut().ok_or(Error::Stopped)?;
        let malformed = |what: batch::Malformed| Error::Damaged {
            path: active.path.clone(),
            position: active.size,
            what: what.to_string(),
        };
        let header = Header::read(batch).map_err(malformed)?;
        active.append(batch, &header, now_ms)?;
        Ok(header)
    }

    /// Sees to it that the last segment exists and has room. A segment is made when there is something to put in,
    /// so that an unused partition costs no file.
    fn make_room(&mut self, bytes: u64, end: i64, config: &TopicConfig) -> Result<()> {
        match self.segments.back() {
            Some(active) if active.size == 0 || active.size + bytes <= config.segment_bytes => {
                return Ok(());
            }
            Some(active) => {
                active.close()?;
                let path = recovery::snapshot_path(&self.dir, end);
                fs::write(&path, self.producers.encode()).at("write", &path)?;
                recovery::drop_old_snapshots(&self.dir)?;
            }
            None => {}
        }
        self.segments.push_back(Segment::open(&self.dir, end)?);
        Ok(())
    }

    /// Where to read `offset`, and whether more segments follow that one. `None` at the end of the log.
    pub(crate) fn locate(&self, offset: i64) -> Option<(Slice, bool)> {
        let at = self
            .segments
            .partition_point(|segment| segment.next_offset <= offset);
        let segment = self.segments.get(at)?;
        Some((segment.slice_from(offset), at + 1 < self.segments.len()))
    }

    /// The aborted transactions that a reader of `from..to` must know.
    pub(crate) fn aborted_in(&self, from: i64, to: i64) -> Vec<Aborted> {
        self.producers.aborted_in(from, to)
    }

    /// The offset and timestamp of the first record at or after `timestamp` below `end`.
    pub(crate) fn find_time(&self, timestamp: i64, end: i64) -> io::Result<Option<(i64, i64)>> {
        for segment in &self.segments {
            let Some(position) = segment.index.position_of_time(timestamp) else {
                continue;
            };
            let found = segment.slice_at(position).find(|header, bytes| {
                let possible =
                    header.max_timestamp >= timestamp && header.last_offset() >= self.start_offset;
                possible
                    .then(|| batch::first_at_or_after(bytes, timestamp))
                    .flatten()
            })?;
            if let Some((offset, at)) = found {
                return Ok((offset < end).then_some((offset.max(self.start_offset), at)));
            }
        }
        Ok(None)
    }

    /// The offset and timestamp of the record with the largest timestamp.
    pub(crate) fn find_max_time(&self, end: i64) -> io::Result<Option<(i64, i64)>> {
        let times = self
            .segments
            .iter()
            .filter_map(|segment| segment.index.max_timestamp());
        times
            .max()
            .map_or(Ok(None), |timestamp| self.find_time(timestamp, end))
    }

    /// Moves the log's start forward on request, and deletes the segments before it.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Result<()> {
        if offset <= self.start_offset {
            return Ok(());
        }
        write_start(&self.dir, offset)?;
        self.start_offset = offset;
        self.drop_front(|segment, start| segment.next_offset <= start)
    }

    /// Deletes the segments that the topic's retention no longer covers.
    pub(crate) fn retain(&mut self, config: &TopicConfig, now_ms: i64) -> Result<()> {
        self.producers.forget(self.start_offset);
        if !config.deletes {
            return Ok(());
        }
        if let Some(keep_ms) = config.retention_ms {
            let before_ms = now_ms.saturating_sub(keep_ms);
            let expired = |segment: &Segment| segment.is_older_than(before_ms);
            if self.segments.back().is_some_and(&expired) {
                self.make_room(u64::MAX / 2, self.bounds().end, config)?;
            }
            self.drop_front(|segment, _| expired(segment))?;
        }
        if let Some(keep_bytes) = config.retention_bytes {
            let mut excess = self.size().saturating_sub(keep_bytes);
            self.drop_front(|segment, _| {
                let drop = segment.size <= excess;
                excess = excess.saturating_sub(if drop { segment.size } else { 0 });
                drop
            })?;
        }
        Ok(())
    }

    /// Deletes segments from the front while `unwanted`, never the last one, never past an open transaction.
    fn drop_front(&mut self, mut unwanted: impl FnMut(&Segment, i64) -> bool) -> Result<()> {
        let stable = self.bounds().stable;
        while self.segments.len() > 1 {
            let Some(front) = self.segments.front() else {
                break;
            };
            if front.next_offset > stable || !unwanted(front, self.start_offset) {
                break;
            }
            self.start_offset = self.start_offset.max(front.next_offset);
            front.delete()?;
            self.segments.pop_front();
        }
        Ok(())
    }
}

fn read_start(dir: &Path) -> Result<i64> {
    let path = dir.join(START_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| Error::Damaged {
            path,
            position: 0,
            what: format!("{text:?} is not an offset"),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).at("read", &path),
    }
}

fn write_start(dir: &Path, offset: i64) -> Result<()> {
    let (path, new) = (dir.join(START_FILE), dir.join("start.new"));
    fs::write(&new, offset.to_string()).at("write", &new)?;
    fs::rename(&new, &path).at("rename", &new)
}

#[cfg(test)]
#[path = "partition_log_tests.rs"]
mod tests;
