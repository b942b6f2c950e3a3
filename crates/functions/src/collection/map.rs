//! MAP_KEYS, MAP_VALUES, MAP_ENTRIES, MAP_FROM_ARRAYS, MAP_UNION.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::row::Row;

use super::lists::{Comparable, Lists, Picker, list_type};
use crate::call::Call;
use crate::cast::to_text::bounds;
use crate::error::{Error, Result};
use crate::function::{Arguments, Function, Given, arity, common_of, wrong_type};
use crate::types::{canonical, element_type, entry_types, list_of, map_of};

pub(crate) fn functions() -> Vec<Function> {
    let of_map =
        |name, rule, returns, eval| Function::new(name, Arguments::Own(rule), returns, eval);
    vec![
        of_map(
            "map_keys",
            |given| one("map_keys", given),
            |given| Ok(list_of(entries_of(given)?.0)),
            |call| lists(call, Part::Keys),
        ),
        of_map(
            "map_values",
            |given| one("map_values", given),
            |given| Ok(list_of(entries_of(given)?.1)),
            |call| lists(call, Part::Values),
        ),
        of_map(
            "map_entries",
            |given| one("map_entries", given),
            entry_rows,
            |call| lists(call, Part::Entries),
        ),
        of_map("map_from_arrays", array_types, array_map, from_arrays),
        of_map(
            "map_union",
            union_types,
            |given| Ok(given.data_type(0).clone()),
            union,
        ),
    ]
}

fn one(name: &str, given: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, given, 1, 1)?;
    match &given[0] {
        map @ DataType::Map(..) => Ok(vec![canonical(map)]),
        DataType::Null => Ok(vec![map_of(DataType::Null, DataType::Null)]),
        other => Err(wrong_type(name, 0, other, "a MAP").into()),
    }
}

fn entries_of(given: &Given<'_>) -> Result<(DataType, DataType)> {
    let data_type = given.data_type(0);
    let (key, value) =
        entry_types(data_type).ok_or_else(|| wrong_type(given.name, 0, data_type, "a MAP"))?;
    Ok((key.clone(), value.clone()))
}

fn entry_rows(given: &Given<'_>) -> Result<DataType> {
    let (key, value) = entries_of(given)?;
    let fields = Fields::from(vec![
        Field::new("key", key, true),
        Field::new("value", value, true),
    ]);
    Ok(list_of(DataType::Struct(fields)))
}

#[derive(Clone, Copy)]
enum Part {
    Keys,
    Values,
    Entries,
}

/// The entries stand side by side already: their parts become lists as they are.
fn lists(call: &Call<'_>, part: Part) -> Result<ArrayRef> {
    let column = call.column(0)?;
    let map = column.as_map();
    let DataType::List(field) = call.returns else {
        return Err(Error::argument(call.name, "the result is no ARRAY").into());
    };
    let values: ArrayRef = match (part, field.data_type()) {
        (Part::Keys, _) => Arc::clone(map.keys()),
        (Part::Values, _) => Arc::clone(map.values()),
        (Part::Entries, DataType::Struct(fields)) => {
            let columns = vec![Arc::clone(map.keys()), Arc::clone(map.values())];
            Arc::new(StructArray::try_new(fields.clone(), columns, None)?)
        }
        (Part::Entries, other) => return Err(wrong_type(call.name, 0, other, "a ROW").into()),
    };
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(field),
        map.offsets().clone(),
        values,
        map.nulls().cloned(),
    )?))
}

/// The positions to keep, so that of equal keys the first place and the last value stay: that is the last position,
/// put where the first one was.
pub(super) fn keep_last<'k>(len: usize, key: impl Fn(usize) -> Row<'k>) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::with_capacity(len);
    if len <= 16 {
        for idx in 0..len {
            match kept.iter_mut().find(|known| key(**known) == key(idx)) {
                Some(known) => *known = idx,
                None => kept.push(idx),
            }
        }
        return kept;
    }
    let mut places = HashMap::with_capacity(len);
    for idx in 0..len {
        let next = kept.len();
        let place = *places.entry(key(idx)).or_insert(next);
        match kept.get_mut(place) {
            Some(known) => *known = idx,
            None => kept.push(idx),
        }
    }
    kept
}

