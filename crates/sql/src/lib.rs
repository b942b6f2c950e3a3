//! Text to statements: Flink's SQL dialect, with CREATE MATERIALIZED VIEW.
//!
//! [`parse`] gives each statement with its span; a [`SyntaxError`] renders itself with the source line underlined. Statements are
//! values of this crate ([`Statement`]). Queries and expressions are sqlparser's AST, so that DataFusion's `SqlToRel` can bind them,
//! next to the text they were written in ([`Parsed`]). Locations in the AST are those of the whole text ([`Span::of`] converts them).
//! Names keep their case, quoted or not, as Flink's do: whoever binds the AST must not fold them.
//!
//! # What the AST carries for what sqlparser has no place for
//!
//! | written | in the AST | read it with |
//! |---|---|---|
//! | `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), ...))`, positional or named, also without `TABLE(...)` | `TableFactor::TableFunction { expr: Function }`, or `TableFactor::Table { args }` | [`window_call`] for TUMBLE, HOP, CUMULATE and SESSION (checked while parsing, so that the planner meets no error), [`table_call`] for any other |
//! | `TABLE t PARTITION BY k ORDER BY o` as an argument | call of `TABLE` with the `CompoundIdentifier`, `Subquery` or `Function`, then `PARTITION_BY => Tuple`, and the clause ORDER BY | [`TableArg::Table`], [`TableInput::to_table_factor`] |
//! | `DESCRIPTOR(a, b)` | call of `DESCRIPTOR` | [`TableArg::Descriptor`] |
//! | `LATERAL TABLE(f(x)) AS t(a)` | `TableFactor::Function { lateral: true, name: f, args: [x] }` | [`table_call`] |
//! | `t FOR SYSTEM_TIME AS OF x AS a` | `TableFactor::Table { version: Some(ForSystemTimeAsOf(x)) }` | as it is; DataFusion ignores it: plan it in the relation planner |
//! | `t /*+ OPTIONS('k' = 'v') */` | `TableFactor::Table { with_hints: ['k' = 'v'] }`; for INSERT in [`Insert::options`] | [`table_options`] |
//! | `SELECT /*+ STATE_TTL(...) */` | nothing: a note in [`Script::notes`] | |
//! | `PATTERN (...) WITHIN i` | the first of `symbols`, called `$WITHIN` | [`match_within`] |
//! | `A*?` (reluctant) in PATTERN | `Repetition(Repetition(A, ZeroOrMore), AtMostOne)` | as it is: `AtMostOne` straight around another repetition |
//! | `FINAL f(x)`, `RUNNING f(x)` in MEASURES | call of `FINAL` or `RUNNING` with the expression | |
//! | `CAST(x AS type)`, `TRY_CAST` | `Cast` to `DataType::Custom("FLINK", [type as printed])` | [`FieldType::from_sql`], which also reads sqlparser's own types (in `DATE '...'`, `TIMESTAMP '...'`) |
//! | `INTERVAL '1 02:03' DAY TO MINUTE`, `INTERVAL -'2' WEEKS` | `Interval` with a signed number as string and one of YEAR, MONTH, DAY, HOUR, MINUTE, SECOND | as it is, or [`IntervalValue::of`] |
//! | `FLOOR(x TO HOUR)`, `CEIL(x TO DAY)` | calls `FLOOR_TO(x, 'HOUR')`, `CEIL_TO(x, 'DAY')` | |
//! | `FLOOR(x)`, `CEIL(x)`, `CEILING(x)` | calls `FLOOR(x)`, `CEIL(x)` | |
//! | `TIMESTAMPDIFF(SECOND, a, b)`, `TIMESTAMPADD(...)` | the call with `'SECOND'` as its first argument; units are upper case and singular | |
//! | `x BETWEEN SYMMETRIC a AND b` | `(x BETWEEN a AND b OR x BETWEEN b AND a)` | |
//! | `x BETWEEN ASYMMETRIC a AND b` | `x BETWEEN a AND b` | |
//! | `MAP['k', v]` | `Expr::Map` | |
//! | `ARRAY[a, b]` | `Expr::Array` | |
//! | `ROW(a, b)` | call `ROW(a, b)` | |
//! | `(a, b)` | `Expr::Tuple` | |
//! | `x IS [NOT] JSON [VALUE, OBJECT, ARRAY, SCALAR]` | `[NOT] IS_JSON_VALUE(x)`, `IS_JSON_OBJECT(x)`, ... | |
//! | `JSON_VALUE(x, p)` | the call with two arguments | |
//! | `JSON_VALUE(x, p RETURNING t a ON EMPTY b ON ERROR)` | `JSON_VALUE(x, p, 't', 'NULL', NULL, 'DEFAULT', d)`: the type, what to do ON EMPTY and its DEFAULT, the same for ON ERROR | |
//! | `JSON_EXISTS(x, p UNKNOWN ON ERROR)` | `JSON_EXISTS(x, p, 'UNKNOWN')` | |
//! | `JSON_QUERY(x, p ...)` | `JSON_QUERY(x, p)`, or with clauses `JSON_QUERY(x, p, 'STRING', 'WITHOUT', 'NULL', 'EMPTY ARRAY')`: type, wrapper (WITHOUT, CONDITIONAL, UNCONDITIONAL), ON EMPTY, ON ERROR | |
//! | `JSON_OBJECT(KEY k VALUE v, ...)`, `JSON_OBJECTAGG(...)` | `JSON_OBJECT(k, v, ...)`; with ABSENT ON NULL the name ends in `_ABSENT_ON_NULL` | |
//! | `JSON_ARRAY(v, ...)`, `JSON_ARRAYAGG(v)` | the call; with NULL ON NULL the name ends in `_NULL_ON_NULL` | |
//! | `TABLE t` as a query | `SELECT * FROM t` | |
//! | `FETCH FIRST n ROWS ONLY` | `LIMIT n` | |
//!
//! Window functions of the older kind (`TUMBLE(ts, INTERVAL ...)` in GROUP BY, `TUMBLE_START` and so on) are plain calls, as are MATCH_RECOGNIZE's
//! `LAST(x, n)` and `MATCH_ROWTIME()`.
//!
//! # Limits
//!
//! [`Limits`] caps the text, its tokens, nesting, and chains (`1 + 1 + ...`), whose trees would be too deep for everything that
//! walks them. No input overflows the stack.

mod cursor;
mod diagnostic;
mod dialect;
mod display;
mod expr;
mod hint;
mod interval;
mod json;
mod limits;
mod name;
mod nearest;
mod parser;
mod pattern;
mod rewrite;
mod span;
mod statement;
mod table;
mod type_parser;
mod types;

pub use diagnostic::{Diagnostic, SyntaxError};
pub use interval::IntervalValue;
pub use limits::Limits;
pub use name::{Name, quoted, text_literal};
pub use nearest::{did_you_mean, nearest};
pub use parser::{
    Script, check_limits, parse, parse_expression, parse_query, parse_script, parse_type,
};
pub use pattern::match_within;
pub use span::{Position, Span, Spanned};
pub use statement::*;
pub use table::{
    CallError, TableArg, TableCall, TableInput, TableSource, Window, WindowCall, table_call,
    table_options, window_call,
};
pub use types::{DECIMAL_PRECISION_MAX, FieldType, IntervalField, LENGTH_MAX, RowField, Type};
