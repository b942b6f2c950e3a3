//! One file of the log: batches back to back, named by the offset of the first.
//!
//! Batches are written whole at a known position, so a failed write leaves nothing behind that the next one does
//! not overwrite, and a kill leaves at most one torn batch at the end of the last segment.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use bytes::Bytes;

use super::{
    batch::{HEADER_LEN, Header},
    index::Index,
};
use crate::error::{At, Result};

/// A walk finds its batch within this many bytes of an index entry.
const WALK_BYTES: u64 = 4096 + HEADER_LEN as u64;

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    pub(crate) next_offset: i64,
    pub(crate) size: u64,
    /// When it last grew, by the broker's clock.
    pub(crate) appended_ms: i64,
    pub(crate) index: Index,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
}

/// A part of a segment that may be read without holding the partition's lock.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    file: Arc<File>,
    from: u64,
    to: u64,
}

fn modified_ms(file: &File) -> io::Result<i64> {
    let elapsed = file
        .metadata()?
        .modified()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// The path of the segment that starts at `base_offset`.
fn log_path(dir: &Path, base_offset: i64) -> PathBuf {
    dir.join(format!("{base_offset:020}.log"))
}

impl Segment {
    /// Opens the file, making it when it is not there; the caller fills in what it holds.
    pub(crate) fn open(dir: &Path, base_offset: i64) -> Result<Segment> {
        let path = log_path(dir, base_offset);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("open", &path)?;
        Ok(Segment {
            base_offset,
            next_offset: base_offset,
            size: 0,
            appended_ms: modified_ms(&file).at("read", &path)?,
            index: Index::default(),
            path,
            file: Arc::new(file),
        })
    }

    /// Writes one batch, whose header has its offsets already, at the end.
    pub(crate) fn append(&mut self, batch: &[u8], header: &Header, now_ms: i64) -> Result<()> {
        self.file
            .write_all_at(batch, self.size)
            .at("write", &self.path)?;
        self.appended_ms = now_ms;
        self.admit(header);
        Ok(())
    }

    /// Notes a batch that is in the file.
    pub(crate) fn admit(&mut self, header: &Header) {
        self.index
            .note(header.base_offset, self.size, header.max_timestamp);
        self.size += header.size as u64;
        self.next_offset = header.next_offset();
    }

    /// Writes the index beside a segment that will not grow any more.
    pub(crate) fn close(&self) -> Result<()> {
        let path = self.path.with_extension("index");
        std::fs::write(&path, self.index.encode(self.size, self.next_offset)).at("write", &path)
    }

    /// The part in which a walk finds `offset` and what follows.
    pub(crate) fn slice_from(&self, offset: i64) -> Slice {
        self.slice_at(self.index.position_before(offset))
    }

    /// The part that starts at a batch.
    pub(crate) fn slice_at(&self, from: u64) -> Slice {
        Slice {
            file: Arc::clone(&self.file),
            from,
            to: self.size,
        }
    }

    /// Whether all of it is older than `before_ms`: by what its records say, and by when they were written, so that
    /// history that is replayed today stays as long as what happens today.
    pub(crate) fn is_older_than(&self, before_ms: i64) -> bool {
        let newest = self.index.max_timestamp();
        newest.is_some_and(|newest| newest < before_ms) && self.appended_ms < before_ms
    }

    /// Removes the files.
    pub(crate) fn delete(&self) -> Result<()> {
        let index = self.path.with_extension("index");
        match std::fs::remove_file(&index) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).at("delete", &index)?
            }
            _ => {}
        }
        std::fs::remove_file(&self.path).at("delete", &self.path)
    }
}

impl Slice {
    /// Whole batches from the one that holds `offset` on, up to `bytes_max` bytes and below the offset `end`.
    /// The first one is given even when it is larger, if `at_least_one`.
    pub(crate) fn read(
        &self,
        offset: i64,
        end: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> io::Result<Bytes> {
        let want = (bytes_max as u64)
            .saturating_add(WALK_BYTES)
            .min(self.to - self.from);
        let mut chunk = vec![0; usize::try_from(want).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut chunk, self.from)?;
        let mut position = 0;
        let mut start = None;
        while let Ok(header) = Header::read(&chunk[position..]) {
            if header.base_offset >= end {
                break;
            }
            let after = position + header.size;
            if start.is_none() && header.last_offset() >= offset {
                start = Some(position);
                if after > chunk.len() || header.size > bytes_max {
                    return self.first_batch(position, header.size, at_least_one);
                }
            }
            if after > chunk.len() || start.is_some_and(|start| after - start > bytes_max) {
                break;
            }
            position = after;
        }
        Ok(match start {
            Some(start) => Bytes::from(chunk).slice(start..position),
            None => Bytes::new(),
        })
    }

    fn first_batch(&self, position: usize, size: usize, at_least_one: bool) -> io::Result<Bytes> {
        if !at_least_one {
            return Ok(Bytes::new());
        }
        let mut whole = vec![0; size];
        self.file
            .read_exact_at(&mut whole, self.from + position as u64)?;
        Ok(Bytes::from(whole))
    }

    /// Reads batch after batch until `found` gives something.
    pub(crate) fn find<T>(
        &self,
        mut found: impl FnMut(&Header, &Bytes) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let mut position = self.from;
        let mut head = [0; HEADER_LEN];
        while position + HEADER_LEN as u64 <= self.to {
            self.file.read_exact_at(&mut head, position)?;
            let Ok(header) = Header::read(&head) else {
                break;
            };
            let mut batch = vec![0; header.size];
            self.file.read_exact_at(&mut batch, position)?;
            if let Some(value) = found(&header, &Bytes::from(batch)) {
                return Ok(Some(value));
            }
            position += header.size as u64;
        }
        Ok(None)
    }
}
