//! millstream-operators

pub mod aggregate;
