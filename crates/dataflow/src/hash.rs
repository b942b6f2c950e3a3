//! The one hash of rows: of exchanges between workers and of the indexes of state. Deterministic over runs, machines
//! and batch boundaries; equal values have equal hashes (NULLs are equal, -0.0 is 0.0, all NaNs are one value).

use crate::Result;
use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray,
};
use arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time64NanosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::row::{RowConverter, SortField};
use foldhash::quality::FixedState;
use std::hash::BuildHasher;

const SEED: u64 = 0x6d69_6c6c_7374_7265;
const NULL: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of each row over the columns, in their order. `out` is cleared first and gets one hash a row.
pub fn rows(columns: &[ArrayRef], rows: usize, out: &mut Vec<u64>) -> Result<()> {
    out.clear();
    out.resize(rows, SEED);
    columns
        .iter()
        .try_for_each(|column| fold_column(column, out))
}

/// The worker, of `workers`, that a row with this hash belongs to. Takes the high bits: indexes take the low ones.
pub fn worker(hash: u64, workers: usize) -> usize {
    ((u128::from(hash) * workers as u128) >> 64) as usize
}

fn mix(state: u64, value: u64) -> u64 {
    let product =
        u128::from(state ^ value).wrapping_mul(0x2545_f491_4f6c_dd1d_9e37_79b9_7f4a_7c15_u128);
    (product as u64) ^ ((product >> 64) as u64)
}

fn fold_column(column: &ArrayRef, out: &mut [u64]) -> Result<()> {
    match column.data_type() {
        DataType::Int8 => fold_integers::<Int8Type>(column, out),
        DataType::Int16 => fold_integers::<Int16Type>(column, out),
        DataType::Int32 => fold_integers::<Int32Type>(column, out),
        DataType::Int64 => fold_integers::<Int64Type>(column, out),
        DataType::UInt8 => fold_integers::<UInt8Type>(column, out),
        DataType::UInt16 => fold_integers::<UInt16Type>(column, out),
        DataType::UInt32 => fold_integers::<UInt32Type>(column, out),
        DataType::UInt64 => fold_integers::<UInt64Type>(column, out),
        DataType::Date32 => fold_integers::<Date32Type>(column, out),
        DataType::Date64 => fold_integers::<Date64Type>(column, out),
        DataType::Time32(TimeUnit::Millisecond) => {
            fold_integers::<Time32MillisecondType>(column, out)
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            fold_integers::<Time64NanosecondType>(column, out)
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            fold_integers::<TimestampSecondType>(column, out)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            fold_integers::<TimestampMillisecondType>(column, out)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            fold_integers::<TimestampMicrosecondType>(column, out)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            fold_integers::<TimestampNanosecondType>(column, out)
        }
        DataType::Float32 => fold(column.as_primitive::<Float32Type>(), out, |v| {
            float_bits(f64::from(v))
        }),
        DataType::Float64 => fold(column.as_primitive::<Float64Type>(), out, float_bits),
        DataType::Decimal128(_, _) => fold(column.as_primitive::<Decimal128Type>(), out, |v| {
            mix(v as u64, (v >> 64) as u64)
        }),
        DataType::Boolean => {
            fold_options(column.as_boolean().iter().map(|v| v.map(u64::from)), out)
        }
        DataType::Utf8 => fold_options(
            column
                .as_string::<i32>()
                .iter()
                .map(|v| v.map(|v| bytes(v.as_bytes()))),
            out,
        ),
        DataType::Utf8View => fold_options(
            column
                .as_string_view()
                .iter()
                .map(|v| v.map(|v| bytes(v.as_bytes()))),
            out,
        ),
        DataType::Binary => {
            fold_options(column.as_binary::<i32>().iter().map(|v| v.map(bytes)), out)
        }
        DataType::BinaryView => {
            fold_options(column.as_binary_view().iter().map(|v| v.map(bytes)), out)
        }
        DataType::Null => out.iter_mut().for_each(|hash| *hash = mix(*hash, NULL)),
        _ => return fold_nested(column, out),
    }
    Ok(())
}

fn fold_integers<T: ArrowPrimitiveType>(column: &ArrayRef, out: &mut [u64]) {
    fold(column.as_primitive::<T>(), out, |v| {
        v.to_i64().unwrap_or_default() as u64
    });
}

fn fold<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    out: &mut [u64],
    bits: impl Fn(T::Native) -> u64,
) {
    if array.null_count() == 0 {
        out.iter_mut()
            .zip(array.values())
            .for_each(|(hash, v)| *hash = mix(*hash, bits(*v)));
    } else {
        fold_options(array.iter().map(|v| v.map(&bits)), out);
    }
}

fn fold_options(values: impl Iterator<Item = Option<u64>>, out: &mut [u64]) {
    out.iter_mut()
        .zip(values)
        .for_each(|(hash, v)| *hash = mix(*hash, v.unwrap_or(NULL)));
}

/// ROW, ARRAY and others: over Arrow's row format, where equal values have equal bytes.
fn fold_nested(column: &ArrayRef, out: &mut [u64]) -> Result<()> {
    let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
    let rows = converter.convert_columns(std::slice::from_ref(column))?;
    out.iter_mut()
        .zip(rows.iter())
        .for_each(|(hash, row)| *hash = mix(*hash, bytes(row.as_ref())));
    Ok(())
}

fn bytes(value: &[u8]) -> u64 {
    FixedState::with_seed(SEED).hash_one(value)
}

fn float_bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else if value.is_zero() {
        0
    } else {
        value.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array, StringArray, StringViewArray};
    use std::sync::Arc;

    fn hashes(column: &ArrayRef) -> Vec<u64> {
        let mut out = Vec::new();
        rows(std::slice::from_ref(column), column.len(), &mut out).unwrap();
        out
    }

    fn arc(array: impl Array + 'static) -> ArrayRef {
        Arc::new(array)
    }

    #[test]
    fn equal_values_have_equal_hashes() {
        let floats = hashes(&arc(Float64Array::from(vec![
            0.0,
            -0.0,
            f64::NAN,
            -f64::NAN,
        ])));
        assert_eq!((floats[0], floats[2]), (floats[1], floats[3]));
        let text = hashes(&arc(StringArray::from(vec![Some("a"), None])));
        assert_eq!(
            text,
            hashes(&arc(StringViewArray::from(vec![Some("a"), None])))
        );
    }

    #[test]
    fn keys_in_sequence_spread_over_workers() {
        let all = hashes(&arc(Int64Array::from_iter_values(0..10_000)));
        let first = all.iter().filter(|hash| worker(**hash, 4) == 0).count();
        assert!((2300..2700).contains(&first), "{first}");
    }
}
