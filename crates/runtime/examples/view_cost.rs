//! What a view costs: a million keyed rows with a text column, loaded, updated one by one and in bulk, read and looked up.
//!
//! `cargo run --release -p millstream-runtime --example view_cost`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example that prints a measurement"
)]

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millstream_dataflow::Delta;
use millstream_runtime::{Clock, SystemClock};
use millstream_state::ViewTable;
use std::sync::Arc;

const ROWS: i64 = 1_000_000;

fn rows(schema: &SchemaRef, keys: &[i64], version: i64) -> RecordBatch {
    let names = keys
        .iter()
        .map(|key| format!("the product with number {key}"));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(keys.to_vec())),
        Arc::new(StringViewArray::from_iter_values(names)),
        Arc::new(Int64Array::from_value(version, keys.len())),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn main() {
    let field = |name, kind| Field::new(name, kind, true);
    let schema = Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("name", DataType::Utf8View),
        field("version", DataType::Int64),
    ]));
    let clock = SystemClock::new();
    let timed = |what: &str, count: usize, act: &mut dyn FnMut()| {
        let began = clock.elapsed();
        act();
        let took = clock.elapsed().saturating_sub(began);
        println!(
            "{what}: {:.2} us each",
            took.as_secs_f64() * 1e6 / count as f64
        );
    };
    let mut view = ViewTable::new(Arc::clone(&schema), vec![0]);
    let all: Vec<i64> = (0..ROWS).collect();
    let batches: Vec<RecordBatch> = all
        .chunks(100_000)
        .map(|keys| rows(&schema, keys, 0))
        .collect();
    timed("load a row, 100,000 a step", all.len(), &mut || {
        for batch in &batches {
            view.apply(&[Delta::inserts(batch.clone())]).unwrap();
        }
    });
    let mut versions = vec![0_i64; ROWS as usize];
    let mut random = 1_u64;
    let mut below = |limit: i64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((random >> 33) as i64) % limit
    };
    let single: Vec<[Delta; 2]> = (0..100_000)
        .map(|_| {
            let key = below(ROWS);
            let version = &mut versions[key as usize];
            *version += 1;
            [
                Delta::retractions(rows(&schema, &[key], *version - 1)),
                Delta::inserts(rows(&schema, &[key], *version)),
            ]
        })
        .collect();
    timed("update a row, one a step", single.len(), &mut || {
        single.iter().for_each(|update| view.apply(update).unwrap());
    });
    let bulk: Vec<[Delta; 2]> = (0..10)
        .map(|part| {
            let keys: Vec<i64> = (0..ROWS).filter(|key| key % 10 == part).collect();
            let old: Vec<RecordBatch> = keys
                .iter()
                .map(|key| rows(&schema, &[*key], versions[*key as usize]))
                .collect();
            let old = arrow::compute::concat_batches(&schema, &old).unwrap();
            [
                Delta::retractions(old),
                Delta::inserts(rows(&schema, &keys, 99)),
            ]
        })
        .collect();
    timed("update a row, 100,000 a step", all.len(), &mut || {
        bulk.iter().for_each(|update| view.apply(update).unwrap());
    });
    timed("snapshot on the writer's side", 1, &mut || {
        drop(view.snapshot().unwrap())
    });
    let snapshot = view.snapshot().unwrap();
    timed("snapshot on the reader's side", 1, &mut || {
        drop(snapshot.batches().unwrap())
    });
    let keys: Vec<RecordBatch> = (0..10_000)
        .map(|key| rows(&schema, &[key * 97], 0).project(&[0]).unwrap())
        .collect();
    timed("look a key up", keys.len(), &mut || {
        keys.iter()
            .for_each(|key| assert_eq!(view.lookup(key).unwrap().num_rows(), 1));
    });
    println!(
        "{} rows, {} MB of columns",
        view.rows(),
        view.bytes() / 1_000_000
    );
}
