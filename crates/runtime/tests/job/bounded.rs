//! Bounded runs: the same results for any number of workers and any cut into steps.

use crate::fixture::*;
use millstream_runtime::{Job, Recorder, StepRecord, ViewRequest};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

struct Views {
    sums: Vec<Row>,
    windows: Vec<Row>,
    pairs: Vec<Row>,
    written: Vec<(Row, i64)>,
}

fn run(workers: usize, step_rows_max: Option<usize>) -> Views {
    let schema = columns("k v ts");
    let many = Memory::new(
        &schema,
        (1..=5).map(|seed| generate(seed, 200)).collect(),
        true,
    );
    let few = Memory::new(&schema, vec![generate(9, 30)], true);
    let ledger = Arc::new(Ledger::default());
    let mut build = Build::default();
    let (many, few) = (build.source(&many, Some(2)), build.source(&few, Some(2)));
    let kept = build.op(&filter(&schema, |row| row[0] % 3 != 0), &[many]);
    let sums = build.op(&sum(), &[kept]);
    let pairs = build.op(&join(), &[sums, few]);
    let counts = build.op(&windows(), &[kept]);
    let sums_view = build.view("sums", &columns("k sum"), &[0], sums);
    let windows_view = build.view("windows", &columns("start count"), &[0], counts);
    let pairs_view = build.view("pairs", &columns("k l r"), &[], pairs);
    build.sink(&ledger, sums);
    let job = Job::start(build.graph, config(workers, step_rows_max)).unwrap();
    assert_eq!(job.wait_end(), []);
    assert_eq!(ledger.finished.load(std::sync::atomic::Ordering::SeqCst), 1);
    let mut written: BTreeMap<Row, i64> = BTreeMap::new();
    for (row, weight) in ledger.committed.lock().unwrap().iter() {
        *written.entry(row.clone()).or_default() += weight;
    }
    written.retain(|_, weight| *weight != 0);
    Views {
        sums: read(&job, sums_view),
        windows: read(&job, windows_view),
        pairs: read(&job, pairs_view),
        written: written.into_iter().collect(),
    }
}

/// The sums, computed straight.
fn expected_sums() -> Vec<Row> {
    let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
    for row in (1..=5).flat_map(|seed| generate(seed, 200)) {
        if row[0] % 3 != 0 {
            *sums.entry(row[0]).or_default() += row[1];
        }
    }
    sums.into_iter().map(|(k, sum)| vec![k, sum]).collect()
}

#[test]
fn workers_and_cuts_do_not_matter() {
    let sums = expected_sums();
    let mut windows: BTreeMap<i64, i64> = BTreeMap::new();
    for row in (1..=5)
        .flat_map(|seed| generate(seed, 200))
        .filter(|row| row[0] % 3 != 0)
    {
        *windows.entry(row[2] / 10 * 10).or_default() += 1;
    }
    let windows: Vec<Row> = windows
        .into_iter()
        .map(|(start, count)| vec![start, count])
        .collect();
    let first = run(1, None);
    assert!(!first.pairs.is_empty());
    for workers in [1, 2, 3, 4] {
        for rows in [None, Some(1), Some(7), Some(100)] {
            let views = run(workers, rows);
            assert_eq!(views.sums, sums, "{workers} workers, steps of {rows:?}");
            assert_eq!(
                views.windows, windows,
                "{workers} workers, steps of {rows:?}"
            );
            assert_eq!(
                views.pairs, first.pairs,
                "{workers} workers, steps of {rows:?}"
            );
            let written: Vec<Row> = views.written.iter().map(|(row, _)| row.clone()).collect();
            assert_eq!(written, sums, "{workers} workers, steps of {rows:?}");
        }
    }
}

