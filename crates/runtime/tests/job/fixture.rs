//! Sources, operators and sinks in memory. All columns are BIGINT, so that a row is a list of numbers.

#![allow(dead_code, reason = "not every test uses all of it")]

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream_dataflow::graph::{
    DeadLettersNode, Edge, Graph, Node, NodeId, NodeKind, OnBad, SinkNode, SourceNode, ViewNode,
};
use millstream_dataflow::operator::{Bound, Operator, Output, Partitioning, Spec};
use millstream_dataflow::sink::{Sink, Writer};
use millstream_dataflow::source::{
    BadRecord, Offset, Partition, Polled, Prepare, Prepared, Reader, RowOffsets, Source, State,
};
use millstream_dataflow::{Changes, Delta, Error, Result, Step, StepTime, Watermark};
use millstream_runtime::{Clock, Config, Job, ViewRequest};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

pub(crate) type Row = Vec<i64>;

/// Rows with their weights.
pub(crate) type Rows = Vec<(Row, i64)>;

pub(crate) fn columns(names: &str) -> SchemaRef {
    let fields = names
        .split_whitespace()
        .map(|name| Field::new(name, DataType::Int64, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(crate) fn delta(schema: &SchemaRef, rows: &[(Row, i64)]) -> Delta {
    let column = |at: usize| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|(row, _)| row[at]),
        ))
    };
    let columns = (0..schema.fields().len()).map(column).collect();
    let batch = RecordBatch::try_new(Arc::clone(schema), columns).unwrap();
    Delta::new(
        batch,
        rows.iter()
            .map(|(_, weight)| *weight)
            .collect::<Vec<_>>()
            .into(),
    )
    .unwrap()
}

pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let value = |column: &ArrayRef, row: usize| column.as_primitive::<Int64Type>().value(row);
    (0..batch.num_rows())
        .map(|row| {
            batch
                .columns()
                .iter()
                .map(|column| value(column, row))
                .collect()
        })
        .collect()
}

pub(crate) fn weighted(delta: &Delta) -> Vec<(Row, i64)> {
    let rows = rows_of(delta.batch()).into_iter().enumerate();
    rows.map(|(at, row)| (row, delta.weight(at))).collect()
}

// --- sources

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) name: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) bad: Vec<usize>,
}

/// A source in memory; offsets count rows. What is pushed later is seen by readers that wait.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) schema: SchemaRef,
    pub(crate) logs: Mutex<Vec<Log>>,
    pub(crate) pushed: Condvar,
    pub(crate) bounded: bool,
    /// Whether readers stop at a partition's end by themselves.
    pub(crate) honours_end: bool,
    /// Errors that the next polls give.
    pub(crate) errors: Mutex<VecDeque<Error>>,
    pub(crate) rows_read: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(schema: &SchemaRef, partitions: Vec<Vec<Row>>, bounded: bool) -> Arc<Self> {
        let logs = partitions.into_iter().enumerate();
        let logs = logs.map(|(at, rows)| Log {
            name: format!("p{at}"),
            rows,
            bad: Vec::new(),
        });
        Arc::new(Self {
            schema: Arc::clone(schema),
            logs: Mutex::new(logs.collect()),
            pushed: Condvar::new(),
            bounded,
            honours_end: true,
            errors: Mutex::default(),
            rows_read: AtomicUsize::new(0),
        })
    }

    pub(crate) fn push(&self, partition: usize, rows: &[Row]) {
        let mut logs = self.logs.lock().unwrap();
        while logs.len() <= partition {
            let name = format!("p{}", logs.len());
            logs.push(Log {
                name,
                rows: Vec::new(),
                bad: Vec::new(),
            });
        }
        logs[partition].rows.extend_from_slice(rows);
        self.pushed.notify_all();
    }
}

/// A source as a plan holds it.
#[derive(Debug)]
pub(crate) struct MemorySource(pub(crate) Arc<Memory>);

struct MemoryReader {
    memory: Arc<Memory>,
    partition: usize,
    at: usize,
    end: Option<usize>,
}

impl fmt::Display for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

