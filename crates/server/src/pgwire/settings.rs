//! A session's settings: those of Postgres that tools read or write, and the few that mean something here.
//!
//! A setting that is accepted and changes nothing is one whose every value is harmless (`extra_float_digits`); where another
//! value would promise what is not done (`client_encoding = 'LATIN1'`), it is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{Result, SqlError};

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Can't be set.
    Fixed,
    /// Anything.
    Text,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// Milliseconds, or a number with a unit.
    Time,
    /// The name of a time zone, or an offset.
    Zone,
}

struct Known {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    /// Told to the client at the start and at each change.
    reported: bool,
}

const fn known(name: &'static str, default: &'static str, kind: Kind) -> Known {
    Known {
        name,
        default,
        kind,
        reported: false,
    }
}

const fn reported(name: &'static str, default: &'static str, kind: Kind) -> Known {
    Known {
        name,
        default,
        kind,
        reported: true,
    }
}

/// What `SHOW server_version` says: the release whose behaviour clients may expect.
pub(crate) const SERVER_VERSION: &str = "16.6";
const ISO: Kind = Kind::OneOf(&[
    "iso",
    "iso, mdy",
    "iso, dmy",
    "iso, ymd",
    "iso, us",
    "iso, european",
]);
const UTF8: Kind = Kind::OneOf(&["utf8", "utf-8", "unicode", "utf_8"]);
const ON: Kind = Kind::OneOf(&["on", "true", "yes", "1"]);

/// All settings, with names as Postgres writes them.
const SETTINGS: &[Known] = &[
    reported("application_name", "", Kind::Text),
    known("array_nulls", "on", Kind::Text),
    known("backslash_quote", "safe_encoding", Kind::Text),
    known("bytea_output", "hex", Kind::OneOf(&["hex"])),
    known("check_function_bodies", "on", Kind::Text),
    reported("client_encoding", "UTF8", UTF8),
    known("client_min_messages", "notice", Kind::Text),
    known("constraint_exclusion", "partition", Kind::Text),
    known("cursor_tuple_fraction", "0.1", Kind::Text),
    reported("DateStyle", "ISO, MDY", ISO),
    known(
        "default_transaction_isolation",
        "read committed",
        Kind::Text,
    ),
    reported("default_transaction_read_only", "off", Kind::Text),
    known("default_transaction_deferrable", "off", Kind::Text),
    known("escape_string_warning", "on", Kind::Text),
    known("extra_float_digits", "1", Kind::Text),
    known("idle_in_transaction_session_timeout", "10min", Kind::Time),
    known("idle_session_timeout", "0", Kind::Time),
    reported("in_hot_standby", "off", Kind::Fixed),
    reported("integer_datetimes", "on", Kind::Fixed),
    reported("IntervalStyle", "postgres", Kind::OneOf(&["postgres"])),
    reported("is_superuser", "on", Kind::Fixed),
    known("jit", "off", Kind::Text),
    known("lc_collate", "C", Kind::Fixed),
    known("lc_ctype", "C", Kind::Fixed),
    known("lc_messages", "C", Kind::Text),
    known("lc_monetary", "C", Kind::Text),
    known("lc_numeric", "C", Kind::Text),
    known("lc_time", "C", Kind::Text),
    known("lock_timeout", "0", Kind::Time),
    known("max_connections", "10000", Kind::Fixed),
    known("max_identifier_length", "63", Kind::Fixed),
    known("max_index_keys", "32", Kind::Fixed),
    known("max_parallel_workers_per_gather", "0", Kind::Text),
    known("plan_cache_mode", "auto", Kind::Text),
    known("quote_all_identifiers", "off", Kind::Text),
    known("row_security", "off", Kind::Text),
    reported("search_path", "\"$user\", public", Kind::Text),
    reported("server_encoding", "UTF8", Kind::Fixed),
    reported("server_version", SERVER_VERSION, Kind::Fixed),
    known("server_version_num", "160006", Kind::Fixed),
    known("session_authorization", "", Kind::Text),
    reported("standard_conforming_strings", "on", ON),
    known("statement_timeout", "1min", Kind::Time),
    known("synchronize_seqscans", "on", Kind::Text),
    known("synchronous_commit", "on", Kind::Text),
    reported("TimeZone", "UTC", Kind::Zone),
    known("transaction_deferrable", "off", Kind::Text),
    known("transaction_isolation", "read committed", Kind::Text),
    known("transaction_read_only", "off", Kind::Text),
    known("work_mem", "4MB", Kind::Text),
    known("xmloption", "content", Kind::Text),
];

/// The settings of one session: only those that differ from their defaults take room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    changed: BTreeMap<String, String>,
}

impl Settings {
    /// Sets a value; `None` sets the default. Gives name and value where the client must be told.
    pub(crate) fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<(&'static str, String)>> {
        // A name with a dot is the client's own.
        let Some(known) = find(name) else {
            if !name.contains('.') {
                return Err(unknown(name));
            }
            match value {
                Some(value) => drop(
                    self.changed
                        .insert(name.to_ascii_lowercase(), value.to_owned()),
                ),
                None => drop(self.changed.remove(&name.to_ascii_lowercase())),
            }
            return Ok(None);
        };
        let key = known.name.to_ascii_lowercase();
        match value {
            Some(value) => drop(self.changed.insert(key, checked(known, value)?)),
            None => drop(self.changed.remove(&key)),
        }
        Ok(known
            .reported
            .then(|| (known.name, self.get(known.name).unwrap_or_default())))
    }

    /// All settings back to their defaults. Gives what the client must be told.
    pub(crate) fn reset_all(&mut self) -> Vec<(&'static str, String)> {
        let changed = std::mem::take(&mut self.changed);
        let told = changed
            .keys()
            .filter_map(|name| find(name))
            .filter(|known| known.reported && known.kind != Kind::Fixed);
        told.map(|known| (known.name, known.default.to_owned()))
            .collect()
    }

