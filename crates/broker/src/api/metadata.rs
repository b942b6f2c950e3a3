//! Metadata: which topics there are and where to connect, making topics that are named for the first time.

use std::{collections::BTreeMap, sync::Arc};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
};

use super::Call;
use crate::{
    broker::{NODE_ID, Shared},
    codec::wire,
    log::batch::LEADER_EPOCH,
    topics::Topic,
};

/// Describes the topics that are asked for, or all.
pub(crate) fn metadata(
    shared: &Shared,
    call: &Call,
    request: &MetadataRequest,
) -> MetadataResponse {
    let asked = request
        .topics
        .as_ref()
        .filter(|topics| call.version > 0 || !topics.is_empty());
    let topics = match asked {
        None => shared
            .topics
            .list()
            .iter()
            .map(|topic| tell(topic, call.version))
            .collect(),
        Some(asked) => {
            let may_create = shared.auto_create_topics
                && (call.version < 4 || request.allow_auto_topic_creation);
            asked
                .iter()
                .map(|topic| describe(shared, call, topic, may_create))
                .collect()
        }
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE_ID.into())
        .with_host(wire(&shared.advertised.host))
        .with_port(shared.advertised.port);
    let told = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_topics(topics);
    let told = if call.version >= 1 {
        told.with_controller_id(NODE_ID.into())
    } else {
        told
    };
    if call.version >= 2 {
        told.with_cluster_id(Some(wire(&shared.cluster_id)))
    } else {
        told
    }
}

fn describe(
    shared: &Shared,
    call: &Call,
    asked: &MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let failed = |error: ResponseError| {
        let told = MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(asked.name.clone());
        if call.version >= 10 {
            told.with_topic_id(asked.topic_id)
        } else {
            told
        }
    };
    // The Java client sends an empty name beside an id.
    let named = asked.name.as_ref().filter(|_| asked.topic_id.is_nil());
    let Some(name) = named else {
        return match shared.topics.by_id(&asked.topic_id) {
            Some(topic) => tell(&topic, call.version),
            None => failed(ResponseError::UnknownTopicId),
        };
    };
    if let Some(topic) = shared.topics.get(name) {
        return tell(&topic, call.version);
    }
    if !may_create {
        return failed(match shared.topics.check(name, 1, &BTreeMap::new()) {
            Err(denied) if denied.error == ResponseError::InvalidTopicException => denied.error,
            _ => ResponseError::UnknownTopicOrPartition,
        });
    }
    match shared
        .topics
        .create(name, shared.default_partitions, &BTreeMap::new())
    {
        Ok(topic) => tell(&topic, call.version),
        // Another client was quicker.
        Err(denied) => match shared.topics.get(name) {
            Some(topic) => tell(&topic, call.version),
            None => failed(denied.error),
        },
    }
}

fn tell(topic: &Arc<Topic>, version: i16) -> MetadataResponseTopic {
    let partitions = (0..topic.partition_count()).map(|index| {
        let told = MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE_ID.into())
            .with_replica_nodes(vec![NODE_ID.into()])
            .with_isr_nodes(vec![NODE_ID.into()]);
        if version >= 7 {
            told.with_leader_epoch(LEADER_EPOCH)
        } else {
            told
        }
    });
    let told = MetadataResponseTopic::default()
        .with_name(Some(TopicName(wire(&topic.name))))
        .with_partitions(partitions.collect());
    if version >= 10 {
        told.with_topic_id(topic.id)
    } else {
        told
    }
}
