//! Aggregation: functions over the rows of each group, with columnar hash state.
//!
//! ```text
//! by_key (GROUP BY), ../window (a slice each)
//!    groups        keys -> group ids; which rows pass which filter
//!      plan        calls -> the accumulators that serve them
//!      accumulators  all of them, by group id
//!      accumulator count | sum | extreme | bag | distinct ...: vectors by group id
//!    saved         groups as a relation, for checkpoints
//! ```

mod accumulator;
mod accumulators;
mod arrived;
mod bag;
mod by_key;
mod change_log;
mod count;
mod distinct;
mod extreme;
mod function;
mod groups;
mod logic;
mod moments;
mod number;
mod percentile;
mod plan;
mod saved;
mod sequence;
mod sum;

pub use by_key::Aggregate;
pub use function::Function;
pub use plan::Call;

pub(crate) use accumulator::{Arrival, Exported};
pub(crate) use accumulators::Accumulators;
pub(crate) use groups::Groups;
pub(crate) use plan::{Plan, show};
pub(crate) use saved::{GROUP, SavedRows, fields, parts, pieces, runs};

#[cfg(test)]
pub(crate) mod tests;
