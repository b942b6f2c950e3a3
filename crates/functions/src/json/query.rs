//! JSON_VALUE, JSON_QUERY, JSON_EXISTS and IS JSON.
//!
//! The clauses of SQL come as literal texts, each of which may be left out from the end:
//!
//! * `json_value(json, path, returning, on_empty, default_on_empty, on_error, default_on_error)`: returning is
//!   `STRING`, `BOOLEAN`, `INTEGER`, `DOUBLE`, or another
//!   number type's name; the behaviours are `NULL`, `ERROR` or `DEFAULT`, whose value
//!   follows (NULL where it is not used).
//! * `json_query(json, path, wrapper, on_empty, on_error, returning)`: wrapper is `WITHOUT`, `CONDITIONAL` or
//!   `UNCONDITIONAL`; the behaviours are `NULL`, `EMPTY ARRAY`, `EMPTY OBJECT` or `ERROR`; returning is `STRING` or
//!   `ARRAY<STRING>`.
//! * `json_exists(json, path, on_error)` with `TRUE`, `FALSE`, `UNKNOWN` or `ERROR`.
//! * `is_json(json, kind)` with `VALUE`, `SCALAR`, `ARRAY` or `OBJECT`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanBuilder, ListBuilder, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{DataType, Field};

use super::path::{Found, Path};
use super::value::Json;
use crate::call::{Arg, Call};
use crate::cast::from_text;
use crate::error::{Error, Result};
use crate::function::{Arguments, Function, Given, Kind, arity, takes_optional};
use crate::pattern_cache::{Cache, Last};
use crate::types::{canonical, list_of};
use crate::{decimal, java};

thread_local! {
    static PATHS: Cache<Path> = Cache::default();
}

pub(crate) fn functions() -> Vec<Function> {
    const TWO: &[Kind] = &[Kind::Text, Kind::Text];
    const THREE: &[Kind] = &[Kind::Text, Kind::Text, Kind::Text];
    const FOUR: &[Kind] = &[Kind::Text, Kind::Text, Kind::Text, Kind::Text];
    vec![
        Function::new(
            "json_value",
            Arguments::Own(value_types),
            value_type,
            json_value,
        ),
        Function::new(
            "json_query",
            takes_optional(TWO, FOUR),
            query_type,
            json_query,
        ),
        Function::new(
            "json_exists",
            takes_optional(TWO, &THREE[..1]),
            |_| Ok(DataType::Boolean),
            json_exists,
        ),
        Function::new(
            "is_json",
            takes_optional(&TWO[..1], &TWO[..1]),
            |_| Ok(DataType::Boolean),
            is_json,
        ),
    ]
}

fn compile<'p>(name: &str, paths: &'p mut Last<Path>, path: &str) -> Result<&'p Path> {
    paths.get(path, |path| {
        Path::compile(path).map_err(|message| Error::argument(name, message).into())
    })
}

/// The literal text of a clause, in upper case, or what stands for one that is left out.
fn clause(call: &Call<'_>, idx: usize, default: &str) -> Result<String> {
    if idx >= call.len() {
        return Ok(default.into());
    }
    let texts = call.text(idx)?;
    let text = texts.array.iter().next().flatten();
    Ok(text.unwrap_or(default).trim().to_uppercase())
}

fn unknown<T>(call: &Call<'_>, clause: &str, known: &str) -> Result<T> {
    Err(Error::argument(call.name, format!("'{clause}' is not one of {known}")).into())
}

/// What following a path came to.
enum Outcome<'d, 'a> {
    Found(Found<'d, 'a>),
    Empty,
    Failed(&'static str),
}

fn outcome<'d, 'a>(path: &Path, root: Option<&'d Json<'a>>) -> Outcome<'d, 'a> {
    match (root, path.lax) {
        (None, true) => Outcome::Empty,
        (None, false) => Outcome::Failed("the text is no JSON"),
        (Some(root), lax) => match path.find(root) {
            Some(Found::One(Json::Null)) => Outcome::Empty,
            Some(found) => Outcome::Found(found),
            None if lax => Outcome::Empty,
            None => Outcome::Failed("the path leads to nothing"),
        },
    }
}

#[derive(Clone, Copy, PartialEq)]
enum OnValue {
    Null,
    Error,
    Default,
}

fn on_value(call: &Call<'_>, idx: usize) -> Result<OnValue> {
    Ok(match clause(call, idx, "NULL")?.as_str() {
        "NULL" => OnValue::Null,
        "ERROR" => OnValue::Error,
        "DEFAULT" => OnValue::Default,
        other => return unknown(call, other, "NULL, ERROR, DEFAULT"),
    })
}

fn value_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("json_value", given, 2, 7)?;
    let kind = |(idx, given): (usize, &DataType)| match idx {
        4 | 6 => canonical(given),
        _ if given.is_null() => DataType::Utf8View,
        _ => given.clone(),
    };
    Ok(given.iter().enumerate().map(kind).collect())
}

