//! Produce.

use bytes::Bytes;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        ProduceRequest, ProduceResponse, TransactionalId,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};

use super::{Call, code};
use crate::{
    broker::Shared,
    log::{
        batch::Header,
        partition_log::{Appended, Refused},
    },
};

/// Appends what a producer sent, partition by partition.
pub(crate) fn produce(shared: &Shared, call: &Call, request: &ProduceRequest) -> ProduceResponse {
    let responses = request.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|data| {
            let outcome = if (-1..=1).contains(&request.acks) {
                append(
                    shared,
                    request.transactional_id.as_ref(),
                    &topic.name,
                    data.index,
                    data.records.as_ref(),
                )
            } else {
                Err(Refused::Answer(ResponseError::InvalidRequiredAcks))
            };
            tell(data.index, outcome, call.version)
        });
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_partition_responses(partitions.collect())
    });
    ProduceResponse::default().with_responses(responses.collect())
}

fn append(
    shared: &Shared,
    transactional_id: Option<&TransactionalId>,
    name: &str,
    index: i32,
    records: Option<&Bytes>,
) -> Result<Appended, Refused> {
    let unknown = || Refused::Answer(ResponseError::UnknownTopicOrPartition);
    let topic = shared.topics.get(name).ok_or_else(unknown)?;
    let partition = topic.partition(index).ok_or_else(unknown)?;
    let records = records.ok_or(Refused::Answer(ResponseError::InvalidRecord))?;
    let config = topic.config();
    let header = Header::read(records).ok().filter(Header::is_transactional);
    let Some(header) = header else {
        return partition.append(records, &config);
    };
    let id = transactional_id.ok_or(Refused::Answer(ResponseError::InvalidTxnState))?;
    let producer = (header.producer_id, header.producer_epoch);
    let place = (name.to_owned(), index);
    shared
        .transactions
        .within(
            id,
            producer,
            |open| open.covers(&place),
            || partition.append(records, &config),
        )
        .map_err(Refused::Answer)?
}

fn tell(index: i32, outcome: Result<Appended, Refused>, version: i16) -> PartitionProduceResponse {
    let told = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(appended) => {
            let told = told
                .with_base_offset(appended.base_offset)
                .with_log_append_time_ms(appended.append_time_ms);
            if version >= 5 {
                told.with_log_start_offset(appended.log_start)
            } else {
                told
            }
        }
        Err(refused) => told
            .with_error_code(code(refused))
            .with_base_offset(-1)
            .with_log_append_time_ms(-1),
    }
}
