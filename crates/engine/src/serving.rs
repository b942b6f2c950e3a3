//! What servers need beside statements: plans over one step, words about missing names, how everything is doing.

use datafusion::logical_expr::LogicalPlan;
use millstream_dataflow::{Error, Result, Watermark};
use millstream_planner::catalog::Relation;
use millstream_runtime::{Progress, ViewRequest};

use crate::ad_hoc;
use crate::engine::Engine;

/// How an engine is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The job's progress; `None` before there is one.
    pub progress: Option<Progress>,
    /// The materialized views by name.
    pub views: Vec<ViewStatus>,
}

/// How a view is doing.
#[derive(Clone, Debug)]
pub struct ViewStatus {
    /// Its name.
    pub name: String,
    /// Its rows at the last finished step; `None` when it can't be read.
    pub rows: Option<u64>,
    /// Changes that it has taken.
    pub changes: u64,
    /// How far event time has come in it.
    pub watermark: Watermark,
    /// Whether it still catches up with the job.
    pub catching_up: bool,
    /// Why it has stopped.
    pub failure: Option<String>,
}

impl Engine {
    /// An optimized plan with its views replaced by their rows, all of one step.
    ///
    /// # Errors
    /// When a view has failed: why.
    pub fn freeze(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        ad_hoc::freeze(self, plan)
    }

    /// What there is to say about a name that a query could not find.
    pub fn about_missing(&self, name: &str) -> Error {
        self.with_state(|state| ad_hoc::missing(state, name))
    }

    /// How everything is doing. Waits for the end of the running step.
    pub fn status(&self) -> Status {
        let (job, nodes) = self.with_state(|state| {
            let view = |(name, relation): (&str, &std::sync::Arc<Relation>)| match relation.as_ref()
            {
                Relation::Materialized(view) => Some((name.to_owned(), view.node)),
                Relation::Table(_) | Relation::View(_) => None,
            };
            (
                state.job.clone(),
                state
                    .declared
                    .catalog
                    .iter()
                    .filter_map(view)
                    .collect::<Vec<_>>(),
            )
        });
        let Some(job) = job else {
            return Status::default();
        };
        let (sender, snapshot) = std::sync::mpsc::sync_channel(1);
        let requests = nodes
            .iter()
            .map(|(_, node)| ViewRequest {
                node: *node,
                lookup: None,
            })
            .collect();
        let asked = job.snapshot_then(requests, move |snapshot| drop(sender.send(snapshot)));
        let snapshot = asked.ok().and_then(|()| snapshot.recv().ok());
        let progress = job.progress();
        let view = |(idx, (name, node)): (usize, &(String, _))| {
            let found = snapshot
                .as_ref()
                .and_then(|snapshot| snapshot.views.get(idx));
            let of = progress.nodes.iter().find(|progress| progress.id == *node);
            ViewStatus {
                name: name.clone(),
                rows: found
                    .and_then(|view| view.as_ref().ok())
                    .map(|rows| rows.rows() as u64),
                changes: of.map_or(0, |of| of.rows_in),
                watermark: of.map_or(Watermark::MIN, |of| of.watermark),
                catching_up: of.is_some_and(|of| of.catching_up),
                failure: of
                    .and_then(|of| of.failure.as_ref())
                    .map(ToString::to_string),
            }
        };
        let views = nodes.iter().enumerate().map(view).collect();
        Status {
            progress: Some(progress),
            views,
        }
    }
}
