//! SUM and AVG: integers and decimals exactly, floats with the rounding errors carried along.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{self, cast};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, i256};
use datafusion::common::{Result, ScalarValue, exec_err, not_impl_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use millstream_planner::logical::Function;

/// The total of some values.
#[derive(Clone, Debug)]
pub(super) struct Total {
    function: Function,
    argument: DataType,
    result: DataType,
    sum: Sum,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    exact: i128,
    float: f64,
    /// What rounding took off `float`.
    rest: f64,
    count: i64,
    overflow: bool,
}

impl Sum {
    fn add_exact(&mut self, value: i128) {
        let (sum, overflow) = self.exact.overflowing_add(value);
        self.exact = sum;
        self.overflow |= overflow;
        self.count += 1;
    }

    /// Neumaier's sum: the greater of the two addends keeps its digits.
    fn add_float(&mut self, value: f64) {
        let sum = self.float + value;
        let lost = if self.float.abs() >= value.abs() {
            (self.float - sum) + value
        } else {
            (value - sum) + self.float
        };
        if lost.is_finite() {
            self.rest += lost;
        }
        self.float = sum;
        self.count += 1;
    }
}

/// Calls one of the two for each value that is there.
fn each(
    values: &ArrayRef,
    mut exact: impl FnMut(usize, i128),
    mut float: impl FnMut(usize, f64),
) -> Result<()> {
    match values.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let values = cast(values, &DataType::Float64)?;
            let values = values.as_primitive::<Float64Type>();
            let present = values.iter().enumerate();
            present.for_each(|(row, value)| value.into_iter().for_each(|value| float(row, value)));
        }
        DataType::Decimal128(_, _) => {
            let values = values.as_primitive::<Decimal128Type>();
            let present = values.iter().enumerate();
            present.for_each(|(row, value)| value.into_iter().for_each(|value| exact(row, value)));
        }
        other if other.is_integer() => {
            let values = cast(values, &DataType::Int64)?;
            let values = values.as_primitive::<Int64Type>();
            let present = values.iter().enumerate();
            present.for_each(|(row, value)| {
                value
                    .into_iter()
                    .for_each(|value| exact(row, i128::from(value)));
            });
        }
        other => return not_impl_err!("a sum of {other}"),
    }
    Ok(())
}

impl Total {
    pub(super) fn new(function: Function, argument: &DataType, result: &DataType) -> Self {
        Self {
            function,
            argument: argument.clone(),
            result: result.clone(),
            sum: Sum::default(),
        }
    }

    fn finish(&self, sum: &Sum) -> Result<ScalarValue> {
        if sum.count == 0 && self.function != Function::Sum0 {
            return ScalarValue::try_from(&self.result);
        }
        if sum.overflow {
            return exec_err!("a sum overflows 38 digits");
        }
        let is_average = self.function == Function::Avg;
        let divisor = if is_average { i128::from(sum.count) } else { 1 };
        match &self.argument {
            DataType::Float32 | DataType::Float64 => {
                float((sum.float + sum.rest) / divisor as f64, &self.result)
            }
            argument => {
                let scale = match argument {
                    DataType::Decimal128(_, scale) => *scale,
                    _ => 0,
                };
                let whole = Fraction {
                    above: i256::from_i128(sum.exact),
                    below: i256::from_i128(divisor),
                    scale,
                };
                whole.value(&self.result)
            }
        }
    }
}

/// A float as a value of a type: integers truncated, decimals rounded.
pub(super) fn float(value: f64, result: &DataType) -> Result<ScalarValue> {
    Ok(match result {
        DataType::Float32 => ScalarValue::Float32(Some(value as f32)),
        DataType::Float64 => ScalarValue::Float64(Some(value)),
        DataType::Decimal128(precision, scale) => {
            let scaled = (value * 10_f64.powi(i32::from(*scale))).round();
            let fits = scaled.abs() < 10_f64.powi(i32::from(*precision));
            ScalarValue::Decimal128(fits.then_some(scaled as i128), *precision, *scale)
        }
        integer => return self::integer(value.trunc() as i128, integer),
    })
}

fn integer(value: i128, result: &DataType) -> Result<ScalarValue> {
    let Ok(value) = i64::try_from(value) else {
        return exec_err!("{value} overflows {result}");
    };
    let value = ScalarValue::Int64(Some(value));
    match value.cast_to(result) {
        Ok(value) if !value.is_null() => Ok(value),
        _ => exec_err!("{value} overflows {result}"),
    }
}

