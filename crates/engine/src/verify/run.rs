//! Runs the views of a file over bounded sources to their end, and tells what is known of a job's step.

use arrow::array::RecordBatch;
use millstream_dataflow::graph::{Graph, NodeId, NodeKind};
use millstream_dataflow::{Error, Result, Watermark};
use millstream_runtime::{Inspection, Job, ViewRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::facts::{Facts, Range, ViewFacts};
use super::history;
use super::pipeline::{Pipeline, upstream};
use crate::engine::{Engine, from_runtime};
use millstream_planner::catalog::Relation;

/// The table that a source of constant rows says it is.
const CONSTANTS: &str = "VALUES";

/// A view of a job: its name, its node and its statement.
type Named = (String, NodeId, Option<String>);

impl Pipeline {
    /// Maintains the file's views over its sources to their end. Sinks are not written.
    ///
    /// # Errors
    /// `User` when a source does not end, or has nothing to read.
    pub fn run(&self, workers: usize, step_rows_max: Option<usize>) -> Result<Facts> {
        for node in &self.graph.nodes {
            if let NodeKind::Source(source) = &node.kind
                && !source.source.bounded()
            {
                return Err(Error::user(format!("table `{}` does not end", source.table)).hint(
                    "verify a running instance with --against, or bound the table ('scan.bounded.mode')",
                ));
            }
        }
        let steps = history::Shared::default();
        let config = millstream_runtime::Config {
            workers,
            step_rows_max,
            recorder: Some(Arc::clone(&steps) as _),
            ..millstream_runtime::Config::default()
        };
        let job = Job::start(self.graph.clone(), config).map_err(from_runtime)?;
        // A view that has failed says so itself.
        drop(job.wait_end());
        let views = self.views().iter();
        let views: Vec<Named> = views
            .map(|(name, view)| (name.clone(), view.node, view.definition.clone()))
            .collect();
        let inspection = job.inspect(requests(&views)).map_err(from_runtime)?;
        let mut facts = facts(&self.graph, views, &inspection);
        facts.history = Some(steps.history(sources(&self.graph)));
        job.stop();
        Ok(facts)
    }
}

impl Engine {
    /// What is known of the last step of the job, and these views as they were then; none: all.
    ///
    /// # Errors
    /// `User` for a name that is no materialized view, or when nothing runs.
    pub fn facts(&self, names: &[String]) -> Result<Facts> {
        let (job, graph, views) = self.with_state(|state| {
            let view = |name: &str, relation: &Relation| match relation {
                Relation::Materialized(view) => Some((
                    name.to_owned(),
                    view.node,
                    relation
                        .definition()
                        .map(|definition| definition.sql.clone()),
                )),
                Relation::Table(_) | Relation::View(_) => None,
            };
            let all = state.declared.catalog.iter();
            let is_wanted =
                |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
            let views: Vec<Named> = all
                .filter(|(name, _)| is_wanted(name) && !name.starts_with('\u{1}'))
                .filter_map(|(name, relation)| view(name, relation))
                .collect();
            (state.job.clone(), state.graph.clone(), views)
        });
        let Some(job) = job else {
            return Err(Error::user("nothing runs"));
        };
        let inspection = job.inspect(requests(&views)).map_err(from_runtime)?;
        Ok(facts(&graph, views, &inspection))
    }
}

fn requests(views: &[Named]) -> Vec<ViewRequest> {
    let request = |(_, node, _): &Named| ViewRequest {
        node: *node,
        lookup: None,
    };
    views.iter().map(request).collect()
}

fn sources(graph: &Graph) -> BTreeMap<NodeId, String> {
    let table = |node: &millstream_dataflow::graph::Node| match &node.kind {
        NodeKind::Source(source) if source.table != CONSTANTS => {
            Some((node.id, source.table.clone()))
        }
        _ => None,
    };
    graph.nodes.iter().filter_map(table).collect()
}

fn facts(graph: &Graph, views: Vec<Named>, inspection: &Inspection) -> Facts {
    let sources = sources(graph);
    let tables_of = |node: NodeId| -> BTreeSet<String> {
        let nodes = upstream(graph, &[node].into());
        nodes
            .iter()
            .filter_map(|node| sources.get(node).cloned())
            .collect()
    };
    let tables: BTreeMap<NodeId, BTreeSet<String>> = graph
        .nodes
        .iter()
        .map(|node| (node.id, tables_of(node.id)))
        .collect();
    let mut found = BTreeMap::new();
    for ((name, node, definition), rows) in views.into_iter().zip(&inspection.snapshot.views) {
        let nodes = upstream(graph, &[node].into());
        let mut watermarks: BTreeMap<BTreeSet<String>, Watermark> = BTreeMap::new();
        let mut late_rows = 0;
        for state in inspection
            .nodes
            .iter()
            .filter(|state| nodes.contains(&state.id))
        {
            late_rows += state.late_rows;
            if let Some(tables) = tables.get(&state.id) {
                let known = watermarks.entry(tables.clone()).or_insert(state.watermark);
                *known = state.watermark.max(*known);
            }
        }
        let ranges = inspection
            .ranges
            .iter()
            .filter(|range| nodes.contains(&range.source) && sources.contains_key(&range.source));
        let ranges = ranges.map(|range| Range {
            table: range.table.clone(),
            partition: range.partition.clone(),
            start: range.start,
            end: range.position,
        });
        let rows: Result<Vec<RecordBatch>> = match rows {
            Ok(rows) => rows.batches().map_err(from_runtime),
            Err(error) => Err(Error::user(error.to_string())),
        };
        let facts = ViewFacts {
            rows: rows.map_err(|error| error.to_string()),
            definition,
            ranges: ranges.collect(),
            watermarks,
            late_rows,
        };
        found.insert(name, facts);
    }
    Facts {
        step: inspection.snapshot.step.0,
        now_ms: inspection.now_ms,
        views: found,
        history: None,
    }
}
