//! FLOOR and CEIL of numbers: a DECIMAL loses its scale, all others keep their type.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};

use super::decimals;
use crate::call::{Call, downcast};
use crate::decimal::{fits, pow10};
use crate::error::Result;
use crate::function::{Arguments, Function, Given};

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "floor",
            Arguments::Own(|given| super::number("floor", given)),
            returns,
            |call| each(call, false),
        ),
        Function::new(
            "ceil",
            Arguments::Own(|given| super::number("ceil", given)),
            returns,
            |call| each(call, true),
        )
        .aliases(&["ceiling"]),
    ]
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of every result type")]
fn returns(given: &Given<'_>) -> Result<DataType> {
    Ok(match given.data_type(0) {
        DataType::Decimal128(precision, scale) if *scale > 0 => DataType::Decimal128(*precision, 0),
        other => other.clone(),
    })
}

fn each(call: &Call<'_>, up: bool) -> Result<ArrayRef> {
    let column = call.column(0)?;
    match column.data_type() {
        DataType::Float32 => {
            let values: Float32Array = downcast(call.name, &column)?;
            Ok(Arc::new(values.unary::<_, Float32Type>(if up {
                f32::ceil
            } else {
                f32::floor
            })))
        }
        DataType::Float64 => {
            let values: Float64Array = downcast(call.name, &column)?;
            Ok(Arc::new(values.unary::<_, Float64Type>(if up {
                f64::ceil
            } else {
                f64::floor
            })))
        }
        DataType::Decimal128(precision, scale) if *scale > 0 => {
            let (precision, unit) = (
                *precision,
                pow10(scale.unsigned_abs().into()).unwrap_or(i128::MAX),
            );
            let values: Decimal128Array = downcast(call.name, &column)?;
            let whole = |value: i128| {
                let floor = value.div_euclid(unit);
                let whole = if up && value.rem_euclid(unit) > 0 {
                    floor + 1
                } else {
                    floor
                };
                Some(whole).filter(|whole| fits(*whole, precision))
            };
            decimals(values.unary_opt::<_, Decimal128Type>(whole), call.returns)
        }
        _ => Ok(column),
    }
}
