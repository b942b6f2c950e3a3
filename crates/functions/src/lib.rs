//! Flink's SQL scalar functions, casts and decimal arithmetic as DataFusion `ScalarUDF`s.
//!
//! Three entrances:
//!
//! * [`scalar_functions`] is the list of the functions that a query calls by name, in lower case, with aliases.
//! * [`cast`] makes the function for a CAST or TRY_CAST; [`cast::needs_flink`] says where Arrow's own kernel will do.
//! * [`arithmetic::binary`] makes the function for `+ - * / %` where a side is DECIMAL.
//!
//! Every function converts its arguments itself (`coerce_types`), takes `Utf8`, `LargeUtf8` and `Utf8View` alike and
//! gives `Utf8View` and `BinaryView`, says that it may be NULL, and evaluates literals once. An argument that should be
//! text becomes text as in CAST. All are deterministic: RAND, UUID and the current time are not here.
//!
//! # Conventions for the planner
//!
//! | SQL | call |
//! |---|---|
//! | `CAST(x AS t)`, `TRY_CAST(x AS t)` | [`cast::cast_udf`], [`cast::try_cast_udf`]; [`cast::udf`] with a [`cast::Target`] for `TIME(p)`, `TIMESTAMP(p)` |
//! | `CAST(TIMESTAMP(p) AS STRING)` | a field's metadata [`cast::FRACTION_KEY`] = p, where p is not the unit's 3, 6 or 9 |
//! | `a + b` with DECIMAL | [`arithmetic::binary`]; with FLOAT or DOUBLE it is `None`: cast the DECIMAL to DOUBLE |
//! | `EXTRACT(u FROM x)` | `extract('u', x)`, BIGINT |
//! | `FLOOR(x TO u)`, `CEIL(x TO u)` | `floor_to(x, 'u')`, `ceil_to(x, 'u')` |
//! | `TIMESTAMPADD(u, n, x)`, `TIMESTAMPDIFF(u, a, b)` | `timestampadd('u', n, x)`, `timestampdiff('u', a, b)` |
//! | `(a, b) OVERLAPS (c, d)` | `overlaps(a, b, c, d)`, an interval added to its start first |
//! | `interval * n` | `interval_multiply(interval, n)` |
//! | `POSITION(a IN b)` | `position(a, b)` |
//! | `OVERLAY(a PLACING b FROM i FOR n)` | `overlay(a, b, i, n)` |
//! | `SUBSTRING(a FROM i FOR n)` | `substring(a, i, n)` |
//! | `TRIM(BOTH/LEADING/TRAILING c FROM a)` | `btrim`, `ltrim`, `rtrim` `(a, c)` |
//! | `a LIKE p ESCAPE e`, `a SIMILAR TO p ESCAPE e` | `like(a, p, e)`, `similar_to(a, p, e)`; DataFusion's own LIKE takes a backslash for an escape |
//! | `a[i]`, `m[k]` | `item(collection, position or key)` |
//! | `ROW(...)`, `ARRAY[...]`, `MAP[k, v, ...]` | `row(...)`, `array(...)`, `map(k, v, ...)` |
//! | `x IS JSON [kind]` | `is_json(x, 'VALUE' / 'SCALAR' / 'ARRAY' / 'OBJECT')` |
//! | `JSON_EXISTS(x, p b ON ERROR)` | `json_exists(x, p, 'TRUE' / 'FALSE' / 'UNKNOWN' / 'ERROR')` |
//! | `JSON_VALUE(x, p RETURNING t DEFAULT d ON EMPTY e ON ERROR)` | `json_value(x, p, 't', 'NULL' / 'ERROR' / 'DEFAULT', d, 'NULL' / 'ERROR' / 'DEFAULT', e)`, left out from the end; t is `STRING`, `BOOLEAN`, `INTEGER`, `BIGINT`, `DOUBLE` |
//! | `JSON_QUERY(x, p RETURNING t WITH w WRAPPER a ON EMPTY b ON ERROR)` | `json_query(x, p, 'WITHOUT' / 'CONDITIONAL' / 'UNCONDITIONAL', a, b, 't')`; a and b are `NULL`, `EMPTY ARRAY`, `EMPTY OBJECT`, `ERROR`; t is `STRING`, `ARRAY<STRING>` |
//! | `JSON_OBJECT(KEY k VALUE v ... n ON NULL)` | `json_object('NULL' / 'ABSENT', flags, k, v, ...)`, flags from [`json::raw_flags`] of the values |
//! | `JSON_ARRAY(v, ... n ON NULL)` | `json_array('NULL' / 'ABSENT', flags, v, ...)`; the default is `ABSENT` |
//! | `MOD(a, b)` | `mod(a, b)`; `a % b` of integers may stay DataFusion's |
//!
//! DataFusion's own `ExprPlanner`s plan SUBSTRING, OVERLAY, POSITION, EXTRACT, array, map and row literals and `a[i]`
//! with DataFusion's functions, whatever is registered under their names: leave them out, and plan those calls with
//! these. A text or integer literal that decides a type (a unit, a number of digits) must reach the call as a literal.
//!
//! Comparisons (of decimals of different scales too), logic, CASE, BETWEEN, IN, `||`, unary minus, a row's fields, and
//! a date or timestamp plus or minus an interval mean in DataFusion what they mean in Flink.

pub mod arithmetic;
mod call;
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
mod moments;
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

/// All functions that are called by name. An unknown time zone is taken for UTC; [`Options::check`]
/// refuses it.
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
        string::inet::functions(),
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
        temporal::overlaps::functions(),
        temporal::parse::functions(),
        temporal::round::functions(),
        type_of::functions(),
    ];
    lists
        .into_iter()
        .flatten()
        .map(|f| Arc::new(f.with_options(&shared, zone).into()))
        .collect()
}
