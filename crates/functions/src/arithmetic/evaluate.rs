//! The loops of decimal arithmetic over unscaled values.

use arrow::array::{Array, Decimal128Array};
use arrow::compute::kernels::arity;
use arrow::datatypes::{Decimal128Type, i256};
use arrow::error::ArrowError;
use datafusion_common::DataFusionError;

use super::{Decimal, Op, Operand};
use crate::decimal::{divide_half_up, divide_half_up_wide, fits, pow10, pow10_wide, rescale_wide};
use crate::error::{Error, Result};

/// Computes the unscaled results at the result's scale.
pub(super) fn evaluate(
    call: &Decimal,
    left: &Operand,
    right: &Operand,
    rows: usize,
) -> Result<Decimal128Array> {
    if matches!(call.op, Op::Divide | Op::Modulo) {
        refuse_zero(left, right)?;
    }
    let narrow = narrow(call);
    match (call.op, narrow) {
        (Op::Plus, Some(n)) => run(left, right, rows, |l, r| {
            l.wrapping_mul(n.left).wrapping_add(r.wrapping_mul(n.right))
        }),
        (Op::Minus, Some(n)) => run(left, right, rows, |l, r| {
            l.wrapping_mul(n.left).wrapping_sub(r.wrapping_mul(n.right))
        }),
        (Op::Multiply, Some(_)) => run(left, right, rows, i128::wrapping_mul),
        (Op::Divide, Some(n)) => run_checked(left, right, rows, |l, r| {
            (r != 0).then(|| divide_half_up(l.wrapping_mul(n.left), r))
        }),
        (Op::Modulo, Some(n)) => run_checked(left, right, rows, |l, r| {
            (r != 0).then(|| l.wrapping_mul(n.left).wrapping_rem(r.wrapping_mul(n.right)))
        }),
        (_, None) => {
            let precision = call.result.0;
            let checked = |l, r| wide(call, l, r).filter(|value| fits(*value, precision));
            run_checked(left, right, rows, checked)
        }
    }
}

/// What the operands are multiplied by first.
struct Narrow {
    left: i128,
    right: i128,
}

/// The factors, where every intermediate value is sure to fit into 38 digits and nothing is cut from the result.
fn narrow(call: &Decimal) -> Option<Narrow> {
    let Decimal {
        left: (p1, s1),
        right: (p2, s2),
        result: (precision, scale),
        ..
    } = *call;
    let common = s1.max(s2);
    let factor = |from: i8, to: i8| pow10(u32::try_from(i32::from(to) - i32::from(from)).ok()?);
    match call.op {
        Op::Plus | Op::Minus => {
            let digits = (i32::from(p1) - i32::from(s1)).max(i32::from(p2) - i32::from(s2))
                + i32::from(common)
                + 1;
            (scale == common && digits <= 38)
                .then_some(())
                .and_then(|()| {
                    Some(Narrow {
                        left: factor(s1, common)?,
                        right: factor(s2, common)?,
                    })
                })
        }
        Op::Multiply => (scale == s1 + s2 && p1 + p2 < 38 && precision <= 38)
            .then_some(Narrow { left: 1, right: 1 }),
        Op::Divide => {
            let shift = i32::from(scale) - i32::from(s1) + i32::from(s2);
            let whole = i32::from(p1) - i32::from(s1) + i32::from(s2) + i32::from(scale);
            let left = pow10(u32::try_from(shift).ok()?)?;
            (i32::from(p1) + shift <= 38 && whole <= i32::from(precision))
                .then_some(Narrow { left, right: 1 })
        }
        Op::Modulo => {
            let digits = |p: u8, s: i8| i32::from(p) + i32::from(common) - i32::from(s);
            (scale == common && digits(p1, s1) <= 38 && digits(p2, s2) <= 38)
                .then_some(())
                .and_then(|()| {
                    Some(Narrow {
                        left: factor(s1, common)?,
                        right: factor(s2, common)?,
                    })
                })
        }
    }
}

