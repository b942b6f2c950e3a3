//! What servers need beside statements: plans over one step, words about missing names, how everything is doing.

use datafusion::logical_expr::LogicalPlan;
use millstream_dataflow::graph::{Graph, Node, NodeId, NodeKind, OnBad};
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
    /// How long ago it last showed all that its sources held, in milliseconds; `None`: it never has.
    pub behind_ms: Option<u64>,
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
                Relation::Materialized(view) => {
                    let sources = sources_of(&state.graph, view.node);
                    Some((name.to_owned(), view.node, sources))
                }
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
            .map(|(_, node, _)| ViewRequest {
                node: *node,
                lookup: None,
            })
            .collect();
        let asked = job.snapshot_then(requests, move |snapshot| drop(sender.send(snapshot)));
        let snapshot = asked.ok().and_then(|()| snapshot.recv().ok());
        let progress = job.progress();
        let view = |(idx, (name, node, sources)): (usize, &(String, _, Vec<NodeId>))| {
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
                behind_ms: behind(&progress, sources),
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

/// The sources that a node gets its rows from.
fn sources_of(graph: &Graph, node: NodeId) -> Vec<NodeId> {
    let mut reached = vec![node];
    for node in graph.nodes.iter().rev() {
        if reached.contains(&node.id) {
            reached.extend(node.inputs.iter().map(|edge| edge.from));
        }
    }
    let is_source = |node: &&Node| match &node.kind {
        NodeKind::Source(source) => {
            let letters = match source.on_bad {
                OnBad::DeadLetter(letters) => reached.contains(&letters),
                OnBad::Fail | OnBad::Skip => false,
            };
            letters || reached.contains(&node.id)
        }
        NodeKind::Operator(_)
        | NodeKind::View(_)
        | NodeKind::Sink(_)
        | NodeKind::DeadLetters(_) => false,
    };
    let sources = graph.nodes.iter().filter(is_source);
    sources.map(|node| node.id).collect()
}

/// How far behind some sources are, all together.
fn behind(progress: &Progress, sources: &[NodeId]) -> Option<u64> {
    let partitions = progress.partitions.iter();
    let of = partitions.filter(|partition| sources.contains(&partition.source));
    of.map(|partition| partition.behind_ms)
        .try_fold(0, |most: u64, behind| Some(most.max(behind?)))
}
