//! How fast state is saved and restored: rows and bytes a second of groups, of the rows of a join, and of a view.
//!
//! `cargo run --release --example restore_speed -p millstream-operators [groups|distinct|sessions|rows|view] [rows]`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Operator, Output, Spec, Step, StepTime, Watermark, hash};
use millstream_operators::aggregate::{Aggregate, Call, Function};
use millstream_operators::window::{Window, WindowAggregate, WindowColumn};
use millstream_state::{Arrangement, Matches, Retention, ViewTable};
use std::sync::Arc;
use std::time::Instant;

const STEP_ROWS: usize = 100_000;
/// Rows of a change on its way back, as a store puts them together.
const CHANGE_ROWS: usize = 80_000;

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let rows = std::env::args().nth(2).and_then(|rows| rows.parse().ok());
    let rows = rows.unwrap_or(5_000_000);
    let all: [Measure; 5] = [
        ("groups", |rows| groups(rows, false)),
        ("distinct", |rows| groups(rows, true)),
        ("sessions", sessions),
        ("rows", join_rows),
        ("view", view),
    ];
    for (name, measure) in all {
        if name.starts_with(&wanted) {
            measure(rows);
        }
    }
}

/// What is measured, over how many rows.
type Measure = (&'static str, fn(usize));

/// The time that this thread was running, whoever else was.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split(' ').next().and_then(|ns| ns.parse().ok());
    first.unwrap_or_default()
}

fn timed<T>(what: &str, rows: usize, bytes: usize, work: impl FnOnce() -> T) -> T {
    let (start, cpu) = (Instant::now(), cpu_ns());
    let done = work();
    let (wall, cpu) = (start.elapsed().as_secs_f64(), (cpu_ns() - cpu) as f64 / 1e9);
    println!(
        "{what:<28} {cpu:7.3} s cpu {wall:7.3} s wall {:7.1} ns a row {:6.2} M rows/s {:7.0} MB/s",
        cpu * 1e9 / rows as f64,
        rows as f64 / cpu / 1e6,
        bytes as f64 / cpu / 1e6,
    );
    done
}

fn bytes(changes: &[Delta]) -> usize {
    let sizes = changes.iter().map(|c| c.batch().get_array_memory_size());
    sizes.sum()
}

fn rows_of(changes: &[Delta]) -> usize {
    changes.iter().map(Delta::rows).sum()
}

/// The changes in the pieces in which a store gives them back.
fn stored(changes: &[Delta]) -> Vec<Delta> {
    let mut pieces = Vec::new();
    let mut held: Vec<Delta> = Vec::new();
    for change in changes {
        let mut at = 0;
        while at < change.rows() {
            let rows = (CHANGE_ROWS - rows_of(&held)).min(change.rows() - at);
            held.push(change.slice(at, rows));
            at += rows;
            if rows_of(&held) == CHANGE_ROWS {
                pieces.push(Delta::concat(&change.schema(), &held).unwrap());
                held.clear();
            }
        }
    }
    if let Some(first) = held.first() {
        pieces.push(Delta::concat(&first.schema(), &held).unwrap());
    }
    pieces
}

/// Each number below `rows` once, in no order.
fn scattered(rows: usize) -> impl Fn(usize) -> i64 {
    let step = 2_654_435_761_usize;
    move |at| (at.wrapping_mul(step) % rows) as i64
}

fn time(step: u64) -> StepTime {
    StepTime {
        step: Step(step),
        watermark: Watermark::MIN,
        now_ms: 0,
    }
}

