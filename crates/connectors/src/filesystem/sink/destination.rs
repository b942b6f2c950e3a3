//! A table as its readers see it: which staged files appear, and which of them its list names.
//!
//! ```text
//! publish   the files that the list does not name yet: show each -> commit them
//! go back   take out what the list names and the checkpoint does not know
//! ```
//!
//! Each can be done again from its beginning, after any part of it.

use super::super::location::Location;
use super::super::remote::runtime;
use super::disk;
use super::log::{Commit, ListFormat, Log, Since};
use super::prepared::{DataFile, Prepared};
use super::staging::Staging;
use millstream_dataflow::{Error, Result};
use std::collections::BTreeSet;

/// How often a commit tries the next number before it lets other writers have their way for a while.
const TRIES: usize = 100;

/// Where a sink's files go.
#[derive(Debug)]
pub(super) struct Destination {
    location: Location,
    log: Log,
}

impl Destination {
    pub(super) fn new(location: Location, list: ListFormat) -> Self {
        let log = Log::new(location.clone(), list);
        Self { location, log }
    }

    /// No file that is prepared from now on is in a commit below this number.
    pub(super) fn mark(&mut self) -> Result<u64> {
        self.log.next()
    }

    /// Makes the files appear, without a commit.
    pub(super) fn show(&self, writer: &str, files: &[DataFile]) -> Result<()> {
        let files: Vec<&DataFile> = files.iter().collect();
        Staging::new(&self.location, writer).show(&files)?;
        self.sync(&files)
    }

    /// Makes what was prepared visible. Doing it again changes nothing.
    pub(super) fn publish(&mut self, prepared: &Prepared) -> Result<()> {
        if prepared.files.is_empty() {
            return Ok(());
        }
        // Only the list knows whether it was done before: a file that has appeared may not be in it, and one that is may
        // have been replaced by others since.
        let mut committed = match self.log.is_at(prepared.mark) {
            true => BTreeSet::new(),
            false => self.log.since(prepared.mark, &prepared.writer)?.files,
        };
        let staging = Staging::new(&self.location, &prepared.writer);
        for _ in 0..TRIES {
            let missing = prepared.files.iter();
            let missing: Vec<&DataFile> = missing
                .filter(|file| !committed.contains(&file.path))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            staging.show(&missing)?;
            self.sync(&missing)?;
            let commit = Commit {
                writer: &prepared.writer,
                number: prepared.number,
                added: missing,
                removed: Vec::new(),
            };
            if self.log.commit(prepared.mark, &commit)? {
                return Ok(());
            }
            committed = self.log.since(prepared.mark, &prepared.writer)?.files;
        }
        Err(self.crowded())
    }

    /// Takes out of the table what its writer committed after what was prepared.
    ///
    /// # Errors
    /// `User`: another program has made other files of them since.
    pub(super) fn go_back(&mut self, prepared: &Prepared) -> Result<()> {
        let known: BTreeSet<&str> = prepared
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        for _ in 0..TRIES {
            let since = self.log.since(prepared.mark, &prepared.writer)?;
            let extra: Vec<&str> = since.files.iter().map(String::as_str).collect();
            let extra: Vec<&str> = extra
                .into_iter()
                .filter(|file| !known.contains(file))
                .collect();
            if extra.is_empty() {
                return self.remove(&since);
            }
            if extra.iter().any(|file| since.rewritten.contains(*file)) {
                return Err(self.rewritten(prepared));
            }
            tracing::warn!(
                table = %self.location,
                files = extra.len(),
                "the job goes on from an older checkpoint: files that were committed after it are taken back"
            );
            let commit = Commit {
                writer: &prepared.writer,
                number: prepared.number,
                added: Vec::new(),
                removed: extra,
            };
            self.log.commit(prepared.mark, &commit)?;
        }
        Err(self.crowded())
    }

    /// Removes files that were taken back.
    fn remove(&self, since: &Since) -> Result<()> {
        if self.log.keeps_removed() {
            return Ok(());
        }
        for name in &since.taken_back {
            match &self.location {
                Location::Local(root) => {
                    let path = root.join(name);
                    disk::remove(&path)
                        .map_err(|error| disk::write_error(path.display(), &error))?;
                }
                Location::Remote(remote) => runtime()?.block_on(remote.delete(name))?,
            }
        }
        Ok(())
    }

    /// The names of files that have appeared are durable.
    fn sync(&self, files: &[&DataFile]) -> Result<()> {
        let Location::Local(root) = &self.location else {
            return Ok(());
        };
        let folders: BTreeSet<&str> = files
            .iter()
            .map(|file| file.path.rsplit_once('/').map_or("", |(folder, _)| folder))
            .collect();
        disk::each_at_once(folders.iter(), |folder| {
            let folder = root.join(folder);
            disk::sync_folder(&folder).map_err(|error| disk::sync_error(folder.display(), &error))
        })
    }

    fn crowded(&self) -> Error {
        Error::retryable(format!(
            "other writers commit to the table '{}' all the time",
            self.location
        ))
    }

    fn rewritten(&self, prepared: &Prepared) -> Error {
        Error::user(format!(
            "the table '{}' cannot go back to an older checkpoint: another program has rewritten files that came after it",
            self.location
        ))
        .hint(format!(
            "restore the table to its version before {} by a tool of its own, or start from a newer checkpoint",
            prepared.mark
        ))
    }
}
