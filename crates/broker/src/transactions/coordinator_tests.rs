//! The coordinator on a real folder: what a kill between two steps leaves behind is finished as it was decided.

use std::{collections::BTreeMap, path::PathBuf};

use super::*;
use crate::{groups::offsets::Committed, log::partition::Reading};

struct Node {
    _dir: tempfile::TempDir,
    path: PathBuf,
    topics: Arc<Topics>,
    offsets: Arc<Offsets>,
    transactions: Transactions,
}

fn open(dir: tempfile::TempDir) -> Node {
    let path = dir.path().to_path_buf();
    let topics = Arc::new(Topics::open(&path, BTreeMap::new()).unwrap());
    let offsets = Arc::new(Offsets::open(&path.join("groups")).unwrap());
    let transactions = Transactions::open(
        &path.join("transactions"),
        Arc::clone(&topics),
        Arc::clone(&offsets),
        60_000,
    )
    .unwrap();
    Node {
        _dir: dir,
        path,
        topics,
        offsets,
        transactions,
    }
}

impl Node {
    fn new() -> Node {
        let node = open(tempfile::tempdir().unwrap());
        node.topics.create("t", 2, &BTreeMap::new()).unwrap();
        node
    }

    fn restart(self) -> Node {
        let Node {
            _dir: dir,
            path,
            topics,
            offsets,
            transactions,
        } = self;
        drop((path, topics, offsets, transactions));
        open(dir)
    }

    fn init(&self, now_ms: i64) -> (i64, i16) {
        let asking = Asking {
            held: None,
            timeout_ms: 1000,
            now_ms,
        };
        self.transactions.init("x", asking).unwrap()
    }

    fn add(&self, producer: (i64, i16), now_ms: i64) -> Result<(), Refused> {
        let partitions = vec![("t".to_owned(), 0), ("t".to_owned(), 1)];
        self.transactions
            .add("x", producer, partitions, vec!["g".to_owned()], now_ms)
    }

    /// The kinds of markers on a partition.
    fn markers(&self, index: i32) -> Vec<bool> {
        let partition = self.topics.partition("t", index).unwrap();
        let mut offset = 0;
        let mut kinds = Vec::new();
        loop {
            let reading = Reading {
                offset,
                bytes_max: 1,
                at_least_one: true,
                committed: false,
            };
            let read = partition.read(reading).unwrap().unwrap();
            match crate::log::batch::marker_commits(&read.records) {
                Some(commit) => kinds.push(commit),
                None => return kinds,
            }
            offset += 1;
        }
    }

    fn committed(&self) -> Option<i64> {
        self.offsets
            .get("g", &("t".to_owned(), 0))
            .map(|offset| offset.offset)
    }

    fn commit_offset(&self, producer: (i64, i16), offset: i64) {
        let offset = Committed {
            offset,
            leader_epoch: 0,
            metadata: String::new(),
        };
        let offsets = vec![(("t".to_owned(), 0), offset)];
        self.offsets
            .commit_in_transaction(producer.0, "g", offsets)
            .unwrap();
    }
}

fn error<T>(outcome: Result<T, Refused>) -> ResponseError {
    match outcome {
        Err(Refused::Answer(error)) => error,
        Err(Refused::Disk(error)) => panic!("{error}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[test]
fn a_decision_is_carried_out_after_a_restart() {
    for commit in [true, false] {
        let node = Node::new();
        let producer = node.init(0);
        node.add(producer, 0).unwrap();
        node.commit_offset(producer, 7);
        // The kill comes when the decision is in the journal and no marker is written.
        let mut decided = node.transactions.describe("x").unwrap();
        decided.end(commit, 1).unwrap();
        node.transactions
            .journal
            .lock()
            .write(vec![change("x", Some(&decided))])
            .unwrap();
        let node = node.restart();
        assert_eq!(
            error(node.add(producer, 2)),
            ResponseError::ConcurrentTransactions
        );
        node.transactions.tick(2).unwrap();
        for index in 0..2 {
            assert_eq!(node.markers(index), [commit]);
        }
        assert_eq!(node.committed(), commit.then_some(7));
        let state = node.transactions.describe("x").unwrap();
        assert_eq!(state.phase, Phase::Complete { commit });
        // The client asks again, because it had no answer.
        node.transactions.end("x", producer, commit, 3).unwrap();
        assert_eq!(
            error(node.transactions.end("x", producer, !commit, 3)),
            ResponseError::InvalidTxnState
        );
        assert_eq!(node.markers(0), [commit], "no second marker");
    }
}

#[test]
fn markers_that_were_written_before_a_kill_are_harmless_when_repeated() {
    let node = Node::new();
    let producer = node.init(0);
    node.add(producer, 0).unwrap();
    let mut decided = node.transactions.describe("x").unwrap();
    decided.end(true, 1).unwrap();
    node.transactions
        .journal
        .lock()
        .write(vec![change("x", Some(&decided))])
        .unwrap();
    let topic = node.topics.get("t").unwrap();
    let first = topic.partition(0).unwrap();
    first
        .append_marker(producer.0, producer.1, true, &topic.config())
        .unwrap();
    let node = node.restart();
    node.transactions.tick(2).unwrap();
    assert_eq!(
        (node.markers(0), node.markers(1)),
        (vec![true, true], vec![true])
    );
    let bounds = node.topics.partition("t", 0).unwrap().bounds();
    assert_eq!(bounds.stable, bounds.end);
}

#[test]
fn an_overdue_transaction_is_aborted_and_its_producer_fenced() {
    let node = Node::new();
    let producer = node.init(0);
    node.add(producer, 0).unwrap();
    node.commit_offset(producer, 7);
    let node = node.restart();
    node.transactions.tick(1000).unwrap();
    assert_eq!(node.markers(0), [false; 0]);
    node.transactions.tick(1001).unwrap();
    assert_eq!((node.markers(0), node.committed()), (vec![false], None));
    let outcome = node.transactions.end("x", producer, true, 1002);
    assert_eq!(error(outcome), ResponseError::ProducerFenced);
    let (id, epoch) = node.init(1003);
    assert_eq!(id, producer.0);
    assert!(epoch > producer.1);
}

#[test]
fn producer_ids_are_never_given_twice() {
    let node = Node::new();
    let mut ids: Vec<i64> = (0..5)
        .map(|_| node.transactions.fresh_id().unwrap())
        .collect();
    let node = node.restart();
    ids.extend((0..2000).map(|_| node.transactions.fresh_id().unwrap()));
    assert!(ids.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_long_unused_id_is_forgotten() {
    let node = Node::new();
    node.init(0);
    node.transactions.tick(EXPIRY_MS).unwrap();
    assert!(node.transactions.describe("x").is_some());
    node.transactions.tick(EXPIRY_MS + 1).unwrap();
    assert!(node.transactions.describe("x").is_none());
    assert!(node.restart().transactions.describe("x").is_none());
}

#[test]
fn a_timeout_must_be_possible() {
    let node = Node::new();
    for timeout_ms in [0, -1, 60_001] {
        let asking = Asking {
            held: None,
            timeout_ms,
            now_ms: 0,
        };
        assert_eq!(
            error(node.transactions.init("x", asking)),
            ResponseError::InvalidTransactionTimeout
        );
    }
}
