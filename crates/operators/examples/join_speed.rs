//! Prints how fast joins and Top-N run from memory, in the shapes of Nexmark q3, q4, q8, q18, q19 and q20.
//!
//! `cargo run --release -p millstream-operators --example join_speed [events]`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement for people: it prints, and may fail"
)]

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringViewBuilder, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMillisecondType};
use millstream_dataflow::testing::Random;
use millstream_dataflow::{
    Delta, Expression, Operator, Output, Result, Spec, Step, StepTime, Watermark,
};
use millstream_operators::aggregate::{Call, Function};
use millstream_operators::join::{Join, Key, Kind, Residual};
use millstream_operators::over::{Frame, Over};
use millstream_operators::top_k::{Order, TopK};
use std::sync::Arc;

const BID: &str = "auction bigint, bidder bigint, price bigint, channel text, url text, time timestamp, extra text";
const AUCTION: &str = "id bigint, item text, description text, bid bigint, reserve bigint, time timestamp, expires timestamp, seller bigint, category bigint, extra text";
const PERSON: &str = "id bigint, name text, city text, state text";

fn main() -> Result<()> {
    let events = std::env::args()
        .nth(1)
        .map_or(2_000_000, |events| events.parse().unwrap());
    for step in [100_000, 40_000, 1_000] {
        println!("steps of {step} events, {events} events");
        let stream = Stream::new(events, step);
        run("q20 bid join auction", &q20(), &stream, &[0, 1]);
        run("q4  auction join bid, residual", &q4(), &stream, &[1, 0]);
        run("q3  auction join person", &q3(), &stream, &[1, 2]);
        run("q18 last bid of bidder, auction", &q18(), &stream, &[0]);
        run("q19 ten best bids with rank", &q19(), &stream, &[0]);
        run(
            "bids, sum over 10 preceding of auction",
            &over(Frame::Rows(Some(10))),
            &stream,
            &[0],
        );
        run(
            "bids, sum over all preceding of auction",
            &over(Frame::Rows(None)),
            &stream,
            &[0],
        );
        let changing = stream.changing();
        run(
            "bids that change, left join auction",
            &changing_join(Kind::Left),
            &changing,
            &[0, 1],
        );
        run(
            "bids that change, semi join auction",
            &changing_join(Kind::LeftSemi),
            &changing,
            &[0, 1],
        );
        run(
            "bids that change, ten best",
            &q19_changing(),
            &changing,
            &[0],
        );
    }
    one_row_steps()
}

/// Events cut into steps: for each step bids, auctions and persons.
struct Stream {
    events: usize,
    step: usize,
    steps: Vec<[Delta; 3]>,
}

impl Stream {
    /// One person, three auctions and 46 bids in 50 events; most bids go to recent auctions.
    fn new(events: usize, step: usize) -> Self {
        let mut random = Random(1);
        let mut steps = Vec::new();
        let mut first = 0;
        while first < events {
            let last = (first + step).min(events);
            steps.push([
                Delta::inserts(bids(&mut random, first, last)),
                Delta::inserts(auctions(&mut random, first, last)),
                Delta::inserts(persons(first, last)),
            ]);
            first = last;
        }
        Self {
            events,
            step,
            steps,
        }
    }
}

impl Stream {
    /// The same, but that every fifth bid of a step is taken back in the next one.
    fn changing(&self) -> Self {
        let mut steps = self.steps.clone();
        for (number, step) in steps.iter_mut().enumerate().skip(1) {
            let before = &self.steps[number - 1][0];
            let fifth = BooleanArray::from_iter((0..before.rows()).map(|row| Some(row % 5 == 0)));
            let back = before.filter(&fifth).unwrap().negate();
            step[0] = Delta::concat(&before.schema(), &[step[0].clone(), back]).unwrap();
        }
        Self {
            events: self.events,
            step: self.step,
            steps,
        }
    }

    /// The greatest time of a step.
    fn passed(&self, number: usize) -> i64 {
        ((number + 1) * self.step) as i64 / 10 - 1
    }
}

fn changing_join(kind: Kind) -> Join {
    Join::new(schema(BID), schema(AUCTION), kind, key(0, 0)).append_only(false, true)
}

fn q19_changing() -> TopK {
    let order = Order {
        column: 2,
        descending: true,
        nulls_first: false,
    };
    TopK::new(schema(BID), vec![0], vec![order], 10)
}

