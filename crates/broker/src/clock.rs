//! The broker's one look at the wall clock.
//!
//! The broker is the outside world of the engine: retention, session timeouts and append times are real time, so
//! this file is the single place that may read it. Everything below takes `now_ms` as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, as Kafka counts them.
#[allow(
    clippy::disallowed_methods,
    reason = "a broker stamps and expires by real time; no step replays it"
)]
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
        })
}
