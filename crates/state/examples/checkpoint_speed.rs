//! How fast state is saved and restored on a local disk, and what a checkpoint of a small change costs.
//!
//! `cargo run --release --example checkpoint_speed -p millstream-state [folder] [megabytes]`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

use arrow::array::{
    Float64Array, Int64Array, RecordBatch, StringViewBuilder, TimestampMillisecondArray,
    UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use millstream_dataflow::Delta;
use millstream_dataflow::testing::Random;
use millstream_state::checkpoint::{Codec, Settings, Store, TableId};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TABLES: u32 = 4;
const BATCH_ROWS: u32 = 16_384;
const ROW_BYTES: usize = 76;

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let megabytes: usize = args.next().map_or(1000, |text| text.parse().unwrap());
    let rows = (megabytes * 1_000_000 / ROW_BYTES / TABLES as usize) as u32;
    println!("{TABLES} tables of {rows} rows, {megabytes} MB in memory");
    for codec in [Codec::None, Codec::Lz4] {
        let folder = folder.join(format!("checkpoint-speed-{}", std::process::id()));
        measure(codec, &folder.display().to_string(), rows);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

fn measure(codec: Codec, url: &str, rows: u32) {
    println!("\n{codec:?}");
    let settings = || Settings {
        codec,
        ..Settings::default()
    };
    let live: Vec<TableId> = (0..TABLES).map(table).collect();
    let mut store = Store::open(url, settings()).unwrap();
    store.newest().unwrap();
    let mut random = Random(7);
    let (mut adding, mut bytes) = (Duration::ZERO, 0);
    for id in &live {
        for start in (0..rows).step_by(BATCH_ROWS as usize) {
            let ids = (start..rows.min(start + BATCH_ROWS)).collect();
            let batch = batch(ids, &mut random);
            bytes += batch.rows() * ROW_BYTES;
            let started = Instant::now();
            store.add(id, 1, batch).unwrap();
            adding += started.elapsed();
        }
    }
    let saved = store.commit(json!(1), &live).unwrap();
    report("save all", bytes, adding + saved.took);
    println!("  in the store: {} MB", saved.bytes / 1_000_000);
    let changed = changes(&mut store, &live, rows, &mut random);
    println!("  {changed}");
    drop(store);
    for threads in [1, 2] {
        let started = Instant::now();
        let mut store = Store::open(url, settings()).unwrap();
        let manifest = store.newest().unwrap().manifest.unwrap();
        let restored: usize = std::thread::scope(|scope| {
            let part = |thread| {
                let (store, manifest, live) = (&store, &manifest, &live);
                move || {
                    let mut rows = 0;
                    for id in live.iter().skip(thread).step_by(threads) {
                        let mut each = |change: Delta| {
                            rows += change.rows();
                            Ok(())
                        };
                        store.read(manifest, id, &mut each).unwrap();
                    }
                    rows
                }
            };
            let threads: Vec<_> = (0..threads)
                .map(|thread| scope.spawn(part(thread)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        let bytes: u64 = live.iter().map(|id| manifest.size(id).1).sum();
        println!("  {restored} rows, {} MB to read", bytes / 1_000_000);
        let what = format!("restore, {threads} threads");
        report(&what, restored * ROW_BYTES, started.elapsed());
    }
}

/// Checkpoints of 1% of the rows each.
fn changes(store: &mut Store, live: &[TableId], rows: u32, random: &mut Random) -> String {
    const COMMITS: usize = 50;
    let (mut adding, mut committing, mut tidying) = Default::default();
    let (mut saved_bytes, mut tidied_bytes, mut longest) = (0, 0, Duration::ZERO);
    for commit in 0..COMMITS {
        for id in live {
            let mut ids: Vec<u32> = (0..rows / 100)
                .map(|_| random.below(rows as usize) as u32)
                .collect();
            ids.sort_unstable();
            ids.dedup();
            let change = batch(ids, random);
            let started = Instant::now();
            store.add(id, 1, change).unwrap();
            adding += started.elapsed();
        }
        let saved = store.commit(json!(commit), live).unwrap();
        let started = Instant::now();
        let tidied = store.tidy().unwrap();
        longest = longest.max(started.elapsed());
        tidying += started.elapsed();
        committing += saved.took;
        saved_bytes += saved.bytes;
        tidied_bytes += tidied.bytes;
    }
    let each = |duration: Duration| duration.as_secs_f64() * 1000.0 / COMMITS as f64;
    format!(
        "1% of the rows: {:.1} MB, add {:.1} ms, commit {:.1} ms; tidy {:.1} MB in {:.1} ms, longest {:.0} ms",
        saved_bytes as f64 / COMMITS as f64 / 1e6,
        each(adding),
        each(committing),
        tidied_bytes as f64 / COMMITS as f64 / 1e6,
        each(tidying),
        longest.as_secs_f64() * 1000.0,
    )
}

fn report(what: &str, bytes: usize, took: Duration) {
    let seconds = took.as_secs_f64();
    let speed = bytes as f64 / 1e6 / seconds;
    println!("  {what}: {seconds:.2} s, {speed:.0} MB/s of rows in memory");
}

fn table(node: u32) -> TableId {
    TableId {
        node,
        worker: 0,
        table: "rows".to_owned(),
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("row", DataType::UInt32, false),
        Field::new("weight", DataType::Int64, true),
        Field::new("account", DataType::Int64, true),
        Field::new("text", DataType::Utf8View, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

fn batch(ids: Vec<u32>, random: &mut Random) -> Delta {
    let rows = ids.len();
    let mut number = || random.below(1 << 30) as i64;
    let accounts: Int64Array = (0..rows).map(|_| number()).collect();
    let mut texts = StringViewBuilder::with_capacity(rows);
    for _ in 0..rows {
        texts.append_value(format!("customer {:012x}", number()));
    }
    let amounts: Float64Array = (0..rows).map(|_| number() as f64 / 100.0).collect();
    let times = (0..rows as i64).map(|at| 1_700_000_000_000 + at);
    let times = TimestampMillisecondArray::from_iter_values(times);
    let batch = RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(UInt32Array::from(ids)),
            Arc::new(Int64Array::from_value(1, rows)),
            Arc::new(accounts),
            Arc::new(texts.finish()),
            Arc::new(amounts),
            Arc::new(times),
        ],
    );
    Delta::inserts(batch.unwrap())
}
