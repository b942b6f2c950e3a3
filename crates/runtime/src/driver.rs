//! The stepping thread: serves requests between two steps, takes what has arrived, runs the step, sees to the end.

use crate::config::Config;
use crate::discover::Discovery;
use crate::error::{Error, Result};
use crate::grow::Pending;
use crate::intake::{Gathered, Intake};
use crate::job::Shared;
use crate::outlet::Outlet;
use crate::pace::Pace;
use crate::progress::Meters;
use crate::record::StepRecord;
use crate::step::{Flow, StepInput};
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
    /// Nodes that are built beside.
    pub(crate) beside: BTreeMap<NodeId, Pending>,
    pub(crate) stopping: bool,
    pace: Pace,
    now_ms: i64,
    /// Sinks that have been told of the end.
    finished: HashSet<NodeId>,
}

impl Driver {
    pub(crate) fn new(
        config: Config,
        flow: Flow,
        intake: Intake,
        shared: Arc<Shared>,
        discovery: Arc<Discovery>,
    ) -> Self {
        Self {
            now_ms: config.clock.now_ms(),
            config,
            flow,
            intake,
            shared,
            discovery,
            beside: BTreeMap::new(),
            stopping: false,
            pace: Pace::new(),
            finished: HashSet::new(),
        }
    }

    pub(crate) fn run(mut self) {
        while !self.stopping {
            self.serve();
            self.reap_writers();
            if self.stopping {
                break;
            }
            if self.flow.is_backed_up() {
                self.shared.bell.wait(None);
                continue;
            }
            match self.turn() {
                Ok(true) => continue,
                Ok(false) => self.see_to_the_end(),
                Err(error) => self.fail_all(&error),
            }
            let patience = self.patience();
            self.shared.bell.wait(patience);
        }
        self.stop();
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
    fn turn(&mut self) -> dataflow::Result<bool> {
        let paced = if self.intake.is_ordered() {
            BOUNDED_STEP_ROWS
        } else {
            self.pace.rows()
        };
        let rows_max = self.config.step_rows_max.unwrap_or(paced).max(1);
        if self.intake.gather(rows_max) == Gathered::Waiting {
            return Ok(false);
        }
        let last_ms = self.now_ms;
        let now_ms = self.now_ms();
        let mut ranges = self.config.recorder.as_ref().map(|_| Vec::new());
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

    fn ticks(&self, last_ms: i64, now_ms: i64) -> bool {
        let tick_ms = self.config.tick.as_millis() as i64;
        now_ms - last_ms >= tick_ms && self.is_ticking()
    }

    fn is_ticking(&self) -> bool {
        self.flow.is_clocked() && !self.intake.is_ended()
    }

    /// Runs the next step with this input.
    pub(crate) fn step(
        &mut self,
        mut input: StepInput,
        ranges: Option<Vec<crate::record::Range>>,
    ) -> dataflow::Result<()> {
        input.step = Step(self.flow.last_step().0 + 1);
        if let (Some(recorder), Some(ranges)) = (&self.config.recorder, ranges) {
            recorder.record(&StepRecord {
                step: input.step,
                now_ms: input.now_ms,
                ranges,
                times: input.times.clone(),
            });
        }
        let sources = input.deltas.iter().flat_map(|(_, deltas)| deltas);
        let rows = sources.map(dataflow::Delta::rows).sum();
        let number = input.step;
        let began = self.config.clock.elapsed();
        self.flow.step(input).map_err(dataflow::Error::from)?;
        let took = self.config.clock.elapsed().saturating_sub(began);
        let wanted = if self.intake.is_behind() {
            self.config.catch_up_step
        } else {
            self.config.live_step
        };
        self.pace.took(rows, took, wanted);
        self.shared.stepped(number, rows);
        Ok(())
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
            Outlet::Sink(writer) => Some((id, writer.ended()?.err()?)),
        };
        let failed: Vec<_> = self.flow.outlets().filter_map(failed).collect();
        for (id, error) in failed {
            self.flow.fail(id, error);
        }
    }

    /// When all input has ended, the sinks finish; when they have, the job has ended.
    fn see_to_the_end(&mut self) {
        if !self.intake.is_ended() || !self.flow.is_ended() || self.is_growing() {
            return;
        }
        let step = self.flow.last_step();
        let mut all_ended = true;
        for (id, outlet) in self.flow.outlets() {
            if let Outlet::Sink(writer) = outlet {
                if self.finished.insert(id) {
                    writer.finish(step);
                }
                all_ended &= writer.ended().is_some();
            }
        }
        if all_ended {
            self.reap_writers();
            self.shared.set_ended(Some(self.flow.failures()));
        }
    }

    /// The step itself is broken: everything stops and says so.
    fn fail_all(&mut self, error: &dataflow::Error) {
        let ids: Vec<NodeId> = self.flow.nodes().iter().map(|node| node.id).collect();
        for id in ids {
            self.flow.fail(id, error.clone());
            self.intake.remove_source(id);
        }
    }

    fn stop(&mut self) {
        self.discovery.close();
        self.beside.values().for_each(Pending::cancel);
        let writers = |flow: &Flow, act: &dyn Fn(&crate::writer::Writer)| {
            for (_, outlet) in flow.outlets() {
                if let Outlet::Sink(writer) = outlet {
                    act(writer);
                }
            }
        };
        writers(&self.flow, &|writer| writer.close());
        writers(&self.flow, &|writer| writer.join(STOP_WAIT));
        self.reap_writers();
        self.shared.stopped(self.flow.failures());
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
            Outlet::Sink(writer) => Some(Arc::clone(writer.meter())),
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
