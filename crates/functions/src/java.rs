//! FLOAT and DOUBLE as text, and text as DOUBLE, as Java's `toString` and `parseDouble` define them.

use std::fmt::{LowerExp, Write};

/// Appends the shortest text that reads back as the value: `1.5`, `1.0E10`, `1.0E-7`.
pub(crate) fn write_f64(value: f64, out: &mut String) {
    if value.is_finite() {
        write_finite(value, out);
    } else {
        out.push_str(not_finite(value));
    }
}

/// Appends the shortest text that reads back as the value.
pub(crate) fn write_f32(value: f32, out: &mut String) {
    if value.is_finite() {
        write_finite(value, out);
    } else {
        out.push_str(not_finite(value.into()));
    }
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// The shortest digits and the exponent of the first: 123.4 is `1234` and 2.
pub(crate) struct Shortest {
    bytes: [u8; 40],
    len: usize,
}

impl Shortest {
    /// Of a finite value.
    pub(crate) fn of(value: impl LowerExp) -> Self {
        let mut text = Self {
            bytes: [0; 40],
            len: 0,
        };
        // A finite f64 needs at most 24 bytes.
        let _ = write!(text, "{value:e}");
        text
    }

    /// Whether it is negative, its digits (with a point after the first) and its exponent.
    pub(crate) fn parts(&self) -> (bool, &str, &str, i32) {
        let text = std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("0e0");
        let (negative, text) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (first, rest) = digits.split_once('.').unwrap_or((digits, ""));
        (negative, first, rest, exponent.parse().unwrap_or(0))
    }
}

impl Write for Shortest {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let end = self.len + s.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(std::fmt::Error)?
            .copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

fn write_finite(value: impl LowerExp, out: &mut String) {
    let shortest = Shortest::of(value);
    let (negative, first, rest, exponent) = shortest.parts();
    if negative {
        out.push('-');
    }
    match exponent {
        0..7 => {
            let exponent = exponent.unsigned_abs() as usize;
            out.push_str(first);
            let whole = rest.len().min(exponent);
            out.push_str(&rest[..whole]);
            out.extend(std::iter::repeat_n('0', exponent - whole));
            out.push('.');
            out.push_str(if rest.len() > exponent {
                &rest[exponent..]
            } else {
                "0"
            });
        }
        -3..0 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n(
                '0',
                exponent.unsigned_abs() as usize - 1,
            ));
            out.push_str(first);
            out.push_str(rest);
        }
        _ => {
            out.push_str(first);
            out.push('.');
            out.push_str(if rest.is_empty() { "0" } else { rest });
            out.push('E');
            out.push_str(itoa::Buffer::new().format(exponent));
        }
    }
}

/// Reads what `Double.parseDouble` reads, but for hexadecimal numbers.
pub(crate) fn parse_f64(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        "NaN" => return Some(f64::NAN),
        "Infinity" => {
            return Some(if text.starts_with('-') {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        _ => {}
    }
    let number = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    // Rust's own words for the special values are not Java's.
    if number
        .bytes()
        .any(|b| !matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        return None;
    }
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64) -> String {
        let mut out = String::new();
        write_f64(value, &mut out);
        out
    }

    #[test]
    fn doubles_print_as_in_java() {
        for (value, expected) in [
            (1.5, "1.5"),
            (1e10, "1.0E10"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (0.001, "0.001"),
            (0.000_999, "9.99E-4"),
            (1e-7, "1.0E-7"),
            (123_456_789.125, "1.23456789125E8"),
            (100.0, "100.0"),
            (-0.0, "-0.0"),
            (0.0, "0.0"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(value), expected);
        }
        let mut out = String::new();
        write_f32(3.4e38, &mut out);
        assert_eq!(out, "3.4E38");
    }

    #[test]
    fn parses_as_java() {
        assert_eq!(parse_f64(" 1e3 "), Some(1000.0));
        assert_eq!(parse_f64("1d"), Some(1.0));
        assert_eq!(parse_f64("-Infinity"), Some(f64::NEG_INFINITY));
        for bad in ["", "inf", "nan", "abc", "1e", "e5", "1 2"] {
            assert_eq!(parse_f64(bad), None, "{bad}");
        }
    }
}