/// The maps of picked keys and values.
pub(super) fn finish(
    call: &Call<'_>,
    keys: Picker,
    key_columns: &[&ArrayRef],
    values: Picker,
    value_columns: &[&ArrayRef],
) -> Result<ArrayRef> {
    let (keys, offsets, nulls) = keys.into_parts(key_columns)?;
    let (values, _, _) = values.into_parts(value_columns)?;
    let DataType::Map(field, sorted) = call.returns else {
        return Err(Error::argument(call.name, "the result is no MAP").into());
    };
    let DataType::Struct(fields) = field.data_type() else {
        return Err(Error::argument(call.name, "the result is no MAP").into());
    };
    if keys.null_count() > 0 {
        return Err(Error::argument(call.name, "a key is NULL").into());
    }
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(field),
        offsets,
        entries,
        nulls,
        *sorted,
    )?))
}

fn array_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("map_from_arrays", given, 2, 2)?;
    given
        .iter()
        .enumerate()
        .map(|(idx, given)| list_type("map_from_arrays", idx, given))
        .collect()
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of every result type")]
fn array_map(given: &Given<'_>) -> Result<DataType> {
    let element = |idx: usize| {
        element_type(given.data_type(idx))
            .cloned()
            .unwrap_or(DataType::Null)
    };
    Ok(map_of(element(0), element(1)))
}

fn from_arrays(call: &Call<'_>) -> Result<ArrayRef> {
    let (key_lists, value_lists) = (Lists::new(call, 0)?, Lists::new(call, 1)?);
    let comparable = Comparable::new(&[key_lists.values()])?;
    let (mut keys, mut values) = (Picker::new(call.rows), Picker::new(call.rows));
    for row in 0..call.rows {
        let ranges = (key_lists.range(row), value_lists.range(row));
        if let (Some(key_range), Some(value_range)) = &ranges {
            if key_range.len() != value_range.len() {
                let message = format!(
                    "there are {} keys and {} values",
                    key_range.len(),
                    value_range.len()
                );
                return Err(Error::argument(call.name, message).into());
            }
            for idx in keep_last(key_range.len(), |idx| {
                comparable.get(0, key_range.start + idx)
            }) {
                keys.pick(0, key_range.start + idx);
                values.pick(0, value_range.start + idx);
            }
        }
        let valid = ranges.0.is_some() && ranges.1.is_some();
        keys.end(call, valid)?;
        values.end(call, valid)?;
    }
    finish(
        call,
        keys,
        &[key_lists.values()],
        values,
        &[value_lists.values()],
    )
}

fn union_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("map_union", given, 1, usize::MAX)?;
    if let Some(idx) = given
        .iter()
        .position(|given| !matches!(given, DataType::Map(..) | DataType::Null))
    {
        return Err(wrong_type("map_union", idx, &given[idx], "a MAP").into());
    }
    let common = match common_of("map_union", given)? {
        DataType::Null => map_of(DataType::Null, DataType::Null),
        common => common,
    };
    Ok(vec![common; given.len()])
}

/// Of a key that is in several maps the last one's value counts; NULL if a map is.
fn union(call: &Call<'_>) -> Result<ArrayRef> {
    let maps: Result<Vec<_>> = (0..call.len()).map(|idx| call.arg(idx)).collect();
    let maps = maps?;
    let key_columns: Vec<&ArrayRef> = maps.iter().map(|map| map.array.as_map().keys()).collect();
    let value_columns: Vec<&ArrayRef> =
        maps.iter().map(|map| map.array.as_map().values()).collect();
    let comparable = Comparable::new(&key_columns)?;
    let (mut keys, mut values) = (Picker::new(call.rows), Picker::new(call.rows));
    for row in 0..call.rows {
        let valid = maps.iter().all(|map| !map.is_null(row));
        if valid {
            let mut entries = Vec::new();
            for (nth, map) in maps.iter().enumerate() {
                let (start, end) = bounds(map.array.as_map().value_offsets(), map.at(row));
                entries.extend((start..end).map(|idx| (nth, idx)));
            }
            for idx in keep_last(entries.len(), |idx| {
                comparable.get(entries[idx].0, entries[idx].1)
            }) {
                keys.pick(entries[idx].0, entries[idx].1);
                values.pick(entries[idx].0, entries[idx].1);
            }
        }
        keys.end(call, valid)?;
        values.end(call, valid)?;
    }
    finish(call, keys, &key_columns, values, &value_columns)
}
