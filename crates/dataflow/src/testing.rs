//! Deltas as text, and the harness that every operator passes.
//!
//! `"+1 x 1 / -1 y NULL"` is a delta of two rows: weight, then one word a column (`_` stands for a space, `''` for the
//! empty text). [`check`] runs a script whole, cut into single rows, cut at random, spread over workers, and with the
//! operator saved at random steps and restored from what a store may have left of that: the integral of the output must
//! always be the same.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a harness for tests fails by panicking"
)]

mod saved;

pub use saved::Saved;

use crate::operator::{Operator, Output, Partitioning, Spec};
use crate::{Delta, Step, StepTime, Watermark, hash};
use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;

/// Columns from text: `"sku text, qty int, price decimal(10,2), ts timestamp"`.
pub fn schema(columns: &str) -> SchemaRef {
    let mut depth = 0;
    let split = columns.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    let fields = split
        .filter(|column| !column.trim().is_empty())
        .map(|column| {
            let (name, kind) = column.trim().split_once(' ').expect("a name and a type");
            Field::new(name, data_type(kind.trim()), true)
        });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn data_type(name: &str) -> DataType {
    match name {
        "text" => DataType::Utf8View,
        "tinyint" => DataType::Int8,
        "smallint" => DataType::Int16,
        "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Millisecond, None),
        other => {
            let digits = other
                .strip_prefix("decimal(")
                .and_then(|rest| rest.strip_suffix(')'))
                .expect("a known type");
            let (precision, scale) = digits.split_once(',').expect("precision and scale");
            DataType::Decimal128(
                precision.trim().parse().expect("a precision"),
                scale.trim().parse().expect("a scale"),
            )
        }
    }
}

/// A delta from text: see the module's head. Timestamps are written `2024-01-01T00:00:01`.
pub fn delta(columns: &str, rows: &str) -> Delta {
    delta_of(&schema(columns), rows)
}

/// A delta of a schema from text.
pub fn delta_of(schema: &SchemaRef, rows: &str) -> Delta {
    let rows: Vec<Vec<&str>> = rows
        .split('/')
        .map(|row| row.split_whitespace().collect())
        .filter(|row: &Vec<&str>| !row.is_empty())
        .collect();
    let weights: Vec<i64> = rows
        .iter()
        .map(|row| row[0].parse().expect("a weight"))
        .collect();
    let columns = schema.fields().iter().enumerate().map(|(idx, field)| {
        let texts = rows.iter().map(|row| match row[idx + 1] {
            "NULL" => None,
            "''" => Some(String::new()),
            word => Some(word.replace('_', " ")),
        });
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        cast_with_options(&StringArray::from_iter(texts), field.data_type(), &strict)
            .expect("values of the column's type")
    });
    let batch =
        RecordBatch::try_new(Arc::clone(schema), columns.collect()).expect("columns of the schema");
    Delta::new(batch, weights.into()).expect("a weight for each row")
}

/// A delta as text, in its order.
pub fn show(delta: &Delta) -> String {
    lines(delta).join(" / ")
}

/// The integral of some deltas as text: equal rows summed, sorted.
pub fn show_sum(deltas: &[Delta]) -> String {
    let Some(first) = deltas.first() else {
        return String::new();
    };
    let all = Delta::concat(&first.schema(), deltas).expect("deltas of one schema");
    let weighted = Delta::new(all.batch().clone(), all.weight_array()).expect("weights");
    // An append-only delta may hold equal rows: give it weights that force the sum.
    let doubled = Delta::concat(
        &first.schema(),
        &[weighted.clone(), weighted.negate(), weighted],
    )
    .expect("one schema");
    let mut lines = lines(&doubled.consolidate().expect("rows that compare"));
    lines.sort();
    lines.join(" / ")
}

fn lines(delta: &Delta) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatters: Vec<_> = delta
        .batch()
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).expect("a type that prints"))
        .collect();
    let word = |text: String| {
        if text.is_empty() {
            "''".to_owned()
        } else {
            text.replace(' ', "_")
        }
    };
    let row = |idx: usize| {
        let values: Vec<String> = formatters
            .iter()
            .map(|formatter| word(formatter.value(idx).to_string()))
            .collect();
        format!("{:+} {}", delta.weight(idx), values.join(" "))
    };
    (0..delta.rows()).map(row).collect()
}

/// Deltas by port, then watermark and clock.
type ScriptStep = (Vec<(usize, Delta)>, i64, i64);

/// What an operator is put through: in each step some deltas by port, then the time.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<ScriptStep>,
}

impl Script {
    /// An empty script.
    pub fn new() -> Self {
        Self::default()
    }

    /// A step with these deltas, after which the watermark is `watermark_ms`. The clock stands at the step's number.
    #[must_use]
    pub fn step(self, deltas: Vec<(usize, Delta)>, watermark_ms: i64) -> Self {
        let now_ms = self.steps.len() as i64 + 1;
        self.step_at(deltas, watermark_ms, now_ms)
    }

