//! How fast a JSON-lines file is read and decoded: MB/s and rows/s on one thread.
//!
//! ```text
//! cargo run --release -p millstream-connectors --example read_speed -- FILE [COLUMNS] [ROWS_MAX]
//! ```
//!
//! COLUMNS is a list of `name:type` (bigint, int, double, text, timestamp); `bid.price:bigint` is a field of a ROW.
//! Without columns only the lines are counted.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "an example measures, prints and fails"
)]

use arrow::datatypes::{DataType, Field, TimeUnit};
use millstream_dataflow::source::{Source, State};
use millstream_dataflow::{Column, Place, Table};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn main() {
    let mut args = std::env::args().skip(1);
    let path = args.next().expect("a file");
    let columns: Vec<Column> = args
        .next()
        .unwrap_or_default()
        .split(',')
        .filter(|column| !column.is_empty())
        .map(column)
        .collect();
    let rows_max: usize = args
        .next()
        .map_or(usize::MAX, |n| n.parse().expect("a number"));
    let options = [
        ("connector", "filesystem"),
        ("path", &path),
        ("format", "json"),
    ];
    let options: BTreeMap<String, String> = options
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let table = Table {
        name: "t".to_owned(),
        options,
        ..Table::default()
    };
    let source = millstream_connectors::source(&table, &columns).expect("a source");
    measure(&*source, rows_max);
}

fn measure(source: &dyn Source, rows_max: usize) {
    let started = Instant::now();
    let (mut rows, mut bytes, mut polls) = (0, 0, 0);
    for partition in source.partitions().expect("partitions") {
        let mut reader = source.open(&partition, partition.start).expect("a reader");
        loop {
            let polled = reader
                .poll(rows_max, Duration::from_millis(100))
                .expect("rows");
            rows += polled.delta.rows();
            polls += 1;
            if polled.state == State::End {
                bytes += polled.position.0;
                break;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{rows} rows in {polls} polls, {seconds:.3} s: {:.0} MB/s, {:.2} M rows/s",
        bytes as f64 / seconds / 1e6,
        rows as f64 / seconds / 1e6
    );
}

fn column(text: &str) -> Column {
    let (path, kind) = text.split_once(':').expect("name:type");
    let data_type = match kind {
        "bigint" => DataType::Int64,
        "int" => DataType::Int32,
        "double" => DataType::Float64,
        "timestamp" => DataType::Timestamp(TimeUnit::Millisecond, None),
        _ => DataType::Utf8View,
    };
    Column {
        field: Field::new(path, data_type, true),
        place: Place::Field(path.split('.').map(str::to_owned).collect()),
    }
}
