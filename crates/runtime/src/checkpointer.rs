//! The actor that saves checkpoints, behind the steps: encodes and uploads what the steps hand over, then names it.

use crate::backoff::Backoff;
use crate::bell::Bell;
use crate::clock::Clock;
use crate::error::guarded;
use crate::failpoint;
use crate::turn::{Actor, Stage, Turn};
use millstream_dataflow::{Delta, Error, Kind, Result, Step};
use millstream_state::checkpoint::{Saved, Store, TableId};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;

/// The rows of changes that wait to be encoded at most.
const ROWS_MAX: usize = 4 << 20;

/// The changes of a table.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) table: TableId,
    pub(crate) key_columns: usize,
    pub(crate) deltas: Vec<Delta>,
}

#[derive(Debug)]
enum Message {
    Change(Change),
    /// What comes behind this belongs to the next checkpoint.
    Seal(Step),
}

/// The stepping thread's hold on the actor.
#[derive(Clone, Debug)]
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    bell: Arc<Bell>,
    stepper: Arc<Bell>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Message>,
    rows: usize,
    /// What the sealed checkpoint is to say, once all sinks are ready for it; `None`: it is given up.
    decided: Option<(Step, Option<Named>)>,
    outcome: Option<(Step, Result<Saved>)>,
    failed: Option<Error>,
    closed: bool,
}

/// What a checkpoint is named by.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) about: Value,
    pub(crate) live: Vec<TableId>,
}

impl Checkpointer {
    pub(crate) fn start(
        store: Store,
        stage: &Stage,
        clock: Arc<dyn Clock>,
        seed: u64,
        stepper: Arc<Bell>,
    ) -> Result<Self> {
        let bell = Arc::new(Bell::default());
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            bell: Arc::clone(&bell),
            stepper,
        });
        let saving = Saving {
            store,
            shared: Arc::clone(&shared),
            clock: Arc::clone(&clock),
            sealed: None,
            tidy: false,
            backoff: Backoff::new(seed),
            not_before: std::time::Duration::ZERO,
        };
        stage.start("checkpointer", bell, clock, Box::new(saving))?;
        Ok(Self { shared })
    }

    /// Hands over changes.
    pub(crate) fn add(&self, change: Change) {
        let mut state = self.shared.state.lock();
        state.rows += rows(&change);
        state.waiting.push_back(Message::Change(change));
        drop(state);
        self.shared.bell.ring();
    }

    /// All changes up to this step have been handed over.
    pub(crate) fn seal(&self, step: Step) {
        let mut state = self.shared.state.lock();
        state.waiting.push_back(Message::Seal(step));
        drop(state);
        self.shared.bell.ring();
    }

    /// The sealed checkpoint is to be named so; `None`: it is given up, and its changes are part of the next.
    pub(crate) fn decide(&self, step: Step, named: Option<Named>) {
        self.shared.state.lock().decided = Some((step, named));
        self.shared.bell.ring();
    }

    /// What became of the decided checkpoint, once.
    pub(crate) fn take_outcome(&self) -> Option<(Step, Result<Saved>)> {
        self.shared.state.lock().outcome.take()
    }

    /// Why no checkpoint can be saved any more.
    pub(crate) fn failed(&self) -> Option<Error> {
        self.shared.state.lock().failed.clone()
    }

    /// Whether it holds as much as it may.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.shared.state.lock();
        state.rows >= ROWS_MAX && state.failed.is_none()
    }

    pub(crate) fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.bell.ring();
    }
}

fn rows(change: &Change) -> usize {
    change.deltas.iter().map(Delta::rows).sum()
}

struct Saving {
    store: Store,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    /// The checkpoint whose changes are all there.
    sealed: Option<Step>,
    /// Whether there may be something to merge or remove.
    tidy: bool,
    backoff: Backoff,
    not_before: std::time::Duration,
}

impl Saving {
    fn work(&mut self) -> Result<Turn> {
        let mut state = self.shared.state.lock();
        if state.closed {
            return Ok(Turn::Done);
        }
        if let Some(step) = self.sealed {
            // A decision on a later one says that this one was given up.
            let is_late = |(decided, _): &(Step, Option<Named>)| *decided > step;
            if state.decided.as_ref().is_some_and(is_late) {
                drop(state);
                return self.abandon();
            }
            let decided = state.decided.take();
            drop(state);
            return match decided {
                None => Ok(Turn::Rested),
                Some((_, None)) => self.abandon(),
                Some((_, Some(named))) => self.commit(step, named),
            };
        }
        match state.waiting.pop_front() {
            Some(Message::Change(change)) => {
                state.rows -= rows(&change);
                drop(state);
                self.shared.stepper.ring();
                for delta in change.deltas {
                    self.store.add(&change.table, change.key_columns, delta)?;
                }
                Ok(Turn::Moved)
            }
            Some(Message::Seal(step)) => {
                self.sealed = Some(step);
                Ok(Turn::Moved)
            }
            None => {
                drop(state);
                self.tidy()
            }
        }
    }

    fn abandon(&mut self) -> Result<Turn> {
        self.sealed = None;
        self.store.abandon()?;
        Ok(Turn::Moved)
    }

    fn commit(&mut self, step: Step, named: Named) -> Result<Turn> {
        self.sealed = None;
        failpoint::pass("checkpoint.before_manifest");
        let outcome = self.store.commit(named.about, &named.live);
        failpoint::pass("checkpoint.after_manifest");
        self.tidy = outcome.is_ok();
        let fenced = match &outcome {
            Err(error) if error.kind != Kind::Retryable => Some(error.clone()),
            _ => None,
        };
        self.shared.state.lock().outcome = Some((step, outcome));
        self.shared.stepper.ring();
        fenced.map_or(Ok(Turn::Moved), Err)
    }

    /// Merges and removes while nothing else is to be done.
    fn tidy(&mut self) -> Result<Turn> {
        if !self.tidy {
            return Ok(Turn::Rested);
        }
        let now = self.clock.elapsed();
        if now < self.not_before {
            return Ok(Turn::Until(self.not_before));
        }
        match self.store.tidy() {
            Ok(tidied) => {
                for note in &tidied.notes {
                    tracing::warn!("{note}");
                }
                self.backoff.succeeded();
                self.tidy = tidied.more;
                Ok(Turn::Moved)
            }
            Err(error) if error.kind == Kind::Retryable => {
                tracing::warn!(%error, "checkpoints cannot be tidied now");
                self.not_before = now + self.backoff.next();
                Ok(Turn::Until(self.not_before))
            }
            Err(error) => Err(error),
        }
    }
}

impl Actor for Saving {
    fn turn(&mut self) -> Turn {
        guarded(|| self.work()).unwrap_or_else(|error| {
            tracing::error!(%error, "no more checkpoints can be saved");
            self.shared.state.lock().failed = Some(error);
            self.shared.stepper.ring();
            Turn::Done
        })
    }
}
