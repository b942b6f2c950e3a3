//! The step: a pure function from the state of all operators and a step's input to their next state and output.
//!
//! Nothing in here reads a clock, a queue or the order of threads: two flows that are given the same inputs hold the
//! same views and put out the same rows.

use crate::bell::Bell;
use crate::crew::{Crew, Task};
use crate::error::{Error, Failure, Result};
use crate::exchange::share_out;
use crate::meter::NodeMeter;
use crate::outlet::Outlet;
use crate::plan::{self, Plan};
use crate::recovery::table_id;
use crate::watermark::{self, NodeTime};
use crate::worker::{Moment, Worker};
use crate::writer::SinkOutlet;
use millstream_dataflow as dataflow;
use millstream_dataflow::graph::{Node, NodeId, NodeKind};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Operator, Step, Watermark};
use millstream_state::ViewTable;
use millstream_state::checkpoint::TableId;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// What a step is given.
#[derive(Debug, Default)]
pub(crate) struct StepInput {
    pub(crate) step: Step,
    pub(crate) now_ms: i64,
    /// The rows of sources and dead letters, each source's in the order of its partitions.
    pub(crate) deltas: Vec<(NodeId, Vec<Delta>)>,
    /// The sources whose time moved.
    pub(crate) times: Vec<(NodeId, NodeTime)>,
    /// Sources that fail in this step.
    pub(crate) failures: Vec<(NodeId, dataflow::Error)>,
}

/// A running graph without its sources.
pub(crate) struct Flow {
    plan: Arc<Plan>,
    nodes: Vec<Node>,
    /// Always all there between steps; they travel while a stage runs on threads.
    workers: Vec<Worker>,
    crew: Crew,
    times: Vec<NodeTime>,
    failures: Vec<Option<Failure>>,
    outlets: Vec<Option<Outlet>>,
    parallel_rows: usize,
    last_step: Step,
    last_now_ms: i64,
}

/// A node with all that it holds, on its way from one flow to another.
pub(crate) struct Part {
    pub(crate) node: Node,
    operators: Vec<Option<Box<dyn Operator>>>,
    outlet: Option<Outlet>,
    time: NodeTime,
    failure: Option<Failure>,
    meter: Option<Arc<NodeMeter>>,
}

impl Part {
    /// A node that has not run yet. `outlet`: what a view or sink keeps its rows in.
    pub(crate) fn build(node: Node, workers: usize, outlet: Option<Outlet>) -> Result<Self> {
        let build = |_| match &node.kind {
            NodeKind::Operator(spec) => Ok(Some(spec.build()?)),
            NodeKind::Source(_)
            | NodeKind::View(_)
            | NodeKind::Sink(_)
            | NodeKind::DeadLetters(_) => Ok(None),
        };
        let operators = (0..workers).map(build).collect::<Result<_>>()?;
        Ok(Self {
            node,
            operators,
            outlet,
            time: NodeTime::default(),
            failure: None,
            meter: None,
        })
    }
}

