//! Producing and reading records.

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
    message::Headers,
    producer::FutureRecord,
};

use crate::support::*;

#[test]
fn a_record_comes_back_as_it_was() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "record", 1);
    let producer = producer(&bootstrap, &[]);
    let headers = header("kind", Some("test")).insert(rdkafka::message::Header {
        key: "empty",
        value: None::<&str>,
    });
    let record = FutureRecord::to(&topic)
        .partition(0)
        .key("k")
        .payload("v")
        .timestamp(1_700_000_000_123)
        .headers(headers);
    wait(
        producer
            .send_result(record)
            .map_err(|(error, _)| error)
            .unwrap(),
    )
    .unwrap()
    .unwrap();
    let tombstone = FutureRecord::<str, str>::to(&topic).partition(0).key("k");
    wait(
        producer
            .send_result(tombstone)
            .map_err(|(error, _)| error)
            .unwrap(),
    )
    .unwrap()
    .unwrap();

    let consumer = reader(&bootstrap, false, &[]);
    assign(&consumer, &topic, 0, 0);
    let message = consumer.poll(PATIENCE).unwrap().unwrap();
    assert_eq!(
        (message.key(), message.payload()),
        (Some(&b"k"[..]), Some(&b"v"[..]))
    );
    assert_eq!(message.timestamp().to_millis(), Some(1_700_000_000_123));
    let headers = message.headers().unwrap();
    assert_eq!(
        (headers.get(0).key, headers.get(0).value),
        ("kind", Some(&b"test"[..]))
    );
    assert_eq!((headers.get(1).key, headers.get(1).value), ("empty", None));
    let tombstone = consumer.poll(PATIENCE).unwrap().unwrap();
    assert_eq!(
        (tombstone.offset(), tombstone.key(), tombstone.payload()),
        (1, Some(&b"k"[..]), None)
    );
}

fn compressed(codec: &str) {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, codec, 1);
    let producer = producer(
        &bootstrap,
        &[("compression.type", codec), ("linger.ms", "20")],
    );
    let values = numbers(0..500);
    let offsets = send_all(&producer, &topic, 0, &values);
    assert_eq!(offsets, (0..500).collect::<Vec<i64>>());
    assert_eq!(read(&bootstrap, &topic, 0, false), values);
    let middle = read_from(&bootstrap, &topic, 0, 250, false);
    assert_eq!(middle.first(), Some(&(250, "value 250".to_owned())));
    assert_eq!(middle.len(), 250);
}

#[test]
fn uncompressed_batches() {
    compressed("none");
}

#[test]
fn gzip_batches() {
    compressed("gzip");
}

#[test]
fn snappy_batches() {
    compressed("snappy");
}

#[test]
fn lz4_batches() {
    compressed("lz4");
}

#[test]
fn zstd_batches() {
    compressed("zstd");
}

#[test]
fn every_acks_level() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "acks", 1);
    for acks in ["0", "1", "all"] {
        send(&producer(&bootstrap, &[("acks", acks)]), &topic, 0, acks).unwrap();
    }
    eventually("all three are there", || {
        read(&bootstrap, &topic, 0, false) == ["0", "1", "all"]
    });
}

#[test]
fn partitions_are_separate() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "partitions", 3);
    let producer = producer(&bootstrap, &[]);
    for partition in 0..3 {
        let delivery = send(&producer, &topic, partition, &partition.to_string()).unwrap();
        assert_eq!((delivery.partition, delivery.offset), (partition, 0));
    }
    for partition in 0..3 {
        assert_eq!(
            read(&bootstrap, &topic, partition, false),
            [partition.to_string()]
        );
    }
}

#[test]
fn a_topic_is_made_when_it_is_first_written() {
    let bootstrap = bootstrap();
    let topic = unique("auto");
    let delivery = send(&producer(&bootstrap, &[]), &topic, 0, "first").unwrap();
    assert_eq!(delivery.offset, 0);
    assert_eq!(read(&bootstrap, &topic, 0, false), ["first"]);
}

#[test]
fn an_unknown_partition_is_refused() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "unknown", 1);
    let error = send(&producer(&bootstrap, &[]), &topic, 7, "lost").unwrap_err();
    assert_eq!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::UnknownPartition)
    );
}

#[test]
fn a_too_large_batch_is_refused() {
    let bootstrap = bootstrap();
    let topic = topic_with(&bootstrap, "large", 1, &[("max.message.bytes", "1000")]);
    let producer = producer(&bootstrap, &[]);
    let error = send(&producer, &topic, 0, &"x".repeat(5000)).unwrap_err();
    assert_eq!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageSizeTooLarge)
    );
    assert_eq!(send(&producer, &topic, 0, "small").unwrap().offset, 0);
}

