//! millstream-operators

pub mod aggregate;
mod deadline;
pub mod filter;
pub mod join;
pub mod project;
#[cfg(test)]
mod testing;
pub mod union;
pub mod window;
pub mod top_k;
pub mod upsert;