/// Something of a node that holds state.
pub(crate) enum Piece<'a> {
    Operator(&'a mut dyn Operator),
    View(&'a mut ViewTable),
}

impl Part {
    /// It goes on from where it was.
    pub(crate) fn restore(&mut self, time: NodeTime, failure: Option<Failure>) {
        self.time = time;
        self.failure = failure;
    }

    /// All that holds state, with the worker that it is of.
    pub(crate) fn pieces(&mut self) -> Vec<(NodeId, usize, Piece<'_>)> {
        let id = self.node.id;
        let mut pieces = Vec::new();
        for (worker, operator) in self.operators.iter_mut().enumerate() {
            if let Some(operator) = operator {
                pieces.push((id, worker, Piece::Operator(operator.as_mut())));
            }
        }
        if let Some(Outlet::View(view)) = &mut self.outlet {
            pieces.extend(view.table().map(|table| (id, 0, Piece::View(table))));
        }
        pieces
    }

    /// Another job's thread runs it from now on.
    pub(crate) fn take_over(&self, stepper: &Arc<Bell>) {
        if let Some(Outlet::Sink(sink)) = &self.outlet {
            sink.writer.hand_over(Arc::clone(stepper));
        }
        if let Some(meter) = &self.meter {
            meter.catching_up.store(false, SeqCst);
        }
    }
}

impl Flow {
    pub(crate) fn new(workers: usize, crew: Crew, parallel_rows: usize) -> Self {
        Self {
            plan: Arc::new(Plan {
                workers,
                ..Plan::default()
            }),
            nodes: Vec::new(),
            workers: (0..workers).map(Worker::new).collect(),
            crew,
            times: Vec::new(),
            failures: Vec::new(),
            outlets: Vec::new(),
            parallel_rows,
            last_step: Step(0),
            last_now_ms: i64::MIN,
        }
    }

    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn ids(&self) -> HashSet<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.plan.index.get(&id).map(|idx| &self.nodes[*idx])
    }

    pub(crate) fn outlets(&self) -> impl Iterator<Item = (NodeId, &Outlet)> {
        let both = self.nodes.iter().zip(&self.outlets);
        both.filter_map(|(node, outlet)| Some((node.id, outlet.as_ref()?)))
    }

    /// A view's or sink's outlet, unless it has failed.
    pub(crate) fn outlet(&mut self, id: NodeId) -> Result<&mut Outlet> {
        let idx = self.plan.find(id)?;
        if let Some(failure) = &self.failures[idx] {
            return Err(Error::Failed(failure.clone()));
        }
        self.outlets[idx].as_mut().ok_or(Error::NotAView(id))
    }

    pub(crate) fn failed(&self, id: NodeId) -> Option<&Failure> {
        self.failures[*self.plan.index.get(&id)?].as_ref()
    }

    /// The outlet of a running node, if it has one and has not failed.
    pub(crate) fn outlet_of(&mut self, id: NodeId) -> Option<&mut Outlet> {
        self.outlets[*self.plan.index.get(&id)?].as_mut()
    }

    /// How far event time has come at a node.
    pub(crate) fn time(&self, id: NodeId) -> NodeTime {
        let idx = self.plan.index.get(&id);
        idx.map(|idx| self.times[*idx]).unwrap_or_default()
    }

    /// Visits all tables of state. A node whose table fails, fails.
    pub(crate) fn each_table(
        &mut self,
        mut visit: impl FnMut(TableId, &mut dyn Checkpointed) -> dataflow::Result<()>,
    ) {
        let mut failed = Vec::new();
        for (number, worker) in self.workers.iter_mut().enumerate() {
            for (idx, operator) in worker.operators() {
                let id = self.nodes[idx].id;
                for table in operator.tables() {
                    if let Err(error) = visit(table_id(id, number, table), table) {
                        failed.push((id, error));
                    }
                }
            }
        }
        for (node, outlet) in self.nodes.iter().zip(&mut self.outlets) {
            if let Some(Outlet::View(view)) = outlet
                && let Some(table) = view.table()
                && let Err(error) = visit(table_id(node.id, 0, table), table)
            {
                failed.push((node.id, error));
            }
        }
        for (id, error) in failed {
            self.fail(id, error);
        }
    }

    /// Visits all sinks that have not failed.
    pub(crate) fn each_sink(&mut self, mut visit: impl FnMut(&mut SinkOutlet)) {
        for outlet in self.outlets.iter_mut().flatten() {
            if let Outlet::Sink(sink) = outlet {
                visit(sink);
            }
        }
    }

    /// Whether a sink has failed of itself.
    pub(crate) fn has_failed_sink(&self) -> bool {
        let mut both = self.nodes.iter().zip(&self.failures);
        both.any(|(node, failure)| {
            matches!(node.kind, NodeKind::Sink(_))
                && failure
                    .as_ref()
                    .is_some_and(|failure| failure.node() == node.id)
        })
    }

    /// All nodes that a node's rows can reach.
    pub(crate) fn behind(&self, id: NodeId) -> Vec<NodeId> {
        let idx = self.plan.index.get(&id);
        let reached = idx.map(|idx| self.plan.nodes[*idx].downstream.as_slice());
        let ids = reached.unwrap_or_default().iter();
        ids.map(|idx| self.nodes[*idx].id).collect()
    }

    /// The next step comes behind this one.
    pub(crate) fn skip_to(&mut self, step: Step) {
        self.last_step = self.last_step.max(step);
    }

    /// The root failures, in the order of the nodes.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let own = |(node, failure): (&Node, &Option<Failure>)| {
            failure.clone().filter(|failure| failure.node() == node.id)
        };
        self.nodes
            .iter()
            .zip(&self.failures)
            .filter_map(own)
            .collect()
    }

    /// Takes the whole flow apart, to put it together with more or fewer parts.
    pub(crate) fn take_apart(&mut self) -> Vec<Part> {
        let mut operators: Vec<_> = self
            .workers
            .iter_mut()
            .map(|worker| worker.uninstall())
            .collect();
        let plan = Arc::clone(&self.plan);
        let nodes = std::mem::take(&mut self.nodes).into_iter().enumerate();
        let parts = nodes.map(|(idx, node)| Part {
            node,
            operators: operators
                .iter_mut()
                .map(|worker| worker[idx].take())
                .collect(),
            outlet: self.outlets[idx].take(),
            time: self.times[idx],
            failure: self.failures[idx].take(),
            meter: Some(Arc::clone(&plan.nodes[idx].meter)),
        });
        parts.collect()
    }

    /// Runs these parts from now on, which must be a graph.
    pub(crate) fn put_together(&mut self, parts: Vec<Part>) {
        let meters = parts
            .iter()
            .filter_map(|part| Some((part.node.id, Arc::clone(part.meter.as_ref()?))));
        let meters = meters.collect();
        let count = parts.len();
        let mut operators: Vec<Vec<_>> = self
            .workers
            .iter()
            .map(|_| Vec::with_capacity(count))
            .collect();
        (self.nodes, self.times, self.failures, self.outlets) = Default::default();
        for part in parts {
            for (worker, operator) in operators.iter_mut().zip(part.operators) {
                worker.push(operator);
            }
            self.nodes.push(part.node);
            self.times.push(part.time);
            self.failures.push(part.failure);
            self.outlets.push(part.outlet);
        }
        self.plan = Arc::new(Plan::new(&self.nodes, self.plan.workers, &meters));
        for (worker, operators) in self.workers.iter_mut().zip(operators) {
            worker.install(operators);
            for idx in 0..count {
                worker.set_time(idx, self.times[idx].watermark);
                if self.failures[idx].is_some() {
                    worker.bury(idx);
                }
            }
        }
        self.spread_failures();
        self.move_times(0);
    }

    /// Runs one step.
    pub(crate) fn step(&mut self, input: StepInput) -> Result<()> {
        self.last_step = input.step;
        self.last_now_ms = input.now_ms;
        for (id, error) in input.failures {
            self.fail(id, error);
        }
        let mut first_moved = usize::MAX;
        for (id, time) in input.times {
            if let Some(idx) = self.plan.index.get(&id).copied() {
                self.set_time(idx, time);
                first_moved = first_moved.min(idx);
            }
        }
        if first_moved != usize::MAX {
            self.move_times(first_moved + 1);
        }
        let rows = self.feed(input.deltas);
        let moment = Moment {
            step: input.step,
            now_ms: input.now_ms,
        };
        let parallel = self.workers.len() > 1 && rows >= self.parallel_rows;
        if parallel {
            self.run_beside(moment)?;
        } else {
            self.run_here(moment);
        }
        self.bury_failed();
        self.give_out(moment.step, parallel)
    }

    fn feed(&mut self, deltas: Vec<(NodeId, Vec<Delta>)>) -> usize {
        let rows = deltas
            .iter()
            .flat_map(|(_, deltas)| deltas)
            .map(Delta::rows)
            .sum();
        for (id, deltas) in deltas {
            let Some(idx) = self.plan.index.get(&id).copied() else {
                continue;
            };
            let workers = &mut self.workers;
            if workers.len() == 1 || rows < self.parallel_rows {
                deltas
                    .into_iter()
                    .for_each(|delta| workers[0].feed(idx, delta));
            } else {
                share_out(deltas, workers.len(), |worker, delta| {
                    workers[worker].feed(idx, delta);
                });
            }
        }
        rows
    }

    /// All workers on this thread, node by node.
    fn run_here(&mut self, moment: Moment) {
        let plan = Arc::clone(&self.plan);
        for node in 0..plan.nodes.len() {
            for worker in &mut self.workers {
                worker.run(&plan, node, moment);
            }
            self.deliver();
        }
    }

    /// Each worker on a thread of its own, stage by stage.
    fn run_beside(&mut self, moment: Moment) -> Result<()> {
        for stage in 0..self.plan.stages.len() {
            let workers = std::mem::take(&mut self.workers);
            let tasks = workers
                .into_iter()
                .enumerate()
                .map(|(place, worker)| Task::Stage {
                    worker: Box::new(worker),
                    plan: Arc::clone(&self.plan),
                    stage,
                    moment,
                    place,
                });
            let mut back: Vec<(usize, Worker)> = Vec::new();
            for task in self.crew.run(tasks.collect())? {
                if let Task::Stage { worker, place, .. } = task {
                    back.push((place, *worker));
                }
            }
            back.sort_by_key(|(place, _)| *place);
            self.workers = back.into_iter().map(|(_, worker)| worker).collect();
            self.deliver();
        }
        Ok(())
    }

    /// Brings rows to the workers that they are for.
    fn deliver(&mut self) {
        for from in 0..self.workers.len() {
            let mut outbox = std::mem::take(&mut self.workers[from].outbox);
            for outbound in outbox.drain(..) {
                self.workers[outbound.to].receive(outbound);
            }
            self.workers[from].outbox = outbox;
        }
    }

    /// Views and sinks take what reached them, in the order of the workers.
    fn give_out(&mut self, step: Step, parallel: bool) -> Result<()> {
        let mut given: Vec<(usize, Vec<Delta>)> = Vec::new();
        for worker in &mut self.workers {
            for (node, delta) in worker.captured.drain(..) {
                match given.iter_mut().find(|(idx, _)| *idx == node) {
                    Some((_, deltas)) => deltas.push(delta),
                    None => given.push((node, vec![delta])),
                }
            }
        }
        given.retain(|(node, _)| self.failures[*node].is_none());
        given.sort_by_key(|(node, _)| *node);
        let mut tasks = Vec::new();
        for (node, deltas) in given {
            match &mut self.outlets[node] {
                None => {}
                Some(Outlet::Sink(sink)) => sink.write(step, deltas),
                Some(Outlet::View(view)) => {
                    view.tell(step, &deltas);
                    tasks.extend(view.take_table().map(|table| Task::View {
                        node,
                        table,
                        deltas,
                        outcome: Ok(()),
                    }));
                }
            }
        }
        if parallel {
            tasks = self.crew.run(tasks)?;
        } else {
            tasks.iter_mut().for_each(Task::run);
        }
        for task in tasks {
            if let Task::View {
                node,
                table,
                outcome,
                ..
            } = task
            {
                self.return_table(node, table, outcome);
            }
        }
        Ok(())
    }

    fn return_table(&mut self, node: usize, table: Box<ViewTable>, outcome: dataflow::Result<()>) {
        match outcome {
            Err(error) => self.fail(self.nodes[node].id, error),
            Ok(()) => {
                if let Some(Outlet::View(view)) = &mut self.outlets[node] {
                    view.give_table(table);
                }
            }
        }
    }

    /// Sets the time of a node; it never goes back. Says whether it moved.
    fn set_time(&mut self, idx: usize, time: NodeTime) -> bool {
        let before = self.times[idx];
        let time = NodeTime {
            watermark: time.watermark.max(before.watermark),
            idle: time.idle,
        };
        if time == before {
            return false;
        }
        self.times[idx] = time;
        if time.watermark != before.watermark {
            self.plan.nodes[idx].meter.set_watermark(time.watermark);
            for worker in &mut self.workers {
                worker.set_time(idx, time.watermark);
            }
        }
        true
    }

    /// The times of the nodes from `first` on that have inputs follow from these.
    fn move_times(&mut self, first: usize) {
        let plan = Arc::clone(&self.plan);
        for (idx, node) in plan.nodes.iter().enumerate().skip(first) {
            if !node.inputs.is_empty() {
                let inputs = node.inputs.iter().map(|input| self.times[*input]);
                let time = watermark::merge(inputs);
                self.set_time(idx, time);
            }
        }
    }

    /// A node fails, and all that depend on it.
    pub(crate) fn fail(&mut self, id: NodeId, error: dataflow::Error) {
        let Some(idx) = self.plan.index.get(&id).copied() else {
            return;
        };
        if self.failures[idx].is_some() {
            return;
        }
        let name = plan::name(&self.nodes[idx]);
        tracing::error!(node = id.0, name, %error, "a part of the job has failed");
        self.failures[idx] = Some(Failure::new(id, name, error));
        self.spread_failures();
    }

    /// Nodes behind a failed one fail for the same reason, and failed ones stop.
    fn spread_failures(&mut self) {
        let plan = Arc::clone(&self.plan);
        for (idx, node) in plan.nodes.iter().enumerate() {
            let inherited = node
                .inputs
                .iter()
                .find_map(|input| self.failures[*input].clone());
            if self.failures[idx].is_none() {
                self.failures[idx] = inherited;
            }
            if let Some(failure) = &self.failures[idx] {
                *node.meter.failure.lock() = Some(failure.clone());
                self.workers.iter_mut().for_each(|worker| worker.bury(idx));
                self.outlets[idx] = None;
            }
        }
    }

    /// Makes what failed on any worker in this step fail everywhere: the first node in the order of the plan is the
    /// reason, as those behind it may have failed on half of their input.
    fn bury_failed(&mut self) {
        if self.workers.iter().all(|worker| worker.failures.is_empty()) {
            return;
        }
        let mut failures: Vec<_> = self
            .workers
            .iter_mut()
            .flat_map(|worker| worker.failures.drain(..))
            .collect();
        failures.sort_by_key(|(node, _)| *node);
        for (node, error) in failures {
            self.fail(self.nodes[node].id, error);
        }
    }

    /// Whether some sink has as much to write as it may hold.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.outlets.iter().flatten().any(Outlet::is_full)
    }

    /// Whether an operator acts as the wall clock moves.
    pub(crate) fn is_clocked(&self) -> bool {
        let mut both = self.plan.nodes.iter().zip(&self.failures);
        both.any(|(node, failure)| node.clocked && failure.is_none())
    }

    pub(crate) fn last_step(&self) -> Step {
        self.last_step
    }

    /// The last step's reading of the wall clock.
    pub(crate) fn last_now_ms(&self) -> i64 {
        self.last_now_ms
    }

    /// Whether the end of the input has reached every node that has not failed.
    pub(crate) fn is_ended(&self) -> bool {
        let mut both = self.times.iter().zip(&self.failures);
        both.all(|(time, failure)| failure.is_some() || time.watermark == Watermark::MAX)
    }
}
