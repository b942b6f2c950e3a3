//! A graph that grows while it runs: an addition is checked, built beside if it needs the past, and taken over.

use crate::bell::Bell;
use crate::beside::{Beside, Tap, Tapped};
use crate::crew::Crew;
use crate::driver::Driver;
use crate::error::{Error, Failure, Result};
use crate::intake::Intake;
use crate::job::{Job, Opening, Shared, partitions, parts, settings};
use crate::meter::NodeMeter;
use crate::outlet::Outlet;
use crate::plan::{self, name};
use crate::step::{Flow, Part, StepInput};
use millstream_dataflow as dataflow;
use millstream_dataflow::graph::{DeadLettersNode, Graph, Node, NodeId, NodeKind, OnBad};
use millstream_dataflow::{Delta, Step};
use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Views up to this many rows are fed within a step of the running graph.
const SMALL_VIEW_ROWS: usize = 65_536;

/// A node that is built beside.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) meter: Arc<NodeMeter>,
    pub(crate) failure: Option<Failure>,
    /// All nodes that came with it.
    pub(crate) together: Arc<HashSet<NodeId>>,
    pub(crate) inputs: Arc<HashSet<NodeId>>,
    cancelled: Arc<AtomicBool>,
    bell: Arc<Bell>,
    pub(crate) is_outlet: bool,
}

impl Pending {
    /// Nobody wants it any more.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, SeqCst);
        self.bell.ring();
    }
}

/// An addition on its way into the running graph.
#[derive(Clone, Debug, Default)]
pub struct Extension {
    outcome: Arc<(Mutex<Option<Result<()>>>, Condvar)>,
}

impl Extension {
    /// Waits until the addition is part of the running graph.
    ///
    /// # Errors
    /// When it could not catch up, or has been removed meanwhile.
    pub fn wait(&self) -> Result<()> {
        let (outcome, changed) = &*self.outcome;
        let mut outcome = outcome.lock();
        loop {
            if let Some(outcome) = outcome.as_ref() {
                return outcome.clone();
            }
            changed.wait(&mut outcome);
        }
    }

    /// Whether it is decided.
    pub fn is_done(&self) -> bool {
        self.outcome.0.lock().is_some()
    }

    fn done(&self, outcome: Result<()>) {
        *self.outcome.0.lock() = Some(outcome);
        self.outcome.1.notify_all();
    }
}

impl Job {
    /// Adds nodes, whose inputs may be running ones. What they need of the past they get first: the rows of running
    /// views, and the rows of running sources from their start (see `beside`); the job goes on meanwhile. New sources
    /// begin at their start once the addition is in place.
    ///
    /// # Errors
    /// When the addition does not fit the graph, an input has failed or is still catching up itself. What goes wrong
    /// later is told by [`Extension::wait`] and by readers of the new views.
    pub fn extend(&self, addition: Graph) -> Result<Extension> {
        self.wait_recovered()?;
        let openings = partitions(&addition)?;
        let extension = Extension::default();
        let shared = Arc::clone(&self.shared);
        let handle = extension.clone();
        self.call(move |driver| driver.extend(&addition, openings, shared, handle))??;
        Ok(extension)
    }
}

impl Driver {
    fn extend(
        &mut self,
        addition: &Graph,
        openings: Vec<Opening>,
        shared: Arc<Shared>,
        extension: Extension,
    ) -> Result<()> {
        let inputs = self.check_addition(addition)?;
        if self.is_fed_by_small_views(&inputs)? {
            self.extend_at_once(addition, openings, &inputs)?;
            extension.done(Ok(()));
            return Ok(());
        }
        let beside = self.build_beside(addition, openings, inputs)?;
        let own: Vec<NodeId> = beside.own.iter().copied().collect();
        self.refresh_meters();
        self.shared.set_ended(None);
        let run = move || {
            let outcome = beside.run(&shared);
            let told = outcome.clone();
            // The job may have been stopped.
            let _ = shared.call(move |driver| driver.caught_up(&own, outcome.err()));
            extension.done(told);
        };
        std::thread::Builder::new()
            .name("catch-up".to_owned())
            .spawn(run)
            .map_err(|error| {
                dataflow::Error::internal(format!("no thread to catch up with: {error}"))
            })?;
        Ok(())
    }

    /// The running nodes that an addition hangs on.
    fn check_addition(&self, addition: &Graph) -> Result<HashSet<NodeId>> {
        let running = self.flow.ids();
        let own: HashSet<NodeId> = addition.nodes.iter().map(|node| node.id).collect();
        if let Some(taken) = own.iter().find(|id| self.beside.contains_key(id)) {
            return Err(Error::CatchingUp(*taken));
        }
        let edges = addition.nodes.iter().flat_map(|node| &node.inputs);
        let inputs: HashSet<NodeId> = edges
            .map(|edge| edge.from)
            .filter(|from| !own.contains(from))
            .collect();
        for input in &inputs {
            if self.beside.contains_key(input) {
                return Err(Error::CatchingUp(*input));
            }
            if let Some(failure) = self.flow.failed(*input) {
                return Err(Error::Failed(failure.clone()));
            }
            if let Some(NodeKind::Sink(sink)) = self.flow.node(*input).map(|node| &node.kind) {
                return Err(Error::Graph(format!(
                    "sink {} puts nothing out",
                    sink.table
                )));
            }
        }
        plan::check(&addition.nodes, &running)?;
        Ok(inputs)
    }

