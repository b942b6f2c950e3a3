//! Scalar functions.
pub mod arithmetic;
pub mod cast;
mod civil;
mod decimal;
mod error;
mod function;
mod java;
mod types;
mod zone;

pub use error::{Error, Result};
pub use function::Options;
pub use types::{common_type, list_of, map_of, sql_name};
