//! Graphs that grow and shrink while they run: a part that was added late holds what it would hold from the start.

use crate::fixture::*;
use millstream_dataflow::graph::NodeId;
use millstream_runtime::{Error, Job};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// A running job with views of all rows and of sums, over two partitions.
struct Running {
    memory: Arc<Memory>,
    job: Job,
    source: NodeId,
    kept: NodeId,
    all: NodeId,
    sums: NodeId,
}

fn start(workers: usize, memory: Arc<Memory>) -> Running {
    let schema = columns("k v ts");
    let mut build = Build::default();
    let source = build.source(&memory, Some(2));
    let kept = build.op(&filter(&schema, |row| row[0] != 4), &[source]);
    let sums = build.op(&sum(), &[kept]);
    let all = build.view("all", &schema, &[], source);
    let sums = build.view("sums", &columns("k sum"), &[0], sums);
    let job = Job::start(build.graph, config(workers, None)).unwrap();
    Running {
        memory,
        job,
        source,
        kept,
        all,
        sums,
    }
}

fn live(workers: usize) -> Running {
    let memory = Memory::new(
        &columns("k v ts"),
        vec![generate(1, 700), generate(2, 500)],
        false,
    );
    start(workers, memory)
}

#[test]
fn a_view_over_a_running_view_begins_with_its_rows() {
    for workers in [1, 3] {
        let running = live(workers);
        until("all rows", || read(&running.job, running.all).len() == 1200);
        let mut build = Build::from(10);
        let again = build.op(&sum(), &[running.sums]);
        let view = build.view("again", &columns("k sum"), &[0], again);
        running.job.extend(build.graph).unwrap().wait().unwrap();
        assert_eq!(read(&running.job, view), read(&running.job, running.sums));
        running.memory.push(0, &generate(5, 100));
        until("new rows", || read(&running.job, running.all).len() == 1300);
        assert_eq!(read(&running.job, view), read(&running.job, running.sums));
    }
}

