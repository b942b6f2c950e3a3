//! The order of rows as numbers: a row comes before another if its number is less.
//!
//! Columns of fixed width are packed side by side into 128 bits, with a bit for NULL each; what does not fit goes through
//! Arrow's row format.

use super::Order;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, SchemaRef, Time32MillisecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::row::{RowConverter, SortField};
use millstream_dataflow::{Error, Result};

/// How rows of some columns become keys that compare as the rows do.
pub(super) trait Ranker: Send {
    /// A row's key.
    type Key: Ord + Clone + Send;

    /// The keys of some rows, given the columns in the order of the specification.
    fn keys(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Self::Key>>;
}

/// Two words instead of one of 128 bits: half the alignment.
pub(super) type PackedKey = [u64; 2];

/// Keys of up to 128 bits.
#[derive(Debug)]
pub(super) struct Packed {
    order: Vec<Order>,
}

/// Keys of any length.
#[derive(Debug)]
pub(super) struct Encoded {
    converter: RowConverter,
}

impl Packed {
    /// `None` when the columns don't fit.
    pub(super) fn new(schema: &SchemaRef, order: &[Order]) -> Option<Self> {
        let bits: Option<Vec<u32>> = order
            .iter()
            .map(|order| bits(schema.field(order.column).data_type()))
            .collect();
        let sum: u32 = bits?.iter().map(|bits| bits + 1).sum();
        (sum <= 128).then(|| Self {
            order: order.to_vec(),
        })
    }
}

impl Ranker for Packed {
    type Key = PackedKey;

    fn keys(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<PackedKey>> {
        let mut keys = vec![0_u128; rows];
        for (order, column) in self.order.iter().zip(columns) {
            pack(column, *order, &mut keys)?;
        }
        Ok(keys
            .into_iter()
            .map(|key| [(key >> 64) as u64, key as u64])
            .collect())
    }
}

impl Encoded {
    pub(super) fn new(schema: &SchemaRef, order: &[Order]) -> Result<Self> {
        let field = |order: &Order| {
            let options = SortOptions {
                descending: order.descending,
                nulls_first: order.nulls_first,
            };
            SortField::new_with_options(schema.field(order.column).data_type().clone(), options)
        };
        let converter = RowConverter::new(order.iter().map(field).collect())?;
        Ok(Self { converter })
    }
}

impl Ranker for Encoded {
    type Key = Box<[u8]>;

