//! ARRAY_DISTINCT, ARRAY_UNION, ARRAY_EXCEPT, ARRAY_INTERSECT: every value once, in the order of its first appearance.

use std::collections::HashSet;

use arrow::array::ArrayRef;

use super::lists::{Comparable, Lists, Picker, lists};
use crate::call::Call;
use crate::error::Result;
use crate::function::{Arguments, Function};

pub(crate) fn functions() -> Vec<Function> {
    let set = |name, rule, eval| {
        Function::new(
            name,
            Arguments::Own(rule),
            |g| Ok(g.data_type(0).clone()),
            eval,
        )
    };
    vec![
        set(
            "array_distinct",
            |g| lists("array_distinct", g, 1, 1),
            union,
        ),
        set("array_union", |g| lists("array_union", g, 2, 2), union),
        set(
            "array_except",
            |g| lists("array_except", g, 2, 2),
            |call| filter(call, false),
        ),
        set(
            "array_intersect",
            |g| lists("array_intersect", g, 2, 2),
            |call| filter(call, true),
        ),
    ]
}

fn union(call: &Call<'_>) -> Result<ArrayRef> {
    let all: Result<Vec<_>> = (0..call.len()).map(|idx| Lists::new(call, idx)).collect();
    let all = all?;
    let columns: Vec<_> = all.iter().map(Lists::values).collect();
    let comparable = Comparable::new(&columns)?;
    let mut picker = Picker::new(call.rows);
    let mut seen = HashSet::new();
    for row in 0..call.rows {
        seen.clear();
        let valid = all.iter().all(|lists| lists.range(row).is_some());
        for (column, lists) in all.iter().enumerate().filter(|_| valid) {
            for idx in lists.range(row).unwrap_or_default() {
                if seen.insert(comparable.get(column, idx)) {
                    picker.pick(column, idx);
                }
            }
        }
        picker.end(call, valid)?;
    }
    picker.finish(call, &columns)
}

/// The first array's values that are, or are not, in the second.
fn filter(call: &Call<'_>, within: bool) -> Result<ArrayRef> {
    let (left, right) = (Lists::new(call, 0)?, Lists::new(call, 1)?);
    let comparable = Comparable::new(&[left.values(), right.values()])?;
    let mut picker = Picker::new(call.rows);
    for row in 0..call.rows {
        let (Some(kept), Some(others)) = (left.range(row), right.range(row)) else {
            picker.end(call, false)?;
            continue;
        };
        let others: HashSet<_> = others.map(|idx| comparable.get(1, idx)).collect();
        let mut seen = HashSet::new();
        for idx in kept {
            let value = comparable.get(0, idx);
            if others.contains(&value) == within && seen.insert(value) {
                picker.pick(0, idx);
            }
        }
        picker.end(call, true)?;
    }
    picker.finish(call, &[left.values()])
}
