//! What the next step takes from the queues of all partitions, and how far event time has come there.
//!
//! Partitions are visited in turn, one poll a turn. When all sources are bounded the turn waits for a partition that
//! has nothing yet, so that the steps are cut the same way in every run; a live job takes what is there.

use crate::bell::Bell;
use crate::clock::Clock;
use crate::feed::{Feed, Lane, Standing};
use crate::letters;
use crate::meter::{LaneMeter, add};
use crate::queue::{Entry, Item, Limits, Pop, Queue};
use crate::reader::{Lane as ReaderLane, Readers, Reading};
use crate::record::{Range, StepRecord};
use crate::step::StepInput;
use crate::turn::Stage;
use crate::watermark::{self, NodeTime, PartitionTime};
use millstream_dataflow::graph::{NodeId, OnBad, SourceNode};
use millstream_dataflow::source::{Offset, Partition};
use millstream_dataflow::{Delta, Error, Result, Watermark};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Deltas below this are joined before operators see them.
const SMALL_ROWS: usize = 4_096;

/// How partitions are read.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) poll_rows: usize,
    pub(crate) queue_rows: usize,
    pub(crate) queue_items: usize,
    pub(crate) step_rows_max: Option<usize>,
    pub(crate) threads_max: usize,
    pub(crate) seed: u64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stage: Stage,
    /// Rung when there is something to take.
    pub(crate) stepper: Arc<Bell>,
}

pub(crate) struct Intake {
    settings: Settings,
    feeds: Vec<Feed>,
    readers: Readers,
    /// Every lane, as places of feed and lane, in the order of their turns.
    turns: Vec<(usize, usize)>,
    next_turn: usize,
    /// Whether a turn waits for a partition that has nothing yet.
    ordered: bool,
    /// Whether it reads the past for a part that is built beside: then a partition is idle only when it is idle in the
    /// running graph too.
    beside: bool,
    taken: Vec<Taken>,
    taken_rows: usize,
    failures: Vec<(NodeId, Error)>,
    /// The nodes of dead letters that have not ended.
    letters: Vec<NodeId>,
    lanes_started: u64,
}

struct Taken {
    feed: usize,
    lane: usize,
    item: Item,
}

/// Which part of a partition is read.
struct Extent {
    from: Offset,
    until: Option<Offset>,
    cuts: VecDeque<Offset>,
}

/// What came of a look into the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gathered {
    /// A step can run with what has been taken, which may be nothing.
    Ready,
    /// The partition whose turn it is has nothing yet.
    Waiting,
}

