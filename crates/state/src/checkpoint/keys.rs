//! Which rows are the newest of their key, asked from the newest row to the oldest.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, SortField};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use millstream_dataflow::Result;
use std::hash::BuildHasher;

/// The keys that were seen.
#[derive(Debug)]
pub(super) struct Keys {
    /// Tables of one row have no key columns, and no converter.
    converter: Option<RowConverter>,
    types: Vec<DataType>,
    seen: HashTable<Seen>,
    /// The bytes of the keys, one behind the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    one_seen: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    hash: u32,
    number: u32,
}

impl Seen {
    /// A hash whose high bits, which tell entries apart in the table, depend on all of the low ones.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Whether rows of these leading columns can be told apart here.
pub(super) fn are_comparable(schema: &Schema, key_columns: usize) -> bool {
    RowConverter::supports_fields(&sort_fields(schema, key_columns))
}

fn sort_fields(schema: &Schema, key_columns: usize) -> Vec<SortField> {
    let types = types(schema, key_columns);
    types.into_iter().map(SortField::new).collect()
}

fn types(schema: &Schema, key_columns: usize) -> Vec<DataType> {
    let fields = schema.fields().iter().take(key_columns);
    fields.map(|field| field.data_type().clone()).collect()
}

impl Keys {
    /// No keys yet, of rows with this schema.
    pub(super) fn new(schema: &Schema, key_columns: usize) -> Result<Self> {
        let fields = sort_fields(schema, key_columns);
        let converter = (key_columns > 0).then(|| RowConverter::new(fields));
        Ok(Self {
            converter: converter.transpose()?,
            types: types(schema, key_columns),
            seen: HashTable::new(),
            bytes: Vec::new(),
            ends: Vec::new(),
            one_seen: false,
        })
    }

    /// Whether keys of this schema can be compared with those here.
    pub(super) fn are_of(&self, schema: &Schema) -> bool {
        types(schema, self.types.len()) == self.types
    }

    /// Which rows have a key that no row behind them and no batch before this one had. With `remember` unset the batch's own
    /// keys must differ, and don't count for those to come.
    pub(super) fn newest(&mut self, batch: &RecordBatch, remember: bool) -> Result<BooleanArray> {
        let rows = batch.num_rows();
        let mut newest = vec![false; rows];
        let Some(converter) = &self.converter else {
            if let (Some(last), false) = (newest.last_mut(), self.one_seen) {
                *last = true;
                self.one_seen = true;
            }
            return Ok(newest.into());
        };
        let keys = converter.convert_columns(&batch.columns()[..self.types.len()])?;
        if remember {
            self.seen.reserve(rows, |seen| Seen::spread(seen.hash));
        }
        for row in (0..rows).rev() {
            newest[row] = self.is_new(keys.row(row).data(), remember);
        }
        Ok(BooleanArray::new(BooleanBuffer::from(newest), None))
    }

    fn is_new(&mut self, key: &[u8], remember: bool) -> bool {
        let hash = FixedState::default().hash_one(key) as u32;
        let same = |seen: &Seen| {
            let start = match seen.number {
                0 => 0,
                number => self.ends[number as usize - 1],
            };
            seen.hash == hash && &self.bytes[start..self.ends[seen.number as usize]] == key
        };
        let spread = Seen::spread(hash);
        if self.seen.find(spread, same).is_some() {
            return false;
        }
        if remember {
            let number = self.ends.len() as u32;
            self.bytes.extend_from_slice(key);
            self.ends.push(self.bytes.len());
            self.seen
                .insert_unique(spread, Seen { hash, number }, |seen| {
                    Seen::spread(seen.hash)
                });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::{delta, show};

    #[test]
    fn the_last_of_each_key_is_the_newest() {
        let newer = delta("a text, n bigint", "+1 x 1 / -1 y 2 / +1 x 3");
        let older = delta(
            "a text, n bigint",
            "+1 y 9 / +1 z 8 / +1 NULL 7 / -1 NULL 6",
        );
        let mut keys = Keys::new(&newer.schema(), 1).unwrap();
        let newest = keys.newest(newer.batch(), true).unwrap();
        assert_eq!(show(&newer.filter(&newest).unwrap()), "-1 y 2 / +1 x 3");
        let newest = keys.newest(older.batch(), true).unwrap();
        assert_eq!(show(&older.filter(&newest).unwrap()), "+1 z 8 / -1 NULL 6");
    }

    #[test]
    fn keys_that_are_not_remembered_dont_count() {
        let rows = delta("n bigint", "+1 1 / +1 2");
        let mut keys = Keys::new(&rows.schema(), 1).unwrap();
        assert_eq!(keys.newest(rows.batch(), false).unwrap().true_count(), 2);
        assert_eq!(keys.newest(rows.batch(), true).unwrap().true_count(), 2);
        assert_eq!(keys.newest(rows.batch(), false).unwrap().true_count(), 0);
    }

    #[test]
    fn a_table_without_key_columns_has_one_row() {
        let rows = delta("n bigint", "+1 1 / +1 2");
        let mut keys = Keys::new(&rows.schema(), 0).unwrap();
        let newest = keys.newest(rows.batch(), true).unwrap();
        assert_eq!(show(&rows.filter(&newest).unwrap()), "+1 2");
        assert_eq!(keys.newest(rows.batch(), true).unwrap().true_count(), 0);
    }
}
