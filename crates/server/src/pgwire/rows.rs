//! Arrow batches as DataRow messages, in text and binary format.
//!
//! A batch's columns are resolved to typed arrays once ([`Column`]); then rows are written straight into the connection's output. arrow-pg's
//! encoder is not used for values: its decimals end at 28 digits where the engine's have 38, it refuses maps, and times it can't express
//! become NULL in silence.

use arrow::array::timezone::Tz;
use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, IntervalUnit, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use bytes::{BufMut, BytesMut};
use pgwire::api::Type;
use std::sync::Arc;

use super::numeric;
use super::text;
use super::types::{Format, element, type_of};

/// Days from Unix's epoch to Postgres's, 2000-01-01.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// How the rows of a result are written.
#[derive(Debug)]
pub(crate) struct Layout {
    schema: SchemaRef,
    formats: Vec<Format>,
    /// `None`: UTC.
    zone: Option<Tz>,
}

impl Layout {
    /// A layout for a described result.
    pub(crate) fn new(schema: SchemaRef, formats: &[i16], zone: &str) -> Self {
        let formats = (0..schema.fields().len())
            .map(|column| Format::of(formats, column))
            .collect();
        Self {
            schema,
            formats,
            zone: zone.parse().ok(),
        }
    }

    /// A batch ready to be written, row by row.
    pub(crate) fn batch(&self, batch: &RecordBatch) -> Result<Batch<'_>, ArrowError> {
        let columns = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(array, field)| column(array, field));
        Ok(Batch {
            layout: self,
            columns: columns.collect::<Result<_, _>>()?,
        })
    }
}

/// The typed columns of a batch.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    layout: &'a Layout,
    columns: Vec<Column>,
}

impl Batch<'_> {
    /// Writes a row as a DataRow message.
    pub(crate) fn write(&self, row: usize, out: &mut BytesMut) -> Result<(), ArrowError> {
        out.put_u8(b'D');
        let start = out.len();
        out.put_i32(0);
        out.put_u16(self.columns.len() as u16);
        for (column, format) in self.columns.iter().zip(&self.layout.formats) {
            if column.is_null(row) {
                out.put_i32(-1);
                continue;
            }
            let at = out.len();
            out.put_i32(0);
            column.write(row, *format, self.layout.zone.as_ref(), out)?;
            patch(out, at, out.len() - at - 4)?;
        }
        patch(out, start, out.len() - start)
    }
}