fn value_type(given: &Given<'_>) -> Result<DataType> {
    let name = given
        .literal_text(2)
        .unwrap_or("STRING")
        .trim()
        .to_uppercase();
    let data_type = match name.as_str() {
        "BOOLEAN" => Some(DataType::Boolean),
        "TINYINT" => Some(DataType::Int8),
        "SMALLINT" => Some(DataType::Int16),
        "INTEGER" | "INT" => Some(DataType::Int32),
        "BIGINT" => Some(DataType::Int64),
        "FLOAT" => Some(DataType::Float32),
        "DOUBLE" => Some(DataType::Float64),
        "STRING" => Some(DataType::Utf8View),
        text if text.starts_with("VARCHAR") || text.starts_with("CHAR") => Some(DataType::Utf8View),
        other => decimal_type(other),
    };
    data_type.ok_or_else(|| {
        let known = "STRING, BOOLEAN, FLOAT, DOUBLE, DECIMAL(p, s) and the integers are possible";
        Error::argument(given.name, format!("cannot return {name}: {known}")).into()
    })
}

fn decimal_type(name: &str) -> Option<DataType> {
    let (precision, scale) = name
        .strip_prefix("DECIMAL(")?
        .strip_suffix(')')?
        .split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    let valid = (1..=38).contains(&precision) && (0..=precision).contains(&scale);
    valid.then(|| Some(DataType::Decimal128(precision, i8::try_from(scale).ok()?)))?
}

/// The values as texts first, with the rows that did not spell one of the type marked as failed.
fn json_value(call: &Call<'_>) -> Result<ArrayRef> {
    let (documents, path_texts) = (call.text(0)?, call.text(1)?);
    let (on_empty, on_error) = (on_value(call, 3)?, on_value(call, 5)?);
    let default = |behaviour, idx| {
        if behaviour == OnValue::Default {
            default_texts(call, idx).map(Some)
        } else {
            Ok(None)
        }
    };
    let (empty_default, error_default) = (default(on_empty, 4)?, default(on_error, 6)?);
    let mut paths = Last::new(&PATHS);
    let texts = call.texts(|row, out| {
        let (Some(document), Some(path)) = (documents.get(row), path_texts.get(row)) else {
            return Ok(false);
        };
        let path = compile(call.name, &mut paths, path)?;
        let root = Json::parse(document);
        let result = match outcome(path, root.as_ref()) {
            Outcome::Found(Found::One(value)) if value.is_scalar() => {
                if write_as(value, call.returns, out) {
                    return Ok(true);
                };
                Outcome::Failed("the value is not of the type that is returned")
            }
            Outcome::Found(_) if path.lax => Outcome::Empty,
            Outcome::Found(_) => Outcome::Failed("the value is an array or an object"),
            other => other,
        };
        let (behaviour, default, reason) = match result {
            Outcome::Failed(reason) => (on_error, &error_default, reason),
            _ => (on_empty, &empty_default, "the path leads to nothing"),
        };
        match behaviour {
            OnValue::Null => Ok(false),
            OnValue::Error => Err(Error::argument(call.name, reason).into()),
            OnValue::Default => Ok(push(default.as_ref(), row, out)),
        }
    })?;
    if call.returns == &DataType::Utf8View {
        return Ok(texts);
    }
    crate::cast::strict(&texts, call.returns, call.zone)
}

/// A default value as JSON would spell it: TRUE is `true`.
fn default_texts(call: &Call<'_>, idx: usize) -> Result<Arg<StringViewArray>> {
    let value = call.arg(idx)?;
    let Some(booleans) = value.array.as_boolean_opt() else {
        return call.text(idx);
    };
    let words = booleans
        .iter()
        .map(|b| b.map(|b| if b { "true" } else { "false" }));
    Ok(value.with(words.collect()))
}