impl Source for MemorySource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }
    fn changes(&self) -> Changes {
        Changes::AppendOnly
    }
    fn bounded(&self) -> bool {
        self.0.bounded
    }
    fn partitions(&self) -> Result<Vec<Partition>> {
        let logs = self.0.logs.lock().unwrap();
        let partition = |log: &Log| Partition {
            name: log.name.clone(),
            start: Offset(0),
            end: None,
        };
        Ok(logs.iter().map(partition).collect())
    }
    fn open(&self, partition: &Partition, from: Offset) -> Result<Box<dyn Reader>> {
        let at = self
            .0
            .logs
            .lock()
            .unwrap()
            .iter()
            .position(|log| log.name == partition.name);
        Ok(Box::new(MemoryReader {
            memory: Arc::clone(&self.0),
            partition: at.unwrap(),
            at: from.0 as usize,
            end: partition
                .end
                .map(|end| end.0 as usize)
                .filter(|_| self.0.honours_end),
        }))
    }
}

impl Reader for MemoryReader {
    fn poll(&mut self, rows_max: usize, wait: Duration) -> Result<Polled> {
        if let Some(error) = self.memory.errors.lock().unwrap().pop_front() {
            return Err(error);
        }
        let mut logs = self.memory.logs.lock().unwrap();
        let reach = |logs: &Vec<Log>| {
            self.end
                .unwrap_or(usize::MAX)
                .min(logs[self.partition].rows.len())
        };
        if reach(&logs) == self.at && !self.memory.bounded && self.end.is_none() {
            logs = self.memory.pushed.wait_timeout(logs, wait).unwrap().0;
        }
        let log = &logs[self.partition];
        let to = reach(&logs).min(self.at + rows_max);
        let (mut rows, mut bad, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        for at in self.at..to {
            if log.bad.contains(&at) {
                bad.push(BadRecord {
                    bytes: format!("bad {at}").into_bytes(),
                    offset: Offset(at as i64),
                    reason: "broken".into(),
                });
            } else {
                rows.push((log.rows[at].clone(), 1));
                offsets.push(at as i64);
            }
        }
        self.memory.rows_read.fetch_add(rows.len(), SeqCst);
        self.at = to;
        let state = match to == reach(&logs) {
            false => State::More,
            true if self.memory.bounded || self.end == Some(to) => State::End,
            true => State::CaughtUp,
        };
        Ok(Polled {
            delta: delta(&self.memory.schema, &rows),
            offsets: RowOffsets::Each(offsets),
            bad,
            position: Offset(to as i64),
            state,
        })
    }

    fn end(&mut self) -> Option<Offset> {
        Some(Offset(
            self.memory.logs.lock().unwrap()[self.partition].rows.len() as i64,
        ))
    }
}

/// The watermark is the largest value of a column; values below zero in the first column are refused.
#[derive(Debug)]
pub(crate) struct ByColumn {
    pub(crate) schema: SchemaRef,
    pub(crate) time: Option<usize>,
}

impl Prepare for ByColumn {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn watermarked(&self) -> bool {
        self.time.is_some()
    }
    fn prepare(&self, delta: Delta) -> Result<Prepared> {
        let first = delta.column(0).as_primitive::<Int64Type>().clone();
        let refused: Vec<(usize, String)> = first
            .values()
            .iter()
            .enumerate()
            .filter(|(_, value)| **value < 0)
            .map(|(row, value)| (row, format!("{value} is negative")))
            .collect();
        let delta = delta.filter(
            &first
                .values()
                .iter()
                .map(|value| Some(*value >= 0))
                .collect(),
        )?;
        let watermark_ms = self.time.and_then(|at| {
            delta
                .column(at)
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .max()
                .copied()
        });
        Ok(Prepared {
            delta,
            watermark_ms,
            refused,
        })
    }
}

// --- operators

/// Builds an operator from a closure, with how its inputs are partitioned.
pub(crate) struct Op {
    pub(crate) name: &'static str,
    pub(crate) schema: SchemaRef,
    pub(crate) keys: Vec<Partitioning>,
    pub(crate) clocked: bool,
    pub(crate) build: Box<dyn Fn() -> Box<dyn Operator> + Send + Sync>,
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Spec for Op {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn keys(&self, port: usize) -> Partitioning {
        self.keys[port].clone()
    }
    fn bound(&self) -> Bound {
        Bound::Stateless
    }
    fn clocked(&self) -> bool {
        self.clocked
    }
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok((self.build)())
    }
}

/// An operator whose output for each step follows from all rows of the step and its time.
struct Closure<F>(F, Vec<(usize, Row, i64)>);

impl<F: FnMut(Vec<(usize, Row, i64)>, StepTime, &mut Output) -> Result<()> + Send> Operator
    for Closure<F>
{
    fn step(&mut self, port: usize, delta: Delta, _out: &mut Output) -> Result<()> {
        self.1.extend(
            weighted(&delta)
                .into_iter()
                .map(|(row, weight)| (port, row, weight)),
        );
        Ok(())
    }
    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        (self.0)(std::mem::take(&mut self.1), time, out)
    }
}

