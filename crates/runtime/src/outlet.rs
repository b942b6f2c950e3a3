//! Where rows leave the graph: a view's table with those who follow it, or a sink's writer.

use crate::bell::Bell;
use crate::config::Config;
use crate::meter::SinkMeter;
use crate::target::{Single, Start, Together};
use crate::turn::Stage;
use crate::writer::{Settings, SinkOutlet, Writer};
use millstream_dataflow::graph::{Node, NodeId, NodeKind};
use millstream_dataflow::sink::Delivery;
use millstream_dataflow::{Delta, Result, Step};
use millstream_state::ViewTable;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(crate) enum Outlet {
    View(View),
    Sink(SinkOutlet),
}

/// Makes the outlets of a job's nodes. Sinks whose transactions span them share a writer.
pub(crate) struct Outlets {
    config: Config,
    stage: Stage,
    /// The job's name in the systems that it writes to, if it keeps checkpoints.
    job: Option<String>,
    /// What the sinks had prepared for the checkpoint that the job goes on from.
    prepared: Option<HashMap<NodeId, Vec<u8>>>,
    systems: BTreeMap<String, Arc<Writer>>,
}

impl Outlets {
    pub(crate) fn new(config: Config, stage: Stage, job: Option<String>) -> Self {
        Self {
            config,
            stage,
            job,
            prepared: None,
            systems: BTreeMap::new(),
        }
    }

    /// The job goes on from a checkpoint for which its sinks had prepared this.
    pub(crate) fn recover(&mut self, prepared: HashMap<NodeId, Vec<u8>>) {
        self.prepared = Some(prepared);
    }

    /// All that has been recovered is in place: sinks that come now are new.
    pub(crate) fn recovered(&mut self) {
        self.prepared = None;
    }

    /// The job's name in the systems that it writes to, if it keeps checkpoints.
    pub(crate) fn job(&self) -> Option<&str> {
        self.job.as_deref()
    }

    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The writers of systems whose transactions span sinks.
    pub(crate) fn systems(&self) -> impl Iterator<Item = &Arc<Writer>> {
        self.systems.values()
    }

    /// What a view or sink keeps its rows in. `stepper`: rung by writers.
    pub(crate) fn outlet(&mut self, node: &Node, stepper: &Arc<Bell>) -> Result<Option<Outlet>> {
        match &node.kind {
            NodeKind::View(view) => {
                let table = ViewTable::new(Arc::clone(&view.schema), view.key.clone());
                Ok(Some(Outlet::View(View::new(table))))
            }
            NodeKind::Sink(sink) => {
                let meter = Arc::new(SinkMeter::new(node.id, sink.table.as_str().into()));
                let delivery = sink.sink.delivery();
                let (target, by_checkpoint) = match (delivery, self.job.clone()) {
                    (Delivery::Transaction(system), Some(job)) => {
                        let name = system.name();
                        if let Some(writer) = self.systems.get(&name) {
                            let sink = writer.join(Arc::clone(&sink.sink), meter);
                            return Ok(Some(Outlet::Sink(sink)));
                        }
                        let target = Box::new(Together::new(system, job));
                        let settings = self.settings(node.id, false);
                        let writer =
                            Writer::start(target, settings, &self.stage, Arc::clone(stepper))?;
                        self.systems.insert(name, Arc::clone(&writer));
                        let sink = writer.join(Arc::clone(&sink.sink), meter);
                        return Ok(Some(Outlet::Sink(sink)));
                    }
                    (delivery, job) => {
                        let start = match &self.prepared {
                            Some(prepared) => Start::Recovered(prepared.get(&node.id).cloned()),
                            None => Start::Fresh,
                        };
                        let target = Single::new(Arc::clone(&sink.sink), start);
                        let by_checkpoint =
                            job.is_some() && matches!(delivery, Delivery::Checkpoint);
                        (Box::new(target), by_checkpoint)
                    }
                };
                let settings = self.settings(node.id, by_checkpoint);
                let writer = Writer::start(target, settings, &self.stage, Arc::clone(stepper))?;
                let sink = writer.join(Arc::clone(&sink.sink), meter);
                Ok(Some(Outlet::Sink(sink)))
            }
            NodeKind::Source(_) | NodeKind::Operator(_) | NodeKind::DeadLetters(_) => Ok(None),
        }
    }

    fn settings(&self, id: NodeId, by_checkpoint: bool) -> Settings {
        let config = &self.config;
        Settings {
            commit_interval: config.commit_interval,
            clock: Arc::clone(&config.clock),
            seed: config.seed.wrapping_add(u64::from(id.0)),
            rows_max: config.sink_queue_rows.max(1),
            steps_max: config.sink_queue_items.max(1),
            by_checkpoint,
        }
    }
}

/// A view's rows, and those who are told of each change. The table travels while a step applies it on a thread.
pub(crate) struct View {
    table: Option<Box<ViewTable>>,
    followers: Vec<Follower>,
}

/// Is told of the changes of each step, on the stepping thread; gives false when it wants no more.
pub type Follower = Box<dyn FnMut(Step, &[Delta]) -> bool + Send>;

impl Outlet {
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::View(_) => false,
            Self::Sink(sink) => sink.writer.is_full(),
        }
    }
}

impl View {
    pub(crate) fn new(table: ViewTable) -> Self {
        Self {
            table: Some(Box::new(table)),
            followers: Vec::new(),
        }
    }

    pub(crate) fn follow(&mut self, follower: Follower) {
        self.followers.push(follower);
    }

    pub(crate) fn tell(&mut self, step: Step, deltas: &[Delta]) {
        self.followers.retain_mut(|follower| follower(step, deltas));
    }

    pub(crate) fn table(&mut self) -> Option<&mut ViewTable> {
        self.table.as_deref_mut()
    }

    pub(crate) fn take_table(&mut self) -> Option<Box<ViewTable>> {
        self.table.take()
    }

    pub(crate) fn give_table(&mut self, table: Box<ViewTable>) {
        self.table = Some(table);
    }
}
