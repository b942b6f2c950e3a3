//! VAR and STDDEV. Integers and decimals exactly, by sum and sum of squares in 256 bits; floats by Welford's running
//! mean, which a negative weight undoes.

use super::accumulator::{Accumulator, Args, Exported, Finish, Rows, Shape};
use super::function::Function;
use super::number;
use arrow::datatypes::{DataType, i256};
use millstream_dataflow::{Error, Result};
use millstream_state::{Cells, Form, Lane, code_of_float, float_of_code};

/// Count, sum and sum of squares of numbers.
#[derive(Clone, Copy, Debug)]
struct Exact {
    count: i64,
    sum: i128,
    squares: i256,
}

const NOTHING: Exact = Exact {
    count: 0,
    sum: 0,
    squares: i256::ZERO,
};

/// Moments of integers or decimals, a group each.
#[derive(Debug, Default)]
pub(crate) struct ExactMoments {
    each: Vec<Exact>,
}

impl ExactMoments {
    fn add(&mut self, id: usize, value: i128, weight: i64) {
        let group = &mut self.each[id];
        let square = i256::from_i128(value).wrapping_mul(i256::from_i128(value));
        group.count += weight;
        group.sum = group
            .sum
            .wrapping_add(value.wrapping_mul(i128::from(weight)));
        let part = square.wrapping_mul(i256::from_i128(i128::from(weight)));
        group.squares = group.squares.wrapping_add(part);
    }
}

impl Accumulator for ExactMoments {
    fn grow(&mut self, groups: usize) {
        if self.each.len() < groups {
            self.each.resize(groups, NOTHING);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let lane = args.lane(0);
        match lane {
            Lane::Long { values, .. } => rows.each(lane.nulls(), |id, row, weight| {
                self.add(id, i128::from(values[row]), weight);
            }),
            Lane::Wide { values, .. } => {
                rows.each(lane.nulls(), |id, row, weight| {
                    self.add(id, values[row], weight)
                });
            }
            Lane::Bytes(_) => return Err(Error::internal("moments of texts")),
        }
        Ok(())
    }

    fn finish(&self, how: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        for id in ids {
            let Exact {
                count,
                sum,
                squares,
            } = self.each[*id as usize];
            let Some(divisor) = divisor(how.function, count) else {
                out.push_null();
                continue;
            };
            // The variance is (n * squares - sum^2) / (n * divisor).
            let wide = |value: i64| i256::from_i128(i128::from(value));
            let sum = i256::from_i128(sum);
            let above = squares.checked_mul(wide(count)).zip(sum.checked_mul(sum));
            let above = above.and_then(|(left, right)| left.checked_sub(right));
            let below = wide(count).wrapping_mul(wide(divisor));
            match above {
                Some(above) => push(above, below, how, out)?,
                None => {
                    return Err(Error::bad_data("a variance overflows 76 digits")
                        .hint("CAST the argument to DOUBLE"));
                }
            }
        }
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        ids.iter().for_each(|id| self.each[*id as usize] = NOTHING);
    }

    fn shape(&self) -> Shape {
        Shape::scalar(vec![Form::Long, Form::Wide, Form::Wide, Form::Wide])
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        out.ids.extend_from_slice(ids);
        for id in ids {
            let group = self.each[*id as usize];
            let (low, high) = group.squares.to_parts();
            out.body[0].push_long(group.count);
            out.body[1].push_wide(group.sum);
            out.body[2].push_wide(low as i128);
            out.body[3].push_wide(high);
        }
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (at, id) in from.ids.iter().enumerate() {
            let group = &mut self.each[*id as usize];
            let squares = i256::from_parts(from.body[2].wide(at) as u128, from.body[3].wide(at));
            group.count += from.body[0].long(at);
            group.sum = group.sum.wrapping_add(from.body[1].wide(at));
            group.squares = group.squares.wrapping_add(squares);
        }
        Ok(())
    }
}

/// What the sum of squared differences is divided by; `None`: the result is NULL.
fn divisor(function: Function, count: i64) -> Option<i64> {
    let sample = matches!(function, Function::StddevSamp | Function::VarSamp);
    let divisor = if sample { count - 1 } else { count };
    (divisor > 0).then_some(divisor)
}

fn is_deviation(function: Function) -> bool {
    matches!(function, Function::StddevPop | Function::StddevSamp)
}

/// Adds the variance `above / below`, in squares of the argument's unit, or its root.
fn push(above: i256, below: i256, how: &Finish, out: &mut Cells) -> Result<()> {
    if is_deviation(how.function) {
        let unit = 10_f64.powi(i32::from(how.scale));
        return number::push_float((float(above) / float(below)).sqrt() / unit, how, out);
    }
    match &how.output {
        DataType::Decimal128(_, _) => {
            let squared = Finish {
                scale: how.scale.saturating_mul(2),
                ..how.clone()
            };
            number::push_decimal(above, below, &squared, out);
            Ok(())
        }
        DataType::Float32 | DataType::Float64 => {
            let unit = 10_f64.powi(2 * i32::from(how.scale));
            number::push_float(float(above) / float(below) / unit, how, out)
        }
        _ => number::push(
            above.wrapping_div(below).to_i128().unwrap_or(i128::MAX),
            how,
            out,
        ),
    }
}

fn float(value: i256) -> f64 {
    let (low, high) = value.to_parts();
    // Two halves of 128 bits.
    high as f64 * 2_f64.powi(128) + low as f64
}

/// Count, mean and sum of squared differences from it.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    count: i64,
    mean: f64,
    squares: f64,
}