    /// Whether all the past that is needed is in views that can be fed in one step.
    fn is_fed_by_small_views(&mut self, inputs: &HashSet<NodeId>) -> Result<bool> {
        let mut rows = 0;
        for input in inputs {
            let Some(Outlet::View(view)) = self.flow.outlet_of(*input) else {
                return Ok(false);
            };
            rows += view.table().map_or(0, |table| table.rows());
        }
        Ok(rows <= SMALL_VIEW_ROWS)
    }

    /// The new nodes get the views' rows in a step of their own.
    fn extend_at_once(
        &mut self,
        addition: &Graph,
        openings: Vec<Opening>,
        inputs: &HashSet<NodeId>,
    ) -> Result<()> {
        let own: HashSet<NodeId> = addition.nodes.iter().map(|node| node.id).collect();
        let mut rows = Vec::new();
        let mut sorted: Vec<NodeId> = inputs.iter().copied().collect();
        sorted.sort_unstable();
        for id in sorted {
            if let Some(table) = self.view(id)?.table() {
                let batches = table.snapshot()?.batches()?;
                rows.push((id, batches.into_iter().map(Delta::inserts).collect()));
            }
        }
        let mut flow = self.small_flow(&sorted_nodes(addition, &self.stubs(inputs)), &own)?;
        let now_ms = self.now_ms();
        flow.step(StepInput {
            step: self.flow.last_step(),
            now_ms,
            deltas: rows,
            ..StepInput::default()
        })?;
        let mut parts = flow.take_apart();
        parts.retain(|part| own.contains(&part.node.id));
        self.take_over(parts, openings, Step(0))
    }

    /// Nodes that stand for running views.
    fn stubs(&self, inputs: &HashSet<NodeId>) -> Vec<Node> {
        let running = self.flow.nodes().iter();
        let wanted = running.filter(|node| inputs.contains(&node.id));
        wanted.map(stub).collect()
    }

    /// A flow of some nodes that is to be thrown away, but for its `own` nodes.
    fn small_flow(&mut self, nodes: &[Node], own: &HashSet<NodeId>) -> Result<Flow> {
        let workers = self.config.workers.max(1);
        let mut flow = Flow::new(workers, Crew::new(workers - 1)?, self.config.parallel_rows);
        let bell = Arc::clone(&self.shared.bell);
        flow.put_together(self.build(nodes, own, &bell)?);
        Ok(flow)
    }

    /// Builds nodes; only `own` ones keep or write rows.
    fn build(
        &mut self,
        nodes: &[Node],
        own: &HashSet<NodeId>,
        bell: &Arc<Bell>,
    ) -> Result<Vec<Part>> {
        let workers = self.config.workers.max(1);
        let mut built = Vec::with_capacity(nodes.len());
        for node in nodes {
            if own.contains(&node.id) {
                let nodes = vec![node.clone()];
                built.extend(parts(Graph { nodes }, workers, &mut self.outlets, bell)?);
            } else {
                built.push(Part::build(node.clone(), workers, None)?);
            }
        }
        Ok(built)
    }

    fn build_beside(
        &mut self,
        addition: &Graph,
        openings: Vec<Opening>,
        inputs: HashSet<NodeId>,
    ) -> Result<Box<Beside>> {
        let own: HashSet<NodeId> = addition.nodes.iter().map(|node| node.id).collect();
        let upstream = self.upstream(&inputs);
        let copies: Vec<Node> = self
            .flow
            .nodes()
            .iter()
            .filter(|node| upstream.contains(&node.id))
            .map(|node| {
                if is_view(node) {
                    stub(node)
                } else {
                    node.clone()
                }
            })
            .collect();
        let bell = Arc::new(Bell::default());
        let workers = self.config.workers.max(1);
        let mut flow = Flow::new(workers, Crew::new(workers - 1)?, self.config.parallel_rows);
        flow.put_together(self.build(&sorted_nodes(addition, &copies), &own, &bell)?);
        let mut intake = Intake::beside(settings(&self.config, self.outlets.stage(), &bell));
        let now_ms = self.now_ms();
        let mut taps = Vec::new();
        for node in self.flow.nodes().to_vec() {
            match &node.kind {
                _ if !upstream.contains(&node.id) => {}
                NodeKind::Source(source) => {
                    intake.add_source(node.id, source.clone());
                    for (id, lanes) in self.standing(&[node.id]) {
                        let goal = |partition: &dataflow::source::Partition| {
                            let found = lanes.iter().find(|l| l.partition.name == partition.name);
                            found.map(|lane| lane.position)
                        };
                        let partitions = lanes.iter().map(|lane| lane.partition.clone()).collect();
                        intake.add_partitions(id, partitions, now_ms, goal)?;
                    }
                }
                NodeKind::View(_) => taps.push(self.tap(node.id, &bell)?),
                NodeKind::Operator(_) | NodeKind::Sink(_) | NodeKind::DeadLetters(_) => {}
            }
        }
        let beside = Box::new(Beside {
            flow,
            intake,
            own,
            inputs,
            taps,
            openings,
            bell,
            cancelled: Arc::default(),
            clock: Arc::clone(&self.config.clock),
        });
        self.announce(&beside);
        Ok(beside)
    }

