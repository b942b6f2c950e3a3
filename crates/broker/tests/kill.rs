//! A broker in a process of its own is killed with no chance to tidy up, again and again; what it acknowledged is
//! there, in order, once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and it waits for a real broker in real time"
)]

mod support;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use millstream_broker::{Broker, Config};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{FutureRecord, Producer},
};
use support::*;

const CHILD_DIR: &str = "BROKER_CHILD_DIR";
const CHILD_PORT: &str = "BROKER_CHILD_PORT";

/// Not a test: the process that is killed. It runs when this binary starts itself again.
#[test]
#[ignore = "this is the broker that the other tests start and kill"]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let port: u16 = std::env::var(CHILD_PORT).unwrap().parse().unwrap();
    let config = Config {
        listen: ([127, 0, 0, 1], port).into(),
        dir: Some(dir.into()),
        topic_defaults: [("segment.bytes".to_owned(), "200000".to_owned())].into(),
        ..Config::default()
    };
    let broker = Broker::start_blocking(config).unwrap();
    println!("listening on {}", broker.address());
    loop {
        std::thread::park();
    }
}

/// The broker in its own process.
struct Victim {
    process: Child,
    address: String,
}

impl Victim {
    fn start(dir: &Path, port: &str) -> Victim {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--ignored", "--nocapture"])
            .env(CHILD_DIR, dir)
            .env(CHILD_PORT, port)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the broker starts").unwrap();
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.to_owned();
            }
        };
        Victim { process, address }
    }

    fn port(&self) -> String {
        self.address.rsplit(':').next().unwrap().to_owned()
    }

    /// SIGKILL, then a new one in the same place.
    fn kill_and_restart(&mut self, dir: &Path) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        *self = Victim::start(dir, &self.port());
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn acknowledged_records_survive() {
    let dir = tempfile::tempdir().unwrap();
    let mut victim = Victim::start(dir.path(), "0");
    let at = victim.address.clone();
    let topic = topic(&at, "kill", 2);
    let stop = AtomicBool::new(false);
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let acknowledged: Vec<Vec<(i64, String)>> = std::thread::scope(|scope| {
        let writers: Vec<_> = counts
            .iter()
            .enumerate()
            .map(|(partition, count)| {
                let (stop, topic, at) = (&stop, &topic, &at);
                scope.spawn(move || write_until(stop, at, topic, partition as i32, count))
            })
            .collect();
        for _ in 0..4 {
            wait_for_more(&counts);
            victim.kill_and_restart(dir.path());
        }
        wait_for_more(&counts);
        stop.store(true, Ordering::Release);
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    victim.kill_and_restart(dir.path());
    for (partition, acknowledged) in acknowledged.into_iter().enumerate() {
        assert!(
            acknowledged.len() > 100,
            "only {} were acknowledged",
            acknowledged.len()
        );
        let found = read_from(&at, &topic, partition as i32, 0, false);
        let values: BTreeSet<&String> = found.iter().map(|(_, value)| value).collect();
        assert_eq!(values.len(), found.len(), "something is there twice");
        for (offset, value) in acknowledged {
            assert_eq!(found[offset as usize], (offset, value));
        }
    }
}

/// Waits until both writers go on, however slow the machine is, and a little longer: into the midst of what they do.
fn wait_for_more(counts: &[AtomicUsize; 2]) {
    let seen = counts.each_ref().map(|count| count.load(Ordering::Acquire));
    while counts
        .iter()
        .zip(seen)
        .any(|(count, seen)| count.load(Ordering::Acquire) == seen)
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(100));
}

/// Sends batches with an idempotent producer that lives through the kills; gives what was acknowledged, and where.
fn write_until(
    stop: &AtomicBool,
    at: &str,
    topic: &str,
    partition: i32,
    count: &AtomicUsize,
) -> Vec<(i64, String)> {
    let settings = [
        ("enable.idempotence", "true"),
        ("retry.backoff.ms", "20"),
        ("reconnect.backoff.max.ms", "100"),
    ];
    let producer = producer(at, &settings);
    let mut acknowledged = Vec::new();
    let mut next = 0;
    while !stop.load(Ordering::Acquire) {
        let values = numbers(next..next + 50);
        next += 50;
        let sent: Vec<_> = values
            .iter()
            .map(|value| {
                let record = FutureRecord::<str, str>::to(topic)
                    .partition(partition)
                    .payload(value);
                producer
                    .send_result(record)
                    .map_err(|(error, _)| error)
                    .unwrap()
            })
            .collect();
        for (one, value) in sent.into_iter().zip(values) {
            acknowledged.push((wait(one).unwrap().unwrap().offset, value));
        }
        count.store(acknowledged.len(), Ordering::Release);
    }
    acknowledged
}

#[test]
fn decided_transactions_survive_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut victim = Victim::start(dir.path(), "0");
    let at = victim.address.clone();
    let topic = topic(&at, "kill-tx", 2);
    let mut decided: BTreeSet<usize> = BTreeSet::new();
    let mut round = 0;
    for kill in 0..4 {
        let until = Instant::now() + Duration::from_millis(300 + kill * 70);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (at, topic, stop) = (&at, &topic, &stop);
            let first = round;
            let writer = scope.spawn(move || commit_until(stop, at, topic, first));
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            victim.kill_and_restart(dir.path());
            stop.store(true, Ordering::Release);
            let (committed, next) = writer.join().unwrap();
            decided.extend(committed);
            round = next;
        });
    }
    // Whoever comes next aborts what the last one left open.
    let _fence = transactional(&at, "kill-tx", &[]);
    victim.kill_and_restart(dir.path());
    assert!(decided.len() > 10, "only {} were committed", decided.len());
    let seen: Vec<Vec<String>> = (0..2)
        .map(|partition| read(&at, &topic, partition, true))
        .collect();
    assert_eq!(
        seen[0], seen[1],
        "a transaction is seen in all of its partitions or in none"
    );
    let rounds: Vec<usize> = seen[0].iter().map(|value| value.parse().unwrap()).collect();
    assert!(rounds.is_sorted_by(|a, b| a < b), "in order and once");
    assert!(
        decided.iter().all(|round| rounds.contains(round)),
        "an acknowledged commit is missing"
    );
    let consumer = reader(&at, true, &[("group.id", "kill-group")]);
    let mut list = TopicPartitionList::new();
    list.add_partition(&topic, 0);
    let committed = consumer
        .committed_offsets(list, PATIENCE)
        .unwrap()
        .elements()[0]
        .offset();
    assert_eq!(
        committed,
        Offset::Offset(*rounds.last().unwrap() as i64),
        "offsets go with their transaction"
    );
}