impl Running {
    fn add(&mut self, value: f64, weight: i64) {
        self.count += weight;
        if self.count == 0 {
            *self = Self::default();
            return;
        }
        let difference = value - self.mean;
        self.mean += difference * weight as f64 / self.count as f64;
        self.squares += weight as f64 * difference * (value - self.mean);
    }

    fn join(&mut self, other: Self) {
        if self.count == 0 {
            // To the last bit, as a restore needs it.
            *self = other;
            return;
        }
        let count = self.count + other.count;
        if count == 0 {
            *self = Self::default();
            return;
        }
        let difference = other.mean - self.mean;
        let part = other.count as f64 / count as f64;
        self.squares += other.squares + difference * difference * self.count as f64 * part;
        self.mean += difference * part;
        self.count = count;
    }
}

/// Moments of floats, a group each.
#[derive(Debug, Default)]
pub(crate) struct FloatMoments {
    each: Vec<Running>,
}

impl Accumulator for FloatMoments {
    fn grow(&mut self, groups: usize) {
        if self.each.len() < groups {
            self.each.resize(groups, Running::default());
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let Lane::Long { values, .. } = args.lane(0) else {
            return Err(Error::internal("moments of floats of another form"));
        };
        let each = self.each.as_mut_slice();
        rows.each(args.lane(0).nulls(), |id, row, weight| {
            each[id].add(float_of_code(values[row]), weight);
        });
        Ok(())
    }

    fn finish(&self, how: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        for id in ids {
            let group = self.each[*id as usize];
            match divisor(how.function, group.count) {
                None => out.push_null(),
                Some(divisor) => {
                    let variance = group.squares.max(0.0) / divisor as f64;
                    let deviation = is_deviation(how.function);
                    let value = if deviation { variance.sqrt() } else { variance };
                    number::push_float(value, how, out)?;
                }
            }
        }
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        ids.iter()
            .for_each(|id| self.each[*id as usize] = Running::default());
    }

    fn shape(&self) -> Shape {
        Shape::scalar(vec![Form::Long, Form::Long, Form::Long])
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        out.ids.extend_from_slice(ids);
        for id in ids {
            let group = self.each[*id as usize];
            out.body[0].push_long(group.count);
            out.body[1].push_long(code_of_float(group.mean));
            out.body[2].push_long(code_of_float(group.squares));
        }
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (at, id) in from.ids.iter().enumerate() {
            self.each[*id as usize].join(Running {
                count: from.body[0].long(at),
                mean: float_of_code(from.body[1].long(at)),
                squares: float_of_code(from.body[2].long(at)),
            });
        }
        Ok(())
    }
}