fn groups(rows: usize, distinct: bool) {
    println!("GROUP BY a BIGINT: {rows} groups, distinct: {distinct}");
    let field = |name, data_type| Field::new(name, data_type, true);
    let input: SchemaRef = Arc::new(Schema::new(vec![
        field("k", DataType::Int64),
        field("v", DataType::Int64),
    ]));
    let call = |function: Function, args: &[usize], distinct: bool| Call {
        function,
        args: args.to_vec(),
        filter: None,
        distinct,
        output: Field::new("r", DataType::Int64, true),
    };
    let calls = vec![
        call(Function::Sum, &[1], false),
        call(Function::Count, if distinct { &[1] } else { &[] }, distinct),
    ];
    let spec = Aggregate::new(Arc::clone(&input), vec![0], calls, true, None).unwrap();
    let number = scattered(rows);
    let delta = |from: usize, to: usize| {
        let column = |value: &dyn Fn(usize) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values((from..to).map(value)))
        };
        let columns = vec![column(&|at| number(at) * 7), column(&|at| at as i64 / 2)];
        Delta::inserts(RecordBatch::try_new(Arc::clone(&input), columns).unwrap())
    };
    let mut operator = spec.build().unwrap();
    let step = |operator: &mut Box<dyn Operator>, from: usize, to: usize| {
        let mut out = Output::default();
        operator.step(0, delta(from, to), &mut out).unwrap();
        operator.advance(time(1), &mut out).unwrap();
    };
    for from in (0..rows).step_by(STEP_ROWS) {
        step(&mut operator, from, rows.min(from + STEP_ROWS));
    }
    let mut saved = Vec::new();
    timed("save all", rows, 0, || {
        operator.tables()[0].changes(&mut saved).unwrap();
    });
    let changed = rows.min(1_000_000);
    for from in (0..changed).step_by(STEP_ROWS) {
        step(&mut operator, from, changed.min(from + STEP_ROWS));
    }
    let mut later = Vec::new();
    timed("save what changed", changed, 0, || {
        operator.tables()[0].changes(&mut later).unwrap();
    });
    println!("  {} rows in {} changes", rows_of(&later), later.len());
    timed("save nothing", 1, 0, || {
        operator.tables()[0].changes(&mut later).unwrap();
    });
    drop(operator);
    let saved = stored(&saved);
    let mut fresh = spec.build().unwrap();
    timed("restore", rows_of(&saved), bytes(&saved), || {
        let mut tables = fresh.tables();
        for change in &saved {
            tables[0].restore(change).unwrap();
        }
        tables[0].track().unwrap();
    });
    timed("first step", rows, 0, || step(&mut fresh, 0, 1));
}

fn sessions(rows: usize) {
    let rows = rows / 5;
    println!("SESSION windows by a BIGINT: {rows} sessions");
    let call = Call {
        function: Function::Sum,
        args: vec![1],
        filter: None,
        distinct: false,
        output: Field::new("r", DataType::Int64, true),
    };
    let columns = vec![WindowColumn::Key(0), WindowColumn::Call(0)];
    let window = Window::Session { gap_ms: 1000 };
    let input = self::columns();
    let spec = WindowAggregate::new(input, window, 3, vec![0], vec![call], columns, true).unwrap();
    let mut operator = spec.build().unwrap();
    for table in operator.tables() {
        table.track().unwrap();
    }
    let mut out = Output::default();
    for from in (0..rows).step_by(STEP_ROWS) {
        let batch = rows_from(from, rows.min(from + STEP_ROWS), scattered(rows));
        operator.step(0, Delta::inserts(batch), &mut out).unwrap();
        operator.advance(time(1), &mut out).unwrap();
    }
    let mut saved = Vec::new();
    timed("save what changed", rows, 0, || {
        operator.tables()[0].changes(&mut saved).unwrap();
    });
    drop(operator);
    let saved = stored(&saved);
    let mut fresh = spec.build().unwrap();
    timed("restore", rows, bytes(&saved), || {
        let mut tables = fresh.tables();
        for change in &saved {
            tables[0].restore(change).unwrap();
        }
        tables[0].track().unwrap();
    });
}

/// Rows of about 100 bytes.
fn columns() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("k", DataType::Int64),
        field("amount", DataType::Int64),
        field("price", DataType::Float64),
        field("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
        field("name", DataType::Utf8View),
        field("note", DataType::Utf8View),
    ]))
}

