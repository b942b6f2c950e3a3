//! DECIMAL values as unscaled `i128`: rescaling HALF_UP, bounds of a precision, and their texts.

use arrow::datatypes::i256;

/// The powers of ten that fit.
pub(crate) const POW10: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut idx = 1;
    while idx < 39 {
        powers[idx] = powers[idx - 1] * 10;
        idx += 1;
    }
    powers
};

/// The power of ten, where it fits.
#[inline]
pub(crate) fn pow10(exponent: u32) -> Option<i128> {
    POW10.get(exponent as usize).copied()
}

/// The power of ten in 256 bits, where it fits.
pub(crate) fn pow10_wide(exponent: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(exponent)
}

/// Whether the value has no more digits than the precision.
#[inline]
pub(crate) fn fits(value: i128, precision: u8) -> bool {
    match POW10.get(usize::from(precision)) {
        Some(bound) => value.unsigned_abs() < bound.unsigned_abs(),
        None => true,
    }
}

/// The quotient, rounded half away from zero. The divisor is not zero.
#[inline]
pub(crate) fn divide_half_up(dividend: i128, divisor: i128) -> i128 {
    let quotient = dividend / divisor;
    let rest = (dividend % divisor).unsigned_abs();
    if rest >= divisor.unsigned_abs() - rest {
        if (dividend < 0) == (divisor < 0) {
            quotient + 1
        } else {
            quotient - 1
        }
    } else {
        quotient
    }
}

/// The quotient in 256 bits, rounded half away from zero. The divisor is not zero.
pub(crate) fn divide_half_up_wide(dividend: i256, divisor: i256) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?.checked_abs()?;
    if rest >= divisor.checked_abs()?.checked_sub(rest)? {
        let one = i256::from_i128(1);
        let same_sign = (dividend < i256::ZERO) == (divisor < i256::ZERO);
        return if same_sign {
            quotient.checked_add(one)
        } else {
            quotient.checked_sub(one)
        };
    }
    Some(quotient)
}

/// The value with another number of digits after the point, rounded HALF_UP.
#[inline]
pub(crate) fn rescale(value: i128, from: i8, to: i8) -> Option<i128> {
    let shift = i32::from(to) - i32::from(from);
    if shift >= 0 {
        return match pow10(shift.unsigned_abs()) {
            Some(power) => value.checked_mul(power),
            None => (value == 0).then_some(0),
        };
    }
    Some(pow10(shift.unsigned_abs()).map_or(0, |power| divide_half_up(value, power)))
}

/// The value with another number of digits after the point in 256 bits, rounded HALF_UP.
pub(crate) fn rescale_wide(value: i256, from: i32, to: i32) -> Option<i256> {
    let shift = to - from;
    if shift >= 0 {
        return value.checked_mul(pow10_wide(shift.unsigned_abs())?);
    }
    match pow10_wide(shift.unsigned_abs()) {
        Some(power) => divide_half_up_wide(value, power),
        None => Some(i256::ZERO),
    }
}

/// The part before the point, toward zero.
#[inline]
pub(crate) fn whole(value: i128, scale: i8) -> i128 {
    match scale {
        0 => value,
        scale if scale > 0 => POW10
            .get(scale.unsigned_abs() as usize)
            .map_or(0, |power| value / power),
        scale => value.saturating_mul(
            POW10
                .get(scale.unsigned_abs() as usize)
                .copied()
                .unwrap_or(1),
        ),
    }
}

/// The nearest DOUBLE.
pub(crate) fn to_f64(value: i128, scale: i8) -> f64 {
    // Both operands are exact here, so that the one division rounds once.
    if value.unsigned_abs() < 1 << 53 && (0..=22).contains(&scale) {
        #[allow(
            clippy::cast_precision_loss,
            reason = "below 2^53 and 10^22 both are exact"
        )]
        return value as f64 / POW10[scale.unsigned_abs() as usize] as f64;
    }
    format!("{value}e{}", -i32::from(scale))
        .parse()
        .unwrap_or(f64::NAN)
}

