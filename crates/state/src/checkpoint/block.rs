//! Blocks: changes of a table as bytes.
//!
//! A block is an Arrow IPC stream of one batch, maybe compressed as a whole. How its rows are signed is in the metadata
//! of its schema: not at all when all are set, once when all are removed, in a last column else.

use super::dense;
use super::manifest::Block;
use super::{Codec, damaged};
use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Int8Type, Schema};
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use millstream_dataflow::{Delta, Error, Result, Weights};
use std::sync::Arc;

/// The key of a schema's metadata that says how rows are signed.
const SIGNS: &str = "millstream.signs";
const ALL_REMOVED: &str = "removed";
const COLUMN: &str = "column";

/// A block on its way to a segment.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) raw: u64,
    pub(super) rows: u64,
    pub(super) removals: u64,
    pub(super) checksum: u32,
}

/// How many rows of a change are removals.
///
/// # Errors
/// `Internal` for a weight that is neither +1 nor -1.
pub(super) fn removals(change: &Delta) -> Result<usize> {
    let Weights::Each(weights) = change.weights() else {
        return Ok(0);
    };
    if let Some(weight) = weights.values().iter().find(|weight| weight.abs() != 1) {
        return Err(Error::internal(format!(
            "a change of a table has the weight {weight}: +1 sets a row, -1 removes it"
        )));
    }
    Ok(weights
        .values()
        .iter()
        .filter(|weight| **weight < 0)
        .count())
}

pub(super) fn encode(change: &Delta, codec: Codec) -> Result<Encoded> {
    let removals = removals(change)?;
    let batch = signed(&dense::batch(change.batch())?, change, removals)?;
    let capacity = dense::bytes(&batch) + (4 << 10);
    let mut writer =
        StreamWriter::try_new(Vec::with_capacity(capacity), &batch.schema()).map_err(unwritable)?;
    writer.write(&batch).map_err(unwritable)?;
    let mut bytes = writer.into_inner().map_err(unwritable)?;
    let mut raw = 0;
    if codec == Codec::Lz4 {
        let compressed = lz4_flex::block::compress(&bytes);
        if compressed.len() < bytes.len() {
            raw = bytes.len() as u64;
            bytes = compressed;
        }
    }
    Ok(Encoded {
        raw,
        rows: change.rows() as u64,
        removals: removals as u64,
        checksum: crc32c::crc32c(&bytes),
        bytes,
    })
}

fn unwritable(error: arrow::error::ArrowError) -> Error {
    Error::from(error).context("a change cannot be written to a checkpoint")
}

fn signed(batch: &RecordBatch, change: &Delta, removals: usize) -> Result<RecordBatch> {
    if removals == 0 {
        return Ok(batch.clone());
    }
    let mut metadata = batch.schema().metadata().clone();
    let mut fields = batch.schema().fields().to_vec();
    let mut columns = batch.columns().to_vec();
    if removals == change.rows() {
        metadata.insert(SIGNS.to_owned(), ALL_REMOVED.to_owned());
    } else {
        metadata.insert(SIGNS.to_owned(), COLUMN.to_owned());
        fields.push(Arc::new(Field::new("", DataType::Int8, false)));
        let signs = (0..change.rows()).map(|row| change.weight(row).signum() as i8);
        columns.push(Arc::new(Int8Array::from_iter_values(signs)));
    }
    let schema = Schema::new_with_metadata(fields, metadata);
    sized(schema, columns, batch.num_rows())
}

fn sized(schema: Schema, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(schema),
        columns,
        &options,
    )?)
}

/// Whether these are the bytes that were written.
///
/// # Errors
/// `BadData` if not.
pub(super) fn check(bytes: &[u8], block: &Block) -> Result<()> {
    if bytes.len() as u64 == block.bytes && crc32c::crc32c(bytes) == block.checksum {
        return Ok(());
    }
    Err(damaged(format!(
        "the block at {} of segment {} does not have its checksum",
        block.offset, block.segment
    )))
}

