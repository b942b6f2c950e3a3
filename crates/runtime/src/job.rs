//! A running graph: started, read, watched, grown and stopped from any thread.

use crate::bell::Bell;
use crate::checkpoint::{CheckpointProgress, Checkpoints};
use crate::checkpointer::Checkpointer;
use crate::config::Config;
use crate::crew::Crew;
use crate::discover::Discovery;
use crate::driver::{Command, Driver, Parts, Stopping};
use crate::error::{Error, Failure, Result, guarded};
use crate::intake::{Intake, Settings};
use crate::meter::StepMeter;
use crate::outlet::{Follower, Outlets};
use crate::plan;
use crate::progress::{Meters, Overall, Progress, Rate};
use crate::recovery::{self, Durability, Recovery};
use crate::saved::About;
use crate::snapshot::{Snapshot, Subscription, ViewRequest, ViewRows};
use crate::step::{Flow, Part};
use crate::turn::{Actor, Stage, Turn};
use arrow::array::RecordBatch;
use millstream_dataflow as dataflow;
use millstream_dataflow::graph::{Graph, NodeId, NodeKind, SourceNode};
use millstream_dataflow::source::Partition;
use millstream_dataflow::{Kind, Step};
use millstream_state::checkpoint::{Manifest, Saved, Store};
use parking_lot::{Condvar, Mutex};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{TrySendError, sync_channel};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::ThreadId;
use std::time::Duration;

/// One graph that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Job {
    pub(crate) shared: Arc<Shared>,
    stage: Stage,
}

/// What the job's threads and its owner share.
pub(crate) struct Shared {
    commands: Mutex<VecDeque<Command>>,
    waiting: AtomicBool,
    pub(crate) bell: Arc<Bell>,
    pub(crate) is_stopped: AtomicBool,
    step: AtomicU64,
    rows: AtomicU64,
    rate: Rate,
    pub(crate) steps: StepMeter,
    meters: Mutex<Meters>,
    ended: Mutex<Option<Vec<Failure>>>,
    ended_changed: Condvar,
    pub(crate) stepper: OnceLock<ThreadId>,
    pub(crate) fenced: OnceLock<dataflow::Error>,
    /// Whether there is nothing to recover any more.
    is_recovered: AtomicBool,
    checkpoint: Mutex<CheckpointProgress>,
    config: Config,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Starts to run a graph.
    ///
    /// # Errors
    /// When the graph is not one, an operator cannot be built, or a source has nothing to read. An outside that does not
    /// answer is waited for instead.
    pub fn start(graph: Graph, config: Config) -> Result<Self> {
        let (driver, shared) = assemble(graph, config, &Stage::Threads, None)?;
        Self::run(driver, shared, Stage::Threads)
    }

    /// Starts to run a graph that keeps checkpoints, from the one that is given if there is one: the graph must be the one
    /// that was saved, and is run with as many workers as then. No view shows anything older than what was saved.
    ///
    /// # Errors
    /// As of [`Job::start`]; when the graph is another one; `BadData` when the checkpoint is damaged: then the store is given
    /// back, to look for the one before.
    pub fn recover(
        graph: Graph,
        config: Config,
        durability: Durability,
    ) -> std::result::Result<Self, Unrecovered> {
        Self::recover_on(graph, config, durability, Stage::Threads)
    }

    pub(crate) fn recover_on(
        graph: Graph,
        config: Config,
        durability: Durability,
        stage: Stage,
    ) -> std::result::Result<Self, Unrecovered> {
        let unrecovered = |error: Error, store: Option<Store>| Unrecovered {
            error: Box::new(error),
            store: store.map(Box::new),
        };
        let mut durability = durability;
        let manifest = durability.manifest.take();
        let from = manifest.map(|manifest| {
            let about = About::read(&manifest.about)?;
            Ok(From { manifest, about })
        });
        let from = match from.transpose() {
            Ok(from) => from,
            Err(error) => {
                let error: dataflow::Error = error;
                return Err(unrecovered(error.into(), Some(durability.store)));
            }
        };
        let keeping = Keeping {
            durability: &durability,
            from,
        };
        let assembled = assemble(graph, config, &stage, Some(&keeping));
        let (mut driver, shared, saved) = match assembled {
            Ok((driver, shared)) => {
                let saved = driver.flow.last_step();
                (driver, shared, saved)
            }
            Err(error) => return Err(unrecovered(error, Some(durability.store))),
        };
        let started = Checkpointer::start(
            durability.store,
            &stage,
            Arc::clone(&driver.config.clock),
            driver.config.seed,
            Arc::clone(&shared.bell),
        );
        let checkpointer = started.map_err(|error| unrecovered(error.into(), None))?;
        let saved = (saved > Step(0)).then_some(saved);
        driver.checkpoints = Some(Checkpoints::new(
            checkpointer,
            driver.outlets.job().unwrap_or_default().to_owned(),
            durability.catalog,
            durability.interval,
            saved,
        ));
        Self::run(driver, shared, stage).map_err(|error| unrecovered(error, None))
    }

