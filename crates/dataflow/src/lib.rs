//! The contracts that every other crate of Millstream hangs on, and nothing else.
//!
//! ```text
//! bytes -> Decoder -> Delta -> Operator ... -> View -> readers
//!                                         \-> Writer -> Kafka / Parquet / ...
//! ```
//!
//! A job advances in *steps* ([`time`]); what flows between operators in a step is a [`Delta`]: Arrow rows with
//! weights. An [`operator`] is a pure function of its state and the step. This crate knows Arrow, and neither SQL,
//! Kafka, threads nor files.

mod delta;
mod error;
mod expr;
pub mod format;
pub mod graph;
pub mod hash;
pub mod operator;
pub mod options;
pub mod sink;
pub mod source;
mod table;
pub mod testing;
pub mod time;

pub use delta::{Delta, Weights};
pub use error::{Error, Kind, Location, Result};
pub use expr::Expression;
pub use operator::{Operator, Output, Partitioning, Spec};
pub use options::Options;
pub use table::{Changes, Column, Place, Table, TableColumn};
pub use time::{Step, StepTime, Watermark};
