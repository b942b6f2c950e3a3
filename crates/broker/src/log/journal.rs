//! A small durable map: the broker's memory of everything that is not a record (transactions, committed offsets).
//!
//! Changes are appended as one checksummed frame each, so that what belongs together is written together or not at
//! all; a torn frame at the end is cut off at the next start. When the file has grown far beyond what lives in it,
//! it is written anew beside itself and renamed over.
//!
//! ```text
//! frame := length u32, crc32c u32, entry*      entry := key length u32, key, value length i32 (-1: removed), value
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut, TryGetError};

use crate::error::{At, Result};

const COMPACT_MIN_BYTES: u64 = 4 << 20;
const COMPACT_FACTOR: u64 = 8;
const FRAME_HEAD: usize = 8;

/// One change: a key and its new value, or its removal.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// The map and its file.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    size: u64,
    live: BTreeMap<Vec<u8>, Vec<u8>>,
    live_bytes: u64,
}

impl Journal {
    /// Opens or makes the file and reads it.
    pub(crate) fn open(path: &Path) -> Result<Journal> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .at("open", path)?;
        let bytes = fs::read(path).at("read", path)?;
        let mut journal = Journal {
            path: path.to_path_buf(),
            file,
            size: 0,
            live: BTreeMap::new(),
            live_bytes: 0,
        };
        let mut rest = bytes.as_slice();
        while let Some(changes) = next_frame(&mut rest) {
            journal.remember(changes);
        }
        journal.size = (bytes.len() - rest.len()) as u64;
        if !rest.is_empty() {
            tracing::warn!(path = %path.display(), bytes = rest.len(), "cut a torn end off the journal");
            journal.file.set_len(journal.size).at("truncate", path)?;
        }
        Ok(journal)
    }

    /// Everything that lives in it, by key.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.live
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Makes changes that become durable together.
    pub(crate) fn write(&mut self, changes: Vec<Change>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let frame = encode_frame(
            changes
                .iter()
                .map(|(key, value)| (key.as_slice(), value.as_deref())),
        );
        self.file
            .write_all_at(&frame, self.size)
            .at("write", &self.path)?;
        self.size += frame.len() as u64;
        self.remember(changes);
        if self.size > COMPACT_MIN_BYTES
            && self.size > self.live_bytes.saturating_mul(COMPACT_FACTOR)
        {
            self.compact()?;
        }
        Ok(())
    }

    fn remember(&mut self, changes: Vec<Change>) {
        for (key, value) in changes {
            let key_bytes = key.len() as u64;
            let before = match value {
                Some(value) => {
                    self.live_bytes += key_bytes + value.len() as u64;
                    self.live.insert(key, value)
                }
                None => self.live.remove(&key),
            };
            if let Some(before) = before {
                self.live_bytes -= key_bytes + before.len() as u64;
            }
        }
    }

    fn compact(&mut self) -> Result<()> {
        let path = self.path.with_extension("new");
        let frame = encode_frame(
            self.live
                .iter()
                .map(|(key, value)| (key.as_slice(), Some(value.as_slice()))),
        );
        fs::write(&path, &frame).at("write", &path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .at("open", &path)?;
        fs::rename(&path, &self.path).at("rename", &path)?;
        self.file = file;
        self.size = frame.len() as u64;
        Ok(())
    }
}

fn encode_frame<'a>(entries: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEAD];
    for (key, value) in entries {
        frame.put_u32(u32::try_from(key.len()).unwrap_or(u32::MAX));
        frame.put_slice(key);
        match value {
            Some(value) => {
                frame.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
                frame.put_slice(value);
            }
            None => frame.put_i32(-1),
        }
    }
    let length = u32::try_from(frame.len() - FRAME_HEAD).unwrap_or(u32::MAX);
    let crc = crc32c::crc32c(&frame[FRAME_HEAD..]);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame[4..8].copy_from_slice(&crc.to_be_bytes());
    frame
}

/// Takes an intact frame off the front; leaves `rest` alone when there is none.
fn next_frame(rest: &mut &[u8]) -> Option<Vec<Change>> {
    let mut head = *rest;
    let length = head.try_get_u32().ok()? as usize;
    let crc = head.try_get_u32().ok()?;
    let body = head.get(..length)?;
    if crc32c::crc32c(body) != crc {
        return None;
    }
    let changes = decode_entries(body).ok()?;
    *rest = &head[length..];
    Some(changes)
}

fn decode_entries(mut body: &[u8]) -> Result<Vec<Change>, TryGetError> {
    let mut changes = Vec::new();
    while !body.is_empty() {
        let key_length = body.try_get_u32()? as usize;
        let key = take(&mut body, key_length)?;
        let value = match usize::try_from(body.try_get_i32()?) {
            Ok(length) => Some(take(&mut body, length)?),
            Err(_) => None,
        };
        changes.push((key, value));
    }
    Ok(changes)
}

fn take(body: &mut &[u8], length: usize) -> Result<Vec<u8>, TryGetError> {
    let mut taken = Vec::new();
    let part = body.get(..length).ok_or(TryGetError {
        requested: length,
        available: body.len(),
    })?;
    taken.extend_from_slice(part);
    body.advance(length);
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Change {
        (key.into(), Some(value.into()))
    }

    fn content(journal: &Journal) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        journal
            .entries()
            .map(|(key, value)| (text(key), text(value)))
            .collect()
    }

    #[test]
    fn remembers_across_a_restart_and_cuts_a_torn_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.write(vec![put("a", "1"), put("b", "2")]).unwrap();
        journal
            .write(vec![put("a", "3"), (b"b".to_vec(), None)])
            .unwrap();
        let intact = fs::read(&path).unwrap();
        journal.write(vec![put("c", "4"), put("a", "5")]).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in intact.len()..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(
                content(&Journal::open(&path).unwrap()),
                [("a".into(), "3".into())]
            );
            assert_eq!(fs::read(&path).unwrap(), intact);
        }
    }

    #[test]
    fn is_compacted_when_it_has_grown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        let value = "x".repeat(100_000);
        for round in 0..50 {
            journal
                .write(vec![put("a", &format!("{round}{value}"))])
                .unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < COMPACT_MIN_BYTES);
        journal.write(vec![put("b", "1")]).unwrap();
        let again = Journal::open(&path).unwrap();
        assert_eq!(content(&again), content(&journal));
        assert_eq!(content(&again).len(), 2);
    }
}
