//! The sources that are asked for their partitions while the job runs.

use crate::bell::Bell;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::source::Source;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// The sources that are asked.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    sources: Mutex<Vec<(NodeId, Arc<dyn Source>)>>,
    bell: Arc<Bell>,
    closed: AtomicBool,
}

impl Discovery {
    pub(crate) fn watch(&self, id: NodeId, source: Arc<dyn Source>) {
        self.sources.lock().push((id, source));
    }

    pub(crate) fn forget(&self, id: NodeId) {
        self.sources.lock().retain(|(watched, _)| *watched != id);
    }

    pub(crate) fn sources(&self) -> Vec<(NodeId, Arc<dyn Source>)> {
        self.sources.lock().clone()
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.bell.ring();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }
}
