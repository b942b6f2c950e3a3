//! The thread that writes one sink, behind the steps, from a bounded queue.
//!
//! The bound is soft: the job looks before a step, so one step's output more may wait.

use crate::backoff::Backoff;
use crate::bell::Bell;
use crate::clock::Clock;
use crate::error::guarded;
use crate::meter::SinkMeter;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::sink::{Sink, Writer as SinkWriter};
use millstream_dataflow::{Delta, Error, Kind, Result, Step};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often a write is tried again once the job has been stopped.
const LAST_ATTEMPTS: u32 = 3;

/// A sink of a running job.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    rows_max: usize,
    steps_max: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Rung when there is room again, and at the end.
    stepper: Mutex<Arc<Bell>>,
    meter: Arc<SinkMeter>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Message>,
    rows: usize,
    closed: bool,
    ended: Option<Result<()>>,
}

#[derive(Debug)]
enum Message {
    Write(Step, Vec<Delta>),
    Finish(Step),
}

/// What a writer is made of.
pub(crate) struct Writing {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) commit_interval: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seed: u64,
    pub(crate) rows_max: usize,
    pub(crate) steps_max: usize,
}

impl Writer {
    /// Starts the thread, which opens the sink.
    pub(crate) fn start(
        writing: Writing,
        meter: Arc<SinkMeter>,
        stepper: Arc<Bell>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            stepper: Mutex::new(stepper),
            meter,
        });
        let (rows_max, steps_max) = (writing.rows_max, writing.steps_max);
        let own = Arc::clone(&shared);
        let thread = move || {
            let mut loop_ = Loop {
                backoff: Backoff::new(writing.seed),
                writing,
                shared: Arc::clone(&own),
                writer: None,
                written: None,
                committed_at: Duration::ZERO,
            };
            let ended = guarded(|| loop_.run());
            drop(loop_);
            own.end(ended);
        };
        std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(thread)
            .map_err(|error| Error::internal(format!("no thread to write with: {error}")))?;
        Ok(Self {
            shared,
            rows_max,
            steps_max,
        })
    }

    /// The changes of a step.
    pub(crate) fn write(&self, step: Step, deltas: Vec<Delta>) {
        let rows = deltas.iter().map(Delta::rows).sum();
        self.shared.push(Message::Write(step, deltas), rows);
    }

    /// The input has ended.
    pub(crate) fn finish(&self, step: Step) {
        self.shared.push(Message::Finish(step), 0);
    }

    /// No more will come: writes and commits what waits, and ends.
    pub(crate) fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_all();
    }

    /// Another job's steps feed the sink from now on.
    pub(crate) fn hand_over(&self, stepper: Arc<Bell>) {
        *self.shared.stepper.lock() = stepper;
    }

    pub(crate) fn is_full(&self) -> bool {
        let state = self.shared.state.lock();
        state.ended.is_none()
            && (state.rows >= self.rows_max || state.waiting.len() >= self.steps_max)
    }

    pub(crate) fn ended(&self) -> Option<Result<()>> {
        self.shared.state.lock().ended.clone()
    }

    /// Waits for the end, but no longer than this.
    pub(crate) fn join(&self, longest: Duration) {
        let mut state = self.shared.state.lock();
        while state.ended.is_none() {
            if self
                .shared
                .changed
                .wait_for(&mut state, longest)
                .timed_out()
            {
                return;
            }
        }
    }

    pub(crate) fn meter(&self) -> &Arc<SinkMeter> {
        &self.shared.meter
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn push(&self, message: Message, rows: usize) {
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return;
        }
        state.waiting.push_back(message);
        state.rows += rows;
        self.count(&state);
        self.changed.notify_all();
    }

    fn count(&self, state: &State) {
        self.meter.queued_rows.store(state.rows as u64, Relaxed);
        self.meter
            .queued_steps
            .store(state.waiting.len() as u64, Relaxed);
    }

    fn end(&self, ended: Result<()>) {
        let mut state = self.state.lock();
        state.ended = Some(ended);
        state.waiting.clear();
        state.rows = 0;
        self.count(&state);
        drop(state);
        self.changed.notify_all();
        self.stepper.lock().ring();
    }
}

struct Loop {
    writing: Writing,
    shared: Arc<Shared>,
    backoff: Backoff,
    writer: Option<Box<dyn SinkWriter>>,
    /// The last step that was written and not committed.
    written: Option<Step>,
    committed_at: Duration,
}

