//! Rows as text the way Flink prints them: Java's text of each value, `null`, `[a, b]`, `{k=v}`.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, NaiveDate, NaiveTime, Timelike};
use millstream_dataflow::{Delta, Result};
use std::fmt::Write;

/// One line for each change; a weight of 2 is two.
pub(crate) fn lines(delta: &Delta, identifier: Option<&str>) -> Result<String> {
    let mut out = String::new();
    let mut line = String::new();
    for row in 0..delta.rows() {
        line.clear();
        let weight = delta.weight(row);
        if let Some(identifier) = identifier {
            line.push_str(identifier);
            line.push_str("> ");
        }
        line.push_str(if weight > 0 { "+I" } else { "-D" });
        fields(&mut line, delta.batch().columns(), row)?;
        line.push('\n');
        (0..weight.unsigned_abs()).for_each(|_| out.push_str(&line));
    }
    Ok(out)
}

fn fields(out: &mut String, columns: &[ArrayRef], row: usize) -> Result<()> {
    out.push('[');
    for (idx, column) in columns.iter().enumerate() {
        if idx > 0 {
            out.push_str(", ");
        }
        value(out, column, row)?;
    }
    out.push(']');
    Ok(())
}

fn value(out: &mut String, array: &ArrayRef, row: usize) -> Result<()> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Int8 => show(out, array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => show(out, array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => show(out, array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => show(out, array.as_primitive::<Int64Type>().value(row)),
        DataType::Boolean => show(out, array.as_boolean().value(row)),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::Float32 => {
            let number = array.as_primitive::<Float32Type>().value(row);
            java_float(out, f64::from(number), &format!("{number:e}"));
        }
        DataType::Float64 => {
            let number = array.as_primitive::<Float64Type>().value(row);
            java_float(out, number, &format!("{number:e}"));
        }
        DataType::Decimal128(_, _) => {
            out.push_str(&array.as_primitive::<Decimal128Type>().value_as_string(row));
        }
        DataType::BinaryView => bytes(out, array.as_binary_view().value(row)),
        DataType::Binary => bytes(out, array.as_binary::<i32>().value(row)),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            if let Some(date) = NaiveDate::from_epoch_days(days) {
                show(out, date);
            }
        }
        DataType::Time32(_) | DataType::Time64(_) | DataType::Timestamp(_, _) => {
            moment(out, array, row);
        }
        DataType::Struct(_) => {
            out.push_str("+I");
            fields(out, array.as_struct().columns(), row)?;
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            list(out, &items)?;
        }
        DataType::Map(_, _) => map(out, array, row)?,
        _ => {
            let formatter = ArrayFormatter::try_new(array, &FormatOptions::default())?;
            show(out, formatter.value(row));
        }
    }
    Ok(())
}

fn show(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

fn list(out: &mut String, items: &ArrayRef) -> Result<()> {
    out.push('[');
    for idx in 0..items.len() {
        if idx > 0 {
            out.push_str(", ");
        }
        value(out, items, idx)?;
    }
    out.push(']');
    Ok(())
}

fn map(out: &mut String, array: &ArrayRef, row: usize) -> Result<()> {
    let entries = array.as_map().value(row);
    out.push('{');
    for idx in 0..entries.len() {
        if idx > 0 {
            out.push_str(", ");
        }
        value(out, entries.column(0), idx)?;
        out.push('=');
        value(out, entries.column(1), idx)?;
    }
    out.push('}');
    Ok(())
}

fn bytes(out: &mut String, bytes: &[u8]) {
    let signed: Vec<String> = bytes.iter().map(|b| b.cast_signed().to_string()).collect();
    show(out, format_args!("[{}]", signed.join(", ")));
}

/// Java's text of a floating-point number, from its shortest digits `d.ddde-x`.
fn java_float(out: &mut String, number: f64, shortest: &str) {
    if number.is_nan() {
        return out.push_str("NaN");
    }
    if number.is_infinite() {
        return out.push_str(if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        });
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) {
        let plain = format!("{}", Plain(mantissa, exponent.parse().unwrap_or(0)));
        return out.push_str(&plain);
    }
    let point = if mantissa.contains('.') { "" } else { ".0" };
    show(out, format_args!("{mantissa}{point}E{exponent}"));
}

