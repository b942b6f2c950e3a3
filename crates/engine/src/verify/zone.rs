//! Instants as local times of a zone, and back: for the bounds of windows, which are local times.

use arrow::array::timezone::Tz;
use arrow::datatypes::DataType;
use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use millstream_dataflow::{Error, Result};

/// A time zone; without one local times are the instants themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zone(Option<Tz>);

impl Zone {
    /// The zone of a TIMESTAMP type.
    ///
    /// # Errors
    /// `User` for an unknown zone.
    pub(crate) fn of(data_type: &DataType) -> Result<Self> {
        let DataType::Timestamp(_, Some(name)) = data_type else {
            return Ok(Self(None));
        };
        if name.as_ref() == "UTC" {
            return Ok(Self(None));
        }
        let zone = name.parse();
        zone.map(|zone| Self(Some(zone)))
            .map_err(|_| Error::user(format!("'{name}' is no time zone")))
    }

    /// The local time of an instant, both in milliseconds.
    pub(crate) fn local(self, instant_ms: i64) -> i64 {
        instant_ms + self.offset_ms(instant_ms)
    }

    /// The instant of a local time: of one that is there twice the later, of one that is skipped the moment of the skip.
    pub(crate) fn instant(self, local_ms: i64) -> i64 {
        let Some(zone) = self.0 else {
            return local_ms;
        };
        let Some(local) = naive(local_ms) else {
            return local_ms;
        };
        match zone.offset_from_local_datetime(&local) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(_, offset) => {
                local_ms - ms(&offset)
            }
            LocalResult::None => {
                let day = 86_400_000;
                let (before, after) = (local_ms - day, local_ms + day);
                let mut instants = before..after;
                // The first instant whose local time is not before this one.
                while instants.end - instants.start > 1 {
                    let middle = instants.start + (instants.end - instants.start) / 2;
                    if self.local(middle) < local_ms {
                        instants.start = middle;
                    } else {
                        instants.end = middle;
                    }
                }
                instants.end
            }
        }
    }

    fn offset_ms(self, instant_ms: i64) -> i64 {
        match (self.0, naive(instant_ms)) {
            (Some(zone), Some(instant)) => ms(&zone.offset_from_utc_datetime(&instant)),
            _ => 0,
        }
    }
}

fn naive(ms: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_millis(ms).map(|time| time.naive_utc())
}

fn ms(offset: &impl Offset) -> i64 {
    i64::from(offset.fix().local_minus_utc()) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::TimeUnit;

    fn at(text: &str) -> i64 {
        let time: NaiveDateTime = text.parse().unwrap();
        time.and_utc().timestamp_millis()
    }

    #[test]
    fn a_skipped_hour_is_the_moment_of_the_skip() {
        let berlin = DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Berlin".into()));
        let berlin = Zone::of(&berlin).unwrap();
        assert_eq!(
            berlin.instant(at("2024-03-31T02:30:00")),
            at("2024-03-31T01:00:00")
        );
        assert_eq!(
            berlin.instant(at("2024-10-27T02:30:00")),
            at("2024-10-27T01:30:00")
        );
        assert_eq!(
            berlin.local(at("2024-07-01T00:00:00")),
            at("2024-07-01T02:00:00")
        );
        let none = Zone::of(&DataType::Timestamp(TimeUnit::Millisecond, None)).unwrap();
        assert_eq!(none.instant(5), 5);
    }
}
