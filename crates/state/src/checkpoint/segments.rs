//! Segments: objects of many blocks, built in memory and uploaded whole.
//!
//! ```text
//! | header, 64 bytes | block | padding to 64 | block | padding | ...
//! ```
//!
//! Invariant: a block that was given a place stays in memory until its segment is uploaded, however often that fails.

use super::block::Encoded;
use super::manifest::{Block, SegmentId};
use super::place::Place;
use super::{SEGMENTS, named};
use bytes::Bytes;
use millstream_dataflow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Blocks begin at multiples of this, so that their arrays are used where they lie.
const ALIGNMENT: usize = 64;

const PADDING: [u8; ALIGNMENT] = [0; ALIGNMENT];

const HEADER: &[u8; ALIGNMENT] =
    b"millstream segment 1\nmanifests beside it name its blocks       \n";

/// Gives the segments of a writer their names.
#[derive(Clone, Debug)]
pub(super) struct Names {
    writer: u64,
    next: Arc<AtomicU32>,
}

impl Names {
    pub(super) fn of(writer: u64) -> Self {
        Self {
            writer,
            next: Arc::new(AtomicU32::new(1)),
        }
    }

    fn next(&self) -> SegmentId {
        SegmentId {
            writer: self.writer,
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Segments that are built and not uploaded.
pub(super) struct Segments {
    place: Arc<dyn Place>,
    names: Names,
    /// A segment of so many bytes is full.
    full: usize,
    /// Oldest first; only the last is not full.
    building: Vec<Building>,
    /// What was uploaded since it was last asked for, with sizes.
    uploaded: Vec<(SegmentId, u64)>,
    /// An upload failed: the next is the commit's.
    stuck: bool,
}

struct Building {
    id: SegmentId,
    parts: Vec<Bytes>,
    bytes: usize,
}

impl Building {
    fn push(&mut self, part: Bytes) {
        self.bytes += part.len();
        self.parts.push(part);
    }
}

impl Segments {
    pub(super) fn new(place: Arc<dyn Place>, names: Names, full: usize) -> Self {
        Self {
            place,
            names,
            full,
            building: Vec::new(),
            uploaded: Vec::new(),
            stuck: false,
        }
    }

    /// Gives a block its place.
    pub(super) fn push(&mut self, encoded: Encoded) -> Block {
        let bytes = encoded.bytes.len() as u64;
        let (segment, offset) = self.put(Bytes::from(encoded.bytes));
        Block {
            segment,
            offset,
            bytes,
            raw: encoded.raw,
            rows: encoded.rows,
            removals: encoded.removals,
            checksum: encoded.checksum,
        }
    }

    /// Gives the bytes of a block a place.
    pub(super) fn put(&mut self, bytes: Bytes) -> (SegmentId, u64) {
        if self.building.last().is_none_or(|it| it.bytes >= self.full) {
            let mut fresh = Building {
                id: self.names.next(),
                parts: Vec::new(),
                bytes: 0,
            };
            fresh.push(Bytes::from_static(HEADER));
            self.building.push(fresh);
        }
        let last = self.building.len() - 1;
        let segment = &mut self.building[last];
        let place = (segment.id, segment.bytes as u64);
        segment.push(bytes);
        let padding = segment.bytes.next_multiple_of(ALIGNMENT) - segment.bytes;
        segment.push(Bytes::from_static(&PADDING).slice(..padding));
        place
    }

    /// Uploads the full segments, if that has not just failed.
    pub(super) fn relieve(&mut self) {
        while !self.stuck
            && self
                .building
                .first()
                .is_some_and(|it| it.bytes >= self.full)
        {
            self.stuck = self.upload_first().is_err();
        }
    }

    /// Uploads everything.
    ///
    /// # Errors
    /// As the place gives; what was not uploaded is kept.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.stuck = false;
        while !self.building.is_empty() {
            self.upload_first()?;
        }
        Ok(())
    }

    /// What was uploaded since the last call.
    pub(super) fn take_uploaded(&mut self) -> Vec<(SegmentId, u64)> {
        std::mem::take(&mut self.uploaded)
    }

    /// The bytes in memory.
    pub(super) fn waiting(&self) -> usize {
        self.building.iter().map(|segment| segment.bytes).sum()
    }

    fn upload_first(&mut self) -> Result<()> {
        let Some(segment) = self.building.first() else {
            return Ok(());
        };
        let name = named(SEGMENTS, segment.id);
        self.place.write(&name, &segment.parts)?;
        self.uploaded.push((segment.id, segment.bytes as u64));
        self.building.remove(0);
        Ok(())
    }
}
