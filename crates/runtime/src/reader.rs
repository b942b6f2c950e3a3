//! The threads that poll, decode and prepare, ahead of the steps: one for each partition, and when there are more
//! partitions than threads, several for one.

use crate::backoff::Backoff;
use crate::bell::Bell;
use crate::clock::Clock;
use crate::error::guarded;
use crate::prepare;
use crate::queue::{Entry, Queue};
use millstream_dataflow::source::{Offset, Partition, Polled, Prepare, Reader, Source, State};
use millstream_dataflow::{Error, Kind, Result};
use parking_lot::Mutex;
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
    pub(crate) poll_rows: usize,
    pub(crate) queue: Arc<Queue>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) backoff: Backoff,
    reader: Option<Box<dyn Reader>>,
    not_before: Duration,
    end_asked: Option<Duration>,
}

/// What a turn of a lane came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It moved on.
    Moved,
    /// Nothing to do for now.
    Rested,
    /// Nothing to do before this time.
    Until(Duration),
    /// Nothing to do ever again.
    Done,
}

/// What is needed to read a partition.
pub(crate) struct Reading {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) prepare: Arc<dyn Prepare>,
    pub(crate) partition: Partition,
    pub(crate) from: Offset,
    pub(crate) until: Option<Offset>,
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
        let (state, to) = (polled.state, polled.position);
        if self.overshoots(&polled)? {
            return Ok(Turn::Moved);
        }
        let caught_up = state != State::More;
        self.queue
            .meter
            .caught_up
            .store(caught_up, std::sync::atomic::Ordering::Relaxed);
        let moved = to != self.position || !polled.delta.is_empty() || !polled.bad.is_empty();
        if moved {
            let item = prepare::item(self.prepare.as_ref(), polled, self.position)?;
            self.position = to;
            self.queue.push(Entry::Item(item));
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

    /// Whether a poll went beyond where to stop: then it is thrown away and read again in smaller parts, down to rows.
    fn overshoots(&mut self, polled: &Polled) -> Result<bool> {
        let Some(until) = self.until.filter(|until| polled.position > *until) else {
            return Ok(false);
        };
        if polled.delta.is_empty() && polled.bad.is_empty() {
            return Ok(false);
        }
        if self.poll_rows == 1 {
            return Err(Error::internal(format!(
                "partition {} cannot be read up to offset {} exactly",
                self.partition.name, until.0
            )));
        }
        self.poll_rows = (self.poll_rows / 8).max(1);
        self.reader = None;
        Ok(true)
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
    pub(crate) fn new(threads_max: usize) -> Self {
        Self {
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
        let shared = Arc::new(Shared {
            inbox: Mutex::new(Some(vec![lane(Arc::clone(&bell))])),
            lanes: AtomicUsize::new(1),
            bell,
        });
        let own = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || run(&own))
            .map_err(|error| Error::internal(format!("no thread to read with: {error}")))?;
        self.threads.push(Thread { shared });
        Ok(())
    }
}

fn run(shared: &Shared) {
    let mut lanes: Vec<Lane> = Vec::new();
    loop {
        let mut inbox = shared.inbox.lock();
        lanes.extend(inbox.iter_mut().flat_map(std::mem::take));
        if lanes.is_empty() {
            *inbox = None;
            return;
        }
        drop(inbox);
        let wait = if lanes.len() == 1 {
            POLL_WAIT
        } else {
            SHARED_WAIT / lanes.len() as u32
        };
        let clock = Arc::clone(&lanes[0].clock);
        let began = clock.elapsed();
        let mut moved = false;
        let mut retry_at: Option<Duration> = None;
        lanes.retain_mut(|lane| {
            let turn = lane.turn(wait);
            moved |= turn == Turn::Moved;
            if let Turn::Until(at) = turn {
                retry_at = Some(retry_at.map_or(at, |first| first.min(at)));
            }
            turn != Turn::Done
        });
        shared.lanes.store(lanes.len(), SeqCst);
        if moved || lanes.is_empty() {
            continue;
        }
        rest(shared, &lanes, clock.as_ref(), began, retry_at);
    }
}

/// Nothing moved: waits for room, a retry's time, or what is left of the poll's wait if the readers did not wait.
fn rest(
    shared: &Shared,
    lanes: &[Lane],
    clock: &dyn Clock,
    began: Duration,
    retry_at: Option<Duration>,
) {
    let now = clock.elapsed();
    let blocked = |lane: &Lane| lane.queue.is_full() || lane.not_before > now;
    if lanes.iter().all(blocked) {
        shared.bell.wait(retry_at.map(|at| at.saturating_sub(now)));
        return;
    }
    let whole = if lanes.len() == 1 {
        POLL_WAIT
    } else {
        SHARED_WAIT
    };
    let left = whole.saturating_sub(now.saturating_sub(began));
    if !left.is_zero() {
        shared.bell.wait(Some(left));
    }
}
