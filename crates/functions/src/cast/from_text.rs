//! Text as a value of another type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanBuilder, PrimitiveBuilder, StringViewArray};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time64NanosecondType, TimeUnit,
};

use super::{Cx, no_cast};
use crate::call::downcast;
use crate::civil::{DAY_MS, Day, Moment};
use crate::error::Result;
use crate::types::fraction_digits;
use crate::{decimal, java};

/// Parses a text column.
pub(super) fn convert(array: &ArrayRef, to: &DataType, cx: &Cx<'_>) -> Result<ArrayRef> {
    use DataType as T;
    let texts: StringViewArray = downcast("cast", array)?;
    match to {
        T::Boolean => booleans(&texts, cx),
        T::Int8 => parse_all::<Int8Type>(&texts, to, cx, |t| i8::try_from(long(t)?).ok()),
        T::Int16 => parse_all::<Int16Type>(&texts, to, cx, |t| i16::try_from(long(t)?).ok()),
        T::Int32 => parse_all::<Int32Type>(&texts, to, cx, |t| i32::try_from(long(t)?).ok()),
        T::Int64 => parse_all::<Int64Type>(&texts, to, cx, long),
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the nearest FLOAT is wanted"
        )]
        T::Float32 => {
            parse_all::<Float32Type>(&texts, to, cx, |t| java::parse_f64(t).map(|d| d as f32))
        }
        T::Float64 => parse_all::<Float64Type>(&texts, to, cx, java::parse_f64),
        T::Decimal128(precision, scale) => parse_all::<Decimal128Type>(&texts, to, cx, |t| {
            decimal::parse(t, *scale).filter(|value| decimal::fits(*value, *precision))
        }),
        T::Date32 => parse_all::<Date32Type>(&texts, to, cx, |t| i32::try_from(date(t)?).ok()),
        T::Time32(_) => {
            let digits = usize::from(cx.fraction.unwrap_or(0));
            parse_all::<Time32MillisecondType>(&texts, to, cx, |t| {
                i32::try_from(Moment::from_nanos(time(t)?).truncate(digits).ms).ok()
            })
        }
        T::Time64(_) => parse_all::<Time64NanosecondType>(&texts, to, cx, time),
        T::Timestamp(unit, instant) => timestamps(&texts, to, *unit, instant.is_some(), cx),
        T::BinaryView => Ok(arrow_cast(array, to)?),
        other => no_cast(array.data_type(), other),
    }
}

fn parse_all<T: ArrowPrimitiveType>(
    texts: &StringViewArray,
    to: &DataType,
    cx: &Cx<'_>,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(texts.len());
    for text in texts {
        match text {
            None => builder.append_null(),
            Some(text) => match parse(text) {
                Some(value) => builder.append_value(value),
                None => builder.append_option(cx.failed(text, to)?),
            },
        }
    }
    Ok(Arc::new(builder.finish().with_data_type(to.clone())))
}

fn booleans(texts: &StringViewArray, cx: &Cx<'_>) -> Result<ArrayRef> {
    let mut builder = BooleanBuilder::with_capacity(texts.len());
    for text in texts {
        match text {
            None => builder.append_null(),
            Some(text) => match boolean(text) {
                Some(value) => builder.append_value(value),
                None => builder.append_option(cx.failed(text, &DataType::Boolean)?),
            },
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn timestamps(
    texts: &StringViewArray,
    to: &DataType,
    unit: TimeUnit,
    instant: bool,
    cx: &Cx<'_>,
) -> Result<ArrayRef> {
    let digits = cx.fraction.map_or(fraction_digits(unit), usize::from);
    let zone = cx.zone;
    let counts = parse_all::<Int64Type>(
        texts,
        &DataType::Int64,
        &Cx {
            mode: super::Mode::Try,
            ..*cx
        },
        |text| {
            let mut moment = timestamp(text)?.truncate(digits);
            if instant {
                moment.ms = zone.to_utc(moment.ms);
            }
            moment.to_units(unit)
        },
    )?;
    if counts.null_count() > texts.null_count() {
        let bad = (0..texts.len()).find(|idx| counts.is_null(*idx) && texts.is_valid(*idx));
        cx.failed::<()>(bad.map_or("", |idx| texts.value(idx)), to)?;
    }
    Ok(arrow_cast(&counts, to)?)
}

/// One of the words that mean TRUE or FALSE.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let text = text.trim();
    let is = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(["t", "true", "y", "yes", "1"]) {
        Some(true)
    } else if is(["f", "false", "n", "no", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// An integer; digits behind a point are cut off.
pub(crate) fn long(text: &str) -> Option<i64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match whole {
        "" | "+" | "-" if !fraction.is_empty() => Some(0),
        whole => whole.parse().ok(),
    }
}

/// `2024-02-29`, `2024-2-9`, `2024-02`, `2024`, each with a time behind a space that is not looked at; as days.
pub(crate) fn date(text: &str) -> Option<i64> {
    let text = text.trim();
    let day = text.split(' ').next()?;
    let mut parts = day.split('-').map(|part| digits(part, 9));
    let year = i32::try_from(parts.next()??).ok()?;
    let month = parts.next().map_or(Some(1), |p| p)?;
    let day = parts.next().map_or(Some(1), |p| p)?;
    if parts.next().is_some() || !(0..=9999).contains(&year) {
        return None;
    }
    Day::new(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?).map(Day::to_days)
}

/// `12:34:56.789`, `12:34`, `12`; as nanoseconds since midnight.
pub(crate) fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':').map(|part| digits(part, 2));
    let hour = parts.next()??;
    let minute = parts.next().map_or(Some(0), |p| p)?;
    let second = parts.next().map_or(Some(0), |p| p)?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second) * 1_000_000_000 + nanos(fraction)?)
}

/// A date, or a date, a space and a time with its seconds.
pub(crate) fn timestamp(text: &str) -> Option<Moment> {
    let (day, clock) = text
        .split_once(' ')
        .map_or((text, None), |(day, clock)| (day, Some(clock)));
    let whole_day = day.split('-').count() == 3 && !day.starts_with([' ', '-']);
    let midnight = date(day).filter(|_| whole_day)?.checked_mul(DAY_MS)?;
    let nanos = match clock {
        Some(clock) if clock.split(':').count() != 3 => return None,
        Some(clock) => time(clock)?,
        None => 0,
    };
    let of_day = Moment::from_nanos(nanos);
    Some(Moment {
        ms: midnight + of_day.ms,
        nanos: of_day.nanos,
    })
}

fn digits(text: &str, most: usize) -> Option<i64> {
    let text = text.trim();
    let plain = !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// A fraction of a second, cut at nine digits.
pub(crate) fn nanos(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(
        fraction
            .bytes()
            .chain(std::iter::repeat(b'0'))
            .take(9)
            .fold(0, |sum, b| sum * 10 + i64::from(b - b'0')),
    )
}
