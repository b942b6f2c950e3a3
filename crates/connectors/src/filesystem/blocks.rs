//! Records out of a stream of bytes, a block at a time, without copying the records.
//!
//! ```text
//!   block k:   record record record rec|        <- cut off by the block's end
//!   block k+1: rec|ord record record ...        <- only the piece is carried over
//! ```
//!
//! Blocks are Arrow buffers: decoded text can point into them. A block that nothing points into any more is used again.

use arrow::buffer::Buffer;
use millstream_dataflow::format::Records;
use millstream_formats::Framing;
use std::io::{self, Read};

/// How much is read at a time.
const BLOCK: usize = 1 << 20;

/// A record longer than this is an error: without a separator a whole file would be one.
const RECORD_MAX: usize = 1 << 30;

/// A stream cut into records.
pub(crate) struct Blocks {
    input: Box<dyn Read + Send>,
    framing: Framing,
    block: Buffer,
    /// Where the next record begins in the block.
    next: usize,
    /// The stream's position of the block's first byte.
    base: u64,
    ended: bool,
}

impl Blocks {
    /// The records of a stream that stands at `position`.
    pub(crate) fn new(input: Box<dyn Read + Send>, framing: Framing, position: u64) -> Self {
        Self {
            input,
            framing,
            block: Buffer::from_vec(Vec::<u8>::new()),
            next: 0,
            base: position,
            ended: false,
        }
    }

    /// The stream's position of the next record.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.next as u64
    }

    /// Whether all records were given.
    pub(crate) fn ended(&self) -> bool {
        self.ended && self.next == self.block.len()
    }

    /// At most `max` records that stand in one block, and the stream's position of the first; none only at the end.
    pub(crate) fn records(&mut self, max: usize) -> io::Result<(Records, u64)> {
        let mut ends = Vec::with_capacity(max.min(1 << 13));
        loop {
            let rest = &self.block[self.next..];
            self.framing.split(rest, 0, self.ended, max, &mut ends);
            if !ends.is_empty() || self.ended() {
                break;
            }
            self.fill()?;
        }
        let position = self.position();
        let length = ends.last().copied().unwrap_or(0);
        let records = Records {
            bytes: self.block.slice_with_length(self.next, length),
            start: 0,
            ends,
        };
        self.next += length;
        Ok((records, position))
    }

    /// Replaces the block by what is left of it and what comes next.
    fn fill(&mut self) -> io::Result<()> {
        let left = self.block.len() - self.next;
        if left > RECORD_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the record at byte {} is longer than {RECORD_MAX} bytes",
                    self.position()
                ),
            ));
        }
        // A record that fills a block and goes on is given twice as much.
        let more = BLOCK.max(left);
        let old = std::mem::replace(&mut self.block, Buffer::from_vec(Vec::<u8>::new()));
        let mut fresh = match old.into_vec::<u8>() {
            Ok(mut own) => {
                own.copy_within(self.next.., 0);
                own.truncate(left);
                own.reserve(more);
                own
            }
            Err(shared) => {
                let mut own = Vec::with_capacity(left + more);
                own.extend_from_slice(&shared[self.next..]);
                own
            }
        };
        self.base += self.next as u64;
        self.next = 0;
        let read = self
            .input
            .by_ref()
            .take(more as u64)
            .read_to_end(&mut fresh);
        let filled = fresh.len();
        self.block = Buffer::from_vec(fresh);
        self.ended = read? < more;
        debug_assert!(filled >= left);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], max: usize) -> Vec<(u64, Vec<u8>)> {
        let mut blocks = Blocks::new(
            Box::new(io::Cursor::new(bytes.to_vec())),
            Framing::lines(),
            100,
        );
        let mut all = Vec::new();
        while !blocks.ended() {
            let (records, base) = blocks.records(max).unwrap();
            let mut start = records.start;
            for record in 0..records.len() {
                all.push((base + start as u64, records.get(record).to_vec()));
                start = records.ends[record];
            }
        }
        assert_eq!(blocks.position(), 100 + bytes.len() as u64);
        all
    }

    #[test]
    fn records_do_not_depend_on_how_many_are_asked_for() {
        let lines: Vec<u8> = (0..40_000)
            .flat_map(|n| format!("line {n}{}\n", "x".repeat(n % 97)).into_bytes())
            .collect();
        let expected: Vec<&[u8]> = lines.split_inclusive(|b| *b == b'\n').collect();
        for max in [1, 7, 8192] {
            let found = all(&lines, max);
            assert_eq!(found.len(), expected.len());
            let mut position = 100;
            for ((at, line), wanted) in found.iter().zip(&expected) {
                assert_eq!((*at, line.as_slice()), (position, *wanted));
                position += wanted.len() as u64;
            }
        }
    }

    #[test]
    fn the_last_line_needs_no_line_feed_and_a_line_may_be_longer_than_a_block() {
        let long = vec![b'y'; 3 * BLOCK + 5];
        let bytes = [b"a\n".as_slice(), &long, b"\nb"].concat();
        let lengths: Vec<usize> = all(&bytes, 10).iter().map(|(_, line)| line.len()).collect();
        assert_eq!(lengths, [2, long.len() + 1, 1]);
    }

    #[test]
    fn text_that_points_into_a_block_keeps_it() {
        let bytes: Vec<u8> = (0..2 * BLOCK)
            .map(|n| {
                if n % 64 == 63 {
                    b'\n'
                } else {
                    b'0' + (n >> 20) as u8
                }
            })
            .collect();
        let mut blocks = Blocks::new(Box::new(io::Cursor::new(bytes)), Framing::lines(), 0);
        let (first, _) = blocks.records(usize::MAX).unwrap();
        let before = first.get(0).to_vec();
        blocks.records(usize::MAX).unwrap();
        assert_eq!(first.get(0), before);
    }
}
