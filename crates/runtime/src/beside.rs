//! A new part that is built beside the running graph until it stands where the graph stands.
//!
//! ```text
//!  running graph   source ──> filter ──> view a ──> ...        steps go on
//!                    │          │          │ snapshot, then its changes
//!  beside        source'──> filter'──┐     v
//!                (read again          ├──> new nodes            catch up in rounds, each up to where the
//!                 from the start)     a'──^                     running graph stood when the round began
//! ```
//!
//! Sources and operators that the new part shares with the running graph are run a second time, from the sources' start;
//! running views are cut points, as they hold what they have put out. When a round is short, the last one runs with the
//! running graph held between two steps; then the new nodes move over with their state and the copies are thrown away.

use crate::bell::Bell;
use crate::driver::Driver;
use crate::error::Result;
use crate::feed::Standing;
use crate::intake::Intake;
use crate::job::{Opening, Shared};
use crate::step::{Flow, Part, StepInput};
use crate::watermark::NodeTime;
use millstream_dataflow as dataflow;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::source::Offset;
use millstream_dataflow::{Delta, Step};
use millstream_state::ViewSnapshot;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// The rows of a step while catching up.
const STEP_ROWS: usize = 131_072;
/// A round that took no longer is short enough to hold the running graph for.
const SHORT_ROUND: Duration = Duration::from_millis(20);
/// After so many rounds the running graph is held in any case.
const ROUNDS_MAX: usize = 20;
/// How long the running graph is held at most; then there is another round.
const HOLD_MAX: Duration = Duration::from_secs(2);
/// How long it waits for input or for room with a writer before it looks again.
const ROOM_WAIT: Duration = Duration::from_millis(50);
/// Changes of a view that wait are summed when they are more rows than this.
const TAP_ROWS_MAX: usize = 262_144;

/// The new part and all that it catches up with.
pub(crate) struct Beside {
    pub(crate) flow: Flow,
    pub(crate) intake: Intake,
    /// The nodes that move over in the end.
    pub(crate) own: HashSet<NodeId>,
    /// The running nodes that it hangs on.
    pub(crate) inputs: HashSet<NodeId>,
    pub(crate) taps: Vec<Tapped>,
    /// New sources, read once the part is in place.
    pub(crate) openings: Vec<Opening>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) clock: Arc<dyn crate::Clock>,
}

/// A running view that is read: first its rows, then its changes.
pub(crate) struct Tapped {
    pub(crate) id: NodeId,
    pub(crate) time: NodeTime,
    pub(crate) rows: Option<ViewSnapshot>,
    pub(crate) changes: Arc<Tap>,
}

/// The changes of a view that wait to be taken.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    waiting: Mutex<(Vec<Delta>, usize)>,
}

impl Tap {
    pub(crate) fn push(&self, deltas: &[Delta]) {
        let mut waiting = self.waiting.lock();
        waiting.0.extend_from_slice(deltas);
        waiting.1 += deltas.iter().map(Delta::rows).sum::<usize>();
        if waiting.1 > TAP_ROWS_MAX {
            let summed =
                Delta::concat(&waiting.0[0].schema(), &waiting.0).and_then(|all| all.consolidate());
            if let Ok(summed) = summed {
                // If most of it did not cancel out, the next sum is as far away again.
                waiting.1 = summed.rows() / 2;
                waiting.0 = vec![summed];
            }
        }
    }

    fn take(&self) -> Vec<Delta> {
        std::mem::take(&mut *self.waiting.lock()).0
    }
}

/// How an attempt to put the part in place went.
pub(crate) enum Spliced {
    /// It is in place, or nobody wants it any more.
    Done,
    /// The gap was too wide: another round.
    Again(Box<Beside>),
}

impl Beside {
    /// Catches up and moves over. Runs on a thread of its own.
    pub(crate) fn run(mut self: Box<Self>, shared: &Shared) -> Result<()> {
        self.read_views()?;
        let mut rounds = 0;
        loop {
            let began = self.clock.elapsed();
            self.catch_up(None)?;
            if self.cancelled.load(SeqCst) {
                return Ok(());
            }
            rounds += 1;
            let took = self.clock.elapsed().saturating_sub(began);
            if took <= SHORT_ROUND || rounds >= ROUNDS_MAX || self.is_hopeless() {
                match shared.call(move |driver| driver.splice(self))?? {
                    Spliced::Done => return Ok(()),
                    Spliced::Again(again) => self = again,
                }
            } else {
                let sources: Vec<NodeId> = self.intake.feeds().iter().map(|feed| feed.id).collect();
                let standing = shared.call(move |driver| driver.standing(&sources))?;
                self.aim(&standing)?;
            }
        }
    }

    /// Feeds the rows that the views had at the start. Their time comes after them, so that none of them is late.
    fn read_views(&mut self) -> Result<()> {
        for at in 0..self.taps.len() {
            let id = self.taps[at].id;
            if let Some(rows) = self.taps[at].rows.take() {
                for batch in rows.batches()? {
                    if batch.num_rows() > 0 {
                        self.step(vec![(id, vec![Delta::inserts(batch)])], Vec::new())?;
                    }
                }
            }
        }
        let times = self
            .taps
            .iter()
            .map(|tapped| (tapped.id, tapped.time))
            .collect();
        self.step(Vec::new(), times)
    }

