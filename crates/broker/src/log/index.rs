//! A segment's sparse index: one entry for about every 4 KiB of log, by offset and by timestamp.
//!
//! An entry's `max_timestamp` is the largest of everything up to the next entry, so it never falls, and the first
//! entry that reaches a timestamp covers the first batch that does.

use bytes::{Buf, BufMut};

const SPAN_BYTES: u64 = 4096;
const MAGIC: u32 = 0x4d53_4958;

/// Where a span of the segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    pub(crate) position: u64,
    pub(crate) max_timestamp: i64,
}

/// The index of one segment, in memory; written beside the segment when that is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// Notes the batch that starts at `position`.
    pub(crate) fn note(&mut self, offset: i64, position: u64, max_timestamp: i64) {
        match self.entries.last_mut() {
            Some(last) if position - last.position < SPAN_BYTES => {
                last.max_timestamp = last.max_timestamp.max(max_timestamp);
            }
            last => {
                let before = last.map_or(i64::MIN, |entry| entry.max_timestamp);
                self.entries.push(Entry {
                    offset,
                    position,
                    max_timestamp: before.max(max_timestamp),
                });
            }
        }
    }

    /// The position from which a walk finds the batch that holds `offset`.
    pub(crate) fn position_before(&self, offset: i64) -> u64 {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        after
            .checked_sub(1)
            .map_or(0, |at| self.entries[at].position)
    }

    /// The position from which a walk finds the first batch that reaches `timestamp`.
    pub(crate) fn position_of_time(&self, timestamp: i64) -> Option<u64> {
        let at = self
            .entries
            .partition_point(|entry| entry.max_timestamp < timestamp);
        self.entries.get(at).map(|entry| entry.position)
    }

    /// The largest timestamp in the segment.
    pub(crate) fn max_timestamp(&self) -> Option<i64> {
        self.entries.last().map(|entry| entry.max_timestamp)
    }

    /// The file form, which also pins the segment's size and end.
    pub(crate) fn encode(&self, segment_size: u64, next_offset: i64) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.entries.len() * 24);
        out.put_u32(MAGIC);
        out.put_u64(segment_size);
        out.put_i64(next_offset);
        out.put_u64(self.entries.len() as u64);
        for entry in &self.entries {
            out.put_i64(entry.offset);
            out.put_u64(entry.position);
            out.put_i64(entry.max_timestamp);
        }
        out.put_u32(crc32c::crc32c(&out));
        out
    }

    /// Reads the file form; `None` when it is damaged or belongs to a segment of another size.
    pub(crate) fn decode(bytes: &[u8], segment_size: u64) -> Option<(Index, i64)> {
        let body = bytes.len().checked_sub(4)?;
        let (mut at, mut tail) = bytes.split_at(body);
        if tail.get_u32() != crc32c::crc32c(at) || at.len() < 28 || at.get_u32() != MAGIC {
            return None;
        }
        if at.get_u64() != segment_size {
            return None;
        }
        let next_offset = at.get_i64();
        let count = usize::try_from(at.get_u64()).ok()?;
        if at.len() != count.checked_mul(24)? {
            return None;
        }
        let entries = (0..count)
            .map(|_| Entry {
                offset: at.get_i64(),
                position: at.get_u64(),
                max_timestamp: at.get_i64(),
            })
            .collect();
        Some((Index { entries }, next_offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for (batch, timestamp) in [5, 9, 7, 20, 3].into_iter().enumerate() {
            index.note(batch as i64 * 10, batch as u64 * 3000, timestamp);
        }
        index
    }

    #[test]
    fn finds_the_span_of_an_offset() {
        let index = index();
        assert_eq!(index.position_before(0), 0);
        assert_eq!(index.position_before(19), 0);
        assert_eq!(index.position_before(20), 6000);
        assert_eq!(index.position_before(1000), 12000);
    }

    #[test]
    fn finds_the_span_of_a_time() {
        let index = index();
        assert_eq!(index.position_of_time(6), Some(0));
        assert_eq!(index.position_of_time(10), Some(6000));
        assert_eq!(index.position_of_time(21), None);
        assert_eq!(index.max_timestamp(), Some(20));
    }

    #[test]
    fn survives_its_file_and_refuses_a_damaged_one() {
        let bytes = index().encode(15000, 50);
        assert_eq!(Index::decode(&bytes, 15000), Some((index(), 50)));
        assert_eq!(Index::decode(&bytes, 15001), None);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert_eq!(Index::decode(&damaged, 15000), None, "byte {at}");
        }
        assert_eq!(Index::decode(&[], 0), None);
    }
}
