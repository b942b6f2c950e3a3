//! Jobs that do not end: consistent reads, idle partitions, new partitions, slow sinks, clocks.

use crate::fixture::*;
use millstream_dataflow::Error;
use millstream_dataflow::graph::OnBad;
use millstream_runtime::{Config, Job, ViewRequest};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

#[test]
fn all_views_show_the_same_step_and_reads_never_go_back() {
    for workers in [1, 3] {
        let schema = columns("k v ts");
        let memory = Memory::new(&schema, vec![vec![], vec![]], false);
        let mut build = Build::default();
        let source = build.source(&memory, None);
        let sums = build.op(&sum(), &[source]);
        let all = build.view("all", &schema, &[], source);
        let sums = build.view("sums", &columns("k sum"), &[0], sums);
        let job = Job::start(build.graph, config(workers, None)).unwrap();
        let pushing = Arc::clone(&memory);
        let pusher = std::thread::spawn(move || {
            for round in 0..300 {
                pushing.push(round % 2, &generate(round as i64, 1 + round % 50));
            }
        });
        let (mut last_step, mut last_rows, total) =
            (0, 0, (0..300).map(|round| 1 + round % 50).sum());
        while last_rows < total {
            let requests = [all, sums].map(|node| ViewRequest { node, lookup: None });
            let (step, views) = job.snapshot(requests.to_vec()).unwrap();
            let views: Vec<Vec<Row>> = views
                .into_iter()
                .map(|view| view.unwrap().iter().flat_map(rows_of).collect())
                .collect();
            let straight: i64 = views[0].iter().map(|row| row[1]).sum();
            assert_eq!(views[1].iter().map(|row| row[1]).sum::<i64>(), straight);
            assert!(step.0 >= last_step && views[0].len() >= last_rows);
            (last_step, last_rows) = (step.0, views[0].len());
        }
        pusher.join().unwrap();
    }
}

#[test]
fn an_idle_partition_stops_holding_the_watermark() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![vec![], vec![]], false);
    let clock = Arc::new(ManualClock::default());
    let mut build = Build::default();
    let source = build.source_with(&memory, Some(2), Some(1000), OnBad::Fail);
    let counts = build.op(&windows(), &[source]);
    let view = build.view("windows", &columns("start count"), &[0], counts);
    let config = Config {
        clock: Arc::<ManualClock>::clone(&clock),
        ..config(2, None)
    };
    let job = Job::start(build.graph, config).unwrap();
    memory.push(0, &[vec![1, 1, 3], vec![1, 1, 35]]);
    until("the rows are taken", || job.progress().rows == 2);
    assert!(
        read(&job, view).is_empty(),
        "the other partition holds back"
    );
    clock.0.store(999, SeqCst);
    assert!(read(&job, view).is_empty());
    clock.0.store(1000, SeqCst);
    memory.push(0, &[vec![1, 1, 36]]);
    until("the window closes", || read(&job, view) == [[0, 1]]);
    assert!(job.progress().partitions[1].idle);
    // A row of the idle partition is late now, and the partition counts again.
    memory.push(1, &[vec![1, 1, 31], vec![1, 1, 5]]);
    until("the late row is counted", || {
        job.progress().nodes[1].late_rows == 1
    });
    assert!(!job.progress().partitions[1].idle);
    memory.push(0, &[vec![1, 1, 90]]);
    until("the row is taken", || job.progress().rows == 6);
    assert_eq!(
        read(&job, view),
        [[0, 1]],
        "the partition at 31 holds back again"
    );
}

#[test]
fn partitions_that_are_added_are_read_from_their_start() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![vec![vec![1, 1, 1]]], false);
    let mut build = Build::default();
    let source = build.source(&memory, Some(2));
    let view = build.view("all", &schema, &[], source);
    let job = Job::start(build.graph, config(1, None)).unwrap();
    until("the first row", || read(&job, view).len() == 1);
    memory.push(1, &[vec![2, 2, 2], vec![3, 3, 3]]);
    until("the new partition's rows", || read(&job, view).len() == 3);
    assert_eq!(job.progress().partitions.len(), 2);
}

#[test]
fn a_slow_sink_slows_the_source_and_readers_are_still_served() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![generate(1, 20_000)], true);
    let ledger = Arc::new(Ledger::default());
    let mut build = Build::default();
    let source = build.source(&memory, None);
    let view = build.view("all", &schema, &[], source);
    build.sink(&ledger, source);
    let config = Config {
        queue_rows: 500,
        sink_queue_rows: 300,
        step_rows_max: Some(100),
        ..config(1, None)
    };
    let gate = ledger.gate.lock().unwrap();
    let job = Job::start(build.graph, config).unwrap();
    until("the queues fill", || {
        job.progress().sinks[0].queued_rows >= 300
    });
    until("the reader rests", || {
        job.progress().partitions[0].queued_rows >= 500
    });
    let progress = job.progress();
    // 100 rows are in the writer's hands; each bound may be passed by one step or one poll.
    assert!(
        progress.rows <= 100 + 300 + 100,
        "{} rows taken",
        progress.rows
    );
    assert!(memory.rows_read.load(SeqCst) <= 500 + 500 + 64);
    assert_eq!(read(&job, view).len() as u64, progress.rows);
    drop(gate);
    assert_eq!(job.wait_end(), []);
    assert_eq!(ledger.committed.lock().unwrap().len(), 20_000);
}