/// Commits transactions of one record per partition and one offset; gives the acknowledged ones and the next round.
fn commit_until(stop: &AtomicBool, at: &str, topic: &str, first: usize) -> (Vec<usize>, usize) {
    let producer = transactional(
        at,
        "kill-tx",
        &[
            ("retry.backoff.ms", "20"),
            ("reconnect.backoff.max.ms", "100"),
        ],
    );
    let group = reader(at, true, &[("group.id", "kill-group")])
        .group_metadata()
        .unwrap();
    let mut committed = Vec::new();
    let mut round = first;
    while !stop.load(Ordering::Acquire) {
        let attempt = || {
            producer.begin_transaction()?;
            for partition in 0..2 {
                send(&producer, topic, partition, &round.to_string())?;
            }
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, 0, Offset::Offset(round as i64))?;
            producer.send_offsets_to_transaction(&list, &group, PATIENCE)?;
            producer.commit_transaction(PATIENCE)
        };
        let outcome = attempt();
        round += 1;
        match outcome {
            Ok(()) => committed.push(round - 1),
            Err(_) => break,
        }
    }
    (committed, round)
}

#[test]
fn a_group_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut victim = Victim::start(dir.path(), "0");
    let at = victim.address.clone();
    let topic = topic(&at, "kill-group", 1);
    let settings = [
        ("enable.idempotence", "true"),
        ("retry.backoff.ms", "20"),
        ("reconnect.backoff.max.ms", "100"),
    ];
    let producer = producer(&at, &settings);
    let consumer: BaseConsumer = client(&at)
        .set("group.id", "survivors")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("heartbeat.interval.ms", "100")
        .set("reconnect.backoff.max.ms", "100")
        .create()
        .unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    let mut committed = 0;
    for round in 0..4 {
        send_all(&producer, &topic, 0, &numbers(round * 10..round * 10 + 10));
        eventually("the round is read and committed", || {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
                return false;
            };
            // A commit that a restart refuses is made again when the record comes again; until then, what
            // follows it must not be committed.
            let is_next = message.offset() == committed;
            if is_next && consumer.commit_message(&message, CommitMode::Sync).is_ok() {
                committed += 1;
            }
            committed == round as i64 * 10 + 10
        });
        victim.kill_and_restart(dir.path());
        let mut list = TopicPartitionList::new();
        list.add_partition(&topic, 0);
        let other = reader(&at, false, &[("group.id", "survivors")]);
        let found = other.committed_offsets(list, PATIENCE).unwrap();
        assert_eq!(found.elements()[0].offset(), Offset::Offset(committed));
    }
}
