//! Values as Postgres prints them.

use arrow::datatypes::IntervalMonthDayNano;
use arrow::error::ArrowError;
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike};
use pgwire::api::Type;
use std::fmt::{Display, Write};
use std::ops::Range;

/// Writes what prints itself.
pub(crate) fn display(value: impl Display, out: &mut BytesMut) {
    // A BytesMut takes any text.
    let _ = write!(out, "{value}");
}

/// A REAL: the shortest digits that read back as the same value.
pub(crate) fn float4(value: f32, out: &mut BytesMut) {
    float(
        &format!("{value:e}"),
        value.is_finite(),
        value.is_nan(),
        6,
        out,
    );
}

/// A DOUBLE PRECISION.
pub(crate) fn float8(value: f64, out: &mut BytesMut) {
    float(
        &format!("{value:e}"),
        value.is_finite(),
        value.is_nan(),
        15,
        out,
    );
}

/// `digits` is Rust's shortest scientific text. Postgres shows an exponent below -4 and from `exponent_max` on.
fn float(digits: &str, is_finite: bool, is_nan: bool, exponent_max: i32, out: &mut BytesMut) {
    if is_nan {
        return out.put_slice(b"NaN");
    }
    let (sign, digits) = digits
        .strip_prefix('-')
        .map_or(("", digits), |digits| ("-", digits));
    out.put_slice(sign.as_bytes());
    if !is_finite {
        return out.put_slice(b"Infinity");
    }
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((digits, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let plain: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if exponent < -4 || exponent >= exponent_max {
        let sign = if exponent < 0 { '-' } else { '+' };
        display(format_args!("{mantissa}e{sign}{:02}", exponent.abs()), out);
    } else if exponent < 0 {
        display(
            format_args!(
                "0.{}{plain}",
                "0".repeat(exponent.unsigned_abs() as usize - 1)
            ),
            out,
        );
    } else {
        let whole = exponent as usize + 1;
        match plain.split_at_checked(whole) {
            Some((whole, "")) => display(whole, out),
            Some((whole, fraction)) => display(format_args!("{whole}.{fraction}"), out),
            None => display(
                format_args!("{plain}{}", "0".repeat(whole - plain.len())),
                out,
            ),
        }
    }
}

/// BYTEA in hexadecimal.
pub(crate) fn bytes(value: &[u8], out: &mut BytesMut) {
    out.put_slice(b"\\x");
    for byte in value {
        display(format_args!("{byte:02x}"), out);
    }
}

/// A DATE, from days since 1970.
pub(crate) fn date(days: i32, out: &mut BytesMut) -> Result<(), ArrowError> {
    let date = NaiveDate::from_epoch_days(days).ok_or_else(|| out_of_range("a date"))?;
    date_of(date, out);
    if date.year() < 1 {
        out.put_slice(b" BC");
    }
    Ok(())
}

fn date_of(date: NaiveDate, out: &mut BytesMut) {
    // There is no year 0: 1 BC is before 1.
    let year = if date.year() < 1 {
        1 - date.year()
    } else {
        date.year()
    };
    display(
        format_args!("{year:04}-{:02}-{:02}", date.month(), date.day()),
        out,
    );
}

/// A TIME, from microseconds since midnight.
pub(crate) fn time(micros: i64, out: &mut BytesMut) {
    let seconds = micros / 1_000_000;
    display(
        format_args!(
            "{:02}:{:02}:{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        ),
        out,
    );
    fraction(micros % 1_000_000, out);
}

fn fraction(micros: i64, out: &mut BytesMut) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        display(format_args!(".{}", digits.trim_end_matches('0')), out);
    }
}

/// A TIMESTAMP, from microseconds since 1970.
pub(crate) fn timestamp(micros: i64, out: &mut BytesMut) -> Result<(), ArrowError> {
    let at = DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| out_of_range("a timestamp"))?
        .naive_utc();
    timestamp_of(at, out);
    if at.year() < 1 {
        out.put_slice(b" BC");
    }
    Ok(())
}

fn timestamp_of(at: NaiveDateTime, out: &mut BytesMut) {
    date_of(at.date(), out);
    display(
        format_args!(" {:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()),
        out,
    );
    fraction(i64::from(at.nanosecond() / 1_000), out);
}

/// A TIMESTAMP WITH TIME ZONE, as clocks in a zone showed it.
pub(crate) fn timestamp_zone(
    micros: i64,
    zone: &impl TimeZone,
    out: &mut BytesMut,
) -> Result<(), ArrowError> {
    let at = DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| out_of_range("a timestamp"))?
        .naive_utc();
    let at = zone.from_utc_datetime(&at);
    timestamp_of(at.naive_local(), out);
    let seconds = at.offset().fix().local_minus_utc();
    let east = seconds.unsigned_abs();
    display(
        format_args!("{}{:02}", if seconds < 0 { '-' } else { '+' }, east / 3_600),
        out,
    );
    if east % 3_600 != 0 {
        display(format_args!(":{:02}", east / 60 % 60), out);
    }
    if east % 60 != 0 {
        display(format_args!(":{:02}", east % 60), out);
    }
    if at.year() < 1 {
        out.put_slice(b" BC");
    }
    Ok(())
}

