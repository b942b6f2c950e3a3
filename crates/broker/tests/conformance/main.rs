//! What a Kafka broker does, asked with librdkafka: the same cases for the embedded broker and for Apache Kafka.
//!
//! Without more, the embedded broker is started and tested. `KAFKA_BOOTSTRAP_SERVERS=host:port` tests that one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and it waits for a real broker in real time"
)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod groups;
mod raw;
mod records;
mod transactions;
