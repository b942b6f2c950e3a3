//! How fast aggregation is: rows a second of aggregations like Nexmark's, and what a step of one row costs.
//!
//! `cargo run --release --example aggregate_speed -p millstream-operators [name]`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use millstream_dataflow::testing::Random;
use millstream_dataflow::{Delta, Operator, Output, Spec, Step, StepTime, Watermark};
use millstream_operators::aggregate::{Aggregate, Call, Function};
use millstream_operators::window::{Window, WindowAggregate, WindowColumn};
use std::sync::Arc;
use std::time::Instant;

const STEP_ROWS: usize = 10_000;
const STEPS: usize = 400;
const TINY_STEPS: usize = 200_000;

fn main() {
    let wanted = std::env::args().nth(1);
    let is_wanted = |name: &str| {
        wanted
            .as_deref()
            .is_none_or(|wanted| name.starts_with(wanted))
    };
    for (name, spec) in specs() {
        if is_wanted(name) {
            measure(name, spec.as_ref());
        }
    }
}

fn input() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("auction", DataType::Int64),
        field("day", DataType::Utf8View),
        field("price", DataType::Int64),
        field("rank1", DataType::Boolean),
        field("rank2", DataType::Boolean),
        field("rank3", DataType::Boolean),
        field("bidder", DataType::Int64),
        field("channel", DataType::Utf8View),
        field("ts", DataType::Timestamp(TimeUnit::Millisecond, None)),
        field("any_auction", DataType::Int64),
    ]))
}

/// Bids as Nexmark has them: prices over six orders of magnitude, auctions that are open, 1,000 bids a second.
fn bids(step: usize, rows: usize, random: &mut Random) -> Delta {
    let first = step * rows;
    let mut columns: [Vec<i64>; 5] = Default::default();
    for row in first..first + rows {
        let newest = 1000 + row as i64 / 15;
        let hot = random.below(2) == 0;
        columns[0].push(if hot {
            newest / 100 * 100
        } else {
            newest - random.below(100) as i64
        });
        columns[1].push(10_f64.powf(random.below(6_000) as f64 / 1000.0) as i64 * 100);
        columns[2].push(if random.below(4) > 0 {
            newest / 100 * 100 + 1
        } else {
            random.below(1000 + row / 50) as i64
        });
        columns[3].push(1_700_000_000_000 + row as i64);
        columns[4].push(random.below(1_000_000) as i64);
    }
    let [auction, price, bidder, ts, any] = columns;
    let rank = |from: i64, to: i64| -> ArrayRef {
        Arc::new(
            price
                .iter()
                .map(|price| Some((from..to).contains(price)))
                .collect::<BooleanArray>(),
        )
    };
    let ranks = [
        rank(0, 10_000),
        rank(10_000, 1_000_000),
        rank(1_000_000, i64::MAX),
    ];
    let day = ts
        .iter()
        .map(|ts| Some(format!("2024-01-{:02}", ts / 86_400_000 % 28 + 1)));
    let channel =
        (0..rows).map(|_| Some(["Google", "Facebook", "Baidu", "Apple"][random.below(4)]));
    let [rank1, rank2, rank3] = ranks;
    let longs = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let columns = vec![
        longs(auction),
        Arc::new(day.collect::<StringViewArray>()),
        longs(price),
        rank1,
        rank2,
        rank3,
        longs(bidder),
        Arc::new(channel.collect::<StringViewArray>()),
        Arc::new(TimestampMillisecondArray::from(ts)),
        longs(any),
    ];
    Delta::inserts(RecordBatch::try_new(input(), columns).unwrap())
}

fn call(text: &str) -> Call {
    let input = input();
    let (call, filter) = match text.split_once(" FILTER ") {
        Some((call, filter)) => (call, Some(input.index_of(filter).unwrap())),
        None => (text, None),
    };
    let (name, args) = call.strip_suffix(')').unwrap().split_once('(').unwrap();
    let (distinct, args) = args
        .strip_prefix("DISTINCT ")
        .map_or((false, args), |args| (true, args));
    let args: Vec<usize> = args
        .split(", ")
        .filter(|arg| *arg != "*")
        .map(|arg| input.index_of(arg).unwrap())
        .collect();
    let types: Vec<DataType> = args
        .iter()
        .map(|arg| input.field(*arg).data_type().clone())
        .collect();
    let function = Function::parse(name).unwrap();
    let output = Field::new(text, function.return_type(&types).unwrap(), true);
    Call {
        function,
        args,
        filter,
        distinct,
        output,
    }
}

const PRICES: [&str; 8] = [
    "COUNT(*)",
    "COUNT(*) FILTER rank1",
    "COUNT(*) FILTER rank2",
    "COUNT(*) FILTER rank3",
    "MIN(price)",
    "MAX(price)",
    "AVG(price)",
    "SUM(price)",
];
const PEOPLE: [&str; 12] = [
    "COUNT(*)",
    "COUNT(*) FILTER rank1",
    "COUNT(*) FILTER rank2",
    "COUNT(*) FILTER rank3",
    "COUNT(DISTINCT bidder)",
    "COUNT(DISTINCT bidder) FILTER rank1",
    "COUNT(DISTINCT bidder) FILTER rank2",
    "COUNT(DISTINCT bidder) FILTER rank3",
    "COUNT(DISTINCT auction)",
    "COUNT(DISTINCT auction) FILTER rank1",
    "COUNT(DISTINCT auction) FILTER rank2",
    "COUNT(DISTINCT auction) FILTER rank3",
];

