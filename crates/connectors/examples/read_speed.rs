//! How fast JSON lines are read and decoded, from a file and from a topic of the embedded broker: MB/s and rows/s on
//! one thread (the broker and librdkafka have their own); and how long a record takes from a producer to a poll.
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

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, TimeUnit};
use millstream_broker::{Broker, Config};
use millstream_dataflow::sink::Writer;
use millstream_dataflow::source::{Source, State};
use millstream_dataflow::{Column, Delta, Place, Step, Table, TableColumn};
use std::collections::BTreeMap;
use std::sync::Arc;
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
    let size = std::fs::metadata(&path).expect("a file").len() as i64;
    let file = [
        ("connector", "filesystem"),
        ("path", &path),
        ("format", "json"),
    ];
    measure("file", &*source(&file, &columns), rows_max, size);

    let broker = Broker::start_blocking(Config::default()).expect("a broker");
    let servers = broker.bootstrap_servers();
    let topic = [
        ("connector", "kafka"),
        ("topic", "lines"),
        ("format", "json"),
        ("scan.startup.mode", "earliest-offset"),
        ("properties.bootstrap.servers", servers.as_str()),
    ];
    let writer = [&topic[..], &[("properties.linger.ms", "0")]].concat();
    let lines = produce(&table(&writer), &path);
    let bounded = [&topic[..], &[("scan.bounded.mode", "latest-offset")]].concat();
    measure("topic", &*source(&bounded, &columns), rows_max, size);
    latency(&*source(&topic, &columns), &table(&writer), lines);
}

fn table(options: &[(&str, &str)]) -> Table {
    let line = TableColumn {
        field: Field::new("line", DataType::Utf8View, true),
        metadata: None,
        is_virtual: false,
    };
    let options: BTreeMap<String, String> = options
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Table {
        name: "t".to_owned(),
        columns: vec![line],
        options,
        ..Table::default()
    }
}

fn source(options: &[(&str, &str)], columns: &[Column]) -> Arc<dyn Source> {
    let mut table = table(options);
    table.columns.clear();
    millstream_connectors::source(&table, columns).expect("a source")
}

/// A writer of lines as they are.
fn writer(table: &Table) -> Box<dyn Writer> {
    let mut raw = table.clone();
    raw.options.insert("format".to_owned(), "raw".to_owned());
    let sink = millstream_connectors::sink(&raw).expect("a sink");
    sink.open().expect("a writer")
}

fn lines(lines: &[&str]) -> Delta {
    let array: ArrayRef = Arc::new(StringViewArray::from_iter_values(lines));
    Delta::inserts(RecordBatch::try_from_iter([("line", array)]).expect("a batch"))
}

/// Produces the lines of a file; gives how many.
fn produce(table: &Table, path: &str) -> i64 {
    let text = std::fs::read_to_string(path).expect("a file of text");
    let all: Vec<&str> = text.lines().collect();
    let mut writer = writer(table);
    let started = Instant::now();
    for chunk in all.chunks(10_000) {
        writer.write(Step(1), &lines(chunk)).expect("written");
    }
    writer.commit(Step(1)).expect("committed");
    report(
        "produce",
        all.len(),
        all.len().div_ceil(10_000),
        text.len() as i64,
        started,
    );
    all.len() as i64
}

/// From `write` to the poll that gives the row.
fn latency(source: &dyn Source, table: &Table, lines_before: i64) {
    let partition = source.partitions().expect("partitions").remove(0);
    let mut reader = source.open(&partition, partition.start).expect("a reader");
    while reader
        .poll(usize::MAX, Duration::from_millis(500))
        .expect("rows")
        .position
        .0
        < lines_before
    {}
    let mut writer = writer(table);
    let mut micros: Vec<u128> = (0..500)
        .map(|_| {
            let started = Instant::now();
            writer.write(Step(1), &lines(&["{}"])).expect("written");
            while reader
                .poll(1000, Duration::from_secs(1))
                .expect("rows")
                .delta
                .is_empty()
            {}
            started.elapsed().as_micros()
        })
        .collect();
    micros.sort_unstable();
    println!("latency: median {} us, 99% {} us", micros[250], micros[494]);
}

fn measure(what: &str, source: &dyn Source, rows_max: usize, bytes: i64) {
    let started = Instant::now();
    let (mut rows, mut polls) = (0, 0);
    for partition in source.partitions().expect("partitions") {
        let mut reader = source.open(&partition, partition.start).expect("a reader");
        loop {
            let polled = reader
                .poll(rows_max, Duration::from_millis(100))
                .expect("rows");
            rows += polled.delta.rows();
            polls += 1;
            if polled.state == State::End {
                break;
            }
        }
    }
    report(what, rows, polls, bytes, started);
}

fn report(what: &str, rows: usize, polls: usize, bytes: i64, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{what}: {rows} rows in {polls} polls, {seconds:.3} s: {:.0} MB/s, {:.2} M rows/s",
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
