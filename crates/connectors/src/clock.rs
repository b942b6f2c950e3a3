//! The clock of connectors. They are the outside of the engine: what they read of the time never decides an
//! operator's result.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A reading of the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "connectors pace and time out against the outside world"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, by the wall clock.
#[expect(
    clippy::disallowed_methods,
    reason = "connectors date generated rows and files by the outside world"
)]
pub(crate) fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

/// Lets a given number of rows through each second, from the first question on.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    started: Option<Instant>,
    given: u64,
}

impl Pace {
    /// Rows gather this long before they are let through, so that a fast pace is not many tiny polls.
    const GATHER: Duration = Duration::from_millis(5);

    /// A pace of rows per second.
    pub(crate) fn new(per_second: f64) -> Self {
        Self {
            per_second,
            started: None,
            given: 0,
        }
    }

    /// How many rows, at most `rows_max`, are due; waits up to `wait` for the first.
    pub(crate) fn take(&mut self, rows_max: usize, wait: Duration) -> usize {
        let started = *self.started.get_or_insert_with(now);
        let mut due = self.due(started.elapsed());
        if due == 0 {
            let first = (self.given + 1) as f64 / self.per_second;
            let first = Duration::try_from_secs_f64(first).unwrap_or(Duration::MAX);
            let until_first = first.saturating_sub(started.elapsed());
            thread::sleep(until_first.max(Self::GATHER).min(wait));
            due = self.due(started.elapsed());
        }
        let rows = due.min(rows_max as u64);
        self.given += rows;
        rows as usize
    }

    fn due(&self, elapsed: Duration) -> u64 {
        ((elapsed.as_secs_f64() * self.per_second) as u64).saturating_sub(self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_lets_through_what_is_due_and_no_more() {
        let mut pace = Pace::new(1000.0);
        pace.started = Some(now());
        assert_eq!(pace.due(Duration::from_millis(250)), 250);
        pace.given = 200;
        assert_eq!(pace.due(Duration::from_millis(250)), 50);
        assert_eq!(pace.due(Duration::from_millis(100)), 0);
    }
}
