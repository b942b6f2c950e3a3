//! Finding the newest checkpoint that is whole.

use super::manifest::{Manifest, SegmentId, Unreadable};
use super::store::{Store, numbered};
use super::{Found, MANIFESTS, SEGMENTS, damaged, named};
use arrow::buffer::Buffer;
use millstream_dataflow::{Error, Result};
use std::collections::BTreeMap;

impl Store {
    /// The newest checkpoint whose manifest is whole and whose segments are there; what was skipped is told in the notes. Call
    /// it before the first [`commit`](Self::commit), and again after [`reject`](Self::reject). What tables were to be
    /// [replaced](Self::replace) is forgotten.
    ///
    /// # Errors
    /// `User` when there are checkpoints and none is good, or one is of another format version; `Retryable` when the store does
    /// not answer; `Internal` while changes wait for a commit.
    pub fn newest(&mut self) -> Result<Found> {
        if !self.pending.is_empty() {
            return Err(Error::internal(
                "checkpoints are looked for while changes wait for the next",
            ));
        }
        self.pending.clear();
        let leaves = self.place.list(MANIFESTS)?;
        self.listed = leaves.keys().filter_map(|leaf| sequence(leaf)).collect();
        let segments = self.place.list(SEGMENTS)?;
        let ids = segments.iter();
        self.known = ids
            .filter_map(|(leaf, bytes)| Some((SegmentId::parse(leaf)?, *bytes)))
            .collect();
        self.kept.clear();
        let mut skipped = Vec::new();
        for sequence in self.listed.iter().rev() {
            if self.kept.len() == self.settings.keep.max(1) {
                break;
            }
            match self.load(*sequence) {
                Ok(manifest) => self.kept.insert(0, manifest),
                Err(Skipped::Damaged(why)) if self.kept.is_empty() => {
                    skipped.push((*sequence, why))
                }
                Err(Skipped::Damaged(_)) => {}
                Err(Skipped::Error(error)) => return Err(error),
            }
        }
        let newest = self.kept.last().cloned();
        if newest.is_none() && !self.listed.is_empty() {
            return Err(self.none_is_good(&skipped));
        }
        self.next = Some(self.listed.last().map_or(1, |last| last + 1));
        self.base = newest
            .as_ref()
            .map_or_else(BTreeMap::new, |newest| newest.tables.clone());
        self.merge = None;
        let used = newest.as_ref().map(|newest| newest.sequence);
        Ok(Found {
            notes: skipped.iter().map(|it| note(it, used)).collect(),
            manifest: newest,
        })
    }

    /// Says that a checkpoint turned out to be damaged as it was read: [`newest`](Self::newest) then gives the one before.
    pub fn reject(&mut self, sequence: u64, why: &Error) {
        let why = why.detail.as_ref().unwrap_or(&why.message);
        self.rejected.insert(sequence, why.clone());
    }

    fn load(&self, sequence: u64) -> Result<Manifest, Skipped> {
        if let Some(why) = self.rejected.get(&sequence) {
            return Err(Skipped::Damaged(why.clone()));
        }
        let bytes = match self.place.read(&named(MANIFESTS, numbered(sequence))) {
            Err(error) if error.kind == damaged(String::new()).kind => {
                return Err(Skipped::Damaged(error.to_string()));
            }
            read => read.map_err(Skipped::Error)?,
        };
        let bytes = bytes.as_ref().map_or(&[][..], Buffer::as_slice);
        let manifest = match Manifest::decode(bytes) {
            Ok(manifest) => manifest,
            Err(Unreadable::Damaged(why)) => {
                return Err(Skipped::Damaged(format!("of its manifest: {why}")));
            }
            Err(Unreadable::Version(version)) => {
                return Err(Skipped::Error(self.other_version(sequence, version)));
            }
        };
        if manifest.sequence != sequence {
            let why = format!("its manifest is that of checkpoint {}", manifest.sequence);
            return Err(Skipped::Damaged(why));
        }
        for (id, bytes) in &manifest.segments {
            match self.known.get(id) {
                Some(there) if there == bytes => {}
                Some(there) => {
                    return Err(Skipped::Damaged(format!(
                        "its segment {id} has {there} bytes and should have {bytes}"
                    )));
                }
                None => return Err(Skipped::Damaged(format!("its segment {id} is not there"))),
            }
        }
        Ok(manifest)
    }

    fn other_version(&self, sequence: u64, version: u32) -> Error {
        Error::user(format!(
            "checkpoint {sequence} in '{}' has the format version {version}, which this program does not read",
            self.place
        ))
        .hint("start the version of the program that wrote it, or begin anew in another folder")
    }

    fn none_is_good(&self, skipped: &[(u64, String)]) -> Error {
        let why: Vec<String> = skipped.iter().map(|it| note(it, None)).collect();
        Error::user(format!(
            "none of the checkpoints in '{}' can be used",
            self.place
        ))
        .detail(why.join("; "))
        .hint("restore the folder from a copy, or begin anew in another one")
    }
}

/// Why a checkpoint was not loaded.
enum Skipped {
    Damaged(String),
    Error(Error),
}

fn note((sequence, why): &(u64, String), used: Option<u64>) -> String {
    let note = format!("checkpoint {sequence} is damaged: {why}");
    match used {
        Some(used) => format!("{note}; checkpoint {used} is used"),
        None => note,
    }
}

fn sequence(leaf: &str) -> Option<u64> {
    let sequence = leaf.parse().ok()?;
    (numbered(sequence) == leaf).then_some(sequence)
}
