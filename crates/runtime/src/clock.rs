//! The only clock of a job: read once a step, and to pace the input and output threads. Never read by an operator.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a job takes for time.
pub trait Clock: Debug + Send + Sync {
    /// The wall clock in milliseconds since 1970-01-01 00:00 UTC. May jump; a job never lets it go back.
    fn now_ms(&self) -> i64;

    /// The time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place where a job's time comes from"
)]
impl SystemClock {
    /// A clock whose elapsed time starts now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    fn wall() -> SystemTime {
        SystemTime::now()
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        match Self::wall().duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        }
    }

    fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }
}
