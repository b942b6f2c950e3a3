//! The threads that poll, decode and prepare, ahead of the steps: one for each partition, and when there are more
//! partitions than threads, several for one.

use crate::backoff::Backoff;
use crate::bell::Bell;
use crate::clock::Clock;
use crate::error::guarded;
use crate::prepare;
use crate::queue::{Entry, Queue};
use crate::turn::{Actor, Stage, Turn};
use millstream_dataflow::source::{Offset, Partition, Polled, Prepare, Reader, Source, State};
use millstream_dataflow::{Error, Kind, Result};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// How long a poll waits for its first row when its thread reads nothing else.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// How long a thread that reads several partitions waits for all of them.
const SHARED_WAIT: Duration = Duration::from_millis(10);
/// How often the end of a partition is asked for.
const END_INTERVAL: Duration = Duration::from_secs(1);

/// Reads one partition into its queue.
pub(crate) struct Lane {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) prepare: Arc<dyn Prepare>,
    pub(crate) partition: Partition,
    pub(crate) position: Offset,
    /// Where to stop.
    pub(crate) until: Option<Offset>,
    /// Where rows are to be cut into items, ascending.
    cuts: VecDeque<Offset>,
    pub(crate) poll_rows: usize,
    pub(crate) queue: Arc<Queue>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) backoff: Backoff,
    reader: Option<Box<dyn Reader>>,
    not_before: Duration,
    end_asked: Option<Duration>,
}

/// What is needed to read a partition.
pub(crate) struct Reading {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) prepare: Arc<dyn Prepare>,
    pub(crate) partition: Partition,
    pub(crate) from: Offset,
    pub(crate) until: Option<Offset>,
    pub(crate) cuts: VecDeque<Offset>,
    pub(crate) poll_rows: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seed: u64,
}

impl Lane {
    pub(crate) fn new(reading: Reading, queue: Arc<Queue>) -> Self {
        Self {
            source: reading.source,
            prepare: reading.prepare,
            partition: reading.partition,
            position: reading.from,
            until: reading.until,
            cuts: reading.cuts,
            poll_rows: reading.poll_rows.max(1),
            queue,
            clock: reading.clock,
            backoff: Backoff::new(reading.seed),
            reader: None,
            not_before: Duration::ZERO,
            end_asked: None,
        }
    }

    fn turn(&mut self, wait: Duration) -> Turn {
        if self.queue.is_closed() {
            return Turn::Done;
        }
        if self.queue.is_full() {
            return Turn::Rested;
        }
        if !self.not_before.is_zero() {
            if self.clock.elapsed() < self.not_before {
                return Turn::Until(self.not_before);
            }
            self.not_before = Duration::ZERO;
        }
        if self.until.is_some_and(|until| self.position >= until) {
            self.queue.push(Entry::Reached);
            return Turn::Done;
        }
        match guarded(|| self.read(wait)) {
            Ok(turn) => turn,
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: Error) -> Turn {
        if error.kind != Kind::Retryable {
            self.queue.push(Entry::Failed(error));
            return Turn::Done;
        }
        if self.backoff.attempts() == 0 {
            tracing::warn!(partition = %self.partition.name, %error, "reading failed and is tried again");
        }
        *self.queue.meter.retrying.lock() = Some(error.to_string());
        self.not_before = self.clock.elapsed() + self.backoff.next();
        Turn::Until(self.not_before)
    }

    fn read(&mut self, wait: Duration) -> Result<Turn> {
        let polled = self.poll(wait)?;
        if self.backoff.attempts() > 0 {
            self.backoff.succeeded();
            *self.queue.meter.retrying.lock() = None;
        }
        self.ask_end();
        let polled = match self.until.filter(|until| polled.position > *until) {
            Some(until) => prepare::cut(polled, until).0,
            None => polled,
        };
        let (state, to) = (polled.state, polled.position);
        let caught_up = state != State::More;
        self.queue
            .meter
            .caught_up
            .store(caught_up, std::sync::atomic::Ordering::Relaxed);
        let moved = to != self.position || !polled.delta.is_empty() || !polled.bad.is_empty();
        if moved {
            self.push(polled)?;
        }
        if state == State::End {
            let last = if self.until.is_some() {
                Entry::Reached
            } else {
                Entry::End
            };
            self.queue.push(last);
            return Ok(Turn::Done);
        }
        Ok(if moved { Turn::Moved } else { Turn::Rested })
    }

    /// Passes a poll on, cut where it was cut before.
    fn push(&mut self, mut polled: Polled) -> Result<()> {
        while let Some(at) = self
            .cuts
            .front()
            .copied()
            .filter(|at| *at < polled.position)
        {
            self.cuts.pop_front();
            if at > self.position {
                let (first, rest) = prepare::cut(polled, at);
                polled = rest;
                self.push_item(first)?;
            }
        }
        self.push_item(polled)
    }

    fn push_item(&mut self, polled: Polled) -> Result<()> {
        let to = polled.position;
        let item = prepare::item(self.prepare.as_ref(), polled, self.position)?;
        self.position = to;
        self.queue.push(Entry::Item(item));
        Ok(())
    }

    fn poll(&mut self, wait: Duration) -> Result<Polled> {
        if self.reader.is_none() {
            let partition = Partition {
                end: self.until.or(self.partition.end),
                ..self.partition.clone()
            };
            self.reader = Some(self.source.open(&partition, self.position)?);
        }
        let Some(reader) = &mut self.reader else {
            return Err(Error::internal("a partition without a reader"));
        };
        reader.poll(self.poll_rows, wait)
    }

    fn ask_end(&mut self) {
        let now = self.clock.elapsed();
        if self
            .end_asked
            .is_some_and(|asked| now < asked + END_INTERVAL)
        {
            return;
        }
        self.end_asked = Some(now);
        let end = self.reader.as_mut().and_then(|reader| reader.end());
        self.queue.meter.set_end(end.or(self.partition.end));
    }
}

/// The reading threads of a job.
#[derive(Debug)]
pub(crate) struct Readers {
    stage: Stage,
    threads: Vec<Thread>,
    threads_max: usize,
}

#[derive(Debug)]
struct Thread {
    shared: Arc<Shared>,
}

struct Shared {
    /// Lanes on their way to the thread; `None` once it has ended.
    inbox: Mutex<Option<Vec<Lane>>>,
    lanes: AtomicUsize,
    bell: Arc<Bell>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

impl Readers {
    pub(crate) fn new(stage: Stage, threads_max: usize) -> Self {
        Self {
            stage,
            threads: Vec::new(),
            threads_max: threads_max.max(1),
        }
    }

