//! Functions of numbers. Exact numbers stay exact; the rest is DOUBLE.

pub(crate) mod absolute;
pub(crate) mod bits;
pub(crate) mod double;
pub(crate) mod modulo;
pub(crate) mod round;
pub(crate) mod whole;

use arrow::array::{ArrayRef, Decimal128Array};
use arrow::datatypes::DataType;
use std::sync::Arc;

use crate::error::Result;
use crate::function::{arity, wrong_type};
use crate::types::is_text;

/// One number, whose type is kept; a text is read as DOUBLE.
pub(crate) fn number(name: &str, given: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, given, 1, 1)?;
    Ok(vec![number_type(name, 0, &given[0])?])
}

/// The number type that an argument is taken as.
pub(crate) fn number_type(name: &str, idx: usize, given: &DataType) -> Result<DataType> {
    match given {
        text if is_text(text) || text.is_null() => Ok(DataType::Float64),
        number if number.is_signed_integer() || number.is_floating() => Ok(number.clone()),
        DataType::Decimal128(..) => Ok(given.clone()),
        unsigned if unsigned.is_integer() => Ok(DataType::Int64),
        other => Err(wrong_type(name, idx, other, "a number").into()),
    }
}

/// A column of the promised DECIMAL type.
pub(crate) fn decimals(values: Decimal128Array, returns: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = returns else {
        return Ok(Arc::new(values));
    };
    Ok(Arc::new(
        values.with_precision_and_scale(*precision, *scale)?,
    ))
}

#[cfg(test)]
mod tests;
