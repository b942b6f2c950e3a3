//! Checkpoints: what tables changed, on any object store (being written: the signatures stand, the bodies follow).

mod manifest;

pub use manifest::{Manifest, TableId};

use millstream_dataflow::{Delta, Error, Result};
use object_store::ObjectStore;
use object_store::path::Path;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Not at all: restored without a copy.
    #[default]
    None,
    /// LZ4.
    Lz4,
}

/// How a store keeps checkpoints.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many checkpoints stay readable, at least one.
    pub keep: usize,
    /// How blocks are compressed.
    pub codec: Codec,
    /// So many encoded bytes are uploaded at once, before the commit.
    pub segment_bytes: usize,
    /// Changes of a table are put together up to blocks of so many bytes.
    pub block_bytes: usize,
    /// The least that [`Store::tidy`] may read and write in a call; it does more after large checkpoints.
    pub tidy_bytes: u64,
    /// How often a request to an object store is tried.
    pub attempts: u32,
    /// How long to wait before the second attempt, at most; it doubles with each.
    pub wait: Duration,
    /// The options of the store, as of the filesystem connector (`endpoint`, `access-key`, ... of `s3.*`).
    pub options: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep: 3,
            codec: Codec::None,
            segment_bytes: 64 << 20,
            block_bytes: 8 << 20,
            tidy_bytes: 256 << 20,
            attempts: 4,
            wait: Duration::from_millis(200),
            options: BTreeMap::new(),
        }
    }
}

/// What [`Store::newest`] found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The newest whole checkpoint; `None` in an empty folder.
    pub manifest: Option<Manifest>,
    /// What was skipped and why, a sentence each: for the log, loudly.
    pub notes: Vec<String>,
}

/// What [`Store::commit`] wrote.
#[derive(Clone, Copy, Debug)]
pub struct Saved {
    /// The number of the checkpoint.
    pub sequence: u64,
    /// The bytes that were uploaded since the commit before.
    pub bytes: u64,
    /// The objects that were uploaded since the commit before.
    pub segments: usize,
    /// How long the commit took.
    pub took: Duration,
}

/// What [`Store::tidy`] did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tidied {
    /// The bytes of blocks that were merged or moved.
    pub bytes: u64,
    /// The objects that were removed.
    pub removed: usize,
    /// Whether there is more to do: call again when there is time.
    pub more: bool,
}

/// One writer's handle on a folder of checkpoints.
pub struct Store;

fn unwritten<T>() -> Result<T> {
    Err(Error::internal("checkpoints cannot be written yet"))
}

impl Store {
    /// Opens a folder: a local path, `file://`, `s3://` or `memory://`. Whoever opens a folder last may write to it: a
    /// local folder that another process has open is refused (`User`), on object stores the other gets `Fenced`.
    pub fn open(url: &str, settings: Settings) -> Result<Self> {
        let _ = (url, settings);
        unwritten()
    }

    /// Opens a folder of a store that is at hand.
    pub fn on(store: Arc<dyn ObjectStore>, prefix: Path, settings: Settings) -> Result<Self> {
        let _ = (store, prefix, settings);
        unwritten()
    }

    /// The newest whole checkpoint. Call it before the first [`commit`](Self::commit), and again after
    /// [`reject`](Self::reject).
    pub fn newest(&mut self) -> Result<Found> {
        unwritten()
    }

    /// Says that a checkpoint turned out to be damaged as it was read: [`newest`](Self::newest) then gives the one before.
    pub fn reject(&mut self, sequence: u64, why: &Error) {
        let _ = (sequence, why);
    }

    /// All changes of a table, oldest first. `BadData`: a block is damaged; forget what was restored, [`reject`](Self::reject)
    /// the checkpoint and take the [`newest`](Self::newest) again. May be called from several threads at once.
    pub fn read(
        &self,
        manifest: &Manifest,
        id: &TableId,
        each: &mut dyn FnMut(Delta) -> Result<()>,
    ) -> Result<()> {
        let _ = (manifest, id, each);
        unwritten()
    }

    /// Reads every block of a checkpoint and checks it. `BadData` as of [`read`](Self::read).
    pub fn verify(&self, manifest: &Manifest) -> Result<()> {
        let _ = manifest;
        unwritten()
    }

    /// Says that what is added for this table from now on is all of it: its blocks in earlier checkpoints don't count.
    /// For the first changes after a restore, which are the whole table again.
    pub fn replace(&mut self, id: &TableId) {
        let _ = id;
    }

    /// Takes a change for the next checkpoint. It never fails for the store's sake: an early upload that fails is tried
    /// again by the commit.
    pub fn add(&mut self, id: &TableId, key_columns: usize, change: Delta) -> Result<()> {
        let _ = (id, key_columns, change);
        unwritten()
    }

    /// The bytes that were added and are in memory, because they are not uploaded yet.
    pub fn waiting_bytes(&self) -> usize {
        0
    }

    /// Makes a checkpoint of what was added since the last one; tables that are not in `live` are left out. After
    /// `Retryable` nothing is lost: call it again, at once or with more added in between. `Fenced` is for ever.
    pub fn commit(&mut self, about: Value, live: &[TableId]) -> Result<Saved> {
        let _ = (about, live);
        unwritten()
    }

    /// Gives up the checkpoint that was being added to; its changes become part of the next.
    pub fn abandon(&mut self) {}

    /// Merges blocks and removes what nothing refers to, after a commit; a bounded piece of work a call.
    pub fn tidy(&mut self) -> Result<Tidied> {
        unwritten()
    }
}
