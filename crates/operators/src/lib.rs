//! The incremental operators: each takes deltas and puts out deltas, with work that follows the change and never the state.
//!
//! A module is an operator, or a family of operators with one algorithm: its spec (what the planner makes), and the running
//! operator with its state. They know columns and expressions, and nothing of SQL, files or clocks.

pub mod aggregate;
mod deadline;
pub mod distinct;
pub mod filter;
pub mod join;
pub mod over;
pub mod project;
pub mod set_op;
pub mod stamp;
pub mod temporal_filter;
#[cfg(test)]
mod testing;
pub mod top_k;
mod tracker;
pub mod union;
pub mod unnest;
pub mod upsert;
pub mod window;
