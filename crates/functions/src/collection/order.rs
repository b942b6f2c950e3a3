//! ARRAY_SORT, ARRAY_MAX, ARRAY_MIN.

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::lists::{Comparable, Lists, Picker, list_type, lists};
use crate::call::Call;
use crate::error::Result;
use crate::function::{Arguments, Function, Given, arity};
use crate::types::element_type;

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "array_sort",
            Arguments::Own(sort_types),
            |g| Ok(g.data_type(0).clone()),
            sort,
        ),
        Function::new(
            "array_max",
            Arguments::Own(|g| lists("array_max", g, 1, 1)),
            element,
            |call| extreme(call, true),
        ),
        Function::new(
            "array_min",
            Arguments::Own(|g| lists("array_min", g, 1, 1)),
            element,
            |call| extreme(call, false),
        ),
    ]
}

fn sort_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("array_sort", given, 1, 3)?;
    let list = list_type("array_sort", 0, &given[0])?;
    Ok(std::iter::once(list)
        .chain(given.iter().skip(1).map(|_| DataType::Boolean))
        .collect())
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of every result type")]
fn element(given: &Given<'_>) -> Result<DataType> {
    Ok(element_type(given.data_type(0))
        .cloned()
        .unwrap_or(DataType::Null))
}

/// `array_sort(array, ascending, nulls_first)`: ascending by default; NULLs then come first, descending last.
fn sort(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    let flags = |idx: usize| {
        if call.len() > idx {
            call.boolean(idx).map(Some)
        } else {
            Ok(None)
        }
    };
    let (orders, firsts) = (flags(1)?, flags(2)?);
    let comparable = Comparable::new(&[lists.values()])?;
    let is_null = |idx: usize| lists.values().is_null(idx);
    let mut picker = Picker::new(call.rows);
    for row in 0..call.rows {
        let ascending = orders.as_ref().map_or(Some(true), |orders| orders.get(row));
        let nulls_first = firsts.as_ref().map_or(ascending, |firsts| firsts.get(row));
        let (Some(range), Some(ascending), Some(nulls_first)) =
            (lists.range(row), ascending, nulls_first)
        else {
            picker.end(call, false)?;
            continue;
        };
        let (nulls, mut values): (Vec<usize>, Vec<usize>) = range.partition(|idx| is_null(*idx));
        values.sort_by(|left, right| {
            let order = comparable.get(0, *left).cmp(&comparable.get(0, *right));
            if ascending { order } else { order.reverse() }
        });
        let (front, back) = if nulls_first {
            (nulls, values)
        } else {
            (values, nulls)
        };
        front
            .into_iter()
            .chain(back)
            .for_each(|idx| picker.pick(0, idx));
        picker.end(call, true)?;
    }
    picker.finish(call, &[lists.values()])
}

/// NULLs do not count; an array without values gives NULL.
fn extreme(call: &Call<'_>, greatest: bool) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    let comparable = Comparable::new(&[lists.values()])?;
    let indexes: UInt64Array = (0..call.rows)
        .map(|row| {
            let values = lists
                .range(row)?
                .filter(|idx| !lists.values().is_null(*idx));
            let key = |idx: &usize| comparable.get(0, *idx);
            let found = if greatest {
                values.max_by_key(key)
            } else {
                values.min_by_key(key)
            };
            u64::try_from(found?).ok()
        })
        .collect();
    Ok(take(lists.values(), &indexes, None)?)
}
