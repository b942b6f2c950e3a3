//! Writes a table's files.
//!
//! ```text
//! growing --(full, due, a checkpoint)--> ended --(bytes are durable)--> staged --(publish, or a commit)--> visible
//! ```
//!
//! In a job with checkpoints what is visible is what `publish` was told. In one without, `commit` shows the files that
//! are due by the rolling policy, and what still grows appears when the job stops; when its process is killed that is
//! lost, unless the job replays the steps since.

use super::FileSink;
use super::destination::Destination;
use super::directories::Share;
use super::disk::each_at_once;
use super::growing::{Encoded, Ended, Growing};
use super::prepared::{DataFile, Prepared};
use super::staging::Staging;
use crate::clock;
use millstream_dataflow::sink::Writer;
use millstream_dataflow::{Delta, Error, Result, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

/// So many files grow at once, or as many as one write needs. Before another begins, the one that has been quiet longest
/// ends.
const GROWING_MAX: usize = 256;

/// Sixteen digits that nothing else has.
pub(super) fn unique() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// When files become visible: shown by the first call that tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Unknown,
    Interval,
    Checkpoint,
}

/// Writes files.
pub(super) struct FileWriter {
    sink: Arc<FileSink>,
    destination: Destination,
    mode: Mode,
    /// The same over all restarts that go on from a checkpoint.
    writer: String,
    /// Makes names unique over restarts.
    run: String,
    begun: u64,
    /// Counts what was prepared.
    prepared: u64,
    /// Growing files by directory.
    growing: BTreeMap<String, Growing>,
    ended: Vec<Ended>,
    staged: Vec<DataFile>,
    checked: Instant,
}

impl FileWriter {
    pub(super) fn new(sink: FileSink, destination: Destination) -> Self {
        Self {
            sink: Arc::new(sink),
            destination,
            mode: Mode::Unknown,
            writer: unique(),
            run: unique(),
            begun: 0,
            prepared: 0,
            growing: BTreeMap::new(),
            ended: Vec::new(),
            staged: Vec::new(),
            checked: clock::now(),
        }
    }

    fn staging(&self) -> Staging {
        Staging::new(&self.sink.location, &self.writer)
    }

    /// Hands on what earlier writes left in memory.
    fn drain(&mut self) -> Result<()> {
        self.ended.iter_mut().try_for_each(Ended::drain)?;
        self.growing.values_mut().try_for_each(Growing::drain)
    }

    /// Sees to it that there is a growing file for each share.
    fn begin(&mut self, shares: &[Share]) -> Result<()> {
        let new = shares
            .iter()
            .filter(|share| !self.growing.contains_key(&share.directory));
        let new: Vec<&Share> = new.collect();
        if new.is_empty() {
            return Ok(());
        }
        self.make_room(new.len(), shares)?;
        let extension = self.sink.extension();
        let name = |(idx, share): (usize, &&Share)| {
            let slash = if share.directory.is_empty() { "" } else { "/" };
            let number = self.begun + idx as u64;
            format!(
                "{}{slash}part-{}-{number:05}{extension}",
                share.directory, self.run
            )
        };
        let names: Vec<String> = new.iter().enumerate().map(name).collect();
        self.begun += new.len() as u64;
        // Only an upload of a writer that some checkpoint knows can be found again.
        let noted = self.mode == Mode::Checkpoint;
        let outputs = self.staging().begin(&names, noted)?;
        for ((share, name), output) in new.iter().zip(names).zip(outputs) {
            let file = Growing::new(&self.sink, name, share.values.clone(), output)?;
            self.growing.insert(share.directory.clone(), file);
        }
        Ok(())
    }

    /// Ends the files that have been quiet longest, where there would be too many, but none that is written to now.
    fn make_room(&mut self, new: usize, shares: &[Share]) -> Result<()> {
        let excess = (self.growing.len() + new).saturating_sub(GROWING_MAX);
        if excess == 0 {
            return Ok(());
        }
        let written: BTreeSet<&str> = shares
            .iter()
            .map(|share| share.directory.as_str())
            .collect();
        let quiet = self.growing.iter();
        let quiet = quiet.filter(|(directory, _)| !written.contains(directory.as_str()));
        let mut quiet: Vec<(Instant, String)> = quiet
            .map(|(directory, file)| (file.last(), directory.clone()))
            .collect();
        quiet.sort();
        let ended = quiet.iter().take(excess);
        ended
            .into_iter()
            .try_for_each(|(_, directory)| self.end(directory))
    }

    fn growing(&mut self, directory: &str) -> Result<&mut Growing> {
        let file = self.growing.get_mut(directory);
        file.ok_or_else(|| Error::internal(format!("no file has begun in '{directory}'")))
    }

