//! Functions of ARRAY, MAP and ROW. Positions count from 1; values are compared as GROUP BY compares them, so that NULL
//! equals NULL.

pub(crate) mod access;
pub(crate) mod construct;
pub(crate) mod edit;
pub(crate) mod join;
pub(crate) mod lists;
pub(crate) mod map;
pub(crate) mod order;
pub(crate) mod search;
pub(crate) mod set;

#[cfg(test)]
mod tests;