    fn run(driver: Driver, shared: Arc<Shared>, stage: Stage) -> Result<Self> {
        spawn_discovery(&shared, &driver.discovery, &stage)?;
        let bell = Arc::clone(&shared.bell);
        let clock = Arc::clone(&driver.config.clock);
        stage.start("stepper", bell, clock, Box::new(driver))?;
        Ok(Self { shared, stage })
    }

    /// Says what the job is made from from now on, and waits until a checkpoint holds that and all that happened before.
    /// Without checkpoints there is nothing to wait for.
    ///
    /// # Errors
    /// When no checkpoint could be made.
    pub fn save(&self, catalog: serde_json::Value) -> Result<()> {
        let (answer_in, answer) = sync_channel(1);
        self.shared.send(Box::new(move |driver| {
            if let Some(checkpoints) = &mut driver.checkpoints {
                checkpoints.catalog = catalog;
            }
            driver.want_checkpoint(Box::new(move |outcome| {
                // Who asked may have gone.
                let _ = answer_in.send(outcome);
            }));
        }))?;
        let outcome = answer.recv().map_err(|_| Error::Stopped)?;
        Ok(outcome.map(drop)?)
    }

    /// Waits until all input has ended, everything has fired and all sinks have finished, or the job has been stopped.
    /// Gives the failures, first the nodes that come first; none: all is well.
    pub fn wait_end(&self) -> Vec<Failure> {
        let mut ended = self.shared.ended.lock();
        loop {
            if let Some(failures) = ended.as_ref() {
                return failures.clone();
            }
            self.shared.ended_changed.wait(&mut ended);
        }
    }

    /// Stops: no more steps, a last checkpoint is made, what waits for sinks is written and committed. Waits for that. Views
    /// cannot be read any more.
    pub fn stop(&self) {
        let sent = self
            .shared
            .send(Box::new(|driver| driver.stopping = Some(Stopping::Asked)));
        // The last handle may be dropped by a reply that runs on the stepping thread itself.
        let own = self.shared.stepper.get() == Some(&std::thread::current().id());
        if sent.is_ok() && !own && matches!(self.stage, Stage::Threads) {
            let mut ended = self.shared.ended.lock();
            while !self.shared.is_stopped.load(SeqCst) {
                self.shared.ended_changed.wait(&mut ended);
            }
        }
    }

    /// Waits until the job stands where the one before it stood.
    ///
    /// # Errors
    /// When it never will.
    pub fn wait_recovered(&self) -> Result<()> {
        let shared = &self.shared;
        let mut ended = shared.ended.lock();
        while !shared.is_recovered.load(SeqCst) {
            let failure = ended.as_ref().and_then(|failures| failures.first());
            if let Some(failure) = failure {
                return Err(Error::Failed(failure.clone()));
            }
            if shared.is_stopped.load(SeqCst) {
                return Err(Error::Stopped);
            }
            shared.ended_changed.wait(&mut ended);
        }
        Ok(())
    }

    /// Why the job has stopped for good: another one has taken its place.
    pub fn fenced(&self) -> Option<&dataflow::Error> {
        self.shared.fenced.get()
    }

    /// How the job is doing. Does not wait for a step.
    pub fn progress(&self) -> Progress {
        let shared = &self.shared;
        let (clock, rows) = (&shared.config.clock, shared.rows.load(SeqCst));
        let overall = Overall {
            step: Step(shared.step.load(SeqCst)),
            rows,
            rows_per_second: shared.rate.look(clock.elapsed(), rows),
            step_times: shared.steps.read(),
            ended: shared.ended.lock().is_some(),
            checkpoint: *shared.checkpoint.lock(),
            now_ms: clock.now_ms(),
        };
        shared.meters.lock().read(overall)
    }

