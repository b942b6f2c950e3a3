//! Nested values as JSON: ROW is an object, ARRAY an array, MAP an object whose keys are texts.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::{BufMut, BytesMut};
use std::sync::Arc;

use super::text;

/// Writes a value.
pub(crate) fn write(array: &ArrayRef, row: usize, out: &mut BytesMut) -> Result<(), ArrowError> {
    if array.is_null(row) {
        out.put_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Null => out.put_slice(b"null"),
        DataType::Struct(fields) => {
            let columns = array.as_struct();
            let members = fields
                .iter()
                .zip(columns.columns())
                .map(|(field, column)| (field.name().clone(), column, row));
            object(members, out)?;
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            let keys = cast(map.keys(), &DataType::Utf8)?;
            let keys = keys.as_string::<i32>();
            let range = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
            object(
                range.map(|at| (keys.value(at).to_owned(), map.values(), at)),
                out,
            )?;
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
            sequence(list.values(), range, out)?;
        }
        other => match super::types::element(other) {
            Some(item) => write(
                &cast(&array.slice(row, 1), &DataType::List(Arc::clone(item)))?,
                0,
                out,
            )?,
            None => scalar(array, row, out)?,
        },
    }
    Ok(())
}

fn object<'a>(
    members: impl Iterator<Item = (String, &'a ArrayRef, usize)>,
    out: &mut BytesMut,
) -> Result<(), ArrowError> {
    out.put_u8(b'{');
    for (idx, (name, values, row)) in members.enumerate() {
        if idx > 0 {
            out.put_u8(b',');
        }
        string(&name, out);
        out.put_u8(b':');
        write(values, row, out)?;
    }
    out.put_u8(b'}');
    Ok(())
}

fn sequence(
    values: &ArrayRef,
    range: std::ops::Range<usize>,
    out: &mut BytesMut,
) -> Result<(), ArrowError> {
    out.put_u8(b'[');
    for (idx, row) in range.enumerate() {
        if idx > 0 {
            out.put_u8(b',');
        }
        write(values, row, out)?;
    }
    out.put_u8(b']');
    Ok(())
}

/// Numbers and booleans as they are; everything else as text.
fn scalar(array: &ArrayRef, row: usize, out: &mut BytesMut) -> Result<(), ArrowError> {
    let data_type = array.data_type();
    let formatted = || -> Result<String, ArrowError> {
        let options = FormatOptions::default().with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
        Ok(ArrayFormatter::try_new(array.as_ref(), &options)?
            .value(row)
            .to_string())
    };
    match data_type {
        DataType::Timestamp(_, Some(_)) => {
            let micros = cast(
                &array.slice(row, 1),
                &DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
            )?;
            let micros = micros
                .as_primitive::<arrow::datatypes::TimestampMicrosecondType>()
                .value(0);
            out.put_u8(b'"');
            text::timestamp_zone(micros, &chrono::Utc, out)?;
            out.put_u8(b'"');
        }
        DataType::Float32 | DataType::Float64 | DataType::Float16 => {
            let text = formatted()?;
            let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
            if is_number {
                out.put_slice(text.as_bytes())
            } else {
                string(&text, out)
            }
        }
        DataType::Boolean => out.put_slice(formatted()?.as_bytes()),
        number if number.is_numeric() => out.put_slice(formatted()?.as_bytes()),
        _ => string(&formatted()?, out),
    }
    Ok(())
}

fn string(text: &str, out: &mut BytesMut) {
    out.put_u8(b'"');
    for ch in text.chars() {
        match ch {
            '"' => out.put_slice(b"\\\""),
            '\\' => out.put_slice(b"\\\\"),
            '\n' => out.put_slice(b"\\n"),
            '\r' => out.put_slice(b"\\r"),
            '\t' => out.put_slice(b"\\t"),
            control if u32::from(control) < 0x20 => {
                text::display(format_args!("\\u{:04x}", u32::from(control)), out)
            }
            other => out.put_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.put_u8(b'"');
}
