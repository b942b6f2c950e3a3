//! Opening a partition's folder: which segments there are, where the log truly ends, what its producers had done.
//!
//! Closed segments are trusted when their index says so (it pins their size); the last one is always read through,
//! and cut at the first batch that is not intact. A damaged batch in the middle of the log is nothing that a kill
//! can cause, and is refused.

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    batch::{self, HEADER_LEN, Header},
    index::Index,
    producers::Producers,
    segment::Segment,
};
use crate::error::{At, Error, Result};

/// What a folder holds.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) producers: Producers,
    /// Bytes of a torn batch that were cut off.
    pub(crate) cut_bytes: u64,
}

/// The path of the producers' state as of `offset`.
pub(crate) fn snapshot_path(dir: &Path, offset: i64) -> PathBuf {
    dir.join(format!("{offset:020}.producers"))
}

/// Opens everything in `dir`.
pub(crate) fn recover(dir: &Path) -> Result<Recovered> {
    let bases = offsets_of(dir, "log")?;
    let (from, mut producers) = newest_snapshot(dir, &bases)?;
    let mut recovered = Recovered::default();
    for (at, base) in bases.iter().enumerate() {
        let last = at + 1 == bases.len();
        let mut segment = Segment::open(dir, *base)?;
        let length = segment.file.metadata().at("read", &segment.path)?.len();
        let loaded = !last && at < from && load_index(&mut segment, length)?;
        if !loaded {
            let replayed = (at >= from).then_some(&mut producers);
            recovered.cut_bytes = scan(&mut segment, length, last, replayed)?;
        }
        if !last && !loaded {
            segment.close()?;
        }
        recovered.segments.push_back(segment);
    }
    recovered.producers = producers;
    Ok(recovered)
}

/// The offsets that name the files with this extension, in order.
pub(crate) fn offsets_of(dir: &Path, extension: &str) -> Result<Vec<i64>> {
    let mut offsets = Vec::new();
    for entry in fs::read_dir(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        let named = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse().ok());
        if let (Some(offset), true) = (
            named,
            path.extension().is_some_and(|found| found == extension),
        ) {
            offsets.push(offset);
        }
    }
    offsets.sort_unstable();
    Ok(offsets)
}

/// The first segment whose batches must be replayed, and the producers' state before it.
fn newest_snapshot(dir: &Path, bases: &[i64]) -> Result<(usize, Producers)> {
    for offset in offsets_of(dir, "producers")?.into_iter().rev() {
        let path = snapshot_path(dir, offset);
        let Ok(at) = bases.binary_search(&offset) else {
            continue;
        };
        match Producers::decode(&fs::read(&path).at("read", &path)?) {
            Some(producers) => return Ok((at, producers)),
            None => {
                tracing::warn!(path = %path.display(), "damaged snapshot of producers, replaying more of the log")
            }
        }
    }
    Ok((0, Producers::default()))
}

fn load_index(segment: &mut Segment, length: u64) -> Result<bool> {
    let path = segment.path.with_extension("index");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).at("read", &path),
    };
    let Some((index, next_offset)) = Index::decode(&bytes, length) else {
        return Ok(false);
    };
    segment.index = index;
    segment.next_offset = next_offset;
    segment.size = length;
    Ok(true)
}

/// Reads a segment through, verifying each batch; gives how many bytes were cut from its end.
fn scan(
    segment: &mut Segment,
    length: u64,
    last: bool,
    mut replayed: Option<&mut Producers>,
) -> Result<u64> {
    let mut reader = BufReader::with_capacity(
        1 << 20,
        fs::File::open(&segment.path).at("open", &segment.path)?,
    );
    let mut buffer = Vec::new();
    while segment.size < length {
        match next_batch(&mut reader, &mut buffer, length - segment.size) {
            Ok(header) if header.base_offset >= segment.next_offset => {
                replay(&header, &buffer, replayed.as_deref_mut());
                segment.admit(&header);
            }
            Ok(header) => {
                return refuse(
                    segment,
                    format!("offset {} comes twice", header.base_offset),
                );
            }
            Err(_) if last => {
                segment
                    .file
                    .set_len(segment.size)
                    .at("truncate", &segment.path)?;
                return Ok(length - segment.size);
            }
            Err(what) => return refuse(segment, what.to_string()),
        }
    }
    Ok(0)
}

fn refuse(segment: &Segment, what: String) -> Result<u64> {
    Err(Error::Damaged {
        path: segment.path.clone(),
        position: segment.size,
        what,
    })
}

fn next_batch(
    reader: &mut impl Read,
    buffer: &mut Vec<u8>,
    left: u64,
) -> Result<Header, batch::Malformed> {
    buffer.resize(HEADER_LEN, 0);
    reader
        .read_exact(buffer)
        .map_err(|_| batch::Malformed::Short)?;
    let header = Header::read(buffer)?;
    // A torn length must not make us reserve what the file cannot hold.
    if header.size as u64 > left {
        return Err(batch::Malformed::Short);
    }
    buffer.resize(header.size, 0);
    reader
        .read_exact(&mut buffer[HEADER_LEN..])
        .map_err(|_| batch::Malformed::Short)?;
    batch::verify(buffer)
}

fn replay(header: &Header, bytes: &[u8], producers: Option<&mut Producers>) {
    let Some(producers) = producers else { return };
    if !header.is_control() {
        producers.appended(header);
    } else if let Some(commit) = batch::marker_commits(bytes) {
        producers.ended(header, commit);
    }
}

/// Removes snapshots that are older than the newest two.
pub(crate) fn drop_old_snapshots(dir: &Path) -> Result<()> {
    let offsets = offsets_of(dir, "producers")?;
    for offset in offsets.iter().rev().skip(2) {
        let path = snapshot_path(dir, *offset);
        fs::remove_file(&path).at("delete", &path)?;
    }
    Ok(())
}
