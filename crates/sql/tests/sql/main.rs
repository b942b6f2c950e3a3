//! The parser's tests, in one binary.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "tests fail by panicking, and a table of cases is as long as it is"
)]

mod conformance;
mod errors;
mod expressions;
mod limits;
mod noise;
mod pipelines;
mod statements;
mod tables;
mod types;
