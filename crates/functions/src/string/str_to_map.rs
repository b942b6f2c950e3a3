//! STR_TO_MAP: `k1=v1,k2=v2` as a map; the delimiters are regular expressions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, MapBuilder, MapFieldNames, StringViewBuilder};
use arrow::datatypes::{DataType, Field};

use super::regexp::Patterns;
use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes_optional};
use crate::types::map_of;

pub(crate) fn functions() -> Vec<Function> {
    let arguments = takes_optional(&[Kind::Text], &[Kind::Text, Kind::Text]);
    vec![Function::new(
        "str_to_map",
        arguments,
        |_| Ok(map_of(DataType::Utf8View, DataType::Utf8View)),
        str_to_map,
    )]
}

fn str_to_map(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let pairs = if call.len() > 1 {
        Some(call.text(1)?)
    } else {
        None
    };
    let equals = if call.len() > 2 {
        Some(call.text(2)?)
    } else {
        None
    };
    let (mut pair_patterns, mut equal_patterns) =
        (Patterns::new(call.name), Patterns::new(call.name));
    let names = MapFieldNames {
        entry: "entries".into(),
        key: "key".into(),
        value: "value".into(),
    };
    let mut builder = MapBuilder::new(
        Some(names),
        StringViewBuilder::new(),
        StringViewBuilder::new(),
    )
    .with_keys_field(Field::new("key", DataType::Utf8View, false))
    .with_values_field(Field::new("value", DataType::Utf8View, true));
    for row in 0..call.rows {
        let pair = pairs.as_ref().map_or(Some(","), |pairs| pairs.get(row));
        let equal = equals.as_ref().map_or(Some("="), |equals| equals.get(row));
        let (Some(text), Some(pair), Some(equal)) = (texts.get(row), pair, equal) else {
            builder.append(false)?;
            continue;
        };
        let (pair, equal) = (pair_patterns.get(pair)?, equal_patterns.get(equal)?);
        for (key, value) in entries(text, pair, equal) {
            builder.keys().append_value(key);
            builder.values().append_option(value);
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// In the order of the keys' first appearance; of a key that comes twice the last value counts.
fn entries<'a>(
    text: &'a str,
    pair: &regex::Regex,
    equal: &regex::Regex,
) -> Vec<(&'a str, Option<&'a str>)> {
    let mut places = HashMap::new();
    let mut entries: Vec<(&str, Option<&str>)> = Vec::new();
    if text.is_empty() {
        return entries;
    }
    let mut parts: Vec<&str> = pair.split(text).collect();
    while parts.len() > 1 && parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    for part in parts {
        let mut halves = equal.splitn(part, 2);
        let key = halves.next().unwrap_or("");
        let value = halves.next();
        match places.get(key) {
            Some(place) => {
                if let Some(entry) = entries.get_mut(*place) {
                    *entry = (key, value);
                }
            }
            None => {
                places.insert(key, entries.len());
                entries.push((key, value));
            }
        }
    }
    entries
}
