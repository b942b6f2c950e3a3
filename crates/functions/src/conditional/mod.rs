//! COALESCE, IFNULL, IF, NULLIF, GREATEST, LEAST: their arguments have one type, the least restrictive of all.

pub(crate) mod choose;
pub(crate) mod extreme;
pub(crate) mod nullif;

#[cfg(test)]
mod tests;