fn op<F>(
    name: &'static str,
    schema: &SchemaRef,
    keys: Vec<Partitioning>,
    make: impl Fn() -> F + Send + Sync + 'static,
) -> Arc<Op>
where
    F: FnMut(Vec<(usize, Row, i64)>, StepTime, &mut Output) -> Result<()> + Send + 'static,
{
    Arc::new(Op {
        name,
        schema: Arc::clone(schema),
        keys,
        clocked: false,
        build: Box::new(move || Box::new(Closure(make(), Vec::new()))),
    })
}

/// Keeps rows.
pub(crate) fn filter(schema: &SchemaRef, keep: fn(&Row) -> bool) -> Arc<Op> {
    let out_schema = Arc::clone(schema);
    op("filter", schema, vec![Partitioning::Any], move || {
        let schema = Arc::clone(&out_schema);
        move |rows, _, out: &mut Output| {
            let kept: Vec<_> = rows
                .into_iter()
                .filter(|(_, row, _)| keep(row))
                .map(|(_, row, w)| (row, w))
                .collect();
            out.push(delta(&schema, &kept));
            Ok(())
        }
    })
}

/// `k, sum(v)` of `k, v, ...`, with retractions.
pub(crate) fn sum() -> Arc<Op> {
    let schema = columns("k sum");
    op(
        "sum",
        &columns("k sum"),
        vec![Partitioning::Keys(vec![0])],
        move || {
            let schema = Arc::clone(&schema);
            let mut sums: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
            move |rows, _, out: &mut Output| {
                let mut changes = Vec::new();
                for (_, row, weight) in rows {
                    let (count, sum) = sums.entry(row[0]).or_default();
                    if *count > 0 {
                        changes.push((vec![row[0], *sum], -1));
                    }
                    *count += weight;
                    *sum += row[1] * weight;
                    if *count > 0 {
                        changes.push((vec![row[0], *sum], 1));
                    }
                }
                out.push(delta(&schema, &changes).consolidate()?);
                Ok(())
            }
        },
    )
}

/// `start, count(*)` over windows of 10 by column 2, on one worker; late rows are left out and counted.
pub(crate) fn windows() -> Arc<Op> {
    let schema = columns("start count");
    op(
        "windows",
        &columns("start count"),
        vec![Partitioning::Single],
        move || {
            let schema = Arc::clone(&schema);
            let mut open: BTreeMap<i64, i64> = BTreeMap::new();
            let mut before = Watermark::MIN;
            move |rows, time, out: &mut Output| {
                for (_, row, weight) in rows {
                    let start = row[2].div_euclid(10) * 10;
                    if before.closes(start + 10) {
                        out.late(1);
                    } else {
                        *open.entry(start).or_default() += weight;
                    }
                }
                before = time.watermark;
                let closed: Vec<i64> = open
                    .keys()
                    .copied()
                    .filter(|start| before.closes(start + 10))
                    .collect();
                let fired: Vec<_> = closed
                    .iter()
                    .map(|start| (vec![*start, open.remove(start).unwrap()], 1))
                    .collect();
                out.push(delta(&schema, &fired));
                Ok(())
            }
        },
    )
}

