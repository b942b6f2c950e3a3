//! When a file that is written ends and the next begins. Pure: clock readings are given.

use millstream_dataflow::{Error, Options, Result};
use std::time::Duration;

/// When a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Policy {
    size: u64,
    age: Duration,
    inactivity: Duration,
    check: Duration,
}

/// What there is to know of a file being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    pub(super) bytes: u64,
    pub(super) age: Duration,
    pub(super) quiet: Duration,
}

impl Policy {
    /// The options `sink.rolling-policy.*`, with Flink's defaults.
    pub(in super::super) fn new(options: &mut Options) -> Result<Self> {
        let mut duration = |name: &str, default_s: u64| -> Result<Duration> {
            let given = options.duration(&format!("sink.rolling-policy.{name}"))?;
            Ok(given.unwrap_or(Duration::from_secs(default_s)))
        };
        let age = duration("rollover-interval", 30 * 60)?;
        let inactivity = duration("inactivity-interval", 30 * 60)?;
        let check = duration("check-interval", 60)?;
        let size = options
            .bytes("sink.rolling-policy.file-size")?
            .unwrap_or(128 << 20);
        if size == 0 || age.is_zero() || inactivity.is_zero() {
            return Err(Error::user(format!(
                "table `{}`: the options 'sink.rolling-policy.*' must be above 0",
                options.owner()
            )));
        }
        Ok(Self {
            size,
            age,
            inactivity,
            check,
        })
    }

    /// Whether a file of this size is full.
    pub(super) fn is_full(&self, bytes: u64) -> bool {
        bytes >= self.size
    }

    /// Whether the ages of files are looked at again.
    pub(super) fn is_check_due(&self, since_last: Duration) -> bool {
        since_last >= self.check
    }

    /// Whether a file ends now.
    pub(super) fn is_due(&self, file: Growth) -> bool {
        self.is_full(file.bytes) || file.age >= self.age || file.quiet >= self.inactivity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(pairs: &[(&str, &str)]) -> Result<Policy> {
        let pairs = pairs
            .iter()
            .map(|(k, v)| (format!("sink.rolling-policy.{k}"), (*v).to_owned()));
        Policy::new(&mut Options::new("t", pairs))
    }

    #[test]
    fn a_file_ends_by_size_age_or_quiet() {
        let policy = policy(&[
            ("file-size", "1kb"),
            ("rollover-interval", "10 s"),
            ("inactivity-interval", "3 s"),
        ])
        .unwrap();
        let file = |bytes, age, quiet| Growth {
            bytes,
            age: Duration::from_secs(age),
            quiet: Duration::from_secs(quiet),
        };
        assert!(!policy.is_due(file(1023, 9, 2)));
        assert!(policy.is_due(file(1024, 0, 0)));
        assert!(policy.is_due(file(1, 10, 0)));
        assert!(policy.is_due(file(1, 4, 3)));
        assert!(
            policy.is_check_due(Duration::from_secs(60))
                && !policy.is_check_due(Duration::from_secs(59))
        );
    }

    #[test]
    fn zero_is_refused() {
        assert!(policy(&[("file-size", "0")]).is_err());
    }
}
