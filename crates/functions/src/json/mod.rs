//! JSON_VALUE, JSON_QUERY, JSON_EXISTS, IS JSON, JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_QUOTE, JSON_UNQUOTE.

pub(crate) mod construct;
mod path;
pub(crate) mod query;
pub(crate) mod quote;
mod value;

pub use construct::raw_flags;

#[cfg(test)]
mod tests;
