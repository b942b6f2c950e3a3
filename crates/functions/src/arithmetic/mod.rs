//! `+ - * / %` where a side is DECIMAL: Flink's precision and scale, HALF_UP, NULL on overflow.
//!
//! The result type is derived from the operands' types alone. While it needs no cut at 38 digits, an overflow is
//! impossible and the loops run without a check in `i128`; the rest runs in 256 bits.

mod evaluate;

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use datafusion_common::ScalarValue;
use datafusion_expr::{
    ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::call::downcast;
use crate::error::Result;
use crate::types::{PRECISION_MAX, exact};

/// Digits after the point that a cut at 38 digits leaves at least.
const SCALE_MIN: i16 = 6;

/// An arithmetic operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%` and MOD
    Modulo,
}

impl Op {
    /// The operator of a DataFusion expression, where it is arithmetic.
    #[must_use]
    pub fn of(operator: Operator) -> Option<Self> {
        Some(match operator {
            Operator::Plus => Self::Plus,
            Operator::Minus => Self::Minus,
            Operator::Multiply => Self::Multiply,
            Operator::Divide => Self::Divide,
            Operator::Modulo => Self::Modulo,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plus => "decimal_plus",
            Self::Minus => "decimal_minus",
            Self::Multiply => "decimal_multiply",
            Self::Divide => "decimal_divide",
            Self::Modulo => "decimal_modulo",
        }
    }
}

/// The function for `left op right` where at least one side is DECIMAL and the other is DECIMAL or an integer.
///
/// `None` where DataFusion's own expression means the same: integers among themselves (whose division and remainder
/// by zero fail), and FLOAT or DOUBLE, to which the planner casts a DECIMAL operand first.
#[must_use]
pub fn binary(op: Op, left: &DataType, right: &DataType) -> Option<Arc<ScalarUDF>> {
    let decimal = |data_type: &DataType| matches!(data_type, DataType::Decimal128(..));
    if !decimal(left) && !decimal(right) {
        return None;
    }
    let (left, right) = (exact(left)?, exact(right)?);
    let result = result_type(op, left, right);
    let signature = Signature::user_defined(Volatility::Immutable);
    Some(Arc::new(
        Decimal {
            op,
            left,
            right,
            result,
            signature,
        }
        .into(),
    ))
}

/// The precision and scale of `left op right`.
#[must_use]
pub fn result_type(op: Op, left: (u8, i8), right: (u8, i8)) -> (u8, i8) {
    let (p1, s1) = (i16::from(left.0), i16::from(left.1));
    let (p2, s2) = (i16::from(right.0), i16::from(right.1));
    let scale = s1.max(s2);
    match op {
        Op::Plus | Op::Minus => adjusted((p1 - s1).max(p2 - s2) + scale + 1, scale),
        Op::Multiply => adjusted(p1 + p2 + 1, s1 + s2),
        Op::Divide => {
            let scale = SCALE_MIN.max(s1 + p2 + 1);
            adjusted(p1 - s1 + s2 + scale, scale)
        }
        Op::Modulo => adjusted((p1 - s1).min(p2 - s2) + scale, scale),
    }
}

/// A precision beyond 38 keeps the digits before the point and gives up those behind it, down to six.
fn adjusted(precision: i16, scale: i16) -> (u8, i8) {
    let most = i16::from(PRECISION_MAX);
    let (precision, scale) = if precision <= most {
        (precision, scale)
    } else {
        (most, (most - (precision - scale)).max(scale.min(SCALE_MIN)))
    };
    (
        u8::try_from(precision.max(1)).unwrap_or(PRECISION_MAX),
        i8::try_from(scale).unwrap_or(0),
    )
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Decimal {
    op: Op,
    left: (u8, i8),
    right: (u8, i8),
    result: (u8, i8),
    signature: Signature,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())
    }
}

impl ScalarUDFImpl for Decimal {
    fn name(&self) -> &str {
        self.op.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        crate::function::arity(self.op.name(), given, 2, 2)?;
        let wanted = [self.left, self.right];
        let keep = |(given, (precision, scale)): (&DataType, (u8, i8))| match given {
            integer if integer.is_signed_integer() && scale == 0 => integer.clone(),
            _ => DataType::Decimal128(precision, scale),
        };
        Ok(given.iter().zip(wanted).map(keep).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(self.result.0, self.result.1))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Null));
        };
        let literal = matches!(
            (left, right),
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
        );
        let (left, right) = (
            self.operand(left, self.left)?,
            self.operand(right, self.right)?,
        );
        let rows = if literal { 1 } else { args.number_rows };
        let values = evaluate::evaluate(self, &left, &right, rows)?;
        let values = values.with_precision_and_scale(self.result.0, self.result.1)?;
        if literal {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &values, 0,
            )?));
        }
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// The unscaled values of one side.
pub(crate) enum Operand {
    Column(Decimal128Array),
    Literal(Option<i128>),
}

impl Decimal {
    fn operand(&self, value: &ColumnarValue, (precision, scale): (u8, i8)) -> Result<Operand> {
        let (array, literal) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(value) => (value.to_array_of_size(1)?, true),
        };
        let column = unscaled(self.op.name(), &array, precision, scale)?;
        Ok(if literal {
            Operand::Literal(column.is_valid(0).then(|| column.value(0)))
        } else {
            Operand::Column(column)
        })
    }
}

fn unscaled(name: &str, array: &ArrayRef, precision: u8, scale: i8) -> Result<Decimal128Array> {
    let wanted = DataType::Decimal128(precision, scale);
    if array.data_type().is_integer() {
        let longs: PrimitiveArray<Int64Type> = downcast(name, &cast(array, &DataType::Int64)?)?;
        return Ok(longs.unary::<_, Decimal128Type>(i128::from));
    }
    if array.data_type() == &wanted {
        return downcast(name, array);
    }
    downcast(name, &cast(array, &wanted)?)
}

#[cfg(test)]
mod tests;
