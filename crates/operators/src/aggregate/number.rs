//! Exact numbers to results of a type: range checks, scales, rounding.

use super::accumulator::Finish;
use arrow::datatypes::{DataType, i256};
use millstream_dataflow::{Error, Result};
use millstream_state::{Cells, code_of_float};

/// Adds a number of the argument's scale as a value of the result's type.
///
/// # Errors
/// `BadData` when an integer does not fit.
pub(crate) fn push(value: i128, how: &Finish, out: &mut Cells) -> Result<()> {
    match &how.output {
        DataType::Decimal128(_, _) => push_decimal(i256::from_i128(value), i256::ONE, how, out),
        DataType::Float32 | DataType::Float64 => {
            push_float(value as f64 / 10_f64.powi(i32::from(how.scale)), how, out)?;
        }
        _ => push_integer(value, how, out)?,
    }
    Ok(())
}

/// Adds a quotient: of integers truncated, of decimals rounded half up.
///
/// # Errors
/// `BadData` when an integer does not fit.
pub(crate) fn push_quotient(
    dividend: i128,
    divisor: i128,
    how: &Finish,
    out: &mut Cells,
) -> Result<()> {
    match &how.output {
        DataType::Decimal128(_, _) => {
            push_decimal(
                i256::from_i128(dividend),
                i256::from_i128(divisor),
                how,
                out,
            );
        }
        DataType::Float32 | DataType::Float64 => {
            let scaled = dividend as f64 / 10_f64.powi(i32::from(how.scale));
            push_float(scaled / divisor as f64, how, out)?;
        }
        _ => push_integer(dividend / divisor, how, out)?,
    }
    Ok(())
}

/// Adds a float as a value of the result's type: an integer is truncated, a decimal rounded.
///
/// # Errors
/// `BadData` when an integer does not fit.
pub(crate) fn push_float(value: f64, how: &Finish, out: &mut Cells) -> Result<()> {
    match &how.output {
        DataType::Float32 => out.push_long(code_of_float(f64::from(value as f32))),
        DataType::Float64 => out.push_long(code_of_float(value)),
        DataType::Decimal128(precision, scale) => {
            let scaled = (value * 10_f64.powi(i32::from(*scale))).round();
            if scaled.abs() < 10_f64.powi(i32::from(*precision)) {
                out.push_wide(scaled as i128);
            } else {
                out.push_null();
            }
        }
        _ => push_integer(value.trunc() as i128, how, out)?,
    }
    Ok(())
}

/// Adds a fraction of numbers of the argument's scale as a decimal, rounded half up; NULL when it has too many digits.
pub(crate) fn push_decimal(dividend: i256, divisor: i256, how: &Finish, out: &mut Cells) {
    let DataType::Decimal128(precision, scale) = how.output else {
        return out.push_null();
    };
    let shift = i32::from(scale) - i32::from(how.scale);
    let power = i256::from_i128(10).checked_pow(shift.unsigned_abs());
    let (dividend, divisor) = match (power, shift >= 0) {
        (Some(power), true) => (dividend.checked_mul(power), Some(divisor)),
        (Some(power), false) => (Some(dividend), divisor.checked_mul(power)),
        (None, _) => (None, None),
    };
    let quotient = dividend
        .zip(divisor)
        .and_then(|(dividend, divisor)| half_up(dividend, divisor))
        .and_then(i256::to_i128);
    match quotient {
        Some(value) if value.unsigned_abs() < 10_u128.pow(u32::from(precision)) => {
            out.push_wide(value);
        }
        _ => out.push_null(),
    }
}

/// A quotient rounded half up (away from zero), as SQL's decimals are.
fn half_up(dividend: i256, divisor: i256) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?;
    let twice = rest.wrapping_abs().checked_add(rest.wrapping_abs())?;
    if twice < divisor.wrapping_abs() {
        return Some(quotient);
    }
    let negative = (dividend < i256::ZERO) != (divisor < i256::ZERO);
    quotient.checked_add(if negative { i256::MINUS_ONE } else { i256::ONE })
}

fn push_integer(value: i128, how: &Finish, out: &mut Cells) -> Result<()> {
    let (least, most) = match how.output {
        DataType::Int8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        DataType::Int16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    match i64::try_from(value) {
        Ok(value) if (least..=most).contains(&value) => out.push_long(value),
        _ => {
            let name = type_name(&how.output);
            return Err(
                Error::bad_data(format!("{} overflows {name}: {value}", how.function)).hint(
                    format!(
                        "CAST the argument to a wider type than {name}, such as {}",
                        wider(&how.output)
                    ),
                ),
            );
        }
    }
    Ok(())
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        other => other.to_string(),
    }
}

fn wider(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int64 => "DECIMAL(38, 0)",
        _ => "BIGINT",
    }
}
