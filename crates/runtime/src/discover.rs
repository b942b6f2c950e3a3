//! The thread that asks sources for their partitions while the job runs.

use crate::bell::Bell;
use crate::error::guarded;
use millstream_dataflow::Result;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::source::{Partition, Source};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// The sources that are asked.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    sources: Mutex<Vec<(NodeId, Arc<dyn Source>)>>,
    bell: Bell,
    closed: AtomicBool,
}

impl Discovery {
    pub(crate) fn watch(&self, id: NodeId, source: Arc<dyn Source>) {
        self.sources.lock().push((id, source));
    }

    pub(crate) fn forget(&self, id: NodeId) {
        self.sources.lock().retain(|(watched, _)| *watched != id);
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.bell.ring();
    }

    /// Asks until it is closed, and tells what it heard; stops when nobody listens.
    pub(crate) fn run(
        &self,
        interval: Duration,
        mut tell: impl FnMut(NodeId, Result<Vec<Partition>>) -> bool,
    ) {
        while !self.closed.load(SeqCst) {
            self.bell.wait(Some(interval));
            let sources = self.sources.lock().clone();
            for (id, source) in sources {
                if self.closed.load(SeqCst) || !tell(id, guarded(|| source.partitions())) {
                    return;
                }
            }
        }
    }
}
