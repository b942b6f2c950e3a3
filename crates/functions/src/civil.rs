//! The proleptic Gregorian calendar: days since 1970-01-01 to year, month and day and back, and moments in time.

use arrow::datatypes::TimeUnit;

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day {
    pub(crate) year: i32,
    pub(crate) month: u32,
    pub(crate) day: u32,
}

impl Day {
    /// The day that many days after 1970-01-01, counted in eras of 400 years that start in March.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded by the era's length"
    )]
    pub(crate) fn from_days(days: i64) -> Self {
        let shifted = days.saturating_add(719_468);
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = (of_year - (153 * from_march + 2) / 5 + 1) as u32;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        } as u32;
        let year = (year_of_era + era * 400) as i32 + i32::from(month <= 2);
        Self { year, month, day }
    }

    /// Days since 1970-01-01.
    pub(crate) fn to_days(self) -> i64 {
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let from_march = i64::from((self.month + 9) % 12);
        let of_year = (153 * from_march + 2) / 5 + i64::from(self.day) - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        era * 146_097 + of_era - 719_468
    }

    /// The day, where the calendar has it.
    pub(crate) fn new(year: i32, month: u32, day: u32) -> Option<Self> {
        let exists = (1..=12).contains(&month) && day >= 1 && day <= last_day(year, month);
        exists.then_some(Self { year, month, day })
    }

    /// The day in another month; the 31st becomes the month's last day.
    pub(crate) fn plus_months(self, months: i64) -> Self {
        let total = (i64::from(self.year) * 12 + i64::from(self.month) - 1).saturating_add(months);
        let year = i32::try_from(total.div_euclid(12)).unwrap_or(if months < 0 {
            i32::MIN
        } else {
            i32::MAX
        });
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 11"
        )]
        let month = total.rem_euclid(12) as u32 + 1;
        Self {
            year,
            month,
            day: self.day.min(last_day(year, month)),
        }
    }

    /// The day of the year, from 1.
    pub(crate) fn of_year(self) -> i64 {
        self.to_days()
            - Self {
                month: 1,
                day: 1,
                ..self
            }
            .to_days()
            + 1
    }

    /// The quarter of the year, from 1.
    pub(crate) fn quarter(self) -> u32 {
        self.month.div_ceil(3)
    }
}

/// The number of days of a month.
pub(crate) fn last_day(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Monday is 1, Sunday is 7.
pub(crate) fn iso_weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

/// The year and the week of ISO 8601: the week belongs to the year of its Thursday.
pub(crate) fn iso_week(days: i64) -> (i32, i64) {
    let thursday = Day::from_days(days - iso_weekday(days) + 4);
    (thursday.year, (thursday.of_year() - 1) / 7 + 1)
}

/// A point on the time line, or a local time as if in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// Milliseconds since 1970-01-01 00:00:00.
    pub(crate) ms: i64,
    /// Nanoseconds within the millisecond.
    pub(crate) nanos: u32,
}

impl Moment {
    /// A whole millisecond.
    pub(crate) fn from_ms(ms: i64) -> Self {
        Self { ms, nanos: 0 }
    }

    /// From a count of units.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a remainder of 10^6"
    )]
    pub(crate) fn from_units(value: i64, unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self::from_ms(value.saturating_mul(1000)),
            TimeUnit::Millisecond => Self::from_ms(value),
            TimeUnit::Microsecond => Self {
                ms: value.div_euclid(1000),
                nanos: (value.rem_euclid(1000) * 1000) as u32,
            },
            TimeUnit::Nanosecond => Self {
                ms: value.div_euclid(1_000_000),
                nanos: value.rem_euclid(1_000_000) as u32,
            },
        }
    }

    /// As a count of units, what is finer cut off. `None` is a moment too far away for the unit.
    pub(crate) fn to_units(self, unit: TimeUnit) -> Option<i64> {
        match unit {
            TimeUnit::Second => Some(self.ms.div_euclid(1000)),
            TimeUnit::Millisecond => Some(self.ms),
            TimeUnit::Microsecond => self
                .ms
                .checked_mul(1000)?
                .checked_add(i64::from(self.nanos / 1000)),
            TimeUnit::Nanosecond => self
                .ms
                .checked_mul(1_000_000)?
                .checked_add(self.nanos.into()),
        }
    }

    /// Cut to so many digits of a second.
    pub(crate) fn truncate(self, digits: usize) -> Self {
        match digits {
            0..3 => {
                let unit = [1000, 100, 10][digits];
                Self::from_ms(self.ms.div_euclid(unit).saturating_mul(unit))
            }
            3 => Self::from_ms(self.ms),
            4..9 => {
                let unit = [100_000, 10_000, 1000, 100, 10][digits - 4];
                Self {
                    ms: self.ms,
                    nanos: self.nanos / unit * unit,
                }
            }
            _ => self,
        }
    }

    /// Days since 1970-01-01.
    pub(crate) fn days(self) -> i64 {
        self.ms.div_euclid(DAY_MS)
    }

    /// Milliseconds since midnight.
    pub(crate) fn ms_of_day(self) -> i64 {
        self.ms.rem_euclid(DAY_MS)
    }

    /// Nanoseconds since midnight.
    pub(crate) fn nanos_of_day(self) -> i64 {
        self.ms_of_day() * 1_000_000 + i64::from(self.nanos)
    }

    /// From nanoseconds since midnight of 1970-01-01.
    pub(crate) fn from_nanos(nanos: i64) -> Self {
        Self::from_units(nanos, TimeUnit::Nanosecond)
    }
}

