//! Numbers and booleans among each other: integers wrap, DOUBLE to an integer saturates, DECIMAL rounds HALF_UP and is
//! NULL on overflow.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array,
};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};

use super::{Cx, no_cast};
use crate::call::downcast;
use crate::decimal;
use crate::error::Result;
use crate::java::Shortest;

/// TRUE is 1.
pub(super) fn from_boolean(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let longs: Int64Array = array
        .as_boolean()
        .iter()
        .map(|v| v.map(i64::from))
        .collect();
    let longs: ArrayRef = Arc::new(longs);
    if let DataType::Decimal128(precision, scale) = to {
        return integers_to_decimal(&longs, *precision, *scale);
    }
    Ok(arrow_cast(&longs, to)?)
}

/// Everything but zero is TRUE.
pub(super) fn to_boolean(array: &ArrayRef) -> Result<ArrayRef> {
    let booleans: BooleanArray = match array.data_type() {
        DataType::Decimal128(..) => array
            .as_primitive::<Decimal128Type>()
            .iter()
            .map(|v| v.map(|v| v != 0))
            .collect(),
        integer if integer.is_integer() => {
            let longs = arrow_cast(array, &DataType::Int64)?;
            longs
                .as_primitive::<Int64Type>()
                .iter()
                .map(|v| v.map(|v| v != 0))
                .collect()
        }
        _ => {
            let doubles = arrow_cast(array, &DataType::Float64)?;
            doubles
                .as_primitive::<Float64Type>()
                .iter()
                .map(|v| v.map(|v| v != 0.0))
                .collect()
        }
    };
    Ok(Arc::new(booleans))
}

/// A number as another.
pub(super) fn convert(array: &ArrayRef, to: &DataType, cx: &Cx<'_>) -> Result<ArrayRef> {
    use DataType as T;
    match (array.data_type(), to) {
        (from, to) if from == to => Ok(Arc::clone(array)),
        (T::Decimal128(_, scale), T::Decimal128(precision, to_scale)) => {
            let (scale, precision, to_scale) = (*scale, *precision, *to_scale);
            let values: Decimal128Array = downcast("cast", array)?;
            decimals(
                values.unary_opt::<_, Decimal128Type>(|v| {
                    decimal::rescale(v, scale, to_scale).filter(|v| decimal::fits(*v, precision))
                }),
                precision,
                to_scale,
            )
        }
        (T::Decimal128(_, scale), T::Float32 | T::Float64) => {
            let scale = *scale;
            let values: Decimal128Array = downcast("cast", array)?;
            let doubles: ArrayRef =
                Arc::new(values.unary::<_, Float64Type>(|v| decimal::to_f64(v, scale)));
            Ok(arrow_cast(&doubles, to)?)
        }
        #[allow(clippy::cast_possible_truncation, reason = "integers wrap as in Java")]
        (T::Decimal128(_, scale), _) => {
            let scale = *scale;
            let values: Decimal128Array = downcast("cast", array)?;
            wrap(
                &values.unary::<_, Int64Type>(|v| decimal::whole(v, scale) as i64),
                to,
            )
        }
        (from, T::Decimal128(precision, scale)) if from.is_integer() => {
            integers_to_decimal(array, *precision, *scale)
        }
        (T::Float32, T::Decimal128(precision, scale)) => {
            let values: Float32Array = downcast("cast", array)?;
            floats_to_decimal(
                values.len(),
                |idx| values.is_valid(idx).then(|| f64::from(values.value(idx))),
                *precision,
                *scale,
                cx,
            )
        }
        (T::Float64, T::Decimal128(precision, scale)) => {
            let values: Float64Array = downcast("cast", array)?;
            floats_to_decimal(
                values.len(),
                |idx| values.is_valid(idx).then(|| values.value(idx)),
                *precision,
                *scale,
                cx,
            )
        }
        (from, to) if from.is_floating() && to.is_integer() => floats_to_integer(array, to),
        (from, to) if from.is_integer() && to.is_integer() => {
            let longs: Int64Array = downcast("cast", &arrow_cast(array, &T::Int64)?)?;
            wrap(&longs, to)
        }
        _ => Ok(arrow_cast(array, to)?),
    }
}

