//! Flink's SQL scalar functions.
pub mod arithmetic;
pub mod cast;
mod civil;
mod collection;
mod conditional;
mod decimal;
mod error;
mod function;
mod java;
pub mod json;
mod math;
mod pattern_cache;
mod string;
mod temporal;
#[cfg(test)]
mod testing;
mod type_of;
mod types;
mod zone;

use std::sync::Arc;

use datafusion_expr::ScalarUDF;

pub use error::{Error, Result};
pub use function::Options;
pub use types::{common_type, list_of, map_of, sql_name};

/// All functions.
#[must_use]
pub fn scalar_functions(options: &Options) -> Vec<Arc<ScalarUDF>> {
    let zone = options.time_zone.parse().unwrap_or(zone::Zone::UTC);
    let shared = Arc::new(options.clone());
    let lists = [
        collection::access::functions(),
        collection::construct::functions(),
        collection::edit::functions(),
        collection::join::functions(),
        collection::map::functions(),
        collection::order::functions(),
        collection::search::functions(),
        collection::set::functions(),
        conditional::choose::functions(),
        conditional::extreme::functions(),
        conditional::nullif::functions(),
        json::construct::functions(),
        json::query::functions(),
        json::quote::functions(),
        math::absolute::functions(),
        math::bits::functions(),
        math::double::functions(),
        math::modulo::functions(),
        math::round::functions(),
        math::whole::functions(),
        string::affix::functions(),
        string::case::functions(),
        string::code::functions(),
        string::codec::functions(),
        string::concat::functions(),
        string::hash::functions(),
        string::like::functions(),
        string::pad::functions(),
        string::position::functions(),
        string::predicate::functions(),
        string::printf::functions(),
        string::regexp::functions(),
        string::repeat::functions(),
        string::replace::functions(),
        string::split::functions(),
        string::str_to_map::functions(),
        string::substring::functions(),
        string::trim::functions(),
        string::url::functions(),
        temporal::add::functions(),
        temporal::diff::functions(),
        temporal::extract::functions(),
        temporal::format::functions(),
        temporal::parse::functions(),
        temporal::round::functions(),
        type_of::functions(),
    ];
    lists.into_iter().flatten().map(|f| Arc::new(f.with_options(&shared, zone).into())).collect()
}
