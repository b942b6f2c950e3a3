//! What a step costs: rows one at a time, and in bulk, through two stateless operators, an aggregate and a view.
//!
//! `cargo run --release -p millstream-runtime --example step_cost`. The first figure is a whole step of one row as seen
//! from outside the job, divided by the number of steps: source thread, queue, five nodes, the view's table.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example that prints a measurement"
)]

#[path = "../tests/job/fixture.rs"]
mod fixture;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use fixture::{Build, Memory, Op, Row, columns};
use millstream_dataflow::{Delta, Operator, Output, Partitioning, Result, StepTime};
use millstream_runtime::{Clock, Config, Job, SystemClock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Adds one to the second column.
struct Increment(SchemaRef);

impl Operator for Increment {
    fn step(&mut self, _port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let values = delta.column(1).as_primitive::<Int64Type>();
        let added: ArrayRef = Arc::new(values.unary::<_, Int64Type>(|value| value + 1));
        let mut columns = delta.batch().columns().to_vec();
        columns[1] = added;
        let batch = RecordBatch::try_new(Arc::clone(&self.0), columns)?;
        out.push(Delta::new(batch, delta.weight_array())?);
        Ok(())
    }
}

/// `k, sum(v)`.
struct Sum(SchemaRef, HashMap<i64, i64>);

impl Operator for Sum {
    fn step(&mut self, _port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let keys = delta.column(0).as_primitive::<Int64Type>().values();
        let values = delta.column(1).as_primitive::<Int64Type>().values();
        let mut before = HashMap::new();
        for (key, value) in keys.iter().zip(values) {
            let sum = self.1.entry(*key).or_insert(i64::MIN);
            before.entry(*key).or_insert(*sum);
            *sum = if *sum == i64::MIN {
                *value
            } else {
                *sum + value
            };
        }
        let (mut keys, mut sums, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (key, old) in before {
            if old != i64::MIN {
                keys.push(key);
                sums.push(old);
                weights.push(-1);
            }
            keys.push(key);
            sums.push(self.1[&key]);
            weights.push(1);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(keys)),
            Arc::new(Int64Array::from(sums)),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.0), columns)?;
        out.push(Delta::new(batch, weights.into())?);
        Ok(())
    }

    fn advance(&mut self, _time: StepTime, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}

fn spec(
    name: &'static str,
    schema: &SchemaRef,
    keys: Partitioning,
    build: fn(SchemaRef) -> Box<dyn Operator>,
) -> Arc<Op> {
    let own = Arc::clone(schema);
    Arc::new(Op {
        name,
        schema: Arc::clone(schema),
        keys: vec![keys],
        clocked: false,
        build: Box::new(move || build(Arc::clone(&own))),
    })
}

/// Counts the time between two readings of the clock around each step.
#[derive(Debug)]
struct StepClock {
    clock: SystemClock,
    began_ns: AtomicI64,
    spent_ns: AtomicU64,
}

impl Clock for StepClock {
    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
    fn elapsed(&self) -> Duration {
        let now = self.clock.elapsed();
        if std::thread::current().name() == Some("stepper") {
            let began = self.began_ns.swap(-1, SeqCst);
            if began < 0 {
                self.began_ns.store(now.as_nanos() as i64, SeqCst);
            } else {
                let spent = (now.as_nanos() as i64 - began) as u64;
                self.spent_ns.fetch_add(spent, SeqCst);
            }
        }
        now
    }
}

fn measure(workers: usize, rows: usize, step_rows_max: Option<usize>) {
    let schema = columns("k v ts");
    let log: Vec<Row> = (0..rows as i64).map(|at| vec![at % 1000, at, at]).collect();
    let memory = Memory::new(&schema, vec![log], true);
    let mut build = Build::default();
    let source = build.source(&memory, Some(2));
    let one = spec("one", &schema, Partitioning::Any, |schema| {
        Box::new(Increment(schema))
    });
    let sum = spec(
        "sum",
        &columns("k sum"),
        Partitioning::Keys(vec![0]),
        |schema| Box::new(Sum(schema, HashMap::new())),
    );
    let first = build.op(&one, &[source]);
    let second = build.op(&one, &[first]);
    let third = build.op(&one, &[second]);
    let sums = build.op(&sum, &[third]);
    let again = spec("again", &columns("k sum"), Partitioning::Any, |schema| {
        Box::new(Increment(schema))
    });
    let last = build.op(&again, &[sums]);
    build.view("sums", &columns("k sum"), &[0], last);
    let clock = Arc::new(StepClock {
        clock: SystemClock::new(),
        began_ns: AtomicI64::new(-1),
        spent_ns: AtomicU64::new(0),
    });
    let config = Config {
        workers,
        step_rows_max,
        clock: Arc::<StepClock>::clone(&clock),
        ..Config::default()
    };
    let began = clock.clock.elapsed();
    let job = Job::start(build.graph, config).unwrap();
    assert!(job.wait_end().is_empty());
    let wall = clock.clock.elapsed().saturating_sub(began);
    let steps = job.progress().step.0;
    let spent = clock.spent_ns.load(SeqCst);
    println!(
        "{workers} workers, {rows} rows in {steps} steps: {:.2} us a step, {:.1} ns a row, wall {:.0} ms",
        spent as f64 / steps as f64 / 1e3,
        spent as f64 / rows as f64,
        wall.as_secs_f64() * 1e3,
    );
}

fn main() {
    for workers in [1, 2] {
        measure(workers, 200_000, Some(1));
        measure(workers, 1_000_000, Some(100));
        measure(workers, 2_000_000, None);
    }
}
