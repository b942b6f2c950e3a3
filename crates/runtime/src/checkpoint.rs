//! Checkpoints, as the stepping thread sees them: when one is due, what goes into it, and when it counts.
//!
//! ```text
//! between two steps   changes of all tables -> checkpointer      offsets, times, failures are noted      sinks: prepare
//! ... steps go on ...
//! all sinks ready     checkpointer: name it
//! named               sinks: publish, forget records
//! ```
//!
//! A checkpoint never counts output that a sink has not made safe: it is named only when every sink has committed or prepared
//! its step. To keep the pause short, changes are handed over every so many rows, not only when a checkpoint is due.

use crate::checkpointer::{Change, Checkpointer, Named};
use crate::driver::Driver;
use crate::failpoint;
use crate::outlet::Outlet;
use crate::saved::{About, SinkState};
use crate::writer::Writer;
use millstream_dataflow as dataflow;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::{Kind, Step};
use millstream_state::checkpoint::TableId;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Changes are handed over when the steps took so many rows: at first, at least and at most.
const DRAIN_ROWS: usize = 8_192;
const DRAIN_ROWS_MIN: usize = 1_024;
const DRAIN_ROWS_MAX: usize = 65_536;
/// Handing over should take no longer than this.
const DRAIN_TIME: Duration = Duration::from_millis(4);

/// A job's checkpoints.
pub(crate) struct Checkpoints {
    pub(crate) checkpointer: Checkpointer,
    pub(crate) job: String,
    /// What the job was made from, in its owner's words.
    pub(crate) catalog: Value,
    interval: Duration,
    begun_at: Duration,
    /// The step of the last complete one.
    saved: Option<Step>,
    /// Whether one is wanted without waiting for the interval.
    wanted: bool,
    pending: Option<Pending>,
    drain_rows: usize,
    rows: usize,
    waiting: Vec<(Step, Reply)>,
    told: bool,
}

/// Is told when a checkpoint of a step or a later one is complete.
pub(crate) type Reply = Box<dyn FnOnce(dataflow::Result<Step>) + Send>;

/// A checkpoint that is not complete yet.
struct Pending {
    step: Step,
    about: About,
    live: Vec<TableId>,
    sinks: Vec<(NodeId, Arc<Writer>)>,
    decided: bool,
}

/// What the last checkpoint was.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckpointProgress {
    /// Its number.
    pub sequence: u64,
    /// Its step.
    pub step: Step,
    /// The bytes that it wrote.
    pub bytes: u64,
    /// How long naming it took.
    pub took: Duration,
    /// The longest time that steps waited for checkpoints so far.
    pub pause_max: Duration,
}

impl Checkpoints {
    pub(crate) fn new(
        checkpointer: Checkpointer,
        job: String,
        catalog: Value,
        interval: Duration,
        saved: Option<Step>,
    ) -> Self {
        Self {
            checkpointer,
            job,
            catalog,
            interval,
            begun_at: Duration::ZERO,
            saved,
            // The first says what the job is made from, before anything leaves it.
            wanted: true,
            pending: None,
            drain_rows: DRAIN_ROWS,
            rows: 0,
            waiting: Vec::new(),
            told: false,
        }
    }

    /// Whether a first checkpoint has been made, so that there is something to recover from.
    pub(crate) fn has_begun(&self) -> bool {
        self.saved.is_some()
    }

    fn answer(&mut self, outcome: &dataflow::Result<Step>) {
        let is_done = |step: Step| match outcome {
            Ok(saved) => step <= *saved,
            Err(_) => true,
        };
        let (done, rest) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(step, _)| is_done(*step));
        self.waiting = rest;
        let done: Vec<(Step, Reply)> = done;
        for (_, reply) in done {
            reply(outcome.clone());
        }
    }
}

impl Driver {
    /// Sees to checkpoints between two steps. Says whether anything moved.
    pub(crate) fn tend_checkpoints(&mut self) -> dataflow::Result<bool> {
        let Some(checkpoints) = self.checkpoints.as_mut().filter(|_| !self.failed) else {
            return Ok(false);
        };
        if let Some(error) = checkpoints.checkpointer.failed() {
            checkpoints.answer(&Err(error.clone()));
            if error.kind == Kind::Fenced {
                return Err(error);
            }
            return Ok(false);
        }
        let outcome = checkpoints.checkpointer.take_outcome();
        let mut moved = outcome.is_some();
        if let Some((step, outcome)) = outcome {
            self.checkpoint_ended(step, outcome);
        }
        moved |= self.decide_checkpoint();
        if self.is_checkpoint_due() {
            self.begin_checkpoint()?;
            moved = true;
        }
        Ok(moved)
    }

