//! How records become rows and rows become records. A format knows bytes and columns, and nothing of files or topics.

use crate::{Delta, Result};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;

/// A run of records: `bytes` holds them one behind the other, record `i` is `ends[i - 1]..ends[i]` (from `start` for
/// the first). Between records there may be separators that belong to the record before (a line's end).
#[derive(Clone, Debug)]
pub struct Records {
    /// The bytes of all records. Text columns may point into them instead of copying.
    pub bytes: Buffer,
    /// Where the first record begins.
    pub start: usize,
    /// Where each record ends.
    pub ends: Vec<usize>,
}

impl Records {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of one record.
    pub fn get(&self, record: usize) -> &[u8] {
        let from = if record == 0 {
            self.start
        } else {
            self.ends[record - 1]
        };
        &self.bytes[from..self.ends[record]]
    }
}

/// Rows that were decoded.
#[derive(Debug)]
pub struct Decoded {
    /// The rows: inserts, or changes where the format is a changelog.
    pub delta: Delta,
    /// For each row the record it came from, ascending; `None` when row `i` is record `i`. (A changelog record can be
    /// two rows; a bad or empty record is none.)
    pub origin: Option<Vec<u32>>,
    /// Records that are no rows, and why.
    pub bad: Vec<(u32, String)>,
}

/// Turns records into rows of a fixed schema.
pub trait Decoder: Send {
    /// The columns that it gives.
    fn schema(&self) -> SchemaRef;

    /// Decodes all records. A bad record is reported and changes nothing else.
    ///
    /// # Errors
    /// Only for what is not the records' fault.
    fn decode(&mut self, records: &Records) -> Result<Decoded>;
}

/// Turns rows into records.
pub trait Encoder: Send {
    /// Appends one record for each row of an insert (weight > 0; twice for weight 2) or a delete (weight < 0) to `out`
    /// and its end to `ends`. Files put the format's separator between records themselves.
    ///
    /// # Errors
    /// `User` when the format cannot express a retraction.
    fn encode(&mut self, delta: &Delta, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()>;
}
