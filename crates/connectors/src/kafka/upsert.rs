//! Changes of whole rows as upserts: for each key what holds after the delta, and nothing of what was before.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::row::{RowConverter, SortField};
use millstream_dataflow::{Delta, Result, Weights};
use std::collections::HashMap;

/// One change for each key: the last row that is inserted, or a retraction where none is. Weights are +1 and -1.
pub(super) fn last_of_each_key(delta: &Delta, key: &[usize]) -> Result<Delta> {
    let keys: Vec<ArrayRef> = key
        .iter()
        .map(|idx| ArrayRef::clone(delta.column(*idx)))
        .collect();
    let fields = keys
        .iter()
        .map(|key| SortField::new(key.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let rows = converter.convert_columns(&keys)?;
    let mut last: HashMap<&[u8], usize> = HashMap::with_capacity(delta.rows());
    for row in 0..delta.rows() {
        let held = last.entry(rows.row(row).data()).or_insert(row);
        if delta.weight(row) > 0 || delta.weight(*held) < 0 {
            *held = row;
        }
    }
    let kept: BooleanArray = (0..delta.rows())
        .map(|row| Some(last.get(rows.row(row).data()) == Some(&row)))
        .collect();
    let kept = delta.filter(&kept)?;
    match kept.weights() {
        Weights::AllOne => Ok(kept),
        Weights::Each(weights) => {
            let signs = weights.unary(i64::signum);
            Delta::new(kept.batch().clone(), signs)
        }
    }
}

/// The same rows, retractions as insertions: keys are written the same either way.
pub(super) fn as_inserts(delta: &Delta) -> Result<Delta> {
    match delta.weights() {
        Weights::AllOne => Ok(delta.clone()),
        Weights::Each(weights) => Delta::new(delta.batch().clone(), weights.unary(i64::abs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::{delta, show};

    #[test]
    fn an_update_is_one_upsert_and_a_retraction_alone_deletes() {
        let given = delta(
            "id int, qty int",
            "-1 1 10 / +1 1 11 / -1 2 20 / +1 3 30 / +1 4 40 / -1 4 39 / -2 5 50",
        );
        let upserts = last_of_each_key(&given, &[0]).unwrap();
        assert_eq!(
            show(&upserts),
            "+1 1 11 / -1 2 20 / +1 3 30 / +1 4 40 / -1 5 50"
        );
        assert_eq!(
            show(&as_inserts(&upserts).unwrap()),
            "+1 1 11 / +1 2 20 / +1 3 30 / +1 4 40 / +1 5 50"
        );
    }
}
