//! Reading views: all that is asked at once is answered at the same finished step.

use crate::driver::Driver;
use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::{Delta, Step};
use millstream_state::ViewSnapshot;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::Receiver;

/// What is asked of a view.
#[derive(Clone, Debug)]
pub struct ViewRequest {
    /// The view.
    pub node: NodeId,
    /// Key values, one column for each column of the view's key: only the rows with these keys are wanted.
    pub lookup: Option<RecordBatch>,
}

/// Views as they were after one step.
#[derive(Debug)]
pub struct Snapshot {
    /// The step.
    pub step: Step,
    /// What was asked for, in that order.
    pub views: Vec<Result<ViewRows>>,
}

/// The rows of a view at one step.
#[derive(Debug)]
pub enum ViewRows {
    /// All of them.
    All(ViewSnapshot),
    /// Those that were looked up.
    Found(RecordBatch),
}

impl ViewRows {
    /// The rows. Costs a copy where rows have been retracted, so call it on the reader's own thread.
    pub fn batches(&self) -> Result<Vec<RecordBatch>> {
        Ok(match self {
            Self::All(snapshot) => snapshot.batches()?,
            Self::Found(batch) => vec![batch.clone()],
        })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        match self {
            Self::All(snapshot) => snapshot.rows(),
            Self::Found(batch) => batch.num_rows(),
        }
    }
}

/// The changes of a view from a step on.
#[derive(Debug)]
pub struct Subscription {
    /// The step at which the view was `rows`.
    pub step: Step,
    /// The view at that step.
    pub rows: ViewRows,
    changes: Receiver<(Step, Vec<Delta>)>,
    lagged: Arc<AtomicBool>,
}

impl Subscription {
    pub(crate) fn new(
        step: Step,
        rows: ViewRows,
        changes: Receiver<(Step, Vec<Delta>)>,
        lagged: Arc<AtomicBool>,
    ) -> Self {
        Self {
            step,
            rows,
            changes,
            lagged,
        }
    }

    /// The changes of the next step that changed the view, consolidated; waits for it. `None` when no more will come.
    ///
    /// # Errors
    /// When the reader was slower than the job for so long that changes were lost.
    pub fn next(&self) -> Result<Option<(Step, Delta)>> {
        while let Ok((step, deltas)) = self.changes.recv() {
            let Some(first) = deltas.first() else {
                continue;
            };
            let delta = Delta::concat(&first.schema(), &deltas)?.consolidate()?;
            if !delta.is_empty() {
                return Ok(Some((step, delta)));
            }
        }
        if self.lagged.load(SeqCst) {
            let error = millstream_dataflow::Error::user(
                "the subscription was too slow and has been ended",
            )
            .hint("read faster, or subscribe to fewer changes");
            return Err(Error::Dataflow(error));
        }
        Ok(None)
    }
}

impl Driver {
    /// Answers at the last finished step.
    pub(crate) fn read(&mut self, requests: &[ViewRequest]) -> Snapshot {
        Snapshot {
            step: self.flow.last_step(),
            views: requests
                .iter()
                .map(|request| self.read_one(request))
                .collect(),
        }
    }

    pub(crate) fn read_one(&mut self, request: &ViewRequest) -> Result<ViewRows> {
        let table = self.view(request.node)?.table();
        let table = table.ok_or(Error::NotAView(request.node))?;
        Ok(match &request.lookup {
            None => ViewRows::All(table.snapshot()?),
            Some(keys) => ViewRows::Found(table.lookup(keys)?),
        })
    }
}
