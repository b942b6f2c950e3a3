//! ABS and SIGN, in the argument's type. The smallest integer has no absolute value: it stays as it is, as in Java.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};

use super::decimals;
use crate::call::{Call, downcast};
use crate::error::Result;
use crate::function::{Arguments, Function, wrong_type};

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "abs",
            Arguments::Own(|given| super::number("abs", given)),
            |g| Ok(g.data_type(0).clone()),
            abs,
        ),
        Function::new(
            "sign",
            Arguments::Own(|given| super::number("sign", given)),
            |g| Ok(g.data_type(0).clone()),
            sign,
        ),
    ]
}

fn map<T: ArrowPrimitiveType>(
    call: &Call<'_>,
    of: impl Fn(T::Native) -> T::Native,
) -> Result<ArrayRef> {
    let values: PrimitiveArray<T> = downcast(call.name, &call.column(0)?)?;
    Ok(Arc::new(
        values
            .unary::<_, T>(of)
            .with_data_type(values.data_type().clone()),
    ))
}

fn abs(call: &Call<'_>) -> Result<ArrayRef> {
    match call.returns {
        DataType::Int8 => map::<Int8Type>(call, i8::wrapping_abs),
        DataType::Int16 => map::<Int16Type>(call, i16::wrapping_abs),
        DataType::Int32 => map::<Int32Type>(call, i32::wrapping_abs),
        DataType::Int64 => map::<Int64Type>(call, i64::wrapping_abs),
        DataType::Float32 => map::<Float32Type>(call, f32::abs),
        DataType::Float64 => map::<Float64Type>(call, f64::abs),
        DataType::Decimal128(..) => map::<Decimal128Type>(call, i128::wrapping_abs),
        other => Err(wrong_type(call.name, 0, other, "a number").into()),
    }
}

/// -1, 0 or 1; of a DECIMAL with the same scale.
fn sign(call: &Call<'_>) -> Result<ArrayRef> {
    // Unlike Rust's, Java's sign of zero is zero.
    let of_double = |value: f64| if value == 0.0 { value } else { value.signum() };
    match call.returns {
        DataType::Int8 => map::<Int8Type>(call, i8::signum),
        DataType::Int16 => map::<Int16Type>(call, i16::signum),
        DataType::Int32 => map::<Int32Type>(call, i32::signum),
        DataType::Int64 => map::<Int64Type>(call, i64::signum),
        DataType::Float32 => {
            map::<Float32Type>(
                call,
                |value| if value == 0.0 { value } else { value.signum() },
            )
        }
        DataType::Float64 => map::<Float64Type>(call, of_double),
        DataType::Decimal128(precision, scale) => {
            let one = crate::decimal::rescale(1, 0, *scale)
                .filter(|one| crate::decimal::fits(*one, *precision));
            let values: PrimitiveArray<Decimal128Type> = downcast(call.name, &call.column(0)?)?;
            decimals(
                values.unary_opt::<_, Decimal128Type>(|v| {
                    if v == 0 {
                        Some(0)
                    } else {
                        Some(one? * v.signum())
                    }
                }),
                call.returns,
            )
        }
        other => Err(wrong_type(call.name, 0, other, "a number").into()),
    }
}