enum Next {
    Message(Message),
    Commit,
    Closed,
}

impl Loop {
    fn run(&mut self) -> Result<()> {
        // Opened at once, not with the first row: a wrong address shows at the start.
        self.retry(|_| Ok(()))?;
        loop {
            match self.next() {
                Next::Message(Message::Write(step, deltas)) => self.write(step, &deltas)?,
                Next::Message(Message::Finish(step)) => {
                    return self.retry(|writer| writer.finish(step)).map(|()| {
                        self.shared.meter.set_committed(step);
                    });
                }
                Next::Commit => self.commit()?,
                Next::Closed => return self.commit(),
            }
            let now = self.writing.clock.elapsed();
            if self.written.is_some() && now >= self.committed_at + self.writing.commit_interval {
                self.commit()?;
            }
        }
    }

    /// The next thing to do; waits for it.
    fn next(&mut self) -> Next {
        let due = self
            .written
            .map(|_| self.committed_at + self.writing.commit_interval);
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        loop {
            if let Some(message) = state.waiting.pop_front() {
                if let Message::Write(_, deltas) = &message {
                    state.rows -= deltas.iter().map(Delta::rows).sum::<usize>();
                }
                shared.count(&state);
                drop(state);
                shared.stepper.lock().ring();
                return Next::Message(message);
            }
            if state.closed {
                return Next::Closed;
            }
            let Some(due) = due else {
                shared.changed.wait(&mut state);
                continue;
            };
            let left = due.saturating_sub(self.writing.clock.elapsed());
            if left.is_zero() || shared.changed.wait_for(&mut state, left).timed_out() {
                return Next::Commit;
            }
        }
    }

    fn write(&mut self, step: Step, deltas: &[Delta]) -> Result<()> {
        let Some(first) = deltas.first() else {
            return Ok(());
        };
        let delta = consolidated(&first.schema(), deltas)?;
        if !delta.is_empty() {
            self.retry(|writer| writer.write(step, &delta))?;
            self.shared
                .meter
                .rows
                .fetch_add(delta.rows() as u64, Relaxed);
        }
        if self.written.is_none() {
            self.committed_at = self.writing.clock.elapsed();
        }
        self.written = Some(step);
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        if let Some(step) = self.written.take() {
            self.retry(|writer| writer.commit(step))?;
            self.shared.meter.set_committed(step);
        }
        self.committed_at = self.writing.clock.elapsed();
        Ok(())
    }

    /// Tries until it succeeds or fails for good; opens the sink first if that has not been done.
    fn retry(&mut self, mut act: impl FnMut(&mut dyn SinkWriter) -> Result<()>) -> Result<()> {
        loop {
            let outcome = guarded(|| {
                if self.writer.is_none() {
                    self.writer = Some(self.writing.sink.open()?);
                }
                match &mut self.writer {
                    Some(writer) => act(writer.as_mut()),
                    None => Ok(()),
                }
            });
            let error = match outcome {
                Ok(()) => {
                    self.backoff.succeeded();
                    *self.shared.meter.retrying.lock() = None;
                    return Ok(());
                }
                Err(error) => error,
            };
            let closed = self.shared.state.lock().closed;
            if error.kind != Kind::Retryable || (closed && self.backoff.attempts() >= LAST_ATTEMPTS)
            {
                return Err(error);
            }
            if self.backoff.attempts() == 0 {
                tracing::warn!(table = %self.shared.meter.table, %error, "writing failed and is tried again");
            }
            *self.shared.meter.retrying.lock() = Some(error.to_string());
            self.rest(closed);
        }
    }
}

impl Loop {
    /// Waits for the next try, or until the job is stopped.
    fn rest(&mut self, closed_before: bool) {
        let until = self.writing.clock.elapsed() + self.backoff.next();
        let mut state = self.shared.state.lock();
        while !state.closed || closed_before {
            let left = until.saturating_sub(self.writing.clock.elapsed());
            if left.is_zero() || self.shared.changed.wait_for(&mut state, left).timed_out() {
                return;
            }
        }
    }
}

fn consolidated(schema: &SchemaRef, deltas: &[Delta]) -> Result<Delta> {
    Delta::concat(schema, deltas)?.consolidate()
}
