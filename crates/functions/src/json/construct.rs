//! JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON.
//!
//! `json_object(on_null, raw, key, value, ...)` and `json_array(on_null, raw, value, ...)`: on_null is the literal
//! `NULL` or `ABSENT`; raw is a literal with one character per value, `j` for a value that is JSON already (because it
//! is itself a call of `json_object`, `json_array` or `json`) and `v` for any other. [`raw_flags`] makes it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Decimal128Array, Float64Array,
    Int64Array, StringViewArray,
};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion_expr::Expr;

use super::value::{Json, write_number, write_text};
use crate::call::{Call, downcast};
use crate::cast::to_text::{bounds, to_text};
use crate::civil::{write_date, write_fraction, write_time};
use crate::error::{Error, Result};
use crate::function::{Function, Kind, takes, takes_more};
use crate::moments::Moments;
use crate::types::{is_binary, is_text};
use crate::zone::Zone;
use crate::{decimal, java};

pub(crate) fn functions() -> Vec<Function> {
    const TWO: &[Kind] = &[Kind::Text, Kind::Text];
    vec![
        Function::new(
            "json_object",
            takes_more(TWO, Kind::Any),
            |_| Ok(DataType::Utf8View),
            json_object,
        ),
        Function::new(
            "json_array",
            takes_more(TWO, Kind::Any),
            |_| Ok(DataType::Utf8View),
            json_array,
        ),
        Function::new(
            "json_string",
            takes(&[Kind::Any]),
            |_| Ok(DataType::Utf8View),
            json_string,
        ),
        Function::new("json", takes(&TWO[..1]), |_| Ok(DataType::Utf8View), json),
    ]
}

/// The `raw` argument of `json_object` and `json_array` for these values.
#[must_use]
pub fn raw_flags(values: &[Expr]) -> String {
    let is_json = |value: &Expr| match value {
        Expr::ScalarFunction(call) => matches!(call.name(), "json_object" | "json_array" | "json"),
        _ => false,
    };
    values
        .iter()
        .map(|value| if is_json(value) { 'j' } else { 'v' })
        .collect()
}

/// What a call says beside its values: whether NULLs are left out, and which values are JSON already.
fn clauses(call: &Call<'_>) -> Result<(bool, Vec<bool>)> {
    let (on_null, raw) = (call.text(0)?, call.text(1)?);
    let absent = match on_null.array.iter().next().flatten() {
        Some("ABSENT") => true,
        Some("NULL") | None => false,
        Some(other) => {
            return Err(
                Error::argument(call.name, format!("'{other}' is not NULL or ABSENT")).into(),
            );
        }
    };
    let raw = raw
        .array
        .iter()
        .next()
        .flatten()
        .unwrap_or("")
        .chars()
        .map(|c| c == 'j')
        .collect();
    Ok((absent, raw))
}

fn json_object(call: &Call<'_>) -> Result<ArrayRef> {
    let (absent, raw) = clauses(call)?;
    if !call.len().is_multiple_of(2) {
        return Err(Error::argument(call.name, "every key needs a value").into());
    }
    let mut entries = Vec::new();
    for (nth, idx) in (2..call.len()).step_by(2).enumerate() {
        entries.push((
            call.text(idx)?,
            call.arg(idx + 1)?,
            raw.get(nth) == Some(&true),
        ));
    }
    let mut entries: Vec<_> = entries
        .into_iter()
        .map(|(key, value, raw)| {
            Ok((
                key,
                Cells::new(call.name, &value.array, call.zone, raw)?,
                value,
            ))
        })
        .collect::<Result<_>>()?;
    let mut fields: Vec<(String, String)> = Vec::new();
    call.texts(|row, out| {
        fields.clear();
        for (key, cells, value) in &mut entries {
            let Some(key) = key.get(row) else {
                return Err(Error::argument(call.name, "a key is NULL").into());
            };
            let mut text = String::new();
            cells.write(value.at(row), &mut text);
            match fields.iter_mut().find(|(known, _)| known == key) {
                Some(field) => field.1 = text,
                None => fields.push((key.to_string(), text)),
            }
        }
        fields.sort_by(|(left, _), (right, _)| left.cmp(right));
        write_object(&fields, absent, out);
        Ok(true)
    })
}

