//! TO_TIMESTAMP, TO_TIMESTAMP_LTZ, TO_DATE, UNIX_TIMESTAMP: texts and numbers as times.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};

use super::TIMESTAMP;
use super::format::DEFAULT;
use super::pattern::Patterns;
use crate::call::Call;
use crate::cast::from_text;
use crate::civil::Moment;
use crate::decimal;
use crate::error::{Error, Result};
use crate::function::{Arguments, Function, Given, Kind, arity, takes_optional, wrong_type};
use crate::types::is_text;
use crate::zone::Zone;

/// The years 0 to 9999 in milliseconds.
const MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

pub(crate) fn functions() -> Vec<Function> {
    let texts = || takes_optional(&[Kind::Text], &[Kind::Text]);
    vec![
        Function::new("to_timestamp", texts(), |_| Ok(TIMESTAMP), to_timestamp),
        Function::new("to_date", texts(), |_| Ok(DataType::Date32), to_date),
        Function::new(
            "unix_timestamp",
            texts(),
            |_| Ok(DataType::Int64),
            unix_timestamp,
        ),
        Function::new(
            "to_timestamp_ltz",
            Arguments::Own(ltz_types),
            ltz_type,
            to_timestamp_ltz,
        ),
    ]
}

/// With a pattern, strictly; what does not follow it may still be a plain timestamp.
fn timestamp(
    text: &str,
    pattern: Option<&str>,
    patterns: &mut Patterns,
) -> Result<Option<(Moment, bool)>> {
    let parsed = match pattern {
        Some(pattern) => patterns.get(pattern)?.parse(text, false),
        None => None,
    };
    Ok(parsed.or_else(|| from_text::timestamp(text.trim()).map(|moment| (moment, false))))
}

fn to_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let formats = if call.len() > 1 {
        Some(call.text(1)?)
    } else {
        None
    };
    let mut patterns = Patterns::new(call.name);
    let values: Result<TimestampMillisecondArray> = (0..call.rows)
        .map(|row| {
            let Some(text) = texts.get(row) else {
                return Ok(None);
            };
            let format = match &formats {
                Some(formats) => match formats.get(row) {
                    Some(format) => Some(format),
                    None => return Ok(None),
                },
                None => None,
            };
            Ok(timestamp(text, format, &mut patterns)?.map(|(moment, _)| moment.ms))
        })
        .collect();
    Ok(Arc::new(values?))
}

fn to_date(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let formats = if call.len() > 1 {
        Some(call.text(1)?)
    } else {
        None
    };
    let mut patterns = Patterns::new(call.name);
    let values: Result<Date32Array> = (0..call.rows)
        .map(|row| {
            let Some(text) = texts.get(row) else {
                return Ok(None);
            };
            let days = match &formats {
                None => from_text::date(text),
                Some(formats) => match formats.get(row) {
                    Some(format) => patterns
                        .get(format)?
                        .parse(text, true)
                        .map(|(moment, _)| moment.days()),
                    None => None,
                },
            };
            Ok(days.and_then(|days| i32::try_from(days).ok()))
        })
        .collect();
    Ok(Arc::new(values?))
}

/// A text that spells no time gives the smallest BIGINT.
fn unix_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let formats = if call.len() > 1 {
        Some(call.text(1)?)
    } else {
        None
    };
    let mut patterns = Patterns::new(call.name);
    let values: Result<Int64Array> = (0..call.rows)
        .map(|row| {
            let format = formats
                .as_ref()
                .map_or(Some(DEFAULT), |formats| formats.get(row));
            let (Some(text), Some(format)) = (texts.get(row), format) else {
                return Ok(None);
            };
            Ok(Some(match patterns.get(format)?.parse(text, true) {
                Some((moment, true)) => moment.ms / 1000,
                Some((moment, false)) => call.zone.to_utc(moment.ms) / 1000,
                None => i64::MIN,
            }))
        })
        .collect();
    Ok(Arc::new(values?))
}

fn ltz_types(given: &[DataType]) -> Result<Vec<DataType>> {
    let name = "to_timestamp_ltz";
    arity(name, given, 1, 3)?;
    let text = is_text(&given[0]) || given[0].is_null();
    if !text && !given[0].is_numeric() {
        return Err(wrong_type(name, 0, &given[0], "a number or a STRING").into());
    }
    if !text {
        arity(name, given, 1, 2)?;
    }
    let rest = if text {
        DataType::Utf8View
    } else {
        DataType::Int64
    };
    let first = if text {
        DataType::Utf8View
    } else {
        given[0].clone()
    };
    Ok(std::iter::once(first)
        .chain(
            given
                .iter()
                .skip(1)
                .map(|given| Given::literal_type(given, rest.clone())),
        )
        .collect())
}

