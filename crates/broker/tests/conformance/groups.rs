//! Consumer groups.

use std::{collections::BTreeSet, time::Duration};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

use crate::support::*;

const STEP: Duration = Duration::from_millis(100);

fn member(bootstrap: &str, group: &str, topic: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = client(bootstrap);
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

fn partitions(consumer: &BaseConsumer) -> BTreeSet<i32> {
    consumer
        .assignment()
        .unwrap()
        .elements()
        .iter()
        .map(|element| element.partition())
        .collect()
}

/// Reads until so many values have come.
fn take(consumer: &BaseConsumer, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    eventually("the records come", || {
        if let Some(Ok(message)) = consumer.poll(STEP) {
            values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
        }
        values.len() >= count
    });
    values
}

#[test]
fn a_group_resumes_where_it_committed() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "resume", 1);
    let group = unique("group");
    let producer = producer(&bootstrap, &[]);
    send_all(&producer, &topic, 0, &numbers(0..10));
    {
        let consumer = member(&bootstrap, &group, &topic, &[]);
        assert_eq!(take(&consumer, 10), numbers(0..10));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Offset(4))
            .unwrap();
        consumer.commit(&list, CommitMode::Sync).unwrap();
    }
    let consumer = member(&bootstrap, &group, &topic, &[]);
    assert_eq!(take(&consumer, 6), numbers(4..10));
}

#[test]
fn members_share_the_partitions() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "share", 4);
    let group = unique("group");
    let first = member(&bootstrap, &group, &topic, &[]);
    eventually("the first has everything", || {
        first.poll(STEP);
        partitions(&first).len() == 4
    });
    let second = member(&bootstrap, &group, &topic, &[]);
    eventually("both have two", || {
        first.poll(STEP);
        second.poll(STEP);
        partitions(&first).len() == 2 && partitions(&second).len() == 2
    });
    assert!(partitions(&first).is_disjoint(&partitions(&second)));
    drop(second);
    eventually("the first has everything again", || {
        first.poll(STEP);
        partitions(&first).len() == 4
    });
}

#[test]
fn members_rebalance_cooperatively() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "cooperative", 4);
    let group = unique("group");
    let settings = [("partition.assignment.strategy", "cooperative-sticky")];
    let first = member(&bootstrap, &group, &topic, &settings);
    eventually("the first has everything", || {
        first.poll(STEP);
        partitions(&first).len() == 4
    });
    let second = member(&bootstrap, &group, &topic, &settings);
    eventually("both have two", || {
        first.poll(STEP);
        second.poll(STEP);
        partitions(&first).len() == 2 && partitions(&second).len() == 2
    });
}

#[test]
fn a_static_member_keeps_its_partitions() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "static", 2);
    let group = unique("group");
    let settings = [("group.instance.id", "one")];
    let consumer = member(&bootstrap, &group, &topic, &settings);
    eventually("it has both", || {
        consumer.poll(STEP);
        partitions(&consumer).len() == 2
    });
    drop(consumer);
    let again = member(&bootstrap, &group, &topic, &settings);
    eventually("it has both again", || {
        again.poll(STEP);
        partitions(&again).len() == 2
    });
}

#[test]
fn offsets_carry_metadata_and_are_kept_per_partition() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "offsets", 2);
    let group = unique("group");
    send_all(&producer(&bootstrap, &[]), &topic, 1, &numbers(0..10));
    let consumer = reader(&bootstrap, false, &[("group.id", group.as_str())]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 1, Offset::Offset(3))
        .unwrap();
    list.find_partition(&topic, 1).unwrap().set_metadata("note");
    consumer.commit(&list, CommitMode::Sync).unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(&topic, 0);
    list.add_partition(&topic, 1);
    let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
    assert_eq!(
        committed.find_partition(&topic, 0).unwrap().offset(),
        Offset::Invalid
    );
    assert_eq!(
        committed.find_partition(&topic, 1).unwrap().offset(),
        Offset::Offset(3)
    );
    assert_eq!(
        committed.find_partition(&topic, 1).unwrap().metadata(),
        "note"
    );
}

#[test]
fn a_group_is_listed_with_its_members() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "listed", 1);
    let group = unique("group");
    let consumer = member(&bootstrap, &group, &topic, &[("client.id", "someone")]);
    eventually("it has joined", || {
        consumer.poll(STEP);
        !partitions(&consumer).is_empty()
    });
    let list = consumer.fetch_group_list(Some(&group), PATIENCE).unwrap();
    let told = &list.groups()[0];
    assert_eq!(
        (told.name(), told.state(), told.protocol_type()),
        (group.as_str(), "Stable", "consumer")
    );
    assert_eq!(told.members().len(), 1);
    assert_eq!(told.members()[0].client_id(), "someone");
    assert!(told.members()[0].assignment().is_some());
}

#[test]
fn an_empty_group_is_deleted() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "deleted", 1);
    let group = unique("group");
    let consumer = reader(&bootstrap, false, &[("group.id", group.as_str())]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(0))
        .unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
    let admin = admin(&bootstrap);
    let outcome = wait(admin.delete_groups(&[&group], &options())).unwrap();
    assert_eq!(outcome, [Ok(group.clone())]);
    let again = wait(admin.delete_groups(&[&group], &options())).unwrap();
    assert_eq!(
        again,
        [Err((
            group,
            rdkafka::types::RDKafkaErrorCode::GroupIdNotFound
        ))]
    );
}
