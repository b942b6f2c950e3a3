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
use millstream_dataflow::testing::Random;
use millstream_runtime::{Clock, SystemClock};
use millstream_state::ViewTable;
use std::sync::Arc;

const ROWS: usize = 1_000_000;
const STEP_ROWS: usize = 100_000;

/// Products, and the version that each of them has.
struct Products {
    schema: SchemaRef,
    versions: Vec<i64>,
}

impl Products {
    fn new() -> Self {
        let field = |name, kind| Field::new(name, kind, true);
        Self {
            schema: Arc::new(Schema::new(vec![
                field("id", DataType::Int64),
                field("name", DataType::Utf8View),
                field("version", DataType::Int64),
            ])),
            versions: vec![0; ROWS],
        }
    }

    fn rows(&self, keys: &[usize]) -> RecordBatch {
        let names = keys
            .iter()
            .map(|key| format!("the product with number {key}"));
        let versions = keys.iter().map(|key| self.versions[*key]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(
                keys.iter().map(|key| *key as i64),
            )),
            Arc::new(StringViewArray::from_iter_values(names)),
            Arc::new(Int64Array::from_iter_values(versions)),
        ];
        RecordBatch::try_new(Arc::clone(&self.schema), columns).unwrap()
    }

    /// Each of these gets a new version.
    fn update(&mut self, keys: &[usize]) -> [Delta; 2] {
        let old = Delta::retractions(self.rows(keys));
        keys.iter().for_each(|key| self.versions[*key] += 1);
        [old, Delta::inserts(self.rows(keys))]
    }
}

fn timed(what: &str, count: usize, act: impl FnOnce()) {
    let clock = SystemClock::new();
    act();
    let took = clock.elapsed().as_secs_f64();
    println!("{what}: {:.2} us each", took * 1e6 / count as f64);
}

fn main() {
    let mut products = Products::new();
    let mut view = ViewTable::new(Arc::clone(&products.schema), vec![0]);
    let all: Vec<usize> = (0..ROWS).collect();
    let loads: Vec<RecordBatch> = all
        .chunks(STEP_ROWS)
        .map(|keys| products.rows(keys))
        .collect();
    timed("load a row, 100,000 a step", ROWS, || {
        for batch in loads {
            view.apply(&[Delta::inserts(batch)]).unwrap();
        }
    });
    let first = products.update(&[0]);
    timed("make the index", 1, || view.apply(&first).unwrap());
    let parts = ROWS / STEP_ROWS;
    let scattered = |part: usize| {
        (0..STEP_ROWS)
            .map(|at| at * parts + part)
            .collect::<Vec<_>>()
    };
    let updates: Vec<_> = (0..parts)
        .map(|part| products.update(&scattered(part)))
        .collect();
    timed("update a row, 100,000 a step", ROWS, || {
        updates
            .iter()
            .for_each(|update| view.apply(update).unwrap());
    });
    let mut random = Random(1);
    let updates: Vec<_> = (0..STEP_ROWS)
        .map(|_| products.update(&[random.below(ROWS)]))
        .collect();
    timed("update a row, one a step", STEP_ROWS, || {
        updates
            .iter()
            .for_each(|update| view.apply(update).unwrap());
    });
    timed("take a snapshot", 1, || drop(view.snapshot().unwrap()));
    let snapshot = view.snapshot().unwrap();
    timed("read all rows of a snapshot", 1, || {
        drop(snapshot.batches().unwrap())
    });
    let keys: Vec<_> = (0..10_000)
        .map(|key| products.rows(&[key * 97]).project(&[0]).unwrap())
        .collect();
    timed("look a key up", keys.len(), || {
        keys.iter()
            .for_each(|key| assert_eq!(view.lookup(key).unwrap().num_rows(), 1));
    });
    println!(
        "{} rows, {} MB of columns",
        view.rows(),
        view.bytes() / 1_000_000
    );
}