/// As fine as the precision of a number; TIMESTAMP_LTZ(3) otherwise.
#[allow(clippy::unnecessary_wraps, reason = "the shape of every result type")]
fn ltz_type(given: &Given<'_>) -> Result<DataType> {
    let unit = match given.literal_long(1) {
        Some(4..=6) => TimeUnit::Microsecond,
        Some(7..=9) => TimeUnit::Nanosecond,
        _ => TimeUnit::Millisecond,
    };
    Ok(DataType::Timestamp(
        unit,
        Some(given.options.time_zone.as_str().into()),
    ))
}

fn to_timestamp_ltz(call: &Call<'_>) -> Result<ArrayRef> {
    let first = call.arg(0)?;
    let counts = if is_text(first.array.data_type()) {
        ltz_from_text(call)?
    } else {
        ltz_from_number(call)?
    };
    Ok(cast(&(Arc::new(counts) as ArrayRef), call.returns)?)
}

/// A text is in UTC, in the third argument's time zone, or says its offset itself.
fn ltz_from_text(call: &Call<'_>) -> Result<Int64Array> {
    let texts = call.text(0)?;
    let formats = if call.len() > 1 {
        Some(call.text(1)?)
    } else {
        None
    };
    let zones = if call.len() > 2 {
        Some(call.text(2)?)
    } else {
        None
    };
    let mut patterns = Patterns::new(call.name);
    (0..call.rows)
        .map(|row| {
            let format = formats.as_ref().map(|formats| formats.get(row));
            let zone = zones.as_ref().map_or(Some("UTC"), |zones| zones.get(row));
            let (Some(text), Some(zone), None | Some(Some(_))) = (texts.get(row), zone, format)
            else {
                return Ok(None);
            };
            let zone: Zone = zone.parse()?;
            Ok(
                timestamp(text, format.flatten(), &mut patterns)?.map(|(moment, instant)| {
                    if instant {
                        moment.ms
                    } else {
                        zone.to_utc(moment.ms)
                    }
                }),
            )
        })
        .collect()
}

/// Seconds with precision 0, milliseconds with 3; NULL beyond the years 0 to 9999.
fn ltz_from_number(call: &Call<'_>) -> Result<Int64Array> {
    let values = call.arg(0)?;
    let precisions = if call.len() > 1 {
        Some(call.long(1)?)
    } else {
        None
    };
    let doubles = if values.array.data_type().is_floating() {
        Some(call.double(0)?)
    } else {
        None
    };
    let longs = match values.array.data_type() {
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            let decimals: arrow::array::Decimal128Array =
                crate::call::downcast(call.name, &values.array)?;
            values.with(decimals.unary_opt::<_, arrow::datatypes::Int64Type>(|v| {
                i64::try_from(decimal::whole(v, scale)).ok()
            }))
        }
        _ => call.long(0)?,
    };
    (0..call.rows)
        .map(|row| {
            let Some(precision) = precisions
                .as_ref()
                .map_or(Some(3), |precisions| precisions.get(row))
            else {
                return Ok(None);
            };
            let per_second: i64 = match precision {
                0 => 1,
                3 => 1000,
                6 => 1_000_000,
                9 => 1_000_000_000,
                other => {
                    let message = format!(
                        "the precision is 0 for seconds or 3 for milliseconds, not {other}"
                    );
                    return Err(Error::argument(call.name, message).into());
                }
            };
            #[allow(
                clippy::cast_possible_truncation,
                reason = "what is finer is cut, what is too large is out of range"
            )]
            let value = match &doubles {
                Some(doubles) if precision == 0 => {
                    doubles.get(row).map(|seconds| (seconds * 1000.0) as i64)
                }
                Some(doubles) => doubles.get(row).map(|value| value as i64),
                None if precision == 0 => {
                    longs.get(row).map(|seconds| seconds.saturating_mul(1000))
                }
                None => longs.get(row),
            };
            let per_ms = (per_second / 1000).max(1);
            Ok(value.filter(|value| MS.contains(&value.div_euclid(per_ms))))
        })
        .collect()
}