/// An INTERVAL in Postgres's own style: `1 year 2 mons 3 days 04:05:06.7`.
pub(crate) fn interval(value: IntervalMonthDayNano, out: &mut BytesMut) {
    let start = out.len();
    for (count, unit) in [
        (value.months / 12, "year"),
        (value.months % 12, "mon"),
        (value.days, "day"),
    ] {
        if count != 0 {
            let (space, plural) = (
                if out.len() > start { " " } else { "" },
                if count == 1 { "" } else { "s" },
            );
            display(format_args!("{space}{count} {unit}{plural}"), out);
        }
    }
    let micros = value.nanoseconds / 1_000;
    if micros != 0 || out.len() == start {
        if out.len() > start {
            out.put_u8(b' ');
        }
        if micros < 0 {
            out.put_u8(b'-');
        }
        let micros = micros.unsigned_abs() as i64;
        time(micros, out);
    }
}

/// An array: `{1,2,NULL}`. `item` writes one, and says whether it is there.
pub(crate) fn list(
    items: Range<usize>,
    of: &Type,
    out: &mut BytesMut,
    mut item: impl FnMut(usize, &mut BytesMut) -> Result<bool, ArrowError>,
) -> Result<(), ArrowError> {
    let quotes = matches!(
        *of,
        Type::TEXT | Type::BYTEA | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::INTERVAL
    );
    let mut scratch = BytesMut::new();
    out.put_u8(b'{');
    for (idx, row) in items.enumerate() {
        if idx > 0 {
            out.put_u8(b',');
        }
        scratch.clear();
        match item(row, &mut scratch)? {
            false => out.put_slice(b"NULL"),
            true if quotes && needs_quotes(&scratch) => quoted(&scratch, out),
            true => out.put_slice(&scratch),
        }
    }
    out.put_u8(b'}');
    Ok(())
}

fn needs_quotes(text: &[u8]) -> bool {
    text.is_empty()
        || text.eq_ignore_ascii_case(b"null")
        || text
            .iter()
            .any(|byte| byte.is_ascii_whitespace() || b"{},\"\\".contains(byte))
}

fn quoted(text: &[u8], out: &mut BytesMut) {
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

fn out_of_range(what: &str) -> ArrowError {
    ArrowError::ArithmeticOverflow(format!("{what} out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::timezone::Tz;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn floats_as_postgres_shows_them() {
        for (value, text) in [
            (0.0, "0"),
            (-1.5, "-1.5"),
            (100.0, "100"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.25e-5, "1.25e-05"),
            (0.0001, "0.0001"),
            (123.456, "123.456"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
        ] {
            assert_eq!(written(|out| float8(value, out)), text);
        }
        assert_eq!(written(|out| float4(1e6, out)), "1e+06");
        assert_eq!(written(|out| float4(0.1, out)), "0.1");
        assert_eq!(written(|out| float8(f64::NAN, out)), "NaN");
    }

    #[test]
    fn times() {
        let rome: Tz = "Europe/Rome".parse().unwrap();
        let kolkata: Tz = "Asia/Kolkata".parse().unwrap();
        assert_eq!(
            written(|out| timestamp(1_700_000_000_120_000, out).unwrap()),
            "2023-11-14 22:13:20.12"
        );
        assert_eq!(
            written(|out| timestamp_zone(1_700_000_000_000_000, &rome, out).unwrap()),
            "2023-11-14 23:13:20+01"
        );
        assert_eq!(
            written(|out| timestamp_zone(0, &kolkata, out).unwrap()),
            "1970-01-01 05:30:00+05:30"
        );
        assert_eq!(written(|out| time(86_399_999_999, out)), "23:59:59.999999");
        assert_eq!(written(|out| date(-719_163, out).unwrap()), "0001-12-31 BC");
        assert!(timestamp(i64::MAX, &mut BytesMut::new()).is_err());
    }

    #[test]
    fn intervals() {
        let of = |months, days, nanoseconds| {
            written(|out| {
                interval(
                    IntervalMonthDayNano {
                        months,
                        days,
                        nanoseconds,
                    },
                    out,
                )
            })
        };
        assert_eq!(
            of(14, 3, 14_706_700_000_000),
            "1 year 2 mons 3 days 04:05:06.7"
        );
        assert_eq!(of(0, 0, 0), "00:00:00");
        assert_eq!(of(0, -1, -3_600_000_000_000), "-1 days -01:00:00");
    }

    #[test]
    fn lists_quote_what_needs_it() {
        let texts = ["a", "b c", "", "null", "q\"\\"];
        let text = written(|out| {
            list(0..5, &Type::TEXT, out, |row, out| {
                out.put_slice(texts[row].as_bytes());
                Ok(true)
            })
            .unwrap();
        });
        assert_eq!(text, r#"{a,"b c","","null","q\"\\"}"#);
    }
}