/// `k, left v, right v`: pairs of rows with the same first column.
pub(crate) fn join() -> Arc<Op> {
    let schema = columns("k l r");
    let keys = vec![Partitioning::Keys(vec![0]), Partitioning::Keys(vec![0])];
    op("join", &columns("k l r"), keys, move || {
        let schema = Arc::clone(&schema);
        let mut sides: [Vec<(Row, i64)>; 2] = Default::default();
        move |rows, _, out: &mut Output| {
            let mut pairs = Vec::new();
            for (port, row, weight) in rows {
                for (other, times) in &sides[1 - port] {
                    if other[0] == row[0] {
                        let (left, right) = if port == 0 {
                            (&row, other)
                        } else {
                            (other, &row)
                        };
                        pairs.push((vec![row[0], left[1], right[1]], weight * times));
                    }
                }
                sides[port].push((row, weight));
            }
            out.push(delta(&schema, &pairs).consolidate()?);
            Ok(())
        }
    })
}

/// Passes everything until a row begins with 666; then it panics, or fails.
pub(crate) fn fails_at_666(schema: &SchemaRef, panics: bool) -> Arc<Op> {
    let out_schema = Arc::clone(schema);
    op("fails", schema, vec![Partitioning::Any], move || {
        let schema = Arc::clone(&out_schema);
        move |rows, _, out: &mut Output| {
            if rows.iter().any(|(_, row, _)| row[0] == 666) {
                assert!(!panics, "the number of the beast");
                return Err(Error::bad_data("division by zero"));
            }
            let rows: Vec<_> = rows.into_iter().map(|(_, row, w)| (row, w)).collect();
            out.push(delta(&schema, &rows));
            Ok(())
        }
    })
}

/// Puts out the clock's reading, once for each value: acts without input.
pub(crate) fn ticks() -> Arc<Op> {
    let schema = columns("now");
    let inner = op(
        "ticks",
        &columns("now"),
        vec![Partitioning::Single],
        move || {
            let schema = Arc::clone(&schema);
            let mut last = i64::MIN;
            move |_, time: StepTime, out: &mut Output| {
                if time.now_ms > last {
                    last = time.now_ms;
                    out.push(delta(&schema, &[(vec![last], 1)]));
                }
                Ok(())
            }
        },
    );
    let inner = Arc::into_inner(inner).unwrap();
    Arc::new(Op {
        clocked: true,
        ..inner
    })
}

// --- sinks

/// What a sink was given: written and committed rows, and its troubles to come.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) written: Mutex<Vec<(Step, Rows)>>,
    pub(crate) committed: Mutex<Vec<(Row, i64)>>,
    pub(crate) finished: AtomicUsize,
    pub(crate) errors: Mutex<VecDeque<Error>>,
    /// While this is locked, writes wait.
    pub(crate) gate: Mutex<()>,
}

#[derive(Debug)]
pub(crate) struct LedgerSink(pub(crate) Arc<Ledger>);

struct LedgerWriter(Arc<Ledger>, Vec<(Row, i64)>);

impl fmt::Display for LedgerSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ledger")
    }
}

impl Sink for LedgerSink {
    fn changes(&self) -> Changes {
        Changes::All
    }
    fn open(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(LedgerWriter(Arc::clone(&self.0), Vec::new())))
    }
}

impl Writer for LedgerWriter {
    fn write(&mut self, step: Step, delta: &Delta) -> Result<()> {
        drop(self.0.gate.lock().unwrap());
        if let Some(error) = self.0.errors.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.0.written.lock().unwrap().push((step, weighted(delta)));
        self.1.extend(weighted(delta));
        Ok(())
    }
    fn commit(&mut self, _step: Step) -> Result<()> {
        self.0.committed.lock().unwrap().append(&mut self.1);
        Ok(())
    }
    fn finish(&mut self, step: Step) -> Result<()> {
        self.commit(step)?;
        self.0.finished.fetch_add(1, SeqCst);
        Ok(())
    }
}

// --- graphs

#[derive(Default)]
pub(crate) struct Build {
    pub(crate) graph: Graph,
    pub(crate) next: u32,
}