#[test]
fn the_outside_may_be_away_for_a_while() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![generate(1, 100)], true);
    memory
        .errors
        .lock()
        .unwrap()
        .extend((0..3).map(|_| Error::retryable("no route to the broker")));
    let ledger = Arc::new(Ledger::default());
    ledger
        .errors
        .lock()
        .unwrap()
        .extend((0..3).map(|_| Error::retryable("the disk is full")));
    let mut build = Build::default();
    let source = build.source(&memory, None);
    build.sink(&ledger, source);
    let job = Job::start(build.graph, config(1, None)).unwrap();
    let mut seen = (false, false);
    until("both troubles are told", || {
        let progress = job.progress();
        let told = |text: &Option<String>, word: &str| {
            text.as_ref().is_some_and(|text| text.contains(word))
        };
        seen.0 |= told(&progress.partitions[0].retrying, "no route");
        seen.1 |= told(&progress.sinks[0].retrying, "disk is full");
        seen == (true, true)
    });
    assert_eq!(job.wait_end(), []);
    assert_eq!(ledger.committed.lock().unwrap().len(), 100);
    assert_eq!(job.progress().partitions[0].retrying, None);
}

#[test]
fn an_operator_that_watches_the_clock_acts_without_input() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![vec![]], false);
    let clock = Arc::new(ManualClock::default());
    let mut build = Build::default();
    let source = build.source(&memory, None);
    let ticks = build.op(&ticks(), &[source]);
    let view = build.view("ticks", &columns("now"), &[], ticks);
    let config = Config {
        clock: Arc::<ManualClock>::clone(&clock),
        ..config(1, None)
    };
    let job = Job::start(build.graph, config).unwrap();
    memory.push(0, &[vec![1, 1, 1]]);
    until("the first step", || read(&job, view) == [[0]]);
    clock.0.store(5000, SeqCst);
    until("a tick", || read(&job, view) == [[0], [5000]]);
    // A clock that jumps back does not take time back.
    clock.0.store(100, SeqCst);
    memory.push(0, &[vec![1, 1, 1]]);
    until("another row", || job.progress().rows == 2);
    assert_eq!(read(&job, view), [[0], [5000]]);
}

#[test]
fn a_subscriber_sees_the_view_and_then_each_change() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![vec![vec![1, 10, 0]]], false);
    let mut build = Build::default();
    let source = build.source(&memory, None);
    let sums = build.op(&sum(), &[source]);
    let view = build.view("sums", &columns("k sum"), &[0], sums);
    let job = Job::start(build.graph, config(2, None)).unwrap();
    until("the first row", || read(&job, view).len() == 1);
    let subscription = job.subscribe(view, 100).unwrap();
    assert_eq!(
        subscription
            .rows
            .batches()
            .unwrap()
            .iter()
            .flat_map(rows_of)
            .collect::<Vec<_>>(),
        [[1, 10]]
    );
    memory.push(0, &[vec![1, 5, 0]]);
    let (step, change) = subscription.next().unwrap().unwrap();
    assert!(step > subscription.step);
    let mut change = weighted(&change);
    change.sort_unstable();
    assert_eq!(change, [(vec![1, 10], -1), (vec![1, 15], 1)]);
    drop(job);
    assert!(subscription.next().unwrap().is_none());
}

#[test]
fn a_subscriber_that_is_too_slow_is_told_so() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![vec![]], false);
    let mut build = Build::default();
    let source = build.source(&memory, None);
    let view = build.view("all", &schema, &[], source);
    let job = Job::start(build.graph, config(1, None)).unwrap();
    let subscription = job.subscribe(view, 2).unwrap();
    for round in 0..5 {
        memory.push(0, &[vec![round, 0, 0]]);
        until("the step", || job.progress().rows == round as u64 + 1);
    }
    assert_eq!(
        weighted(&subscription.next().unwrap().unwrap().1),
        [(vec![0, 0, 0], 1)]
    );
    assert_eq!(
        weighted(&subscription.next().unwrap().unwrap().1),
        [(vec![1, 0, 0], 1)]
    );
    assert!(
        subscription
            .next()
            .unwrap_err()
            .to_string()
            .contains("too slow")
    );
}

#[test]
fn a_stopped_job_has_written_what_it_took() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![vec![]], false);
    let ledger = Arc::new(Ledger::default());
    let mut build = Build::default();
    let source = build.source(&memory, None);
    let view = build.view("all", &schema, &[], source);
    build.sink(&ledger, source);
    let job = Job::start(build.graph, config(1, None)).unwrap();
    memory.push(0, &generate(1, 500));
    until("the rows are taken", || job.progress().rows == 500);
    job.stop();
    assert_eq!(ledger.committed.lock().unwrap().len(), 500);
    assert_eq!(job.wait_end(), []);
    assert!(matches!(
        try_read(&job, view),
        Err(millstream_runtime::Error::Stopped)
    ));
}

#[test]
fn many_partitions_share_few_threads() {
    let schema = columns("k v ts");
    let memory = Memory::new(
        &schema,
        (0..40).map(|seed| generate(seed, 30)).collect(),
        false,
    );
    let mut build = Build::default();
    let source = build.source(&memory, None);
    let view = build.view("all", &schema, &[], source);
    let config = Config {
        reader_threads_max: 3,
        ..config(1, None)
    };
    let job = Job::start(build.graph, config).unwrap();
    until("all rows", || read(&job, view).len() == 1200);
    memory.push(39, &[vec![1, 1, 1]]);
    until("one more", || read(&job, view).len() == 1201);
}