    /// The nodes that some nodes get their rows from, themselves among them, up to views.
    fn upstream(&self, inputs: &HashSet<NodeId>) -> HashSet<NodeId> {
        let mut reached = inputs.clone();
        for node in self.flow.nodes().iter().rev() {
            if reached.contains(&node.id) && !is_view(node) {
                reached.extend(node.inputs.iter().map(|edge| edge.from));
            }
        }
        let letters = |node: &Node| match &node.kind {
            NodeKind::Source(source) => match source.on_bad {
                OnBad::DeadLetter(letters) => reached.contains(&letters),
                OnBad::Fail | OnBad::Skip => false,
            },
            NodeKind::Operator(_)
            | NodeKind::View(_)
            | NodeKind::Sink(_)
            | NodeKind::DeadLetters(_) => false,
        };
        let sources = self.flow.nodes().iter().filter(|node| letters(node));
        let sources: Vec<NodeId> = sources.map(|node| node.id).collect();
        reached.extend(sources);
        reached
    }

    /// Begins to follow a running view.
    fn tap(&mut self, id: NodeId, bell: &Arc<Bell>) -> Result<Tapped> {
        let time = self.flow.time(id);
        let view = self.view(id)?;
        let rows = view.table().map(|table| table.snapshot()).transpose()?;
        let changes = Arc::new(Tap::default());
        let (tap, bell) = (Arc::downgrade(&changes), Arc::clone(bell));
        view.follow(Box::new(move |_, deltas| {
            let Some(tap) = tap.upgrade() else {
                return false;
            };
            tap.push(deltas);
            bell.ring();
            true
        }));
        Ok(Tapped {
            id,
            time,
            rows,
            changes,
        })
    }

    fn announce(&mut self, beside: &Beside) {
        let together = Arc::new(beside.own.clone());
        let inputs = Arc::new(beside.inputs.clone());
        for node in &beside.flow.plan().nodes {
            if together.contains(&node.id) {
                node.meter.catching_up.store(true, SeqCst);
                let pending = Pending {
                    meter: Arc::clone(&node.meter),
                    failure: None,
                    together: Arc::clone(&together),
                    inputs: Arc::clone(&inputs),
                    cancelled: Arc::clone(&beside.cancelled),
                    bell: Arc::clone(&beside.bell),
                    is_outlet: node.outlet,
                };
                self.beside.insert(node.id, pending);
            }
        }
    }

    /// An addition has moved over, or never will.
    fn caught_up(&mut self, own: &[NodeId], error: Option<Error>) {
        if let Some(error) = error {
            let error = dataflow::Error::from(error);
            for id in own {
                if let Some(pending) = self.beside.get_mut(id) {
                    let failure = Failure::new(*id, pending.meter.name.to_string(), error.clone());
                    *pending.meter.failure.lock() = Some(failure.clone());
                    pending.failure = Some(failure);
                }
            }
        }
        self.refresh_meters();
    }

    /// Makes these nodes part of the graph. `step`: the last one that they have seen.
    pub(crate) fn take_over(
        &mut self,
        parts: Vec<Part>,
        openings: Vec<Opening>,
        step: Step,
    ) -> Result<()> {
        let mut all = self.flow.take_apart();
        for part in &parts {
            part.take_over(&self.shared.bell);
        }
        let ids: Vec<NodeId> = parts.iter().map(|part| part.node.id).collect();
        all.extend(parts);
        self.flow.put_together(all);
        self.watch_letters(ids.into_iter());
        self.flow.skip_to(step);
        self.begin_sources(openings)?;
        self.refresh_meters();
        self.shared.set_ended(None);
        let now_ms = self.now_ms();
        let told = StepInput {
            now_ms,
            ..StepInput::default()
        };
        Ok(self.step(told, Some(Vec::new()))?)
    }
}

fn is_view(node: &Node) -> bool {
    matches!(node.kind, NodeKind::View(_))
}

/// Stands for a running view: gives what it is fed.
fn stub(view: &Node) -> Node {
    Node {
        id: view.id,
        inputs: Vec::new(),
        kind: NodeKind::DeadLetters(DeadLettersNode { table: name(view) }),
    }
}

fn sorted_nodes(addition: &Graph, before: &[Node]) -> Vec<Node> {
    before.iter().chain(&addition.nodes).cloned().collect()
}
