//! How long transactions take: opening, writing, committing, and until a reader of what is committed sees a row; and how
//! fast rows are written in them.
//!
//! ```text
//! cargo run --release -p millstream-connectors --example transaction_speed -- [SERVERS] [COMMITS]
//! ```
//!
//! Without servers against the embedded broker.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "an example measures, prints and fails"
)]

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use millstream_broker::{Broker, Config};
use millstream_dataflow::sink::{Delivery, Sink, Transactions};
use millstream_dataflow::source::Reader;
use millstream_dataflow::{Column, Delta, Table, TableColumn};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() {
    let mut args = std::env::args().skip(1);
    let given = args.next();
    let commits: usize = args.next().map_or(500, |n| n.parse().expect("a number"));
    let broker = match &given {
        Some(_) => None,
        None => Some(Broker::start_blocking(Config::default()).expect("a broker")),
    };
    let servers = given
        .or_else(|| broker.as_ref().map(Broker::bootstrap_servers))
        .expect("servers");
    let job = format!("speed-{}", std::process::id());
    let tables: Vec<Table> = (0..3)
        .map(|topic| table(&servers, &format!("{job}-{topic}")))
        .collect();

    // The first time topics are made; a crash leaves a transaction open.
    let (mut transactions, _) = open(&job, &tables, "open, topics made");
    transactions.write(0, &rows(0, 1)).expect("written");
    std::mem::forget(transactions);
    let (transactions, _) = open(&job, &tables, "open after a crash");
    drop(transactions);
    let (mut transactions, _) = open(&job, &tables, "open again");

    for (pause_ms, topics) in [(0, 1), (10, 1), (10, 3)] {
        let what = format!("{topics} topics, {pause_ms} ms between");
        let pause = Duration::from_millis(pause_ms);
        measure(&what, &mut *transactions, topics, pause, commits);
    }
    see(&mut *transactions, &tables[1], commits);
    throughput(&mut *transactions);
}

fn open(job: &str, tables: &[Table], what: &str) -> (Box<dyn Transactions>, usize) {
    let sinks: Vec<Arc<dyn Sink>> = tables
        .iter()
        .map(|table| millstream_connectors::sink(table).expect("a sink"))
        .collect();
    let Delivery::Transaction(system) = sinks[0].delivery() else {
        panic!("no transactions");
    };
    let began = Instant::now();
    let mut transactions = system.open(job).expect("opened");
    let opened = began.elapsed();
    let records = transactions.records().expect("read").len();
    let read = began.elapsed() - opened;
    for sink in &sinks {
        transactions.add(sink).expect("added");
    }
    let all = began.elapsed();
    println!("{what:30} open {opened:?}, {records} records in {read:?}, all with sinks {all:?}");
    (transactions, records)
}

/// Commits of ten rows for each topic.
fn measure(
    what: &str,
    transactions: &mut dyn Transactions,
    topics: usize,
    pause: Duration,
    commits: usize,
) {
    let record = vec![vec![7; 100]];
    let (mut writes, mut ends) = (Vec::new(), Vec::new());
    for number in 0..commits {
        let began = Instant::now();
        for topic in 0..topics {
            transactions
                .write(topic, &rows(number as i64, 10))
                .expect("written");
        }
        writes.push(began.elapsed());
        std::thread::sleep(pause);
        let began = Instant::now();
        transactions.commit(&record).expect("committed");
        ends.push(began.elapsed());
    }
    println!(
        "{what:30} write {}, commit {}",
        spread(writes),
        spread(ends)
    );
}

/// How long from writing a row to its being read.
fn see(transactions: &mut dyn Transactions, table: &Table, commits: usize) {
    let wanted = [Column::whole("id", DataType::Int64)];
    let source = millstream_connectors::source(table, &wanted).expect("a source");
    let partition = source.partitions().expect("partitions").remove(0);
    let mut reader = source.open(&partition, partition.start).expect("opened");
    catch_up(&mut *reader, usize::MAX, Duration::from_millis(500));
    let mut seen = Vec::new();
    for number in 0..commits {
        let began = Instant::now();
        transactions
            .write(1, &rows(number as i64, 1))
            .expect("written");
        transactions.commit(&[vec![7; 100]]).expect("committed");
        catch_up(&mut *reader, 1, Duration::from_secs(10));
        seen.push(began.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{:30} {}", "written, committed and read", spread(seen));
}

fn catch_up(reader: &mut dyn Reader, rows: usize, wait: Duration) {
    let mut read = 0;
    while read < rows {
        let polled = reader.poll(8192, wait).expect("polled");
        if polled.delta.is_empty() && rows == usize::MAX {
            return;
        }
        read += polled.delta.rows();
    }
}

fn throughput(transactions: &mut dyn Transactions) {
    let (batch, count) = (rows(0, 8192), 200);
    let began = Instant::now();
    for number in 0..count {
        transactions.write(2, &batch).expect("written");
        if number % 20 == 19 {
            transactions.commit(&[vec![7; 100]]).expect("committed");
        }
    }
    let per_second = (count * 8192) as f64 / began.elapsed().as_secs_f64();
    println!(
        "{:30} {:.0} rows/s",
        "in transactions of 163840", per_second
    );
}

fn rows(first: i64, count: i64) -> Delta {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let ids = Int64Array::from_iter_values(first..first + count);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids)]);
    Delta::inserts(batch.expect("a batch"))
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let (half, most, all) = (at(0.5), at(0.99), at(1.0));
    format!("{half:?} (99%: {most:?}, at most {all:?})")
}

fn table(servers: &str, topic: &str) -> Table {
    let options = [
        ("connector", "kafka"),
        ("topic", topic),
        ("format", "json"),
        ("scan.startup.mode", "earliest-offset"),
        ("properties.bootstrap.servers", servers),
    ];
    Table {
        name: topic.to_owned(),
        columns: vec![TableColumn {
            field: Field::new("id", DataType::Int64, true),
            metadata: None,
            is_virtual: false,
        }],
        options: options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        ..Table::default()
    }
}
