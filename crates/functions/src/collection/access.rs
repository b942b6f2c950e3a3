//! `item(collection, position_or_key)` behind `a[1]` and `m['k']`, CARDINALITY, ELEMENT.

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::lists::{Comparable, Lists, list_type};
use crate::call::Call;
use crate::cast::to_text::bounds;
use crate::error::{Error, Result};
use crate::function::{Arguments, Function, Given, arity, common_of, wrong_type};
use crate::types::{canonical, element_type, entry_types, map_of};

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new("item", Arguments::Own(item_types), item_type, item),
        Function::new(
            "cardinality",
            Arguments::Own(cardinality_types),
            |_| Ok(DataType::Int32),
            cardinality,
        ),
        Function::new("element", Arguments::Own(element_types), item_type, element),
    ]
}

fn item_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("item", given, 2, 2)?;
    let Some((key, value)) = entry_types(&given[0]) else {
        let list = list_type("item", 0, &given[0])?;
        if !given[1].is_integer() && !given[1].is_null() {
            return Err(wrong_type("item", 1, &given[1], "a position").into());
        }
        return Ok(vec![list, DataType::Int64]);
    };
    let (key, value) = (canonical(key), canonical(value));
    let common = common_of("item", &[key.clone(), given[1].clone()])?;
    let map = if common == key {
        canonical(&given[0])
    } else {
        map_of(common.clone(), value)
    };
    Ok(vec![map, common])
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of every result type")]
fn item_type(given: &Given<'_>) -> Result<DataType> {
    let collection = given.data_type(0);
    let value = entry_types(collection)
        .map(|(_, value)| value)
        .or_else(|| element_type(collection));
    Ok(value.cloned().unwrap_or(DataType::Null))
}

/// What is not there is NULL.
fn item(call: &Call<'_>) -> Result<ArrayRef> {
    if matches!(call.arg(0)?.array.data_type(), DataType::Map(..)) {
        return map_item(call);
    }
    let (lists, positions) = (Lists::new(call, 0)?, call.long(1)?);
    let indexes: UInt64Array = (0..call.rows)
        .map(|row| {
            let range = lists.range(row)?;
            let offset = usize::try_from(positions.get(row)?.checked_sub(1)?)
                .ok()
                .filter(|o| *o < range.len())?;
            u64::try_from(range.start + offset).ok()
        })
        .collect();
    Ok(take(lists.values(), &indexes, None)?)
}

fn map_item(call: &Call<'_>) -> Result<ArrayRef> {
    let (maps, wanted) = (call.arg(0)?, call.arg(1)?);
    let map = maps.array.as_map();
    let comparable = Comparable::new(&[map.keys(), &wanted.array])?;
    let indexes: UInt64Array = (0..call.rows)
        .map(|row| {
            if maps.is_null(row) || wanted.is_null(row) {
                return None;
            }
            let (start, end) = bounds(map.value_offsets(), maps.at(row));
            let wanted = comparable.get(1, wanted.at(row));
            (start..end)
                .rev()
                .find(|idx| comparable.get(0, *idx) == wanted)
                .and_then(|idx| u64::try_from(idx).ok())
        })
        .collect();
    Ok(take(map.values(), &indexes, None)?)
}

fn cardinality_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("cardinality", given, 1, 1)?;
    match &given[0] {
        map @ DataType::Map(..) => Ok(vec![canonical(map)]),
        other => Ok(vec![list_type("cardinality", 0, other)?]),
    }
}

fn cardinality(call: &Call<'_>) -> Result<ArrayRef> {
    let arg = call.arg(0)?;
    let count = |(start, end): (usize, usize)| i64::try_from(end - start).ok();
    if let Some(map) = arg.array.as_map_opt() {
        return call.longs(|row| {
            (!arg.is_null(row))
                .then(|| bounds(map.value_offsets(), arg.at(row)))
                .and_then(count)
        });
    }
    let lists = Lists::new(call, 0)?;
    call.longs(|row| {
        lists
            .range(row)
            .and_then(|range| count((range.start, range.end)))
    })
}

fn element_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("element", given, 1, 1)?;
    Ok(vec![list_type("element", 0, &given[0])?])
}

/// The only value; NULL of an empty array.
fn element(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    let indexes: Result<UInt64Array> = (0..call.rows)
        .map(|row| match lists.range(row) {
            Some(range) if range.len() > 1 => Err(Error::argument(
                call.name,
                format!("the array has {} elements", range.len()),
            )
            .into()),
            Some(range) if range.len() == 1 => Ok(u64::try_from(range.start).ok()),
            _ => Ok(None),
        })
        .collect();
    Ok(take(lists.values(), &indexes?, None)?)
}
