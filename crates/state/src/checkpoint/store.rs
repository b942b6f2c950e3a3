//! The handle of the one that writes checkpoints.

use super::manifest::{Block, Manifest, SegmentId, Table, TableId};
use super::merge::Merge;
use super::pending::{Pending, other_keys};
use super::place::{self, Access, Place};
use super::remote::Remote;
use super::segments::{Names, Segments};
use super::{MANIFESTS, Saved, Settings, WRITERS, block, named, read};
use millstream_dataflow::{Delta, Error, Result};
use object_store::ObjectStore;
use object_store::path::Path;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

/// The number of a handle that does not write.
const LOOKS: u64 = 0;

/// One writer's handle on a folder of checkpoints. Its methods block; it must not be used inside an asynchronous runtime.
///
/// ```text
/// open -> newest -> read ... -> (add ... -> commit -> tidy) again and again
///           ^         |
///           +- reject +  BadData
/// ```
///
/// A commit that failed with `Retryable` is called again, at once or with more added in between: what was added is kept, in
/// memory if it is not uploaded yet. Its checkpoint may have come to be all the same (the answer was lost); then the next
/// one has the number after it, and whoever restores finds either.
pub struct Store {
    pub(super) place: Arc<dyn Place>,
    pub(super) settings: Settings,
    /// The number of this handle: later ones have higher numbers.
    pub(super) writer: u64,
    /// Another process writes here now.
    pub(super) fenced: Option<Error>,
    /// Checkpoints that were found damaged as they were read, and how.
    pub(super) rejected: BTreeMap<u64, String>,
    /// The number of the next checkpoint; none before [`Store::newest`].
    pub(super) next: Option<u64>,
    /// What the next checkpoint adds to. Merges happen here before a manifest names them.
    pub(super) base: BTreeMap<TableId, Table>,
    /// The good checkpoints, oldest first.
    pub(super) kept: Vec<Manifest>,
    /// The checkpoints whose manifests are there.
    pub(super) listed: BTreeSet<u64>,
    /// The segments that are there, with their sizes.
    pub(super) known: BTreeMap<SegmentId, u64>,
    /// A manifest was sent and its answer never came.
    in_doubt: bool,
    /// A manifest of this writer is there: those before it can add none.
    pub(super) committed: bool,
    /// The bytes of the last checkpoint.
    pub(super) last_bytes: u64,
    pub(super) pending: Pending,
    /// The output of merges.
    pub(super) merged: Segments,
    pub(super) merge: Option<Merge>,
    /// The entries of writers before this one are removed.
    pub(super) alone: bool,
    /// Tables whose blocks cannot be merged.
    pub(super) unmergeable: BTreeSet<TableId>,
}

impl Store {
    /// Opens a folder: a local path, `file://`, `s3://` or `memory://`. Whoever opens it last may write: a local folder that
    /// another process has open is refused, on an object store the other's next commit is `Fenced`.
    ///
    /// # Errors
    /// `User` for a folder that cannot be used, `Retryable` when the store does not answer.
    pub fn open(url: &str, settings: Settings) -> Result<Self> {
        Self::at(place::open(url, &settings, Access::Write)?, settings)
    }

    /// Opens a folder to look into it, beside the process that writes to it: only [`newest`](Self::newest),
    /// [`read`](Self::read) and [`verify`](Self::verify) work, and a checkpoint may be removed while it is read.
    ///
    /// # Errors
    /// `User` for a folder that is not there.
    pub fn look(url: &str, settings: Settings) -> Result<Self> {
        let place = place::open(url, &settings, Access::Read)?;
        Ok(Self::with_writer(place, settings, LOOKS))
    }

    /// Opens a folder of a store that is at hand.
    ///
    /// # Errors
    /// As of [`Store::open`].
    pub fn on(store: Arc<dyn ObjectStore>, prefix: Path, settings: Settings) -> Result<Self> {
        let name = format!("{store}/{prefix}");
        let place = Remote::new(store, prefix, name, &settings)?;
        Self::at(Arc::new(place), settings)
    }

    pub(super) fn at(place: Arc<dyn Place>, settings: Settings) -> Result<Self> {
        let writer = claim(place.as_ref())?;
        Ok(Self::with_writer(place, settings, writer))
    }

    fn with_writer(place: Arc<dyn Place>, settings: Settings, writer: u64) -> Self {
        let names = Names::of(writer);
        let segments = || Segments::new(Arc::clone(&place), names.clone(), settings.segment_bytes);
        Self {
            pending: Pending::new(settings.clone(), segments()),
            merged: segments(),
            settings,
            writer,
            fenced: None,
            rejected: BTreeMap::new(),
            next: None,
            base: BTreeMap::new(),
            kept: Vec::new(),
            listed: BTreeSet::new(),
            known: BTreeMap::new(),
            in_doubt: false,
            committed: false,
            last_bytes: 0,
            merge: None,
            alone: false,
            unmergeable: BTreeSet::new(),
            place,
        }
    }

