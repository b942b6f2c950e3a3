//! SET 'key' = 'value': what a session can set, and what that means.

use millstream_dataflow::options::{nearest, parse_duration};
use millstream_dataflow::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings of Flink that pipeline files carry and that have no meaning here: accepted, and said so once.
const ACCEPTED_PREFIXES: [&str; 14] = [
    "execution.",
    "parallelism.",
    "pipeline.",
    "table.exec.",
    "table.optimizer.",
    "table.dml-",
    "table.sql-dialect",
    "state.",
    "restart-strategy",
    "taskmanager.",
    "jobmanager.",
    "rest.",
    "sql-client.",
    "table.display.",
];

/// The settings that mean something.
const KNOWN: [(&str, &str); 7] = [
    (
        "table.local-time-zone",
        "the session's time zone: an IANA name such as Europe/Rome, or an offset such as +02:00",
    ),
    (
        "kafka.bootstrap.servers",
        "the brokers of kafka tables that name none in 'properties.bootstrap.servers'",
    ),
    (
        "table.exec.source.idle-timeout",
        "after how long without rows a partition no longer holds the watermark back, such as '10 s'",
    ),
    (
        "sink.commit-interval",
        "how often sinks make visible what they wrote, such as '100 ms'",
    ),
    (
        "execution.checkpointing.interval",
        "how often a checkpoint of all state is made, such as '10 s'",
    ),
    (
        "execution.checkpointing.num-retained",
        "how many checkpoints are kept, such as 3",
    ),
    (
        "pipeline.name",
        "the job's name, by which it is known to the systems that it writes to",
    ),
];

/// The settings of an engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// Sets a value. Gives a note for a setting of Flink's that changes nothing here.
    ///
    /// # Errors
    /// `User` for an unknown key (with the nearest known one) or a value that does not fit.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<Option<String>> {
        let is_known = KNOWN.iter().any(|(known, _)| *known == key);
        if !is_known
            && !ACCEPTED_PREFIXES
                .iter()
                .any(|prefix| key.starts_with(prefix))
        {
            let error = Error::user(format!("there is no setting '{key}'"));
            return Err(match nearest(key, KNOWN.iter().map(|(known, _)| *known)) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint(format!(
                    "settings: {}",
                    KNOWN.map(|(known, _)| known).join(", ")
                )),
            });
        }
        match key {
            "table.local-time-zone" => check_zone(value)?,
            "execution.checkpointing.num-retained"
                if value.parse::<usize>().map_or(true, |count| count == 0) =>
            {
                return Err(Error::user(format!(
                    "'{key}' is '{value}', but must be a number from 1 on"
                )));
            }
            "sink.commit-interval"
            | "table.exec.source.idle-timeout"
            | "execution.checkpointing.interval"
                if parse_duration(value).is_none() =>
            {
                return Err(Error::user(format!(
                    "'{key}' is '{value}', but must be a duration such as '100 ms'"
                )));
            }
            _ => {}
        }
        self.values.insert(key.to_owned(), value.to_owned());
        Ok((!is_known)
            .then(|| format!("the setting '{key}' has no meaning here and changes nothing")))
    }

    /// Back to the default; all of them without a key.
    pub(crate) fn reset(&mut self, key: Option<&str>) {
        match key {
            Some(key) => drop(self.values.remove(key)),
            None => self.values.clear(),
        }
    }

    /// All values that are set.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The session's time zone.
    pub(crate) fn time_zone(&self) -> &str {
        self.values
            .get("table.local-time-zone")
            .map_or("UTC", String::as_str)
    }

    /// The brokers of kafka tables that name none.
    pub(crate) fn bootstrap_servers(&self) -> Option<&str> {
        self.values
            .get("kafka.bootstrap.servers")
            .map(String::as_str)
    }

    /// After how long without rows a partition of a table that says nothing itself no longer holds the watermark back.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        let timeout = self
            .values
            .get("table.exec.source.idle-timeout")
            .and_then(|text| parse_duration(text));
        timeout.filter(|timeout| !timeout.is_zero())
    }

    /// How often a checkpoint is made.
    pub(crate) fn checkpoint_interval(&self) -> Duration {
        self.values
            .get("execution.checkpointing.interval")
            .and_then(|text| parse_duration(text))
            .unwrap_or(Duration::from_secs(10))
    }

    /// How many checkpoints are kept.
    pub(crate) fn checkpoints_kept(&self) -> usize {
        self.values
            .get("execution.checkpointing.num-retained")
            .and_then(|count| count.parse().ok())
            .unwrap_or(3)
    }

    /// The job's name, if it was given one.
    pub(crate) fn job_name(&self) -> Option<&str> {
        self.values.get("pipeline.name").map(String::as_str)
    }

    /// How often sinks commit.
    pub(crate) fn commit_interval(&self) -> Duration {
        self.values
            .get("sink.commit-interval")
            .and_then(|text| parse_duration(text))
            .unwrap_or(Duration::from_millis(100))
    }
}

fn check_zone(zone: &str) -> Result<()> {
    zone.parse::<arrow::array::timezone::Tz>()
        .map(drop)
        .map_err(|_| {
            Error::user(format!("'{zone}' is no time zone"))
                .hint("use an IANA name such as Europe/Rome, or an offset such as +02:00")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_settings_are_refused_with_the_nearest() {
        let error = Settings::default()
            .set("table.local-timezone", "UTC")
            .unwrap_err();
        assert_eq!(
            error.hint.as_deref(),
            Some("did you mean 'table.local-time-zone'?")
        );
    }

    #[test]
    fn settings_of_flink_are_noted() {
        let mut settings = Settings::default();
        assert!(settings.set("parallelism.default", "4").unwrap().is_some());
        assert!(
            settings
                .set("table.local-time-zone", "Europe/Rome")
                .unwrap()
                .is_none()
        );
        assert_eq!(settings.time_zone(), "Europe/Rome");
        assert!(settings.set("table.local-time-zone", "Mars").is_err());
    }
}
