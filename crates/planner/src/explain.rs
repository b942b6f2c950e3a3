//! EXPLAIN: the graph, inputs below what reads them, with keys, exchanges and what bounds each state.

use arrow::datatypes::SchemaRef;
use millstream_dataflow::Partitioning;
use millstream_dataflow::graph::{Graph, Node, NodeId, NodeKind};
use millstream_dataflow::operator::Bound;
use millstream_dataflow::source::dead_letter_schema;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// A graph as text: one tree for each view and sink. A node that several read is printed once and then named by its number.
pub fn explain(graph: &Graph) -> String {
    let nodes: BTreeMap<NodeId, &Node> = graph.nodes.iter().map(|node| (node.id, node)).collect();
    let read: Vec<NodeId> = graph
        .nodes
        .iter()
        .flat_map(|node| node.inputs.iter().map(|edge| edge.from))
        .collect();
    let mut text = String::new();
    let mut printed = Vec::new();
    for node in &graph.nodes {
        let is_end =
            matches!(node.kind, NodeKind::View(_) | NodeKind::Sink(_)) || !read.contains(&node.id);
        if is_end && !matches!(node.kind, NodeKind::DeadLetters(_)) {
            tree(
                &nodes,
                node.id,
                0,
                &Partitioning::Any,
                &mut printed,
                &mut text,
            );
        }
    }
    text
}

fn tree(
    nodes: &BTreeMap<NodeId, &Node>,
    id: NodeId,
    depth: usize,
    exchange: &Partitioning,
    printed: &mut Vec<NodeId>,
    text: &mut String,
) {
    let indent = "  ".repeat(depth);
    let moved = match exchange {
        Partitioning::Any => String::new(),
        Partitioning::Keys(keys) => {
            let schema = nodes.get(&id).and_then(|node| schema(node));
            let name = |key: &usize| match &schema {
                Some(schema) => schema.field(*key).name().clone(),
                None => format!("column {}", key + 1),
            };
            let names: Vec<String> = keys.iter().map(name).collect();
            format!(" <- exchange by {}", names.join(", "))
        }
        Partitioning::Single => " <- exchange to one worker".to_owned(),
    };
    let Some(node) = nodes.get(&id) else {
        let _ = writeln!(text, "{indent}#{} (running){moved}", id.0);
        return;
    };
    if printed.contains(&id) {
        let _ = writeln!(text, "{indent}#{} (above){moved}", id.0);
        return;
    }
    printed.push(id);
    let _ = writeln!(text, "{indent}#{} {}{moved}", id.0, describe(node));
    for edge in &node.inputs {
        tree(nodes, edge.from, depth + 1, &edge.exchange, printed, text);
    }
}

/// The columns of what a node gives.
fn schema(node: &Node) -> Option<SchemaRef> {
    match &node.kind {
        NodeKind::Source(source) => Some(source.prepare.schema()),
        NodeKind::Operator(spec) => Some(spec.schema()),
        NodeKind::View(view) => Some(Arc::clone(&view.schema)),
        NodeKind::DeadLetters(_) => Some(dead_letter_schema()),
        NodeKind::Sink(_) => None,
    }
}

fn describe(node: &Node) -> String {
    match &node.kind {
        NodeKind::Source(source) => {
            let columns: Vec<String> = source
                .prepare
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect();
            format!(
                "Source {} [{}] {}",
                source.table,
                columns.join(", "),
                source.source
            )
        }
        NodeKind::Operator(spec) => match spec.bound() {
            Bound::Stateless => spec.to_string(),
            bound => format!("{spec} state: {}", bounded_by(&bound)),
        },
        NodeKind::View(view) => {
            let names: Vec<&str> = view
                .key
                .iter()
                .map(|idx| view.schema.field(*idx).name().as_str())
                .collect();
            let key = if names.is_empty() {
                "whole row".to_owned()
            } else {
                names.join(", ")
            };
            format!("View {} key: {key}", view.name)
        }
        NodeKind::Sink(sink) => format!("Sink {} {}", sink.table, sink.sink),
        NodeKind::DeadLetters(letters) => format!("Bad records of {}", letters.table),
    }
}

/// What bounds a state, in words.
pub(crate) fn bounded_by(bound: &Bound) -> String {
    match bound {
        Bound::Stateless => "none".to_owned(),
        Bound::Keys(keys) => format!("one entry for each {keys}"),
        Bound::Watermark => "until the watermark passes".to_owned(),
        Bound::Clock => "until the clock passes".to_owned(),
        Bound::Rows(input) => format!("every row of {input}, for ever"),
    }
}
