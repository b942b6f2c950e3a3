//! The plan that planner and runtime meet at: nodes in an order in which inputs come first.
//!
//! A graph may be an addition to a running one: then inputs may name nodes that already run.

use crate::operator::{Partitioning, Spec};
use crate::sink::Sink;
use crate::source::{Prepare, Source};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// A node's number, unique in its job for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// An input of a node: the node it comes from, and how rows move between workers on the way.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Where the rows come from.
    pub from: NodeId,
    /// `Any`: each worker keeps its rows. `Keys`: by hash of these columns. `Single`: all to the first worker.
    pub exchange: Partitioning,
}

/// A node of a graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its inputs, one for each port (a union takes any number on port 0).
    pub inputs: Vec<Edge>,
    /// What it does.
    pub kind: NodeKind,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// Reads a table.
    Source(SourceNode),
    /// Computes.
    Operator(Arc<dyn Spec>),
    /// Keeps the integral of its input for readers.
    View(ViewNode),
    /// Writes its input out.
    Sink(SinkNode),
    /// Gives the bad records of a source, with the columns of [`dead_letter_schema`](crate::source::dead_letter_schema): fed by the runtime.
    DeadLetters(DeadLettersNode),
}

/// A table that is read.
#[derive(Clone, Debug)]
pub struct SourceNode {
    /// The table's name.
    pub table: String,
    /// Its source.
    pub source: Arc<dyn Source>,
    /// What is done to its rows first.
    pub prepare: Arc<dyn Prepare>,
    /// After how long without rows a partition no longer holds the watermark back; `None`: never.
    pub idle_timeout_ms: Option<u64>,
    /// Where bad records go.
    pub on_bad: OnBad,
}

/// Where a table's bad records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBad {
    /// The views that depend on the table stop and say so.
    Fail,
    /// They are counted.
    Skip,
    /// They are counted, and are rows of this node.
    DeadLetter(NodeId),
}

/// The bad records of a table as rows. Columns: `raw` BinaryView, `source` Utf8View (the partition's name), `offset` Int64, `reason` Utf8View.
#[derive(Clone, Debug)]
pub struct DeadLettersNode {
    /// The table whose bad records these are.
    pub table: String,
}

/// A materialized view.
#[derive(Clone, Debug)]
pub struct ViewNode {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// The columns that identify a row, if the plan guarantees some; empty: the whole row, and rows can be there more than once.
    pub key: Vec<usize>,
}

/// A table that is written.
#[derive(Clone, Debug)]
pub struct SinkNode {
    /// The table's name.
    pub table: String,
    /// Where its rows go.
    pub sink: Arc<dyn Sink>,
}

/// Nodes, inputs first.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The nodes.
    pub nodes: Vec<Node>,
}
