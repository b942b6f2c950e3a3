//! MOD: the remainder has the dividend's sign. Of integers it has the divisor's type, and by zero it fails.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs};

use super::number_type;
use crate::arithmetic::{self, Op};
use crate::call::Call;
use crate::error::{Error, Result};
use crate::function::{Arguments, Function, Given, arity};
use crate::types::exact;

pub(crate) fn functions() -> Vec<Function> {
    vec![Function::new("mod", Arguments::Own(types), returns, modulo)]
}

fn types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("mod", given, 2, 2)?;
    let numbers = [
        number_type("mod", 0, &given[0])?,
        number_type("mod", 1, &given[1])?,
    ];
    if numbers.iter().any(DataType::is_floating) {
        return Ok(vec![DataType::Float64; 2]);
    }
    Ok(numbers.to_vec())
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of every result type")]
fn returns(given: &Given<'_>) -> Result<DataType> {
    let (left, right) = (given.data_type(0), given.data_type(1));
    if matches!(
        (left, right),
        (DataType::Decimal128(..), _) | (_, DataType::Decimal128(..))
    ) && let (Some(left), Some(right)) = (exact(left), exact(right))
    {
        let (precision, scale) = arithmetic::result_type(Op::Modulo, left, right);
        return Ok(DataType::Decimal128(precision, scale));
    }
    Ok(right.clone())
}

fn modulo(call: &Call<'_>) -> Result<ArrayRef> {
    if call.returns == &DataType::Float64 {
        let (left, right) = (call.double(0)?, call.double(1)?);
        return call.doubles(|row| Some(left.get(row)? % right.get(row)?));
    }
    if matches!(call.returns, DataType::Decimal128(..)) {
        return decimals(call);
    }
    let (left, right) = (call.long(0)?, call.long(1)?);
    let rests: Result<Int64Array> = (0..call.rows)
        .map(|row| match (left.get(row), right.get(row)) {
            (Some(_), Some(0)) => Err(Error::DivisionByZero.into()),
            (Some(left), Some(right)) => Ok(Some(left.wrapping_rem(right))),
            _ => Ok(None),
        })
        .collect();
    Ok(cast(&(Arc::new(rests?) as ArrayRef), call.returns)?)
}

fn decimals(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.column(0)?, call.column(1)?);
    let Some(udf) = arithmetic::binary(Op::Modulo, left.data_type(), right.data_type()) else {
        return Err(Error::argument(call.name, "needs exact numbers").into());
    };
    let field =
        |data_type: &DataType| Arc::new(arrow::datatypes::Field::new("x", data_type.clone(), true));
    let output = udf.invoke_with_args(ScalarFunctionArgs {
        arg_fields: vec![field(left.data_type()), field(right.data_type())],
        args: vec![ColumnarValue::Array(left), ColumnarValue::Array(right)],
        number_rows: call.rows,
        return_field: field(call.returns),
        config_options: Arc::default(),
    })?;
    output.to_array(call.rows)
}
