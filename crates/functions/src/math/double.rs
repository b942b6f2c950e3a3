//! The functions whose result is always DOUBLE: roots, logarithms, angles, PI() and E().

use std::f64::consts;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes, takes_optional};

pub(crate) fn functions() -> Vec<Function> {
    let of_one = |name, eval| {
        Function::new(
            name,
            takes(&[Kind::Double]),
            |_| Ok(DataType::Float64),
            eval,
        )
    };
    let of_two = |name, eval| {
        Function::new(
            name,
            takes(&[Kind::Double, Kind::Double]),
            |_| Ok(DataType::Float64),
            eval,
        )
    };
    let constant = |name, eval| Function::new(name, takes(&[]), |_| Ok(DataType::Float64), eval);
    vec![
        of_one("sqrt", |call| each(call, f64::sqrt)),
        of_one("exp", |call| each(call, f64::exp)),
        of_one("ln", |call| each(call, f64::ln)),
        of_one("log10", |call| each(call, f64::log10)),
        of_one("log2", |call| each(call, f64::log2)),
        of_one("sin", |call| each(call, f64::sin)),
        of_one("sinh", |call| each(call, f64::sinh)),
        of_one("cos", |call| each(call, f64::cos)),
        of_one("cosh", |call| each(call, f64::cosh)),
        of_one("tan", |call| each(call, f64::tan)),
        of_one("tanh", |call| each(call, f64::tanh)),
        of_one("cot", |call| each(call, |value| 1.0 / value.tan())),
        of_one("asin", |call| each(call, f64::asin)),
        of_one("acos", |call| each(call, f64::acos)),
        of_one("atan", |call| each(call, f64::atan)),
        of_one("degrees", |call| {
            each(call, |value| value * (180.0 / consts::PI))
        }),
        of_one("radians", |call| {
            each(call, |value| value * (consts::PI / 180.0))
        }),
        of_two("atan2", |call| pairs(call, f64::atan2)),
        of_two("power", |call| pairs(call, f64::powf)).aliases(&["pow"]),
        Function::new(
            "log",
            takes_optional(&[Kind::Double], &[Kind::Double]),
            |_| Ok(DataType::Float64),
            log,
        ),
        constant("pi", |call| call.doubles(|_| Some(consts::PI))),
        constant("e", |call| call.doubles(|_| Some(consts::E))),
    ]
}

fn each(call: &Call<'_>, of: fn(f64) -> f64) -> Result<ArrayRef> {
    let values = call.double(0)?;
    call.doubles(|row| values.get(row).map(of))
}

fn pairs(call: &Call<'_>, of: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (left, right) = (call.double(0)?, call.double(1)?);
    call.doubles(|row| Some(of(left.get(row)?, right.get(row)?)))
}

/// The natural logarithm, or the second argument's to the base of the first.
fn log(call: &Call<'_>) -> Result<ArrayRef> {
    if call.len() == 1 {
        each(call, f64::ln)
    } else {
        pairs(call, |base, value| value.ln() / base.ln())
    }
}
