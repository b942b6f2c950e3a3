//! The ports of a running server, as clients meet them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on says where"
)]
#![allow(unreachable_pub, reason = "the modules of one test binary")]

mod catalogs;
mod commands;
mod ddl;
mod hostile;
mod pages;
mod parameters;
mod queries;
mod replayed;
mod support;
mod transactions;
