//! The table's list of files: a log of commits, each an only-if-absent record that adds files or takes some back.
//!
//! ```text
//! _millstream/commits/00000000000000000007.commit   manifest: {"writer": ..., "added": [{"path": ...}], "removed": []}
//! _delta_log/00000000000000000007.json              Delta Lake's transaction log
//! ```
//!
//! Several writers may append to it: who finds its number taken reads what has come and takes the next.

use super::super::location::Location;
use super::delta::{self, DeltaTable};
use super::prepared::DataFile;
use super::records::Records;
use crate::clock;
use millstream_dataflow::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How a table lists its files.
#[derive(Clone, Debug)]
pub(in super::super) enum ListFormat {
    /// Each commit is a JSON document that names its files.
    Manifest,
    /// Delta Lake's transaction log.
    Delta(Arc<DeltaTable>),
}

/// What a commit does.
#[derive(Debug)]
pub(super) struct Commit<'a> {
    pub(super) writer: &'a str,
    /// Counts what the writer prepared.
    pub(super) number: u64,
    pub(super) added: Vec<&'a DataFile>,
    pub(super) removed: Vec<&'a str>,
}

/// What a commit that is in the log did.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// `None`: another program.
    pub(super) writer: Option<String>,
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
    /// Whether it says anew what the table is.
    pub(super) redefines: bool,
}

/// What has happened to a writer's files since some number.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// The files that it added and did not take back.
    pub(super) files: BTreeSet<String>,
    /// The files that it took back.
    pub(super) taken_back: BTreeSet<String>,
    /// The files that others removed.
    pub(super) rewritten: BTreeSet<String>,
}

/// The log of a table.
#[derive(Debug)]
pub(super) struct Log {
    format: ListFormat,
    records: Records,
    /// The first number that may be free; `None`: not looked yet.
    next: Option<u64>,
    /// Whether the table is known to be what the sink takes it for.
    checked: bool,
}

/// A record of a manifest.
#[derive(Serialize, Deserialize)]
struct Manifest {
    writer: String,
    checkpoint: u64,
    committed_at_ms: i64,
    added: Vec<DataFile>,
    removed: Vec<String>,
}

impl Log {
    pub(super) fn new(location: Location, format: ListFormat) -> Self {
        let records = match format {
            ListFormat::Manifest => Records::new(location, "_millstream/commits", ".commit"),
            ListFormat::Delta(_) => Records::new(location, "_delta_log", ".json"),
        };
        Self {
            format,
            records,
            next: None,
            checked: false,
        }
    }

    /// Whether a file that is removed stays for readers of the past.
    pub(super) fn keeps_removed(&self) -> bool {
        match self.format {
            ListFormat::Manifest => false,
            ListFormat::Delta(_) => true,
        }
    }

    /// No commit from now on has a lower number.
    pub(super) fn next(&mut self) -> Result<u64> {
        if let Some(next) = self.next {
            return Ok(next);
        }
        let next = self.records.numbers(0)?.last().map_or(0, |last| last + 1);
        self.next = Some(next);
        Ok(next)
    }

    /// Whether nothing is known to have been committed from a number on.
    pub(super) fn is_at(&self, number: u64) -> bool {
        self.next == Some(number)
    }

    /// Commits under a number, or a higher one that is known to be free; `false`: it is taken.
    pub(super) fn commit(&mut self, from: u64, commit: &Commit) -> Result<bool> {
        let number = self.next.unwrap_or(from).max(from);
        self.check(number)?;
        let bytes = match &self.format {
            ListFormat::Manifest => manifest(commit)?,
            ListFormat::Delta(table) => delta::encode(table, commit, number == 0),
        };
        let created = self.records.create(number, bytes)?;
        self.next = Some(number + u64::from(created));
        match &self.format {
            ListFormat::Delta(_) if created => delta::sum_up(&self.records, number),
            ListFormat::Delta(_) | ListFormat::Manifest => {}
        }
        // What is there may be the table's definition.
        self.checked &= created;
        Ok(created)
    }

    /// What became of a writer's files in the commits from a number on.
    pub(super) fn since(&mut self, from: u64, writer: &str) -> Result<Since> {
        let mut since = Since::default();
        let mut next = from;
        for number in self.records.numbers(from)? {
            let entry = self.entry(number)?;
            next = number + 1;
            self.checked &= !entry.redefines;
            if entry.writer.as_deref() == Some(writer) {
                since.files.extend(entry.added);
                for file in entry.removed {
                    since.files.remove(&file);
                    since.taken_back.insert(file);
                }
            } else {
                since.rewritten.extend(entry.removed);
            }
        }
        self.next = Some(self.next.unwrap_or(0).max(next));
        Ok(since)
    }

    fn entry(&self, number: u64) -> Result<Entry> {
        let unreadable = |detail: String| {
            Error::internal(format!("commit {number} of the table cannot be read")).detail(detail)
        };
        let bytes = self.records.read(number)?;
        let bytes = bytes.ok_or_else(|| unreadable("it is gone".to_owned()))?;
        match self.format {
            ListFormat::Manifest => {
                let manifest: Manifest = serde_json::from_slice(&bytes)
                    .map_err(|error| unreadable(error.to_string()))?;
                Ok(Entry {
                    writer: Some(manifest.writer),
                    added: manifest.added.into_iter().map(|file| file.path).collect(),
                    removed: manifest.removed,
                    redefines: false,
                })
            }
            ListFormat::Delta(_) => delta::decode(&bytes).map_err(unreadable),
        }
    }

    /// The table is what the sink takes it for, where the log already says what it is.
    fn check(&mut self, number: u64) -> Result<()> {
        if let (ListFormat::Delta(table), false) = (&self.format, self.checked || number == 0) {
            delta::check(table, &self.records, number)?;
        }
        self.checked = true;
        Ok(())
    }
}

fn manifest(commit: &Commit) -> Result<Vec<u8>> {
    let shown = |file: &&DataFile| DataFile {
        upload: None,
        ..(*file).clone()
    };
    let manifest = Manifest {
        writer: commit.writer.to_owned(),
        checkpoint: commit.number,
        committed_at_ms: clock::wall_ms(),
        added: commit.added.iter().map(shown).collect(),
        removed: commit.removed.iter().map(|&file| file.to_owned()).collect(),
    };
    let mut bytes = serde_json::to_vec(&manifest)
        .map_err(|error| Error::internal("a commit cannot be written").detail(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}