/// Grows the job while rows keep coming, and compares with a job that had the part from the start. A third partition
/// is there from the start, or comes to be discovered meanwhile.
fn grows_under_load(
    workers: usize,
    honours_end: bool,
    discovers: bool,
    addition: impl Fn(&mut Build, &Running) -> NodeId,
) {
    let mut partitions = vec![generate(1, 7000), generate(2, 5000)];
    if !discovers {
        partitions.push(Vec::new());
    }
    let mut memory = Memory::new(&columns("k v ts"), partitions, false);
    Arc::get_mut(&mut memory).unwrap().honours_end = honours_end;
    let running = start(workers, Arc::clone(&memory));
    let stop = Arc::new(AtomicBool::new(false));
    let (stopping, pushing) = (Arc::clone(&stop), Arc::clone(&memory));
    let pusher = std::thread::spawn(move || {
        let mut at = 7000;
        while !stopping.load(SeqCst) {
            for partition in 0..3 {
                let rows: Vec<Row> = (0..17)
                    .map(|row| vec![(at + row) % 11, row, (at + row) * 2])
                    .collect();
                pushing.push(partition, &rows);
            }
            at += 17;
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
    });
    until("the job is at work", || {
        let progress = running.job.progress();
        progress.rows > 5000 && progress.nodes[0].watermark.0 > 1000
    });
    let mut build = Build::from(10);
    let view = addition(&mut build, &running);
    running.job.extend(build.graph).unwrap().wait().unwrap();
    let at_once = read(&running.job, view).len();
    stop.store(true, SeqCst);
    pusher.join().unwrap();
    let total: usize = memory
        .logs
        .lock()
        .unwrap()
        .iter()
        .map(|log| log.rows.len())
        .sum();
    until("the rest", || running.job.progress().rows as usize == total);
    assert!(at_once > 0, "the view had its past when it was in place");

    let partitions: Vec<Vec<Row>> = memory
        .logs
        .lock()
        .unwrap()
        .iter()
        .map(|log| log.rows.clone())
        .collect();
    let straight = start(1, Memory::new(&columns("k v ts"), partitions, false));
    let mut build = Build::from(10);
    let expected = addition(&mut build, &straight);
    straight.job.extend(build.graph).unwrap().wait().unwrap();
    until("the rest", || {
        straight.job.progress().rows as usize == total
    });
    assert_eq!(read(&running.job, view), read(&straight.job, expected));
    assert_eq!(
        read(&running.job, running.sums),
        read(&straight.job, straight.sums)
    );
}

#[test]
fn a_view_over_a_running_source_reads_it_from_the_start() {
    for workers in [1, 3] {
        for honours_end in [true, false] {
            grows_under_load(workers, honours_end, true, |build, running| {
                build.view("copy", &columns("k v ts"), &[], running.source)
            });
        }
    }
}

#[test]
fn windows_over_a_running_operator_equal_those_from_the_start() {
    for workers in [1, 3] {
        // Rows of a partition that is discovered late can be late.
        grows_under_load(workers, true, false, |build, running| {
            let counts = build.op(&windows(), &[running.kept]);
            build.view("windows", &columns("start count"), &[0], counts)
        });
    }
}

#[test]
fn a_join_of_a_view_with_a_source_sees_each_of_their_rows_once() {
    for workers in [1, 3] {
        grows_under_load(workers, false, true, |build, running| {
            let some = build.op(
                &filter(&columns("k v ts"), |row| row[2] % 100 == 0),
                &[running.source],
            );
            let joined = build.op(&join(), &[running.sums, some]);
            let sums = build.op(&sum(), &[joined]);
            build.view("pairs", &columns("k sum"), &[0], sums)
        });
    }
}

#[test]
fn an_ended_job_can_grow() {
    let memory = Memory::new(
        &columns("k v ts"),
        vec![generate(1, 700), generate(2, 500)],
        true,
    );
    let running = start(2, memory);
    assert_eq!(running.job.wait_end(), []);
    let mut build = Build::from(10);
    let counts = build.op(&windows(), &[running.kept]);
    let view = build.view("windows", &columns("start count"), &[0], counts);
    let ledger = Arc::new(Ledger::default());
    build.sink(&ledger, counts);
    let fresh = Memory::new(&columns("k v ts"), vec![generate(3, 50)], true);
    let source = build.source(&fresh, None);
    let copy = build.view("fresh", &columns("k v ts"), &[], source);
    running.job.extend(build.graph).unwrap().wait().unwrap();
    assert_eq!(running.job.wait_end(), []);
    let rows: i64 = read(&running.job, view).iter().map(|row| row[1]).sum();
    let kept = read(&running.job, running.all)
        .iter()
        .filter(|row| row[0] != 4)
        .count();
    assert_eq!(rows, kept as i64);
    assert_eq!(ledger.finished.load(SeqCst), 1);
    assert_eq!(
        ledger.committed.lock().unwrap().len(),
        read(&running.job, view).len()
    );
    assert_eq!(read(&running.job, copy).len(), 50);
}

#[test]
fn what_is_needed_cannot_go_and_what_is_not_goes_along() {
    let running = live(1);
    let mut build = Build::from(10);
    let again = build.op(&sum(), &[running.sums]);
    let view = build.view("again", &columns("k sum"), &[0], again);
    running.job.extend(build.graph).unwrap().wait().unwrap();
    let error = running.job.remove(&[running.sums]).unwrap_err();
    assert!(
        matches!(&error, Error::InUse { name, consumer } if name == "sums" && consumer == "sum"),
        "{error}"
    );
    assert_eq!(running.job.remove(&[view]).unwrap(), [again, view]);
    // The filter and the aggregate served only this view; the source serves another.
    assert_eq!(
        running.job.remove(&[running.sums]).unwrap(),
        [running.kept, NodeId(2), running.sums]
    );
    assert!(matches!(
        try_read(&running.job, view),
        Err(Error::UnknownNode(_))
    ));
    running.memory.push(0, &generate(1, 10));
    until("the rest goes on", || {
        read(&running.job, running.all).len() == 1210
    });
    assert_eq!(
        running.job.remove(&[running.all]).unwrap(),
        [running.source, running.all]
    );
    assert!(running.job.progress().partitions.is_empty());
    let error = running.job.remove(&[running.all]).unwrap_err();
    assert!(matches!(error, Error::UnknownNode(_)));
}

#[test]
fn a_part_that_fails_while_it_catches_up_says_so() {
    let schema = columns("k v ts");
    let mut rows = generate(1, 700);
    rows[300][0] = 666;
    let running = start(1, Memory::new(&schema, vec![rows], false));
    until("all rows", || read(&running.job, running.all).len() == 700);
    let mut build = Build::from(10);
    let fails = build.op(&fails_at_666(&schema, true), &[running.source]);
    let view = build.view("broken", &schema, &[], fails);
    running.job.extend(build.graph).unwrap().wait().unwrap();
    let error = try_read(&running.job, view).unwrap_err().to_string();
    assert!(error.contains("number of the beast"), "{error}");
    assert_eq!(running.job.remove(&[view]).unwrap(), [fails, view]);
    until("the rest is well", || {
        read(&running.job, running.all).len() == 700
    });
}

#[test]
fn a_part_can_be_given_up_while_it_catches_up() {
    let running = live(1);
    until("all rows", || read(&running.job, running.all).len() == 1200);
    let errors = (0..1000).map(|_| millstream_dataflow::Error::retryable("away"));
    running.memory.errors.lock().unwrap().extend(errors);
    let mut build = Build::from(10);
    let view = build.view("copy", &columns("k v ts"), &[], running.source);
    let extension = running.job.extend(build.graph.clone()).unwrap();
    assert!(matches!(
        try_read(&running.job, view),
        Err(Error::CatchingUp(_))
    ));
    assert!(matches!(
        running.job.extend(build.graph),
        Err(Error::CatchingUp(_))
    ));
    assert!(
        running
            .job
            .progress()
            .nodes
            .iter()
            .any(|node| node.id == view && node.catching_up)
    );
    let error = running
        .job
        .remove(&[
            running.source,
            running.kept,
            NodeId(2),
            running.all,
            running.sums,
        ])
        .unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    assert_eq!(running.job.remove(&[view]).unwrap(), [view]);
    extension.wait().unwrap();
    assert!(matches!(
        try_read(&running.job, view),
        Err(Error::UnknownNode(_))
    ));
}

#[test]
fn a_sink_that_is_added_gets_the_past_and_the_present_once() {
    let running = live(2);
    until("all rows", || read(&running.job, running.all).len() == 1200);
    let ledger = Arc::new(Ledger::default());
    let mut build = Build::from(10);
    build.sink(&ledger, running.source);
    running.job.extend(build.graph).unwrap().wait().unwrap();
    running.memory.push(1, &generate(9, 40));
    until("the new rows", || {
        ledger.committed.lock().unwrap().len() >= 1240
    });
    let mut written: Vec<Row> = ledger
        .committed
        .lock()
        .unwrap()
        .iter()
        .map(|(row, _)| row.clone())
        .collect();
    written.sort_unstable();
    assert_eq!(written, read(&running.job, running.all));
    let steps: Vec<u64> = ledger
        .written
        .lock()
        .unwrap()
        .iter()
        .map(|(step, _)| step.0)
        .collect();
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
}

#[test]
fn an_addition_that_does_not_fit_is_refused() {
    let running = live(1);
    let mut build = Build::from(10);
    build.view("lost", &columns("k"), &[], NodeId(99));
    assert!(matches!(
        running.job.extend(build.graph),
        Err(Error::Graph(_))
    ));
    let mut build = Build::from(3);
    build.view("taken", &columns("k v ts"), &[], running.source);
    assert!(matches!(
        running.job.extend(build.graph),
        Err(Error::Graph(_))
    ));
}

#[test]
fn a_large_view_is_read_beside_while_it_changes() {
    for workers in [1, 3] {
        let memory = Memory::new(
            &columns("k v ts"),
            vec![generate(1, 60_000), generate(2, 60_000)],
            false,
        );
        let running = start(workers, memory);
        until("all rows", || running.job.progress().rows == 120_000);
        let mut build = Build::from(10);
        let sums = build.op(&sum(), &[running.all]);
        let joined = build.op(&join(), &[sums, running.sums]);
        let view = build.view("sums of all", &columns("k sum"), &[0], sums);
        let pairs = build.view("pairs", &columns("k l r"), &[], joined);
        let extension = running.job.extend(build.graph).unwrap();
        for round in 0..20 {
            running.memory.push(round % 2, &generate(round as i64, 100));
        }
        extension.wait().unwrap();
        until("the rest", || running.job.progress().rows == 122_000);
        let mut expected = std::collections::BTreeMap::new();
        for row in read(&running.job, running.all) {
            *expected.entry(row[0]).or_insert(0) += row[1];
        }
        let expected: Vec<Row> = expected.into_iter().map(|(k, sum)| vec![k, sum]).collect();
        assert_eq!(read(&running.job, view), expected);
        let kept = expected.into_iter().filter(|row| row[0] != 4);
        let both: Vec<Row> = kept.map(|row| vec![row[0], row[1], row[1]]).collect();
        assert_eq!(read(&running.job, pairs), both);
    }
}