    /// A step with these deltas, watermark and clock reading.
    #[must_use]
    pub fn step_at(mut self, deltas: Vec<(usize, Delta)>, watermark_ms: i64, now_ms: i64) -> Self {
        self.steps.push((deltas, watermark_ms, now_ms));
        self
    }

    /// All deltas of one port.
    pub fn port(&self, port: usize) -> Vec<Delta> {
        self.steps
            .iter()
            .flat_map(|step| &step.0)
            .filter(|(at, _)| *at == port)
            .map(|(_, delta)| delta.clone())
            .collect()
    }

    /// The same script with every step's deltas cut into steps of at most `rows(random)` rows. The watermark moves at
    /// the last piece only, so that the same rows are late.
    fn cut(&self, mut rows: impl FnMut() -> usize) -> Self {
        let mut cut = Self::new();
        let mut before = Watermark::MIN.0;
        for (deltas, watermark, now) in &self.steps {
            for (port, delta) in deltas {
                let mut at = 0;
                while at < delta.rows() {
                    let length = rows().clamp(1, delta.rows() - at);
                    cut.steps
                        .push((vec![(*port, delta.slice(at, length))], before, *now));
                    at += length;
                }
            }
            cut.steps.push((Vec::new(), *watermark, *now));
            before = *watermark;
        }
        cut
    }
}

/// Runs a script in every way that must not matter and returns the integral of the output as text.
///
/// # Panics
/// When two ways differ, or the operator fails.
pub fn check(spec: &dyn Spec, script: &Script) -> String {
    let whole = show_sum(&run(spec, script, 1, None));
    assert_eq!(
        whole,
        show_sum(&run(spec, &script.cut(|| 1), 1, None)),
        "row by row"
    );
    for seed in 1..=8_u64 {
        let mut random = Random(seed);
        let cut = script.cut(|| random.below(5) + 1);
        assert_eq!(
            whole,
            show_sum(&run(spec, &cut, 1, None)),
            "cut at random, seed {seed}"
        );
        let workers = random.below(4) + 1;
        assert_eq!(
            whole,
            show_sum(&run(spec, &cut, workers, None)),
            "{workers} workers, seed {seed}"
        );
        check_saving(spec, &cut, workers, seed, &whole);
    }
    whole
}

/// A run that is restored on its way puts out the same, and saves no more than one that goes through.
fn check_saving(spec: &dyn Spec, script: &Script, workers: usize, seed: u64, whole: &str) {
    let how = |restores| Saves {
        seed,
        restores,
        tracks: seed % 2 == 1,
    };
    let restored = Crew::run(spec, script, workers, Some(how(true)));
    assert_eq!(
        whole,
        show_sum(&restored.outputs),
        "restored at random steps, {workers} workers, seed {seed}"
    );
    if !how(true).tracks {
        return;
    }
    let through = Crew::run(spec, script, workers, Some(how(false)));
    let pairs = restored.saved_rows.iter().zip(&through.saved_rows);
    for (number, (restored, through)) in pairs.enumerate() {
        assert!(
            restored <= through,
            "save {number} has {restored} rows, without a restore before it {through}: {workers} workers, seed {seed}"
        );
    }
}

/// Runs a script on some workers, saving at random steps and restoring at some if a seed is given. Gives all output.
pub fn run(
    spec: &dyn Spec,
    script: &Script,
    workers: usize,
    restore_seed: Option<u64>,
) -> Vec<Delta> {
    let saves = restore_seed.map(|seed| Saves {
        seed,
        restores: true,
        tracks: seed % 2 == 1,
    });
    Crew::run(spec, script, workers, saves).outputs
}

/// When a run saves and restores.
#[derive(Clone, Copy)]
struct Saves {
    seed: u64,
    restores: bool,
    /// All changes count from the start, over restores too. Else a restored table is saved whole.
    tracks: bool,
}

/// The workers of a run, and what came of it.
struct Crew<'a> {
    spec: &'a dyn Spec,
    workers: Vec<Worker>,
    outputs: Vec<Delta>,
    /// The rows of each save.
    saved_rows: Vec<usize>,
}

impl<'a> Crew<'a> {
    fn run(spec: &'a dyn Spec, script: &Script, workers: usize, saves: Option<Saves>) -> Self {
        let mut crew = Self {
            spec,
            workers: (0..workers).map(|_| Worker::new(spec, saves)).collect(),
            outputs: Vec::new(),
            saved_rows: Vec::new(),
        };
        let mut random = Random(saves.map_or(1, |saves| saves.seed));
        for (number, (deltas, watermark, now)) in script.steps.iter().enumerate() {
            let time = StepTime {
                step: Step(number as u64 + 1),
                watermark: Watermark(*watermark),
                now_ms: *now,
            };
            crew.step(deltas, time);
            if let Some(saves) = saves {
                crew.save(time, saves, &mut random);
            }
        }
        crew
    }

