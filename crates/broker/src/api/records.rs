//! DeleteRecords and DescribeProducers.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse, DescribeProducersRequest,
        DescribeProducersResponse,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
};

use super::code;
use crate::{
    broker::Shared,
    log::{partition::Partition, partition_log::Refused},
};

/// Moves the starts of logs forward.
pub(crate) fn delete(shared: &Shared, request: &DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let told =
                DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            let outcome = shared
                .topics
                .partition(&topic.name, asked.partition_index)
                .ok_or(Refused::Answer(ResponseError::UnknownTopicOrPartition))
                .and_then(|partition| partition.delete_before(asked.offset));
            match outcome {
                Ok(start) => told.with_low_watermark(start),
                Err(refused) => told.with_low_watermark(-1).with_error_code(code(refused)),
            }
        });
        DeleteRecordsTopicResult::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

/// Tells what partitions remember of their producers.
pub(crate) fn describe_producers(
    shared: &Shared,
    request: &DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let told = PartitionResponse::default().with_partition_index(*index);
            match shared.topics.partition(&topic.name, *index) {
                Some(partition) => told.with_active_producers(producers_of(&partition)),
                None => told.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
            }
        });
        TopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn producers_of(partition: &Partition) -> Vec<ProducerState> {
    partition.with_log(|log| {
        let tell = |(id, producer): (i64, &crate::log::producers::Producer)| {
            ProducerState::default()
                .with_producer_id(id.into())
                .with_producer_epoch(i32::from(producer.epoch))
                .with_last_sequence(producer.last_sequence())
                .with_last_timestamp(producer.last_timestamp)
                .with_current_txn_start_offset(producer.transaction.unwrap_or(-1))
        };
        log.producers.list().into_iter().map(tell).collect()
    })
}
