//! Jobs over sources, operators and sinks in memory.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod bounded;
mod failures;
mod fixture;
mod growth;
mod live;
