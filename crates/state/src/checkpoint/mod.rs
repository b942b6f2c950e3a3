//! Checkpoints: what tables changed, kept in a local folder or on any object store.
//!
//! ```text
//! writer/0000000007                     who opened the folder, in order: the last one may write
//! segment/0000000007-000001             blocks of many tables, written whole and never changed
//! manifest/00000000000000000042         a checkpoint: for each table its blocks, in order
//!
//! add, add, ... -> segments -> commit: the manifest is created, if there is none of its number
//!                              tidy:   merges blocks of a table, moves blocks out of hollow segments,
//!                                      removes what no kept manifest names
//! ```
//!
//! What a table gives ([`Checkpointed`](millstream_dataflow::operator::Checkpointed)) is a log by key: +1 sets a row, -1
//! removes it, the last change of a key wins. Bytes and time of a checkpoint follow what changed; merging keeps the log
//! within about twice the live rows.
//!
//! Invariants: a manifest is created after all that it names is durable, and removed before anything that it names; what
//! was added stays in memory until a manifest names it; every byte that is restored has had its checksum compared.
//!
//! Failures, by their kind: `Retryable` (the store is away, slow or full) loses nothing, call again; `BadData` is damage;
//! `Fenced` means that another process writes here now.

mod block;
mod collect;
mod dense;
mod find;
mod keys;
mod local;
mod manifest;
mod merge;
mod pending;
mod place;
mod read;
mod remote;
mod segments;
mod store;
#[cfg(test)]
mod tests;
mod tidy;

pub use manifest::{Manifest, TableId};
pub use store::Store;

use millstream_dataflow::Error;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

const MANIFESTS: &str = "manifest";
const SEGMENTS: &str = "segment";
const WRITERS: &str = "writer";

/// The folders of a place for checkpoints.
const FOLDERS: [&str; 3] = [MANIFESTS, SEGMENTS, WRITERS];

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Not at all: restored without a copy.
    #[default]
    None,
    /// LZ4: for stores that are slower than a core compresses.
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
            tidy_bytes: 64 << 20,
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
    /// The bytes of changes and of the manifest that were uploaded since the commit before.
    pub bytes: u64,
    /// The segments of changes that were uploaded since the commit before.
    pub segments: usize,
    /// How long the commit took.
    pub took: Duration,
}

/// What [`Store::tidy`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// The bytes of blocks that were read to be merged or moved.
    pub bytes: u64,
    /// The objects that were removed.
    pub removed: usize,
    /// Whether there is more to merge: call again when there is time.
    pub more: bool,
    /// What cannot be done for good, a sentence each: for the log.
    pub notes: Vec<String>,
}

/// The name of an object.
fn named(folder: &str, leaf: impl Display) -> String {
    format!("{folder}/{leaf}")
}

/// Bytes of a checkpoint are not those that were written.
fn damaged(what: String) -> Error {
    Error::bad_data("a checkpoint is damaged").detail(what)
}
