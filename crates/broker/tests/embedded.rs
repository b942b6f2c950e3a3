//! The embedded broker itself: starting and stopping, faults on demand, and clients that send nonsense.
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
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use millstream_broker::{Action, ApiKey, Broker, Config, Error, ErrorCode, Fault};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::ResourceSpecifier,
    consumer::{CommitMode, Consumer},
    producer::Producer,
};
use support::*;

fn start(config: Config) -> Broker {
    Broker::start_blocking(config).unwrap()
}

fn in_dir(dir: &tempfile::TempDir) -> Config {
    Config {
        dir: Some(dir.path().into()),
        ..Config::default()
    }
}

#[tokio::test(flavor = "current_thread")]
async fn serves_a_client_that_blocks_the_only_thread() {
    let broker = Broker::start(Config::default()).await.unwrap();
    let at = broker.bootstrap_servers();
    assert_eq!(at, broker.address().to_string());
    assert!(broker.start_line().contains("for development"));
    let metadata = admin(&at).inner().fetch_metadata(None, PATIENCE).unwrap();
    assert_eq!(
        metadata.brokers()[0].port(),
        i32::from(broker.address().port())
    );
    broker.shutdown().await;
    assert!(TcpStream::connect(&at).is_err(), "the port is free again");
    // Dropping one within a runtime is allowed, too.
    drop(Broker::start(Config::default()).await.unwrap());
}

#[test]
fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(in_dir(&dir));
    let at = broker.bootstrap_servers();
    let name = topic_with(&at, "kept", 2, &[("retention.ms", "777")]);
    send_all(&producer(&at, &[]), &name, 1, &numbers(0..10));
    let committer = reader(&at, false, &[("group.id", "kept-group")]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&name, 1, Offset::Offset(6))
        .unwrap();
    committer.commit(&list, CommitMode::Sync).unwrap();
    let first = transactional(&at, "kept-tx", &[]);
    first.begin_transaction().unwrap();
    send(&first, &name, 0, "open").unwrap();
    let cluster = admin(&at).inner().fetch_cluster_id(PATIENCE);
    wait(broker.shutdown());

    let broker = start(in_dir(&dir));
    let at = broker.bootstrap_servers();
    assert_eq!(admin(&at).inner().fetch_cluster_id(PATIENCE), cluster);
    assert_eq!(read(&at, &name, 1, false), numbers(0..10));
    let described =
        wait(admin(&at).describe_configs([&ResourceSpecifier::Topic(&name)], &options())).unwrap();
    assert_eq!(
        described[0]
            .as_ref()
            .unwrap()
            .get("retention.ms")
            .unwrap()
            .value
            .as_deref(),
        Some("777")
    );
    let mut list = TopicPartitionList::new();
    list.add_partition(&name, 1);
    let consumer = reader(&at, false, &[("group.id", "kept-group")]);
    let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(6));
    // The open transaction is still open, and its id still known: the next holder aborts it.
    assert_eq!(
        reader(&at, true, &[])
            .fetch_watermarks(&name, 0, PATIENCE)
            .unwrap(),
        (0, 0)
    );
    let _second = transactional(&at, "kept-tx", &[]);
    assert_eq!(
        reader(&at, true, &[])
            .fetch_watermarks(&name, 0, PATIENCE)
            .unwrap(),
        (0, 2)
    );
    assert_eq!(read(&at, &name, 0, true), Vec::<String>::new());
}

#[test]
fn a_folder_belongs_to_one_broker() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(in_dir(&dir));
    assert!(matches!(
        Broker::start_blocking(in_dir(&dir)),
        Err(Error::InUse(_))
    ));
    let listen = first.address();
    let taken = Broker::start_blocking(Config {
        listen,
        ..Config::default()
    })
    .unwrap_err();
    assert!(matches!(taken, Error::Listen { .. }), "{taken}");
    wait(first.shutdown());
    wait(start(in_dir(&dir)).shutdown());
}

#[test]
fn a_temporary_folder_goes_with_its_broker() {
    let broker = start(Config::default());
    let dir = broker.start_line().rsplit(' ').next().unwrap().to_owned();
    assert!(std::fs::exists(&dir).unwrap());
    drop(broker);
    assert!(!std::fs::exists(&dir).unwrap());
}