fn specs() -> Vec<(&'static str, Box<dyn Spec>)> {
    let by = |keys: &[usize], calls: &[&str], append_only| -> Box<dyn Spec> {
        let calls = calls.iter().map(|text| call(text)).collect();
        Box::new(Aggregate::new(input(), keys.to_vec(), calls, append_only, None).unwrap())
    };
    let window = |window, keys: &[usize], calls: &[&str]| -> Box<dyn Spec> {
        let calls: Vec<Call> = calls.iter().map(|text| call(text)).collect();
        let mut columns = vec![
            WindowColumn::Start("s".into()),
            WindowColumn::End("e".into()),
        ];
        columns.extend((0..keys.len()).map(WindowColumn::Key));
        columns.extend((0..calls.len()).map(WindowColumn::Call));
        Box::new(
            WindowAggregate::new(input(), window, 8, keys.to_vec(), calls, columns, true).unwrap(),
        )
    };
    let hop = Window::Hop {
        slide_ms: 2000,
        size_ms: 10_000,
        offset_ms: 0,
    };
    let tumble = Window::Tumble {
        size_ms: 10_000,
        offset_ms: 0,
    };
    vec![
        ("q17 (auction, day): 8 calls", by(&[0, 1], &PRICES, true)),
        ("q17 of an updating input", by(&[0, 1], &PRICES, false)),
        ("q17 (1,000,000 random keys)", by(&[9], &PRICES, true)),
        ("q15 (day): 12 calls, 8 DISTINCT", by(&[1], &PEOPLE, true)),
        (
            "q16 (channel, day): 12 calls, 8 DISTINCT",
            by(&[7, 1], &PEOPLE, true),
        ),
        ("q16 of an updating input", by(&[7, 1], &PEOPLE, false)),
        ("q4 (auction): MAX", by(&[0], &["MAX(price)"], true)),
        (
            "HOP 1 s, 600 s (auction): COUNT",
            window(
                Window::Hop {
                    slide_ms: 1000,
                    size_ms: 600_000,
                    offset_ms: 0,
                },
                &[0],
                &["COUNT(*)"],
            ),
        ),
        (
            "q5 HOP 2 s, 10 s (auction): COUNT",
            window(hop, &[0], &["COUNT(*)"]),
        ),
        ("q7 TUMBLE 10 s: MAX", window(tumble, &[], &["MAX(price)"])),
        (
            "q12 TUMBLE 10 s (bidder): COUNT",
            window(tumble, &[6], &["COUNT(*)"]),
        ),
        (
            "q11 SESSION 10 s (bidder): COUNT",
            window(Window::Session { gap_ms: 10_000 }, &[6], &["COUNT(*)"]),
        ),
    ]
}

fn measure(name: &str, spec: &dyn Spec) {
    let mut random = Random(1);
    let deltas: Vec<Delta> = (0..STEPS)
        .map(|step| bids(step, STEP_ROWS, &mut random))
        .collect();
    let mut operator = spec.build().unwrap();
    let mut clock = Clock::new();
    let out_rows = drive(operator.as_mut(), deltas, STEP_ROWS, 0);
    let seconds = clock.lap();
    let tiny: Vec<Delta> = (0..1000)
        .map(|at| bids(STEPS * STEP_ROWS + at, 1, &mut random))
        .collect();
    clock.lap();
    // The deltas live on and the watermark stands still: what is measured is the operator alone.
    let tiny = (0..TINY_STEPS).map(|at| tiny[at % tiny.len()].clone());
    drive(operator.as_mut(), tiny, 0, STEPS * STEP_ROWS);
    let tiny_us = clock.lap() * 1e6 / TINY_STEPS as f64;
    println!(
        "{name:42} {:7.2} M rows/CPU-s  {out_rows:9} rows out  {tiny_us:6.2} us a step of one row",
        (STEPS * STEP_ROWS) as f64 / seconds / 1e6
    );
}

/// Seconds on the processor, where Linux tells them (others share this machine); else seconds that passed.
struct Clock {
    begin: Instant,
    last: f64,
}

impl Clock {
    fn new() -> Self {
        let mut clock = Self {
            begin: Instant::now(),
            last: 0.0,
        };
        clock.lap();
        clock
    }

    /// The seconds since the last lap.
    fn lap(&mut self) -> f64 {
        let on_cpu = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
        let nanos = on_cpu.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let now = nanos.map_or_else(|| self.begin.elapsed().as_secs_f64(), |nanos| nanos / 1e9);
        let seconds = now - self.last;
        self.last = now;
        seconds
    }
}

/// Puts the deltas through, one a step; the watermark follows 4 seconds behind.
fn drive(
    operator: &mut dyn Operator,
    deltas: impl IntoIterator<Item = Delta>,
    rows: usize,
    before: usize,
) -> usize {
    let mut out = Output::default();
    let mut out_rows = 0;
    for (step, delta) in deltas.into_iter().enumerate() {
        operator.step(0, delta, &mut out).unwrap();
        let time = StepTime {
            step: Step(step as u64 + 1),
            watermark: Watermark(1_700_000_000_000 + (before + (step + 1) * rows) as i64 - 4000),
            now_ms: 0,
        };
        operator.advance(time, &mut out).unwrap();
        out_rows += out.take().iter().map(Delta::rows).sum::<usize>();
    }
    out_rows
}
