//! The units of EXTRACT, FLOOR, CEIL, TIMESTAMPADD and TIMESTAMPDIFF.

use crate::call::Call;
use crate::error::{Error, Result};

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Millennium,
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    Dow,
    IsoDow,
    Doy,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Epoch,
}

impl Unit {
    /// By its name, in singular or plural.
    pub(crate) fn named(function: &str, name: &str) -> Result<Self> {
        let upper = name.trim().to_ascii_uppercase();
        let word = upper.strip_prefix("SQL_TSI_").unwrap_or(&upper);
        Ok(match word {
            "MILLENNIUM" | "MILLENNIA" => Self::Millennium,
            "CENTURY" | "CENTURIES" => Self::Century,
            "DECADE" | "DECADES" => Self::Decade,
            "YEAR" | "YEARS" => Self::Year,
            "ISOYEAR" => Self::IsoYear,
            "QUARTER" | "QUARTERS" => Self::Quarter,
            "MONTH" | "MONTHS" => Self::Month,
            "WEEK" | "WEEKS" => Self::Week,
            "DAY" | "DAYS" => Self::Day,
            "DOW" | "DAYOFWEEK" => Self::Dow,
            "ISODOW" => Self::IsoDow,
            "DOY" | "DAYOFYEAR" => Self::Doy,
            "HOUR" | "HOURS" => Self::Hour,
            "MINUTE" | "MINUTES" => Self::Minute,
            "SECOND" | "SECONDS" => Self::Second,
            "MILLISECOND" | "MILLISECONDS" => Self::Millisecond,
            "MICROSECOND" | "MICROSECONDS" => Self::Microsecond,
            "NANOSECOND" | "NANOSECONDS" => Self::Nanosecond,
            "EPOCH" => Self::Epoch,
            _ => {
                return Err(
                    Error::argument(function, format!("'{name}' is no unit of time")).into(),
                );
            }
        })
    }

    /// The unit that an argument names; it is the same in all rows.
    pub(crate) fn literal(call: &Call<'_>, idx: usize) -> Result<Self> {
        let names = call.text(idx)?;
        match names.array.iter().next().flatten() {
            Some(name) => Self::named(call.name, name),
            None if call.rows == 0 => Ok(Self::Day),
            None => Err(Error::argument(call.name, "the unit of time must not be NULL").into()),
        }
    }

    /// How many months it is, where it is a number of months.
    pub(crate) fn months(self) -> Option<i64> {
        Some(match self {
            Self::Millennium => 12_000,
            Self::Century => 1200,
            Self::Decade => 120,
            Self::Year | Self::IsoYear => 12,
            Self::Quarter => 3,
            Self::Month => 1,
            _ => return None,
        })
    }

    /// How many nanoseconds it is, where it is always the same number.
    pub(crate) fn nanos(self) -> Option<i64> {
        Some(match self {
            Self::Week => 604_800_000_000_000,
            Self::Day | Self::Dow | Self::IsoDow | Self::Doy => 86_400_000_000_000,
            Self::Hour => 3_600_000_000_000,
            Self::Minute => 60_000_000_000,
            Self::Second | Self::Epoch => 1_000_000_000,
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1000,
            Self::Nanosecond => 1,
            _ => return None,
        })
    }

    /// Whether days are made of it.
    pub(crate) fn within_day(self) -> bool {
        self.nanos().is_some_and(|nanos| nanos < 86_400_000_000_000)
    }
}
