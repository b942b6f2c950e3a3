//! millstream-operators

pub mod aggregate;
mod deadline;
pub mod distinct;
pub mod filter;
pub mod join;
pub mod over;
pub mod project;
pub mod set_op;
#[cfg(test)]
mod testing;
pub mod union;
pub mod window;
pub mod top_k;
pub mod upsert;
pub mod temporal_filter;
pub mod unnest;
