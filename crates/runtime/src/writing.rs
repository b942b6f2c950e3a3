//! The actor that writes: takes what waits, commits at intervals, tries again what can be tried again.

use crate::backoff::Backoff;
use crate::error::guarded;
use crate::failpoint;
use crate::target::Target;
use crate::turn::{Actor, Turn};
use crate::writer::{Message, Settings, Shared};
use millstream_dataflow::{Delta, Error, Kind, Result, Step};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often a write is tried again once the job has been stopped.
const LAST_ATTEMPTS: u32 = 3;
/// A commit that is not asked for by time is made when so many rows have been written.
const COMMIT_ROWS: usize = 262_144;

pub(crate) struct Writing {
    target: Box<dyn Target>,
    settings: Settings,
    shared: Arc<Shared>,
    backoff: Backoff,
    not_before: Duration,
    /// What is being done, and is to be tried again when it fails.
    task: Option<Task>,
    /// The last step that was written and not committed.
    written: Option<Step>,
    written_rows: usize,
    committed_at: Duration,
}

/// What can be tried again.
#[derive(Debug)]
enum Task {
    Flush,
    Commit(Step),
    Prepare(Step),
    Complete(Step, Vec<u8>),
    Finish(Step),
    /// The commit before the end.
    Close,
}

impl Writing {
    pub(crate) fn new(target: Box<dyn Target>, settings: Settings, shared: Arc<Shared>) -> Self {
        Self {
            target,
            backoff: Backoff::new(settings.seed),
            settings,
            shared,
            not_before: Duration::ZERO,
            task: None,
            written: None,
            written_rows: 0,
            committed_at: Duration::ZERO,
        }
    }

    fn work(&mut self) -> Result<Turn> {
        if let Some(records) = self.target.open()? {
            self.shared.state.lock().opened = Some(records);
            self.shared.stepper.lock().ring();
        }
        if let Some(task) = self.task.take() {
            return match self.act(&task) {
                Ok(turn) => Ok(turn),
                Err(error) => {
                    self.task = Some(task);
                    Err(error)
                }
            };
        }
        let now = self.settings.clock.elapsed();
        if let Some(step) = self.written.filter(|_| !self.settings.by_checkpoint) {
            let due = self.committed_at + self.settings.commit_interval;
            let is_due = now >= due || self.written_rows >= COMMIT_ROWS;
            if is_due && self.target.is_whole() {
                self.task = Some(Task::Commit(step));
                return Ok(Turn::Moved);
            }
        }
        let mut state = self.shared.state.lock();
        let Some(message) = state.next() else {
            if state.closed {
                self.task = Some(Task::Close);
                return Ok(Turn::Moved);
            }
            return Ok(match self.written {
                Some(_) if !self.settings.by_checkpoint && self.target.is_whole() => {
                    Turn::Until(self.committed_at + self.settings.commit_interval)
                }
                _ => Turn::Rested,
            });
        };
        drop(state);
        self.shared.stepper.lock().ring();
        self.take(message)?;
        Ok(Turn::Moved)
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Join(sink) => {
                self.target.join(sink);
                self.task = Some(Task::Flush);
            }
            Message::Record(step, record) => self.target.record(step, record),
            Message::Write(step, sink, deltas) => {
                let delta = consolidated(&deltas)?;
                if delta.is_empty() {
                    return Ok(());
                }
                let rows = delta.rows();
                if let Some(meter) = self.shared.state.lock().meters.get(sink) {
                    meter.rows.fetch_add(rows as u64, Relaxed);
                }
                self.target.take(step, sink, delta);
                if self.written.is_none() {
                    self.committed_at = self.settings.clock.elapsed();
                }
                self.written = Some(step);
                self.written_rows += rows;
                self.task = Some(Task::Flush);
            }
            Message::Prepare(step) => self.task = Some(Task::Prepare(step)),
            Message::Complete(step, prepared) => self.task = Some(Task::Complete(step, prepared)),
            Message::Finish(step) => self.task = Some(Task::Finish(step)),
        }
        Ok(())
    }

    fn act(&mut self, task: &Task) -> Result<Turn> {
        match task {
            Task::Flush => {
                failpoint::pass("sink.write");
                self.target.flush()?;
            }
            Task::Commit(step) => self.commit(*step)?,
            Task::Prepare(step) => {
                failpoint::pass("sink.before_prepare");
                let prepared = self.target.prepare(*step)?;
                failpoint::pass("sink.after_prepare");
                self.committed(*step);
                self.shared.state.lock().prepared = Some((*step, prepared));
                self.shared.stepper.lock().ring();
            }
            Task::Complete(step, prepared) => {
                failpoint::pass("sink.before_publish");
                self.target.complete(*step, prepared)?;
            }
            Task::Finish(step) => {
                if self.target.finish(*step)? {
                    self.committed(*step);
                    self.shared.end(Ok(()));
                    return Ok(Turn::Done);
                }
            }
            Task::Close => {
                if let Some(step) = self.written.filter(|_| !self.settings.by_checkpoint) {
                    self.commit(step)?;
                }
                self.shared.end(Ok(()));
                return Ok(Turn::Done);
            }
        }
        Ok(Turn::Moved)
    }

    fn commit(&mut self, step: Step) -> Result<()> {
        failpoint::pass("sink.before_commit");
        self.target.commit(step)?;
        failpoint::pass("sink.after_commit");
        self.committed(step);
        Ok(())
    }

    fn committed(&mut self, step: Step) {
        self.written = None;
        self.written_rows = 0;
        self.committed_at = self.settings.clock.elapsed();
        for meter in &self.shared.state.lock().meters {
            meter.set_committed(step);
        }
    }

    fn failed(&mut self, error: Error) -> Turn {
        let state = self.shared.state.lock();
        let closed = state.closed;
        let last = closed && self.backoff.attempts() >= LAST_ATTEMPTS;
        if error.kind != Kind::Retryable || last {
            drop(state);
            self.shared.end(Err(error));
            return Turn::Done;
        }
        for meter in &state.meters {
            if self.backoff.attempts() == 0 {
                tracing::warn!(table = %meter.table, %error, "writing failed and is tried again");
            }
            *meter.retrying.lock() = Some(error.to_string());
        }
        drop(state);
        self.not_before = self.settings.clock.elapsed() + self.backoff.next();
        Turn::Until(self.not_before)
    }
}

impl Actor for Writing {
    fn turn(&mut self) -> Turn {
        if self.settings.clock.elapsed() < self.not_before {
            return Turn::Until(self.not_before);
        }
        match guarded(|| self.work()) {
            Err(error) => self.failed(error),
            Ok(turn) => {
                if self.backoff.attempts() > 0 && self.task.is_none() {
                    self.backoff.succeeded();
                    for meter in &self.shared.state.lock().meters {
                        *meter.retrying.lock() = None;
                    }
                }
                turn
            }
        }
    }
}

/// The changes of a step, with equal rows summed; rows that only come need no summing.
fn consolidated(deltas: &[Delta]) -> Result<Delta> {
    let Some(first) = deltas.first() else {
        return Err(Error::internal("a step without rows is to be written"));
    };
    let all = Delta::concat(&first.schema(), deltas)?;
    if all.is_append_only() {
        return Ok(all);
    }
    all.consolidate()
}