/// A quotient of numbers with digits behind the point.
pub(super) struct Fraction {
    pub(super) above: i256,
    pub(super) below: i256,
    /// How many digits of the dividend are behind the point.
    pub(super) scale: i8,
}

impl Fraction {
    /// As a value of a type: integers truncated, decimals rounded half away from zero, NULL when there are too many digits.
    pub(super) fn value(&self, result: &DataType) -> Result<ScalarValue> {
        let DataType::Decimal128(precision, scale) = result else {
            let quotient = self.above.checked_div(self.below).and_then(i256::to_i128);
            return match quotient {
                Some(value) if !result.is_floating() => integer(value, result),
                _ => float(self.as_float(), result),
            };
        };
        let ten = i256::from_i128(10);
        let shift = i32::from(*scale) - i32::from(self.scale);
        let power = ten.checked_pow(shift.unsigned_abs());
        let fraction = power.and_then(|power| match shift >= 0 {
            true => Some((self.above.checked_mul(power)?, self.below)),
            false => Some((self.above, self.below.checked_mul(power)?)),
        });
        let rounded = fraction.and_then(|(above, below)| half_away(above, below));
        let value = rounded.and_then(i256::to_i128);
        let fits = |value: &i128| value.unsigned_abs() < 10_u128.pow(u32::from(*precision));
        Ok(ScalarValue::Decimal128(
            value.filter(fits),
            *precision,
            *scale,
        ))
    }

    /// As a float.
    pub(super) fn as_float(&self) -> f64 {
        let unit = 10_f64.powi(i32::from(self.scale));
        of_wide(self.above) / of_wide(self.below) / unit
    }
}

pub(super) fn of_wide(value: i256) -> f64 {
    let (low, high) = value.to_parts();
    high as f64 * 2_f64.powi(128) + low as f64
}

fn half_away(above: i256, below: i256) -> Option<i256> {
    let quotient = above.checked_div(below)?;
    let rest = above.checked_rem(below)?.wrapping_abs();
    let is_less = rest.checked_add(rest)? < below.wrapping_abs();
    let away = if (above < i256::ZERO) == (below < i256::ZERO) {
        i256::ONE
    } else {
        i256::MINUS_ONE
    };
    if is_less {
        Some(quotient)
    } else {
        quotient.checked_add(away)
    }
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut sum = self.sum;
        let cell = std::cell::RefCell::new(&mut sum);
        each(
            &values[0],
            |_, value| cell.borrow_mut().add_exact(value),
            |_, value| cell.borrow_mut().add_float(value),
        )?;
        self.sum = sum;
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.finish(&self.sum)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        not_impl_err!("a batch in parts")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        not_impl_err!("a batch in parts")
    }
}

/// The totals of groups.
pub(super) struct GroupTotals {
    one: Total,
    sums: Vec<Sum>,
}

impl GroupTotals {
    pub(super) fn new(function: Function, argument: &DataType, result: &DataType) -> Self {
        Self {
            one: Total::new(function, argument, result),
            sums: Vec::new(),
        }
    }
}

impl GroupsAccumulator for GroupTotals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_num_groups, Sum::default());
        let values = match opt_filter {
            None => ArrayRef::clone(&values[0]),
            Some(filter) => {
                // NULL is not true.
                let out: BooleanArray =
                    filter.iter().map(|keep| Some(keep != Some(true))).collect();
                compute::nullif(&values[0], &out)?
            }
        };
        let sums = std::cell::RefCell::new(&mut self.sums);
        each(
            &values,
            |row, value| sums.borrow_mut()[group_indices[row]].add_exact(value),
            |row, value| sums.borrow_mut()[group_indices[row]].add_float(value),
        )
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        if sums.is_empty() {
            return Ok(arrow::array::new_empty_array(&self.one.result));
        }
        let values = sums.iter().map(|sum| self.one.finish(sum));
        ScalarValue::iter_to_array(values.collect::<Result<Vec<_>>>()?)
    }

    fn state(&mut self, _emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        not_impl_err!("a batch in parts")
    }

    fn merge_batch(
        &mut self,
        _values: &[ArrayRef],
        _group_indices: &[usize],
        _total_num_groups: usize,
    ) -> Result<()> {
        not_impl_err!("a batch in parts")
    }

    fn convert_to_state(
        &self,
        _values: &[ArrayRef],
        _opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        not_impl_err!("a batch in parts")
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Sum>()
    }
}
