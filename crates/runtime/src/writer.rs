//! The queue in front of a writer, which writes behind the steps: a sink of its own, or all the sinks of a system whose
//! transactions span them.
//!
//! The bound is soft: the job looks before a step, so one step's output more may wait.

use crate::bell::Bell;
use crate::clock::Clock;
use crate::meter::SinkMeter;
use crate::target::Target;
use crate::turn::Stage;
use crate::writing::Writing;
use millstream_dataflow::sink::Sink;
use millstream_dataflow::{Delta, Result, Step};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// How a writer works.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) commit_interval: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seed: u64,
    pub(crate) rows_max: usize,
    pub(crate) steps_max: usize,
    /// Whether it commits only when a checkpoint asks for it.
    pub(crate) by_checkpoint: bool,
}

/// A writer of a running job. Dropping the last handle closes it.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    rows_max: usize,
    steps_max: usize,
    slots: AtomicUsize,
    /// The last step whose record was committed before the job was recovered.
    recorded: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// Rung when there is something to do.
    pub(crate) bell: Arc<Bell>,
    /// Rung when there is room again, an answer, and at the end.
    pub(crate) stepper: Mutex<Arc<Bell>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) waiting: VecDeque<Message>,
    pub(crate) meters: Vec<Arc<SinkMeter>>,
    pub(crate) rows: usize,
    pub(crate) closed: bool,
    pub(crate) ended: Option<Result<()>>,
    /// The records that it found when it opened.
    pub(crate) opened: Option<Vec<Vec<u8>>>,
    /// The last barrier that was reached, and what publishing needs.
    pub(crate) prepared: Option<(Step, Vec<u8>)>,
}

#[derive(Debug)]
pub(crate) enum Message {
    /// A sink joins.
    Join(Arc<dyn Sink>),
    /// The changes of a step for a sink.
    Write(Step, usize, Vec<Delta>),
    /// The record of a step, behind its changes.
    Record(Step, Vec<u8>),
    /// Everything up to this step is to be safe, for a checkpoint.
    Prepare(Step),
    /// The checkpoint of this step is complete.
    Complete(Step, Vec<u8>),
    /// The input of a sink has ended.
    Finish(Step),
}

impl Writer {
    /// Starts it; it opens its target at once, not with the first row: a wrong address shows at the start.
    pub(crate) fn start(
        target: Box<dyn Target>,
        settings: Settings,
        stage: &Stage,
        stepper: Arc<Bell>,
    ) -> Result<Arc<Self>> {
        let bell = Arc::new(Bell::default());
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            bell: Arc::clone(&bell),
            stepper: Mutex::new(stepper),
        });
        let (rows_max, steps_max) = (settings.rows_max, settings.steps_max);
        let clock = Arc::clone(&settings.clock);
        let writing = Writing::new(target, settings, Arc::clone(&shared));
        stage.start("writer", bell, clock, Box::new(writing))?;
        Ok(Arc::new(Self {
            shared,
            rows_max,
            steps_max,
            slots: AtomicUsize::new(0),
            recorded: AtomicU64::new(0),
        }))
    }

    /// Another sink to write to.
    pub(crate) fn join(self: &Arc<Self>, sink: Arc<dyn Sink>, meter: Arc<SinkMeter>) -> SinkOutlet {
        let slot = self.slots.fetch_add(1, Relaxed);
        self.shared.state.lock().meters.push(Arc::clone(&meter));
        self.shared.push(Message::Join(sink), 0);
        SinkOutlet {
            writer: Arc::clone(self),
            slot,
            meter,
            written_to: Step(0),
        }
    }

    /// The record of a step that has run: it goes into one transaction with what the step put out.
    pub(crate) fn record(&self, step: Step, record: &[u8]) {
        if step > self.recorded() {
            self.shared.push(Message::Record(step, record.to_vec()), 0);
        }
    }

    /// The last step whose record was committed before the job was recovered.
    pub(crate) fn recorded(&self) -> Step {
        Step(self.recorded.load(Relaxed))
    }

    pub(crate) fn set_recorded(&self, step: Step) {
        self.recorded.store(step.0, Relaxed);
    }

    /// The records that were found at the opening, once; `None` before that.
    pub(crate) fn take_opened(&self) -> Option<Vec<Vec<u8>>> {
        self.shared.state.lock().opened.take()
    }

    /// Asks for everything up to this step to be safe; [`Writer::prepared`] tells when it is.
    pub(crate) fn prepare(&self, step: Step) {
        self.shared.push(Message::Prepare(step), 0);
    }

    /// What publishing needs, if everything up to this step is safe.
    pub(crate) fn prepared(&self, step: Step) -> Option<Vec<u8>> {
        let state = self.shared.state.lock();
        let prepared = state.prepared.as_ref();
        prepared
            .filter(|(prepared, _)| *prepared == step)
            .map(|(_, bytes)| bytes.clone())
    }

    /// The checkpoint of this step, which holds these bytes, is complete.
    pub(crate) fn complete(&self, step: Step, prepared: Vec<u8>) {
        self.shared.push(Message::Complete(step, prepared), 0);
    }

    /// No more will come: writes and commits what waits, and ends.
    pub(crate) fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.bell.ring();
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
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// A sink of a running job, which may share its writer with others.
pub(crate) struct SinkOutlet {
    pub(crate) writer: Arc<Writer>,
    slot: usize,
    pub(crate) meter: Arc<SinkMeter>,
    /// The last step whose rows were committed before the job was recovered.
    pub(crate) written_to: Step,
}

impl SinkOutlet {
    /// The changes of a step.
    pub(crate) fn write(&self, step: Step, deltas: Vec<Delta>) {
        if step <= self.written_to {
            return;
        }
        let rows = deltas.iter().map(Delta::rows).sum();
        self.writer
            .shared
            .push(Message::Write(step, self.slot, deltas), rows);
    }

    /// The input has ended.
    pub(crate) fn finish(&self, step: Step) {
        self.writer.shared.push(Message::Finish(step), 0);
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
        state.count();
        drop(state);
        self.bell.ring();
    }

    pub(crate) fn end(&self, ended: Result<()>) {
        let mut state = self.state.lock();
        state.ended = Some(ended);
        state.waiting.clear();
        state.rows = 0;
        state.count();
        drop(state);
        self.stepper.lock().ring();
    }
}

impl State {
    /// Takes the next message.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let message = self.waiting.pop_front()?;
        if let Message::Write(_, _, deltas) = &message {
            self.rows -= deltas.iter().map(Delta::rows).sum::<usize>();
        }
        self.count();
        Some(message)
    }

    fn count(&self) {
        for meter in &self.meters {
            meter.queued_rows.store(self.rows as u64, Relaxed);
            meter.queued_steps.store(self.waiting.len() as u64, Relaxed);
        }
    }
}
