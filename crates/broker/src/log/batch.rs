//! A record batch (magic 2) as it travels and as it is stored: the same bytes, of which the broker writes only the
//! base offset and the leader epoch, because both lie outside of what the checksum covers.
//!
//! ```text
//!  0  base offset i64        21 attributes i16         43 producer id i64
//!  8  length i32             23 last offset delta i32  51 producer epoch i16
//! 12  leader epoch i32       27 base timestamp i64     53 base sequence i32
//! 16  magic i8               35 max timestamp i64      57 record count i32
//! 17  crc32c u32 of 21..                               61 records, perhaps compressed
//! ```

use bytes::{Buf, BufMut, Bytes};
use kafka_protocol::records::RecordBatchDecoder;

/// Bytes in front of the records.
pub(crate) const HEADER_LEN: usize = 61;
/// Bytes in front of what the length field counts.
const LENGTH_END: usize = 12;
const CRC_START: usize = 17;
const CRC_END: usize = 21;
/// The broker is the only leader there ever was, so there is one epoch.
pub(crate) const LEADER_EPOCH: i32 = 0;

const COMPRESSION: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The fixed part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    /// Bytes of the whole batch, header and all.
    pub(crate) size: usize,
    pub(crate) magic: i8,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the batch is cut short")]
    Short,
    #[error("magic {0} is not supported, only 2 is")]
    Magic(i8),
    #[error("the length field holds {0}")]
    Length(i32),
    #[error("the checksum does not match")]
    Checksum,
    #[error("the record count and the last offset disagree")]
    Count,
    #[error("compression {0} is unknown")]
    Compression(i16),
}

impl Header {
    /// Reads the header at the start of `bytes`, which may end before the batch does.
    pub(crate) fn read(bytes: &[u8]) -> Result<Header, Malformed> {
        if bytes.len() < HEADER_LEN {
            return Err(Malformed::Short);
        }
        let mut at = bytes;
        let base_offset = at.get_i64();
        let length = at.get_i32();
        let _leader_epoch = at.get_i32();
        let magic = at.get_i8();
        if magic != 2 {
            return Err(Malformed::Magic(magic));
        }
        let size = usize::try_from(length).map_err(|_| Malformed::Length(length))? + LENGTH_END;
        if size < HEADER_LEN {
            return Err(Malformed::Length(length));
        }
        let crc = at.get_u32();
        let attributes = at.get_i16();
        let last_offset_delta = at.get_i32();
        let _base_timestamp = at.get_i64();
        Ok(Header {
            base_offset,
            size,
            magic,
            crc,
            attributes,
            last_offset_delta,
            max_timestamp: at.get_i64(),
            producer_id: at.get_i64(),
            producer_epoch: at.get_i16(),
            base_sequence: at.get_i32(),
            count: at.get_i32(),
        })
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// The sequence number of the last record; numbers wrap from `i32::MAX` to 0.
    pub(crate) fn last_sequence(&self) -> i32 {
        sequence_after(self.base_sequence, self.last_offset_delta)
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub(crate) fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }
}

/// The sequence number `delta` after `sequence`.
pub(crate) fn sequence_after(sequence: i32, delta: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(delta);
    i32::try_from(sum % (i64::from(i32::MAX) + 1)).unwrap_or(0)
}

/// Reads and verifies the whole batch at the start of `bytes`.
pub(crate) fn verify(bytes: &[u8]) -> Result<Header, Malformed> {
    let header = Header::read(bytes)?;
    if bytes.len() < header.size {
        return Err(Malformed::Short);
    }
    if crc32c::crc32c(&bytes[CRC_END..header.size]) != header.crc {
        return Err(Malformed::Checksum);
    }
    Ok(header)
}

/// Verifies a batch that a client sent: intact, not a control batch in disguise, its counts consistent.
pub(crate) fn verify_produced(bytes: &[u8]) -> Result<Header, Malformed> {
    let header = verify(bytes)?;
    if header.count < 1 || header.last_offset_delta != header.count - 1 {
        return Err(Malformed::Count);
    }
    let compression = header.attributes & COMPRESSION;
    if compression > 4 {
        return Err(Malformed::Compression(compression));
    }
    Ok(header)
}

/// Gives a batch its place in the log.
pub(crate) fn assign(batch: &mut [u8], base_offset: i64) {
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&LEADER_EPOCH.to_be_bytes());
}

