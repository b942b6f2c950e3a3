//! Bad records: as rows of the table of dead letters, or as the reason why a source stops.

use arrow::array::{BinaryViewArray, Int64Array, RecordBatch, StringViewArray};
use millstream_dataflow::source::{BadRecord, dead_letter_schema};
use millstream_dataflow::{Delta, Error, Result};
use std::sync::Arc;

/// The bad records of a partition as rows of [`dead_letter_schema`].
pub(crate) fn rows(partition: &str, bad: &[BadRecord]) -> Result<Delta> {
    let raw = BinaryViewArray::from_iter_values(bad.iter().map(|record| &record.bytes));
    let source = StringViewArray::from_iter_values(bad.iter().map(|_| partition));
    let offset = Int64Array::from_iter_values(bad.iter().map(|record| record.offset.0));
    let reason = StringViewArray::from_iter_values(bad.iter().map(|record| &record.reason));
    Ok(Delta::inserts(RecordBatch::try_new(
        dead_letter_schema(),
        vec![
            Arc::new(raw),
            Arc::new(source),
            Arc::new(offset),
            Arc::new(reason),
        ],
    )?))
}

/// Why a source stops at a bad record.
pub(crate) fn failure(table: &str, partition: &str, record: &BadRecord) -> Error {
    Error::bad_data(format!(
        "table {table}, partition {partition}, offset {}: {}",
        record.offset.0, record.reason
    ))
    .hint("let the table skip bad records or send them to its dead letters")
}