fn rows_from(from: usize, to: usize, number: impl Fn(usize) -> i64) -> RecordBatch {
    let text = |length: usize| -> ArrayRef {
        let texts = (from..to).map(|at| format!("{at:0length$}"));
        Arc::new(StringViewArray::from_iter_values(texts))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((from..to).map(number))),
        Arc::new(Int64Array::from_iter_values(from as i64..to as i64)),
        Arc::new(Float64Array::from_iter_values(
            (from..to).map(|at| at as f64),
        )),
        Arc::new(TimestampMillisecondArray::from_iter_values(
            from as i64..to as i64,
        )),
        text(20),
        text(44),
    ];
    RecordBatch::try_new(self::columns(), columns).unwrap()
}

fn join_rows(rows: usize) {
    println!("a side of a join: {rows} rows");
    let new = || Arrangement::new("rows", &columns(), &[0], 0, Retention::Removable).unwrap();
    let mut side = new();
    let mut ids = Vec::new();
    let mut hashes = Vec::new();
    for from in (0..rows).step_by(STEP_ROWS) {
        let batch = rows_from(from, rows.min(from + STEP_ROWS), scattered(rows));
        hash::rows(&batch.columns()[..1], batch.num_rows(), &mut hashes).unwrap();
        side.insert(batch.columns(), &hashes, &mut ids).unwrap();
    }
    let mut saved = Vec::new();
    timed("save all", rows, 0, || side.changes(&mut saved).unwrap());
    let changed: Vec<u32> = (0..1_000_000)
        .map(|at| scattered(rows)(at) as u32)
        .collect();
    timed("remove", changed.len(), 0, || {
        side.remove(&changed).unwrap()
    });
    let mut later = Vec::new();
    timed("save what changed", changed.len(), 0, || {
        side.changes(&mut later).unwrap();
    });
    timed("save nothing", 1, 0, || side.changes(&mut later).unwrap());
    drop(side);
    let saved = stored(&saved);
    let mut fresh = new();
    timed("restore", rows, bytes(&saved), || {
        for change in &saved {
            fresh.restore(change).unwrap();
        }
        fresh.track().unwrap();
    });
    timed("first probe", rows, 0, || {
        let batch = rows_from(0, 1, scattered(rows));
        hash::rows(&batch.columns()[..1], 1, &mut hashes).unwrap();
        let keys = &batch.columns()[..1];
        let mut found = Matches::default();
        fresh
            .probe(keys, &hashes, |_| false, 0, 10, &mut found)
            .unwrap();
        assert_eq!(found.len(), 1);
    });
    println!("  {} MB", fresh.bytes() / 1_000_000);
}

fn view(rows: usize) {
    println!("a view with a key: {rows} rows");
    let new = || ViewTable::new(columns(), vec![0]);
    let mut view = new();
    view.track().unwrap();
    for from in (0..rows).step_by(STEP_ROWS) {
        let batch = rows_from(from, rows.min(from + STEP_ROWS), scattered(rows));
        view.apply(&[Delta::inserts(batch)]).unwrap();
    }
    let mut saved = Vec::new();
    timed("save all", rows, 0, || view.changes(&mut saved).unwrap());
    let changed = rows.min(1_000_000);
    for from in (0..changed).step_by(STEP_ROWS) {
        let batch = rows_from(from, changed.min(from + STEP_ROWS), scattered(rows));
        let gone = Delta::retractions(batch.clone());
        view.apply(&[gone, Delta::inserts(batch)]).unwrap();
    }
    let mut later = Vec::new();
    timed("save what changed", changed, 0, || {
        view.changes(&mut later).unwrap();
    });
    timed("save nothing", 1, 0, || view.changes(&mut later).unwrap());
    drop(view);
    let saved = stored(&saved);
    let mut fresh = new();
    timed("restore", rows, bytes(&saved), || {
        for change in &saved {
            fresh.restore(change).unwrap();
        }
        fresh.track().unwrap();
    });
    timed("first lookup", rows, 0, || {
        let batch = rows_from(0, 1, scattered(rows)).project(&[0]).unwrap();
        assert_eq!(fresh.lookup(&batch).unwrap().num_rows(), 1);
    });
    println!("  {} MB", fresh.bytes() / 1_000_000);
}