    fn step(&mut self, deltas: &[(usize, Delta)], time: StepTime) {
        let mut out = Output::default();
        for (port, delta) in deltas {
            let shares = spread(delta, &self.spec.keys(*port), self.workers.len());
            for (worker, share) in self.workers.iter_mut().zip(shares) {
                if !share.is_empty() {
                    let taken = worker.operator.step(*port, share, &mut out);
                    taken.expect("the operator takes the delta");
                }
            }
        }
        for worker in &mut self.workers {
            let advanced = worker.operator.advance(time, &mut out);
            advanced.expect("the operator advances");
        }
        self.outputs.extend(out.take());
    }

    /// Saves some workers, and restores some of these.
    fn save(&mut self, time: StepTime, saves: Saves, random: &mut Random) {
        for worker in &mut self.workers {
            if random.below(3) == 0 {
                self.saved_rows.push(worker.save());
                if random.below(2) == 0 && saves.restores {
                    worker.restore(self.spec, time, saves);
                }
            }
        }
    }
}

/// An operator and everything that it has saved.
struct Worker {
    operator: Box<dyn Operator>,
    saved: Vec<Saved>,
    random: Random,
}

impl Worker {
    fn new(spec: &dyn Spec, saves: Option<Saves>) -> Self {
        let mut operator = spec.build().expect("the operator builds");
        let mut tables = operator.tables();
        let saved = vec![Saved::default(); tables.len()];
        if saves.is_some_and(|saves| saves.tracks) {
            for table in &mut tables {
                table.track().expect("an empty table is tracked");
            }
        }
        Self {
            operator,
            saved,
            random: Random(saves.map_or(1, |saves| saves.seed)),
        }
    }

    /// Gives the rows that changed.
    fn save(&mut self) -> usize {
        let tables = self.operator.tables();
        let pairs = tables.into_iter().zip(&mut self.saved);
        pairs.map(|(table, saved)| saved.save(table)).sum()
    }

    fn restore(&mut self, spec: &dyn Spec, time: StepTime, saves: Saves) {
        let mut copy = self.restored(spec);
        for (table, saved) in copy.tables().into_iter().zip(&self.saved) {
            let mut all = Saved::default();
            all.save(table);
            assert!(
                all.relation() == saved.relation(),
                "a restored {} holds what was saved",
                table.name()
            );
        }
        let mut fresh = self.restored(spec);
        if saves.tracks {
            for table in fresh.tables() {
                table.track().expect("a restored table is tracked");
                assert_eq!(
                    Saved::default().save(table),
                    0,
                    "{} has not changed since it was restored",
                    table.name()
                );
            }
        } else {
            self.saved.fill(Saved::default());
        }
        let mut out = Output::default();
        fresh
            .advance(time, &mut out)
            .expect("the operator advances");
        assert!(
            out.take().is_empty(),
            "telling a restored operator the time that it was saved at puts out nothing"
        );
        self.operator = fresh;
    }

    /// A fresh operator with what was saved, in some compaction.
    fn restored(&mut self, spec: &dyn Spec) -> Box<dyn Operator> {
        let mut fresh = spec.build().expect("the operator builds");
        for (table, saved) in fresh.tables().into_iter().zip(&self.saved) {
            saved.restore(table, &mut self.random);
        }
        fresh
    }
}

/// The share of each worker of a delta.
pub fn spread(delta: &Delta, keys: &Partitioning, workers: usize) -> Vec<Delta> {
    let columns: Vec<ArrayRef> = match keys {
        Partitioning::Keys(keys) => keys
            .iter()
            .map(|key| Arc::clone(delta.column(*key)))
            .collect(),
        Partitioning::Single => Vec::new(),
        Partitioning::Any => delta.batch().columns().to_vec(),
    };
    let mut hashes = Vec::new();
    hash::rows(&columns, delta.rows(), &mut hashes).expect("columns that hash");
    let home = |hash: &u64| {
        if columns.is_empty() {
            0
        } else {
            hash::worker(*hash, workers)
        }
    };
    let share = |worker: usize| -> UInt32Array {
        hashes
            .iter()
            .enumerate()
            .filter(|(_, hash)| home(hash) == worker)
            .map(|(row, _)| row as u32)
            .collect::<Vec<_>>()
            .into()
    };
    (0..workers)
        .map(|worker| delta.take(&share(worker)).expect("rows of the delta"))
        .collect()
}

/// A small seeded generator (xorshift), for tests.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number from 0 to `limit - 1`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(0x1234_5678_9abc_def1);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed >> 33) % limit as u64) as usize
    }
}
