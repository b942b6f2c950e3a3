//! The stepping thread: serves requests between two steps, takes what has arrived, runs the step, sees to the end.

use crate::checkpoint::Checkpoints;
use crate::config::Config;
use crate::discover::Discovery;
use crate::error::{Error, Failure, Result, guarded};
use crate::failpoint;
use crate::grow::Pending;
use crate::intake::{Gathered, Intake};
use crate::job::Shared;
use crate::outlet::{Outlet, Outlets};
use crate::pace::Pace;
use crate::progress::Meters;
use crate::record::StepRecord;
use crate::recovery::Recovery;
use crate::step::{Flow, StepInput};
use crate::turn::{Actor, Turn};
use millstream_dataflow as dataflow;
use millstream_dataflow::Step;
use millstream_dataflow::graph::{NodeId, NodeKind};
use millstream_dataflow::source::Partition;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// The rows of a step when all input is bounded: fixed, so that the steps are cut the same way in every run.
const BOUNDED_STEP_ROWS: usize = 65_536;
/// How long stopping waits for the sinks.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// What someone wants done between two steps.
pub(crate) type Command = Box<dyn FnOnce(&mut Driver) + Send>;

pub(crate) struct Driver {
    pub(crate) config: Config,
    pub(crate) flow: Flow,
    pub(crate) intake: Intake,
    pub(crate) shared: Arc<Shared>,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) outlets: Outlets,
    pub(crate) checkpoints: Option<Checkpoints>,
    pub(crate) recovery: Option<Recovery>,
    /// Nodes that are built beside.
    pub(crate) beside: BTreeMap<NodeId, Pending>,
    pub(crate) stopping: Option<Stopping>,
    pace: Pace,
    now_ms: i64,
    /// Sinks that have been told of the end.
    finished: HashSet<NodeId>,
    pub(crate) failed: bool,
}

