//! What a step was made of. With the same records, the same steps can be run again.

use crate::watermark::NodeTime;
use millstream_dataflow::Step;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::source::Offset;
use std::fmt::Debug;
use std::sync::Arc;

/// The input of one step, by reference to where it can be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// The step.
    pub step: Step,
    /// Its reading of the wall clock.
    pub now_ms: i64,
    /// What was taken, in the order in which it was fed.
    pub ranges: Vec<Range>,
    /// The time of each source whose time changed in this step.
    pub times: Vec<(NodeId, NodeTime)>,
}

/// A part of a partition: `from` up to but without `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The source.
    pub source: NodeId,
    /// The partition's name.
    pub partition: Arc<str>,
    /// The first offset.
    pub from: Offset,
    /// Behind the last offset.
    pub to: Offset,
}

/// Is told of each step before it runs.
pub trait Recorder: Debug + Send + Sync {
    /// A step is about to run.
    fn record(&self, step: &StepRecord);
}
