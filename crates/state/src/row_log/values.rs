//! The plain words under a primitive array, and an array around plain words.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, downcast_primitive};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};
use millstream_dataflow::{Error, Result};
use std::sync::Arc;

/// The values of a primitive array as words of its width.
pub(crate) fn values<N: ArrowNativeType>(array: &ArrayRef) -> Result<&[N]> {
    macro_rules! words {
        ($kind:ty) => {
            Ok(array
                .as_primitive::<$kind>()
                .values()
                .inner()
                .typed_data::<N>())
        };
    }
    downcast_primitive! {
        array.data_type() => (words),
        other => Err(not_primitive(other))
    }
}

/// A primitive array of a type of this width.
pub(super) fn array<N: ArrowNativeType>(
    data_type: &DataType,
    words: Vec<N>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let rows = words.len();
    let buffer = Buffer::from_vec(words);
    macro_rules! around {
        ($kind:ty) => {{
            let values = ScalarBuffer::new(buffer, 0, rows);
            let array = PrimitiveArray::<$kind>::try_new(values, nulls)?;
            Ok(Arc::new(array.with_data_type(data_type.clone())))
        }};
    }
    downcast_primitive! {
        data_type => (around),
        other => Err(not_primitive(other))
    }
}

fn not_primitive(data_type: &DataType) -> Error {
    Error::internal(format!("{data_type} is kept as a primitive column"))
}
