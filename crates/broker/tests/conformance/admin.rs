//! Topics, their settings and their records, by the admin client.

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{
        AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    },
    error::RDKafkaErrorCode,
};

use crate::support::*;

fn create_error(
    name: &str,
    partitions: i32,
    replication: i32,
    settings: &[(&str, &str)],
) -> RDKafkaErrorCode {
    let admin = admin(&bootstrap());
    let mut new = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    wait(admin.create_topics([&new], &options()))
        .unwrap()
        .remove(0)
        .unwrap_err()
        .1
}

#[test]
fn a_topic_is_described_and_deleted() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "life", 3);
    let admin = admin(&bootstrap);
    let metadata = admin
        .inner()
        .fetch_metadata(Some(&topic), PATIENCE)
        .unwrap();
    assert_eq!(metadata.brokers().len(), 1);
    let node = metadata.brokers()[0].id();
    for (index, partition) in metadata.topics()[0].partitions().iter().enumerate() {
        assert_eq!((partition.id(), partition.leader()), (index as i32, node));
        assert_eq!(
            (partition.replicas(), partition.isr()),
            (&[node][..], &[node][..])
        );
    }
    send(&producer(&bootstrap, &[]), &topic, 0, "gone").unwrap();
    assert_eq!(
        wait(admin.delete_topics(&[&topic], &options())).unwrap(),
        [Ok(topic.clone())]
    );
    eventually("the topic is gone", || {
        let all = admin.inner().fetch_metadata(None, PATIENCE).unwrap();
        all.topics().iter().all(|known| known.name() != topic)
    });
    let again = wait(admin.delete_topics(&[&topic], &options())).unwrap();
    assert_eq!(
        again,
        [Err((topic, RDKafkaErrorCode::UnknownTopicOrPartition))]
    );
}

#[test]
fn a_topic_made_again_is_empty() {
    let bootstrap = bootstrap();
    let name = topic(&bootstrap, "again", 1);
    send(&producer(&bootstrap, &[]), &name, 0, "old").unwrap();
    let admin = admin(&bootstrap);
    wait(admin.delete_topics(&[&name], &options()))
        .unwrap()
        .remove(0)
        .unwrap();
    eventually("it can be made again", || {
        let new = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
        wait(admin.create_topics([&new], &options()))
            .unwrap()
            .remove(0)
            .is_ok()
    });
    eventually("it has a leader", || {
        send(&producer(&bootstrap, &[]), &name, 0, "new").is_ok()
    });
    assert_eq!(read(&bootstrap, &name, 0, false), ["new"]);
}

#[test]
fn what_is_wrong_with_a_new_topic_is_told() {
    let known = topic(&bootstrap(), "known", 1);
    assert_eq!(
        create_error(&known, 1, 1, &[]),
        RDKafkaErrorCode::TopicAlreadyExists
    );
    assert_eq!(
        create_error("not/allowed", 1, 1, &[]),
        RDKafkaErrorCode::InvalidTopic
    );
    assert_eq!(
        create_error(&unique("x"), 1, 3, &[]),
        RDKafkaErrorCode::InvalidReplicationFactor
    );
    assert_eq!(
        create_error(&unique("x"), 1, 1, &[("no.such", "1")]),
        RDKafkaErrorCode::InvalidConfig
    );
    assert_eq!(
        create_error(&unique("x"), 1, 1, &[("retention.ms", "soon")]),
        RDKafkaErrorCode::InvalidConfig
    );
    assert_eq!(
        create_error(&unique("x"), 0, 1, &[]),
        RDKafkaErrorCode::InvalidPartitions
    );
}

#[test]
fn a_topic_can_be_tried_without_making_it() {
    let bootstrap = bootstrap();
    let name = unique("tried");
    let admin = admin(&bootstrap);
    let new = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    let only_check = options().validate_only(true);
    assert_eq!(
        wait(admin.create_topics([&new], &only_check)).unwrap(),
        [Ok(name.clone())]
    );
    assert_eq!(
        wait(admin.create_topics([&new], &options())).unwrap(),
        [Ok(name)]
    );
}

#[test]
fn partitions_are_added() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "grow", 1);
    let admin = admin(&bootstrap);
    let grown =
        wait(admin.create_partitions([&NewPartitions::new(&topic, 3)], &options())).unwrap();
    assert_eq!(grown, [Ok(topic.clone())]);
    eventually("there are three", || {
        admin
            .inner()
            .fetch_metadata(Some(&topic), PATIENCE)
            .unwrap()
            .topics()[0]
            .partitions()
            .len()
            == 3
    });
    assert_eq!(
        send(&producer(&bootstrap, &[]), &topic, 2, "x")
            .unwrap()
            .offset,
        0
    );
    let shrunk =
        wait(admin.create_partitions([&NewPartitions::new(&topic, 2)], &options())).unwrap();
    assert_eq!(shrunk, [Err((topic, RDKafkaErrorCode::InvalidPartitions))]);
}

#[test]
fn settings_are_told_and_altered() {
    let bootstrap = bootstrap();
    let topic = topic_with(&bootstrap, "settings", 1, &[("retention.ms", "123456")]);
    let admin = admin(&bootstrap);
    let describe = || {
        let described =
            wait(admin.describe_configs([&ResourceSpecifier::Topic(&topic)], &options())).unwrap();
        described.into_iter().next().unwrap().unwrap()
    };
    let told = describe();
    let retention = told.get("retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("123456"));
    assert_eq!(retention.source, ConfigSource::DynamicTopic);
    let policy = told.get("cleanup.policy").unwrap();
    assert_eq!(
        (policy.value.as_deref(), policy.is_default),
        (Some("delete"), true)
    );
    let altered =
        AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", "2000");
    wait(admin.alter_configs([&altered], &options()))
        .unwrap()
        .remove(0)
        .unwrap();
    eventually("the settings are replaced", || {
        let told = describe();
        told.get("max.message.bytes").unwrap().value.as_deref() == Some("2000")
            && told.get("retention.ms").unwrap().value.as_deref() == Some("604800000")
    });
    // This client does not tell why an alteration was refused; the Java part does.
    let wrong = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", "many");
    wait(admin.alter_configs([&wrong], &options()))
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(
        describe()
            .get("max.message.bytes")
            .unwrap()
            .value
            .as_deref(),
        Some("2000")
    );
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    let bootstrap = bootstrap();
    let topic = topic(&bootstrap, "trim", 1);
    send_all(&producer(&bootstrap, &[]), &topic, 0, &numbers(0..10));
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(4))
        .unwrap();
    let admin = admin(&bootstrap);
    let deleted = wait(admin.delete_records(&list, &options())).unwrap();
    assert_eq!(deleted.elements()[0].offset(), Offset::Offset(4));
    assert_eq!(watermarks(&bootstrap, &topic, 0), (4, 10));
    assert_eq!(read_from(&bootstrap, &topic, 0, 4, false).len(), 6);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(99))
        .unwrap();
    let refused = wait(admin.delete_records(&list, &options())).unwrap();
    let error = refused.elements()[0].error().unwrap_err();
    assert_eq!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::OffsetOutOfRange)
    );
}