/// Stamps a batch with the time of its append; the checksum covers these bytes and is made anew.
pub(crate) fn stamp(batch: &mut [u8], now_ms: i64) {
    let attributes = i16::from_be_bytes([batch[21], batch[22]]) | LOG_APPEND_TIME;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[35..43].copy_from_slice(&now_ms.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CRC_END..]);
    batch[CRC_START..CRC_END].copy_from_slice(&crc.to_be_bytes());
}

/// The control batch that ends a transaction on one partition.
pub(crate) fn marker(producer_id: i64, producer_epoch: i16, commit: bool, now_ms: i64) -> Vec<u8> {
    let mut batch = Vec::with_capacity(HEADER_LEN + 17);
    batch.put_i64(0);
    batch.put_i32(0);
    batch.put_i32(LEADER_EPOCH);
    batch.put_i8(2);
    batch.put_u32(0);
    batch.put_i16(TRANSACTIONAL | CONTROL);
    batch.put_i32(0);
    batch.put_i64(now_ms);
    batch.put_i64(now_ms);
    batch.put_i64(producer_id);
    batch.put_i16(producer_epoch);
    batch.put_i32(-1);
    batch.put_i32(1);
    // One record of 16 bytes; lengths are zigzag varints, all below 64, so one byte each.
    batch.put_slice(&[32, 0, 0, 0, 8]);
    batch.put_i16(0);
    batch.put_i16(i16::from(commit));
    batch.put_u8(12);
    batch.put_i16(0);
    batch.put_i32(0);
    batch.put_u8(0);
    let length = i32::try_from(batch.len() - LENGTH_END).unwrap_or(0);
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CRC_END..]);
    batch[CRC_START..CRC_END].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// Whether a control batch that [`marker`] built commits; `None` when it is something else.
pub(crate) fn marker_commits(batch: &[u8]) -> Option<bool> {
    match batch.get(68..70)? {
        [0, 0] => Some(false),
        [0, 1] => Some(true),
        _ => None,
    }
}

/// The offset and timestamp of the first record at or after `timestamp` in a verified batch.
pub(crate) fn first_at_or_after(batch: &Bytes, timestamp: i64) -> Option<(i64, i64)> {
    let header = Header::read(batch).ok()?;
    if header.attributes & LOG_APPEND_TIME != 0 || header.is_control() {
        return (header.max_timestamp >= timestamp)
            .then_some((header.base_offset, header.max_timestamp));
    }
    let set = RecordBatchDecoder::decode(&mut batch.clone()).ok()?;
    let found = set
        .records
        .iter()
        .find(|record| record.timestamp >= timestamp)?;
    Some((found.offset, found.timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_an_intact_control_batch() {
        for commit in [true, false] {
            let mut bytes = marker(7, 3, commit, 1000);
            assign(&mut bytes, 42);
            let header = verify(&bytes).unwrap();
            assert_eq!(
                (header.base_offset, header.last_offset(), header.size),
                (42, 42, bytes.len())
            );
            assert!(header.is_control() && header.is_transactional());
            assert_eq!(marker_commits(&bytes), Some(commit));
            let set = RecordBatchDecoder::decode(&mut Bytes::from(bytes)).unwrap();
            let key = set.records[0].key.as_ref().unwrap();
            assert_eq!(key.as_ref(), [0, 0, 0, u8::from(commit)]);
            assert_eq!(set.records[0].value.as_ref().unwrap().len(), 6);
        }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let mut bytes = marker(7, 3, true, 1000);
        bytes[70] ^= 1;
        assert_eq!(verify(&bytes), Err(Malformed::Checksum));
        assert_eq!(verify(&bytes[..70]), Err(Malformed::Short));
    }

    #[test]
    fn stamping_keeps_the_batch_intact() {
        let mut bytes = marker(7, 3, true, 1000);
        stamp(&mut bytes, 5000);
        assert_eq!(verify(&bytes).unwrap().max_timestamp, 5000);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
        assert_eq!(sequence_after(5, 0), 5);
    }
}