    /// Reads views, all at the same finished step. Later calls never see an earlier step.
    pub fn snapshot(
        &self,
        requests: Vec<ViewRequest>,
    ) -> Result<(Step, Vec<Result<Vec<RecordBatch>>>)> {
        let snapshot = self.call(move |driver| driver.read(&requests))?;
        let batches = |view: Result<ViewRows>| view.and_then(|rows| rows.batches());
        let views = snapshot.views.into_iter().map(batches).collect();
        Ok((snapshot.step, views))
    }

    /// Reads views without waiting: `reply` is called on the stepping thread between two steps, and should only pass its
    /// argument on. It is dropped unused when the job stops.
    pub fn snapshot_then(
        &self,
        requests: Vec<ViewRequest>,
        reply: impl FnOnce(Snapshot) + Send + 'static,
    ) -> Result<()> {
        self.shared
            .send(Box::new(move |driver| reply(driver.read(&requests))))
    }

    /// The rows of a view and its changes from then on. A reader that lets more than `steps_max` steps wait loses the
    /// subscription.
    pub fn subscribe(&self, node: NodeId, steps_max: usize) -> Result<Subscription> {
        let (changes_in, changes) = sync_channel(steps_max.max(1));
        let lagged = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&lagged);
        let follower: Follower =
            Box::new(
                move |step, deltas| match changes_in.try_send((step, deltas.to_vec())) {
                    Ok(()) => true,
                    Err(TrySendError::Full(_)) => {
                        lost.store(true, SeqCst);
                        false
                    }
                    Err(TrySendError::Disconnected(_)) => false,
                },
            );
        let (step, rows) = self.follow(node, follower)?;
        Ok(Subscription::new(step, rows, changes, lagged))
    }

    /// The rows of a view, and a call of `follower` on the stepping thread for each later step that changes it, until it
    /// gives false. It must not wait.
    pub fn follow(&self, node: NodeId, follower: Follower) -> Result<(Step, ViewRows)> {
        self.call(move |driver| {
            let request = ViewRequest { node, lookup: None };
            let rows = driver.read_one(&request)?;
            driver.view(node)?.follow(follower);
            Ok((driver.flow.last_step(), rows))
        })?
    }

    /// Runs something on the stepping thread between two steps.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Result<T> {
        self.shared.call(act)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn new(config: &Config, bell: Arc<Bell>, step: Step, is_recovered: bool) -> Self {
        Self {
            commands: Mutex::default(),
            waiting: AtomicBool::new(false),
            bell,
            is_stopped: AtomicBool::new(false),
            step: AtomicU64::new(step.0),
            rows: AtomicU64::new(0),
            rate: Rate::default(),
            steps: StepMeter::default(),
            meters: Mutex::default(),
            ended: Mutex::new(None),
            ended_changed: Condvar::new(),
            stepper: OnceLock::new(),
            fenced: OnceLock::new(),
            is_recovered: AtomicBool::new(is_recovered),
            checkpoint: Mutex::default(),
            config: config.clone(),
        }
    }

    pub(crate) fn send(&self, command: Command) -> Result<()> {
        let mut commands = self.commands.lock();
        if self.is_stopped.load(SeqCst) {
            return Err(Error::Stopped);
        }
        commands.push_back(command);
        self.waiting.store(true, SeqCst);
        drop(commands);
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer_in, answer) = sync_channel(1);
        self.send(Box::new(move |driver| {
            // Who asked may have gone.
            let _ = answer_in.send(act(driver));
        }))?;
        answer.recv().map_err(|_| Error::Stopped)
    }

    pub(crate) fn next_command(&self) -> Option<Command> {
        if !self.waiting.load(SeqCst) {
            return None;
        }
        let mut commands = self.commands.lock();
        let next = commands.pop_front();
        self.waiting.store(!commands.is_empty(), SeqCst);
        next
    }

    pub(crate) fn stepped(&self, step: Step, rows: usize) {
        self.step.store(step.0, SeqCst);
        self.rows.fetch_add(rows as u64, SeqCst);
    }

    pub(crate) fn recovered(&self) {
        let ended = self.ended.lock();
        self.is_recovered.store(true, SeqCst);
        drop(ended);
        self.ended_changed.notify_all();
    }

    /// Steps waited for a checkpoint.
    pub(crate) fn paused(&self, pause: Duration) {
        let mut checkpoint = self.checkpoint.lock();
        checkpoint.pause_max = checkpoint.pause_max.max(pause);
    }

    /// A checkpoint is complete.
    pub(crate) fn saved(&self, step: Step, saved: &Saved) {
        let mut checkpoint = self.checkpoint.lock();
        checkpoint.sequence = saved.sequence;
        checkpoint.step = step;
        checkpoint.bytes = saved.bytes;
        checkpoint.took = saved.took;
    }

    pub(crate) fn set_meters(&self, meters: Meters) {
        *self.meters.lock() = meters;
    }

    pub(crate) fn set_ended(&self, ended: Option<Vec<Failure>>) {
        *self.ended.lock() = ended;
        self.ended_changed.notify_all();
    }

    pub(crate) fn stopped(&self, failures: Vec<Failure>) {
        let mut commands = self.commands.lock();
        self.is_stopped.store(true, SeqCst);
        let unanswered = std::mem::take(&mut *commands);
        drop(commands);
        drop(unanswered);
        let mut ended = self.ended.lock();
        ended.get_or_insert(failures);
        self.ended_changed.notify_all();
    }
}

