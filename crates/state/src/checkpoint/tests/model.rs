//! A plain map of what tables hold, and the same read from a checkpoint.

use crate::checkpoint::{Manifest, Settings, Store, TableId};
use arrow::array::{Array, AsArray, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use millstream_dataflow::testing::Random;
use millstream_dataflow::{Delta, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The rows of tables by key.
pub(super) type State = BTreeMap<TableId, BTreeMap<i64, String>>;

/// A change of rows: `None` removes one.
pub(super) type Rows = Vec<(i64, Option<String>)>;

pub(super) fn table(node: u32) -> TableId {
    TableId {
        node,
        worker: 0,
        table: "rows".to_owned(),
    }
}

/// Small blocks and segments, no waits.
pub(super) fn small() -> Settings {
    Settings {
        segment_bytes: 6000,
        block_bytes: 1500,
        tidy_bytes: 4000,
        wait: Duration::ZERO,
        ..Settings::default()
    }
}

pub(super) fn change(rows: &Rows) -> Delta {
    let schema = Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("value", DataType::Utf8View, true),
    ]);
    let keys: Int64Array = rows.iter().map(|(key, _)| *key).collect();
    let values: StringViewArray = rows.iter().map(|(_, value)| value.as_deref()).collect();
    let weights = rows
        .iter()
        .map(|(_, value)| if value.is_some() { 1 } else { -1 });
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys), Arc::new(values)]);
    Delta::new(batch.unwrap(), weights.collect()).unwrap()
}

pub(super) fn apply(state: &mut BTreeMap<i64, String>, rows: &Rows) {
    for (key, value) in rows {
        match value {
            Some(value) => state.insert(*key, value.clone()),
            None => state.remove(key),
        };
    }
}

/// Takes rows into the model and the store.
pub(super) fn add(store: &mut Store, state: &mut State, id: &TableId, rows: &Rows) {
    apply(state.entry(id.clone()).or_default(), rows);
    store.add(id, 1, change(rows)).unwrap();
}

/// What a checkpoint holds; tables without rows too.
pub(super) fn read(store: &Store, manifest: &Manifest) -> Result<State> {
    let mut state = State::new();
    for id in manifest.tables() {
        let rows = state.entry(id.clone()).or_default();
        store.read(manifest, id, &mut |change| {
            let keys = change.column(0).as_primitive::<Int64Type>();
            let values = change.column(1).as_string_view();
            let mut seen = BTreeSet::new();
            for row in 0..change.rows() {
                let key = keys.value(row);
                assert!(seen.insert(key), "a key is twice in a change");
                if change.weight(row) > 0 {
                    assert!(values.is_valid(row));
                    rows.insert(key, values.value(row).to_owned());
                } else {
                    rows.remove(&key);
                }
            }
            Ok(())
        })?;
    }
    Ok(state)
}

/// What the newest checkpoint that can be read holds, as an engine would find it; none in an empty folder.
pub(super) fn restore(store: &mut Store) -> Result<Option<(Manifest, State)>> {
    loop {
        let Some(manifest) = store.newest()?.manifest else {
            return Ok(None);
        };
        match read(store, &manifest) {
            Ok(state) => return Ok(Some((manifest, state))),
            Err(error) if error.kind == millstream_dataflow::Kind::BadData => {
                store.reject(manifest.sequence, &error);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Changes of so many of the first keys.
pub(super) fn rows(random: &mut Random, rows: usize, keys: usize) -> Rows {
    let mut change = BTreeMap::new();
    for _ in 0..rows {
        let key = random.below(keys) as i64;
        let number = random.below(1000);
        let value = match random.below(3) {
            0 => None,
            1 => Some(format!("{number}")),
            _ => Some(format!(
                "a text of key {key} that is not short, number {number}"
            )),
        };
        change.insert(key, value);
    }
    change.into_iter().collect()
}