impl Build {
    /// A graph whose first node has this number.
    pub(crate) fn from(next: u32) -> Self {
        Self {
            graph: Graph::default(),
            next,
        }
    }

    fn add(&mut self, inputs: Vec<Edge>, kind: NodeKind) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        self.graph.nodes.push(Node { id, inputs, kind });
        id
    }

    pub(crate) fn source(&mut self, memory: &Arc<Memory>, time: Option<usize>) -> NodeId {
        self.source_with(memory, time, None, OnBad::Fail)
    }

    pub(crate) fn source_with(
        &mut self,
        memory: &Arc<Memory>,
        time: Option<usize>,
        idle_timeout_ms: Option<u64>,
        on_bad: OnBad,
    ) -> NodeId {
        let schema = Arc::clone(&memory.schema);
        self.add(
            Vec::new(),
            NodeKind::Source(SourceNode {
                table: "t".into(),
                source: Arc::new(MemorySource(Arc::clone(memory))),
                prepare: Arc::new(ByColumn { schema, time }),
                idle_timeout_ms,
                on_bad,
            }),
        )
    }

    pub(crate) fn letters(&mut self) -> NodeId {
        self.add(
            Vec::new(),
            NodeKind::DeadLetters(DeadLettersNode { table: "t".into() }),
        )
    }

    pub(crate) fn op(&mut self, spec: &Arc<Op>, inputs: &[NodeId]) -> NodeId {
        let edge = |(port, from): (usize, &NodeId)| Edge {
            from: *from,
            exchange: spec.keys[port].clone(),
        };
        let inputs = inputs.iter().enumerate().map(edge).collect();
        let spec: Arc<dyn Spec> = Arc::<Op>::clone(spec);
        self.add(inputs, NodeKind::Operator(spec))
    }

    pub(crate) fn view(
        &mut self,
        name: &str,
        schema: &SchemaRef,
        key: &[usize],
        from: NodeId,
    ) -> NodeId {
        let edge = Edge {
            from,
            exchange: Partitioning::Any,
        };
        self.add(
            vec![edge],
            NodeKind::View(ViewNode {
                name: name.into(),
                schema: Arc::clone(schema),
                key: key.to_vec(),
            }),
        )
    }

    pub(crate) fn sink(&mut self, ledger: &Arc<Ledger>, from: NodeId) -> NodeId {
        let edge = Edge {
            from,
            exchange: Partitioning::Any,
        };
        self.add(
            vec![edge],
            NodeKind::Sink(SinkNode {
                table: "out".into(),
                sink: Arc::new(LedgerSink(Arc::clone(ledger))),
            }),
        )
    }
}

// --- jobs

pub(crate) fn config(workers: usize, step_rows_max: Option<usize>) -> Config {
    Config {
        workers,
        step_rows_max,
        parallel_rows: 4,
        poll_rows: 64,
        discover_interval: Duration::from_millis(10),
        ..Config::default()
    }
}

/// The sorted rows of a view.
pub(crate) fn read(job: &Job, node: NodeId) -> Vec<Row> {
    try_read(job, node).unwrap()
}

pub(crate) fn try_read(job: &Job, node: NodeId) -> millstream_runtime::Result<Vec<Row>> {
    let (_, mut views) = job.snapshot(vec![ViewRequest { node, lookup: None }])?;
    let mut rows: Vec<Row> = views.remove(0)?.iter().flat_map(rows_of).collect();
    rows.sort_unstable();
    Ok(rows)
}

/// Asks until the condition holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain: {what}");
}

/// A clock that moves when it is told.
#[derive(Debug, Default)]
pub(crate) struct ManualClock(pub(crate) AtomicI64);

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(SeqCst)
    }
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(SeqCst) as u64)
    }
}

/// `k, v, ts` rows of a partition: times ascend.
pub(crate) fn generate(seed: i64, rows: usize) -> Vec<Row> {
    (0..rows as i64)
        .map(|at| vec![(at * 7 + seed * 3) % 11, at * seed % 5 + 1, at * 2])
        .collect()
}
