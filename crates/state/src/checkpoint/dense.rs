//! Copies without what nobody sees: text and bytes columns may be views into buffers that are shared by many batches,
//! all of which would be written with each.

use arrow::array::{
    Array, ArrayRef, AsArray, ByteView, GenericByteViewArray, GenericListArray, MapArray,
    OffsetSizeTrait, RecordBatch, RecordBatchOptions, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{ByteViewType, DataType};
use millstream_dataflow::Result;
use std::sync::Arc;

/// The same rows; a column of views has no more than it shows.
pub(super) fn batch(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(array).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        batch.schema(),
        columns,
        &options,
    )?)
}

/// The bytes that the rows take when they are written, roughly.
pub(super) fn bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(array_bytes).sum()
}

fn array(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Utf8View => views(column, column.as_string_view()),
        DataType::BinaryView => views(column, column.as_binary_view()),
        DataType::Struct(_) => structure(column.as_struct())?,
        DataType::List(_) => list(column.as_list::<i32>())?,
        DataType::LargeList(_) => list(column.as_list::<i64>())?,
        DataType::Map(_, _) => map(column.as_map())?,
        _ => Arc::clone(column),
    })
}

fn views<T: ByteViewType>(column: &ArrayRef, views: &GenericByteViewArray<T>) -> ArrayRef {
    const SLACK_BYTES: usize = 256;
    let held: usize = views.data_buffers().iter().map(|buffer| buffer.len()).sum();
    let used = views.total_buffer_bytes_used();
    if held <= used + used / 8 + SLACK_BYTES {
        return Arc::clone(column);
    }
    Arc::new(views.gc())
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
    let offsets = column.offsets();
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let seen = column
        .values()
        .slice(first.as_usize(), (last - first).as_usize());
    let offsets = offsets.iter().map(|offset| *offset - first);
    Ok(Arc::new(GenericListArray::try_new(
        Arc::clone(field),
        OffsetBuffer::new(offsets.collect()),
        array(&seen)?,
        column.nulls().cloned(),
    )?))
}

fn map(column: &MapArray) -> Result<ArrayRef> {
    let DataType::Map(field, ordered) = column.data_type() else {
        return Ok(Arc::new(column.clone()));
    };
    let offsets = column.offsets();
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let seen = column
        .entries()
        .slice(first as usize, (last - first) as usize);
    let offsets = offsets.iter().map(|offset| *offset - first);
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(field),
        OffsetBuffer::new(offsets.collect()),
        structure(&seen)?.as_struct().clone(),
        column.nulls().cloned(),
        *ordered,
    )?))
}

fn array_bytes(column: &ArrayRef) -> usize {
    let view = size_of::<ByteView>();
    let span = |first: usize, last: usize, values: &ArrayRef| match last - first {
        0 => 0,
        seen => array_bytes(&values.slice(first, seen)),
    };
    match column.data_type() {
        DataType::Utf8View => {
            column.len() * view + column.as_string_view().total_buffer_bytes_used()
        }
        DataType::BinaryView => {
            column.len() * view + column.as_binary_view().total_buffer_bytes_used()
        }
        DataType::Struct(_) => column.as_struct().columns().iter().map(array_bytes).sum(),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[list.len()] as usize);
            size_of_val(offsets) + span(first, last, list.values())
        }
        DataType::Map(_, _) => {
            let map = column.as_map();
            let offsets = map.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[map.len()] as usize);
            let entries: ArrayRef = Arc::new(map.entries().clone());
            size_of_val(offsets) + span(first, last, &entries)
        }
        _ => {
            let data = column.to_data();
            data.get_slice_memory_size()
                .unwrap_or_else(|_| column.get_buffer_memory_size())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ListBuilder, StringViewArray, StringViewBuilder, UInt32Array};
    use arrow::compute;

    const LONG: &str = "a text that is too long to be kept in its view, with number";

    fn held(column: &ArrayRef) -> usize {
        column.get_buffer_memory_size()
    }

    #[test]
    fn a_slice_of_texts_holds_its_own_only() {
        let texts = (0..1000).map(|number| Some(format!("{LONG} {number}")));
        let all: ArrayRef = Arc::new(texts.collect::<StringViewArray>());
        let slice = all.slice(500, 2);
        let own = array(&slice).unwrap();
        assert_eq!(&own, &slice);
        assert!(held(&own) < 500, "{}", held(&own));
        assert!(array_bytes(&slice) < 500);
    }

    #[test]
    fn so_does_a_slice_of_lists_of_texts() {
        let mut builder = ListBuilder::new(StringViewBuilder::new());
        for number in 0..1000 {
            builder.values().append_value(format!("{LONG} {number}"));
            builder.values().append_value("short");
            builder.append(number % 7 != 0);
        }
        let all: ArrayRef = Arc::new(builder.finish());
        let picked = compute::take(&all, &UInt32Array::from(vec![7, 8, 990]), None).unwrap();
        for part in [all.slice(7, 3), picked] {
            let own = array(&part).unwrap();
            assert_eq!(&own, &part);
            assert!(held(&own) < 1500, "{}", held(&own));
            assert!(array_bytes(&part) < 1500);
        }
    }
}
