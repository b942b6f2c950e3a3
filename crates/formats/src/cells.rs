//! The values of a column on their way out, as JSON or as plain text.

use crate::json::text::quote;
use crate::json::{NullKey, Settings};
use crate::time::{Style, write_date, write_time, write_timestamp};
use crate::value::type_name;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, PrimitiveArray, StringViewArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type,
    Time64NanosecondType, TimeUnit,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millstream_dataflow::{Error, Result};
use std::io::Write as _;

/// A column, ready to be written row by row.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    pub(crate) nulls: Option<NullBuffer>,
    pub(crate) kind: Kind,
}

/// The values by type.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Boolean(BooleanArray),
    Integer(PrimitiveArray<Int64Type>),
    Float(PrimitiveArray<Float32Type>),
    Double(PrimitiveArray<Float64Type>),
    Decimal(PrimitiveArray<Decimal128Type>, u32),
    Date(PrimitiveArray<Date32Type>),
    Time(PrimitiveArray<Time64NanosecondType>),
    Timestamp {
        values: PrimitiveArray<Int64Type>,
        per_second: i64,
        zoned: bool,
    },
    Text(StringViewArray),
    Bytes(BinaryViewArray),
    /// The fields with their names as JSON: `"name":`.
    Row(Vec<(Vec<u8>, Cells)>),
    List(OffsetBuffer<i32>, Box<Cells>),
    Map(OffsetBuffer<i32>, Box<Cells>, Box<Cells>),
}

/// A field's name as JSON, with its colon.
pub(crate) fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    quote(name.as_bytes(), &mut key);
    key.push(b':');
    key
}

/// Whether values of this type can be written.
///
/// # Errors
/// `User`, naming the column.
pub(crate) fn check_type(name: &str, data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::List(item) => check_type(name, item.data_type()),
        DataType::Map(entries, _) => check_type(name, entries.data_type()),
        DataType::Struct(fields) => fields
            .iter()
            .try_for_each(|field| check_type(name, field.data_type())),
        other if other.is_integer() || other.is_floating() || other.is_temporal() => Ok(()),
        DataType::Null
        | DataType::Boolean
        | DataType::Decimal128(_, 0..)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => Ok(()),
        other => Err(Error::user(format!(
            "column `{name}` has the type {}, which this format cannot write",
            type_name(other)
        ))),
    }
}

impl Cells {
    /// The cells of a column.
    ///
    /// # Errors
    /// `Internal` for a type that [`check_type`] refuses.
    pub(crate) fn of(array: &ArrayRef) -> Result<Self> {
        let to = |data_type: &DataType| compute::cast(array, data_type);
        let kind = match array.data_type() {
            DataType::Null => Kind::Null,
            DataType::Boolean => Kind::Boolean(array.as_boolean().clone()),
            DataType::Float32 => Kind::Float(array.as_primitive().clone()),
            DataType::Float64 => Kind::Double(array.as_primitive().clone()),
            DataType::Decimal128(_, scale) => {
                let scale = u32::try_from(*scale).unwrap_or(0);
                Kind::Decimal(array.as_primitive().clone(), scale)
            }
            DataType::Date32 => Kind::Date(array.as_primitive().clone()),
            DataType::Time32(_) | DataType::Time64(_) => {
                let nanos = to(&DataType::Time64(TimeUnit::Nanosecond))?;
                Kind::Time(nanos.as_primitive().clone())
            }
            DataType::Timestamp(unit, zone) => Kind::Timestamp {
                values: to(&DataType::Int64)?.as_primitive().clone(),
                per_second: match unit {
                    TimeUnit::Second => 1,
                    TimeUnit::Millisecond => 1_000,
                    TimeUnit::Microsecond => 1_000_000,
                    TimeUnit::Nanosecond => 1_000_000_000,
                },
                zoned: zone.is_some(),
            },
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Kind::Text(to(&DataType::Utf8View)?.as_string_view().clone())
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Kind::Bytes(to(&DataType::BinaryView)?.as_binary_view().clone())
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                Kind::Row(
                    columns
                        .map(|(field, column)| Ok((key(field.name()), Self::of(column)?)))
                        .collect::<Result<_>>()?,
                )
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Kind::List(list.offsets().clone(), Box::new(Self::of(list.values())?))
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let (keys, values) = (Self::of(map.keys())?, Self::of(map.values())?);
                Kind::Map(map.offsets().clone(), Box::new(keys), Box::new(values))
            }
            other if other.is_integer() => {
                Kind::Integer(to(&DataType::Int64)?.as_primitive().clone())
            }
            other => {
                return Err(Error::internal(format!("a column of {other} is written")));
            }
        };
        Ok(Self {
            nulls: array.logical_nulls(),
            kind,
        })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends a value as JSON.
    ///
    /// # Errors
    /// `User` for a NULL key of a MAP, where that is not allowed.
    pub(crate) fn json(&self, row: usize, settings: &Settings, out: &mut Vec<u8>) -> Result<()> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.kind {
            Kind::Text(values) => quote(values.value(row).as_bytes(), out),
            Kind::Row(fields) => write_object(fields, row, settings, out)?,
            Kind::List(offsets, items) => {
                out.push(b'[');
                for item in offsets[row] as usize..offsets[row + 1] as usize {
                    comma(item > offsets[row] as usize, out);
                    items.json(item, settings, out)?;
                }
                out.push(b']');
            }
            Kind::Map(offsets, keys, values) => {
                out.push(b'{');
                let mut more = false;
                for entry in offsets[row] as usize..offsets[row + 1] as usize {
                    let mut name = Vec::new();
                    match (&settings.null_key, keys.is_null(entry)) {
                        (_, false) => keys.plain(entry, settings.style(), &mut name),
                        (NullKey::Drop, true) => continue,
                        (NullKey::Literal(literal), true) => {
                            name.extend_from_slice(literal.as_bytes());
                        }
                        (NullKey::Fail, true) => return Err(null_key()),
                    }
                    comma(std::mem::replace(&mut more, true), out);
                    quote(&name, out);
                    out.push(b':');
                    values.json(entry, settings, out)?;
                }
                out.push(b'}');
            }
            Kind::Decimal(values, scale) if !settings.decimal_as_plain_number => {
                write_decimal_json(values.value(row), *scale, out);
            }
            Kind::Float(values) if !values.value(row).is_finite() => {
                self.quoted(row, settings, out)
            }
            Kind::Double(values) if !values.value(row).is_finite() => {
                self.quoted(row, settings, out);
            }
            Kind::Date(_) | Kind::Time(_) | Kind::Timestamp { .. } | Kind::Bytes(_) => {
                self.quoted(row, settings, out);
            }
            Kind::Null
            | Kind::Boolean(_)
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::Double(_)
            | Kind::Decimal(_, _) => self.plain(row, settings.style(), out),
        }
        Ok(())
    }

    /// A value whose text needs no escapes, in quotes.
    fn quoted(&self, row: usize, settings: &Settings, out: &mut Vec<u8>) {
        out.push(b'"');
        self.plain(row, settings.style(), out);
        out.push(b'"');
    }

    /// Appends a value that is not NULL as text without quotes. Nothing for a nested value.
    pub(crate) fn plain(&self, row: usize, style: Style, out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Null | Kind::Row(_) | Kind::List(_, _) | Kind::Map(_, _, _) => {}
            Kind::Boolean(values) => {
                let text: &[u8] = if values.value(row) { b"true" } else { b"false" };
                out.extend_from_slice(text);
            }
            Kind::Integer(values) => {
                out.extend_from_slice(itoa::Buffer::new().format(values.value(row)).as_bytes());
            }
            Kind::Float(values) => {
                write_float(f64::from(values.value(row)), values.value(row), out)
            }
            Kind::Double(values) => write_float(values.value(row), values.value(row), out),
            Kind::Decimal(values, scale) => write_decimal(values.value(row), *scale, out),
            Kind::Date(values) => write_date(out, values.value(row).into()),
            Kind::Time(values) => write_time(out, values.value(row), 0),
            Kind::Timestamp {
                values,
                per_second,
                zoned,
            } => {
                let value = values.value(row);
                let nanos = value.rem_euclid(*per_second) * (1_000_000_000 / per_second);
                write_timestamp(out, value.div_euclid(*per_second), nanos, style, *zoned);
            }
            Kind::Text(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Kind::Bytes(values) => {
                out.extend_from_slice(STANDARD.encode(values.value(row)).as_bytes());
            }
        }
    }
}

