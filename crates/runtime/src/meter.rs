//! Counters that the job's threads write and anyone reads without stopping them.

use crate::error::Failure;
use crate::progress::StepTimes;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::source::Offset;
use millstream_dataflow::{Step, Watermark};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The reasons that are told apart for each table; further ones are counted together.
const REASONS_MAX: usize = 100;
/// Stands for a number that is not known.
const UNKNOWN: i64 = i64::MIN;

/// Of a node of the graph.
#[derive(Debug)]
pub(crate) struct NodeMeter {
    pub(crate) id: NodeId,
    pub(crate) name: Arc<str>,
    pub(crate) rows_in: AtomicU64,
    pub(crate) rows_out: AtomicU64,
    pub(crate) late_rows: AtomicU64,
    watermark: AtomicI64,
    pub(crate) catching_up: AtomicBool,
    pub(crate) failure: Mutex<Option<Failure>>,
}

impl NodeMeter {
    pub(crate) fn new(id: NodeId, name: Arc<str>) -> Self {
        Self {
            id,
            name,
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            late_rows: AtomicU64::new(0),
            watermark: AtomicI64::new(Watermark::MIN.0),
            catching_up: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    pub(crate) fn watermark(&self) -> Watermark {
        Watermark(self.watermark.load(Relaxed))
    }

    pub(crate) fn set_watermark(&self, watermark: Watermark) {
        self.watermark.store(watermark.0, Relaxed);
    }
}

/// Adds without the cost of an atomic addition: each counter has one writer at a time.
pub(crate) fn add(counter: &AtomicU64, rows: usize) {
    counter.store(counter.load(Relaxed) + rows as u64, Relaxed);
}

/// Of a partition that is read.
#[derive(Debug)]
pub(crate) struct LaneMeter {
    pub(crate) source: NodeId,
    pub(crate) table: Arc<str>,
    pub(crate) partition: Arc<str>,
    /// Behind what the steps have taken.
    position: AtomicI64,
    end: AtomicI64,
    pub(crate) rows: AtomicU64,
    watermark: AtomicI64,
    pub(crate) idle: AtomicBool,
    pub(crate) ended: AtomicBool,
    /// Whether the last poll found nothing more.
    pub(crate) caught_up: AtomicBool,
    /// When the steps had last taken all that was there.
    complete_ms: AtomicI64,
    /// Why the reader has to try again.
    pub(crate) retrying: Mutex<Option<String>>,
}

impl LaneMeter {
    pub(crate) fn new(source: NodeId, table: &Arc<str>, partition: &str, from: Offset) -> Self {
        Self {
            source,
            table: Arc::clone(table),
            partition: partition.into(),
            position: AtomicI64::new(from.0),
            end: AtomicI64::new(UNKNOWN),
            rows: AtomicU64::new(0),
            watermark: AtomicI64::new(Watermark::MIN.0),
            idle: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            caught_up: AtomicBool::new(false),
            complete_ms: AtomicI64::new(UNKNOWN),
            retrying: Mutex::new(None),
        }
    }

    pub(crate) fn position(&self) -> Offset {
        Offset(self.position.load(Relaxed))
    }

    pub(crate) fn set_position(&self, position: Offset) {
        self.position.store(position.0, Relaxed);
    }

    pub(crate) fn complete_ms(&self) -> Option<i64> {
        let at = self.complete_ms.load(Relaxed);
        (at != UNKNOWN).then_some(at)
    }

    pub(crate) fn set_complete_ms(&self, now_ms: i64) {
        self.complete_ms.store(now_ms, Relaxed);
    }

    pub(crate) fn end(&self) -> Option<Offset> {
        let end = self.end.load(Relaxed);
        (end != UNKNOWN).then_some(Offset(end))
    }

    pub(crate) fn set_end(&self, end: Option<Offset>) {
        self.end.store(end.map_or(UNKNOWN, |end| end.0), Relaxed);
    }

    pub(crate) fn watermark(&self) -> Watermark {
        Watermark(self.watermark.load(Relaxed))
    }

    pub(crate) fn set_watermark(&self, watermark: Watermark) {
        self.watermark.store(watermark.0, Relaxed);
    }
}

/// Of the steps that are remembered one by one.
const STEPS: usize = 1024;

/// Of all steps. One thread writes it.
#[derive(Debug)]
pub(crate) struct StepMeter {
    steps: AtomicU64,
    nanos: AtomicU64,
    /// How long the last steps took, in microseconds.
    recent: Box<[AtomicU32]>,
}

impl Default for StepMeter {
    fn default() -> Self {
        Self {
            steps: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            recent: (0..STEPS).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

impl StepMeter {
    pub(crate) fn took(&self, took: Duration) {
        let steps = self.steps.load(Relaxed);
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.recent[steps as usize % STEPS].store(micros, Relaxed);
        self.nanos.fetch_add(took.as_nanos() as u64, Relaxed);
        self.steps.store(steps + 1, Relaxed);
    }

    pub(crate) fn read(&self) -> StepTimes {
        let steps = self.steps.load(Relaxed);
        let recent = self.recent.iter().take(steps.min(STEPS as u64) as usize);
        let mut micros: Vec<u32> = recent.map(|micros| micros.load(Relaxed)).collect();
        micros.sort_unstable();
        let below = |share: f64| {
            let last = micros.len().saturating_sub(1);
            let at = (last as f64 * share).round() as usize;
            Duration::from_micros(u64::from(micros.get(at).copied().unwrap_or_default()))
        };
        StepTimes {
            steps,
            total: Duration::from_nanos(self.nanos.load(Relaxed)),
            p50: below(0.5),
            p99: below(0.99),
        }
    }
}

/// Of the bad records of a table.
#[derive(Debug, Default)]
pub(crate) struct BadMeter {
    reasons: Mutex<BTreeMap<String, u64>>,
}

impl BadMeter {
    pub(crate) fn count(&self, reason: &str) {
        let mut reasons = self.reasons.lock();
        if let Some(count) = reasons.get_mut(reason) {
            *count += 1;
            return;
        }
        let reason = if reasons.len() < REASONS_MAX {
            reason
        } else {
            "other reasons"
        };
        *reasons.entry(reason.to_owned()).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> Vec<(String, u64)> {
        let reasons = self.reasons.lock();
        reasons
            .iter()
            .map(|(r, count)| (r.clone(), *count))
            .collect()
    }
}

/// Of a sink.
#[derive(Debug)]
pub(crate) struct SinkMeter {
    pub(crate) id: NodeId,
    pub(crate) table: Arc<str>,
    pub(crate) queued_rows: AtomicU64,
    pub(crate) queued_steps: AtomicU64,
    pub(crate) rows: AtomicU64,
    committed: AtomicU64,
    pub(crate) retrying: Mutex<Option<String>>,
}

impl SinkMeter {
    pub(crate) fn new(id: NodeId, table: Arc<str>) -> Self {
        Self {
            id,
            table,
            queued_rows: AtomicU64::new(0),
            queued_steps: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            retrying: Mutex::new(None),
        }
    }

    pub(crate) fn committed(&self) -> Step {
        Step(self.committed.load(Relaxed))
    }

    pub(crate) fn set_committed(&self, step: Step) {
        self.committed.store(step.0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_steps_are_told_from_all() {
        let meter = StepMeter::default();
        assert_eq!(meter.read(), StepTimes::default());
        (0..2 * STEPS).for_each(|_| meter.took(Duration::from_millis(7)));
        (1..=STEPS).for_each(|step| meter.took(Duration::from_micros(step as u64)));
        let read = meter.read();
        assert_eq!(read.steps, 3 * STEPS as u64);
        assert!(read.total > Duration::from_millis(14 * STEPS as u64));
        assert_eq!(read.p50.as_micros().abs_diff(512), 1);
        assert!((1_010..=1_016).contains(&read.p99.as_micros()), "{read:?}");
    }

    #[test]
    fn reasons_without_end_are_counted_together() {
        let meter = BadMeter::default();
        (0..300).for_each(|number| meter.count(&format!("bad value {number}")));
        meter.count("bad value 3");
        let counts = meter.counts();
        assert_eq!(counts.len(), REASONS_MAX + 1);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 301);
    }
}
