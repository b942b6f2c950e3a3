//! CreateTopics, DeleteTopics, CreatePartitions.

use std::{collections::BTreeMap, sync::Arc};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
        CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
        create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
        delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
    },
};
use uuid::Uuid;

use super::Call;
use crate::{
    broker::{NODE_ID, Shared},
    codec::wire,
    config::{SETTINGS, value_of},
    topics::{Denied, Topic},
};

/// Makes topics.
pub(crate) fn create(
    shared: &Shared,
    call: &Call,
    request: &CreateTopicsRequest,
) -> CreateTopicsResponse {
    let topics = request.topics.iter().map(|asked| {
        let told = CreatableTopicResult::default().with_name(asked.name.clone());
        match create_one(shared, asked, request.validate_only) {
            Err(denied) => told
                .with_error_code(denied.error.code())
                .with_error_message(Some(wire(&denied.message))),
            Ok((partitions, topic)) => {
                tell_created(shared, call, told, asked, partitions, topic.as_deref())
            }
        }
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

fn create_one(
    shared: &Shared,
    asked: &CreatableTopic,
    only_check: bool,
) -> Result<(i32, Option<Arc<Topic>>), Denied> {
    let invalid = |error, message: &str| Err(Denied::new(error, message));
    let partitions = match (asked.assignments.len(), asked.num_partitions) {
        (0, -1) => shared.default_partitions,
        (0, partitions) => partitions,
        (assigned, -1) => i32::try_from(assigned).unwrap_or(i32::MAX),
        (_, _) => {
            let message = "A manual assignment was specified, but numPartitions was not set to -1.";
            return invalid(ResponseError::InvalidRequest, message);
        }
    };
    let elsewhere =
        |nodes: &[kafka_protocol::messages::BrokerId]| nodes.iter().any(|node| node.0 != NODE_ID);
    if asked
        .assignments
        .iter()
        .any(|assigned| elsewhere(&assigned.broker_ids))
    {
        let message = "The manual partition assignment names a broker that does not exist.";
        return invalid(ResponseError::InvalidReplicaAssignment, message);
    }
    match asked.replication_factor {
        -1 | 1 => {}
        factor if factor < 1 => {
            return invalid(
                ResponseError::InvalidReplicationFactor,
                "Replication factor must be larger than 0.",
            );
        }
        factor => {
            let message = format!(
                "The target replication factor of {factor} cannot be reached because only 1 broker(s) are registered."
            );
            return Err(Denied::new(
                ResponseError::InvalidReplicationFactor,
                message,
            ));
        }
    }
    let mut settings = BTreeMap::new();
    for config in &asked.configs {
        let Some(value) = &config.value else {
            return invalid(
                ResponseError::InvalidConfig,
                &format!("Null value not supported for {}", config.name),
            );
        };
        settings.insert(config.name.to_string(), value.to_string());
    }
    if only_check {
        shared.topics.check(&asked.name, partitions, &settings)?;
        return Ok((partitions, None));
    }
    Ok((
        partitions,
        Some(shared.topics.create(&asked.name, partitions, &settings)?),
    ))
}

fn tell_created(
    shared: &Shared,
    call: &Call,
    told: CreatableTopicResult,
    asked: &CreatableTopic,
    partitions: i32,
    topic: Option<&Topic>,
) -> CreatableTopicResult {
    if call.version < 5 {
        return told;
    }
    let own: BTreeMap<String, String> = asked
        .configs
        .iter()
        .filter_map(|config| Some((config.name.to_string(), config.value.as_ref()?.to_string())))
        .collect();
    let configs = SETTINGS.iter().map(|setting| {
        CreatableTopicConfigs::default()
            .with_name(wire(setting.name))
            .with_value(Some(wire(value_of(
                setting.name,
                &own,
                shared.topics.defaults(),
            ))))
            .with_config_source(super::configs::source_of(
                setting.name,
                &own,
                shared.topics.defaults(),
            ))
    });
    let told = told
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(Some(configs.collect()));
    match topic {
        Some(topic) if call.version >= 7 => told.with_topic_id(topic.id),
        _ => told,
    }
}

/// Deletes topics, and what groups had committed on them.
pub(crate) fn delete(
    shared: &Shared,
    call: &Call,
    request: &DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let named = request
        .topic_names
        .iter()
        .map(|name| DeleteTopicState::default().with_name(Some(name.clone())));
    let asked: Vec<DeleteTopicState> = if call.version >= 6 {
        request.topics.clone()
    } else {
        named.collect()
    };
    let responses = asked.iter().map(|state| {
        let topic = match &state.name {
            Some(name) => shared
                .topics
                .get(name)
                .ok_or(ResponseError::UnknownTopicOrPartition),
            None => shared
                .topics
                .by_id(&state.topic_id)
                .ok_or(ResponseError::UnknownTopicId),
        };
        let (name, id) = match &topic {
            Ok(topic) => (Some(TopicName(wire(&topic.name))), topic.id),
            Err(_) => (state.name.clone(), state.topic_id),
        };
        let told = DeletableTopicResult::default().with_name(name);
        let told = if call.version >= 6 {
            told.with_topic_id(id)
        } else {
            told
        };
        match topic
            .map_err(|error| Denied::new(error, error.to_string()))
            .and_then(|topic| remove(shared, &topic))
        {
            Ok(_) => told,
            Err(denied) => {
                let told = told.with_error_code(denied.error.code());
                if call.version >= 5 {
                    told.with_error_message(Some(wire(&denied.message)))
                } else {
                    told
                }
            }
        }
    });
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

fn remove(shared: &Shared, topic: &Topic) -> Result<Uuid, Denied> {
    shared.topics.delete(topic)?;
    shared.offsets.delete_topic(&topic.name)?;
    Ok(topic.id)
}

/// Gives topics more partitions.
pub(crate) fn create_partitions(
    shared: &Shared,
    request: &CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let results = request.topics.iter().map(|asked| {
        let told = CreatePartitionsTopicResult::default().with_name(asked.name.clone());
        match grow(shared, asked, request.validate_only) {
            Ok(()) => told,
            Err(denied) => told
                .with_error_code(denied.error.code())
                .with_error_message(Some(wire(&denied.message))),
        }
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn grow(shared: &Shared, asked: &CreatePartitionsTopic, only_check: bool) -> Result<(), Denied> {
    let topic = shared.topics.get(&asked.name).ok_or_else(|| {
        let message = "This server does not host this topic-partition.";
        Denied::new(ResponseError::UnknownTopicOrPartition, message)
    })?;
    shared.topics.grow(&topic, asked.count, only_check)
}
