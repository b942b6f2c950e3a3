//! A running graph: started, read, watched, grown and stopped from any thread.

use crate::bell::Bell;
use crate::config::Config;
use crate::crew::Crew;
use crate::discover::Discovery;
use crate::driver::{Command, Driver};
use crate::error::{Error, Failure, Result, guarded};
use crate::intake::{Intake, Settings};
use crate::outlet::{Follower, Outlet, View};
use crate::plan;
use crate::progress::{Meters, Progress, Rate};
use crate::snapshot::{Snapshot, Subscription, ViewRequest, ViewRows};
use crate::step::{Flow, Part};
use crate::writer::{Writer, Writing};
use arrow::array::RecordBatch;
use millstream_dataflow as dataflow;
use millstream_dataflow::graph::{Graph, Node, NodeId, NodeKind, SourceNode};
use millstream_dataflow::source::Partition;
use millstream_dataflow::{Kind, Step};
use millstream_state::ViewTable;
use parking_lot::{Condvar, Mutex};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{TrySendError, sync_channel};
use std::thread::JoinHandle;

/// One graph that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Job {
    pub(crate) shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
    meters: Mutex<Meters>,
    ended: Mutex<Option<Vec<Failure>>>,
    ended_changed: Condvar,
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
        plan::check(&graph.nodes, &HashSet::new())?;
        let workers = config.workers.max(1);
        let bell = Arc::new(Bell::default());
        let crew = Crew::new(workers - 1)?;
        let mut flow = Flow::new(workers, crew, config.parallel_rows);
        let partitions = partitions(&graph)?;
        let ids: Vec<NodeId> = graph.nodes.iter().map(|node| node.id).collect();
        let parts = parts(graph, &config, &bell)?;
        flow.put_together(parts);
        let intake = Intake::new(settings(&config, &bell));
        let shared = Arc::new(Shared {
            commands: Mutex::default(),
            waiting: AtomicBool::new(false),
            bell,
            is_stopped: AtomicBool::new(false),
            step: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            rate: Rate::default(),
            meters: Mutex::default(),
            ended: Mutex::new(None),
            ended_changed: Condvar::new(),
            config: config.clone(),
        });
        let discovery = Arc::new(Discovery::default());
        let mut driver = Driver::new(
            config,
            flow,
            intake,
            Arc::clone(&shared),
            Arc::clone(&discovery),
        );
        driver.watch_letters(ids.into_iter());
        driver.begin_sources(partitions)?;
        driver.refresh_meters();
        spawn_discovery(&shared, discovery)?;
        let thread = std::thread::Builder::new()
            .name("stepper".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || step_until_stopped(driver, &shared)
            })
            .map_err(|error| no_thread(&error))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
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

    /// Stops: no more steps, what waits for sinks is written and committed. Waits for that. Views cannot be read any more.
    pub fn stop(&self) {
        let sent = self.shared.send(Box::new(|driver| driver.stopping = true));
        let thread = self.thread.lock().take();
        let own = std::thread::current().id();
        // The last handle may be dropped by a reply that runs on the stepping thread itself.
        let other = |thread: &JoinHandle<()>| thread.thread().id() != own;
        if let Some(thread) = thread.filter(|thread| sent.is_ok() && other(thread)) {
            // A panic of the stepping thread has been told in its own words already.
            let _ = thread.join();
        }
    }

    /// How the job is doing. Does not wait for a step.
    pub fn progress(&self) -> Progress {
        let shared = &self.shared;
        let rows = shared.rows.load(SeqCst);
        let rate = shared.rate.look(shared.config.clock.elapsed(), rows);
        let ended = shared.ended.lock().is_some();
        let step = Step(shared.step.load(SeqCst));
        shared.meters.lock().read(step, rows, rate, ended)
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

/// Runs the job. If the stepping itself panics, nobody waits for an answer for ever.
fn step_until_stopped(driver: Driver, shared: &Shared) {
    let run = || {
        driver.run();
        Ok(())
    };
    if let Err(error) = guarded(run) {
        tracing::error!(%error, "the job has stopped");
        shared.stopped(vec![Failure::new(NodeId::default(), "job", error)]);
    }
}

fn no_thread(error: &std::io::Error) -> Error {
    dataflow::Error::internal(format!("no thread to step with: {error}")).into()
}

fn spawn_discovery(shared: &Arc<Shared>, discovery: Arc<Discovery>) -> Result<()> {
    let interval = shared.config.discover_interval;
    let shared = Arc::downgrade(shared);
    let tell = move |id, found| {
        let Some(shared) = shared.upgrade() else {
            return false;
        };
        let told = shared.send(Box::new(move |driver: &mut Driver| {
            driver.discovered(id, found)
        }));
        told.is_ok()
    };
    std::thread::Builder::new()
        .name("discovery".to_owned())
        .spawn(move || discovery.run(interval, tell))
        .map_err(|error| no_thread(&error))?;
    Ok(())
}

pub(crate) fn settings(config: &Config, stepper: &Arc<Bell>) -> Settings {
    Settings {
        poll_rows: config.poll_rows.max(1),
        queue_rows: config.queue_rows,
        queue_items: config.queue_items,
        step_rows_max: config.step_rows_max,
        threads_max: config.reader_threads_max,
        seed: config.seed,
        clock: Arc::clone(&config.clock),
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
pub(crate) fn parts(graph: Graph, config: &Config, bell: &Arc<Bell>) -> Result<Vec<Part>> {
    let build = |node: Node| {
        let outlet = match &node.kind {
            NodeKind::View(view) => {
                let table = ViewTable::new(Arc::clone(&view.schema), view.key.clone());
                Some(Outlet::View(View::new(table)))
            }
            NodeKind::Sink(sink) => {
                let writing = Writing {
                    sink: Arc::clone(&sink.sink),
                    commit_interval: config.commit_interval,
                    clock: Arc::clone(&config.clock),
                    seed: config.seed.wrapping_add(u64::from(node.id.0)),
                    rows_max: config.sink_queue_rows.max(1),
                    steps_max: config.sink_queue_items.max(1),
                };
                let meter = crate::meter::SinkMeter::new(node.id, sink.table.as_str().into());
                Some(Outlet::Sink(Writer::start(
                    writing,
                    Arc::new(meter),
                    Arc::clone(bell),
                )?))
            }
            NodeKind::Source(_) | NodeKind::Operator(_) | NodeKind::DeadLetters(_) => None,
        };
        Part::build(node, config.workers.max(1), outlet)
    };
    graph.nodes.into_iter().map(build).collect()
}