    /// A value.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let changed = self.changed.get(&name.to_ascii_lowercase()).cloned();
        changed.or_else(|| find(name).map(|known| known.default.to_owned()))
    }

    /// A value, or that there is no such setting.
    pub(crate) fn require(&self, name: &str) -> Result<(String, String)> {
        let value = self.get(name).ok_or_else(|| unknown(name))?;
        Ok((
            find(name).map_or_else(|| name.to_owned(), |known| known.name.to_owned()),
            value,
        ))
    }

    /// All values by name.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        SETTINGS
            .iter()
            .map(|known| {
                (
                    known.name.to_owned(),
                    self.get(known.name).unwrap_or_default(),
                )
            })
            .collect()
    }

    /// What a client is told at its start.
    pub(crate) fn reported(&self) -> Vec<(&'static str, String)> {
        SETTINGS
            .iter()
            .filter(|known| known.reported)
            .map(|known| (known.name, self.get(known.name).unwrap_or_default()))
            .collect()
    }

    /// How long a statement may take; `None`: as long as it likes.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        self.time("statement_timeout")
    }

    /// How long a transaction may do nothing.
    pub(crate) fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.time("idle_in_transaction_session_timeout")
    }

    /// The session's time zone.
    pub(crate) fn time_zone(&self) -> String {
        self.get("TimeZone").unwrap_or_default()
    }

    fn time(&self, name: &str) -> Option<Duration> {
        self.get(name)
            .and_then(|text| time(&text))
            .filter(|time| !time.is_zero())
    }
}

fn find(name: &str) -> Option<&'static Known> {
    SETTINGS
        .iter()
        .find(|known| known.name.eq_ignore_ascii_case(name))
}

fn unknown(name: &str) -> SqlError {
    let error = SqlError::new(
        "42704",
        format!("unrecognized configuration parameter \"{name}\""),
    );
    match millstream_dataflow::options::nearest(name, SETTINGS.iter().map(|known| known.name)) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error,
    }
}

/// A value as it is kept, if it is allowed.
fn checked(known: &Known, value: &str) -> Result<String> {
    let refuse = || {
        SqlError::new(
            "22023",
            format!(
                "invalid value for parameter \"{}\": \"{value}\"",
                known.name
            ),
        )
    };
    match known.kind {
        Kind::Fixed => Err(SqlError::new(
            "55P02",
            format!("parameter \"{}\" cannot be changed", known.name),
        )),
        Kind::Text => Ok(value.to_owned()),
        Kind::OneOf(values) if values.contains(&value.to_ascii_lowercase().as_str()) => {
            Ok(match known.kind {
                UTF8 => "UTF8".to_owned(),
                ISO => "ISO, MDY".to_owned(),
                ON => "on".to_owned(),
                _ => value.to_owned(),
            })
        }
        Kind::OneOf(values) => Err(refuse().hint(format!("only {} is possible", values[0]))),
        Kind::Time => time(value).map(|_| value.to_owned()).ok_or_else(refuse),
        Kind::Zone => zone(value).ok_or_else(refuse),
    }
}

fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let unit_ms = match text.get(digits..)?.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(unit_ms)?))
}

/// A zone as Arrow reads it: a name, or `+02:00`.
fn zone(text: &str) -> Option<String> {
    let text = text.trim();
    let is_zone = |text: &str| text.parse::<arrow::array::timezone::Tz>().is_ok();
    let named = match text.to_ascii_uppercase().as_str() {
        "UTC" | "GMT" | "Z" | "ETC/UTC" | "LOCAL" | "DEFAULT" => return Some("UTC".to_owned()),
        _ => text,
    };
    if is_zone(named) {
        return Some(named.to_owned());
    }
    // Hours east of Greenwich, as a number.
    let hours: i32 = text.parse().ok().filter(|hours: &i32| hours.abs() <= 15)?;
    Some(format!(
        "{}{:02}:00",
        if hours < 0 { '-' } else { '+' },
        hours.abs()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_lie_is_refused() {
        let mut settings = Settings::default();
        assert_eq!(
            settings
                .set("client_encoding", Some("LATIN1"))
                .unwrap_err()
                .state,
            "22023"
        );
        assert_eq!(
            settings
                .set("server_version", Some("17"))
                .unwrap_err()
                .state,
            "55P02"
        );
        assert_eq!(
            settings
                .set("statement_timout", Some("1"))
                .unwrap_err()
                .hint
                .as_deref(),
            Some("did you mean \"statement_timeout\"?")
        );
        assert_eq!(
            settings
                .set("client_encoding", Some("'utf-8'".trim_matches('\'')))
                .unwrap(),
            Some(("client_encoding", "UTF8".to_owned()))
        );
    }

    #[test]
    fn times_and_zones() {
        let mut settings = Settings::default();
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(60)));
        settings.set("STATEMENT_TIMEOUT", Some("1500")).unwrap();
        assert_eq!(
            settings.statement_timeout(),
            Some(Duration::from_millis(1500))
        );
        settings.set("statement_timeout", Some("0")).unwrap();
        assert_eq!(settings.statement_timeout(), None);
        settings.set("timezone", Some("-3")).unwrap();
        assert_eq!(settings.time_zone(), "-03:00");
        settings.set("TimeZone", Some("Europe/Rome")).unwrap();
        assert!(settings.set("timezone", Some("Mars")).is_err());
        assert_eq!(settings.reset_all(), [("TimeZone", "UTC".to_owned())]);
        assert_eq!(settings.time_zone(), "UTC");
    }
}