/// Digits and an exponent without the exponent, with at least one digit behind the point.
struct Plain<'a>(&'a str, i32);

impl std::fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, digits) = match self.0.strip_prefix('-') {
            Some(rest) => ("-", rest.replace('.', "")),
            None => ("", self.0.replace('.', "")),
        };
        let whole = self.1 + 1;
        if whole <= 0 {
            let zeros = "0".repeat(whole.unsigned_abs() as usize);
            return write!(f, "{sign}0.{zeros}{digits}");
        }
        let whole = whole as usize;
        if digits.len() <= whole {
            let zeros = "0".repeat(whole - digits.len());
            return write!(f, "{sign}{digits}{zeros}.0");
        }
        write!(f, "{sign}{}.{}", &digits[..whole], &digits[whole..])
    }
}

/// Java's LocalTime, LocalDateTime and Instant.
fn moment(out: &mut String, array: &ArrayRef, row: usize) {
    let nanos = match array.data_type() {
        DataType::Time32(TimeUnit::Millisecond) => {
            i128::from(array.as_primitive::<Time32MillisecondType>().value(row)) * 1_000_000
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            i128::from(array.as_primitive::<Time64NanosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            i128::from(array.as_primitive::<TimestampSecondType>().value(row)) * 1_000_000_000
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            i128::from(array.as_primitive::<TimestampMillisecondType>().value(row)) * 1_000_000
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            i128::from(array.as_primitive::<TimestampMicrosecondType>().value(row)) * 1000
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            i128::from(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
        _ => 0,
    };
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
    let part = nanos.rem_euclid(1_000_000_000) as u32;
    let Some(moment) = DateTime::from_timestamp(seconds, part) else {
        return show(out, nanos);
    };
    let with_zone = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
    if matches!(array.data_type(), DataType::Timestamp(_, _)) {
        show(out, moment.date_naive());
        out.push('T');
    }
    java_time(out, moment.time(), with_zone);
    if with_zone {
        out.push('Z');
    }
}

/// `hh:mm[:ss[.fff[fff[fff]]]]`, shortest of Java's forms; an Instant always has its seconds.
fn java_time(out: &mut String, time: NaiveTime, with_seconds: bool) {
    show(out, format_args!("{:02}:{:02}", time.hour(), time.minute()));
    let nanos = time.nanosecond();
    if with_seconds || time.second() > 0 || nanos > 0 {
        show(out, format_args!(":{:02}", time.second()));
    }
    if nanos == 0 {
        return;
    }
    if nanos.is_multiple_of(1_000_000) {
        show(out, format_args!(".{:03}", nanos / 1_000_000));
    } else if nanos.is_multiple_of(1000) {
        show(out, format_args!(".{:06}", nanos / 1000));
    } else {
        show(out, format_args!(".{nanos:09}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::delta;

    #[test]
    fn changes_have_flinks_form() {
        let given = delta(
            "a text, n int, ts timestamp, price decimal(10,2)",
            "+2 x 1 2024-01-01T00:00:00 1.5 / -1 NULL -3 2024-01-01T10:00:01.250 NULL",
        );
        assert_eq!(
            lines(&given, Some("id")).unwrap(),
            "id> +I[x, 1, 2024-01-01T00:00, 1.50]\n\
             id> +I[x, 1, 2024-01-01T00:00, 1.50]\n\
             id> -D[null, -3, 2024-01-01T10:00:01.250, null]\n"
        );
    }

    #[test]
    fn floats_print_as_in_java() {
        let cases = [
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-0.5, "-0.5"),
            (100.0, "100.0"),
            (1_234_567.0, "1234567.0"),
            (1e7, "1.0E7"),
            (1.25e10, "1.25E10"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (12.375, "12.375"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (number, text) in cases {
            let mut out = String::new();
            java_float(&mut out, number, &format!("{number:e}"));
            assert_eq!(out, text);
        }
    }
}