#[test]
fn with_steps_of_one_row_lateness_is_exact() {
    let schema = columns("k v ts");
    let times = [1, 25, 3, 12, 21, 40, 26, 39];
    let rows = times.iter().map(|ts| vec![0, 1, *ts]).collect();
    let memory = Memory::new(&schema, vec![rows], true);
    let mut build = Build::default();
    let source = build.source(&memory, Some(2));
    let counts = build.op(&windows(), &[source]);
    let view = build.view("windows", &columns("start count"), &[0], counts);
    let job = Job::start(build.graph, config(1, Some(1))).unwrap();
    job.wait_end();
    // 3 and 12 come behind 25, 26 and 39 behind 40.
    assert_eq!(read(&job, view), [[0, 1], [20, 2], [40, 1]]);
    let late: Vec<u64> = job
        .progress()
        .nodes
        .iter()
        .map(|node| node.late_rows)
        .collect();
    assert_eq!(late, [0, 4, 0]);
}

#[test]
fn a_step_takes_no_more_than_it_may_and_its_record_says_what() {
    #[derive(Debug, Default)]
    struct Records(Mutex<Vec<StepRecord>>);
    impl Recorder for Records {
        fn record(&self, step: &StepRecord) {
            self.0.lock().unwrap().push(step.clone());
        }
    }
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![generate(1, 50), generate(2, 20)], true);
    let mut build = Build::default();
    let source = build.source(&memory, Some(2));
    build.view("all", &schema, &[], source);
    let records = Arc::new(Records::default());
    let config = millstream_runtime::Config {
        recorder: Some(Arc::<Records>::clone(&records)),
        ..config(1, Some(6))
    };
    let job = Job::start(build.graph, config).unwrap();
    job.wait_end();
    let records = records.0.lock().unwrap();
    let mut reached = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        assert_eq!(record.step.0, at as u64 + 1);
        let rows: i64 = record
            .ranges
            .iter()
            .map(|range| range.to.0 - range.from.0)
            .sum();
        assert!(rows <= 6);
        for range in &record.ranges {
            let before = reached.insert(range.partition.to_string(), range.to.0);
            assert_eq!(before.unwrap_or(0), range.from.0);
        }
    }
    assert_eq!(
        reached,
        BTreeMap::from([("p0".into(), 50), ("p1".into(), 20)])
    );
    // Both partitions take part while both have rows.
    assert_eq!(records[0].ranges.len(), 2);
}

#[test]
fn keys_are_looked_up() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![generate(1, 100)], true);
    let mut build = Build::default();
    let source = build.source(&memory, None);
    let sums = build.op(&sum(), &[source]);
    let view = build.view("sums", &columns("k sum"), &[0], sums);
    let job = Job::start(build.graph, config(2, None)).unwrap();
    job.wait_end();
    let wanted = read(&job, view)[3].clone();
    let keys = delta(&columns("k"), &[(vec![wanted[0]], 1), (vec![999], 1)]);
    let request = ViewRequest {
        node: view,
        lookup: Some(keys.batch().clone()),
    };
    let (_, views) = job.snapshot(vec![request]).unwrap();
    assert_eq!(rows_of(&views[0].as_ref().unwrap()[0]), [wanted]);
}

#[test]
fn a_graph_that_is_none_is_refused() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![], true);
    let mut build = Build::default();
    let source = build.source(&memory, None);
    build.view("v", &schema, &[], millstream_dataflow::graph::NodeId(77));
    let error = Job::start(build.graph, config(1, None)).unwrap_err();
    assert!(error.to_string().contains("reads node 77"), "{error}");
    assert_eq!(source.0, 0);
}

#[test]
fn a_source_without_partitions_ends_at_once() {
    let schema = columns("k v ts");
    let mut build = Build::default();
    let source = build.source(&Memory::new(&schema, vec![], true), None);
    let view = build.view("v", &schema, &[], source);
    let job = Job::start(build.graph, config(1, None)).unwrap();
    assert_eq!(job.wait_end(), []);
    assert!(read(&job, view).is_empty());
}
