//! ROUND, half away from zero, and TRUNCATE, toward zero, to a number of digits behind the point, by default 0.
//!
//! A DECIMAL's result has as many digits behind the point as the literal says. A DOUBLE is rounded as the decimal
//! that it prints as. Integers keep their type: a negative number of digits rounds before the point.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::{decimals, number_type};
use crate::call::Call;
use crate::decimal::{divide_half_up, fits, pow10};
use crate::error::Result;
use crate::function::{Arguments, Function, Given, arity};
use crate::java::Shortest;
use crate::types::PRECISION_MAX;

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "round",
            Arguments::Own(|given| types("round", given)),
            returns,
            |call| each(call, false),
        ),
        Function::new(
            "truncate",
            Arguments::Own(|given| types("truncate", given)),
            returns,
            |call| each(call, true),
        ),
    ]
}

fn types(name: &str, given: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, given, 1, 2)?;
    let digits = given
        .get(1)
        .map(|given| Given::literal_type(given, DataType::Int64));
    Ok(std::iter::once(number_type(name, 0, &given[0])?)
        .chain(digits)
        .collect())
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of every result type")]
fn returns(given: &Given<'_>) -> Result<DataType> {
    let DataType::Decimal128(precision, scale) = given.data_type(0) else {
        return Ok(given.data_type(0).clone());
    };
    let digits = if given.types.len() == 1 {
        Some(0)
    } else {
        given.literal_long(1)
    };
    Ok(match digits {
        Some(digits) if digits < i64::from(*scale) => {
            let to = i8::try_from(digits.max(0)).unwrap_or(0);
            let whole = i16::from(*precision) - i16::from(*scale);
            let precision = (1 + whole + i16::from(to)).clamp(1, i16::from(PRECISION_MAX));
            DataType::Decimal128(u8::try_from(precision).unwrap_or(PRECISION_MAX), to)
        }
        Some(_) => given.data_type(0).clone(),
        // The number of digits differs by row: room for one more digit before the point.
        None => DataType::Decimal128((*precision + 1).min(PRECISION_MAX), *scale),
    })
}

fn each(call: &Call<'_>, down: bool) -> Result<ArrayRef> {
    let column = call.column(0)?;
    let digits = if call.len() > 1 {
        call.long(1)?
    } else {
        crate::call::Arg::literal(Int64Array::from(vec![0]))
    };
    match (column.data_type(), call.returns) {
        (DataType::Decimal128(_, scale), DataType::Decimal128(precision, to)) => {
            let values: Decimal128Array = crate::call::downcast(call.name, &column)?;
            let rounded: Decimal128Array = (0..values.len())
                .map(|row| {
                    let value = Some(values.value(row)).filter(|_| values.is_valid(row))?;
                    let cut = to_digits(value, *scale, digits.get(row)?, down)?;
                    crate::decimal::rescale(cut, *scale, *to)
                        .filter(|value| fits(*value, *precision))
                })
                .collect();
            decimals(rounded, call.returns)
        }
        (number, _) if number.is_floating() => {
            let doubles = cast(&column, &DataType::Float64)?;
            let doubles = doubles.as_primitive::<Float64Type>();
            let single = number == &DataType::Float32;
            let rounded: Float64Array = (0..doubles.len())
                .map(|row| {
                    let value = Some(doubles.value(row)).filter(|_| doubles.is_valid(row))?;
                    let digits = digits.get(row)?;
                    #[allow(clippy::cast_possible_truncation, reason = "it was a FLOAT before")]
                    let shortest = if single {
                        Shortest::of(value as f32)
                    } else {
                        Shortest::of(value)
                    };
                    Some(double(&shortest, value, digits, down))
                })
                .collect();
            Ok(cast(&(Arc::new(rounded) as ArrayRef), call.returns)?)
        }
        _ => {
            let values = call.long(0)?;
            call.longs(|row| {
                let (value, digits) = (values.get(row)?, digits.get(row)?);
                let value = to_digits(value.into(), 0, digits, down)?;
                // What does not fit wraps, as in Java.
                #[allow(clippy::cast_possible_truncation, reason = "wraps as in Java")]
                Some(value as i64)
            })
        }
    }
}

/// The value with zeros behind that many digits after the point, at the same scale. `None` is one that overflows.
fn to_digits(value: i128, scale: i8, digits: i64, down: bool) -> Option<i128> {
    let cut = i64::from(scale).saturating_sub(digits);
    if cut <= 0 {
        return Some(value);
    }
    let Some(unit) = u32::try_from(cut).ok().and_then(pow10) else {
        return Some(0);
    };
    let kept = if down {
        value / unit
    } else {
        divide_half_up(value, unit)
    };
    kept.checked_mul(unit)
}

fn double(shortest: &Shortest, value: f64, digits: i64, down: bool) -> f64 {
    if !value.is_finite() {
        return value;
    }
    let (negative, first, rest, exponent) = shortest.parts();
    let scale = i64::try_from(rest.len()).unwrap_or(0) - i64::from(exponent);
    let cut = scale.saturating_sub(digits);
    if cut <= 0 {
        return value;
    }
    let unscaled: i128 = first
        .bytes()
        .chain(rest.bytes())
        .fold(0, |sum, b| sum * 10 + i128::from(b.wrapping_sub(b'0')));
    let Some(unit) = u32::try_from(cut).ok().and_then(pow10) else {
        return 0.0;
    };
    let kept = if down {
        unscaled / unit
    } else {
        divide_half_up(unscaled, unit)
    };
    let sign = if negative { "-" } else { "" };
    format!("{sign}{kept}e{}", digits.saturating_neg())
        .parse()
        .unwrap_or(value)
}