/// The change that a block holds. Its arrays share the bytes.
///
/// # Errors
/// `BadData` when the bytes are not those that were written.
pub(super) fn decode(bytes: Buffer, block: &Block) -> Result<Delta> {
    check(&bytes, block)?;
    let unreadable = |what: String| {
        damaged(format!(
            "the block at {} of segment {} cannot be decoded: {what}",
            block.offset, block.segment
        ))
    };
    let mut bytes = match block.raw {
        0 => bytes,
        raw => lz4_flex::block::decompress(&bytes, raw as usize)
            .map(Buffer::from_vec)
            .map_err(|error| unreadable(error.to_string()))?,
    };
    let mut decoder = StreamDecoder::new();
    let batch = decoder
        .decode(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    let batch = batch.ok_or_else(|| unreadable("it has no rows".to_owned()))?;
    if batch.num_rows() as u64 != block.rows {
        return Err(unreadable("it has other rows than it should".to_owned()));
    }
    unsigned(batch)
}

fn unsigned(batch: RecordBatch) -> Result<Delta> {
    let mut schema = batch.schema().as_ref().clone();
    let Some(signs) = schema.metadata.remove(SIGNS) else {
        return Ok(Delta::inserts(batch));
    };
    let rows = batch.num_rows();
    let mut columns = batch.columns().to_vec();
    if signs == ALL_REMOVED {
        return Ok(Delta::retractions(sized(schema, columns, rows)?));
    }
    let signs = columns
        .pop()
        .filter(|signs| signs.data_type() == &DataType::Int8)
        .ok_or_else(|| damaged("a block has no signs".to_owned()))?;
    let fields = schema.fields[..columns.len()].to_vec();
    let schema = Schema::new_with_metadata(fields, schema.metadata);
    let weights = signs.as_primitive::<Int8Type>().values().iter();
    Delta::new(
        sized(schema, columns, rows)?,
        weights.map(|sign| i64::from(*sign)).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::SegmentId;
    use arrow::array::{
        BinaryViewArray, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int64Array,
        Int64Builder, ListBuilder, MapBuilder, NullArray, StringArray, StringViewArray,
        StringViewBuilder, StructArray, TimestampMillisecondArray,
    };
    use arrow::datatypes::Int32Type;
    use millstream_dataflow::Kind;
    use millstream_dataflow::testing::{delta, show};

    fn block(encoded: &Encoded) -> Block {
        Block {
            segment: SegmentId {
                writer: 1,
                number: 1,
            },
            offset: 64,
            bytes: encoded.bytes.len() as u64,
            raw: encoded.raw,
            rows: encoded.rows,
            removals: encoded.removals,
            checksum: encoded.checksum,
        }
    }

    #[test]
    fn changes_come_back_with_their_signs() {
        for rows in [
            "+1 a 1 / +1 b NULL",
            "-1 a 1 / -1 NULL 2",
            "+1 a 1 / -1 some-longer-text-than-fits 2",
        ] {
            for codec in [Codec::None, Codec::Lz4] {
                let change = delta("a text, n bigint", rows);
                let encoded = encode(&change, codec).unwrap();
                let bytes = Buffer::from_vec(encoded.bytes.clone());
                let back = decode(bytes, &block(&encoded)).unwrap();
                assert_eq!(show(&back), rows);
                assert_eq!(back.schema(), change.schema());
            }
        }
    }

    /// Every kind of column, with NULLs, whole and cut.
    #[test]
    fn columns_of_every_type_come_back() {
        let batch = every_type(50);
        for (from, rows) in [(0, 50), (7, 20), (49, 1)] {
            let part = batch.slice(from, rows);
            let encoded = encode(&Delta::inserts(part.clone()), Codec::None).unwrap();
            let bytes = Buffer::from_vec(encoded.bytes.clone());
            let back = decode(bytes, &block(&encoded)).unwrap();
            assert_eq!(back.batch(), &part);
        }
    }

    fn every_type(rows: i64) -> RecordBatch {
        let text = |row: i64| match row % 5 {
            0 => None,
            1 => Some(String::new()),
            2 => Some(format!("short {row}")),
            _ => Some(format!("a text that does not fit into its view {row}")),
        };
        let numbers = || (0..rows).map(|row| (row % 3 != 0).then_some(row * 1_000_003));
        let texts: StringViewArray = (0..rows).map(text).collect();
        let bytes: BinaryViewArray = (0..rows)
            .map(|row| text(row).map(String::into_bytes))
            .collect();
        let plain: StringArray = (0..rows).map(text).collect();
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        let (keys, values) = (StringViewBuilder::new(), Int64Builder::new());
        let mut maps = MapBuilder::new(None, keys, values);
        for row in 0..rows {
            for item in 0..row % 4 {
                lists.values().append_option(text(item + row));
                maps.keys()
                    .append_value(format!("the key {item} of a map, number {row}"));
                maps.values().append_value(item);
            }
            lists.append(row % 7 != 0);
            maps.append(row % 6 != 0).unwrap();
        }
        let dictionary: DictionaryArray<Int32Type> =
            (0..rows).map(|row| ["x", "y"][row as usize % 2]).collect();
        let decimals: Decimal128Array = numbers().map(|number| number.map(i128::from)).collect();
        let times = TimestampMillisecondArray::from_iter(numbers()).with_timezone("UTC");
        let floats: Float64Array = numbers()
            .map(|number| number.map(|n| n as f64 / 3.0))
            .collect();
        let flags: BooleanArray = numbers().map(|number| number.map(|n| n % 2 == 0)).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("texts", Arc::new(texts.clone())),
            ("bytes", Arc::new(bytes)),
            ("plain", Arc::new(plain)),
            ("lists", Arc::new(lists.finish())),
            ("maps", Arc::new(maps.finish())),
            ("dictionary", Arc::new(dictionary)),
            (
                "decimals",
                Arc::new(decimals.with_precision_and_scale(20, 2).unwrap()),
            ),
            ("times", Arc::new(times)),
            ("floats", Arc::new(floats)),
            ("flags", Arc::new(flags)),
            ("nothing", Arc::new(NullArray::new(rows as usize))),
        ];
        let structure = StructArray::try_from(vec![
            ("text", Arc::new(texts) as ArrayRef),
            (
                "number",
                Arc::new(Int64Array::from_iter(numbers())) as ArrayRef,
            ),
        ]);
        let structure: ArrayRef = Arc::new(structure.unwrap());
        let columns = columns.into_iter().chain([("structure", structure)]);
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    #[test]
    fn a_change_without_columns_keeps_its_rows() {
        let batch = sized(Schema::empty(), vec![], 3).unwrap();
        let encoded = encode(&Delta::retractions(batch), Codec::None).unwrap();
        let back = decode(Buffer::from_vec(encoded.bytes.clone()), &block(&encoded)).unwrap();
        assert_eq!((back.rows(), back.weight(2)), (3, -1));
    }

    #[test]
    fn a_weight_of_two_is_no_change() {
        let error = encode(&delta("a text", "+2 x"), Codec::None).unwrap_err();
        assert_eq!(error.kind, Kind::Internal);
    }

    #[test]
    fn other_bytes_are_damage() {
        let encoded = encode(&delta("a text", "+1 x / -1 y"), Codec::Lz4).unwrap();
        for at in 0..encoded.bytes.len() {
            let mut bytes = encoded.bytes.clone();
            bytes[at] ^= 4;
            let error = decode(Buffer::from_vec(bytes), &block(&encoded)).unwrap_err();
            assert_eq!(error.kind, Kind::BadData);
            let cut = Buffer::from_vec(encoded.bytes[..at].to_vec());
            assert_eq!(
                decode(cut, &block(&encoded)).unwrap_err().kind,
                Kind::BadData
            );
        }
    }
}
