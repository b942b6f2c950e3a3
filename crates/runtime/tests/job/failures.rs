//! What fails takes down what depends on it, says so, and nothing else. Bad records go where the table says.

use crate::fixture::*;
use millstream_dataflow::Error;
use millstream_dataflow::graph::OnBad;
use millstream_runtime::Job;
use std::sync::Arc;

#[test]
fn a_failed_operator_takes_down_only_what_depends_on_it() {
    for (workers, panics) in [(1, true), (1, false), (3, true), (3, false)] {
        let schema = columns("k v ts");
        let mut rows = generate(1, 500);
        rows[250][0] = 666;
        let memory = Memory::new(&schema, vec![rows], true);
        let (good, bad) = (Arc::new(Ledger::default()), Arc::new(Ledger::default()));
        let mut build = Build::default();
        let source = build.source(&memory, None);
        let fails = build.op(&fails_at_666(&schema, panics), &[source]);
        let sums = build.op(&sum(), &[fails]);
        let broken = build.view("broken", &columns("k sum"), &[0], sums);
        let whole = build.view("whole", &schema, &[], source);
        build.sink(&bad, fails);
        build.sink(&good, source);
        let job = Job::start(build.graph, config(workers, Some(10))).unwrap();
        let failures = job.wait_end();
        let words = if panics {
            "the number of the beast"
        } else {
            "division by zero"
        };
        assert_eq!(failures.len(), 1);
        assert_eq!((failures[0].node(), failures[0].name()), (fails, "fails"));
        assert!(failures[0].to_string().contains(words), "{}", failures[0]);
        let error = try_read(&job, broken).unwrap_err().to_string();
        assert!(
            error.contains("`fails` failed") && error.contains(words),
            "{error}"
        );
        assert_eq!(read(&job, whole).len(), 500);
        assert_eq!(good.committed.lock().unwrap().len(), 500);
        let failed: Vec<bool> = job
            .progress()
            .nodes
            .iter()
            .map(|node| node.failure.is_some())
            .collect();
        assert_eq!(failed, [false, true, true, true, false, true, false]);
        let mut removed = job
            .remove(&[
                broken,
                failures[0].node(),
                sums,
                millstream_dataflow::graph::NodeId(5),
            ])
            .unwrap();
        removed.sort_unstable();
        assert_eq!(
            removed.iter().map(|id| id.0).collect::<Vec<_>>(),
            [1, 2, 3, 5]
        );
        assert_eq!(read(&job, whole).len(), 500);
    }
}

#[test]
fn a_failed_source_takes_down_its_views_and_the_rest_ends() {
    let schema = columns("k v ts");
    let broken = Memory::new(&schema, vec![generate(1, 10)], true);
    broken
        .errors
        .lock()
        .unwrap()
        .push_back(Error::internal("offset 7 is gone"));
    let whole = Memory::new(&schema, vec![generate(1, 10)], true);
    let mut build = Build::default();
    let (one, two) = (build.source(&broken, None), build.source(&whole, None));
    let joined = build.op(&join(), &[one, two]);
    let one = build.view("one", &schema, &[], one);
    let two = build.view("two", &schema, &[], two);
    let both = build.view("both", &columns("k l r"), &[], joined);
    let job = Job::start(build.graph, config(2, None)).unwrap();
    assert_eq!(job.wait_end().len(), 1);
    for view in [one, both] {
        let error = try_read(&job, view).unwrap_err().to_string();
        assert!(error.contains("partition p0: offset 7 is gone"), "{error}");
    }
    assert_eq!(read(&job, two).len(), 10);
}

#[test]
fn a_failed_sink_fails_alone() {
    let schema = columns("k v ts");
    let memory = Memory::new(&schema, vec![generate(1, 1000)], true);
    let (good, bad) = (Arc::new(Ledger::default()), Arc::new(Ledger::default()));
    bad.errors
        .lock()
        .unwrap()
        .push_back(Error::user("the topic does not exist"));
    let mut build = Build::default();
    let source = build.source(&memory, None);
    build.sink(&bad, source);
    build.sink(&good, source);
    let view = build.view("all", &schema, &[], source);
    let job = Job::start(build.graph, config(1, Some(10))).unwrap();
    let failures = job.wait_end();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].to_string().contains("the topic does not exist"));
    assert_eq!(good.committed.lock().unwrap().len(), 1000);
    assert_eq!(read(&job, view).len(), 1000);
}

fn with_bad_records(on_bad: OnBad) -> (Job, Vec<millstream_dataflow::graph::NodeId>) {
    let schema = columns("k v ts");
    let mut rows = generate(1, 100);
    rows[40][0] = -5;
    let memory = Memory::new(&schema, vec![rows], true);
    memory.logs.lock().unwrap()[0].bad = vec![3, 70];
    let mut build = Build::default();
    let source = build.source_with(&memory, Some(2), None, on_bad);
    let letters = build.letters();
    let good = build.view("good", &schema, &[], source);
    let bad = build.view(
        "bad",
        &millstream_dataflow::source::dead_letter_schema(),
        &[],
        letters,
    );
    let job = Job::start(build.graph, config(2, Some(7))).unwrap();
    (job, vec![good, bad])
}

#[test]
fn bad_records_are_skipped_and_counted_by_reason() {
    let (job, views) = with_bad_records(OnBad::Skip);
    assert_eq!(job.wait_end(), []);
    assert_eq!(read(&job, views[0]).len(), 97);
    let bad: Vec<_> = job
        .progress()
        .bad
        .into_iter()
        .map(|bad| (bad.table, bad.reason, bad.records))
        .collect();
    assert_eq!(
        bad,
        [
            ("t".into(), "-5 is negative".into(), 1),
            ("t".into(), "broken".into(), 2)
        ]
    );
}

#[test]
fn bad_records_stop_the_table_that_wants_it() {
    let (job, views) = with_bad_records(OnBad::Fail);
    assert_eq!(job.wait_end().len(), 1);
    let error = try_read(&job, views[0]).unwrap_err().to_string();
    assert!(
        error.contains("table t, partition p0, offset 3: broken"),
        "{error}"
    );
}

#[test]
fn dead_letters_and_rows_account_for_every_record() {
    let (job, views) = with_bad_records(OnBad::DeadLetter(millstream_dataflow::graph::NodeId(1)));
    assert_eq!(job.wait_end(), []);
    assert_eq!(read(&job, views[0]).len(), 97);
    let request = millstream_runtime::ViewRequest {
        node: views[1],
        lookup: None,
    };
    let (_, letters) = job.snapshot(vec![request]).unwrap();
    let letters: Vec<String> = letters[0]
        .as_ref()
        .unwrap()
        .iter()
        .map(|batch| {
            millstream_dataflow::testing::show(&millstream_dataflow::Delta::inserts(batch.clone()))
        })
        .collect();
    let hex = |text: &str| {
        text.bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let expected = format!(
        "+1 {} p0 3 broken / +1 {} p0 40 -5_is_negative / +1 {} p0 70 broken",
        hex("bad 3"),
        hex(r#"{"k":-5,"v":1,"ts":80}"#),
        hex("bad 70")
    );
    assert_eq!(letters.join(" / "), expected);
}
