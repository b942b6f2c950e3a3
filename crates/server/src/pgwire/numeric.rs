//! Decimals as Postgres writes them: text, and groups of four digits.

use bytes::{BufMut, BytesMut};

/// A value of a scale, as text with all its digits.
pub(crate) fn digits(value: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

/// Writes a value as text.
pub(crate) fn text(value: i128, scale: u8, out: &mut BytesMut) {
    out.put_slice(digits(value, scale).as_bytes());
}

/// Writes a decimal text as Postgres's binary numeric: digits in base 10,000 around the point.
pub(crate) fn binary(text: &str, out: &mut BytesMut) {
    let (is_negative, text) = text
        .strip_prefix('-')
        .map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let padding = (4 - whole.len() % 4) % 4;
    let whole = format!("{}{whole}", "0".repeat(padding));
    let fraction_padding = (4 - fraction.len() % 4) % 4;
    let all = format!("{whole}{fraction}{}", "0".repeat(fraction_padding));
    let group = |digits: &[u8]| {
        digits
            .iter()
            .fold(0i16, |sum, digit| sum * 10 + i16::from(digit - b'0'))
    };
    let mut groups: Vec<i16> = all.as_bytes().chunks(4).map(group).collect();
    let mut weight = (whole.len() / 4) as i16 - 1;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= leading as i16;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    out.put_i16(groups.len() as i16);
    out.put_i16(weight);
    out.put_u16(if is_negative && !groups.is_empty() {
        0x4000
    } else {
        0
    });
    out.put_i16(fraction.len() as i16);
    groups.iter().for_each(|group| out.put_i16(*group));
}

/// Reads Postgres's binary numeric as a decimal text; `None` if it is not one, or NaN or infinite.
pub(crate) fn from_binary(bytes: &[u8]) -> Option<String> {
    let int = |at: usize| Some(i16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let (count, weight, sign, scale) = (
        int(0)?,
        int(2)?,
        int(4)? as u16,
        usize::try_from(int(6)?).ok()?,
    );
    let count = usize::try_from(count).ok()?;
    if bytes.len() != 8 + 2 * count
        || !(sign == 0 || sign == 0x4000)
        || !(-32..=32).contains(&weight)
        || scale > 128
    {
        return None;
    }
    let group = |idx: i16| -> Option<i16> {
        let at = i32::from(weight) - i32::from(idx);
        let found = usize::try_from(at)
            .ok()
            .filter(|at| *at < count)
            .map_or(Some(0), |at| int(8 + 2 * at))?;
        (0..10_000).contains(&found).then_some(found)
    };
    let mut text = String::new();
    for idx in (0..=weight.max(0)).rev() {
        text.push_str(&format!("{:04}", group(idx)?));
    }
    let whole = text.trim_start_matches('0');
    let mut text = format!(
        "{}{}",
        if sign == 0 { "" } else { "-" },
        if whole.is_empty() { "0" } else { whole }
    );
    if scale > 0 {
        let mut fraction = String::new();
        for idx in 1..=scale.div_ceil(4) {
            fraction.push_str(&format!("{:04}", group(-(idx as i16))?));
        }
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let mut out = BytesMut::new();
        binary(text, &mut out);
        out.to_vec()
    }

    #[test]
    fn text_keeps_all_digits() {
        assert_eq!(digits(-5, 2), "-0.05");
        assert_eq!(
            digits(i128::MAX, 0),
            "170141183460469231731687303715884105727"
        );
        assert_eq!(digits(120, 1), "12.0");
        assert_eq!(digits(0, 3), "0.000");
    }

    #[test]
    fn binary_as_postgres_sends_it() {
        assert_eq!(
            bytes("12345.678"),
            [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c]
        );
        assert_eq!(bytes("0"), [0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes("-0.0001"), [0, 1, 0xff, 0xff, 0x40, 0, 0, 4, 0, 1]);
    }

    #[test]
    fn binary_and_back() {
        for text in [
            "0",
            "1",
            "-1",
            "10000",
            "99999999999999999999999999999999999999",
            "0.05",
            "-123.4500",
            "0.00000001",
            "1000000.01",
            "0.00",
        ] {
            assert_eq!(from_binary(&bytes(text)).as_deref(), Some(text), "{text}");
        }
        assert_eq!(from_binary(&[0, 0, 0, 0, 0xc0, 0, 0, 0]), None);
        assert_eq!(from_binary(&[0, 9]), None);
    }
}
