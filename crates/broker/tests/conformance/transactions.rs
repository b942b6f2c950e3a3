//! Transactions: what readers see, who is fenced, what survives.

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
    producer::Producer,
};

use crate::support::*;

fn code(error: &KafkaError) -> RDKafkaErrorCode {
    match error {
        KafkaError::Transaction(error) => error.code(),
        other => other
            .rdkafka_error_code()
            .unwrap_or_else(|| panic!("{other:?}")),
    }
}

#[test]
fn a_committed_transaction_is_seen() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "commit", 2);
    let producer = transactional(&bootstrap, &unique("tx"), &[]);
    for round in 0..3 {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, 0, &format!("a{round}")).unwrap();
        send(&producer, &topic, 1, &format!("b{round}")).unwrap();
        producer.commit_transaction(PATIENCE).unwrap();
    }
    assert_eq!(read(&bootstrap, &topic, 0, true), ["a0", "a1", "a2"]);
    assert_eq!(read(&bootstrap, &topic, 1, true), ["b0", "b1", "b2"]);
    // A record and a marker, three times.
    assert_eq!(watermarks(&bootstrap, &topic, 0), (0, 6));
}

#[test]
fn an_aborted_transaction_is_not() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "abort", 1);
    let producer = transactional(&bootstrap, &unique("tx"), &[]);
    for (round, commit) in [false, true, false, false, true].into_iter().enumerate() {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, 0, &format!("{round}x")).unwrap();
        send(&producer, &topic, 0, &format!("{round}y")).unwrap();
        if commit {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    assert_eq!(read(&bootstrap, &topic, 0, true), ["1x", "1y", "4x", "4y"]);
    assert_eq!(read(&bootstrap, &topic, 0, false).len(), 10);
    // From the middle of an aborted one, too.
    let committed: Vec<i64> = read_from(&bootstrap, &topic, 0, 7, true)
        .into_iter()
        .map(|(offset, _)| offset)
        .collect();
    assert_eq!(committed, [12, 13]);
}

#[test]
fn an_open_transaction_holds_back_what_follows() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "open", 1);
    let slow = transactional(&bootstrap, &unique("slow"), &[]);
    let fast = transactional(&bootstrap, &unique("fast"), &[]);
    let plain = producer(&bootstrap, &[]);
    send(&plain, &topic, 0, "before").unwrap();
    slow.begin_transaction().unwrap();
    send(&slow, &topic, 0, "slow").unwrap();
    fast.begin_transaction().unwrap();
    send(&fast, &topic, 0, "fast").unwrap();
    fast.commit_transaction(PATIENCE).unwrap();
    send(&plain, &topic, 0, "after").unwrap();
    assert_eq!(read(&bootstrap, &topic, 0, true), ["before"]);
    assert_eq!(
        read(&bootstrap, &topic, 0, false),
        ["before", "slow", "fast", "after"]
    );
    let committed_end = reader(&bootstrap, true, &[])
        .fetch_watermarks(&topic, 0, PATIENCE)
        .unwrap()
        .1;
    assert_eq!(committed_end, 1, "the last stable offset");
    slow.abort_transaction(PATIENCE).unwrap();
    assert_eq!(
        read(&bootstrap, &topic, 0, true),
        ["before", "fast", "after"]
    );
}

#[test]
fn interleaved_transactions_are_told_apart() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "interleaved", 1);
    let producers: Vec<_> = (0..4)
        .map(|n| transactional(&bootstrap, &unique(&format!("tx{n}")), &[]))
        .collect();
    for round in 0..5 {
        for producer in &producers {
            producer.begin_transaction().unwrap();
        }
        for (n, producer) in producers.iter().enumerate() {
            send(producer, &topic, 0, &format!("{round}-{n}")).unwrap();
        }
        for (n, producer) in producers.iter().enumerate().rev() {
            if n % 2 == 0 {
                producer.commit_transaction(PATIENCE).unwrap();
            } else {
                producer.abort_transaction(PATIENCE).unwrap();
            }
        }
    }
    let expected: Vec<String> = (0..5)
        .flat_map(|round| [format!("{round}-0"), format!("{round}-2")])
        .collect();
    assert_eq!(read(&bootstrap, &topic, 0, true), expected);
}

