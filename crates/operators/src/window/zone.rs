//! A time zone: instants to local times, and local times to the instant at which a timer for them is due.

use chrono::offset::{LocalResult, Offset, TimeZone};
use chrono::{DateTime, NaiveDateTime};
use chrono_tz::Tz;
use millstream_dataflow::{Error, Result};

/// A time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    /// A constant offset from UTC.
    Fixed {
        /// Local time minus UTC.
        offset_ms: i64,
    },
    /// A zone with rules.
    Named(Tz),
}

/// The rules of a zone change at full quarters of an hour.
const QUARTER_HOUR_MS: i64 = 900_000;

impl Zone {
    /// Local time is UTC.
    pub(crate) const UTC: Self = Self::Fixed { offset_ms: 0 };

    /// A zone of an Arrow timestamp type: a name, or an offset such as `+02:00`.
    ///
    /// # Errors
    /// `User` for an unknown zone.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        if matches!(name, "UTC" | "Z" | "GMT") {
            return Ok(Self::UTC);
        }
        if let Some(offset_ms) = offset(name) {
            return Ok(Self::Fixed { offset_ms });
        }
        name.parse().map(Self::Named).map_err(|_| {
            Error::user(format!("there is no time zone {name:?}"))
                .hint("use a name such as Europe/Berlin, or an offset such as +02:00")
        })
    }

    /// Local times of some instants, both in milliseconds, in place.
    pub(crate) fn to_local(self, times: &mut [i64]) {
        match self {
            Self::Fixed { offset_ms: 0 } => {}
            Self::Fixed { offset_ms } => times.iter_mut().for_each(|ms| *ms += offset_ms),
            Self::Named(tz) => {
                let (mut quarter, mut offset_ms) = (None, 0);
                for ms in times {
                    let now = ms.div_euclid(QUARTER_HOUR_MS);
                    if quarter != Some(now) {
                        quarter = Some(now);
                        offset_ms = offset_at(tz, *ms);
                    }
                    *ms += offset_ms;
                }
            }
        }
    }

    /// The instant of a local time: of one that occurs twice the later, of one that is skipped the moment of the skip.
    pub(crate) fn due(self, local_ms: i64) -> i64 {
        let tz = match self {
            Self::Fixed { offset_ms } => return local_ms.saturating_sub(offset_ms),
            Self::Named(tz) => tz,
        };
        let Some(local) = naive(local_ms) else {
            return local_ms;
        };
        match tz.offset_from_local_datetime(&local) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(_, offset) => {
                local_ms - ms(&offset.fix())
            }
            LocalResult::None => {
                // No instant has this local time: those before the skip have earlier ones, those after it later ones.
                let (mut before, mut after) =
                    (local_ms - 86_400_000 * 2, local_ms + 86_400_000 * 2);
                while after - before > 1 {
                    let middle = before + (after - before) / 2;
                    if middle + offset_at(tz, middle) < local_ms {
                        before = middle;
                    } else {
                        after = middle;
                    }
                }
                after
            }
        }
    }
}

/// `+02:00`, `-0530`, `+2`, `GMT+1`, `UTC-3`.
fn offset(name: &str) -> Option<i64> {
    let rest = name
        .strip_prefix("GMT")
        .or_else(|| name.strip_prefix("UTC"))
        .unwrap_or(name);
    let (sign, digits) = match rest.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 => digits.split_at(2),
        None => (digits, "0"),
    };
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn naive(ms: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_millis(ms).map(|time| time.naive_utc())
}

fn offset_at(tz: Tz, utc_ms: i64) -> i64 {
    naive(utc_ms).map_or(0, |utc| ms(&tz.offset_from_utc_datetime(&utc).fix()))
}

fn ms(offset: &chrono::FixedOffset) -> i64 {
    i64::from(offset.local_minus_utc()) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<NaiveDateTime>()
            .unwrap()
            .and_utc()
            .timestamp_millis()
    }

    #[test]
    fn a_day_may_have_23_or_25_hours() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let day = |from: &str, to: &str| berlin.due(at(to)) - berlin.due(at(from));
        assert_eq!(
            day("2024-03-31T00:00:00", "2024-04-01T00:00:00"),
            23 * 3_600_000
        );
        assert_eq!(
            day("2024-10-27T00:00:00", "2024-10-28T00:00:00"),
            25 * 3_600_000
        );
        // 02:30 is skipped in March: due at the skip, 01:00 UTC. In October it occurs twice: due at the later.
        assert_eq!(
            berlin.due(at("2024-03-31T02:30:00")),
            at("2024-03-31T01:00:00")
        );
        assert_eq!(
            berlin.due(at("2024-10-27T02:30:00")),
            at("2024-10-27T01:30:00")
        );
        let mut times = [at("2024-03-31T00:59:59"), at("2024-03-31T01:00:00")];
        berlin.to_local(&mut times);
        assert_eq!(
            times,
            [at("2024-03-31T01:59:59"), at("2024-03-31T03:00:00")]
        );
    }

    #[test]
    fn offsets_are_zones() {
        for (name, minutes) in [("+02:00", 120), ("-0530", -330), ("GMT+1", 60), ("UTC", 0)] {
            assert_eq!(
                Zone::parse(name).unwrap(),
                Zone::Fixed {
                    offset_ms: minutes * 60_000
                }
            );
        }
        assert!(Zone::parse("Mars/Olympus").is_err());
    }
}
