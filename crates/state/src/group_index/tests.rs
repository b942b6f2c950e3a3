//! The index against a map of rows as text, over types, batches and removals.

use super::*;
use arrow::array::{Array, Float64Array, StringArray, StringViewArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream_dataflow::testing::{Random, delta};
use std::collections::HashMap;
use std::sync::Arc;

fn texts(columns: &[ArrayRef]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatters: Vec<_> = columns
        .iter()
        .map(|c| ArrayFormatter::try_new(c, &options).unwrap())
        .collect();
    let row = |row| {
        formatters
            .iter()
            .map(|f| f.value(row).to_string())
            .collect::<Vec<_>>()
            .join("|")
    };
    (0..columns[0].len()).map(row).collect()
}

/// Random rows with few distinct values, long and short texts and NULLs.
fn rows(columns: &str, random: &mut Random, rows: usize) -> Vec<ArrayRef> {
    let word = |random: &mut Random, kind: &str| -> String {
        if random.below(6) == 0 {
            return "NULL".into();
        }
        let n = random.below(40) as i64 - 9;
        match kind {
            "text" if n % 2 == 0 => format!("t{n}"),
            "text" => format!("a_text_that_is_long_enough_{n}"),
            "boolean" => (n % 2 == 0).to_string(),
            "timestamp" => format!("2024-01-01T00:00:{:02}", n.unsigned_abs()),
            kind if kind.starts_with("decimal") || kind == "double" => format!("{n}.25"),
            _ => n.to_string(),
        }
    };
    let kinds: Vec<&str> = columns
        .split(", ")
        .map(|c| c.split_once(' ').unwrap().1)
        .collect();
    let lines: Vec<String> = (0..rows)
        .map(|_| {
            format!(
                "+1 {}",
                kinds
                    .iter()
                    .map(|k| word(random, k))
                    .collect::<Vec<_>>()
                    .join(" ")
            )
        })
        .collect();
    delta(columns, &lines.join(" / "))
        .batch()
        .columns()
        .to_vec()
}

#[test]
fn groups_are_those_of_the_rows_as_text() {
    for columns in [
        "a bigint",
        "a int",
        "a text",
        "a double",
        "a decimal(20,2)",
        "a bigint, b text",
        "a timestamp, b boolean, c text, d smallint",
        "a text, b text, c decimal(10,2)",
    ] {
        let mut random = Random(7);
        let types: Vec<DataType> = rows(columns, &mut random, 1)
            .iter()
            .map(|c| c.data_type().clone())
            .collect();
        let mut index = GroupIndex::new(&types).unwrap();
        let mut model: HashMap<String, u32> = HashMap::new();
        let (mut ids, mut fresh) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            let size = random.below(700) + 1;
            let batch = rows(columns, &mut random, size);
            fresh.clear();
            index.resolve(&batch, size, &mut ids, &mut fresh).unwrap();
            let keys = texts(&batch);
            for (key, id) in keys.iter().zip(&ids) {
                assert_eq!(
                    *model.entry(key.clone()).or_insert(*id),
                    *id,
                    "{columns}: {key}"
                );
            }
            assert_eq!(texts(&index.gather(&ids).unwrap()), keys);
            assert_eq!(index.len(), model.len());
            remove_some(&mut index, &mut model, &mut random);
        }
    }
}

fn remove_some(index: &mut GroupIndex, model: &mut HashMap<String, u32>, random: &mut Random) {
    let mut keys: Vec<String> = model.keys().cloned().collect();
    keys.sort();
    for key in keys {
        if random.below(3) != 0 {
            continue;
        }
        let id = model.remove(&key).unwrap();
        index.remove(id);
        if random.below(4) != 0 {
            index.release(id);
        }
    }
    assert_eq!(index.live_ids().len(), model.len());
}

#[test]
fn texts_of_groups_that_go_make_room() {
    let mut index = GroupIndex::new(&[DataType::Utf8View]).unwrap();
    let text = |n: usize| format!("a text that is longer than a word {n}");
    let (mut ids, mut fresh) = (Vec::new(), Vec::new());
    for first in (0..20_000).step_by(100) {
        let column: ArrayRef = Arc::new(
            (first..first + 100)
                .map(|n| Some(text(n)))
                .collect::<StringViewArray>(),
        );
        index.resolve(&[column], 100, &mut ids, &mut fresh).unwrap();
        for id in &ids[1..] {
            index.remove(*id);
            index.release(*id);
        }
    }
    let kept = texts(&index.gather(&index.live_ids()).unwrap());
    let mut expected: Vec<String> = (0..20_000).step_by(100).map(text).collect();
    let mut sorted = kept;
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected);
    assert!(index.arena.len() < 4 << 16, "{} bytes", index.arena.len());
}