/// Appends `2024-02-29`.
pub(crate) fn write_date(days: i64, out: &mut String) {
    let Day { year, month, day } = Day::from_days(days);
    write_digits(i64::from(year), 4, out);
    out.push('-');
    write_digits(month.into(), 2, out);
    out.push('-');
    write_digits(day.into(), 2, out);
}

/// Appends `12:34:56`.
pub(crate) fn write_time(ms_of_day: i64, out: &mut String) {
    let seconds = ms_of_day / 1000;
    write_digits(seconds / 3600, 2, out);
    out.push(':');
    write_digits(seconds / 60 % 60, 2, out);
    out.push(':');
    write_digits(seconds % 60, 2, out);
}

/// Appends `.123` with so many digits, or nothing.
pub(crate) fn write_fraction(moment: Moment, digits: usize, out: &mut String) {
    if digits == 0 {
        return;
    }
    let nanos = moment.ms.rem_euclid(1000) * 1_000_000 + i64::from(moment.nanos);
    let mut text = *b"000000000";
    let mut rest = nanos;
    for byte in text.iter_mut().rev() {
        *byte = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    out.push('.');
    out.extend(text.iter().take(digits).map(|byte| char::from(*byte)));
}

/// Appends a number with leading zeros.
#[inline]
pub(crate) fn write_digits(value: i64, width: usize, out: &mut String) {
    if width == 2 && (0..100).contains(&value) {
        out.push(char::from(b'0' + u8::try_from(value / 10).unwrap_or(0)));
        out.push(char::from(b'0' + u8::try_from(value % 10).unwrap_or(0)));
        return;
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs());
    if value < 0 {
        out.push('-');
    }
    for _ in digits.len()..width {
        out.push('0');
    }
    out.push_str(digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_back() {
        for days in [-719_529, -1, 0, 58, 59, 60, 19_782, 2_932_896] {
            assert_eq!(Day::from_days(days).to_days(), days);
        }
        assert_eq!(
            Day::from_days(19_782),
            Day {
                year: 2024,
                month: 2,
                day: 29
            }
        );
        assert_eq!(
            Day::from_days(-1),
            Day {
                year: 1969,
                month: 12,
                day: 31
            }
        );
    }

    #[test]
    fn months_end_where_they_end() {
        let day = Day {
            year: 2024,
            month: 1,
            day: 31,
        };
        assert_eq!(
            day.plus_months(1),
            Day {
                year: 2024,
                month: 2,
                day: 29
            }
        );
        assert_eq!(
            day.plus_months(-2),
            Day {
                year: 2023,
                month: 11,
                day: 30
            }
        );
    }

    #[test]
    fn weeks_are_those_of_iso() {
        let week = |year, month, day| iso_week(Day { year, month, day }.to_days());
        assert_eq!(week(2021, 1, 3), (2020, 53));
        assert_eq!(week(2024, 12, 30), (2025, 1));
        assert_eq!(week(1994, 9, 27), (1994, 39));
    }

    #[test]
    fn fractions_are_cut() {
        let moment = Moment {
            ms: -1,
            nanos: 987_654,
        };
        assert_eq!(moment.truncate(2).ms, -10);
        assert_eq!(moment.truncate(5).nanos, 980_000);
        assert_eq!(
            Moment::from_units(-1, TimeUnit::Nanosecond),
            Moment {
                ms: -1,
                nanos: 999_999
            }
        );
    }
}