#[test]
fn an_injected_error_is_answered_and_retried() {
    let broker = start(Config::default());
    let at = broker.bootstrap_servers();
    let topic = topic(&at, "error", 1);
    let fault = Fault::on(
        ApiKey::Produce,
        Action::Error(ErrorCode::NotLeaderOrFollower),
    )
    .topic(&topic)
    .times(2);
    let injected = broker.faults().inject(fault);
    assert_eq!(send(&producer(&at, &[]), &topic, 0, "x").unwrap().offset, 0);
    assert_eq!(injected.hits(), 2);
    assert_eq!(read(&at, &topic, 0, false), ["x"]);
}

#[test]
fn a_lost_answer_does_not_duplicate_what_an_idempotent_producer_sends() {
    let broker = start(Config::default());
    let at = broker.bootstrap_servers();
    let topic = topic(&at, "lost", 1);
    let producer = producer(
        &at,
        &[("enable.idempotence", "true"), ("retry.backoff.ms", "1")],
    );
    let injected = broker.faults().inject(
        Fault::on(ApiKey::Produce, Action::DropAnswer)
            .nth(2)
            .times(3),
    );
    let offsets: Vec<i64> = numbers(0..10)
        .iter()
        .map(|value| send(&producer, &topic, 0, value).unwrap().offset)
        .collect();
    assert_eq!(offsets, (0..10).collect::<Vec<i64>>());
    assert_eq!(injected.hits(), 3);
    assert_eq!(read(&at, &topic, 0, false), numbers(0..10));
}

#[test]
fn a_connection_closed_before_the_work_loses_nothing() {
    let broker = start(Config::default());
    let at = broker.bootstrap_servers();
    let topic = topic(&at, "closed", 1);
    let producer = producer(
        &at,
        &[("enable.idempotence", "true"), ("retry.backoff.ms", "1")],
    );
    send(&producer, &topic, 0, "value 0").unwrap();
    let injected = broker
        .faults()
        .inject(Fault::on(ApiKey::Produce, Action::Close).times(2));
    for value in numbers(1..5) {
        send(&producer, &topic, 0, &value).unwrap();
    }
    assert_eq!(injected.hits(), 2);
    assert_eq!(read(&at, &topic, 0, false), numbers(0..5));
}

#[test]
fn a_commit_whose_answer_is_lost_is_committed_once() {
    let broker = start(Config::default());
    let at = broker.bootstrap_servers();
    let topic = topic(&at, "end", 1);
    let producer = transactional(&at, "tx", &[("retry.backoff.ms", "10")]);
    let injected = broker
        .faults()
        .inject(Fault::on(ApiKey::EndTxn, Action::DropAnswer));
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, "x").unwrap();
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(injected.hits(), 1);
    assert_eq!(watermarks(&at, &topic, 0), (0, 2), "one record, one marker");
    assert_eq!(read(&at, &topic, 0, true), ["x"]);
}

#[test]
fn a_commit_that_is_never_answered_times_out_and_stays_decided() {
    let broker = start(Config::default());
    let at = broker.bootstrap_servers();
    let topic = topic(&at, "silent", 1);
    let producer = transactional(&at, "tx", &[]);
    broker
        .faults()
        .inject(Fault::on(ApiKey::EndTxn, Action::Silence).always());
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, "x").unwrap();
    assert!(producer.commit_transaction(Duration::from_secs(1)).is_err());
    broker.faults().clear();
    drop(producer);
    let _next = transactional(&at, "tx", &[]);
    assert_eq!(read(&at, &topic, 0, true), ["x"]);
}

#[test]
fn what_is_beyond_retention_goes() {
    let broker = start(Config {
        retention_interval: Duration::from_millis(50),
        topic_defaults: [("segment.bytes".to_owned(), "10000".to_owned())].into(),
        ..Config::default()
    });
    let at = broker.bootstrap_servers();
    let by_size = topic_with(&at, "by-size", 1, &[("retention.bytes", "30000")]);
    let by_time = topic_with(&at, "by-time", 1, &[("retention.ms", "1000")]);
    let values = vec!["x".repeat(1000); 100];
    let producer = producer(&at, &[("batch.num.messages", "5")]);
    for topic in [&by_size, &by_time] {
        send_all(&producer, topic, 0, &values);
    }
    eventually("the old segments go", || {
        watermarks(&at, &by_size, 0).0 >= 50
    });
    let (first, end) = watermarks(&at, &by_size, 0);
    assert!(first <= 80 && end == 100, "{first}..{end}");
    assert_eq!(
        read_from(&at, &by_size, 0, first, false).len() as i64,
        end - first
    );
    eventually("everything goes", || {
        watermarks(&at, &by_time, 0) == (100, 100)
    });
    assert_eq!(send(&producer, &by_time, 0, "next").unwrap().offset, 100);
}