    fn is_checkpoint_due(&mut self) -> bool {
        let now = self.config.clock.elapsed();
        let last = self.flow.last_step();
        let Some(checkpoints) = &mut self.checkpoints else {
            return false;
        };
        if checkpoints.pending.is_some() || self.recovery.is_some() {
            return false;
        }
        let is_due = now >= checkpoints.begun_at + checkpoints.interval
            && checkpoints.saved.is_none_or(|saved| saved < last);
        if !is_due && !checkpoints.wanted {
            return false;
        }
        // A checkpoint says that all before it was taken and written; of a failed source or sink that is not so.
        let failed = self.intake.feeds().iter().any(|feed| feed.failed) || self.has_failed_sink();
        if let Some(checkpoints) = self.checkpoints.as_mut().filter(|_| failed) {
            if !checkpoints.told {
                checkpoints.told = true;
                tracing::warn!(
                    "a source or a sink has failed: no more checkpoints, the job will go on from the last one when it is started again"
                );
            }
            checkpoints.wanted = false;
            let error =
                dataflow::Error::user("a source or a sink has failed: no checkpoint can be made");
            checkpoints.answer(&Err(error));
        }
        !failed
    }

    /// When the next one is due, if the clock is what it waits for.
    pub(crate) fn checkpoint_due_at(&self) -> Option<Duration> {
        let checkpoints = self.checkpoints.as_ref()?;
        let changed = checkpoints
            .saved
            .is_none_or(|saved| saved < self.flow.last_step());
        (changed && checkpoints.pending.is_none())
            .then(|| checkpoints.begun_at + checkpoints.interval)
    }

