//! What one finished step stands on: how far each partition was read, the clock, the watermarks, and the views' rows.
//!
//! With it the step's views can be computed again from nothing but the sources.

use crate::driver::Driver;
use crate::error::Result;
use crate::feed::{Feed, Lane};
use crate::job::Job;
use crate::snapshot::{Snapshot, ViewRequest};
use millstream_dataflow::Watermark;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::source::Offset;
use std::sync::atomic::Ordering::Relaxed;

/// A job after one step.
#[derive(Debug)]
pub struct Inspection {
    /// The step, and the views that were asked for.
    pub snapshot: Snapshot,
    /// The step's reading of the wall clock; `None` before the first step.
    pub now_ms: Option<i64>,
    /// What has been read.
    pub ranges: Vec<ReadRange>,
    /// The nodes, inputs first.
    pub nodes: Vec<NodeState>,
}

/// The part of a partition that the steps so far have taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRange {
    /// The source.
    pub source: NodeId,
    /// Its table.
    pub table: String,
    /// The partition's name.
    pub partition: String,
    /// Where the job began to read.
    pub start: Offset,
    /// Behind the last row that a step has taken.
    pub position: Offset,
}

/// A node after one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// The node.
    pub id: NodeId,
    /// How far event time has come in it.
    pub watermark: Watermark,
    /// Rows that came too late and were left out.
    pub late_rows: u64,
}

impl Job {
    /// Everything about the last finished step, with some views as they were then.
    ///
    /// # Errors
    /// When the job has stopped.
    pub fn inspect(&self, requests: Vec<ViewRequest>) -> Result<Inspection> {
        self.call(move |driver| driver.inspect(&requests))
    }
}

impl Driver {
    fn inspect(&mut self, requests: &[ViewRequest]) -> Inspection {
        let ranges = |feed: &Feed| {
            let range = |lane: &Lane| ReadRange {
                source: feed.id,
                table: feed.table.to_string(),
                partition: lane.partition.name.clone(),
                start: lane.partition.start,
                position: lane.queue.meter.position(),
            };
            feed.lanes.iter().map(range).collect::<Vec<_>>()
        };
        let plan = self.flow.plan();
        let node = |id: NodeId, late_rows| NodeState {
            id,
            watermark: self.flow.time(id).watermark,
            late_rows,
        };
        let nodes = plan.nodes.iter().map(|planned| &planned.meter);
        let nodes = nodes.map(|meter| node(meter.id, meter.late_rows.load(Relaxed)));
        let now_ms = self.flow.last_now_ms();
        Inspection {
            now_ms: (now_ms != i64::MIN).then_some(now_ms),
            ranges: self.intake.feeds().iter().flat_map(ranges).collect(),
            nodes: nodes.collect(),
            snapshot: self.read(requests),
        }
    }
}
