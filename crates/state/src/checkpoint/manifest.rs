//! What a checkpoint consists of.

use serde_json::Value;

/// A table of an operator's state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// The node of the job's graph.
    pub node: u32,
    /// The worker.
    pub worker: u32,
    /// The name of the table, unique in its operator.
    pub table: String,
}

/// What a checkpoint consists of.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The number of the checkpoint; later ones have higher numbers.
    pub sequence: u64,
    /// What the writer said about it.
    pub about: Value,
    tables: Vec<TableId>,
}

impl Manifest {
    /// The tables that it holds.
    pub fn tables(&self) -> impl Iterator<Item = &TableId> {
        self.tables.iter()
    }
}
