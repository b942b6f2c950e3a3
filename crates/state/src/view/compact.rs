//! Copies that keep nothing else alive: a text column may be views into megabytes of decoded input, a slice may hold
//! on to the whole batch it was cut from.

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch,
    RecordBatchOptions, StructArray,
};
use arrow::array::{MutableArrayData, make_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use millstream_dataflow::Result;
use std::sync::Arc;

/// The same rows in buffers of their own size.
pub(super) fn batch(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(array).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        batch.schema(),
        columns,
        &options,
    )?)
}

/// The bytes that the columns point at, be they part of larger buffers or not.
pub(super) fn used_bytes(batch: &RecordBatch) -> usize {
    fn used(data: &ArrayData) -> usize {
        let buffers: usize = data.buffers().iter().map(|buffer| buffer.len()).sum();
        let nulls = data.nulls().map_or(0, |nulls| nulls.len().div_ceil(8));
        buffers + nulls + data.child_data().iter().map(used).sum::<usize>()
    }
    let columns = batch.columns().iter();
    columns.map(|column| used(&column.to_data())).sum()
}

fn array(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Utf8View => sized(&(Arc::new(column.as_string_view().gc()) as ArrayRef))?,
        DataType::BinaryView => sized(&(Arc::new(column.as_binary_view().gc()) as ArrayRef))?,
        DataType::Struct(_) => structure(column.as_struct())?,
        DataType::List(_) => list(column.as_list::<i32>())?,
        DataType::LargeList(_) => list(column.as_list::<i64>())?,
        DataType::Map(_, _) => map(column.as_map())?,
        _ => sized(column)?,
    })
}

/// Copies an array whose buffers are much larger than its values.
fn sized(column: &ArrayRef) -> Result<ArrayRef> {
    const SLACK_BYTES: usize = 512;
    let data = column.to_data();
    let held = column.get_buffer_memory_size();
    let needed = data.get_slice_memory_size().unwrap_or(held);
    if held <= 2 * needed + SLACK_BYTES {
        return Ok(Arc::clone(column));
    }
    let mut copy = MutableArrayData::new(vec![&data], false, column.len());
    copy.try_extend(0, 0, column.len())?;
    Ok(make_array(copy.freeze()))
}

fn structure(column: &StructArray) -> Result<ArrayRef> {
    let DataType::Struct(fields) = column.data_type() else {
        return Ok(Arc::new(column.clone()));
    };
    let children = column.columns().iter().map(array).collect::<Result<_>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(
        fields.clone(),
        children,
        column.nulls().cloned(),
        column.len(),
    )?))
}

fn list<O: OffsetSizeTrait>(column: &GenericListArray<O>) -> Result<ArrayRef> {
    let (DataType::List(field) | DataType::LargeList(field)) = column.data_type() else {
        return Ok(Arc::new(column.clone()));
    };
    let (offsets, from, length) = rebased(column.offsets());
    let values = array(&column.values().slice(from, length))?;
    Ok(Arc::new(GenericListArray::<O>::try_new(
        Arc::clone(field),
        offsets,
        values,
        column.nulls().cloned(),
    )?))
}

fn map(column: &MapArray) -> Result<ArrayRef> {
    let DataType::Map(field, ordered) = column.data_type() else {
        return Ok(Arc::new(column.clone()));
    };
    let (offsets, from, length) = rebased(column.offsets());
    let entries: ArrayRef = Arc::new(column.entries().slice(from, length));
    let entries = array(&entries)?;
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(field),
        offsets,
        entries.as_struct().clone(),
        column.nulls().cloned(),
        *ordered,
    )?))
}

/// The offsets from zero on, and which values they cover.
fn rebased<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (OffsetBuffer<O>, usize, usize) {
    let first = offsets[0];
    let last = offsets[offsets.len() - 1];
    let lengths = offsets.lengths();
    (
        OffsetBuffer::from_lengths(lengths),
        first.as_usize(),
        (last - first).as_usize(),
    )
}