/// What a job keeps, and goes on from.
struct Keeping<'a> {
    durability: &'a Durability,
    from: Option<From>,
}

/// The checkpoint that a job goes on from.
struct From {
    manifest: Manifest,
    about: About,
}

/// Why a job could not be started from its state.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct Unrecovered {
    /// The reason.
    pub error: Box<Error>,
    /// The store, to look for another checkpoint.
    pub store: Option<Box<Store>>,
}

impl std::fmt::Debug for Unrecovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unrecovered")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// Puts a job together: all that can be known before it runs.
fn assemble(
    graph: Graph,
    mut config: Config,
    stage: &Stage,
    keeping: Option<&Keeping<'_>>,
) -> Result<(Driver, Arc<Shared>)> {
    plan::check(&graph.nodes, &HashSet::new())?;
    let began = config.clock.elapsed();
    let from = keeping.and_then(|keeping| keeping.from.as_ref());
    if let Some(from) = from {
        from.about.check(&graph.nodes)?;
        config.workers = from.about.workers;
    }
    let bell = Arc::new(Bell::default());
    let openings = if from.is_none() {
        partitions(&graph)?
    } else {
        Vec::new()
    };
    let ids: Vec<NodeId> = graph.nodes.iter().map(|node| node.id).collect();
    let (flow, outlets) = built(graph, &config, stage, keeping, &bell)?;
    let intake = Intake::new(settings(&config, stage, &bell));
    let shared = Arc::new(Shared::new(
        &config,
        bell,
        flow.last_step(),
        keeping.is_none(),
    ));
    let mut driver = Driver::new(Parts {
        config,
        flow,
        intake,
        shared: Arc::clone(&shared),
        discovery: Arc::default(),
        outlets,
    });
    driver.watch_letters(ids.into_iter());
    if keeping.is_some() {
        let opening = driver.outlets.systems().cloned().collect();
        let saved = from.map(|from| from.about.clone());
        if let Some(saved) = &saved {
            driver.set_now_ms(saved.now_ms);
        }
        driver.recovery = Some(Recovery::new(saved, opening, began));
    }
    driver.begin_sources(openings)?;
    driver.refresh_meters();
    Ok((driver, shared))
}