fn decimals(values: Decimal128Array, precision: u8, scale: i8) -> Result<ArrayRef> {
    Ok(Arc::new(values.with_precision_and_scale(precision, scale)?))
}

fn integers_to_decimal(array: &ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef> {
    let longs: Int64Array = downcast("cast", &arrow_cast(array, &DataType::Int64)?)?;
    decimals(
        longs.unary_opt::<_, Decimal128Type>(|v| {
            decimal::rescale(v.into(), 0, scale).filter(|v| decimal::fits(*v, precision))
        }),
        precision,
        scale,
    )
}

/// A floating-point number is the decimal that it prints as.
fn floats_to_decimal(
    rows: usize,
    value: impl Fn(usize) -> Option<f64>,
    precision: u8,
    scale: i8,
    cx: &Cx<'_>,
) -> Result<ArrayRef> {
    let mut builder = Decimal128Array::builder(rows);
    for idx in 0..rows {
        match value(idx) {
            Some(value) if !value.is_finite() => {
                let mut text = String::new();
                crate::java::write_f64(value, &mut text);
                builder.append_option(cx.failed(text, &DataType::Decimal128(precision, scale))?);
            }
            Some(value) => builder.append_option(
                shortest_decimal(value, scale).filter(|v| decimal::fits(*v, precision)),
            ),
            None => builder.append_null(),
        }
    }
    decimals(builder.finish(), precision, scale)
}

/// The shortest decimal that reads back as the value, rounded HALF_UP to the scale. `None` is one that overflows.
pub(crate) fn shortest_decimal(value: f64, scale: i8) -> Option<i128> {
    let shortest = Shortest::of(value);
    let (negative, first, rest, exponent) = shortest.parts();
    let digits: i128 = first
        .bytes()
        .chain(rest.bytes())
        .fold(0, |sum, b| sum * 10 + i128::from(b.wrapping_sub(b'0')));
    let from = i32::try_from(rest.len()).ok()? - exponent;
    let shift = i32::from(scale) - from;
    let unscaled = if shift >= 0 {
        if digits == 0 {
            0
        } else {
            digits.checked_mul(decimal::pow10(shift.unsigned_abs())?)?
        }
    } else {
        decimal::pow10(shift.unsigned_abs())
            .map_or(0, |power| decimal::divide_half_up(digits, power))
    };
    Some(if negative { -unscaled } else { unscaled })
}

/// Cut toward zero and held at the ends of INT or BIGINT; TINYINT and SMALLINT then wrap, as in Java.
fn floats_to_integer(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let doubles = arrow_cast(array, &DataType::Float64)?;
    let doubles = doubles.as_primitive::<Float64Type>();
    #[allow(clippy::cast_possible_truncation, reason = "saturates as in Java")]
    let longs: Int64Array = if to == &DataType::Int64 {
        doubles.unary(|v| v as i64)
    } else {
        doubles.unary(|v| i64::from(v as i32))
    };
    wrap(&longs, to)
}

#[allow(clippy::cast_possible_truncation, reason = "integers wrap as in Java")]
fn wrap(longs: &Int64Array, to: &DataType) -> Result<ArrayRef> {
    Ok(match to {
        DataType::Int8 => {
            Arc::new(longs.unary::<_, arrow::datatypes::Int8Type>(|v| v as i8)) as ArrayRef
        }
        DataType::Int16 => Arc::new(longs.unary::<_, arrow::datatypes::Int16Type>(|v| v as i16)),
        DataType::Int32 => Arc::new(longs.unary::<_, arrow::datatypes::Int32Type>(|v| v as i32)),
        DataType::Int64 => Arc::new(longs.clone()),
        other => return no_cast(&DataType::Int64, other),
    })
}