fn write_object(fields: &[(String, String)], absent: bool, out: &mut String) {
    out.push('{');
    let mut first = true;
    for (key, value) in fields
        .iter()
        .filter(|(_, value)| !(absent && value == "null"))
    {
        out.push_str(if std::mem::take(&mut first) { "" } else { "," });
        write_text(key, out);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
}

fn json_array(call: &Call<'_>) -> Result<ArrayRef> {
    let (absent, raw) = clauses(call)?;
    let mut values = Vec::new();
    for (nth, idx) in (2..call.len()).enumerate() {
        let value = call.arg(idx)?;
        values.push((
            Cells::new(
                call.name,
                &value.array,
                call.zone,
                raw.get(nth) == Some(&true),
            )?,
            value,
        ));
    }
    call.texts(|row, out| {
        out.push('[');
        for (cells, value) in &mut values {
            if absent && value.is_null(row) {
                continue;
            }
            out.push_str(if out.len() == 1 { "" } else { "," });
            cells.write(value.at(row), out);
        }
        out.push(']');
        Ok(true)
    })
}

fn json_string(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.arg(0)?;
    let mut cells = Cells::new(call.name, &value.array, call.zone, false)?;
    call.texts(|row, out| {
        if value.is_null(row) {
            return Ok(false);
        }
        cells.write(value.at(row), out);
        Ok(true)
    })
}

/// A text that is JSON, written compactly; an empty one is NULL.
fn json(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row, out| {
        let Some(text) = texts.get(row).filter(|text| !text.trim().is_empty()) else {
            return Ok(false);
        };
        let json = Json::parse(text)
            .ok_or_else(|| Error::argument(call.name, format!("'{text}' is no JSON")))?;
        json.write(out);
        Ok(true)
    })
}

/// The columns of a value, to write as JSON.
struct Cells {
    array: ArrayRef,
    kind: Kinds,
}

enum Kinds {
    Null,
    Raw(StringViewArray),
    Boolean(BooleanArray),
    Long(Int64Array),
    Double(Float64Array, bool),
    Decimal(Decimal128Array, i8),
    Text(StringViewArray),
    Bytes(BinaryViewArray),
    Timestamp(Moments),
    Row(Vec<(String, Cells)>),
    List(Box<Cells>),
    Map(StringViewArray, Box<Cells>),
}

