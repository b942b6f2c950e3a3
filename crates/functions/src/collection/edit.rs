//! ARRAY_APPEND, ARRAY_PREPEND, ARRAY_REMOVE, ARRAY_REVERSE, ARRAY_SLICE, ARRAY_CONCAT: NULL of an array that is NULL.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::lists::{Comparable, Lists, Picker, list_and_element, list_type, lists};
use crate::call::Call;
use crate::error::Result;
use crate::function::{Arguments, Function, arity};

pub(crate) fn functions() -> Vec<Function> {
    let edit = |name, rule, eval| {
        Function::new(
            name,
            Arguments::Own(rule),
            |g| Ok(g.data_type(0).clone()),
            eval,
        )
    };
    vec![
        edit(
            "array_append",
            |g| list_and_element("array_append", g),
            |call| extend(call, false),
        ),
        edit(
            "array_prepend",
            |g| list_and_element("array_prepend", g),
            |call| extend(call, true),
        ),
        edit(
            "array_remove",
            |g| list_and_element("array_remove", g),
            remove,
        ),
        edit(
            "array_reverse",
            |g| lists("array_reverse", g, 1, 1),
            reverse,
        ),
        edit("array_slice", slice_types, slice),
        edit(
            "array_concat",
            |g| lists("array_concat", g, 1, usize::MAX),
            concat,
        ),
    ]
}

fn extend(call: &Call<'_>, front: bool) -> Result<ArrayRef> {
    let (lists, elements) = (Lists::new(call, 0)?, call.arg(1)?);
    let mut picker = Picker::new(call.rows);
    for row in 0..call.rows {
        let range = lists.range(row);
        let valid = range.is_some();
        if valid && front {
            picker.pick(1, elements.at(row));
        }
        picker.pick_all(0, range.unwrap_or_default());
        if valid && !front {
            picker.pick(1, elements.at(row));
        }
        picker.end(call, valid)?;
    }
    picker.finish(call, &[lists.values(), &elements.array])
}

/// Takes out all that equal the element.
fn remove(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, elements) = (Lists::new(call, 0)?, call.arg(1)?);
    let comparable = Comparable::new(&[lists.values(), &elements.array])?;
    let mut picker = Picker::new(call.rows);
    for row in 0..call.rows {
        let range = lists.range(row);
        let valid = range.is_some();
        for idx in range.unwrap_or_default() {
            if comparable.get(0, idx) != comparable.get(1, elements.at(row)) {
                picker.pick(0, idx);
            }
        }
        picker.end(call, valid)?;
    }
    picker.finish(call, &[lists.values()])
}

fn reverse(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    let mut picker = Picker::new(call.rows);
    for row in 0..call.rows {
        let range = lists.range(row);
        let valid = range.is_some();
        for idx in range.unwrap_or_default().rev() {
            picker.pick(0, idx);
        }
        picker.end(call, valid)?;
    }
    picker.finish(call, &[lists.values()])
}

fn slice_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("array_slice", given, 2, 3)?;
    let list = list_type("array_slice", 0, &given[0])?;
    Ok(std::iter::once(list)
        .chain(given.iter().skip(1).map(|_| DataType::Int64))
        .collect())
}

/// From a position to another, both included; negative ones count from the end and 0 is the first.
fn slice(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, starts) = (Lists::new(call, 0)?, call.long(1)?);
    let ends = if call.len() > 2 {
        Some(call.long(2)?)
    } else {
        None
    };
    let mut picker = Picker::new(call.rows);
    for row in 0..call.rows {
        let end = ends.as_ref().map_or(Some(-1), |ends| ends.get(row));
        let (Some(range), Some(start), Some(end)) = (lists.range(row), starts.get(row), end) else {
            picker.end(call, false)?;
            continue;
        };
        picker.pick_all(0, section(&range, start, end));
        picker.end(call, true)?;
    }
    picker.finish(call, &[lists.values()])
}

fn section(range: &Range<usize>, start: i64, end: i64) -> Range<usize> {
    let len = i64::try_from(range.len()).unwrap_or(i64::MAX);
    let from_front = |position: i64| match position {
        0 => 1,
        1.. => position,
        _ => len.saturating_add(position).saturating_add(1),
    };
    let (start, end) = (from_front(start).max(1), from_front(end).min(len));
    if start > end {
        return range.start..range.start;
    }
    let offset = |position: i64| range.start + usize::try_from(position).unwrap_or(0);
    offset(start - 1)..offset(end)
}

/// NULL if any array is.
fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let all: Result<Vec<_>> = (0..call.len()).map(|idx| Lists::new(call, idx)).collect();
    let all = all?;
    let mut picker = Picker::new(call.rows);
    for row in 0..call.rows {
        let valid = all.iter().all(|lists| lists.range(row).is_some());
        for (column, lists) in all.iter().enumerate().filter(|_| valid) {
            picker.pick_all(column, lists.range(row).unwrap_or_default());
        }
        picker.end(call, valid)?;
    }
    let columns: Vec<_> = all.iter().map(Lists::values).collect();
    picker.finish(call, &columns)
}
