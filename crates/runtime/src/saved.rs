//! What a checkpoint says beside the tables: where sources stand, how far time has come, what sinks have prepared.

use crate::driver::Driver;
use crate::error::Failure;
use crate::feed::{Feed, Standing};
use crate::plan::name;
use crate::watermark::{NodeTime, PartitionTime};
use millstream_dataflow::graph::{Node, NodeId, NodeKind};
use millstream_dataflow::source::{Offset, Partition};
use millstream_dataflow::{Error, Result, Watermark};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of what is saved. Another one is refused, never read as this one.
const VERSION: u32 = 1;

/// All that is to be known beside the tables to go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct About {
    version: u32,
    /// The job's name in the systems that it writes to.
    pub(crate) job: String,
    pub(crate) step: u64,
    pub(crate) now_ms: i64,
    pub(crate) workers: usize,
    /// What the job was made from, in its owner's words.
    pub(crate) catalog: Value,
    pub(crate) nodes: Vec<NodeState>,
    pub(crate) sources: Vec<SourceState>,
    pub(crate) sinks: Vec<SinkState>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeState {
    pub(crate) node: u32,
    /// What the node is: a graph that has another there is another graph.
    pub(crate) is: String,
    pub(crate) watermark: i64,
    pub(crate) idle: bool,
    pub(crate) failure: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SourceState {
    pub(crate) node: u32,
    pub(crate) watermark: i64,
    pub(crate) idle: bool,
    pub(crate) discovered: bool,
    pub(crate) lanes: Vec<LaneState>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LaneState {
    partition: String,
    start: i64,
    end: Option<i64>,
    position: i64,
    watermark: i64,
    active_ms: i64,
    ended: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SinkState {
    pub(crate) node: u32,
    pub(crate) prepared: Vec<u8>,
}

/// What a saved job was made from, and its name.
#[derive(Clone, Debug)]
pub struct Origin {
    /// In the owner's words, as given to [`Durability`](crate::Durability).
    pub catalog: Value,
    /// The nodes that it has.
    pub nodes: Vec<NodeId>,
}

impl Origin {
    /// Of what a checkpoint says about itself.
    ///
    /// # Errors
    /// `User` when it is of another version.
    pub fn of(about: &Value) -> Result<Self> {
        let about = About::read(about)?;
        Ok(Self {
            nodes: about.nodes.iter().map(|node| NodeId(node.node)).collect(),
            catalog: about.catalog,
        })
    }
}

impl About {
    pub(crate) fn read(about: &Value) -> Result<Self> {
        let version = about.get("version").and_then(Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            let found = version.map_or_else(|| "unknown".to_owned(), |version| version.to_string());
            return Err(Error::user(format!(
                "the state is of format version {found}, this program reads version {VERSION}"
            ))
            .hint("go on with the program that wrote it, or start with an empty state folder"));
        }
        serde_json::from_value(about.clone()).map_err(|error| {
            Error::bad_data(format!("a checkpoint's description is damaged: {error}"))
        })
    }

    /// Checks that a graph is the one that was saved.
    pub(crate) fn check(&self, nodes: &[Node]) -> Result<()> {
        let differs = |what: String| {
            Error::user(format!("the state was made by another plan: {what}"))
                .hint("the plan of the same SQL changed with the program; go on with the program that wrote the state, or start with an empty state folder")
        };
        if nodes.len() != self.nodes.len() {
            return Err(differs(format!(
                "it has {} nodes, this one {}",
                self.nodes.len(),
                nodes.len()
            )));
        }
        for (node, saved) in nodes.iter().zip(&self.nodes) {
            let is = identity(node);
            if node.id.0 != saved.node || is != saved.is {
                return Err(differs(format!("`{}` was `{}`", is, saved.is)));
            }
        }
        Ok(())
    }

    pub(crate) fn time(&self, id: NodeId) -> NodeTime {
        let state = self.nodes.iter().find(|node| node.node == id.0);
        state.map_or_else(NodeTime::default, |node| NodeTime {
            watermark: Watermark(node.watermark),
            idle: node.idle,
        })
    }
}

/// What a node is, in words: its kind, what it computes, its columns, its inputs.
pub(crate) fn identity(node: &Node) -> String {
    let inputs: Vec<String> = node
        .inputs
        .iter()
        .map(|edge| format!("{}:{:?}", edge.from.0, edge.exchange))
        .collect();
    let (kind, schema) = match &node.kind {
        NodeKind::Source(source) => ("source", Some(source.prepare.schema())),
        NodeKind::Operator(spec) => ("operator", Some(spec.schema())),
        NodeKind::View(view) => ("view", Some(std::sync::Arc::clone(&view.schema))),
        NodeKind::Sink(_) => ("sink", None),
        NodeKind::DeadLetters(_) => ("dead letters", None),
    };
    let columns = schema.map_or_else(String::new, |schema| {
        let field = |field: &std::sync::Arc<arrow::datatypes::Field>| {
            format!("{} {}", field.name(), field.data_type())
        };
        let fields: Vec<String> = schema.fields().iter().map(field).collect();
        fields.join(", ")
    });
    format!("{kind} {} ({columns}) <- {}", name(node), inputs.join(" "))
}

impl SourceState {
    fn of(feed: &Feed) -> Self {
        let lane = |standing: Standing| LaneState {
            start: standing.partition.start.0,
            end: standing.partition.end.map(|end| end.0),
            partition: standing.partition.name,
            position: standing.position.0,
            watermark: standing.time.watermark.0,
            active_ms: standing.time.active_ms,
            ended: standing.time.ended,
        };
        Self {
            node: feed.id.0,
            watermark: feed.time.watermark.0,
            idle: feed.time.idle,
            discovered: feed.discovered,
            lanes: feed.standing().into_iter().map(lane).collect(),
        }
    }

    pub(crate) fn time(&self) -> NodeTime {
        NodeTime {
            watermark: Watermark(self.watermark),
            idle: self.idle,
        }
    }

    pub(crate) fn standing(&self) -> Vec<Standing> {
        let standing = |lane: &LaneState| Standing {
            partition: Partition {
                name: lane.partition.clone(),
                start: Offset(lane.start),
                end: lane.end.map(Offset),
            },
            position: Offset(lane.position),
            time: PartitionTime {
                watermark: Watermark(lane.watermark),
                active_ms: lane.active_ms,
                waiting: false,
                ended: lane.ended,
            },
        };
        self.lanes.iter().map(standing).collect()
    }
}

impl Driver {
    /// What is to be said beside the tables now; of the sinks later.
    pub(crate) fn about(&mut self) -> About {
        let (job, catalog) = self
            .checkpoints
            .as_ref()
            .map(|checkpoints| (checkpoints.job.clone(), checkpoints.catalog.clone()))
            .unwrap_or_default();
        let now_ms = self.now_ms();
        let state = |node: &Node| {
            let time = self.flow.time(node.id);
            // The failure of a node is that of the node where it began.
            let failure = self
                .flow
                .failed(node.id)
                .filter(|failure| failure.node() == node.id);
            NodeState {
                node: node.id.0,
                is: identity(node),
                watermark: time.watermark.0,
                idle: time.idle,
                failure: failure.map(|failure: &Failure| failure.error().to_string()),
            }
        };
        About {
            version: VERSION,
            job,
            step: self.flow.last_step().0,
            now_ms,
            workers: self.config.workers.max(1),
            catalog,
            nodes: self.flow.nodes().iter().map(state).collect(),
            sources: self.intake.feeds().iter().map(SourceState::of).collect(),
            sinks: Vec::new(),
        }
    }
}