#[test]
fn find_makes_nothing() {
    let mut index = GroupIndex::new(&[DataType::Int64]).unwrap();
    let columns = delta("a bigint", "+1 1 / +1 2").batch().columns().to_vec();
    let mut ids = Vec::new();
    index.find(&columns, 2, &mut ids).unwrap();
    assert_eq!(
        (ids.as_slice(), index.len()),
        ([ABSENT, ABSENT].as_slice(), 0)
    );
    index
        .resolve(&columns[..1], 2, &mut ids, &mut Vec::new())
        .unwrap();
    index.find(&columns, 2, &mut ids).unwrap();
    assert_eq!(ids, [0, 1]);
}

#[test]
fn scopes_keep_equal_keys_apart() {
    let mut index = GroupIndex::scoped(&[DataType::Utf8View]).unwrap();
    let column: ArrayRef = Arc::new(StringViewArray::from(vec!["x", "x", "x"]));
    let lanes = index.encode(&[column]).unwrap();
    let (mut ids, mut fresh) = (Vec::new(), Vec::new());
    index
        .resolve_lanes(Some(&[4, 5, 4]), &lanes, 3, &mut ids, &mut fresh)
        .unwrap();
    assert_eq!((ids[0] == ids[2], ids[0] == ids[1]), (true, false));
    assert_eq!((index.scope(ids[0]), index.scope(ids[1])), (4, 5));
}

#[test]
fn no_key_is_one_group() {
    let mut index = GroupIndex::new(&[]).unwrap();
    let (mut ids, mut fresh) = (Vec::new(), Vec::new());
    index.resolve(&[], 3, &mut ids, &mut fresh).unwrap();
    assert_eq!((ids, fresh), (vec![0, 0, 0], vec![0]));
}

#[test]
fn floats_that_compare_equal_are_one_key_and_kinds_of_text_too() {
    let mut index = GroupIndex::new(&[DataType::Float64]).unwrap();
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
    let (mut ids, mut fresh) = (Vec::new(), Vec::new());
    index.resolve(&[floats], 4, &mut ids, &mut fresh).unwrap();
    assert_eq!(ids, [0, 0, 1, 1]);
    let mut index = GroupIndex::new(&[DataType::Utf8View]).unwrap();
    let view: ArrayRef = Arc::new(StringViewArray::from(vec!["a text of twenty bytes"]));
    let utf8: ArrayRef = Arc::new(StringArray::from(vec!["a text of twenty bytes"]));
    index.resolve(&[view], 1, &mut ids, &mut fresh).unwrap();
    index.resolve(&[utf8], 1, &mut ids, &mut fresh).unwrap();
    assert_eq!((ids[0], index.len()), (0, 1));
}

#[test]
fn another_index_is_absorbed() {
    let columns = "a text, b bigint";
    let mut random = Random(3);
    let types = [DataType::Utf8View, DataType::Int64];
    let (mut left, mut right) = (
        GroupIndex::new(&types).unwrap(),
        GroupIndex::new(&types).unwrap(),
    );
    let (mut ids, mut fresh) = (Vec::new(), Vec::new());
    left.resolve(&rows(columns, &mut random, 200), 200, &mut ids, &mut fresh)
        .unwrap();
    right
        .resolve(&rows(columns, &mut random, 200), 200, &mut ids, &mut fresh)
        .unwrap();
    let theirs = right.live_ids();
    left.absorb(&right, &theirs, None, &mut ids, &mut fresh)
        .unwrap();
    assert_eq!(
        texts(&left.gather(&ids).unwrap()),
        texts(&right.gather(&theirs).unwrap())
    );
}

#[test]
fn nested_values_are_keys() {
    use arrow::array::ListArray;
    use arrow::datatypes::Int32Type;
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![Some(1), None]),
        Some(vec![]),
    ]));
    let mut index = GroupIndex::new(&[list.data_type().clone()]).unwrap();
    let (mut ids, mut fresh) = (Vec::new(), Vec::new());
    index
        .resolve(&[Arc::clone(&list)], 4, &mut ids, &mut fresh)
        .unwrap();
    assert_eq!(ids, [0, 1, 0, 2]);
    let back = index.gather(&ids).unwrap();
    assert_eq!(texts(&back), texts(&[list]));
}

#[test]
fn cells_are_written_and_read() {
    let mut cells = Cells::new(&Form::Lists(vec![Form::Bytes, Form::Long]));
    cells.push_list(|children| {
        children[0].push_bytes(b"x");
        children[1].push_long(4);
    });
    cells.push_null();
    let mut bytes = Vec::new();
    cells.write(0, &mut bytes);
    cells.write(1, &mut bytes);
    let mut back = Cells::new(&Form::Lists(vec![Form::Bytes, Form::Long]));
    let mut rest = bytes.as_slice();
    back.read(&mut rest).unwrap();
    back.read(&mut rest).unwrap();
    cells.push_from(&back, 0);
    assert!(cells.same(0, 2) && !back.is_valid(1) && rest.is_empty());
    assert!(back.read(&mut [1, 2].as_slice()).is_none());
}