#[test]
fn a_large_record_is_read_through_a_small_window() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "window", 1);
    let values = ["a".repeat(400_000), "b".repeat(400_000), "c".into()];
    send_all(&producer(&bootstrap, &[]), &topic, 0, &values);
    let small = [
        ("fetch.message.max.bytes", "1000"),
        ("fetch.max.bytes", "1000"),
        ("message.max.bytes", "1000"),
    ];
    let consumer = reader(&bootstrap, false, &small);
    assign(&consumer, &topic, 0, 0);
    let lengths: Vec<usize> = (0..3)
        .map(|_| consumer.poll(PATIENCE).unwrap().unwrap().payload_len())
        .collect();
    assert_eq!(lengths, [400_000, 400_000, 1]);
}

#[test]
fn an_idempotent_producer_keeps_order() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "idempotent", 1);
    let producer = producer(
        &bootstrap,
        &[
            ("enable.idempotence", "true"),
            ("batch.num.messages", "100"),
        ],
    );
    let values = numbers(0..10_000);
    let offsets = send_all(&producer, &topic, 0, &values);
    assert_eq!(offsets, (0..10_000).collect::<Vec<i64>>());
    assert_eq!(read(&bootstrap, &topic, 0, false), values);
}

#[test]
fn offsets_by_time() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "times", 2);
    let producer = producer(
        &bootstrap,
        &[("compression.type", "gzip"), ("linger.ms", "50")],
    );
    let sent: Vec<_> = (0..100)
        .map(|number: i64| {
            let record = FutureRecord::<str, str>::to(&topic)
                .partition(0)
                .payload("x")
                .timestamp(1000 + number * 10);
            producer
                .send_result(record)
                .map_err(|(error, _)| error)
                .unwrap()
        })
        .collect();
    for one in sent {
        wait(one).unwrap().unwrap();
    }
    let consumer = reader(&bootstrap, false, &[]);
    let find = |partition, time| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, partition, Offset::Offset(time))
            .unwrap();
        consumer
            .offsets_for_times(list, PATIENCE)
            .unwrap()
            .elements()[0]
            .offset()
    };
    assert_eq!(find(0, 0), Offset::Offset(0));
    assert_eq!(find(0, 1000), Offset::Offset(0));
    assert_eq!(find(0, 1501), Offset::Offset(51));
    assert_eq!(find(0, 1990), Offset::Offset(99));
    assert_eq!(find(0, 1991), Offset::End);
    assert_eq!(find(1, 0), Offset::End);
    assert_eq!(watermarks(&bootstrap, &topic, 0), (0, 100));
    assert_eq!(watermarks(&bootstrap, &topic, 1), (0, 0));
}

#[test]
fn the_broker_stamps_records_when_it_is_told_to() {
    let bootstrap = bootstrap();
    let topic = topic_with(
        &bootstrap,
        "stamped",
        1,
        &[("message.timestamp.type", "LogAppendTime")],
    );
    let before = now_ms();
    let record = FutureRecord::<str, str>::to(&topic)
        .partition(0)
        .payload("x")
        .timestamp(before - 60_000);
    wait(
        producer(&bootstrap, &[])
            .send_result(record)
            .map_err(|(error, _)| error)
            .unwrap(),
    )
    .unwrap()
    .unwrap();
    let consumer = reader(&bootstrap, false, &[("check.crcs", "true")]);
    assign(&consumer, &topic, 0, 0);
    let message = consumer.poll(PATIENCE).unwrap().unwrap();
    assert!(matches!(message.timestamp(), rdkafka::Timestamp::LogAppendTime(at) if at >= before));
}

#[test]
fn checksums_hold_when_they_are_checked() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "checked", 1);
    send_all(&producer(&bootstrap, &[]), &topic, 0, &numbers(0..10));
    let consumer = reader(&bootstrap, false, &[("check.crcs", "true")]);
    assign(&consumer, &topic, 0, 0);
    for _ in 0..10 {
        consumer.poll(PATIENCE).unwrap().unwrap();
    }
}

#[test]
fn an_offset_out_of_range_is_told() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "range", 1);
    send(&producer(&bootstrap, &[]), &topic, 0, "x").unwrap();
    let consumer = reader(&bootstrap, false, &[]);
    assign(&consumer, &topic, 0, 50);
    let error = consumer.poll(PATIENCE).unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange
            )
        ),
        "{error:?}"
    );
}

#[test]
fn a_waiting_fetch_is_woken_by_a_record() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "wake", 1);
    let producer = producer(&bootstrap, &[]);
    send(&producer, &topic, 0, "first").unwrap();
    let consumer = reader(
        &bootstrap,
        false,
        &[
            ("fetch.wait.max.ms", "20000"),
            ("enable.partition.eof", "false"),
        ],
    );
    assign(&consumer, &topic, 0, 0);
    // Each is sent while the fetch after the one before waits, and comes long before that fetch's time is up.
    for value in ["second", "third"] {
        consumer.poll(PATIENCE).unwrap().unwrap();
        send(&producer, &topic, 0, value).unwrap();
    }
    let message = consumer
        .poll(std::time::Duration::from_secs(10))
        .expect("woken")
        .unwrap();
    assert_eq!(message.payload(), Some(&b"third"[..]));
}