fn push(default: Option<&Arg<StringViewArray>>, row: usize, out: &mut String) -> bool {
    let value = default.and_then(|default| default.get(row));
    out.clear();
    out.push_str(value.unwrap_or(""));
    value.is_some()
}

/// Appends a scalar where it is, or spells, a value of the type.
fn write_as(value: &Json<'_>, returns: &DataType, out: &mut String) -> bool {
    value.write_scalar(out);
    let (is_boolean, is_null) = (matches!(value, Json::Boolean(_)), value == &Json::Null);
    match returns {
        DataType::Utf8View => true,
        DataType::Boolean => !is_null && from_text::boolean(out).is_some(),
        _ if is_boolean || is_null => false,
        DataType::Decimal128(precision, scale) => {
            decimal::parse(out, *scale).is_some_and(|value| decimal::fits(value, *precision))
        }
        integer if integer.is_integer() => write_integer(integer, out),
        _ => java::parse_f64(out).is_some_and(f64::is_finite),
    }
}

/// Cuts off the digits behind the point.
fn write_integer(returns: &DataType, out: &mut String) -> bool {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "cut off on purpose, within the range"
    )]
    let truncated = || {
        java::parse_f64(out)
            .filter(|d| d.abs() < 9e18)
            .map(|d| d as i64)
    };
    let Some(value) = from_text::long(out).or_else(truncated) else {
        return false;
    };
    let fits = match returns {
        DataType::Int8 => i8::try_from(value).is_ok(),
        DataType::Int16 => i16::try_from(value).is_ok(),
        DataType::Int32 => i32::try_from(value).is_ok(),
        _ => true,
    };
    out.clear();
    out.push_str(itoa::Buffer::new().format(value));
    fits
}

#[derive(Clone, Copy, PartialEq)]
enum OnQuery {
    Null,
    EmptyArray,
    EmptyObject,
    Error,
}

fn on_query(call: &Call<'_>, idx: usize) -> Result<OnQuery> {
    Ok(match clause(call, idx, "NULL")?.as_str() {
        "NULL" => OnQuery::Null,
        "EMPTY ARRAY" | "EMPTY" => OnQuery::EmptyArray,
        "EMPTY OBJECT" => OnQuery::EmptyObject,
        "ERROR" => OnQuery::Error,
        other => return unknown(call, other, "NULL, EMPTY ARRAY, EMPTY OBJECT, ERROR"),
    })
}

