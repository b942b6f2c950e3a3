//! Time zones: names, fixed offsets and Java's short names, to local time and back.
//!
//! A local time in a gap moves forward by the gap's length; one that occurs twice is the earlier instant. Both as in
//! `java.time.LocalDateTime.atZone`.

use std::str::FromStr;

use chrono::offset::{LocalResult, Offset, TimeZone};
use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;

use crate::error::Error;

/// A time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Zone {
    /// A constant offset in seconds.
    Fixed(i32),
    /// A zone with a history.
    Named(Tz),
}

const QUARTER_HOUR_MS: i64 = 900_000;

/// The names that Java keeps beside those of the time zone database.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("ACT", "Australia/Darwin"),
    ("AET", "Australia/Sydney"),
    ("AGT", "America/Argentina/Buenos_Aires"),
    ("ART", "Africa/Cairo"),
    ("AST", "America/Anchorage"),
    ("BET", "America/Sao_Paulo"),
    ("BST", "Asia/Dhaka"),
    ("CAT", "Africa/Harare"),
    ("CNT", "America/St_Johns"),
    ("CST", "America/Chicago"),
    ("CTT", "Asia/Shanghai"),
    ("EAT", "Africa/Addis_Ababa"),
    ("ECT", "Europe/Paris"),
    ("IET", "America/Indiana/Indianapolis"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("MIT", "Pacific/Apia"),
    ("NET", "Asia/Yerevan"),
    ("NST", "Pacific/Auckland"),
    ("PLT", "Asia/Karachi"),
    ("PNT", "America/Phoenix"),
    ("PRT", "America/Puerto_Rico"),
    ("PST", "America/Los_Angeles"),
    ("SST", "Pacific/Guadalcanal"),
    ("VST", "Asia/Ho_Chi_Minh"),
];

impl Zone {
    /// Coordinated universal time.
    pub(crate) const UTC: Zone = Zone::Fixed(0);

    /// The offset in milliseconds at an instant.
    pub(crate) fn offset_at(self, utc_ms: i64) -> i64 {
        match self {
            Zone::Fixed(seconds) => i64::from(seconds) * 1000,
            Zone::Named(tz) => match DateTime::from_timestamp_millis(utc_ms) {
                Some(instant) => {
                    i64::from(
                        tz.offset_from_utc_datetime(&instant.naive_utc())
                            .fix()
                            .local_minus_utc(),
                    ) * 1000
                }
                None => 0,
            },
        }
    }

    /// The instant of a local time, both in milliseconds.
    pub(crate) fn to_utc(self, local_ms: i64) -> i64 {
        let tz = match self {
            Zone::Fixed(seconds) => return local_ms.saturating_sub(i64::from(seconds) * 1000),
            Zone::Named(tz) => tz,
        };
        let Some(local) = DateTime::from_timestamp_millis(local_ms).map(|t| t.naive_utc()) else {
            return local_ms;
        };
        let offset = match tz.offset_from_local_datetime(&local) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => {
                offset.fix().local_minus_utc()
            }
            LocalResult::None => {
                let before = local
                    .checked_sub_signed(TimeDelta::days(1))
                    .unwrap_or(local);
                tz.offset_from_utc_datetime(&before).fix().local_minus_utc()
            }
        };
        local_ms - i64::from(offset) * 1000
    }

    /// A converter that remembers the last quarter of an hour: zones change their offset nowhere else but at its ends
    /// since clocks were standardised, and a quarter with a change inside is not remembered.
    pub(crate) fn converter(self) -> Converter {
        Converter {
            zone: self,
            quarter: i64::MIN,
            offset: 0,
        }
    }
}

/// Converts instants to local time, fast for neighbouring instants.
pub(crate) struct Converter {
    zone: Zone,
    quarter: i64,
    offset: i64,
}

