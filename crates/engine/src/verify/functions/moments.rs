//! VAR and STDDEV of all values: of integers and decimals exactly, of floats in two passes.

use arrow::datatypes::{DataType, i256};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use millstream_planner::logical::Function;

use super::total::{Fraction, float, of_wide};

/// The moment of some values, none of them NULL.
pub(super) fn of(
    function: Function,
    values: &[&ScalarValue],
    result: &DataType,
) -> Result<ScalarValue> {
    let sample = matches!(function, Function::StddevSamp | Function::VarSamp);
    let divisor = values.len() as i64 - i64::from(sample);
    if divisor <= 0 {
        return ScalarValue::try_from(result);
    }
    let is_root = matches!(function, Function::StddevPop | Function::StddevSamp);
    let scale = match values[0] {
        ScalarValue::Decimal128(_, _, scale) => *scale,
        ScalarValue::Float32(_) | ScalarValue::Float64(_) => {
            let variance = of_floats(values)? / divisor as f64;
            return float(if is_root { variance.sqrt() } else { variance }, result);
        }
        _ => 0,
    };
    let count = i256::from_i128(values.len() as i128);
    let (mut sum, mut squares) = (i256::ZERO, i256::ZERO);
    for value in values {
        let value = i256::from_i128(unscaled(value)?);
        sum = sum.wrapping_add(value);
        squares = squares.wrapping_add(value.wrapping_mul(value));
    }
    let above = squares.checked_mul(count).zip(sum.checked_mul(sum));
    let above = above.and_then(|(squares, square)| squares.checked_sub(square));
    let above = above.ok_or_else(|| exec_datafusion_err!("a variance overflows 76 digits"))?;
    let below = count.wrapping_mul(i256::from_i128(i128::from(divisor)));
    if is_root {
        let unit = 10_f64.powi(i32::from(scale));
        return float((of_wide(above) / of_wide(below)).sqrt() / unit, result);
    }
    let scale = scale.saturating_mul(2);
    Fraction {
        above,
        below,
        scale,
    }
    .value(result)
}

fn of_floats(values: &[&ScalarValue]) -> Result<f64> {
    let numbers = values.iter().map(|value| number(value));
    let numbers = numbers.collect::<Result<Vec<f64>>>()?;
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    Ok(numbers.iter().map(|value| (value - mean).powi(2)).sum())
}

/// A number as a float.
pub(super) fn number(value: &ScalarValue) -> Result<f64> {
    match value.cast_to(&DataType::Float64)? {
        ScalarValue::Float64(Some(number)) => Ok(number),
        other => Err(exec_datafusion_err!("{other} is no number")),
    }
}

fn unscaled(value: &ScalarValue) -> Result<i128> {
    match value {
        ScalarValue::Decimal128(Some(value), _, _) => Ok(*value),
        other => match other.cast_to(&DataType::Int64)? {
            ScalarValue::Int64(Some(value)) => Ok(i128::from(value)),
            other => Err(exec_datafusion_err!("{other} is no number")),
        },
    }
}
