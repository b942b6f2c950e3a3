//! Dates and times as text, both ways. The calendar is the proleptic Gregorian one, years 0000 to 9999.

/// What stands between date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A space: `2024-02-29 23:59:59.999`.
    Sql,
    /// A `T`: `2024-02-29T23:59:59.999`.
    Iso,
    /// Either when read, a space when written.
    Any,
}

impl Style {
    fn allows(self, byte: u8) -> bool {
        match self {
            Self::Sql => byte == b' ',
            Self::Iso => byte == b'T',
            Self::Any => matches!(byte, b' ' | b'T'),
        }
    }
}

/// Days since 1970-01-01 of a date that exists.
pub(crate) fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year.
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let day = of_year - (153 * march + 2) / 5 + 1;
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The number that exactly these digits are.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit <= 9).then(|| value * 10 + i64::from(digit))
    })
}

/// Days since 1970-01-01 of `yyyy-MM-dd`.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else {
        return None;
    };
    let days = days(
        number(&[y1, y2, y3, y4])?,
        number(&[m1, m2])?,
        number(&[d1, d2])?,
    )?;
    i32::try_from(days).ok()
}

/// Nanoseconds since midnight of `HH:mm[:ss[.fraction]]`.
pub(crate) fn parse_time(text: &[u8]) -> Option<i64> {
    let (hour_minute, rest) = text.split_at_checked(5)?;
    let [h1, h2, b':', m1, m2] = *hour_minute else {
        return None;
    };
    let (hour, minute) = (number(&[h1, h2])?, number(&[m1, m2])?);
    let (second, fraction) = match *rest {
        [] => (0, &[][..]),
        [b':', s1, s2] => (number(&[s1, s2])?, &[][..]),
        [b':', s1, s2, b'.', ref fraction @ ..] => (number(&[s1, s2])?, fraction),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 || fraction.len() > 9 {
        return None;
    }
    let nanos = number(fraction)? * 10_i64.pow(9 - fraction.len() as u32);
    Some(((hour * 60 + minute) * 60 + second) * 1_000_000_000 + nanos)
}

/// Seconds and nanoseconds since the epoch of a date and time. With `zoned` the text must end with `Z` or an offset
/// `+01:00` (which is subtracted), or may lack it in [`Style::Any`].
pub(crate) fn parse_timestamp(text: &[u8], style: Style, zoned: bool) -> Option<(i64, u32)> {
    let (date, rest) = text.split_at_checked(10)?;
    let (separator, time) = rest.split_first()?;
    if !style.allows(*separator) {
        return None;
    }
    let (time, offset) = match zoned {
        true => split_offset(time, style)?,
        false => (time, 0),
    };
    let nanos = parse_time(time)?;
    let seconds = i64::from(parse_date(date)?) * 86_400 + nanos.div_euclid(1_000_000_000) - offset;
    Some((seconds, (nanos % 1_000_000_000) as u32))
}

/// The time without its zone, and the zone's seconds east of UTC.
fn split_offset(time: &[u8], style: Style) -> Option<(&[u8], i64)> {
    if let [time @ .., b'Z'] = time {
        return Some((time, 0));
    }
    if let [time @ .., sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = time {
        let seconds = (number(&[*h1, *h2])? * 60 + number(&[*m1, *m2])?) * 60;
        return (seconds <= 18 * 3600)
            .then_some((time, if *sign == b'-' { -seconds } else { seconds }));
    }
    (style == Style::Any).then_some((time, 0))
}

fn push_digits(out: &mut Vec<u8>, value: i64, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (value / 10_i64.pow(place) % 10) as u8);
    }
}

/// Appends `yyyy-MM-dd`.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    if (0..=9999).contains(&year) {
        push_digits(out, year, 4);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        let width = year.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
        push_digits(out, year.abs(), width.max(4));
    }
    out.push(b'-');
    push_digits(out, month, 2);
    out.push(b'-');
    push_digits(out, day, 2);
}

/// Appends `HH:mm:ss` and as many digits of the fraction as are needed, at least `digits_min`.
pub(crate) fn write_time(out: &mut Vec<u8>, nanos: i64, digits_min: u32) {
    let seconds = nanos / 1_000_000_000;
    push_digits(out, seconds / 3600, 2);
    out.push(b':');
    push_digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    push_digits(out, seconds % 60, 2);
    let mut fraction = nanos % 1_000_000_000;
    let mut digits = 9;
    while digits > digits_min && fraction % 10 == 0 {
        fraction /= 10;
        digits -= 1;
    }
    if digits > 0 {
        out.push(b'.');
        push_digits(out, fraction, digits);
    }
}

/// Appends date and time of an instant, and `Z` if it has a zone.
pub(crate) fn write_timestamp(
    out: &mut Vec<u8>,
    seconds: i64,
    nanos: i64,
    style: Style,
    zoned: bool,
) {
    write_date(out, seconds.div_euclid(86_400));
    out.push(if style == Style::Iso { b'T' } else { b' ' });
    write_time(out, seconds.rem_euclid(86_400) * 1_000_000_000 + nanos, 0);
    if zoned {
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(seconds: i64, nanos: i64, style: Style, zoned: bool) -> String {
        let mut out = Vec::new();
        write_timestamp(&mut out, seconds, nanos, style, zoned);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_that_do_not_exist_are_none() {
        assert_eq!(parse_date(b"1970-01-01"), Some(0));
        assert_eq!(parse_date(b"2024-02-29"), Some(19_782));
        assert_eq!(parse_date(b"0000-01-01"), Some(-719_528));
        for text in [
            "2026-02-30",
            "2023-02-29",
            "1900-02-29",
            "2024-13-01",
            "2024-00-10",
            "2024-1-1",
            "24-01-01",
            "",
        ] {
            assert_eq!(parse_date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn every_day_comes_back() {
        for day in (-719_528..2_932_896).step_by(97) {
            let mut out = Vec::new();
            write_date(&mut out, day);
            assert_eq!(parse_date(&out).map(i64::from), Some(day));
        }
    }

    #[test]
    fn timestamps_have_the_style_asked_for() {
        let sql = b"2024-03-01 08:00:00.123";
        assert_eq!(
            parse_timestamp(sql, Style::Sql, false),
            Some((1_709_280_000, 123_000_000))
        );
        assert_eq!(parse_timestamp(sql, Style::Iso, false), None);
        assert_eq!(parse_timestamp(sql, Style::Sql, true), None);
        assert_eq!(
            parse_timestamp(b"2024-03-01T09:00:00+01:00", Style::Iso, true),
            Some((1_709_280_000, 0))
        );
        assert_eq!(
            parse_timestamp(b"2024-03-01 24:00:00", Style::Sql, false),
            None
        );
        assert_eq!(
            written(1_709_280_000, 123_000_000, Style::Sql, false),
            "2024-03-01 08:00:00.123"
        );
        assert_eq!(
            written(-1, 999_999_999, Style::Iso, true),
            "1969-12-31T23:59:59.999999999Z"
        );
    }
}