    fn keys(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Box<[u8]>>> {
        if columns.is_empty() {
            return Ok(vec![Box::default(); rows]);
        }
        let rows = self.converter.convert_columns(columns)?;
        Ok(rows.iter().map(|row| Box::from(row.data())).collect())
    }
}

fn bits(data_type: &DataType) -> Option<u32> {
    match data_type {
        DataType::Boolean => Some(1),
        DataType::Int8 => Some(8),
        DataType::Int16 => Some(16),
        DataType::Int32
        | DataType::Float32
        | DataType::Date32
        | DataType::Time32(TimeUnit::Millisecond) => Some(32),
        DataType::Int64
        | DataType::Float64
        | DataType::Time64(TimeUnit::Nanosecond)
        | DataType::Timestamp(_, _) => Some(64),
        // 38 digits need 127 bits with the sign.
        DataType::Decimal128(_, _) => Some(127),
        _ => None,
    }
}

/// Shifts a column's bits into the keys.
fn pack(column: &ArrayRef, order: Order, keys: &mut [u128]) -> Result<()> {
    macro_rules! integers {
        ($kind:ty) => {{
            let values = column.as_primitive::<$kind>().values();
            place(column, order, keys, |row| i128::from(values[row]))
        }};
    }
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean().values();
            place(column, order, keys, |row| i128::from(values.value(row)));
        }
        DataType::Int8 => integers!(Int8Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::Date32 => integers!(Date32Type),
        DataType::Time32(TimeUnit::Millisecond) => integers!(Time32MillisecondType),
        DataType::Time64(TimeUnit::Nanosecond) => integers!(Time64NanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => integers!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => integers!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integers!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => integers!(TimestampNanosecondType),
        DataType::Decimal128(_, _) => integers!(Decimal128Type),
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>().values();
            let number = |row: usize| {
                let value = values[row] + 0.0;
                let bits = if value.is_nan() { f32::NAN } else { value }.to_bits() as i32;
                i128::from(bits ^ ((bits >> 31) as u32 >> 1) as i32)
            };
            place(column, order, keys, number);
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            let number = |row: usize| {
                let value = values[row] + 0.0;
                let bits = if value.is_nan() { f64::NAN } else { value }.to_bits() as i64;
                i128::from(bits ^ ((bits >> 63) as u64 >> 1) as i64)
            };
            place(column, order, keys, number);
        }
        other => return Err(Error::internal(format!("{other} is ordered as a number"))),
    }
    Ok(())
}

/// Appends to each key a bit for NULL and the number, both so that less comes first.
#[inline]
fn place(column: &ArrayRef, order: Order, keys: &mut [u128], number: impl Fn(usize) -> i128) {
    let width = bits(column.data_type()).unwrap_or_default();
    let mask = u128::MAX >> (128 - width);
    let top = if width > 1 { 1_u128 << (width - 1) } else { 0 };
    let flip = if order.descending { mask } else { 0 };
    let value_flag = u128::from(order.nulls_first) << width;
    let null = u128::from(!order.nulls_first) << width;
    let shift = |key: u128| key.checked_shl(width + 1).unwrap_or(0);
    let value = |row: usize| ((number(row) as u128 & mask) ^ top ^ flip) | value_flag;
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => keys
            .iter_mut()
            .enumerate()
            .for_each(|(row, key)| *key = shift(*key) | value(row)),
        Some(nulls) => keys.iter_mut().enumerate().for_each(|(row, key)| {
            let bits = if nulls.is_valid(row) {
                value(row)
            } else {
                null
            };
            *key = shift(*key) | bits;
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::{delta, schema};

    #[test]
    fn packed_keys_order_rows_as_the_row_format_does() {
        let columns = "a bigint, b double, c smallint, d boolean, e float, f decimal(38,2)";
        let rows = delta(
            columns,
            "+1 1 -1.5 3 true -1 5.00 / +1 -9223372036854775808 inf -3 false NaN -5.25 / +1 NULL NULL NULL NULL NULL NULL
             / +1 9223372036854775807 NaN 300 NULL 0 0.00 / +1 0 0.0 0 true 1.5 99999999999999999999.00 / +1 -5 -inf -1 false -inf NULL",
        );
        let schema = schema(columns);
        for (descending, nulls_first) in
            [(false, true), (true, false), (false, false), (true, true)]
        {
            for picked in [
                vec![0],
                vec![1],
                vec![2, 3, 4],
                vec![5],
                vec![4, 0],
                vec![3],
            ] {
                let order: Vec<Order> = picked
                    .iter()
                    .map(|column| Order {
                        column: *column,
                        descending,
                        nulls_first,
                    })
                    .collect();
                let arrays: Vec<ArrayRef> = picked
                    .iter()
                    .map(|c| ArrayRef::clone(rows.column(*c)))
                    .collect();
                let packed = Packed::new(&schema, &order)
                    .unwrap()
                    .keys(&arrays, 6)
                    .unwrap();
                let encoded = Encoded::new(&schema, &order)
                    .unwrap()
                    .keys(&arrays, 6)
                    .unwrap();
                for (i, j) in (0..6).flat_map(|i| (0..6).map(move |j| (i, j))) {
                    assert_eq!(
                        packed[i].cmp(&packed[j]),
                        encoded[i].cmp(&encoded[j]),
                        "{order:?} {i} {j}"
                    );
                }
            }
        }
        let wide = [0, 1].map(|column| Order {
            column,
            descending: false,
            nulls_first: true,
        });
        assert!(Packed::new(&schema, &wide).is_none());
    }
}