    /// Starts to read a partition. `lane` is given the bell that wakes the reading thread.
    pub(crate) fn add(&mut self, lane: impl FnOnce(Arc<Bell>) -> Lane) -> Result<()> {
        self.threads
            .retain(|thread| thread.shared.inbox.lock().is_some());
        if self.threads.len() >= self.threads_max {
            let load = |thread: &&Thread| thread.shared.lanes.load(SeqCst);
            if let Some(thread) = self.threads.iter().min_by_key(load) {
                let mut inbox = thread.shared.inbox.lock();
                if let Some(inbox) = inbox.as_mut() {
                    inbox.push(lane(Arc::clone(&thread.shared.bell)));
                    thread.shared.lanes.fetch_add(1, SeqCst);
                    thread.shared.bell.ring();
                    return Ok(());
                }
            }
        }
        let bell = Arc::new(Bell::default());
        let lane = lane(Arc::clone(&bell));
        let clock = Arc::clone(&lane.clock);
        let shared = Arc::new(Shared {
            inbox: Mutex::new(Some(vec![lane])),
            lanes: AtomicUsize::new(1),
            bell: Arc::clone(&bell),
        });
        let group = Group {
            shared: Arc::clone(&shared),
            lanes: Vec::new(),
        };
        self.stage.start("reader", bell, clock, Box::new(group))?;
        self.threads.push(Thread { shared });
        Ok(())
    }
}

/// The lanes that one thread reads.
struct Group {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
}

impl Actor for Group {
    fn turn(&mut self) -> Turn {
        let mut inbox = self.shared.inbox.lock();
        self.lanes.extend(inbox.iter_mut().flat_map(std::mem::take));
        if self.lanes.is_empty() {
            *inbox = None;
            return Turn::Done;
        }
        drop(inbox);
        let alone = self.lanes.len() == 1;
        let whole = if alone { POLL_WAIT } else { SHARED_WAIT };
        let wait = whole / self.lanes.len() as u32;
        let clock = Arc::clone(&self.lanes[0].clock);
        let began = clock.elapsed();
        let mut moved = false;
        let mut retry_at: Option<Duration> = None;
        self.lanes.retain_mut(|lane| {
            let turn = lane.turn(wait);
            moved |= turn == Turn::Moved;
            if let Turn::Until(at) = turn {
                retry_at = Some(retry_at.map_or(at, |first| first.min(at)));
            }
            turn != Turn::Done
        });
        self.shared.lanes.store(self.lanes.len(), SeqCst);
        if moved || self.lanes.is_empty() {
            return Turn::Moved;
        }
        // Nothing moved: waits for room, a retry's time, or what is left of the poll's wait if the readers did not wait.
        let now = clock.elapsed();
        let blocked = |lane: &Lane| lane.queue.is_full() || lane.not_before > now;
        if self.lanes.iter().all(blocked) {
            return retry_at.map_or(Turn::Rested, Turn::Until);
        }
        Turn::Until(began + whole)
    }
}