    /// All changes of a table, oldest first. A removal may name a row that is not there. May be called from several threads at
    /// once.
    ///
    /// # Errors
    /// `BadData` when a block is damaged: forget what was restored, [`reject`](Self::reject) the checkpoint, and take the
    /// [`newest`](Self::newest) again.
    pub fn read(
        &self,
        manifest: &Manifest,
        id: &TableId,
        each: &mut dyn FnMut(Delta) -> Result<()>,
    ) -> Result<()> {
        let blocks = manifest.tables.get(id).into_iter().flat_map(Table::blocks);
        let blocks: Vec<Block> = blocks.copied().collect();
        let context = |error: Error| error.context(format!("checkpoint {}", manifest.sequence));
        read::ahead(self.place.as_ref(), &blocks, &mut |bytes, block| {
            each(block::decode(bytes.map_err(context)?, block).map_err(context)?)
        })
    }

    /// Reads every block of a checkpoint and compares its checksum.
    ///
    /// # Errors
    /// As of [`Store::read`].
    pub fn verify(&self, manifest: &Manifest) -> Result<()> {
        let context = |error: Error| error.context(format!("checkpoint {}", manifest.sequence));
        let mut blocks: Vec<Block> = manifest
            .tables
            .values()
            .flat_map(Table::blocks)
            .copied()
            .collect();
        blocks.sort_by_key(|block| (block.segment, block.offset));
        read::ahead(self.place.as_ref(), &blocks, &mut |bytes, block| {
            block::check(&bytes.map_err(context)?, block).map_err(context)
        })
    }

    /// Says that what is added of this table from now on is all of it: what it has in earlier checkpoints does not count. So
    /// it is with the first changes of a restored table, which are the whole table again.
    pub fn replace(&mut self, id: &TableId) {
        self.pending.replace(id);
    }

    /// Takes a change for the next checkpoint: weight +1 sets a row, -1 removes it. It does not fail for the store's sake: an
    /// upload that fails is the commit's to repeat.
    ///
    /// # Errors
    /// `Internal` for other weights, for a change of other key columns than before, and for columns that cannot be written.
    pub fn add(&mut self, id: &TableId, key_columns: usize, change: Delta) -> Result<()> {
        let before = self.base.get(id).filter(|table| !table.runs.is_empty());
        if let Some(before) = before.filter(|table| table.key_columns != key_columns)
            && !self.pending.replaces(id)
        {
            return Err(other_keys(id, before.key_columns, key_columns));
        }
        self.pending.add(id, key_columns, change)
    }

    /// The bytes that were added and are in memory because they are not uploaded yet, roughly.
    pub fn waiting_bytes(&self) -> usize {
        self.pending.bytes()
    }

    /// Makes a checkpoint of what was added since the last one; tables that are not in `live` are left out, with what was
    /// added of them.
    ///
    /// # Errors
    /// `Retryable`: nothing is lost, call it again. `Fenced`: another process writes here now, for ever. `Internal` before
    /// [`newest`](Self::newest) was called.
    pub fn commit(&mut self, about: Value, live: &[TableId]) -> Result<Saved> {
        let started = now();
        self.unfenced()?;
        let Some(sequence) = self.next else {
            return Err(Error::internal(
                "a checkpoint is written before the newest was looked for",
            ));
        };
        self.pending.encode_all()?;
        self.pending.segments.finish()?;
        self.merged.finish()?;
        let (bytes, segments) = self.note_uploads();
        let tables = self.pending.applied(&self.base, &live.iter().collect());
        let mut manifest = Manifest {
            sequence,
            about,
            writer: self.writer,
            segments: self.sizes(&tables),
            tables,
        };
        let bytes = bytes + self.publish(&mut manifest)?;
        self.listed.insert(manifest.sequence);
        self.next = Some(manifest.sequence + 1);
        self.committed = true;
        self.base.clone_from(&manifest.tables);
        let sequence = manifest.sequence;
        self.kept.push(manifest);
        self.pending.clear();
        self.last_bytes = bytes;
        Ok(Saved {
            sequence,
            bytes,
            segments,
            took: started.elapsed(),
        })
    }

    /// Gives up the checkpoint that was being added to; its changes become part of the next one, and what they shared with
    /// the operators' state is let go.
    ///
    /// # Errors
    /// `Internal` for columns that cannot be written.
    pub fn abandon(&mut self) -> Result<()> {
        self.pending.encode_all()?;
        self.pending.segments.relieve();
        Ok(())
    }

