//! How a job is doing, put together from its counters without stopping it.

use crate::checkpoint::CheckpointProgress;
use crate::error::Failure;
use crate::meter::{BadMeter, LaneMeter, NodeMeter, SinkMeter};
use crate::queue::Queue;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::source::Offset;
use millstream_dataflow::{Step, Watermark};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How a job is doing.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The last finished step.
    pub step: Step,
    /// The rows taken from all sources.
    pub rows: u64,
    /// The rows taken in a second, lately.
    pub rows_per_second: f64,
    /// How long steps take.
    pub step_times: StepTimes,
    /// Whether all input has ended and all sinks have finished.
    pub ended: bool,
    /// The nodes, inputs first.
    pub nodes: Vec<NodeProgress>,
    /// The partitions that are read.
    pub partitions: Vec<PartitionProgress>,
    /// The sinks.
    pub sinks: Vec<SinkProgress>,
    /// The bad records of each table by reason.
    pub bad: Vec<BadProgress>,
    /// The last checkpoint, if the job keeps them.
    pub checkpoint: CheckpointProgress,
}

/// How long steps took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTimes {
    /// How many steps there were in this process.
    pub steps: u64,
    /// All of them together.
    pub total: Duration,
    /// Half of the last ones took no longer.
    pub p50: Duration,
    /// 99 of 100 of the last ones took no longer.
    pub p99: Duration,
}

/// How a node is doing.
#[derive(Clone, Debug)]
pub struct NodeProgress {
    /// The node.
    pub id: NodeId,
    /// As EXPLAIN shows it.
    pub name: String,
    /// Rows that arrived, over all workers.
    pub rows_in: u64,
    /// Rows put out.
    pub rows_out: u64,
    /// Rows that came too late and were left out.
    pub late_rows: u64,
    /// How far event time has come.
    pub watermark: Watermark,
    /// Whether it still catches up with the job.
    pub catching_up: bool,
    /// Why it has stopped.
    pub failure: Option<Failure>,
}

/// How a partition is doing.
#[derive(Clone, Debug)]
pub struct PartitionProgress {
    /// The source.
    pub source: NodeId,
    /// Its table.
    pub table: String,
    /// The partition's name.
    pub partition: String,
    /// Behind what the steps have taken.
    pub position: Offset,
    /// Where it ended when last asked.
    pub end: Option<Offset>,
    /// The connector's count between the two.
    pub lag: Option<u64>,
    /// How long ago the steps had last taken all that was there, in milliseconds; `None`: they never had.
    pub behind_ms: Option<u64>,
    /// Rows taken.
    pub rows: u64,
    /// Rows that are decoded and wait for a step.
    pub queued_rows: usize,
    /// Its watermark.
    pub watermark: Watermark,
    /// Whether it holds the watermark back no more, as no row has come for long.
    pub idle: bool,
    /// Whether it has ended for good.
    pub ended: bool,
    /// Why the reader has to try again.
    pub retrying: Option<String>,
}

/// How a sink is doing.
#[derive(Clone, Debug)]
pub struct SinkProgress {
    /// The node.
    pub id: NodeId,
    /// Its table.
    pub table: String,
    /// Rows written.
    pub rows: u64,
    /// Rows that wait to be written.
    pub queued_rows: u64,
    /// Steps that wait to be written.
    pub queued_steps: u64,
    /// The last step that is durable and visible.
    pub committed: Step,
    /// Why the writer has to try again.
    pub retrying: Option<String>,
}

/// Bad records of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadProgress {
    /// The table.
    pub table: String,
    /// What is wrong with them.
    pub reason: String,
    /// How many.
    pub records: u64,
}

/// What is not counted node by node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overall {
    pub(crate) step: Step,
    pub(crate) rows: u64,
    pub(crate) rows_per_second: f64,
    pub(crate) step_times: StepTimes,
    pub(crate) ended: bool,
    pub(crate) checkpoint: CheckpointProgress,
    pub(crate) now_ms: i64,
}

/// All counters of a job.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub(crate) nodes: Vec<Arc<NodeMeter>>,
    pub(crate) lanes: Vec<Arc<Queue>>,
    pub(crate) sinks: Vec<Arc<SinkMeter>>,
    pub(crate) bad: Vec<(Arc<str>, Arc<BadMeter>)>,
}

impl Meters {
    pub(crate) fn read(&self, overall: Overall) -> Progress {
        let bad = self.bad.iter().flat_map(|(table, meter)| {
            let counts = meter.counts().into_iter();
            counts.map(|(reason, records)| BadProgress {
                table: table.to_string(),
                reason,
                records,
            })
        });
        let Overall {
            step,
            rows,
            rows_per_second,
            step_times,
            ended,
            checkpoint,
            now_ms,
        } = overall;
        let partitions = self.lanes.iter().map(|queue| partition(queue, now_ms));
        Progress {
            step,
            rows,
            rows_per_second,
            step_times,
            ended,
            nodes: self.nodes.iter().map(|meter| node(meter)).collect(),
            partitions: partitions.collect(),
            sinks: self.sinks.iter().map(|meter| sink(meter)).collect(),
            bad: bad.collect(),
            checkpoint,
        }
    }
}

fn node(meter: &NodeMeter) -> NodeProgress {
    NodeProgress {
        id: meter.id,
        name: meter.name.to_string(),
        rows_in: meter.rows_in.load(Relaxed),
        rows_out: meter.rows_out.load(Relaxed),
        late_rows: meter.late_rows.load(Relaxed),
        watermark: meter.watermark(),
        catching_up: meter.catching_up.load(Relaxed),
        failure: meter.failure.lock().clone(),
    }
}

fn partition(queue: &Queue, now_ms: i64) -> PartitionProgress {
    let meter: &LaneMeter = &queue.meter;
    let (position, end) = (meter.position(), meter.end());
    let ended = meter.ended.load(Relaxed);
    let behind_ms = if ended || queue.is_drained() {
        Some(0)
    } else {
        let complete = meter.complete_ms();
        complete.map(|complete| now_ms.saturating_sub(complete).max(0) as u64)
    };
    PartitionProgress {
        source: meter.source,
        table: meter.table.to_string(),
        partition: meter.partition.to_string(),
        position,
        end,
        lag: end.map(|end| end.0.saturating_sub(position.0).max(0) as u64),
        behind_ms,
        rows: meter.rows.load(Relaxed),
        queued_rows: queue.rows(),
        watermark: meter.watermark(),
        idle: meter.idle.load(Relaxed),
        ended,
        retrying: meter.retrying.lock().clone(),
    }
}

fn sink(meter: &SinkMeter) -> SinkProgress {
    SinkProgress {
        id: meter.id,
        table: meter.table.to_string(),
        rows: meter.rows.load(Relaxed),
        queued_rows: meter.queued_rows.load(Relaxed),
        queued_steps: meter.queued_steps.load(Relaxed),
        committed: meter.committed(),
        retrying: meter.retrying.lock().clone(),
    }
}

/// Rows per second, between two looks that are at least this far apart.
const RATE_WINDOW: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct Rate {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    at: Duration,
    rows: u64,
    rate: f64,
}

impl Rate {
    pub(crate) fn look(&self, at: Duration, rows: u64) -> f64 {
        let mut seen = self.seen.lock();
        let passed = at.saturating_sub(seen.at);
        if passed >= RATE_WINDOW {
            seen.rate = (rows - seen.rows) as f64 / passed.as_secs_f64();
            seen.at = at;
            seen.rows = rows;
        }
        seen.rate
    }
}
