//! millstream-operators

pub mod aggregate;
pub mod filter;
pub mod join;
pub mod project;
#[cfg(test)]
mod testing;
pub mod union;
pub mod window;