impl Intake {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            readers: Readers::new(settings.stage.clone(), settings.threads_max),
            settings,
            feeds: Vec::new(),
            turns: Vec::new(),
            next_turn: 0,
            ordered: true,
            beside: false,
            taken: Vec::new(),
            taken_rows: 0,
            failures: Vec::new(),
            letters: Vec::new(),
            lanes_started: 0,
        }
    }

    /// Reads the past, each partition up to where it is told to stop.
    pub(crate) fn beside(settings: Settings) -> Self {
        let mut intake = Self::new(settings);
        (intake.ordered, intake.beside) = (false, true);
        intake
    }

    pub(crate) fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    pub(crate) fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// Adds a source whose partitions will be told later.
    pub(crate) fn add_source(&mut self, id: NodeId, node: SourceNode) {
        self.feeds.push(Feed {
            id,
            table: node.table.as_str().into(),
            node,
            lanes: Vec::new(),
            bad: Arc::default(),
            time: NodeTime::default(),
            discovered: false,
            failed: false,
            touched: true,
        });
        self.set_ordered();
    }

    fn set_ordered(&mut self) {
        self.ordered = !self.beside && self.feeds.iter().all(|feed| feed.node.source.bounded());
    }

    /// These partitions exist: those that are new are read from where they start, up to `until` if that is given.
    pub(crate) fn add_partitions(
        &mut self,
        id: NodeId,
        partitions: Vec<Partition>,
        now_ms: i64,
        until: impl Fn(&Partition) -> Option<Offset>,
    ) -> Result<()> {
        let Some(at) = self.feeds.iter().position(|feed| feed.id == id) else {
            return Ok(());
        };
        self.feeds[at].discovered = true;
        self.feeds[at].touched = true;
        if self.feeds[at].failed {
            return Ok(());
        }
        let known = |feed: &Feed, name: &str| feed.lanes.iter().any(|l| l.partition.name == name);
        let fresh: Vec<Partition> = partitions
            .into_iter()
            .filter(|partition| !known(&self.feeds[at], &partition.name))
            .collect();
        let count = self.turns.len() + fresh.len();
        for partition in fresh {
            let from = partition.start;
            let until = until(&partition);
            let standing = Standing {
                position: from,
                time: PartitionTime {
                    watermark: Watermark::MIN,
                    active_ms: now_ms,
                    waiting: false,
                    ended: false,
                },
                partition,
            };
            self.add_lane(at, standing, until, VecDeque::new(), count)?;
        }
        self.line_up();
        Ok(())
    }

    fn add_lane(
        &mut self,
        feed: usize,
        standing: Standing,
        until: Option<Offset>,
        cuts: VecDeque<Offset>,
        lanes: usize,
    ) -> Result<()> {
        let Standing {
            partition,
            position,
            time,
        } = standing;
        let table = &self.feeds[feed].table;
        let meter = LaneMeter::new(self.feeds[feed].id, table, &partition.name, position);
        let extent = Extent {
            from: position,
            until,
            cuts,
        };
        let queue = self.read(feed, &partition, extent, Arc::new(meter), lanes)?;
        self.feeds[feed].lanes.push(Lane {
            partition,
            queue,
            position,
            time,
            reached: false,
            adopted: false,
        });
        Ok(())
    }

    /// The partitions of a source stand as they did when the state was saved, and are read from there on, cut as the
    /// steps of `records` took them.
    pub(crate) fn restore(
        &mut self,
        id: NodeId,
        standing: Vec<Standing>,
        time: NodeTime,
        records: &VecDeque<StepRecord>,
        now_ms: i64,
    ) -> Result<()> {
        let Some(at) = self.feeds.iter().position(|feed| feed.id == id) else {
            return Ok(());
        };
        let mut cuts: BTreeMap<Arc<str>, VecDeque<Offset>> = BTreeMap::new();
        let mut all = standing;
        let ranges = records.iter().flat_map(|record| &record.ranges);
        for range in ranges.filter(|range| range.source == id) {
            cuts.entry(Arc::clone(&range.partition))
                .or_default()
                .push_back(range.to);
            if !all
                .iter()
                .any(|lane| *lane.partition.name == *range.partition)
            {
                // It was found after the state was saved.
                all.push(Standing {
                    partition: Partition {
                        name: range.partition.to_string(),
                        start: range.from,
                        end: None,
                    },
                    position: range.from,
                    time: PartitionTime {
                        watermark: Watermark::MIN,
                        active_ms: now_ms,
                        waiting: false,
                        ended: false,
                    },
                });
            }
        }
        let known: Vec<Partition> = all.iter().map(|lane| lane.partition.clone()).collect();
        self.feeds[at].node.source.resume(&known);
        self.feeds[at].discovered = true;
        self.feeds[at].touched = true;
        self.feeds[at].time = time;
        let lanes = self.turns.len() + all.len();
        for standing in all {
            let cuts = cuts
                .remove(standing.partition.name.as_str())
                .unwrap_or_default();
            self.add_lane(at, standing, None, cuts, lanes)?;
        }
        self.line_up();
        Ok(())
    }

    /// Starts to read a partition; `lanes` of them share the memory.
    fn read(
        &mut self,
        feed: usize,
        partition: &Partition,
        extent: Extent,
        meter: Arc<LaneMeter>,
        lanes: usize,
    ) -> Result<Arc<Queue>> {
        let settings = &self.settings;
        let share = settings
            .step_rows_max
            .map_or(usize::MAX, |rows| rows / lanes.max(1));
        let poll_rows = settings.poll_rows.min(share).max(1);
        let limits = Limits {
            rows: (settings.queue_rows / lanes.max(1)).max(1),
            items: settings.queue_items.max(1),
        };
        self.lanes_started += 1;
        let node = &self.feeds[feed].node;
        let reading = Reading {
            source: Arc::clone(&node.source),
            prepare: Arc::clone(&node.prepare),
            partition: partition.clone(),
            from: extent.from,
            until: extent.until,
            cuts: extent.cuts,
            poll_rows,
            clock: Arc::clone(&settings.clock),
            seed: settings
                .seed
                .wrapping_mul(0x9e37_79b9)
                .wrapping_add(self.lanes_started),
        };
        let stepper = Arc::clone(&settings.stepper);
        let mut made = None;
        self.readers.add(|bell| {
            let queue = Arc::new(Queue::new(limits, bell, stepper, meter));
            made = Some(Arc::clone(&queue));
            ReaderLane::new(reading, queue)
        })?;
        made.ok_or_else(|| Error::internal("a partition without a queue"))
    }

    /// Reads on from where each partition stands, up to `until`, for lanes that have come to where they had to stop.
    pub(crate) fn read_on(
        &mut self,
        id: NodeId,
        until: impl Fn(&Partition) -> Option<Offset>,
    ) -> Result<()> {
        let Some(feed) = self.feeds.iter().position(|feed| feed.id == id) else {
            return Ok(());
        };
        for at in 0..self.feeds[feed].lanes.len() {
            let lane = &self.feeds[feed].lanes[at];
            let (partition, from) = (lane.partition.clone(), lane.position);
            let meter = Arc::clone(&lane.queue.meter);
            let Some(until) = until(&partition).filter(|until| lane.reached && *until > from)
            else {
                continue;
            };
            let lanes = self.turns.len();
            let extent = Extent {
                from,
                until: Some(until),
                cuts: VecDeque::new(),
            };
            let queue = self.read(feed, &partition, extent, meter, lanes)?;
            let lane = &mut self.feeds[feed].lanes[at];
            lane.queue = queue;
            lane.reached = false;
            lane.adopted = false;
        }
        Ok(())
    }

    /// Partitions that have come to where the running graph stands take over its time.
    pub(crate) fn adopt_times(&mut self, id: NodeId, standing: &[Standing]) {
        let Some(feed) = self.feeds.iter_mut().find(|feed| feed.id == id) else {
            return;
        };
        for lane in &mut feed.lanes {
            let found = standing
                .iter()
                .find(|s| s.partition.name == lane.partition.name);
            if let Some(standing) = found.filter(|s| lane.reached && s.position == lane.position) {
                lane.time.watermark = lane.time.watermark.max(standing.time.watermark);
                lane.time.active_ms = standing.time.active_ms;
                lane.adopted = true;
            }
        }
        feed.touched = true;
    }

    /// Watches over the end of a node of dead letters.
    pub(crate) fn add_letters(&mut self, id: NodeId) {
        self.letters.push(id);
    }

    /// Stops reading a source.
    pub(crate) fn remove_source(&mut self, id: NodeId) {
        self.letters.retain(|letters| *letters != id);
        if let Some(at) = self.feeds.iter().position(|feed| feed.id == id) {
            self.feeds.remove(at).close();
            self.taken.retain(|taken| taken.feed != at);
            for taken in &mut self.taken {
                taken.feed -= usize::from(taken.feed > at);
            }
            self.taken_rows = self.taken.iter().map(|taken| taken.item.delta.rows()).sum();
        }
        self.set_ordered();
        self.line_up();
    }

    fn line_up(&mut self) {
        let lanes = |(at, feed): (usize, &Feed)| {
            (0..feed.lanes.len())
                .map(move |lane| (at, lane))
                .collect::<Vec<_>>()
        };
        self.turns = self.feeds.iter().enumerate().flat_map(lanes).collect();
        self.next_turn = self.next_turn.min(self.turns.len().saturating_sub(1));
    }

    /// The source cannot be read any more.
    pub(crate) fn fail(&mut self, id: NodeId, error: Error) {
        if let Some(feed) = self
            .feeds
            .iter_mut()
            .find(|feed| feed.id == id && !feed.failed)
        {
            feed.failed = true;
            feed.close();
            self.failures.push((id, error));
        }
    }

    /// Takes from the queues, up to this many rows together with what has been taken before and not been stepped.
    pub(crate) fn gather(&mut self, rows_max: usize) -> Gathered {
        let mut in_vain = 0;
        while in_vain < self.turns.len() && self.taken_rows < rows_max {
            let (feed, lane) = self.turns[self.next_turn];
            let room = if self.taken_rows == 0 {
                usize::MAX
            } else {
                rows_max - self.taken_rows
            };
            let open = {
                let feed = &self.feeds[feed];
                !feed.failed && !feed.lanes[lane].time.ended && !feed.lanes[lane].reached
            };
            let entry = match open.then(|| self.feeds[feed].lanes[lane].queue.pop(room)) {
                Some(Pop::Entry(entry)) => Some(entry),
                Some(Pop::TooLarge) => break,
                Some(Pop::Empty) if self.ordered => return Gathered::Waiting,
                Some(Pop::Empty) | None => None,
            };
            self.next_turn = (self.next_turn + 1) % self.turns.len();
            match entry {
                None => in_vain += 1,
                Some(entry) => {
                    in_vain = 0;
                    self.take(feed, lane, entry);
                }
            }
        }
        Gathered::Ready
    }

    /// Takes what a recorded step took.
    ///
    /// # Errors
    /// `Internal` when it is not there any more.
    pub(crate) fn gather_again(&mut self, record: &StepRecord) -> Result<Gathered> {
        for range in &record.ranges {
            let Some(feed) = self.feeds.iter().position(|feed| feed.id == range.source) else {
                continue;
            };
            let named = |lane: &Lane| *lane.partition.name == *range.partition;
            let Some(lane) = self.feeds[feed].lanes.iter().position(named) else {
                return Err(lost(range, "the partition is not there"));
            };
            while self.feeds[feed].lanes[lane].position < range.to {
                if self.feeds[feed].failed || self.feeds[feed].lanes[lane].time.ended {
                    return Err(lost(range, "it cannot be read any more"));
                }
                match self.feeds[feed].lanes[lane].queue.pop(usize::MAX) {
                    Pop::Entry(entry) => self.take(feed, lane, entry),
                    Pop::Empty | Pop::TooLarge => return Ok(Gathered::Waiting),
                }
            }
            if self.feeds[feed].lanes[lane].position != range.to {
                return Err(lost(range, "it ends elsewhere now"));
            }
        }
        Ok(Gathered::Ready)
    }

    /// The input of a recorded step, from all that has been taken again.
    pub(crate) fn finish_again(&mut self, record: &StepRecord) -> StepInput {
        let input = self.finish(record.now_ms, None).unwrap_or_default();
        for (id, time) in &record.times {
            if let Some(feed) = self.feeds.iter_mut().find(|feed| feed.id == *id) {
                feed.time = *time;
            }
        }
        StepInput {
            now_ms: record.now_ms,
            times: record.times.clone(),
            ..input
        }
    }

    fn take(&mut self, feed_at: usize, lane_at: usize, entry: Entry) {
        let feed = &mut self.feeds[feed_at];
        let lane = &mut feed.lanes[lane_at];
        feed.touched = true;
        match entry {
            Entry::Item(item) => {
                self.taken_rows += item.delta.rows();
                lane.position = item.to;
                self.taken.push(Taken {
                    feed: feed_at,
                    lane: lane_at,
                    item,
                });
            }
            Entry::End => {
                lane.time.ended = true;
                lane.queue.meter.ended.store(true, Relaxed);
            }
            Entry::Reached => lane.reached = true,
            Entry::Failed(error) => {
                let place = format!("table {}, partition {}", feed.table, lane.partition.name);
                let id = feed.id;
                self.fail(id, error.context(place));
            }
        }
    }

    /// The input of a step from all that has been taken; without anything new there is none.
    pub(crate) fn finish(
        &mut self,
        now_ms: i64,
        ranges: Option<&mut Vec<Range>>,
    ) -> Option<StepInput> {
        let mut taken = std::mem::take(&mut self.taken);
        self.taken_rows = 0;
        taken.sort_by_key(|taken| (taken.feed, taken.lane));
        if let Some(ranges) = ranges {
            for range in taken.iter().map(|taken| self.range(taken)) {
                match ranges.last_mut() {
                    Some(last)
                        if last.source == range.source
                            && last.partition == range.partition
                            && last.to == range.from =>
                    {
                        last.to = range.to;
                    }
                    _ => ranges.push(range),
                }
            }
        }
        let mut deltas = self.deltas(taken, now_ms);
        let times = self.times(now_ms);
        let failures = std::mem::take(&mut self.failures);
        deltas.retain(|(id, _)| !failures.iter().any(|(failed, _)| failed == id));
        let something = !deltas.is_empty() || !times.is_empty() || !failures.is_empty();
        something.then(|| StepInput {
            now_ms,
            deltas,
            times,
            failures,
            ..StepInput::default()
        })
    }

    fn range(&self, taken: &Taken) -> Range {
        let feed = &self.feeds[taken.feed];
        Range {
            source: feed.id,
            partition: Arc::clone(&feed.lanes[taken.lane].queue.meter.partition),
            from: taken.item.from,
            to: taken.item.to,
        }
    }

    /// The rows by node: those of the sources, then their bad records as rows of the nodes that hold dead letters.
    fn deltas(&mut self, taken: Vec<Taken>, now_ms: i64) -> Vec<(NodeId, Vec<Delta>)> {
        let mut rows: Vec<(NodeId, Vec<Delta>)> = Vec::new();
        let mut letters: Vec<(NodeId, Vec<Delta>)> = Vec::new();
        for Taken { feed, lane, item } in taken {
            if !item.bad.is_empty() {
                self.bad(feed, lane, &item, &mut letters);
            }
            let feed = &mut self.feeds[feed];
            let lane = &mut feed.lanes[lane];
            let meter = &lane.queue.meter;
            meter.set_position(item.to);
            add(&meter.rows, item.delta.rows());
            if let Some(watermark) = item.watermark.filter(|mark| *mark > lane.time.watermark) {
                lane.time.watermark = watermark;
                meter.set_watermark(watermark);
            }
            if item.delta.is_empty() {
                continue;
            }
            lane.time.active_ms = now_ms;
            match rows.last_mut() {
                Some((id, deltas)) if *id == feed.id => deltas.push(item.delta),
                _ => rows.push((feed.id, vec![item.delta])),
            }
        }
        rows.extend(letters);
        let mut joined_rows = Vec::with_capacity(rows.len());
        for (id, deltas) in rows {
            match joined(deltas) {
                Ok(deltas) => joined_rows.push((id, deltas)),
                Err(error) => self.failures.push((id, error)),
            }
        }
        joined_rows
    }

    fn bad(
        &mut self,
        feed_at: usize,
        lane_at: usize,
        item: &Item,
        letters: &mut Vec<(NodeId, Vec<Delta>)>,
    ) {
        let feed = &self.feeds[feed_at];
        let partition = &feed.lanes[lane_at].partition.name;
        item.bad
            .iter()
            .for_each(|record| feed.bad.count(&record.reason));
        match feed.node.on_bad {
            OnBad::Skip => {}
            OnBad::Fail => {
                let error = letters::failure(&feed.table, partition, &item.bad[0]);
                let id = feed.id;
                self.fail(id, error);
            }
            OnBad::DeadLetter(node) => match letters::rows(partition, &item.bad) {
                Ok(delta) => match letters.iter_mut().find(|(id, _)| *id == node) {
                    Some((_, deltas)) => deltas.push(delta),
                    None => letters.push((node, vec![delta])),
                },
                Err(error) => self.failures.push((node, error)),
            },
        }
    }

    /// The sources whose time moved, and the nodes of dead letters whose sources have all ended.
    fn times(&mut self, now_ms: i64) -> Vec<(NodeId, NodeTime)> {
        let ordered = self.ordered;
        let beside = self.beside;
        let mut moved = Vec::new();
        for feed in &mut self.feeds {
            if !feed.touched && (feed.node.idle_timeout_ms.is_none() || ordered) {
                continue;
            }
            feed.touched = false;
            let time = feed.time_at(now_ms, ordered, beside);
            if time != feed.time {
                feed.time = time;
                moved.push((feed.id, time));
            }
        }
        moved.extend(self.ended_letters());
        moved
    }

    /// The nodes of dead letters that just came to their end: the sources that feed them have all ended.
    fn ended_letters(&mut self) -> Vec<(NodeId, NodeTime)> {
        let feeds = &self.feeds;
        let ended = |node: NodeId| {
            let mut feeding = feeds
                .iter()
                .filter(|feed| feed.node.on_bad == OnBad::DeadLetter(node));
            feeding.all(Feed::is_ended)
        };
        let (ended, open) = self.letters.iter().partition(|node| ended(**node));
        self.letters = open;
        let ended: Vec<NodeId> = ended;
        ended
            .into_iter()
            .map(|node| (node, NodeTime::END))
            .collect()
    }

    /// When some partition falls idle next if nothing comes.
    pub(crate) fn idle_at(&self) -> Option<i64> {
        if self.ordered {
            return None;
        }
        let lanes = |feed: &Feed| {
            let timeout = feed.node.idle_timeout_ms;
            let active = feed
                .lanes
                .iter()
                .filter(|lane| !lane.queue.meter.idle.load(Relaxed));
            active
                .filter_map(|lane| watermark::idle_at(&lane.time, timeout))
                .min()
        };
        self.feeds.iter().filter_map(lanes).min()
    }

    /// Whether some partition has more than it could give so far.
    pub(crate) fn is_behind(&self) -> bool {
        let behind = |lane: &Lane| {
            !lane.time.ended && !lane.queue.meter.caught_up.load(Relaxed) && !lane.queue.is_empty()
        };
        self.feeds.iter().flat_map(|feed| &feed.lanes).any(behind)
    }

    /// Whether nothing will ever come again.
    pub(crate) fn is_ended(&self) -> bool {
        self.taken.is_empty() && self.failures.is_empty() && self.feeds.iter().all(Feed::is_ended)
    }

    /// Whether every reader has come to where it was told to stop, and all of it has been taken.
    pub(crate) fn is_reached(&self) -> bool {
        let reached = |feed: &Feed| {
            feed.failed
                || feed
                    .lanes
                    .iter()
                    .all(|lane| lane.reached || lane.time.ended)
        };
        self.taken.is_empty() && self.feeds.iter().all(reached)
    }
}

fn lost(range: &Range, why: &str) -> Error {
    Error::user(format!(
        "the input from offset {} to {} of partition {} cannot be read again to recover: {why}",
        range.from.0, range.to.0, range.partition
    ))
    .hint("the partition was deleted or recreated, or its retention is too short; start with an empty state folder to begin anew")
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.feeds.iter().for_each(Feed::close);
    }
}

/// Joins runs of small deltas.
fn joined(deltas: Vec<Delta>) -> Result<Vec<Delta>> {
    if deltas.len() == 1 {
        return Ok(deltas);
    }
    let mut out = Vec::new();
    let (mut run, mut rows) = (Vec::new(), 0);
    for delta in deltas {
        if rows + delta.rows() > SMALL_ROWS && !run.is_empty() {
            out.push(concat(&std::mem::take(&mut run))?);
            rows = 0;
        }
        rows += delta.rows();
        run.push(delta);
    }
    out.push(concat(&run)?);
    Ok(out)
}

fn concat(run: &[Delta]) -> Result<Delta> {
    Delta::concat(&run[0].schema(), run)
}
