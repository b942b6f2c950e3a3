//! How fast records become columns, on one core: `cargo run --release -p millstream-formats --example decode`.
//!
//! Two shapes, both made here: an order of about 192 bytes with 8 fields, and Nexmark's events (a person, an auction or
//! a bid in one record of about 330 bytes), each with some projections. Every figure is the best of some rounds.
//! Arguments: a part of the names of the cases to run, and the number of rounds.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints, fails by panicking and reads the clock"
)]

use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, TimeUnit};
use millstream_dataflow::format::Records;
use millstream_dataflow::testing::Random;
use millstream_dataflow::{Column, Options, Place, Table, TableColumn};
use millstream_formats::{Framing, Input, decoder};
use std::fmt::Write;
use std::time::Instant;

const ROWS: usize = 8192;
const BATCHES: usize = 16;

type Columns<'a> = [(&'a str, DataType)];

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let rounds = std::env::args().nth(2);
    let rounds = rounds.map_or(12, |rounds| rounds.parse().unwrap());
    let run = |name: &str, format: &str, records: &[Records], columns: &Columns<'_>| {
        if name.contains(&filter) {
            measure(name, format, records, columns, rounds);
        }
    };
    println!(
        "{:<36} {:>9} {:>10} {:>12}",
        "case", "B/record", "MB/s", "M records/s"
    );
    let order = order_columns(DataType::Float64);
    let some = [order[0].clone(), order[3].clone(), order[6].clone()];
    let decimal = order_columns(DataType::Decimal128(10, 2));
    let orders = json_orders();
    run("orders, 8 of 8 columns", "json", &orders, &order);
    run("orders, price DECIMAL(10, 2)", "json", &orders, &decimal);
    run("orders, 3 of 8 columns", "json", &orders, &some);
    run(
        "orders, spaces behind ':' and ','",
        "json",
        &spaced(&orders),
        &order,
    );
    run("orders as CSV, 8 of 8", "csv", &csv_orders(), &order);
    let events = nexmark();
    let bids = bid_columns();
    run("nexmark, 6 leaves of ROWs", "json", &events, &bids[..6]);
    run("nexmark, 10 leaves with texts", "json", &events, &bids);
    run("nexmark, event_type only", "json", &events, &bids[..1]);
}