impl Cells {
    fn new(name: &str, array: &ArrayRef, zone: Zone, raw: bool) -> Result<Self> {
        use DataType as T;
        let inner = |array: &ArrayRef| Self::new(name, array, zone, false);
        let kind = match array.data_type() {
            T::Null => Kinds::Null,
            text if is_text(text) && raw => {
                Kinds::Raw(downcast(name, &arrow_cast(array, &T::Utf8View)?)?)
            }
            text if is_text(text) => {
                Kinds::Text(downcast(name, &arrow_cast(array, &T::Utf8View)?)?)
            }
            bytes if is_binary(bytes) => {
                Kinds::Bytes(downcast(name, &arrow_cast(array, &T::BinaryView)?)?)
            }
            T::Boolean => Kinds::Boolean(downcast(name, array)?),
            integer if integer.is_integer() => {
                Kinds::Long(downcast(name, &arrow_cast(array, &T::Int64)?)?)
            }
            T::Float32 => Kinds::Double(downcast(name, &arrow_cast(array, &T::Float64)?)?, true),
            T::Float64 => Kinds::Double(downcast(name, array)?, false),
            T::Decimal128(_, scale) => Kinds::Decimal(downcast(name, array)?, *scale),
            T::Timestamp(..) => Kinds::Timestamp(Moments::new(name, array)?),
            T::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let cells: Result<Vec<_>> = columns
                    .map(|(field, column)| Ok((field.name().clone(), inner(column)?)))
                    .collect();
                let mut cells = cells?;
                cells.sort_by(|(left, _), (right, _)| left.cmp(right));
                Kinds::Row(cells)
            }
            T::List(_) => Kinds::List(Box::new(inner(array.as_list::<i32>().values())?)),
            T::Map(..) => {
                let keys = to_text(array.as_map().keys(), None, zone)?;
                Kinds::Map(
                    downcast(name, &keys)?,
                    Box::new(inner(array.as_map().values())?),
                )
            }
            _ => Kinds::Text(downcast(name, &to_text(array, None, zone)?)?),
        };
        Ok(Self {
            array: Arc::clone(array),
            kind,
        })
    }

    fn write(&mut self, idx: usize, out: &mut String) {
        if self.array.is_null(idx) {
            out.push_str("null");
            return;
        }
        match &mut self.kind {
            Kinds::Null => out.push_str("null"),
            Kinds::Raw(values) => out.push_str(values.value(idx)),
            Kinds::Boolean(values) => {
                out.push_str(if values.value(idx) { "true" } else { "false" })
            }
            Kinds::Long(values) => out.push_str(itoa::Buffer::new().format(values.value(idx))),
            Kinds::Double(values, single) => write_double(values.value(idx), *single, out),
            Kinds::Decimal(values, scale) => {
                let mut plain = String::new();
                decimal::write(values.value(idx), *scale, &mut plain);
                write_number(&plain, out);
            }
            Kinds::Text(values) => write_text(values.value(idx), out),
            Kinds::Bytes(values) => {
                out.push('"');
                STANDARD.encode_string(values.value(idx), out);
                out.push('"');
            }
            Kinds::Timestamp(values) => write_timestamp(values, idx, out),
            Kinds::Row(fields) => {
                out.push('{');
                for (position, (name, cells)) in fields.iter_mut().enumerate() {
                    out.push_str(if position == 0 { "" } else { "," });
                    write_text(name, out);
                    out.push(':');
                    cells.write(idx, out);
                }
                out.push('}');
            }
            Kinds::List(elements) => {
                let (start, end) = bounds(self.array.as_list::<i32>().value_offsets(), idx);
                out.push('[');
                for position in start..end {
                    out.push_str(if position == start { "" } else { "," });
                    elements.write(position, out);
                }
                out.push(']');
            }
            Kinds::Map(keys, values) => {
                let (start, end) = bounds(self.array.as_map().value_offsets(), idx);
                let mut order: Vec<usize> = (start..end).collect();
                order.sort_by(|left, right| keys.value(*left).cmp(keys.value(*right)));
                out.push('{');
                for (nth, position) in order.into_iter().enumerate() {
                    out.push_str(if nth == 0 { "" } else { "," });
                    write_text(keys.value(position), out);
                    out.push(':');
                    values.write(position, out);
                }
                out.push('}');
            }
        }
    }
}

/// What JSON has no number for is a text.
fn write_double(value: f64, single: bool, out: &mut String) {
    let quote = if value.is_finite() { "" } else { "\"" };
    out.push_str(quote);
    #[allow(clippy::cast_possible_truncation, reason = "it was a FLOAT before")]
    if single {
        java::write_f32(value as f32, out);
    } else {
        java::write_f64(value, out);
    }
    out.push_str(quote);
}

/// `"2024-02-29T23:59:59.9"`, an instant in UTC with a `Z`.
fn write_timestamp(values: &Moments, idx: usize, out: &mut String) {
    let Some(moment) = values.get(idx) else {
        return;
    };
    out.push('"');
    write_date(moment.days(), out);
    out.push('T');
    write_time(moment.ms_of_day(), out);
    let from = out.len();
    write_fraction(moment, 9, out);
    let shown = out[from..]
        .trim_end_matches('0')
        .trim_end_matches('.')
        .len();
    out.truncate(from + shown);
    out.push_str(if values.zoned { "Z\"" } else { "\"" });
}