#[test]
fn a_newer_producer_fences_the_older() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "fence", 1);
    let id = unique("tx");
    let zombie = transactional(&bootstrap, &id, &[]);
    zombie.begin_transaction().unwrap();
    send(&zombie, &topic, 0, "zombie").unwrap();
    let successor = transactional(&bootstrap, &id, &[]);
    // What the zombie left open is aborted, and it can neither write nor commit.
    assert!(send(&zombie, &topic, 0, "again").is_err());
    let error = zombie.commit_transaction(PATIENCE).unwrap_err();
    assert_eq!(code(&error), RDKafkaErrorCode::Fenced, "{error:?}");
    successor.begin_transaction().unwrap();
    send(&successor, &topic, 0, "successor").unwrap();
    successor.commit_transaction(PATIENCE).unwrap();
    assert_eq!(read(&bootstrap, &topic, 0, true), ["successor"]);
}

#[test]
fn a_zombie_without_a_transaction_is_fenced_too() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "fence-idle", 1);
    let id = unique("tx");
    let zombie = transactional(&bootstrap, &id, &[]);
    let _successor = transactional(&bootstrap, &id, &[]);
    zombie.begin_transaction().unwrap();
    assert!(send(&zombie, &topic, 0, "zombie").is_err());
    assert!(zombie.commit_transaction(PATIENCE).is_err());
    assert_eq!(read(&bootstrap, &topic, 0, false), Vec::<String>::new());
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "timeout", 1);
    let short = [
        ("transaction.timeout.ms", "1000"),
        ("message.timeout.ms", "1000"),
    ];
    let producer = transactional(&bootstrap, &unique("tx"), &short);
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, "late").unwrap();
    eventually("the broker aborts it", || {
        reader(&bootstrap, true, &[])
            .fetch_watermarks(&topic, 0, PATIENCE)
            .unwrap()
            .1
            == 2
    });
    assert!(producer.commit_transaction(PATIENCE).is_err());
    assert_eq!(read(&bootstrap, &topic, 0, true), Vec::<String>::new());
    assert_eq!(read(&bootstrap, &topic, 0, false), ["late"]);
}

/// Commits offset 5 of a topic for a group within a transaction, which then ends.
fn offsets_in_transaction(commit: bool) -> Offset {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "tx-offsets", 1);
    let group = unique("group");
    send_all(&producer(&bootstrap, &[]), &topic, 0, &numbers(0..10));
    let consumer = reader(&bootstrap, true, &[("group.id", group.as_str())]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(2))
        .unwrap();
    consumer
        .commit(&list, rdkafka::consumer::CommitMode::Sync)
        .unwrap();
    let producer = transactional(&bootstrap, &unique("tx"), &[]);
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, "output").unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(5))
        .unwrap();
    producer
        .send_offsets_to_transaction(&list, &consumer.group_metadata().unwrap(), PATIENCE)
        .unwrap();
    if commit {
        producer.commit_transaction(PATIENCE).unwrap();
    } else {
        producer.abort_transaction(PATIENCE).unwrap();
    }
    let mut list = TopicPartitionList::new();
    list.add_partition(&topic, 0);
    consumer
        .committed_offsets(list, PATIENCE)
        .unwrap()
        .elements()[0]
        .offset()
}

#[test]
fn offsets_are_committed_with_the_transaction() {
    assert_eq!(offsets_in_transaction(true), Offset::Offset(5));
}

#[test]
fn offsets_are_dropped_with_the_transaction() {
    assert_eq!(offsets_in_transaction(false), Offset::Offset(2));
}

#[test]
fn compressed_transactions() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "tx-zstd", 1);
    let producer = transactional(
        &bootstrap,
        &unique("tx"),
        &[("compression.type", "zstd"), ("linger.ms", "20")],
    );
    producer.begin_transaction().unwrap();
    send_all(&producer, &topic, 0, &numbers(0..1000));
    producer.abort_transaction(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    send_all(&producer, &topic, 0, &numbers(1000..2000));
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(read(&bootstrap, &topic, 0, true), numbers(1000..2000));
}

#[test]
fn a_producer_restarts_many_times() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "restarts", 1);
    let id = unique("tx");
    for round in 0..5 {
        let producer = transactional(&bootstrap, &id, &[]);
        producer.begin_transaction().unwrap();
        send(&producer, &topic, 0, &round.to_string()).unwrap();
        producer.commit_transaction(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        send(&producer, &topic, 0, "left open").unwrap();
    }
    let _last = transactional(&bootstrap, &id, &[]);
    assert_eq!(read(&bootstrap, &topic, 0, true), ["0", "1", "2", "3", "4"]);
}