/// Writes a length where room was left for it.
fn patch(out: &mut BytesMut, at: usize, length: usize) -> Result<(), ArrowError> {
    let length = i32::try_from(length)
        .map_err(|_| ArrowError::MemoryError("a value of more than 2 GB".to_owned()))?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A column, by what is written of it.
#[derive(Debug)]
pub(crate) enum Column {
    Null,
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Decimal(Decimal128Array, u8),
    /// Beyond 38 digits: always as text first.
    Wide(Decimal256Array),
    Text(StringViewArray),
    /// Postgres's one-byte "char".
    Char(StringViewArray),
    Bytes(BinaryViewArray),
    /// Days since 1970.
    Date(Date32Array),
    /// Microseconds since midnight.
    Time(Time64MicrosecondArray),
    /// Microseconds since 1970, of the clock on the wall.
    Timestamp(TimestampMicrosecondArray),
    /// Microseconds since 1970 in UTC.
    TimestampZone(TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    List(ListArray, Box<Column>, Type),
    /// What is written as JSON.
    Json(ArrayRef),
}

/// Resolves an array to what is written of it; units that Postgres does not have become microseconds.
fn column(array: &ArrayRef, field: &Field) -> Result<Column, ArrowError> {
    let described = type_of(field);
    if described == Type::CHAR {
        return Ok(Column::Char(
            cast(array, &DataType::Utf8View)?.as_string_view().clone(),
        ));
    }
    of_array(array)
}

fn of_array(array: &ArrayRef) -> Result<Column, ArrowError> {
    let to = |data_type: &DataType| cast(array, data_type);
    Ok(match array.data_type() {
        DataType::Null => Column::Null,
        DataType::Boolean => Column::Bool(array.as_boolean().clone()),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => {
            Column::Int2(to(&DataType::Int16)?.as_primitive().clone())
        }
        DataType::Int32 | DataType::UInt16 => {
            Column::Int4(to(&DataType::Int32)?.as_primitive().clone())
        }
        DataType::Int64 | DataType::UInt32 => {
            Column::Int8(to(&DataType::Int64)?.as_primitive().clone())
        }
        DataType::UInt64 => {
            Column::Decimal(to(&DataType::Decimal128(20, 0))?.as_primitive().clone(), 0)
        }
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
            if *scale >= 0 =>
        {
            Column::Decimal(
                to(&DataType::Decimal128(38, *scale))?
                    .as_primitive()
                    .clone(),
                scale.unsigned_abs(),
            )
        }
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => {
            let scale = match array.data_type() {
                DataType::Decimal256(_, scale) => *scale,
                _ => 0,
            };
            Column::Wide(to(&DataType::Decimal256(76, scale))?.as_primitive().clone())
        }
        DataType::Float16 | DataType::Float32 => {
            Column::Float4(to(&DataType::Float32)?.as_primitive().clone())
        }
        DataType::Float64 => Column::Float8(array.as_primitive().clone()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Column::Text(to(&DataType::Utf8View)?.as_string_view().clone())
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Column::Bytes(to(&DataType::BinaryView)?.as_binary_view().clone())
        }
        DataType::FixedSizeBinary(_) => Column::Bytes(
            cast(&to(&DataType::Binary)?, &DataType::BinaryView)?
                .as_binary_view()
                .clone(),
        ),
        DataType::Dictionary(_, values) => of_array(&to(values)?)?,
        other if other.is_temporal() => of_times(array)?,
        nested => match element(nested) {
            Some(item) if !item.data_type().is_nested() => {
                let list = cast(array, &DataType::List(Arc::clone(item)))?;
                let list = list.as_list::<i32>().clone();
                let items = of_array(list.values())?;
                Column::List(list, Box::new(items), type_of(item))
            }
            _ => Column::Json(ArrayRef::clone(array)),
        },
    })
}

fn of_times(array: &ArrayRef) -> Result<Column, ArrowError> {
    let to = |data_type: &DataType| cast(array, data_type);
    let micros = |zone| DataType::Timestamp(TimeUnit::Microsecond, zone);
    Ok(match array.data_type() {
        DataType::Date32 | DataType::Date64 => {
            Column::Date(to(&DataType::Date32)?.as_primitive().clone())
        }
        DataType::Time32(_) | DataType::Time64(_) => Column::Time(
            to(&DataType::Time64(TimeUnit::Microsecond))?
                .as_primitive()
                .clone(),
        ),
        DataType::Timestamp(_, None) => {
            Column::Timestamp(to(&micros(None))?.as_primitive().clone())
        }
        DataType::Timestamp(_, zone) => {
            Column::TimestampZone(to(&micros(zone.clone()))?.as_primitive().clone())
        }
        _ => Column::Interval(
            to(&DataType::Interval(IntervalUnit::MonthDayNano))?
                .as_primitive()
                .clone(),
        ),
    })
}

impl Column {
    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(array) => array.is_null(row),
            Self::Int2(array) => array.is_null(row),
            Self::Int4(array) => array.is_null(row),
            Self::Int8(array) => array.is_null(row),
            Self::Float4(array) => array.is_null(row),
            Self::Float8(array) => array.is_null(row),
            Self::Decimal(array, _) => array.is_null(row),
            Self::Wide(array) => array.is_null(row),
            Self::Text(array) | Self::Char(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Time(array) => array.is_null(row),
            Self::Timestamp(array) | Self::TimestampZone(array) => array.is_null(row),
            Self::Interval(array) => array.is_null(row),
            Self::List(array, _, _) => array.is_null(row),
            Self::Json(array) => array.is_null(row),
        }
    }

    fn write(
        &self,
        row: usize,
        format: Format,
        zone: Option<&Tz>,
        out: &mut BytesMut,
    ) -> Result<(), ArrowError> {
        match format {
            Format::Text => self.text(row, zone, out),
            Format::Binary => self.binary(row, out),
        }
    }

    fn text(&self, row: usize, zone: Option<&Tz>, out: &mut BytesMut) -> Result<(), ArrowError> {
        match self {
            Self::Null => {}
            Self::Bool(array) => out.put_u8(if array.value(row) { b't' } else { b'f' }),
            Self::Int2(array) => text::display(array.value(row), out),
            Self::Int4(array) => text::display(array.value(row), out),
            Self::Int8(array) => text::display(array.value(row), out),
            Self::Float4(array) => text::float4(array.value(row), out),
            Self::Float8(array) => text::float8(array.value(row), out),
            Self::Decimal(array, scale) => numeric::text(array.value(row), *scale, out),
            Self::Wide(array) => out.put_slice(array.value_as_string(row).as_bytes()),
            Self::Text(array) | Self::Char(array) => out.put_slice(array.value(row).as_bytes()),
            Self::Bytes(array) => text::bytes(array.value(row), out),
            Self::Date(array) => text::date(array.value(row), out)?,
            Self::Time(array) => text::time(array.value(row), out),
            Self::Timestamp(array) => text::timestamp(array.value(row), out)?,
            Self::TimestampZone(array) => match zone {
                Some(zone) => text::timestamp_zone(array.value(row), zone, out)?,
                None => text::timestamp_zone(array.value(row), &chrono::Utc, out)?,
            },
            Self::Interval(array) => text::interval(array.value(row), out),
            Self::List(array, items, of) => {
                let range =
                    array.value_offsets()[row] as usize..array.value_offsets()[row + 1] as usize;
                text::list(range, of, out, |row, out| {
                    if items.is_null(row) {
                        Ok(false)
                    } else {
                        items.text(row, zone, out).map(|()| true)
                    }
                })?;
            }
            Self::Json(array) => super::json::write(array, row, out)?,
        }
        Ok(())
    }

    fn binary(&self, row: usize, out: &mut BytesMut) -> Result<(), ArrowError> {
        match self {
            Self::Null => {}
            Self::Bool(array) => out.put_u8(u8::from(array.value(row))),
            Self::Int2(array) => out.put_i16(array.value(row)),
            Self::Int4(array) => out.put_i32(array.value(row)),
            Self::Int8(array) => out.put_i64(array.value(row)),
            Self::Float4(array) => out.put_f32(array.value(row)),
            Self::Float8(array) => out.put_f64(array.value(row)),
            Self::Decimal(array, scale) => {
                numeric::binary(&numeric::digits(array.value(row), *scale), out)
            }
            Self::Wide(array) => numeric::binary(&array.value_as_string(row), out),
            Self::Text(array) => out.put_slice(array.value(row).as_bytes()),
            Self::Char(array) => out.put_u8(array.value(row).bytes().next().unwrap_or(0)),
            Self::Bytes(array) => out.put_slice(array.value(row)),
            Self::Date(array) => out.put_i32(array.value(row).saturating_sub(EPOCH_DAYS)),
            Self::Time(array) => out.put_i64(array.value(row)),
            Self::Timestamp(array) | Self::TimestampZone(array) => {
                out.put_i64(array.value(row).saturating_sub(EPOCH_MICROS))
            }
            Self::Interval(array) => {
                let value = array.value(row);
                out.put_i64(value.nanoseconds / 1_000);
                out.put_i32(value.days);
                out.put_i32(value.months);
            }
            Self::List(array, items, of) => {
                let range =
                    array.value_offsets()[row] as usize..array.value_offsets()[row + 1] as usize;
                out.put_i32(i32::from(!range.is_empty()));
                out.put_i32(i32::from(range.clone().any(|row| items.is_null(row))));
                out.put_u32(of.oid());
                if !range.is_empty() {
                    out.put_i32(i32::try_from(range.len()).unwrap_or(i32::MAX));
                    out.put_i32(1);
                }
                for row in range {
                    let at = out.len();
                    out.put_i32(-1);
                    if !items.is_null(row) {
                        items.binary(row, out)?;
                        patch(out, at, out.len() - at - 4)?;
                    }
                }
            }
            // json's own bytes are its text.
            Self::Json(array) => super::json::write(array, row, out)?,
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