/// Appends an object of these fields.
pub(crate) fn write_object(
    fields: &[(Vec<u8>, Cells)],
    row: usize,
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.push(b'{');
    let mut more = false;
    for (key, cells) in fields {
        if settings.ignore_null_fields && cells.is_null(row) {
            continue;
        }
        comma(std::mem::replace(&mut more, true), out);
        out.extend_from_slice(key);
        cells.json(row, settings, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn comma(more: bool, out: &mut Vec<u8>) {
    if more {
        out.push(b',');
    }
}

fn null_key() -> Error {
    Error::user("a MAP has a NULL key, which JSON cannot hold")
        .hint("set 'json.map-null-key.mode' to 'DROP' or 'LITERAL'")
}

/// The shortest text that reads back as the same number.
fn write_float(value: f64, shortest: impl std::fmt::Debug, out: &mut Vec<u8>) {
    let written = if value.is_nan() {
        out.write_all(b"NaN")
    } else if value.is_infinite() {
        out.write_all(if value > 0.0 {
            b"Infinity"
        } else {
            b"-Infinity"
        })
    } else {
        write!(out, "{shortest:?}")
    };
    debug_assert!(written.is_ok(), "a Vec takes everything");
}

/// A decimal with all digits of its scale.
fn write_decimal(value: i128, scale: u32, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    let scale = scale as usize;
    let zeros = (scale + 1).saturating_sub(digits.len());
    let whole = digits.len() + zeros - scale;
    let padded: Vec<u8> = std::iter::repeat_n(b'0', zeros)
        .chain(digits.iter().copied())
        .collect();
    out.extend_from_slice(&padded[..whole]);
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(&padded[whole..]);
    }
}

/// A decimal as Flink writes it into JSON by default: without zeros at its end, and with an exponent where that leaves
/// zeros before the point or more than five behind it.
fn write_decimal_json(value: i128, scale: u32, out: &mut Vec<u8>) {
    let (mut digits, mut scale) = (value, i64::from(scale));
    while digits != 0 && digits % 10 == 0 {
        digits /= 10;
        scale -= 1;
    }
    if digits == 0 {
        out.push(b'0');
        return;
    }
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(digits.unsigned_abs()).as_bytes();
    let exponent = text.len() as i64 - 1 - scale;
    if scale >= 0 && exponent >= -6 {
        write_decimal(digits, scale as u32, out);
        return;
    }
    if digits < 0 {
        out.push(b'-');
    }
    out.push(text[0]);
    if text.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&text[1..]);
    }
    out.extend_from_slice(if exponent < 0 { b"E-" } else { b"E+" });
    out.extend_from_slice(
        itoa::Buffer::new()
            .format(exponent.unsigned_abs())
            .as_bytes(),
    );
}
