//! The shape of a running graph: nodes in topological order, who feeds whom, and the stages between exchanges.
//!
//! ```text
//! stage 0   source -> filter ---+            each worker runs its nodes of a stage on its own rows;
//!                               | by key     at the line all workers meet
//! stage 1                       aggregate -> view
//! ```

use crate::error::{Error, Result};
use crate::meter::NodeMeter;
use millstream_dataflow::Partitioning;
use millstream_dataflow::graph::{Node, NodeId, NodeKind};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<PlanNode>,
    pub(crate) index: HashMap<NodeId, usize>,
    /// The nodes of each stage.
    pub(crate) stages: Vec<Vec<usize>>,
    pub(crate) workers: usize,
}

#[derive(Debug)]
pub(crate) struct PlanNode {
    pub(crate) id: NodeId,
    pub(crate) inputs: Vec<usize>,
    pub(crate) consumers: Vec<Consumer>,
    /// All nodes that this one's rows can reach.
    pub(crate) downstream: Vec<usize>,
    /// Whether it acts as the wall clock moves.
    pub(crate) clocked: bool,
    /// Whether its rows are kept or written.
    pub(crate) outlet: bool,
    pub(crate) meter: Arc<NodeMeter>,
}

#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) node: usize,
    pub(crate) port: usize,
    /// How rows change workers on the way, if they do.
    pub(crate) exchange: Option<Partitioning>,
}

impl Plan {
    /// The plan of a graph that has been checked. `meters`: of nodes that run already.
    pub(crate) fn new(
        nodes: &[Node],
        workers: usize,
        meters: &HashMap<NodeId, Arc<NodeMeter>>,
    ) -> Self {
        let index: HashMap<NodeId, usize> = nodes
            .iter()
            .enumerate()
            .map(|(idx, node)| (node.id, idx))
            .collect();
        let mut planned: Vec<PlanNode> = Vec::with_capacity(nodes.len());
        let mut stages: Vec<usize> = Vec::with_capacity(nodes.len());
        for (idx, node) in nodes.iter().enumerate() {
            let mut stage = 0;
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for (port, edge) in node.inputs.iter().enumerate() {
                let from = index[&edge.from];
                let stays = workers == 1 || edge.exchange == Partitioning::Any;
                let exchange = (!stays).then(|| edge.exchange.clone());
                stage = stage.max(stages[from] + usize::from(!stays));
                planned[from].consumers.push(Consumer {
                    node: idx,
                    port,
                    exchange,
                });
                inputs.push(from);
            }
            stages.push(stage);
            planned.push(planned_node(node, inputs, meters));
        }
        for idx in (0..planned.len()).rev() {
            planned[idx].downstream = downstream(&planned, idx);
        }
        let count = stages.iter().max().map_or(0, |last| last + 1);
        let stage = |wanted: usize| {
            (0..planned.len())
                .filter(|idx| stages[*idx] == wanted)
                .collect()
        };
        Self {
            stages: (0..count).map(stage).collect(),
            nodes: planned,
            index,
            workers,
        }
    }

    pub(crate) fn find(&self, id: NodeId) -> Result<usize> {
        self.index.get(&id).copied().ok_or(Error::UnknownNode(id))
    }
}

fn planned_node(
    node: &Node,
    inputs: Vec<usize>,
    meters: &HashMap<NodeId, Arc<NodeMeter>>,
) -> PlanNode {
    let name: Arc<str> = name(node).into();
    let meter = meters
        .get(&node.id)
        .map_or_else(|| Arc::new(NodeMeter::new(node.id, name)), Arc::clone);
    let (clocked, outlet) = match &node.kind {
        NodeKind::Operator(spec) => (spec.clocked(), false),
        NodeKind::View(_) | NodeKind::Sink(_) => (false, true),
        NodeKind::Source(_) | NodeKind::DeadLetters(_) => (false, false),
    };
    PlanNode {
        id: node.id,
        inputs,
        consumers: Vec::new(),
        downstream: Vec::new(),
        clocked,
        outlet,
        meter,
    }
}

/// The node as EXPLAIN shows it.
pub(crate) fn name(node: &Node) -> String {
    match &node.kind {
        NodeKind::Source(source) => source.table.clone(),
        NodeKind::Operator(spec) => spec.to_string(),
        NodeKind::View(view) => view.name.clone(),
        NodeKind::Sink(sink) => sink.table.clone(),
        NodeKind::DeadLetters(letters) => format!("dead letters of {}", letters.table),
    }
}

fn downstream(nodes: &[PlanNode], idx: usize) -> Vec<usize> {
    let consumers = &nodes[idx].consumers;
    let mut reached: Vec<usize> = consumers
        .iter()
        .flat_map(|consumer| nodes[consumer.node].downstream.iter().copied())
        .chain(consumers.iter().map(|consumer| consumer.node))
        .collect();
    reached.sort_unstable();
    reached.dedup();
    reached
}

/// Checks that `nodes` is a graph, or an addition to one whose nodes are `running`.
pub(crate) fn check(nodes: &[Node], running: &HashSet<NodeId>) -> Result<()> {
    let mut known = running.clone();
    for node in nodes {
        let what = || format!("node {} ({})", node.id.0, name(node));
        if let Some(missing) = node.inputs.iter().find(|edge| !known.contains(&edge.from)) {
            return Err(Error::Graph(format!(
                "{} reads node {}, which does not come before it",
                what(),
                missing.from.0
            )));
        }
        let fed = match &node.kind {
            NodeKind::Source(_) | NodeKind::DeadLetters(_) => node.inputs.is_empty(),
            NodeKind::View(_) | NodeKind::Sink(_) => node.inputs.len() == 1,
            NodeKind::Operator(_) => !node.inputs.is_empty(),
        };
        if !fed {
            let inputs = node.inputs.len();
            return Err(Error::Graph(format!("{} has {inputs} inputs", what())));
        }
        if !known.insert(node.id) {
            return Err(Error::Graph(format!("{} is there twice", what())));
        }
    }
    Ok(())
}