/// Appends the value in plain digits, with as many after the point as the scale says.
pub(crate) fn write(value: i128, scale: i8, out: &mut String) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs());
    if value < 0 {
        out.push('-');
    }
    let Ok(scale) = usize::try_from(scale) else {
        out.push_str(digits);
        if value != 0 {
            out.extend(std::iter::repeat_n('0', scale.unsigned_abs().into()));
        }
        return;
    };
    if scale == 0 {
        out.push_str(digits);
    } else if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    } else {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', scale - digits.len()));
        out.push_str(digits);
    }
}

/// Reads `-12.5e3` at a scale, rounded HALF_UP. `None` is a text that is no number, or one of more than 38 digits.
pub(crate) fn parse(text: &str, scale: i8) -> Option<i128> {
    let text = text.trim_matches([' ', '\n', '\t', '\r']);
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], parse_exponent(&unsigned[at + 1..])?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let point = i32::try_from(whole.trim_start_matches('0').len())
        .ok()?
        .checked_add(exponent)?;
    let significant = point.checked_add(i32::from(scale))?;
    let mut value: i128 = 0;
    let mut taken: i32 = 0;
    let mut up = false;
    for byte in whole
        .trim_start_matches('0')
        .bytes()
        .chain(fraction.bytes())
    {
        if !byte.is_ascii_digit() {
            return None;
        }
        if taken < significant {
            value = value
                .checked_mul(10)?
                .checked_add(i128::from(byte - b'0'))?;
        } else if taken == significant {
            up = byte >= b'5';
        }
        taken = taken.checked_add(1)?;
    }
    if value != 0 && taken < significant {
        value = value.checked_mul(pow10((significant - taken).unsigned_abs())?)?;
    }
    value = value.checked_add(i128::from(up))?;
    Some(if negative { -value } else { value })
}

fn parse_exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Beyond that everything is zero or too large.
    let exponent = digits.parse::<i32>().unwrap_or(100_000).min(100_000);
    Some(if text.starts_with('-') {
        -exponent
    } else {
        exponent
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_rounds_half_up() {
        assert_eq!(parse("9999.994", 2), Some(999_999));
        assert_eq!(parse("-0.005", 2), Some(-1));
        assert_eq!(parse(" 1e3 ", 2), Some(100_000));
        assert_eq!(parse("1e-7", 2), Some(0));
        assert_eq!(parse("5e-3", 2), Some(1));
        assert_eq!(parse("0.0001e4", 0), Some(1));
        assert_eq!(parse(".5", 1), Some(5));
        assert_eq!(parse("5.", 1), Some(50));
        for bad in ["", "-", ".", "1e", "1.2.3", "abc", "1 2", "١"] {
            assert_eq!(parse(bad, 2), None, "{bad}");
        }
        assert_eq!(parse("1e400", 2), None);
        assert_eq!(parse("0e400", 2), Some(0));
    }

    #[test]
    fn rounds_away_from_zero() {
        assert_eq!(divide_half_up(-25, 10), -3);
        assert_eq!(divide_half_up(24, -10), -2);
        assert_eq!(rescale(2675, 3, 2), Some(268));
        assert_eq!(rescale(i128::MAX, 0, 2), None);
        assert_eq!(rescale(5, 38, -2), Some(0));
    }

    #[test]
    fn writes_plain_digits() {
        let text = |value, scale| {
            let mut out = String::new();
            write(value, scale, &mut out);
            out
        };
        assert_eq!(text(-5, 2), "-0.05");
        assert_eq!(text(1050, 2), "10.50");
        assert_eq!(text(7, 0), "7");
        assert_eq!(text(7, -2), "700");
        assert_eq!(
            text(i128::MIN, 38),
            "-1.70141183460469231731687303715884105728"
        );
    }

    #[test]
    fn doubles_are_the_nearest() {
        assert_eq!(to_f64(102_500, 4).to_bits(), 10.25f64.to_bits());
        assert_eq!(
            to_f64(123_456_789_012_345_678_901, 10).to_bits(),
            "12345678901.2345678901".parse::<f64>().unwrap().to_bits()
        );
    }
}
