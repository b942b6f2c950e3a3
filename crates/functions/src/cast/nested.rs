//! ROW, ARRAY and MAP among each other, field by field.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::DataType;

use super::{Cx, no_cast};
use crate::error::Result;

/// Converts the values inside; fields of a row are taken by position.
pub(super) fn convert(array: &ArrayRef, to: &DataType, cx: &Cx<'_>) -> Result<ArrayRef> {
    let cx = cx.inner();
    match to {
        DataType::Struct(fields) => {
            let row = array.as_struct();
            if row.num_columns() != fields.len() {
                return no_cast(array.data_type(), to);
            }
            if fields.is_empty() {
                return Ok(Arc::clone(array));
            }
            let columns: Result<Vec<_>> = row
                .columns()
                .iter()
                .zip(fields)
                .map(|(column, field)| super::convert(column, field.data_type(), &cx))
                .collect();
            Ok(Arc::new(StructArray::try_new(
                fields.clone(),
                columns?,
                row.nulls().cloned(),
            )?))
        }
        DataType::List(field) => {
            let plain = match array.data_type() {
                DataType::List(_) => Arc::clone(array),
                DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
                    arrow_cast(array, &DataType::List(Arc::clone(element)))?
                }
                other => return no_cast(other, to),
            };
            let list = plain.as_list::<i32>();
            let values = super::convert(list.values(), field.data_type(), &cx)?;
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(field),
                list.offsets().clone(),
                values,
                list.nulls().cloned(),
            )?))
        }
        DataType::Map(field, sorted) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let entries = convert(&entries, field.data_type(), &cx)?;
            let entries = entries.as_struct().clone();
            Ok(Arc::new(MapArray::try_new(
                Arc::clone(field),
                map.offsets().clone(),
                entries,
                map.nulls().cloned(),
                *sorted,
            )?))
        }
        other => no_cast(array.data_type(), other),
    }
}
