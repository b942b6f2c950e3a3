//! A source that is read: its partitions, where each stands, and how far event time has come.

use crate::meter::BadMeter;
use crate::queue::Queue;
use crate::watermark::{self, NodeTime, PartitionTime};
use millstream_dataflow::graph::{NodeId, SourceNode};
use millstream_dataflow::source::{Offset, Partition};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A source that is read.
pub(crate) struct Feed {
    pub(crate) id: NodeId,
    pub(crate) node: SourceNode,
    pub(crate) table: Arc<str>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) bad: Arc<BadMeter>,
    pub(crate) time: NodeTime,
    /// Whether its partitions are known.
    pub(crate) discovered: bool,
    pub(crate) failed: bool,
    pub(crate) touched: bool,
}

/// A partition that is read.
pub(crate) struct Lane {
    pub(crate) partition: Partition,
    pub(crate) queue: Arc<Queue>,
    pub(crate) position: Offset,
    pub(crate) time: PartitionTime,
    /// Whether the reader has come to where it was told to stop.
    pub(crate) reached: bool,
    /// Whether its time is that of the same partition in the running graph.
    pub(crate) adopted: bool,
}

/// Where a partition stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) partition: Partition,
    pub(crate) position: Offset,
    pub(crate) time: PartitionTime,
}

impl Feed {
    pub(crate) fn close(&self) {
        self.lanes.iter().for_each(|lane| lane.queue.close());
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.failed
            || (self.discovered
                && self.node.source.bounded()
                && self.lanes.iter().all(|lane| lane.time.ended))
    }

    pub(crate) fn time_at(&mut self, now_ms: i64, ordered: bool, beside: bool) -> NodeTime {
        if self.lanes.is_empty() {
            return if self.is_ended() {
                NodeTime::END
            } else {
                self.time
            };
        }
        let timeout = self.node.idle_timeout_ms.filter(|_| !ordered);
        let bounded = self.node.source.bounded();
        let times = self.lanes.iter_mut().map(|lane| {
            lane.time.waiting = !lane.queue.is_empty();
            if lane.queue.is_drained() {
                lane.queue.meter.set_complete_ms(now_ms);
            }
            let timeout = timeout.filter(|_| !beside || lane.adopted);
            let time = watermark::of_partition(&lane.time, now_ms, timeout);
            lane.queue.meter.idle.store(time.idle, Relaxed);
            time
        });
        let time = watermark::merge(times);
        if time == NodeTime::END && !bounded {
            // Its partitions have ended, but others may be added.
            return NodeTime {
                watermark: self.time.watermark,
                idle: true,
            };
        }
        NodeTime {
            watermark: time.watermark.max(self.time.watermark),
            idle: time.idle,
        }
    }

    /// Where its partitions stand.
    pub(crate) fn standing(&self) -> Vec<Standing> {
        let standing = |lane: &Lane| Standing {
            partition: lane.partition.clone(),
            position: lane.position,
            time: lane.time,
        };
        self.lanes.iter().map(standing).collect()
    }
}
