//! PRINTF: `%s %d %x %o %f %e %b %c %%` with flags, width and precision as in `java.util.Formatter`.

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringViewArray};
use arrow::datatypes::DataType;

use super::{characters, count};
use crate::call::{Arg, Call};
use crate::error::Result;
use crate::function::{Function, Kind, takes_more};

pub(crate) fn functions() -> Vec<Function> {
    vec![Function::new(
        "printf",
        takes_more(&[Kind::Text], Kind::Any),
        |_| Ok(DataType::Utf8View),
        printf,
    )]
}

/// An argument in the forms that a conversion may ask for.
struct Value {
    text: Arg<StringViewArray>,
    long: Option<Arg<Int64Array>>,
    double: Option<Arg<Float64Array>>,
    boolean: bool,
}

fn printf(call: &Call<'_>) -> Result<ArrayRef> {
    let formats = call.text(0)?;
    let values: Result<Vec<Value>> = (1..call.len())
        .map(|idx| {
            let data_type = call.arg(idx)?.array.data_type().clone();
            Ok(Value {
                text: call.text(idx)?,
                long: if data_type.is_integer() {
                    Some(call.long(idx)?)
                } else {
                    None
                },
                double: if data_type.is_numeric() && !data_type.is_integer() {
                    Some(call.double(idx)?)
                } else {
                    None
                },
                boolean: data_type == DataType::Boolean,
            })
        })
        .collect();
    let values = values?;
    call.texts(|row, out| {
        let Some(format) = formats.get(row) else {
            return Ok(false);
        };
        Ok(write(format, &values, row, out).is_some())
    })
}

/// `%[index$][flags][width][.precision]conversion`
#[derive(Default)]
struct Spec {
    index: Option<usize>,
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    grouped: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// `None` is a format that does not go with the arguments.
fn write(format: &str, values: &[Value], row: usize, out: &mut String) -> Option<()> {
    let mut next = 0;
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (spec, conversion, after) = parse(&rest[at + 1..])?;
        rest = after;
        let body = match conversion {
            '%' => "%".to_string(),
            'n' => "\n".to_string(),
            conversion => {
                let idx = match spec.index {
                    Some(idx) => idx.checked_sub(1)?,
                    None => {
                        next += 1;
                        next - 1
                    }
                };
                body(&spec, conversion, values.get(idx)?, row)?
            }
        };
        let missing = spec.width.saturating_sub(count(&body));
        if missing > super::TEXT_MAX {
            return None;
        }
        if !spec.left {
            out.extend(std::iter::repeat_n(' ', missing));
        }
        out.push_str(&body);
        if spec.left {
            out.extend(std::iter::repeat_n(' ', missing));
        }
    }
    out.push_str(rest);
    Some(())
}

fn parse(text: &str) -> Option<(Spec, char, &str)> {
    let mut spec = Spec::default();
    let mut rest = text;
    let digits = |text: &str| {
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let number = digits(rest);
    if number > 0 && rest[number..].starts_with('$') {
        spec.index = rest[..number].parse().ok();
        rest = &rest[number + 1..];
    }
    while let Some(flag) = rest.chars().next() {
        match flag {
            '-' => spec.left = true,
            '+' => spec.plus = true,
            ' ' => spec.space = true,
            '0' => spec.zero = true,
            ',' => spec.grouped = true,
            '#' => spec.alternate = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    let width = digits(rest);
    if width > 0 {
        spec.width = rest[..width].parse().ok()?;
        rest = &rest[width..];
    }
    if let Some(behind) = rest.strip_prefix('.') {
        let precision = digits(behind);
        // More digits than any value has.
        spec.precision = Some(behind[..precision].parse().ok()?).filter(|digits| *digits <= 1000);
        spec.precision?;
        rest = &behind[precision..];
    }
    let conversion = rest.chars().next()?;
    Some((spec, conversion, &rest[conversion.len_utf8()..]))
}

fn body(spec: &Spec, conversion: char, value: &Value, row: usize) -> Option<String> {
    let text = value.text.get(row);
    let body = match conversion.to_ascii_lowercase() {
        's' => cut(text.unwrap_or("null"), spec).to_string(),
        'b' => {
            let is_true = text.is_some_and(|text| !value.boolean || text == "TRUE");
            cut(if is_true { "true" } else { "false" }, spec).to_string()
        }
        _ if text.is_none() => cut("null", spec).to_string(),
        'd' => number(spec, &value.long.as_ref()?.get(row)?.to_string()),
        'x' => prefixed(spec, "0x", format!("{:x}", value.long.as_ref()?.get(row)?)),
        'o' => prefixed(spec, "0", format!("{:o}", value.long.as_ref()?.get(row)?)),
        'f' => number(
            spec,
            &fixed(
                value.double.as_ref()?.get(row)?,
                spec.precision.unwrap_or(6),
            ),
        ),
        'e' => number(
            spec,
            &scientific(
                value.double.as_ref()?.get(row)?,
                spec.precision.unwrap_or(6),
            ),
        ),
        'c' => match &value.long {
            Some(long) => char::from_u32(u32::try_from(long.get(row)?).ok()?)?.to_string(),
            None => text.filter(|text| count(text) == 1)?.to_string(),
        },
        _ => return None,
    };
    Some(if conversion.is_ascii_uppercase() {
        body.to_uppercase()
    } else {
        body
    })
}

fn cut<'a>(text: &'a str, spec: &Spec) -> &'a str {
    spec.precision
        .map_or(text, |precision| characters(text, 0, precision))
}

fn prefixed(spec: &Spec, prefix: &str, digits: String) -> String {
    let digits = if spec.alternate {
        format!("{prefix}{digits}")
    } else {
        digits
    };
    let missing = if spec.zero {
        spec.width.min(1 << 16).saturating_sub(digits.len())
    } else {
        0
    };
    format!("{}{digits}", "0".repeat(missing))
}

/// Half up in decimal, not in binary.
fn fixed(value: f64, precision: usize) -> String {
    let scale = i8::try_from(precision).ok().filter(|scale| *scale <= 20);
    match scale.and_then(|scale| {
        crate::cast::shortest_decimal(value, scale).map(|unscaled| (unscaled, scale))
    }) {
        Some((unscaled, scale)) if value.is_finite() => {
            let mut out = String::new();
            crate::decimal::write(unscaled, scale, &mut out);
            out
        }
        _ => format!("{value:.precision$}"),
    }
}

/// Two digits of exponent at least.
fn scientific(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let sign = if exponent.starts_with('-') { '-' } else { '+' };
    format!("{mantissa}e{sign}{:0>2}", exponent.trim_start_matches('-'))
}

/// Signs, groups of three and leading zeros.
fn number(spec: &Spec, text: &str) -> String {
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits
        .split_once('.')
        .map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut out = String::new();
    for (idx, c) in whole.chars().enumerate() {
        if spec.grouped && idx > 0 && (whole.len() - idx) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    let sign = match (negative, spec.plus, spec.space) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    };
    let missing = if spec.zero {
        spec.width
            .min(1 << 16)
            .saturating_sub(out.len() + sign.len())
    } else {
        0
    };
    format!("{sign}{}{out}", "0".repeat(missing))
}
