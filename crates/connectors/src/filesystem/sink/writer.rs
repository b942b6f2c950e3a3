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
use super::growing::{Encoded, Ended, Growing};
use super::output::Staging;
use super::prepared::{DataFile, Prepared};
use crate::clock;
use millstream_dataflow::sink::Writer;
use millstream_dataflow::{Delta, Result, Step};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

/// So many files grow at once. Before another begins, the one that has been quiet longest ends.
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
    sink: FileSink,
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
            sink,
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

    fn begin(&mut self, share: &Share) -> Result<()> {
        if self.growing.contains_key(&share.directory) {
            return Ok(());
        }
        if self.growing.len() >= GROWING_MAX {
            let quiet = self.growing.iter().min_by_key(|(_, file)| file.last());
            if let Some(directory) = quiet.map(|(directory, _)| directory.clone()) {
                self.end(&directory)?;
            }
        }
        let slash = if share.directory.is_empty() { "" } else { "/" };
        let name = format!(
            "{}{slash}part-{}-{:05}{}",
            share.directory,
            self.run,
            self.begun,
            self.sink.extension()
        );
        // Only an upload of a writer that some checkpoint knows can be found again.
        let noted = self.mode == Mode::Checkpoint;
        let partition = share.values.clone();
        let file = Growing::begin(&self.sink, &self.staging(), name, partition, noted)?;
        self.begun += 1;
        self.growing.insert(share.directory.clone(), file);
        Ok(())
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
        while let Some(mut file) = self.ended.pop() {
            let staged = file.stage();
            if let Err(error) = staged {
                self.ended.push(file);
                return Err(error);
            }
            self.staged.push(file.staged());
        }
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
        shares.iter().try_for_each(|share| self.begin(share))?;
        let mut encoded: Vec<Encoded> = Vec::with_capacity(shares.len());
        for share in &shares {
            if let Some(file) = self.growing.get_mut(&share.directory) {
                encoded.push(file.encode(&self.sink, &share.delta)?);
            }
        }
        for (share, encoded) in shares.iter().zip(&encoded) {
            let Some(file) = self.growing.get_mut(&share.directory) else {
                continue;
            };
            file.append(encoded)?;
            if self.sink.policy.is_full(file.bytes()) {
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