fn query_type(given: &Given<'_>) -> Result<DataType> {
    match given
        .literal_text(5)
        .unwrap_or("STRING")
        .to_uppercase()
        .replace(' ', "")
        .as_str()
    {
        "ARRAY<STRING>" => Ok(list_of(DataType::Utf8View)),
        text if text == "STRING" || text.starts_with("VARCHAR") => Ok(DataType::Utf8View),
        other => Err(Error::argument(
            given.name,
            format!("cannot return {other}: STRING or ARRAY<STRING> are possible"),
        )
        .into()),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Wrapper {
    Without,
    Conditional,
    Unconditional,
}

fn json_query(call: &Call<'_>) -> Result<ArrayRef> {
    let (documents, path_texts) = (call.text(0)?, call.text(1)?);
    let wrapper = match clause(call, 2, "WITHOUT")?.as_str() {
        "WITHOUT" => Wrapper::Without,
        "CONDITIONAL" => Wrapper::Conditional,
        "UNCONDITIONAL" => Wrapper::Unconditional,
        other => return unknown(call, other, "WITHOUT, CONDITIONAL, UNCONDITIONAL"),
    };
    let (on_empty, on_error) = (on_query(call, 3)?, on_query(call, 4)?);
    let as_array = matches!(call.returns, DataType::List(_));
    let mut paths = Last::new(&PATHS);
    let texts = call.texts(|row, out| {
        let (Some(document), Some(path)) = (documents.get(row), path_texts.get(row)) else {
            return Ok(false);
        };
        let path = compile(call.name, &mut paths, path)?;
        let root = Json::parse(document);
        let result = outcome(path, root.as_ref());
        let failure = match result {
            Outcome::Found(found) => match write_query(&found, wrapper, as_array, out) {
                true => return Ok(true),
                false if path.lax => None,
                false => Some("the value is a scalar and not wrapped into an array"),
            },
            Outcome::Empty => None,
            Outcome::Failed(reason) => Some(reason),
        };
        let behaviour = if failure.is_some() {
            on_error
        } else {
            on_empty
        };
        match behaviour {
            OnQuery::Null => return Ok(false),
            OnQuery::EmptyArray => out.push_str("[]"),
            OnQuery::EmptyObject => out.push_str("{}"),
            OnQuery::Error => {
                return Err(Error::argument(
                    call.name,
                    failure.unwrap_or("the path leads to nothing"),
                )
                .into());
            }
        }
        Ok(true)
    })?;
    if as_array {
        arrays(call, &texts)
    } else {
        Ok(texts)
    }
}

/// Whether there is something to write: an array, an object, or a wrapped scalar.
fn write_query(found: &Found<'_, '_>, wrapper: Wrapper, as_array: bool, out: &mut String) -> bool {
    let is_array = matches!(found, Found::Many(_) | Found::One(Json::Array(_)));
    let wrap = wrapper == Wrapper::Unconditional || (wrapper == Wrapper::Conditional && !is_array);
    if let Found::One(value) = found
        && !wrap
        && (value.is_scalar() || as_array && !is_array)
    {
        return false;
    }
    out.push_str(if wrap { "[" } else { "" });
    match found {
        Found::One(value) => value.write(out),
        Found::Many(values) => {
            out.push('[');
            for (idx, value) in values.iter().enumerate() {
                out.push_str(if idx == 0 { "" } else { "," });
                value.write(out);
            }
            out.push(']');
        }
    }
    out.push_str(if wrap { "]" } else { "" });
    true
}

/// The elements of JSON arrays as texts, scalars without quotes.
fn arrays(call: &Call<'_>, texts: &ArrayRef) -> Result<ArrayRef> {
    let texts: StringViewArray = crate::call::downcast(call.name, texts)?;
    let mut builder = ListBuilder::new(StringViewBuilder::new())
        .with_field(Arc::new(Field::new_list_field(DataType::Utf8View, true)));
    let mut buffer = String::new();
    for text in &texts {
        let Some(Json::Array(values)) = text.and_then(Json::parse) else {
            builder.append(false);
            continue;
        };
        for value in &values {
            if value == &Json::Null {
                builder.values().append_null();
            } else {
                buffer.clear();
                value.write_scalar(&mut buffer);
                builder.values().append_value(&buffer);
            }
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

fn json_exists(call: &Call<'_>) -> Result<ArrayRef> {
    let (documents, path_texts) = (call.text(0)?, call.text(1)?);
    let on_error = clause(call, 2, "FALSE")?;
    let on_error = match on_error.as_str() {
        "TRUE" => Ok(Some(true)),
        "FALSE" => Ok(Some(false)),
        "UNKNOWN" => Ok(None),
        "ERROR" => Err(()),
        other => return unknown(call, other, "TRUE, FALSE, UNKNOWN, ERROR"),
    };
    let mut paths = Last::new(&PATHS);
    let mut builder = BooleanBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        let (Some(document), Some(path)) = (documents.get(row), path_texts.get(row)) else {
            builder.append_null();
            continue;
        };
        let path = compile(call.name, &mut paths, path)?;
        let root = Json::parse(document);
        builder.append_option(match (outcome(path, root.as_ref()), on_error) {
            (Outcome::Found(_), _) => Some(true),
            (Outcome::Empty, _) => Some(false),
            (Outcome::Failed(_), Ok(answer)) => answer,
            (Outcome::Failed(reason), Err(())) => {
                return Err(Error::argument(call.name, reason).into());
            }
        });
    }
    Ok(Arc::new(builder.finish()))
}

/// NULL is no JSON.
fn is_json(call: &Call<'_>) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    let kind = clause(call, 1, "VALUE")?;
    let of_kind: fn(&Json<'_>) -> bool = match kind.as_str() {
        "VALUE" => |_| true,
        "SCALAR" => |json| json.is_scalar(),
        "ARRAY" => |json| matches!(json, Json::Array(_)),
        "OBJECT" => |json| matches!(json, Json::Object(_)),
        other => return unknown(call, other, "VALUE, SCALAR, ARRAY, OBJECT"),
    };
    call.booleans(|row| {
        Some(
            documents
                .get(row)
                .and_then(Json::parse)
                .is_some_and(|json| of_kind(&json)),
        )
    })
}
