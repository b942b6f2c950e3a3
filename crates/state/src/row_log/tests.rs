//! A row log against a plain list of rows.

use super::*;
use arrow::array::{Array, AsArray, Int64Array, ListBuilder, RecordBatch, StringViewArray};
use arrow::datatypes::{Field, Int64Type};
use millstream_dataflow::Delta;
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::testing::{Random, Saved, delta, schema, show};
use std::sync::Arc;

const COLUMNS: &str =
    "a bigint, b text, c int, d boolean, e double, f decimal(10,2), g timestamp, h smallint";

fn insert(log: &mut RowLog, rows: &str) -> Vec<u32> {
    let given = delta(COLUMNS, rows);
    let mut ids = Vec::new();
    log.insert(given.batch().columns(), given.rows(), &mut ids)
        .unwrap();
    ids
}

fn read(log: &RowLog, ids: &[u32]) -> String {
    let columns = (0..8).map(|column| log.gather_or_null(column, ids).unwrap());
    let batch = RecordBatch::try_new(schema(COLUMNS), columns.collect()).unwrap();
    show(&Delta::inserts(batch))
}

#[test]
fn rows_come_back_as_they_went_in() {
    let mut log = RowLog::new("rows", &schema(COLUMNS)).unwrap();
    let long = "a_text_that_does_not_fit_into_a_view";
    let rows = [
        format!("+1 1 {long} 3 true 1.5 2.25 2024-01-01T00:00:01 7"),
        "+1 NULL NULL NULL NULL NULL NULL NULL NULL".to_owned(),
        "+1 2 '' -3 false -1.5 0.00 1969-12-31T23:59:59 -7".to_owned(),
    ];
    let ids = insert(&mut log, &rows.join(" / "));
    let back = read(&log, &[ids[2], NONE, ids[0], ids[1]]);
    assert_eq!(
        back,
        [&rows[2], &rows[1], &rows[0], &rows[1]]
            .map(String::as_str)
            .join(" / ")
    );
    log.remove(ids[1]);
    // The freed place had NULLs: its next row has none.
    assert_eq!(insert(&mut log, &rows[0]), [ids[1]]);
    assert_eq!(read(&log, &[ids[1]]), rows[0]);
    log.replace(&[ids[0]], delta(COLUMNS, &rows[2]).batch().columns())
        .unwrap();
    assert_eq!(read(&log, &[ids[0]]), rows[2]);
}

#[test]
fn nested_values_come_back() {
    let mut lists = ListBuilder::new(arrow::array::Int64Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    lists.append_value([]);
    let lists: ArrayRef = Arc::new(lists.finish());
    let field = Field::new("l", lists.data_type().clone(), true);
    let mut log = RowLog::new("lists", &Schema::new(vec![field])).unwrap();
    let mut ids = Vec::new();
    log.insert(std::slice::from_ref(&lists), 3, &mut ids)
        .unwrap();
    assert_eq!(log.gather(0, &ids).unwrap().as_ref(), lists.as_ref());
    let back = log.gather_or_null(0, &[ids[2], NONE]).unwrap();
    assert!(back.is_valid(0) && back.is_null(1));
    let arrays = [lists];
    let equal = log.compare(&[0], &arrays).unwrap();
    assert!(equal.equal(1, ids[1]) && !equal.equal(1, ids[2]));
}

#[test]
fn equality_takes_nulls_and_nans_as_equal() {
    let columns = "a double, b text, c int";
    let mut log = RowLog::new("rows", &schema(columns)).unwrap();
    let given = delta(columns, "+1 NaN x 1 / +1 0.0 x NULL / +1 NULL NULL 1");
    let mut ids = Vec::new();
    log.insert(given.batch().columns(), 3, &mut ids).unwrap();
    let other = delta(
        columns,
        "+1 NaN x 1 / +1 -0.0 x NULL / +1 NULL NULL 1 / +1 NaN y 1 / +1 0.0 x 0",
    );
    let equal = log.compare(&[0, 1, 2], other.batch().columns()).unwrap();
    for (row, id) in (0..5).flat_map(|row| ids.iter().map(move |id| (row, *id))) {
        assert_eq!(equal.equal(row, id), row == id as usize, "{row} {id}");
    }
}

/// Churn over several pages: rows of any length come and go, a copy follows by checkpoints, and others are made from what
/// compactions leave of them.
#[test]
fn churn_and_checkpoints_lose_nothing() {
    let columns = schema("a bigint, b text");
    let mut log = RowLog::new("rows", &columns).unwrap();
    let mut copy = RowLog::new("rows", &columns).unwrap();
    let mut model: std::collections::BTreeMap<u32, (i64, String, i64)> = Default::default();
    let mut random = Random(5);
    let mut all = Saved::default();
    let mut counter = 0;
    for round in 0..60 {
        let rows = random.below(2000);
        let values: Vec<i64> = (0..rows as i64).map(|row| counter + row).collect();
        counter += rows as i64;
        let texts: Vec<String> = values
            .iter()
            .map(|value| format!("{value}-{}", "x".repeat(random.below(40))))
            .collect();
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(values.clone())),
            Arc::new(StringViewArray::from_iter_values(&texts)),
        ];
        let mut ids = Vec::new();
        log.insert(&arrays, rows, &mut ids).unwrap();
        for ((id, value), text) in ids.iter().zip(values).zip(texts) {
            let weight = if random.below(10) == 0 { -2 } else { 1 };
            if weight != 1 {
                log.set_weight(*id, weight);
            }
            assert!(model.insert(*id, (value, text, weight)).is_none());
        }
        let limit = if round < 30 { 700 } else { 3000 };
        let victims: Vec<u32> = model
            .keys()
            .copied()
            .filter(|_| random.below(10) == 0)
            .take(limit)
            .collect();
        let victims = if round % 20 == 19 {
            model.keys().copied().collect()
        } else {
            victims
        };
        for id in victims {
            model.remove(&id);
            log.remove(id);
        }
        if random.below(3) == 0 || round == 59 {
            let mut saved = Vec::new();
            log.changes(&mut saved).unwrap();
            // What comes twice is there once.
            saved
                .iter()
                .chain(&saved)
                .for_each(|change| copy.restore(change).unwrap());
            same(&copy, &model);
            all.add(1, saved);
            let mut other = RowLog::new("rows", &columns).unwrap();
            all.restore(&mut other, &mut random);
            same(&other, &model);
        }
        same(&log, &model);
    }
}

fn same(log: &RowLog, model: &std::collections::BTreeMap<u32, (i64, String, i64)>) {
    let ids: Vec<u32> = log.ids().collect();
    assert!(ids.iter().eq(model.keys()));
    assert_eq!(log.rows(), model.len());
    let negative = model.values().filter(|row| row.2 < 0).count();
    assert_eq!(log.negative_rows(), negative);
    let numbers = log.gather(0, &ids).unwrap();
    let texts = log.gather(1, &ids).unwrap();
    for (row, (id, (value, text, weight))) in model.iter().enumerate() {
        assert_eq!(numbers.as_primitive::<Int64Type>().value(row), *value);
        assert_eq!(texts.as_string_view().value(row), text);
        assert_eq!(log.weight(*id), *weight);
    }
}