    fn end(&mut self, directory: &str) -> Result<()> {
        if let Some(file) = self.growing.remove(directory) {
            self.ended.extend(file.end()?);
        }
        Ok(())
    }

    fn end_all(&mut self) -> Result<()> {
        let directories: Vec<String> = self.growing.keys().cloned().collect();
        directories
            .iter()
            .try_for_each(|directory| self.end(directory))
    }

    /// Makes all files that have ended durable.
    fn stage(&mut self) -> Result<()> {
        if self.ended.is_empty() {
            return Ok(());
        }
        each_at_once(self.ended.iter_mut(), Ended::stage)?;
        self.staged.extend(self.ended.drain(..).map(Ended::staged));
        self.staging().sync()
    }

    /// What is staged, as what `publish` takes.
    fn bundle(&mut self) -> Result<Prepared> {
        let mark = self.destination.mark()?;
        self.prepared += 1;
        Ok(Prepared::new(
            self.sink.location.to_string(),
            &self.writer,
            self.prepared,
            mark,
            self.staged.clone(),
        ))
    }

    fn publish_prepared(&mut self, prepared: &Prepared) -> Result<()> {
        self.destination.publish(prepared)?;
        self.staged.retain(|file| !prepared.files.contains(file));
        Ok(())
    }

    /// Shows what has ended, in a job without checkpoints.
    fn show(&mut self) -> Result<()> {
        self.stage()?;
        if self.staged.is_empty() {
            return Ok(());
        }
        if self.sink.always_listed || self.mode == Mode::Checkpoint || self.destination.mark()? > 0
        {
            let prepared = self.bundle()?;
            return self.publish_prepared(&prepared);
        }
        self.destination.show(&self.writer, &self.staged)?;
        self.staged.clear();
        Ok(())
    }
}

impl Writer for FileWriter {
    fn write(&mut self, _: Step, delta: &Delta) -> Result<()> {
        let shares = self.sink.directories.split(delta)?;
        // What can be tried again comes first: once a row is taken, there is no second try.
        self.drain()?;
        self.begin(&shares)?;
        let sink = Arc::clone(&self.sink);
        let mut encoded: Vec<Encoded> = Vec::with_capacity(shares.len());
        for share in &shares {
            let file = self.growing(&share.directory)?;
            encoded.push(file.encode(&sink, &share.delta)?);
        }
        for (share, encoded) in shares.iter().zip(&encoded) {
            let file = self.growing(&share.directory)?;
            file.append(encoded)?;
            if sink.policy.is_full(file.bytes()) {
                self.end(&share.directory)?;
            }
        }
        if let Err(error) = self.drain() {
            tracing::debug!(table = %self.sink.location, %error, "rows wait in memory");
        }
        Ok(())
    }

    fn commit(&mut self, _: Step) -> Result<()> {
        self.mode = Mode::Interval;
        let policy = self.sink.policy;
        if policy.is_check_due(self.checked.elapsed()) {
            self.checked = clock::now();
            let due = |(directory, file): (&String, &Growing)| {
                policy.is_due(file.growth()).then(|| directory.clone())
            };
            let due: Vec<String> = self.growing.iter().filter_map(due).collect();
            due.iter().try_for_each(|directory| self.end(directory))?;
        }
        self.show()
    }

    fn finish(&mut self, _: Step) -> Result<()> {
        self.end_all()?;
        self.show()
    }

    fn prepare(&mut self, _: Step) -> Result<Vec<u8>> {
        self.mode = Mode::Checkpoint;
        self.end_all()?;
        self.stage()?;
        self.bundle()?.encode()
    }

    fn publish(&mut self, prepared: &[u8]) -> Result<()> {
        let prepared = Prepared::decode(prepared, &self.sink.location.to_string())?;
        self.publish_prepared(&prepared)
    }

    fn recover(&mut self, prepared: Option<&[u8]>) -> Result<()> {
        self.mode = Mode::Checkpoint;
        // Nothing is held of a time when the sink kept no checkpoints.
        let Some(prepared) = prepared.filter(|prepared| !prepared.is_empty()) else {
            return Ok(());
        };
        let prepared = Prepared::decode(prepared, &self.sink.location.to_string())?;
        self.writer.clone_from(&prepared.writer);
        self.prepared = prepared.number;
        self.destination.go_back(&prepared)?;
        self.publish_prepared(&prepared)?;
        self.staging().clear()
    }
}

impl Drop for FileWriter {
    /// The job stops: without checkpoints what was written appears, with them only what they publish does.
    fn drop(&mut self) {
        if self.mode == Mode::Interval
            && let Err(error) = self.end_all().and_then(|()| self.show())
        {
            tracing::error!(table = %self.sink.location, %error, "rows that were written are lost");
        }
        self.growing.clear();
        self.ended.clear();
        self.staging().tidy();
    }
}