    /// Whether all is written that was sent, and this process may still write.
    pub(super) fn is_settled(&self) -> bool {
        !self.in_doubt && self.fenced.is_none()
    }

    /// Remembers the segments that have been uploaded. Gives the bytes and number of those of changes.
    pub(super) fn note_uploads(&mut self) -> (u64, usize) {
        let changes = self.pending.segments.take_uploaded();
        let bytes = changes.iter().map(|(_, bytes)| bytes).sum();
        let count = changes.len();
        self.known.extend(changes);
        self.known.extend(self.merged.take_uploaded());
        (bytes, count)
    }

    fn sizes(&self, tables: &BTreeMap<TableId, Table>) -> BTreeMap<SegmentId, u64> {
        let blocks = tables.values().flat_map(Table::blocks);
        let named: BTreeSet<SegmentId> = blocks.map(|block| block.segment).collect();
        let known = |id: SegmentId| Some((id, *self.known.get(&id)?));
        named.into_iter().filter_map(known).collect()
    }

    /// Creates the manifest under its number, or a later one if that is taken. Gives its bytes.
    fn publish(&mut self, manifest: &mut Manifest) -> Result<u64> {
        loop {
            let bytes = manifest.encode().map_err(|error| {
                Error::internal("a manifest cannot be written").detail(error.to_string())
            })?;
            let name = named(MANIFESTS, numbered(manifest.sequence));
            self.in_doubt = true;
            let created = self.place.create(&name, &bytes)?;
            if created || self.is_ours(&name, &bytes)? {
                self.unfenced()?;
                self.in_doubt = false;
                return Ok(bytes.len() as u64);
            }
            self.listed.insert(manifest.sequence);
            manifest.sequence += 1;
            self.next = Some(manifest.sequence);
        }
    }

    /// Whether the manifest that is there is the one that was to be created: its answer was lost.
    fn is_ours(&mut self, name: &str, bytes: &[u8]) -> Result<bool> {
        let there = self.place.read(name)?;
        let there = there.as_ref().map_or(&[][..], |there| there.as_slice());
        if there == bytes {
            return Ok(true);
        }
        self.unfenced()?;
        // An earlier attempt of this process, whose answer was lost; or the last word of one before it, which knows by now
        // that it has been fenced.
        if let Some(manifest) = Manifest::decode(there)
            .ok()
            .filter(|it| it.writer == self.writer)
        {
            self.kept.push(manifest);
        }
        Ok(false)
    }

    /// Whether no later process has opened the folder.
    ///
    /// # Errors
    /// `Fenced` if one has; `Retryable` when that cannot be found out.
    pub(super) fn unfenced(&mut self) -> Result<()> {
        if let Some(error) = &self.fenced {
            return Err(error.clone());
        }
        if self.writer == LOOKS {
            return Err(Error::internal(
                "a checkpoint is written to a folder that was opened to be looked into",
            ));
        }
        let newest = self.place.list(WRITERS)?;
        let newest = newest
            .keys()
            .filter_map(|leaf| leaf.parse::<u64>().ok())
            .max();
        if newest.is_none_or(|newest| newest <= self.writer) {
            return Ok(());
        }
        let error = Error::fenced(format!(
            "another process has taken over the checkpoints in '{}'",
            self.place
        ));
        let error = error.hint("one engine at a time may write to a folder: this one stops");
        Err(self.fenced.insert(error).clone())
    }
}

/// Takes the next number of a writer.
fn claim(place: &dyn Place) -> Result<u64> {
    // Stores say why they refuse an object, and not why a list.
    place.read(&named(WRITERS, writer_leaf(1)))?;
    let writers = place.list(WRITERS)?;
    let last = writers
        .keys()
        .filter_map(|leaf| leaf.parse::<u64>().ok())
        .max();
    let mut writer = last.unwrap_or(0) + 1;
    // Tells this claim from that of another process when its answer is lost; decides nothing else.
    let mark = RandomState::new().hash_one(writer);
    let line = format!("process {} {mark:016x}\n", std::process::id());
    loop {
        let name = named(WRITERS, writer_leaf(writer));
        if place.create(&name, line.as_bytes())? {
            return Ok(writer);
        }
        let there = place.read(&name)?;
        if there.is_some_and(|there| there.as_slice() == line.as_bytes()) {
            return Ok(writer);
        }
        writer += 1;
    }
}

pub(super) fn writer_leaf(writer: u64) -> String {
    format!("{writer:010}")
}

/// The leaf of a manifest: as text in the order of their numbers.
pub(super) fn numbered(sequence: u64) -> String {
    format!("{sequence:020}")
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a commit took is told to people, and decides nothing"
)]
fn now() -> Instant {
    Instant::now()
}
