//! Expressions over a batch, as operators see them: planned elsewhere, evaluated column by column.

use crate::Result;
use arrow::array::{ArrayRef, RecordBatch};
use std::fmt::{Debug, Display};

/// A deterministic expression over the columns of a batch. Printed by EXPLAIN.
pub trait Expression: Debug + Display + Send + Sync {
    /// One value for each row of the batch.
    ///
    /// # Errors
    /// `BadData` when a value does not fit (a cast, a division by zero).
    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef>;

    /// The column that this is, if it is just that.
    fn as_column(&self) -> Option<usize> {
        None
    }
}