/// How far stopping has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Nothing has been done about it.
    Asked,
    /// The last checkpoint is being made; given up at this time.
    Saving(Duration),
    /// The writers write what waits; given up at this time.
    Closing(Duration),
}

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) flow: Flow,
    pub(crate) intake: Intake,
    pub(crate) shared: Arc<Shared>,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) outlets: Outlets,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            now_ms: parts.config.clock.now_ms(),
            config: parts.config,
            flow: parts.flow,
            intake: parts.intake,
            shared: parts.shared,
            discovery: parts.discovery,
            outlets: parts.outlets,
            checkpoints: None,
            recovery: None,
            beside: BTreeMap::new(),
            stopping: None,
            pace: Pace::new(),
            finished: HashSet::new(),
            failed: false,
        }
    }

    /// One round: requests, writers, checkpoints, then a step if there is anything to step for.
    pub(crate) fn round(&mut self) -> Turn {
        self.serve();
        self.reap_writers();
        let round = self.tend_checkpoints().and_then(|tended| {
            if self.stopping.is_some() {
                return Ok(self.stop_on());
            }
            let moved = self.move_on()?;
            Ok(if tended || moved {
                Turn::Moved
            } else {
                self.rest()
            })
        });
        round.unwrap_or_else(|error| {
            self.fail_all(&error);
            Turn::Moved
        })
    }

    /// Recovers or steps. Says whether anything moved.
    fn move_on(&mut self) -> dataflow::Result<bool> {
        if self.failed {
            return Ok(false);
        }
        if self.recovery.is_some() {
            return self.recover();
        }
        if self.is_held_by_checkpoints() || self.flow.is_backed_up() {
            return Ok(false);
        }
        let moved = self.step_on()?;
        if !moved {
            self.see_to_the_end();
        }
        Ok(moved)
    }

    fn rest(&self) -> Turn {
        let patience = self
            .patience()
            .map(|patience| self.config.clock.elapsed() + patience);
        let checkpoint = self.checkpoint_due_at();
        match (patience, checkpoint) {
            (Some(patience), Some(checkpoint)) => Turn::Until(patience.min(checkpoint)),
            (patience, checkpoint) => patience.or(checkpoint).map_or(Turn::Rested, Turn::Until),
        }
    }

    fn serve(&mut self) {
        while let Some(command) = self.shared.next_command() {
            command(self);
        }
    }

    /// The wall clock, which never goes back.
    pub(crate) fn now_ms(&mut self) -> i64 {
        self.now_ms = self.now_ms.max(self.config.clock.now_ms());
        self.now_ms
    }

    /// Runs a step if there is anything to step for. Says whether there was.
    fn step_on(&mut self) -> dataflow::Result<bool> {
        let paced = if self.intake.is_ordered() {
            BOUNDED_STEP_ROWS
        } else {
            self.pace.rows()
        };
        let paced = paced.min(self.step_rows_for_checkpoints());
        let rows_max = self.config.step_rows_max.unwrap_or(paced).max(1);
        if self.intake.gather(rows_max) == Gathered::Waiting {
            return Ok(false);
        }
        let last_ms = self.now_ms;
        let now_ms = self.now_ms();
        let mut ranges = self.records_steps().then(Vec::new);
        let input = match self.intake.finish(now_ms, ranges.as_mut()) {
            Some(input) => input,
            None if self.ticks(last_ms, now_ms) => StepInput {
                now_ms,
                ..StepInput::default()
            },
            None => {
                self.now_ms = last_ms;
                return Ok(false);
            }
        };
        self.step(input, ranges)?;
        Ok(true)
    }

    pub(crate) fn set_now_ms(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    fn ticks(&self, last_ms: i64, now_ms: i64) -> bool {
        let tick_ms = self.config.tick.as_millis() as i64;
        now_ms - last_ms >= tick_ms && self.is_ticking()
    }

    fn is_ticking(&self) -> bool {
        self.flow.is_clocked() && !self.intake.is_ended()
    }

    /// Whether anybody wants to know what steps were made of.
    fn records_steps(&self) -> bool {
        self.config.recorder.is_some() || self.outlets.systems().next().is_some()
    }

    /// Runs the next step with this input. `ranges`: what it took, if that is recorded.
    pub(crate) fn step(
        &mut self,
        mut input: StepInput,
        ranges: Option<Vec<crate::record::Range>>,
    ) -> dataflow::Result<()> {
        input.step = Step(self.flow.last_step().0 + 1);
        let record = ranges
            .filter(|_| self.records_steps())
            .map(|ranges| StepRecord {
                step: input.step,
                now_ms: input.now_ms,
                ranges,
                times: input.times.clone(),
                failed: input.failures.iter().map(|(id, _)| *id).collect(),
            });
        if let (Some(recorder), Some(record)) = (&self.config.recorder, &record) {
            recorder.record(record);
        }
        self.run_step(input, record.as_ref())
    }

    /// Runs a step, and hands its record to those that commit it with its output.
    pub(crate) fn run_step(
        &mut self,
        input: StepInput,
        record: Option<&StepRecord>,
    ) -> dataflow::Result<()> {
        failpoint::pass("step.begin");
        let sources = input.deltas.iter().flat_map(|(_, deltas)| deltas);
        let rows = sources.map(dataflow::Delta::rows).sum();
        let number = input.step;
        let began = self.config.clock.elapsed();
        self.flow.step(input).map_err(dataflow::Error::from)?;
        if let Some(record) = record {
            let mut systems = self.outlets.systems().peekable();
            if systems.peek().is_some() {
                let bytes = record.encode()?;
                systems.for_each(|writer| writer.record(number, &bytes));
            }
            failpoint::pass("step.recorded");
        }
        let took = self.config.clock.elapsed().saturating_sub(began);
        let wanted = if self.intake.is_behind() {
            self.config.catch_up_step
        } else {
            self.config.live_step
        };
        self.pace.took(rows, took, wanted);
        self.shared.steps.took(took);
        self.shared.stepped(number, rows);
        self.drain_changes(rows)
    }

    /// How long to wait for something to happen before looking at the clock again.
    fn patience(&self) -> Option<Duration> {
        let tick = self.is_ticking().then_some(self.config.tick);
        let idle = self.intake.idle_at().map(|at| {
            let left = at.saturating_sub(self.config.clock.now_ms().max(self.now_ms));
            Duration::from_millis(left.max(1) as u64)
        });
        match (tick, idle) {
            (Some(tick), Some(idle)) => Some(tick.min(idle)),
            (tick, idle) => tick.or(idle),
        }
    }

    /// Writers that have failed fail their sinks.
    fn reap_writers(&mut self) {
        let failed = |(id, outlet): (NodeId, &Outlet)| match outlet {
            Outlet::View(_) => None,
            Outlet::Sink(sink) => Some((id, sink.writer.ended()?.err()?)),
        };
        let failed: Vec<_> = self.flow.outlets().filter_map(failed).collect();
        let mut errors = failed.iter().map(|(_, error)| error);
        let fenced = errors
            .find(|error| error.kind == dataflow::Kind::Fenced)
            .cloned();
        for (id, error) in failed {
            self.flow.fail(id, error);
        }
        if let Some(error) = fenced {
            self.fail_all(&error);
        }
    }

    /// When all input has ended, the sinks finish; when they have, the job has ended.
    fn see_to_the_end(&mut self) {
        if !self.intake.is_ended() || !self.flow.is_ended() || self.is_growing() {
            return;
        }
        // What becomes visible by checkpoints does so before the end is told.
        if !self.is_saved() && !self.has_checkpoint_trouble() {
            self.call_for_checkpoint();
            return;
        }
        let step = self.flow.last_step();
        let mut all_ended = true;
        for (id, outlet) in self.flow.outlets() {
            if let Outlet::Sink(sink) = outlet {
                if self.finished.insert(id) {
                    sink.finish(step);
                }
                all_ended &= sink.writer.ended().is_some();
            }
        }
        if all_ended {
            self.reap_writers();
            self.shared.set_ended(Some(self.flow.failures()));
        }
    }

    /// The step itself is broken, or another job has taken this one's place: everything stops and says so.
    fn fail_all(&mut self, error: &dataflow::Error) {
        self.failed = true;
        if error.kind == dataflow::Kind::Fenced {
            self.shared.fenced.get_or_init(|| error.clone());
        }
        let ids: Vec<NodeId> = self.flow.nodes().iter().map(|node| node.id).collect();
        for id in ids {
            self.flow.fail(id, error.clone());
            self.intake.remove_source(id);
        }
        self.shared.set_ended(Some(self.flow.failures()));
    }

    /// Ends the job: a last checkpoint, then writers write what waits.
    fn stop_on(&mut self) -> Turn {
        let now = self.config.clock.elapsed();
        match self.stopping {
            None | Some(Stopping::Asked) => {
                self.discovery.close();
                self.beside.values().for_each(Pending::cancel);
                self.stopping = Some(Stopping::Saving(now + STOP_WAIT));
                if !self.failed && self.recovery.is_none() && !self.is_saved() {
                    self.call_for_checkpoint();
                }
                Turn::Moved
            }
            Some(Stopping::Saving(until)) => {
                let needless = self.failed || self.recovery.is_some() || self.is_saved();
                if !needless && !self.has_checkpoint_trouble() && now < until {
                    return Turn::Until(until);
                }
                for (_, outlet) in self.flow.outlets() {
                    if let Outlet::Sink(sink) = outlet {
                        sink.writer.close();
                    }
                }
                self.stopping = Some(Stopping::Closing(now + STOP_WAIT));
                Turn::Moved
            }
            Some(Stopping::Closing(until)) => {
                let waits = |(_, outlet): (NodeId, &Outlet)| match outlet {
                    Outlet::Sink(sink) => sink.writer.ended().is_none(),
                    Outlet::View(_) => false,
                };
                if now < until && self.flow.outlets().any(waits) {
                    return Turn::Until(until);
                }
                self.reap_writers();
                if let Some(checkpoints) = &self.checkpoints {
                    checkpoints.checkpointer.close();
                }
                self.shared.stopped(self.flow.failures());
                Turn::Done
            }
        }
    }

    /// These partitions of a source exist.
    pub(crate) fn discovered(&mut self, id: NodeId, partitions: dataflow::Result<Vec<Partition>>) {
        let known = |feed: &&crate::feed::Feed| feed.id == id && feed.discovered;
        let feed = self.intake.feeds().iter().find(known);
        if feed.is_some_and(|feed| feed.node.source.bounded()) {
            // What a bounded source holds is what it held when it was first asked.
            self.discovery.forget(id);
            return;
        }
        let now_ms = self.now_ms();
        let outcome =
            partitions.and_then(|found| self.intake.add_partitions(id, found, now_ms, |_| None));
        match outcome {
            Ok(()) => self.refresh_meters(),
            Err(error) if error.kind == dataflow::Kind::Retryable => {
                tracing::warn!(source = id.0, %error, "the partitions cannot be listed now");
            }
            Err(error) => self.intake.fail(id, error),
        }
    }

    /// Makes what runs now visible to [`Job::progress`](crate::Job::progress).
    pub(crate) fn refresh_meters(&self) {
        let feeds = self.intake.feeds();
        let lanes = feeds.iter().flat_map(|feed| &feed.lanes);
        let sinks = self.flow.outlets().filter_map(|(_, outlet)| match outlet {
            Outlet::View(_) => None,
            Outlet::Sink(sink) => Some(Arc::clone(&sink.meter)),
        });
        let nodes = self.flow.plan().nodes.iter();
        self.shared.set_meters(Meters {
            nodes: nodes
                .map(|node| &node.meter)
                .chain(self.beside.values().map(|pending| &pending.meter))
                .map(Arc::clone)
                .collect(),
            lanes: lanes.map(|lane| Arc::clone(&lane.queue)).collect(),
            sinks: sinks.collect(),
            bad: feeds
                .iter()
                .map(|feed| (Arc::clone(&feed.table), Arc::clone(&feed.bad)))
                .collect(),
        });
    }

    /// Begins to read the sources of these nodes, with the partitions that are known.
    pub(crate) fn begin_sources(
        &mut self,
        sources: Vec<(
            NodeId,
            millstream_dataflow::graph::SourceNode,
            Option<Vec<Partition>>,
        )>,
    ) -> Result<()> {
        let now_ms = self.now_ms();
        for (id, node, partitions) in sources {
            if !node.source.bounded() || partitions.is_none() {
                self.discovery.watch(id, Arc::clone(&node.source));
            }
            self.intake.add_source(id, node);
            if let Some(partitions) = partitions {
                self.intake
                    .add_partitions(id, partitions, now_ms, |_| None)?;
            }
        }
        Ok(())
    }

    /// Nodes of dead letters end with the sources that feed them.
    pub(crate) fn watch_letters(&mut self, ids: impl Iterator<Item = NodeId>) {
        for id in ids {
            let node = self.flow.node(id).map(|node| &node.kind);
            if let Some(NodeKind::DeadLetters(_)) = node {
                self.intake.add_letters(id);
            }
        }
    }

    /// The outlet of a view, or why it cannot be read.
    pub(crate) fn view(&mut self, id: NodeId) -> Result<&mut crate::outlet::View> {
        if let Some(pending) = self.beside.get(&id) {
            let failure = pending.failure.clone();
            return Err(failure.map_or(Error::CatchingUp(id), Error::Failed));
        }
        match self.flow.outlet(id)? {
            Outlet::View(view) => Ok(view),
            Outlet::Sink(_) => Err(Error::NotAView(id)),
        }
    }

    /// Whether something still catches up.
    fn is_growing(&self) -> bool {
        self.beside
            .values()
            .any(|pending| pending.failure.is_none())
    }
}

impl Actor for Driver {
    /// If the stepping itself panics, nobody waits for an answer for ever.
    fn turn(&mut self) -> Turn {
        let own = std::thread::current().id();
        self.shared.stepper.get_or_init(|| own);
        guarded(|| Ok(self.round())).unwrap_or_else(|error| {
            tracing::error!(%error, "the job has stopped");
            let failure = Failure::new(NodeId::default(), "job", error);
            self.shared.stopped(vec![failure]);
            Turn::Done
        })
    }
}
