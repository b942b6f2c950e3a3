//! Values from text: what a CSV field, a JSON string or an odd JSON number means in a column of some type.

use arrow::datatypes::{DataType, TimeUnit};

/// The name of a type as SQL writes it, for messages.
pub(crate) fn type_name(data_type: &DataType) -> String {
    let digits = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("TIME({})", digits(unit)),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(unit)),
        DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => "STRING".to_owned(),
        DataType::BinaryView | DataType::Binary | DataType::LargeBinary => "BYTES".to_owned(),
        DataType::List(item) => format!("ARRAY<{}>", type_name(item.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => format!(
                "MAP<{}, {}>",
                type_name(fields[0].data_type()),
                type_name(fields[1].data_type())
            ),
            _ => "MAP".to_owned(),
        },
        DataType::Struct(_) => "ROW".to_owned(),
        other => other.to_string(),
    }
}

/// A whole number in a range, as text; a plus sign and white space around it are allowed.
pub(crate) fn integer(text: &[u8], least: i64, most: i64) -> Option<i64> {
    let value: i64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    (least..=most).contains(&value).then_some(value)
}

/// A floating number truncated to a whole one in a range: what Flink makes of `1.5` or `1e3` in an INT column.
pub(crate) fn truncated(text: &[u8], least: i64, most: i64) -> Option<i64> {
    let value: f64 = fast_float2::parse(text).ok()?;
    let whole = value.trunc();
    // 2^63 is a double, the largest BIGINT is not.
    let fits = whole >= least as f64 && whole < most as f64 + 1.0;
    fits.then_some(whole as i64)
}

/// A floating number as text. `NaN` and `Infinity` are numbers here; one that is too large is none.
pub(crate) fn double(text: &[u8]) -> Option<f64> {
    match text.trim_ascii() {
        b"NaN" => Some(f64::NAN),
        b"Infinity" | b"+Infinity" => Some(f64::INFINITY),
        b"-Infinity" => Some(f64::NEG_INFINITY),
        digits => finite(fast_float2::parse(digits).ok()?, digits),
    }
}

/// As [`double`], for FLOAT.
pub(crate) fn float(text: &[u8]) -> Option<f32> {
    match text.trim_ascii() {
        b"NaN" => Some(f32::NAN),
        b"Infinity" | b"+Infinity" => Some(f32::INFINITY),
        b"-Infinity" => Some(f32::NEG_INFINITY),
        digits => {
            let value: f32 = fast_float2::parse(digits).ok()?;
            finite(f64::from(value), digits).map(|_| value)
        }
    }
}

fn finite(value: f64, digits: &[u8]) -> Option<f64> {
    let numeric = digits.iter().any(u8::is_ascii_digit);
    (value.is_finite() && numeric).then_some(value)
}

/// `true` or `false` in any case.
pub(crate) fn boolean(text: &[u8]) -> Option<bool> {
    let text = text.trim_ascii();
    if text.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"false") {
        Some(false)
    } else {
        None
    }
}

/// A decimal number, rounded half up (away from zero) to `scale` digits. The outer `None`: it is no number. The inner
/// one: it needs more than `precision` digits, which Flink makes NULL.
#[allow(
    clippy::option_option,
    reason = "the two absences mean different things"
)]
pub(crate) fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<Option<i128>> {
    let text = text.trim_ascii();
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        None => (rest, 0),
        Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        None => (mantissa, &[][..]),
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
    };
    let all_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    if !all_digits || whole.len() + fraction.len() == 0 {
        return None;
    }
    let digits = whole.iter().chain(fraction).map(|digit| digit - b'0');
    // How many of the digits stay: all up to `scale` places behind the point.
    let kept = whole.len() as i64 + exponent + i64::from(scale);
    let value = scaled(digits, kept);
    let limit = 10_i128.pow(u32::from(precision.min(38)));
    Some(
        value
            .filter(|value| *value < limit)
            .map(|value| if negative { -value } else { value }),
    )
}

fn exponent(text: &[u8]) -> Option<i64> {
    let value: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(value.clamp(-1_000_000_000, 1_000_000_000))
}

/// The first `kept` digits as a number, rounded by the next one; zeros are added where there are too few.
fn scaled(digits: impl Iterator<Item = u8>, kept: i64) -> Option<i128> {
    let mut value: i128 = 0;
    let mut left = kept;
    for digit in digits {
        if left <= 0 {
            let up = left == 0 && digit >= 5;
            return Some(value + i128::from(up));
        }
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
        left -= 1;
    }
    if value == 0 || left <= 0 {
        return Some(value);
    }
    let factor = 10_i128.checked_pow(u32::try_from(left).ok()?)?;
    value.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_half_up_and_overflow_to_null() {
        let of = |text: &str| decimal(text.as_bytes(), 6, 2);
        assert_eq!(of("1"), Some(Some(100)));
        assert_eq!(of("1.005"), Some(Some(101)));
        assert_eq!(of("-1.005"), Some(Some(-101)));
        assert_eq!(of("1.00499"), Some(Some(100)));
        assert_eq!(of(" 12.3e1 "), Some(Some(12_300)));
        assert_eq!(of("123456e-4"), Some(Some(1235)));
        assert_eq!(of("0.004"), Some(Some(0)));
        assert_eq!(of("5e-3"), Some(Some(1)));
        assert_eq!(of("5e-4"), Some(Some(0)));
        assert_eq!(of("0e999999999999"), Some(Some(0)));
        assert_eq!(of("0e99999"), Some(Some(0)));
        assert_eq!(of("9999.99"), Some(Some(999_999)));
        assert_eq!(of("9999.995"), Some(None));
        assert_eq!(of("1e400"), Some(None));
        assert_eq!(of("1e-400"), Some(Some(0)));
        for text in ["", "-", ".", "1.2.3", "0x1", "NaN", "1e", "--1"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_beyond_their_type_are_none() {
        assert_eq!(integer(b" +127 ", -128, 127), Some(127));
        assert_eq!(integer(b"128", -128, 127), None);
        assert_eq!(truncated(b"1.9e0", -128, 127), Some(1));
        assert_eq!(
            truncated(b"9223372036854775808.0", i64::MIN, i64::MAX),
            None
        );
        assert_eq!(
            truncated(b"-9223372036854775808.0", i64::MIN, i64::MAX),
            Some(i64::MIN)
        );
        assert_eq!(double(b"1e400"), None);
        assert_eq!(double(b"inf"), None);
        assert_eq!(double(b"-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(float(b"1e39"), None);
        assert_eq!(float(b"0.1"), Some(0.1));
    }
}