fn wide(call: &Decimal, left: i128, right: i128) -> Option<i128> {
    let (s1, s2, scale) = (
        i32::from(call.left.1),
        i32::from(call.right.1),
        i32::from(call.result.1),
    );
    let (left, right) = (i256::from_i128(left), i256::from_i128(right));
    let common = s1.max(s2);
    let value = match call.op {
        Op::Plus | Op::Minus | Op::Modulo => {
            let left = rescale_wide(left, s1, common)?;
            let right = rescale_wide(right, s2, common)?;
            let value = match call.op {
                Op::Plus => left.checked_add(right)?,
                Op::Minus => left.checked_sub(right)?,
                Op::Multiply | Op::Divide | Op::Modulo => left.checked_rem(right)?,
            };
            rescale_wide(value, common, scale)?
        }
        Op::Multiply => rescale_wide(left.checked_mul(right)?, s1 + s2, scale)?,
        Op::Divide => {
            let shift = scale - s1 + s2;
            if shift >= 0 {
                divide_half_up_wide(left.checked_mul(pow10_wide(shift.unsigned_abs())?)?, right)?
            } else {
                divide_half_up_wide(left, right.checked_mul(pow10_wide(shift.unsigned_abs())?)?)?
            }
        }
    };
    value.to_i128()
}

/// The first divisor that is zero fails, unless its dividend is NULL.
fn refuse_zero(left: &Operand, right: &Operand) -> Result<()> {
    let zero = match (left, right) {
        (Operand::Literal(None), _) | (_, Operand::Literal(None)) => false,
        (Operand::Literal(Some(_)), Operand::Literal(Some(divisor))) => *divisor == 0,
        (Operand::Column(left), Operand::Literal(Some(divisor))) => {
            *divisor == 0 && left.null_count() < left.len()
        }
        (Operand::Literal(Some(_)), Operand::Column(right)) => {
            right.iter().any(|divisor| divisor == Some(0))
        }
        (Operand::Column(left), Operand::Column(right)) => right
            .iter()
            .enumerate()
            .any(|(idx, divisor)| divisor == Some(0) && left.is_valid(idx)),
    };
    if zero {
        Err(Error::DivisionByZero.into())
    } else {
        Ok(())
    }
}

/// Runs an operation that cannot fail: the types leave room for every value, and a value beyond its type wraps.
fn run(
    left: &Operand,
    right: &Operand,
    rows: usize,
    op: impl Fn(i128, i128) -> i128,
) -> Result<Decimal128Array> {
    Ok(match (left, right) {
        (Operand::Column(left), Operand::Column(right)) => {
            // What stands under a NULL is arbitrary and may overflow, so that only valid rows are computed.
            if left.null_count() == 0 && right.null_count() == 0 {
                arity::binary(left, right, op)?
            } else {
                arity::try_binary(left, right, |l, r| Ok(op(l, r)))?
            }
        }
        (Operand::Column(left), Operand::Literal(Some(right))) => {
            left.unary_opt::<_, Decimal128Type>(|l| Some(op(l, *right)))
        }
        (Operand::Literal(Some(left)), Operand::Column(right)) => {
            right.unary_opt::<_, Decimal128Type>(|r| Some(op(*left, r)))
        }
        (Operand::Literal(Some(left)), Operand::Literal(Some(right))) => {
            Decimal128Array::from(vec![op(*left, *right)])
        }
        (Operand::Literal(None), _) | (_, Operand::Literal(None)) => {
            Decimal128Array::new_null(rows)
        }
    })
}

/// Runs an operation whose `None` is NULL.
fn run_checked(
    left: &Operand,
    right: &Operand,
    rows: usize,
    op: impl Fn(i128, i128) -> Option<i128>,
) -> Result<Decimal128Array, DataFusionError> {
    Ok(match (left, right) {
        (Operand::Column(left), Operand::Column(right)) => {
            if left.len() != right.len() {
                return Err(ArrowError::ComputeError("columns of different lengths".into()).into());
            }
            left.iter()
                .zip(right.iter())
                .map(|(l, r)| op(l?, r?))
                .collect()
        }
        (Operand::Column(left), Operand::Literal(Some(right))) => {
            left.unary_opt::<_, Decimal128Type>(|l| op(l, *right))
        }
        (Operand::Literal(Some(left)), Operand::Column(right)) => {
            right.unary_opt::<_, Decimal128Type>(|r| op(*left, r))
        }
        (Operand::Literal(Some(left)), Operand::Literal(Some(right))) => {
            Decimal128Array::from(vec![op(*left, *right)])
        }
        (Operand::Literal(None), _) | (_, Operand::Literal(None)) => {
            Decimal128Array::new_null(rows)
        }
    })
}
