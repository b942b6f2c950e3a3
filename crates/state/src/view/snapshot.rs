//! What a reader gets of a view: the rows at one finished step, for as long as it keeps them.

use super::chunk::Shared;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::Result;

/// The rows of a view at one step. Costs the writer nothing but a copy of the masks that it changes later.
#[derive(Clone, Debug)]
pub struct ViewSnapshot {
    schema: SchemaRef,
    chunks: Vec<Shared>,
    rows: usize,
}

impl ViewSnapshot {
    pub(super) fn new(schema: SchemaRef, chunks: Vec<Shared>, rows: usize) -> Self {
        Self {
            schema,
            chunks,
            rows,
        }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows, oldest first. Dead rows are filtered out here, on the reader's thread.
    pub fn batches(&self) -> Result<Vec<RecordBatch>> {
        self.chunks.iter().map(Shared::live).collect()
    }
}
