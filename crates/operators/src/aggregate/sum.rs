//! SUM and AVG. Integers and decimals are summed exactly in 128 bits; floats with their rounding errors carried along,
//! so that a retraction takes out what its insertion put in.

use super::accumulator::{Accumulator, Args, Exported, Finish, Rows, Shape};
use super::number;
use millstream_dataflow::{Error, Result};
use millstream_state::{Cells, Form, Lane, code_of_float, float_of_code};

use super::function::Function;

/// A sum and a count of integers or decimals.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    sum: i128,
    count: i64,
}

/// Exact sums, a group each.
#[derive(Debug, Default)]
pub(crate) struct ExactSum {
    totals: Vec<Total>,
}

impl Accumulator for ExactSum {
    fn grow(&mut self, groups: usize) {
        if self.totals.len() < groups {
            self.totals.resize(groups, Total::default());
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let totals = self.totals.as_mut_slice();
        match args.lane(0) {
            Lane::Long { values, .. } if rows.weights.is_none() => {
                rows.each(args.lane(0).nulls(), |id, row, _| {
                    let total = &mut totals[id];
                    total.sum += i128::from(values[row]);
                    total.count += 1;
                });
            }
            Lane::Long { values, .. } => rows.each(args.lane(0).nulls(), |id, row, weight| {
                let total = &mut totals[id];
                total.sum += i128::from(values[row]) * i128::from(weight);
                total.count += weight;
            }),
            Lane::Wide { values, .. } => {
                let mut overflow = false;
                rows.each(args.lane(0).nulls(), |id, row, weight| {
                    let total = &mut totals[id];
                    let (part, wide) = values[row].overflowing_mul(i128::from(weight));
                    let (sum, over) = total.sum.overflowing_add(part);
                    overflow |= wide | over;
                    total.sum = sum;
                    total.count += weight;
                });
                if overflow {
                    return Err(overflowed());
                }
            }
            Lane::Bytes(_) => return Err(Error::internal("a sum of texts")),
        }
        Ok(())
    }

    fn finish(&self, how: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        let average = how.function == Function::Avg;
        for id in ids {
            let Total { sum, count } = self.totals[*id as usize];
            if count == 0 && how.function != Function::Sum0 {
                out.push_null();
            } else if average {
                number::push_quotient(sum, i128::from(count), how, out)?;
            } else {
                number::push(sum, how, out)?;
            }
        }
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        ids.iter()
            .for_each(|id| self.totals[*id as usize] = Total::default());
    }

    fn shape(&self) -> Shape {
        Shape::scalar(vec![Form::Wide, Form::Long])
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        out.ids.extend_from_slice(ids);
        for id in ids {
            let total = self.totals[*id as usize];
            out.body[0].push_wide(total.sum);
            out.body[1].push_long(total.count);
        }
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (at, id) in from.ids.iter().enumerate() {
            let total = &mut self.totals[*id as usize];
            total.sum = total
                .sum
                .checked_add(from.body[0].wide(at))
                .ok_or_else(overflowed)?;
            total.count += from.body[1].long(at);
        }
        Ok(())
    }
}

fn overflowed() -> Error {
    Error::bad_data("a sum of decimals overflows 38 digits").hint("CAST the argument to DOUBLE")
}

/// A sum of floats: `high` with the rounding error `low`, and a count.
#[derive(Clone, Copy, Debug, Default)]
struct FloatTotal {
    high: f64,
    low: f64,
    count: i64,
}

impl FloatTotal {
    /// Adds a value without losing what rounding takes off (Knuth's two-sum).
    #[inline]
    fn add(&mut self, value: f64) {
        let sum = self.high + value;
        let part = sum - self.high;
        let error = (self.high - (sum - part)) + (value - part);
        self.high = sum;
        if error.is_finite() {
            self.low += error;
        }
    }

    #[inline]
    fn close(&mut self) {
        if self.count == 0 {
            *self = Self::default();
        }
    }

    fn value(self) -> f64 {
        self.high + self.low
    }
}

/// Sums of floats, a group each.
#[derive(Debug, Default)]
pub(crate) struct FloatSum {
    totals: Vec<FloatTotal>,
}

impl Accumulator for FloatSum {
    fn grow(&mut self, groups: usize) {
        if self.totals.len() < groups {
            self.totals.resize(groups, FloatTotal::default());
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let Lane::Long { values, .. } = args.lane(0) else {
            return Err(Error::internal("a sum of floats of another form"));
        };
        let totals = self.totals.as_mut_slice();
        rows.each(args.lane(0).nulls(), |id, row, weight| {
            let total = &mut totals[id];
            total.add(float_of_code(values[row]) * weight as f64);
            total.count += weight;
            total.close();
        });
        Ok(())
    }

    fn finish(&self, how: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        for id in ids {
            let total = self.totals[*id as usize];
            let sum = total.value();
            match how.function {
                Function::Avg if total.count != 0 => {
                    number::push_float(sum / total.count as f64, how, out)?
                }
                Function::Sum0 => number::push_float(sum, how, out)?,
                _ if total.count == 0 => out.push_null(),
                _ => number::push_float(sum, how, out)?,
            }
        }
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        ids.iter()
            .for_each(|id| self.totals[*id as usize] = FloatTotal::default());
    }

    fn shape(&self) -> Shape {
        Shape::scalar(vec![Form::Long, Form::Long, Form::Long])
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        out.ids.extend_from_slice(ids);
        for id in ids {
            let total = self.totals[*id as usize];
            out.body[0].push_long(code_of_float(total.high));
            out.body[1].push_long(code_of_float(total.low));
            out.body[2].push_long(total.count);
        }
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (at, id) in from.ids.iter().enumerate() {
            let total = &mut self.totals[*id as usize];
            total.add(float_of_code(from.body[0].long(at)));
            total.low += float_of_code(from.body[1].long(at));
            total.count += from.body[2].long(at);
            total.close();
        }
        Ok(())
    }
}