    /// Runs until everything up to where the readers were told to stop has been taken; false if it takes too long.
    fn catch_up(&mut self, longest: Option<Duration>) -> Result<bool> {
        let began = self.clock.elapsed();
        loop {
            if self.cancelled.load(SeqCst) || self.is_hopeless() {
                return Ok(true);
            }
            if !self.flow.is_backed_up() {
                self.take_changes()?;
                self.intake.gather(STEP_ROWS);
                let now_ms = self.clock.now_ms();
                if let Some(input) = self.intake.finish(now_ms, None) {
                    self.run_step(input)?;
                    continue;
                }
                if self.intake.is_reached() {
                    return Ok(true);
                }
            }
            let passed = self.clock.elapsed().saturating_sub(began);
            let left = longest.map(|longest| longest.saturating_sub(passed));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            // A writer that is shared with the running graph rings only there.
            self.bell
                .wait(Some(left.map_or(ROOM_WAIT, |left| left.min(ROOM_WAIT))));
        }
    }

    fn take_changes(&mut self) -> Result<()> {
        let taken = self
            .taps
            .iter()
            .map(|tapped| (tapped.id, tapped.changes.take()));
        let deltas: Vec<_> = taken.filter(|(_, deltas)| !deltas.is_empty()).collect();
        if deltas.is_empty() {
            return Ok(());
        }
        self.step(deltas, Vec::new())
    }

    fn step(
        &mut self,
        deltas: Vec<(NodeId, Vec<Delta>)>,
        times: Vec<(NodeId, NodeTime)>,
    ) -> Result<()> {
        let now_ms = self.clock.now_ms();
        self.run_step(StepInput {
            now_ms,
            deltas,
            times,
            ..StepInput::default()
        })
    }

    fn run_step(&mut self, mut input: StepInput) -> Result<()> {
        input.step = Step(self.flow.last_step().0 + 1);
        self.flow.step(input)
    }

    /// Whether all the new nodes have failed already.
    fn is_hopeless(&self) -> bool {
        self.own.iter().all(|id| self.flow.failed(*id).is_some())
    }

    /// The readers are to come to where the running graph stands.
    fn aim(&mut self, standing: &[(NodeId, Vec<Standing>)]) -> Result<()> {
        let now_ms = self.clock.now_ms();
        for (id, lanes) in standing {
            let goals: HashMap<String, Offset> = lanes
                .iter()
                .map(|lane| (lane.partition.name.clone(), lane.position))
                .collect();
            let goal =
                |partition: &dataflow::source::Partition| goals.get(&partition.name).copied();
            let partitions = lanes.iter().map(|lane| lane.partition.clone()).collect();
            self.intake.add_partitions(*id, partitions, now_ms, goal)?;
            self.intake.read_on(*id, goal)?;
            self.intake.adopt_times(*id, lanes);
        }
        Ok(())
    }

    /// The last round, with the running graph held. Says whether it stands where the graph stands.
    pub(crate) fn close_gap(&mut self, standing: &[(NodeId, Vec<Standing>)]) -> Result<bool> {
        self.aim(standing)?;
        let closed = self.catch_up(Some(HOLD_MAX))?;
        if closed {
            self.take_changes()?;
        }
        Ok(closed)
    }

    /// The new nodes with all their state.
    pub(crate) fn into_parts(mut self) -> (Vec<Part>, Vec<Opening>) {
        let own = std::mem::take(&mut self.own);
        let mut parts = self.flow.take_apart();
        parts.retain(|part| own.contains(&part.node.id));
        (parts, std::mem::take(&mut self.openings))
    }
}

impl Driver {
    /// Where the partitions of these sources stand.
    pub(crate) fn standing(&self, sources: &[NodeId]) -> Vec<(NodeId, Vec<Standing>)> {
        let feeds = self.intake.feeds().iter();
        feeds
            .filter(|feed| sources.contains(&feed.id))
            .map(|feed| (feed.id, feed.standing()))
            .collect()
    }

    /// Closes the last gap and takes the new nodes over.
    pub(crate) fn splice(&mut self, mut beside: Box<Beside>) -> Result<Spliced> {
        if beside.cancelled.load(SeqCst) {
            return Ok(Spliced::Done);
        }
        for input in &beside.inputs {
            self.flow.plan().find(*input)?;
            if let Some(failure) = self.flow.failed(*input) {
                return Err(crate::Error::Failed(failure.clone()));
            }
        }
        let sources: Vec<NodeId> = beside.intake.feeds().iter().map(|feed| feed.id).collect();
        if !beside.close_gap(&self.standing(&sources))? {
            return Ok(Spliced::Again(beside));
        }
        let step = beside.flow.last_step();
        let own: Vec<NodeId> = beside.own.iter().copied().collect();
        let (parts, openings) = beside.into_parts();
        for id in own {
            self.beside.remove(&id);
        }
        self.take_over(parts, openings, step)?;
        Ok(Spliced::Done)
    }
}
