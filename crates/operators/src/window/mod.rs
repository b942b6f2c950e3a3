//! Windows over event time: results once, when the watermark closes a window.
//!
//! ```text
//! TUMBLE    |--w1--|--w2--|--w3--|          a slice is a window
//! HOP       |s1|s2|s3|s4|  w1 = s1 s2 s3    slices are shared, merged when a window fires
//!              |s2|s3|s4|  w2 = s2 s3 s4
//! CUMULATE  |s1|s2|s3|     w1 = s1          a slice that has fired becomes part of the next
//!                          w2 = s1 s2
//! SESSION   rows of a key until a gap       sessions grow and merge
//! ```
//!
//! All window bounds are local times (of the zone of a TIMESTAMP_LTZ, so that a day may have 23 hours); [`local`] knows
//! which of them a watermark closes.

mod aggregate;
mod assign;
mod blocks;
mod emit;
mod local;
mod progress;
mod saved_sessions;
mod session;
mod sliced;
mod span;
mod zone;

pub use aggregate::{WindowAggregate, WindowColumn};
pub use assign::Assign;
pub use span::Window;
pub(crate) use zone::Zone;

#[cfg(test)]
mod tests;