fn run(name: &str, spec: &dyn Spec, stream: &Stream, inputs: &[usize]) {
    let mut operator = spec.build().unwrap();
    let mut rows = 0;
    let (before, start) = (resident(), cpu_seconds());
    for (number, step) in stream.steps.iter().enumerate() {
        let deltas: Vec<Delta> = inputs.iter().map(|input| step[*input].clone()).collect();
        rows += drive(operator.as_mut(), deltas, stream.passed(number));
    }
    let spent = cpu_seconds() - start;
    let fed: usize = stream
        .steps
        .iter()
        .map(|step| inputs.iter().map(|i| step[*i].rows()).sum::<usize>())
        .sum();
    println!(
        "  {name:40} {:6.2} M events/s {:6.2} M rows/s in, {rows:9} rows out, +{} MB",
        stream.events as f64 / spent / 1e6,
        fed as f64 / spent / 1e6,
        resident().saturating_sub(before),
    );
}

/// One step after which the watermark is this; gives the rows that come out.
fn drive(operator: &mut dyn Operator, deltas: Vec<Delta>, watermark: i64) -> usize {
    let mut out = Output::default();
    for (port, delta) in deltas.into_iter().enumerate() {
        if !delta.is_empty() {
            operator.step(port, delta, &mut out).unwrap();
        }
    }
    let time = StepTime {
        step: Step(watermark.unsigned_abs() + 1),
        watermark: Watermark(watermark),
        now_ms: 0,
    };
    operator.advance(time, &mut out).unwrap();
    out.take().iter().map(Delta::rows).sum()
}

fn one_row_steps() -> Result<()> {
    println!("steps of one row, after 1 million events");
    let stream = Stream::new(1_000_000, 100_000);
    let more = Stream::new(200_000, 200_000);
    let cases: [(&str, Box<dyn Spec>, &[usize]); 6] = [
        (
            "bids that change, left join",
            Box::new(changing_join(Kind::Left)),
            &[0, 1],
        ),
        ("bids that change, ten best", Box::new(q19_changing()), &[0]),
        ("q20", Box::new(q20()), &[0, 1]),
        ("q3", Box::new(q3()), &[1, 2]),
        ("q18", Box::new(q18()), &[0]),
        ("q19", Box::new(q19()), &[0]),
    ];
    for (name, spec, inputs) in cases {
        let mut operator = spec.build()?;
        for (number, step) in stream.steps.iter().enumerate() {
            let deltas = inputs.iter().map(|input| step[*input].clone()).collect();
            drive(operator.as_mut(), deltas, stream.passed(number));
        }
        let delta = &more.steps[0][inputs[0]];
        let rows = delta.rows().min(50_000);
        let single: Vec<Delta> = (0..rows).map(|row| delta.slice(row, 1)).collect();
        let start = cpu_seconds();
        let mut shown = 0;
        for row in single {
            shown += drive(operator.as_mut(), vec![row], stream.passed(10));
        }
        let each = (cpu_seconds() - start) / rows as f64 * 1e6;
        println!("  {name:40} {each:6.2} us a step, {shown} rows out of {rows}");
    }
    Ok(())
}

fn key(left: usize, right: usize) -> Vec<Key> {
    vec![Key {
        left,
        right,
        null_equal: false,
    }]
}

fn schema(columns: &str) -> SchemaRef {
    millstream_dataflow::testing::schema(columns)
}

fn q20() -> Join {
    Join::new(schema(BID), schema(AUCTION), Kind::Inner, key(0, 0)).append_only(true, true)
}

fn q3() -> Join {
    Join::new(schema(AUCTION), schema(PERSON), Kind::Inner, key(7, 0))
        .append_only(true, true)
        .output(vec![11, 12, 13, 0])
        .unwrap()
}

fn q4() -> Join {
    Join::new(schema(AUCTION), schema(BID), Kind::Inner, key(0, 0))
        .append_only(true, true)
        .residual(Residual {
            columns: vec![15, 5, 6],
            predicate: Arc::new(Between),
        })
        .output(vec![0, 8, 12])
        .unwrap()
}

fn q18() -> TopK {
    let order = Order {
        column: 5,
        descending: true,
        nulls_first: false,
    };
    TopK::new(schema(BID), vec![1, 0], vec![order], 1)
        .append_only()
        .later_first()
}

fn over(frame: Frame) -> Over {
    let total = Call {
        function: Function::Sum,
        args: vec![2],
        filter: None,
        distinct: false,
        output: Field::new("total", DataType::Int64, true),
    };
    Over::new(schema(BID), vec![0], Some(5), frame, vec![total]).unwrap()
}

fn q19() -> TopK {
    let order = Order {
        column: 2,
        descending: true,
        nulls_first: false,
    };
    TopK::new(schema(BID), vec![0], vec![order], 10)
        .append_only()
        .show_rank("rank_number")
}

/// `#0 BETWEEN #1 AND #2`, of times.
#[derive(Debug)]
struct Between;

impl std::fmt::Display for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("time BETWEEN time AND expires")
    }
}