    fn begin_checkpoint(&mut self) -> dataflow::Result<()> {
        failpoint::pass("checkpoint.begin");
        let began = self.config.clock.elapsed();
        let live = self.hand_over_changes()?;
        let step = self.flow.last_step();
        let about = self.about();
        let mut sinks = Vec::new();
        for (id, outlet) in self.flow.outlets() {
            if let Outlet::Sink(sink) = outlet {
                sinks.push((id, Arc::clone(&sink.writer)));
            }
        }
        let mut asked: Vec<&Arc<Writer>> = Vec::new();
        for (_, writer) in &sinks {
            if !asked.iter().any(|other| Arc::ptr_eq(other, writer)) {
                writer.prepare(step);
                asked.push(writer);
            }
        }
        let now = self.config.clock.elapsed();
        self.shared.paused(now.saturating_sub(began));
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.checkpointer.seal(step);
            checkpoints.begun_at = began;
            checkpoints.wanted = false;
            checkpoints.pending = Some(Pending {
                step,
                about,
                live,
                sinks,
                decided: false,
            });
        }
        self.decide_checkpoint();
        Ok(())
    }

    /// Hands over what changed since the last time. Gives the tables that there are.
    fn hand_over_changes(&mut self) -> dataflow::Result<Vec<TableId>> {
        let Some(checkpoints) = &mut self.checkpoints else {
            return Ok(Vec::new());
        };
        checkpoints.rows = 0;
        let mut live = Vec::new();
        let checkpointer = &checkpoints.checkpointer;
        self.flow.each_table(|id, table| {
            let mut deltas = Vec::new();
            table.changes(&mut deltas)?;
            deltas.retain(|delta| !delta.is_empty());
            if !deltas.is_empty() {
                checkpointer.add(Change {
                    table: id.clone(),
                    key_columns: table.key_columns(),
                    deltas,
                });
            }
            live.push(id);
            Ok(())
        });
        Ok(live)
    }

    /// The steps took rows: hands over what they changed if it is enough.
    pub(crate) fn drain_changes(&mut self, rows: usize) -> dataflow::Result<()> {
        let Some(checkpoints) = &mut self.checkpoints else {
            return Ok(());
        };
        checkpoints.rows += rows;
        if checkpoints.rows < checkpoints.drain_rows {
            return Ok(());
        }
        let began = self.config.clock.elapsed();
        self.hand_over_changes()?;
        let took = self.config.clock.elapsed().saturating_sub(began);
        self.shared.paused(took);
        if let Some(checkpoints) = &mut self.checkpoints {
            if took > DRAIN_TIME {
                checkpoints.drain_rows = (checkpoints.drain_rows / 2).max(DRAIN_ROWS_MIN);
            } else if took * 4 < DRAIN_TIME {
                checkpoints.drain_rows = (checkpoints.drain_rows * 2).min(DRAIN_ROWS_MAX);
            }
        }
        Ok(())
    }

    /// The rows that a step may take, so that handing over what it changes is no long wait.
    pub(crate) fn step_rows_for_checkpoints(&self) -> usize {
        let checkpoints = self.checkpoints.as_ref();
        checkpoints.map_or(usize::MAX, |checkpoints| checkpoints.drain_rows)
    }

    /// Names the pending checkpoint once all sinks are ready for it; gives it up when one never will be.
    fn decide_checkpoint(&mut self) -> bool {
        let Some(checkpoints) = &mut self.checkpoints else {
            return false;
        };
        let Some(pending) = checkpoints
            .pending
            .as_mut()
            .filter(|pending| !pending.decided)
        else {
            return false;
        };
        let is_dead = |writer: &Arc<Writer>| writer.ended().is_some_and(|ended| ended.is_err());
        if pending.sinks.iter().any(|(_, writer)| is_dead(writer)) {
            checkpoints.checkpointer.decide(pending.step, None);
            checkpoints.pending = None;
            return true;
        }
        let mut states = Vec::new();
        for (id, writer) in &pending.sinks {
            let prepared = match (writer.prepared(pending.step), writer.ended()) {
                (Some(prepared), _) => prepared,
                // It has written all that it will ever get.
                (None, Some(Ok(()))) => Vec::new(),
                (None, _) => return false,
            };
            states.push(SinkState {
                node: id.0,
                prepared,
            });
        }
        pending.about.sinks = states;
        match serde_json::to_value(&pending.about) {
            Ok(about) => {
                let live = std::mem::take(&mut pending.live);
                pending.decided = true;
                let named = Named { about, live };
                checkpoints.checkpointer.decide(pending.step, Some(named));
            }
            Err(error) => {
                tracing::error!(%error, "a checkpoint cannot be described");
                checkpoints.checkpointer.decide(pending.step, None);
                checkpoints.pending = None;
            }
        }
        true
    }

    fn checkpoint_ended(
        &mut self,
        step: Step,
        outcome: dataflow::Result<millstream_state::checkpoint::Saved>,
    ) {
        let Some(checkpoints) = &mut self.checkpoints else {
            return;
        };
        let Some(pending) = checkpoints.pending.take() else {
            return;
        };
        match outcome {
            Err(error) => {
                tracing::warn!(step = step.0, %error, "a checkpoint could not be saved; the next one will hold what it would have held");
                checkpoints.answer(&Err(error));
            }
            Ok(saved) => {
                checkpoints.saved = Some(step);
                let states = pending.about.sinks.into_iter();
                let mut told: Vec<Arc<Writer>> = Vec::new();
                for (state, (_, writer)) in states.zip(pending.sinks) {
                    if !told.iter().any(|other| Arc::ptr_eq(other, &writer)) {
                        writer.complete(step, state.prepared);
                        told.push(writer);
                    }
                }
                checkpoints.answer(&Ok(step));
                self.shared.saved(step, &saved);
            }
        }
    }

    /// Asks for a checkpoint of the state as it is now, or a later one.
    pub(crate) fn want_checkpoint(&mut self, reply: Reply) {
        let last = self.flow.last_step();
        match &mut self.checkpoints {
            None => reply(Ok(last)),
            Some(checkpoints) => {
                checkpoints.wanted = true;
                checkpoints.waiting.push((last, reply));
            }
        }
    }

    /// Wants a checkpoint of the state as it is now, and nobody waits for it.
    pub(crate) fn call_for_checkpoint(&mut self) {
        if let Some(checkpoints) = self.checkpoints.as_mut().filter(|it| it.pending.is_none()) {
            checkpoints.wanted = true;
        }
    }

    /// Whether all that happened is in a complete checkpoint.
    pub(crate) fn is_saved(&self) -> bool {
        self.checkpoints.as_ref().is_none_or(|checkpoints| {
            checkpoints.pending.is_none() && checkpoints.saved == Some(self.flow.last_step())
        })
    }

    /// Whether checkpoints hold the steps up: the first has not been made, or there is too much to save.
    pub(crate) fn is_held_by_checkpoints(&self) -> bool {
        self.checkpoints.as_ref().is_some_and(|checkpoints| {
            checkpoints.checkpointer.is_full()
                || (!checkpoints.has_begun() && checkpoints.checkpointer.failed().is_none())
        })
    }

    /// Whether no checkpoint will be made any more.
    pub(crate) fn has_checkpoint_trouble(&self) -> bool {
        self.checkpoints.as_ref().is_some_and(|checkpoints| {
            checkpoints.checkpointer.failed().is_some() || checkpoints.told
        })
    }

    fn has_failed_sink(&self) -> bool {
        self.flow.has_failed_sink()
    }
}