impl Converter {
    /// The local time of an instant, both in milliseconds.
    #[inline]
    pub(crate) fn local(&mut self, utc_ms: i64) -> i64 {
        if let Zone::Fixed(seconds) = self.zone {
            return utc_ms.saturating_add(i64::from(seconds) * 1000);
        }
        let quarter = utc_ms.div_euclid(QUARTER_HOUR_MS);
        if quarter != self.quarter {
            let start = quarter.saturating_mul(QUARTER_HOUR_MS);
            self.offset = self.zone.offset_at(start);
            self.quarter = quarter;
            if self
                .zone
                .offset_at(start.saturating_add(QUARTER_HOUR_MS - 1))
                != self.offset
            {
                self.quarter = i64::MIN;
                self.offset = self.zone.offset_at(utc_ms);
            }
        }
        utc_ms.saturating_add(self.offset)
    }
}

impl FromStr for Zone {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let name = name.trim();
        if matches!(name, "UTC" | "GMT" | "UT" | "Z" | "Etc/UTC" | "Etc/GMT") {
            return Ok(Zone::UTC);
        }
        let digits = ["UTC", "GMT", "UT"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or(name);
        if let Some(seconds) = offset(digits) {
            return Ok(Zone::Fixed(seconds));
        }
        match name {
            "EST" => return Ok(Zone::Fixed(-5 * 3600)),
            "MST" => return Ok(Zone::Fixed(-7 * 3600)),
            "HST" => return Ok(Zone::Fixed(-10 * 3600)),
            _ => {}
        }
        let long = SHORT_NAMES
            .iter()
            .find(|(short, _)| *short == name)
            .map_or(name, |(_, long)| long);
        long.parse()
            .map(Zone::Named)
            .map_err(|_| Error::TimeZone(name.into()))
    }
}

/// `+2`, `-08:00`, `+0530`, `+05:30:15` in seconds.
pub(crate) fn offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let parts: Vec<&str> = if digits.contains(':') {
        digits.split(':').collect()
    } else {
        match digits.len() {
            1 | 2 => vec![digits],
            4 => vec![digits.get(..2)?, digits.get(2..)?],
            6 => vec![digits.get(..2)?, digits.get(2..4)?, digits.get(4..)?],
            _ => return None,
        }
    };
    if parts.len() > 3
        || parts
            .iter()
            .any(|p| p.is_empty() || p.len() > 2 || !p.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    let mut seconds = 0;
    for (part, unit) in parts.iter().zip([3600, 60, 1]) {
        seconds += part.parse::<i32>().ok()? * unit;
    }
    (seconds <= 18 * 3600).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_offsets() {
        assert_eq!("GMT-08:00".parse::<Zone>().unwrap(), Zone::Fixed(-8 * 3600));
        assert_eq!(
            "+0530".parse::<Zone>().unwrap(),
            Zone::Fixed(5 * 3600 + 1800)
        );
        assert_eq!("UTC+8".parse::<Zone>().unwrap(), Zone::Fixed(8 * 3600));
        assert_eq!(
            "PST".parse::<Zone>().unwrap(),
            Zone::Named(Tz::America__Los_Angeles)
        );
        assert!("Mars/Olympus".parse::<Zone>().is_err());
        assert!("+é".parse::<Zone>().is_err());
    }

    #[test]
    fn gaps_move_forward_and_overlaps_take_the_earlier() {
        let zone: Zone = "America/New_York".parse().unwrap();
        let ms = |text: &str| {
            text.parse::<DateTime<chrono::Utc>>()
                .unwrap()
                .timestamp_millis()
        };
        assert_eq!(
            zone.to_utc(ms("2024-03-10T02:30:00Z")),
            ms("2024-03-10T07:30:00Z")
        );
        assert_eq!(
            zone.to_utc(ms("2024-11-03T01:30:00Z")),
            ms("2024-11-03T05:30:00Z")
        );
        let mut converter = zone.converter();
        assert_eq!(
            converter.local(ms("2024-03-10T06:59:59Z")),
            ms("2024-03-10T01:59:59Z")
        );
        assert_eq!(
            converter.local(ms("2024-03-10T07:00:00Z")),
            ms("2024-03-10T03:00:00Z")
        );
    }
}