fn stamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn order_columns(price: DataType) -> [(&'static str, DataType); 8] {
    [
        ("order_id", DataType::Utf8View),
        ("customer", DataType::Utf8View),
        ("sku", DataType::Utf8View),
        ("quantity", DataType::Int64),
        ("store", DataType::Int64),
        ("price", price),
        ("ts", stamp()),
        ("note", DataType::Utf8View),
    ]
}

fn bid_columns() -> [(&'static str, DataType); 10] {
    [
        ("event_type", DataType::Int32),
        ("person.dateTime", stamp()),
        ("auction.dateTime", stamp()),
        ("bid.dateTime", stamp()),
        ("bid.auction", DataType::Int64),
        ("bid.price", DataType::Int64),
        ("bid.bidder", DataType::Int64),
        ("bid.channel", DataType::Utf8View),
        ("bid.url", DataType::Utf8View),
        ("bid.extra", DataType::Utf8View),
    ]
}

fn measure(name: &str, format: &str, batches: &[Records], columns: &Columns<'_>, rounds: usize) {
    let wanted: Vec<Column> = columns
        .iter()
        .map(|(path, data_type)| Column {
            field: Field::new(*path, data_type.clone(), true),
            place: Place::Field(path.split('.').map(str::to_owned).collect()),
        })
        .collect();
    let table = Table {
        columns: wanted
            .iter()
            .map(|column| TableColumn {
                field: column.field.clone(),
                metadata: None,
                is_virtual: false,
            })
            .collect(),
        ..Table::default()
    };
    let format = decoder(format, &mut Options::new("t", []), &table, &wanted).unwrap();
    let mut decoder = format.open(&Input::Messages).unwrap();
    let bytes: usize = batches.iter().map(|records| records.bytes.len()).sum();
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        for records in batches {
            let decoded = decoder.decode(records).unwrap();
            assert_eq!(
                decoded.delta.rows(),
                records.len(),
                "{:?}",
                decoded.bad.first()
            );
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    let rows = (ROWS * BATCHES) as f64;
    println!(
        "{name:<36} {:>9.0} {:>10.0} {:>12.2}",
        bytes as f64 / rows,
        bytes as f64 / best / 1e6,
        rows / best / 1e6
    );
}

/// Cuts lines into batches.
fn batches(lines: &str) -> Vec<Records> {
    let mut ends = Vec::new();
    Framing::lines().split(lines.as_bytes(), 0, true, usize::MAX, &mut ends);
    let mut from = 0;
    ends.chunks(ROWS)
        .map(|ends| {
            let start = std::mem::replace(&mut from, ends[ends.len() - 1]);
            Records {
                bytes: Buffer::from(&lines.as_bytes()[start..from]),
                start: 0,
                ends: ends.iter().map(|end| end - start).collect(),
            }
        })
        .collect()
}

/// The values of an order, in the order of its columns.
fn orders() -> impl Iterator<Item = [String; 8]> {
    let mut random = Random(7);
    (0..ROWS * BATCHES).map(move |number| {
        let ms = number * 3;
        [
            format!("ord-{:012}", number * 7919),
            format!("customer-{}", random.below(1_000_000)),
            format!("SKU-{:05}", random.below(100_000)),
            format!("{}", random.below(20) + 1),
            format!("{}", random.below(5_000)),
            format!("{}.{:02}", random.below(500), random.below(100)),
            format!(
                "2024-03-01 {:02}:{:02}:{:02}.{:03}",
                ms / 3_600_000 % 24,
                ms / 60_000 % 60,
                ms / 1000 % 60,
                ms % 1000
            ),
            "left at the door, ring".to_owned(),
        ]
    })
}

fn json_orders() -> Vec<Records> {
    let mut lines = String::new();
    for [id, customer, sku, quantity, store, price, ts, note] in orders() {
        writeln!(
            lines,
            r#"{{"order_id":"{id}","customer":"{customer}","sku":"{sku}","quantity":{quantity},"store":{store},"price":{price},"ts":"{ts}","note":"{note}"}}"#
        )
        .unwrap();
    }
    batches(&lines)
}

fn csv_orders() -> Vec<Records> {
    let mut lines = String::new();
    for [id, customer, sku, quantity, store, price, ts, note] in orders() {
        writeln!(
            lines,
            r#"{id},{customer},{sku},{quantity},{store},{price},{ts},"{note}""#
        )
        .unwrap();
    }
    batches(&lines)
}

fn spaced(orders: &[Records]) -> Vec<Records> {
    let lines: String = orders
        .iter()
        .map(|records| {
            let text = String::from_utf8(records.bytes.to_vec()).unwrap();
            text.replace("\":", "\": ").replace(",\"", ", \"")
        })
        .collect();
    batches(&lines)
}

fn letters(random: &mut Random, count: usize) -> String {
    (0..count)
        .map(|_| char::from(b'a' + random.below(26) as u8))
        .collect()
}

/// Nexmark's proportions: of 50 events 1 is a person, 3 are auctions and 46 are bids.
fn nexmark() -> Vec<Records> {
    let mut random = Random(11);
    let mut lines = String::new();
    for number in 0..ROWS * BATCHES {
        let ms = number / 10;
        let stamp = |ms: usize| {
            format!(
                "2024-01-01 00:{:02}:{:02}.{:03}",
                ms / 60_000 % 60,
                ms / 1000 % 60,
                ms % 1000
            )
        };
        let (now, later) = (stamp(ms), stamp(ms + 17_345));
        let id = 1000 + number;
        let price = random.below(10_000_000) + 100;
        match number % 50 {
            0 => {
                let (name, extra) = (letters(&mut random, 9), letters(&mut random, 130));
                writeln!(lines, r#"{{"event_type":0,"person":{{"id":{id},"name":"vicky {name}","emailAddress":"{name}@abcde.com","creditCard":"7878 5821 1864 2539","city":"cheyenne","state":"AZ","dateTime":"{now}","extra":"{extra}"}},"auction":null,"bid":null}}"#)
            }
            1..=3 => {
                let (item, description) = (letters(&mut random, 20), letters(&mut random, 100));
                let extra = letters(&mut random, 320);
                writeln!(lines, r#"{{"event_type":1,"person":null,"auction":{{"id":{id},"itemName":"{item}","description":"{description}","initialBid":{price},"reserve":{},"dateTime":"{now}","expires":"{later}","seller":{},"category":{},"extra":"{extra}"}},"bid":null}}"#, price * 2, id / 7, 10 + number % 5)
            }
            _ => {
                let (path, extra) = (letters(&mut random, 3), letters(&mut random, 62));
                writeln!(lines, r#"{{"event_type":2,"person":null,"auction":null,"bid":{{"auction":{},"bidder":{},"price":{price},"channel":"Google","url":"https://www.nexmark.com/{path}/olvvx/item.htm?query=1","dateTime":"{now}","extra":"{extra}"}}}}"#, id / 3, id / 5)
            }
        }
        .unwrap();
    }
    batches(&lines)
}