/// The nodes with the state that they go on with.
fn built(
    graph: Graph,
    config: &Config,
    stage: &Stage,
    keeping: Option<&Keeping<'_>>,
    bell: &Arc<Bell>,
) -> Result<(Flow, Outlets)> {
    let from = keeping.and_then(|keeping| keeping.from.as_ref());
    let job = match (keeping, from) {
        (_, Some(from)) => Some(from.about.job.clone()),
        (Some(keeping), None) => Some(keeping.durability.job.clone()),
        (None, None) => None,
    };
    let workers = config.workers.max(1);
    let mut flow = Flow::new(workers, Crew::new(workers - 1)?, config.parallel_rows);
    let mut outlets = Outlets::new(config.clone(), stage.clone(), job);
    if let Some(from) = from {
        let prepared = from.about.sinks.iter();
        outlets.recover(
            prepared
                .map(|sink| (NodeId(sink.node), sink.prepared.clone()))
                .collect(),
        );
    }
    let mut parts = parts(graph, workers, &mut outlets, bell)?;
    outlets.recovered();
    if let (Some(keeping), Some(from)) = (keeping, from) {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let store = &keeping.durability.store;
        recovery::restore(&mut parts, store, &from.manifest, &from.about, threads)?;
        flow.skip_to(Step(from.about.step));
    }
    flow.put_together(parts);
    if keeping.is_some() && from.is_none() {
        flow.each_table(|_, table| table.track());
    }
    Ok((flow, outlets))
}

/// Asks sources for their partitions while the job runs.
struct Discovering {
    discovery: Arc<Discovery>,
    shared: Weak<Shared>,
    interval: Duration,
    next: Duration,
}

impl Actor for Discovering {
    fn turn(&mut self) -> Turn {
        let Some(shared) = self.shared.upgrade() else {
            return Turn::Done;
        };
        if self.discovery.is_closed() || shared.is_stopped.load(SeqCst) {
            return Turn::Done;
        }
        let now = shared.config.clock.elapsed();
        if now < self.next {
            return Turn::Until(self.next);
        }
        self.next = now + self.interval;
        for (id, source) in self.discovery.sources() {
            if self.discovery.is_closed() {
                return Turn::Done;
            }
            let found = guarded(|| source.partitions());
            let told = shared.send(Box::new(move |driver: &mut Driver| {
                driver.discovered(id, found);
            }));
            if told.is_err() {
                return Turn::Done;
            }
        }
        Turn::Until(self.next)
    }
}

fn spawn_discovery(shared: &Arc<Shared>, discovery: &Arc<Discovery>, stage: &Stage) -> Result<()> {
    let interval = shared.config.discover_interval;
    let clock = Arc::clone(&shared.config.clock);
    let discovering = Discovering {
        discovery: Arc::clone(discovery),
        shared: Arc::downgrade(shared),
        interval,
        next: clock.elapsed() + interval,
    };
    let bell = Arc::clone(discovery.bell());
    Ok(stage.start("discovery", bell, clock, Box::new(discovering))?)
}

pub(crate) fn settings(config: &Config, stage: &Stage, stepper: &Arc<Bell>) -> Settings {
    Settings {
        poll_rows: config.poll_rows.max(1),
        queue_rows: config.queue_rows,
        queue_items: config.queue_items,
        step_rows_max: config.step_rows_max,
        threads_max: config.reader_threads_max,
        seed: config.seed,
        clock: Arc::clone(&config.clock),
        stage: stage.clone(),
        stepper: Arc::clone(stepper),
    }
}

/// A source that is to be read, with its partitions if they could be listed.
pub(crate) type Opening = (NodeId, SourceNode, Option<Vec<Partition>>);

/// The partitions of a graph's sources; `None` when the outside does not answer now.
pub(crate) fn partitions(graph: &Graph) -> Result<Vec<Opening>> {
    let mut found = Vec::new();
    for node in &graph.nodes {
        let NodeKind::Source(source) = &node.kind else {
            continue;
        };
        let listed = match guarded(|| source.source.partitions()) {
            Ok(partitions) => Some(partitions),
            Err(error) if error.kind == Kind::Retryable => None,
            Err(error) => return Err(error.context(format!("table {}", source.table)).into()),
        };
        found.push((node.id, source.clone(), listed));
    }
    Ok(found)
}

/// The nodes of a graph, ready to run.
pub(crate) fn parts(
    graph: Graph,
    workers: usize,
    outlets: &mut Outlets,
    bell: &Arc<Bell>,
) -> Result<Vec<Part>> {
    let mut parts = Vec::with_capacity(graph.nodes.len());
    for node in graph.nodes {
        let outlet = outlets.outlet(&node, bell)?;
        parts.push(Part::build(node, workers, outlet)?);
    }
    Ok(parts)
}