#[test]
fn a_delay_delays() {
    let broker = start(Config::default());
    let at = broker.bootstrap_servers();
    let topic = topic(&at, "delay", 1);
    let producer = producer(&at, &[]);
    send(&producer, &topic, 0, "x").unwrap();
    let delay = Duration::from_millis(300);
    broker
        .faults()
        .inject(Fault::on(ApiKey::Produce, Action::Delay(delay)));
    let begin = Instant::now();
    send(&producer, &topic, 0, "y").unwrap();
    assert!(begin.elapsed() >= delay);
}

/// Sends a frame and gives what comes back: an answer, or nothing when the connection is closed.
fn ask(at: &str, frame: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(frame).unwrap();
    let mut length = [0; 4];
    if stream.read_exact(&mut length).is_err() {
        return Vec::new();
    }
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn frame(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(api.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(77_i32.to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(body);
    let mut frame = (request.len() as u32).to_be_bytes().to_vec();
    frame.extend(request);
    frame
}

#[test]
fn nonsense_closes_one_connection_and_harms_nobody() {
    let broker = start(Config::default());
    let at = broker.bootstrap_servers();
    for nonsense in [
        b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n".to_vec(),
        (-5_i32).to_be_bytes().to_vec(),
        vec![0, 0, 0, 2, 0, 0],
        frame(9999, 0, &[]),
        frame(ApiKey::Produce as i16, 0, &[0; 20]),
        frame(ApiKey::Produce as i16, 3, &[0xff; 3]),
        frame(ApiKey::Metadata as i16, 1, &i32::MAX.to_be_bytes()),
        frame(
            ApiKey::Metadata as i16,
            9,
            &[0, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ),
        frame(ApiKey::Fetch as i16, 99, &[0; 50]),
    ] {
        assert_eq!(ask(&at, &nonsense), [0_u8; 0], "{nonsense:?}");
    }
    let topic = topic(&at, "alive", 1);
    assert_eq!(send(&producer(&at, &[]), &topic, 0, "x").unwrap().offset, 0);
}

/// Every API and version, with bytes that a seed makes up; small ones mostly, so that some are nearly right.
#[test]
fn made_up_requests_harm_nobody() {
    let broker = start(Config::default());
    let at = broker.bootstrap_servers();
    let mut seed = 1_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize
    };
    for api in 0..70 {
        for version in 0..14 {
            let body: Vec<u8> = (0..next() % 60)
                .map(|_| {
                    if next() % 4 == 0 {
                        next() as u8
                    } else {
                        (next() % 3) as u8
                    }
                })
                .collect();
            let mut stream = TcpStream::connect(&at).unwrap();
            stream.write_all(&frame(api, version, &body)).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Whatever it is answered, the connection ends; a join that waits for others ends with it.
            stream
                .set_read_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    let topic = topic(&at, "alive", 1);
    assert_eq!(send(&producer(&at, &[]), &topic, 0, "x").unwrap().offset, 0);
}

#[test]
fn a_too_new_client_is_told_which_versions_there_are() {
    let broker = start(Config::default());
    let answer = ask(
        &broker.bootstrap_servers(),
        &frame(ApiKey::ApiVersions as i16, 90, &[1, 2, 3]),
    );
    assert_eq!(answer[..4], 77_i32.to_be_bytes());
    assert_eq!(
        answer[4..6],
        ErrorCode::UnsupportedVersion.code().to_be_bytes()
    );
    assert!(u32::from_be_bytes(answer[6..10].try_into().unwrap()) > 20);
}

#[test]
fn a_damaged_batch_is_refused() {
    let broker = start(Config::default());
    let at = broker.bootstrap_servers();
    let topic = topic(&at, "damaged", 1);
    // Produce version 3: no transactional id, acks 1, one topic, one partition, 70 bytes of which the magic is right.
    let mut records = vec![0; 70];
    records[11] = 58;
    records[16] = 2;
    let mut body = [
        (-1_i16).to_be_bytes().to_vec(),
        1_i16.to_be_bytes().to_vec(),
        1000_i32.to_be_bytes().to_vec(),
    ]
    .concat();
    body.extend(1_i32.to_be_bytes());
    body.extend((topic.len() as i16).to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend((records.len() as i32).to_be_bytes());
    body.extend(records);
    let answer = ask(&at, &frame(ApiKey::Produce as i16, 3, &body));
    let error = ErrorCode::CorruptMessage.code().to_be_bytes();
    let at_error = 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[at_error..at_error + 2], error, "{answer:?}");
    assert_eq!(watermarks(&at, &topic, 0), (0, 0));
}