impl Expression for Between {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        use arrow::array::AsArray;
        let [at, from, to] = [0, 1, 2].map(|column| {
            batch
                .column(column)
                .as_primitive::<TimestampMillisecondType>()
                .values()
        });
        let within = |row: usize| from[row] <= at[row] && at[row] <= to[row];
        Ok(Arc::new(BooleanArray::from_iter(
            (0..batch.num_rows()).map(|row| Some(within(row))),
        )))
    }
}

fn batch(columns: &str, arrays: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(Arc::<Schema>::clone(&schema(columns)), arrays).unwrap()
}

fn texts(rows: usize, text: impl Fn(usize) -> String) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(rows).with_fixed_block_size(1 << 21);
    (0..rows).for_each(|row| builder.append_value(text(row)));
    Arc::new(builder.finish())
}

fn longs(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

fn times(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(values))
}

fn kind(first: usize, last: usize, from: usize, to: usize) -> Vec<usize> {
    (first..last)
        .filter(|event| (from..to).contains(&(event % 50)))
        .collect()
}

fn bids(random: &mut Random, first: usize, last: usize) -> RecordBatch {
    let events = kind(first, last, 4, 50);
    let recent = |random: &mut Random, event: usize, of: usize, hot: usize, spread: usize| {
        let newest = event / 50 * of + of;
        if random.below(hot) > 0 {
            (newest / 100 * 100) as i64
        } else {
            (newest.saturating_sub(spread) + random.below(spread.min(newest).max(1))) as i64
        }
    };
    let auction: Vec<i64> = events
        .iter()
        .map(|e| recent(random, *e, 3, 2, 100))
        .collect();
    let bidder: Vec<i64> = events
        .iter()
        .map(|e| recent(random, *e, 1, 4, 1000))
        .collect();
    let price: Vec<i64> = events
        .iter()
        .map(|_| 10_i64.pow(random.below(6) as u32) + random.below(100_000) as i64)
        .collect();
    let channel = texts(events.len(), |row| {
        ["Google", "Facebook", "Baidu", "channel-4711"][events[row] % 4].to_owned()
    });
    let url = texts(events.len(), |row| {
        format!(
            "https://www.nexmark.com/item.htm?query=1&channel_id={}",
            events[row]
        )
    });
    let time = events.iter().map(|event| *event as i64 / 10).collect();
    let extra = texts(events.len(), |row| {
        format!("{:x<1$}", events[row], 40 + events[row] % 40)
    });
    let columns = vec![
        longs(auction),
        longs(bidder),
        longs(price),
        channel,
        url,
        times(time),
        extra,
    ];
    batch(BID, columns)
}

fn auctions(random: &mut Random, first: usize, last: usize) -> RecordBatch {
    let events = kind(first, last, 1, 4);
    let rows = events.len();
    let id: Vec<i64> = events
        .iter()
        .map(|event| (event / 50 * 3 + event % 50 - 1) as i64)
        .collect();
    let number = |random: &mut Random, limit: usize| -> ArrayRef {
        longs((0..rows).map(|_| random.below(limit) as i64).collect())
    };
    let seller = events
        .iter()
        .map(|event| (event / 50).saturating_sub(random.below(100)) as i64)
        .collect();
    let category: Vec<i64> = (0..rows).map(|_| 10 + random.below(5) as i64).collect();
    let keep: BooleanArray = category
        .iter()
        .map(|category| Some(*category == 10))
        .collect();
    let all = batch(
        AUCTION,
        vec![
            longs(id),
            texts(rows, |row| format!("item {row}")),
            texts(rows, |row| format!("{:d<1$}", row, 80 + row % 40)),
            number(random, 1000),
            number(random, 1000),
            times(events.iter().map(|event| *event as i64 / 10).collect()),
            times(
                events
                    .iter()
                    .map(|event| *event as i64 / 10 + 5_000)
                    .collect(),
            ),
            longs(seller),
            longs(category),
            texts(rows, |row| format!("{:e<1$}", row, 200 + row % 200)),
        ],
    );
    arrow::compute::filter_record_batch(&all, &keep).unwrap()
}

fn persons(first: usize, last: usize) -> RecordBatch {
    let events = kind(first, last, 0, 1);
    let rows = events.len();
    let columns = vec![
        longs(events.iter().map(|event| (event / 50) as i64).collect()),
        texts(rows, |row| format!("Firstname Lastname {row}")),
        texts(rows, |row| {
            ["Portland", "San Francisco"][row % 2].to_owned()
        }),
        texts(rows, |row| ["OR", "ID", "CA"][row % 3].to_owned()),
    ];
    batch(PERSON, columns)
}

/// The CPU time of this thread (Linux): other programs on the machine do not count.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
    nanos / 1e9
}

/// Resident memory in MB, where the system tells.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kb.unwrap_or(0) / 1024
}
