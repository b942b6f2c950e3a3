//! Any value as text: `TRUE`, `1.0E10`, `2024-02-29 23:59:59.900`, `(a, NULL)`, `[a, b]`, `{k=v}`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Decimal128Array, Float32Array,
    Float64Array, Int64Array, IntervalDayTimeArray, IntervalMonthDayNanoArray,
    IntervalYearMonthArray, StringViewArray, StringViewBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, FieldRef, IntervalUnit, TimeUnit};

use super::{CharLen, no_cast};
use crate::call::downcast;
use crate::civil::{write_date, write_digits, write_fraction, write_time};
use crate::error::Result;
use crate::moments::Moments;
use crate::types::{fraction_digits, is_binary, is_text};
use crate::zone::{Converter, Zone};
use crate::{decimal, java};

/// The key of a field's metadata that holds the digits of a second of TIME(p) or TIMESTAMP(p), where they are fewer
/// than the Arrow unit has. A cast to text prints that many; without it a timestamp prints all of its unit and a time
/// prints them where they are not zero.
pub const FRACTION_KEY: &str = "millstream.fraction";

/// Writes every value of a column; the field tells the digits of a second.
pub(crate) fn to_text(array: &ArrayRef, field: Option<&FieldRef>, zone: Zone) -> Result<ArrayRef> {
    let fraction = field.and_then(|field| field.metadata().get(FRACTION_KEY)?.parse().ok());
    let mut cells = Cells::new(array, fraction, zone)?;
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let mut buffer = String::new();
    for idx in 0..array.len() {
        buffer.clear();
        if cells.write(idx, &mut buffer) {
            builder.append_value(&buffer);
        } else {
            builder.append_null();
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Pads or cuts to the length of CHAR(n) or VARCHAR(n), counted in characters.
pub(crate) fn with_length(array: &ArrayRef, char_len: Option<CharLen>) -> Result<ArrayRef> {
    let Some(char_len) = char_len else {
        return Ok(Arc::clone(array));
    };
    let texts: StringViewArray = downcast("cast", array)?;
    let (CharLen::Char(length) | CharLen::VarChar(length)) = char_len;
    let pads = matches!(char_len, CharLen::Char(_));
    let mut builder = StringViewBuilder::with_capacity(texts.len());
    let mut buffer = String::new();
    for text in &texts {
        let Some(text) = text else {
            builder.append_null();
            continue;
        };
        let cut = if text.len() <= length {
            text
        } else {
            cut(text, length)
        };
        let missing = if pads {
            length - cut.chars().count().min(length)
        } else {
            0
        };
        if missing == 0 {
            builder.append_value(cut);
        } else {
            buffer.clear();
            buffer.push_str(cut);
            buffer.extend(std::iter::repeat_n(' ', missing));
            builder.append_value(&buffer);
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// The first characters of a text.
pub(crate) fn cut(text: &str, characters: usize) -> &str {
    text.char_indices()
        .nth(characters)
        .map_or(text, |(at, _)| &text[..at])
}

/// The columns of a value, to write one row after the other.
pub(crate) struct Cells {
    nulls: Option<NullBuffer>,
    cells: Kind,
}

enum Kind {
    Null,
    Boolean(BooleanArray),
    Long(Int64Array),
    Float(Float32Array),
    Double(Float64Array),
    Decimal(Decimal128Array, i8),
    Text(StringViewArray),
    Bytes(BinaryViewArray),
    Date(Moments),
    Time(Moments, Option<usize>),
    Timestamp(Moments, usize, Converter),
    Months(IntervalYearMonthArray),
    DayTime(IntervalDayTimeArray),
    MonthDayNano(IntervalMonthDayNanoArray),
    Row(Vec<Cells>),
    List(ArrayRef, Box<Cells>),
    Map(ArrayRef, Box<(Cells, Cells)>),
}

impl Cells {
    fn new(array: &ArrayRef, fraction: Option<usize>, zone: Zone) -> Result<Self> {
        use DataType as T;
        let cells = match array.data_type() {
            T::Null => Kind::Null,
            T::Boolean => Kind::Boolean(downcast("cast", array)?),
            integer if integer.is_integer() => {
                Kind::Long(downcast("cast", &arrow_cast(array, &T::Int64)?)?)
            }
            T::Float32 => Kind::Float(downcast("cast", array)?),
            T::Float64 => Kind::Double(downcast("cast", array)?),
            T::Decimal128(_, scale) => Kind::Decimal(downcast("cast", array)?, *scale),
            text if is_text(text) => {
                Kind::Text(downcast("cast", &arrow_cast(array, &T::Utf8View)?)?)
            }
            bytes if is_binary(bytes) => {
                Kind::Bytes(downcast("cast", &arrow_cast(array, &T::BinaryView)?)?)
            }
            T::Date32 => Kind::Date(Moments::new("cast", array)?),
            T::Time32(_) | T::Time64(_) => Kind::Time(Moments::new("cast", array)?, fraction),
            T::Timestamp(unit, instant) => {
                let zone = if instant.is_some() { zone } else { Zone::UTC };
                let digits = fraction.unwrap_or(fraction_digits(*unit));
                Kind::Timestamp(Moments::new("cast", array)?, digits, zone.converter())
            }
            T::Interval(IntervalUnit::YearMonth) => Kind::Months(downcast("cast", array)?),
            T::Interval(IntervalUnit::DayTime) => Kind::DayTime(downcast("cast", array)?),
            T::Interval(IntervalUnit::MonthDayNano) => Kind::MonthDayNano(downcast("cast", array)?),
            T::Struct(_) => {
                let columns = array.as_struct().columns();
                Kind::Row(
                    columns
                        .iter()
                        .map(|column| Cells::new(column, None, zone))
                        .collect::<Result<_>>()?,
                )
            }
            T::List(_) => {
                let elements = Cells::new(array.as_list::<i32>().values(), None, zone)?;
                Kind::List(Arc::clone(array), Box::new(elements))
            }
            T::Map(..) => {
                let map = array.as_map();
                let entries = (
                    Cells::new(map.keys(), None, zone)?,
                    Cells::new(map.values(), None, zone)?,
                );
                Kind::Map(Arc::clone(array), Box::new(entries))
            }
            other => return no_cast(other, &T::Utf8View),
        };
        Ok(Self {
            nulls: array.nulls().cloned(),
            cells,
        })
    }

    /// Appends the value; `false` is a NULL, of which nothing is written.
    fn write(&mut self, idx: usize, out: &mut String) -> bool {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(idx)) {
            return false;
        }
        match &mut self.cells {
            Kind::Null => return false,
            Kind::Boolean(values) => out.push_str(if values.value(idx) { "TRUE" } else { "FALSE" }),
            Kind::Long(values) => out.push_str(itoa::Buffer::new().format(values.value(idx))),
            Kind::Float(values) => java::write_f32(values.value(idx), out),
            Kind::Double(values) => java::write_f64(values.value(idx), out),
            Kind::Decimal(values, scale) => decimal::write(values.value(idx), *scale, out),
            Kind::Text(values) => out.push_str(values.value(idx)),
            Kind::Bytes(values) => out.push_str(&String::from_utf8_lossy(values.value(idx))),
            Kind::Months(values) => write_months(values.value(idx), out),
            Kind::DayTime(values) => {
                let value = values.value(idx);
                write_day_time(
                    i64::from(value.days) * 86_400_000 + i64::from(value.milliseconds),
                    out,
                );
            }
            Kind::MonthDayNano(values) => {
                let value = values.value(idx);
                if value.months == 0 {
                    write_day_time(
                        i64::from(value.days) * 86_400_000 + value.nanoseconds / 1_000_000,
                        out,
                    );
                } else {
                    write_months(value.months, out);
                }
            }
            Kind::Date(_) | Kind::Time(..) | Kind::Timestamp(..) => self.write_moment(idx, out),
            Kind::Row(_) | Kind::List(..) | Kind::Map(..) => self.write_nested(idx, out),
        }
        true
    }

    fn write_moment(&mut self, idx: usize, out: &mut String) {
        match &mut self.cells {
            Kind::Date(values) => {
                if let Some(moment) = values.get(idx) {
                    write_date(moment.days(), out);
                }
            }
            Kind::Time(values, digits) => {
                if let Some(moment) = values.get(idx) {
                    write_time(moment.ms_of_day(), out);
                    let shown = if moment.ms.rem_euclid(1000) == 0 && moment.nanos == 0 {
                        0
                    } else {
                        3
                    };
                    write_fraction(moment, digits.unwrap_or(shown), out);
                }
            }
            Kind::Timestamp(values, digits, converter) => {
                if let Some(mut moment) = values.get(idx) {
                    moment.ms = converter.local(moment.ms);
                    write_date(moment.days(), out);
                    out.push(' ');
                    write_time(moment.ms_of_day(), out);
                    write_fraction(moment, *digits, out);
                }
            }
            _ => {}
        }
    }

    fn write_nested(&mut self, idx: usize, out: &mut String) {
        match &mut self.cells {
            Kind::Row(fields) => {
                out.push('(');
                for (position, field) in fields.iter_mut().enumerate() {
                    out.push_str(if position == 0 { "" } else { ", " });
                    field.write_or_null(idx, out);
                }
                out.push(')');
            }
            Kind::List(list, elements) => {
                let (start, end) = bounds(list.as_list::<i32>().value_offsets(), idx);
                out.push('[');
                for position in start..end {
                    out.push_str(if position == start { "" } else { ", " });
                    elements.write_or_null(position, out);
                }
                out.push(']');
            }
            Kind::Map(map, entries) => {
                let (start, end) = bounds(map.as_map().value_offsets(), idx);
                out.push('{');
                for position in start..end {
                    out.push_str(if position == start { "" } else { ", " });
                    entries.0.write_or_null(position, out);
                    out.push('=');
                    entries.1.write_or_null(position, out);
                }
                out.push('}');
            }
            _ => {}
        }
    }

    fn write_or_null(&mut self, idx: usize, out: &mut String) {
        if !self.write(idx, out) {
            out.push_str("NULL");
        }
    }
}

/// The first and the end index of a row of a list or map.
pub(crate) fn bounds(offsets: &[i32], idx: usize) -> (usize, usize) {
    let at = |idx: usize| {
        offsets
            .get(idx)
            .and_then(|offset| usize::try_from(*offset).ok())
            .unwrap_or(0)
    };
    (at(idx), at(idx + 1))
}

fn write_months(months: i32, out: &mut String) {
    out.push(if months < 0 { '-' } else { '+' });
    let months = months.unsigned_abs();
    out.push_str(itoa::Buffer::new().format(months / 12));
    out.push('-');
    write_digits(i64::from(months % 12), 2, out);
}

fn write_day_time(ms: i64, out: &mut String) {
    out.push(if ms < 0 { '-' } else { '+' });
    let ms = ms.saturating_abs();
    out.push_str(itoa::Buffer::new().format(ms / 86_400_000));
    out.push(' ');
    write_time(ms % 86_400_000, out);
    write_fraction(
        crate::civil::Moment::from_units(ms, TimeUnit::Millisecond),
        3,
        out,
    );
}
