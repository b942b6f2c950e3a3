//! What each request does: one file per family, one line per API here.

mod cluster;
mod configs;
mod fetch;
mod group_offsets;
mod groups;
mod list_offsets;
mod metadata;
mod produce;
mod records;
mod topics;
mod transactions;

use std::net::SocketAddr;

use kafka_protocol::{
    error::ResponseError,
    messages::{RequestKind, ResponseKind},
};

use crate::{broker::Shared, log::partition_log::Refused, wire::versions};

/// Who asks, and in which version.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) version: i16,
    pub(crate) client_id: String,
    pub(crate) peer: SocketAddr,
}

/// Does a request. `None` when the client wants no answer.
pub(crate) async fn answer(
    shared: &Shared,
    call: &Call,
    request: RequestKind,
) -> Option<ResponseKind> {
    use {RequestKind as Q, ResponseKind as A};
    Some(match request {
        Q::Produce(request) => {
            let wants_answer = request.acks != 0;
            let answer = produce::produce(shared, call, &request);
            return wants_answer.then_some(A::Produce(answer));
        }
        Q::Fetch(request) => A::Fetch(fetch::fetch(shared, call, &request).await),
        Q::ListOffsets(request) => {
            A::ListOffsets(list_offsets::list_offsets(shared, call, &request))
        }
        Q::OffsetForLeaderEpoch(request) => {
            A::OffsetForLeaderEpoch(list_offsets::end_of_epoch(shared, &request))
        }
        Q::Metadata(request) => A::Metadata(metadata::metadata(shared, call, &request)),
        Q::ApiVersions(_) => A::ApiVersions(versions::tell()),
        Q::DescribeCluster(_) => A::DescribeCluster(cluster::describe(shared)),
        Q::DescribeLogDirs(request) => A::DescribeLogDirs(cluster::log_dirs(shared, &request)),
        Q::FindCoordinator(request) => {
            A::FindCoordinator(cluster::find_coordinator(shared, call, &request))
        }
        Q::CreateTopics(request) => A::CreateTopics(topics::create(shared, call, &request)),
        Q::DeleteTopics(request) => A::DeleteTopics(topics::delete(shared, call, &request)),
        Q::CreatePartitions(request) => {
            A::CreatePartitions(topics::create_partitions(shared, &request))
        }
        Q::DescribeConfigs(request) => {
            A::DescribeConfigs(configs::describe(shared, call, &request))
        }
        Q::AlterConfigs(request) => A::AlterConfigs(configs::alter(shared, request)),
        Q::IncrementalAlterConfigs(request) => {
            A::IncrementalAlterConfigs(configs::alter_incrementally(shared, request))
        }
        Q::DeleteRecords(request) => A::DeleteRecords(records::delete(shared, &request)),
        Q::DescribeProducers(request) => {
            A::DescribeProducers(records::describe_producers(shared, &request))
        }
        Q::InitProducerId(request) => A::InitProducerId(transactions::init(shared, call, &request)),
        Q::AddPartitionsToTxn(request) => {
            A::AddPartitionsToTxn(transactions::add_partitions(shared, call, &request))
        }
        Q::AddOffsetsToTxn(request) => {
            A::AddOffsetsToTxn(transactions::add_offsets(shared, call, &request))
        }
        Q::EndTxn(request) => A::EndTxn(transactions::end(shared, call, &request)),
        Q::DescribeTransactions(request) => {
            A::DescribeTransactions(transactions::describe(shared, &request))
        }
        Q::ListTransactions(request) => A::ListTransactions(transactions::list(shared, &request)),
        Q::JoinGroup(request) => A::JoinGroup(groups::join(shared, call, request).await),
        Q::SyncGroup(request) => A::SyncGroup(groups::sync(shared, call, request).await),
        Q::Heartbeat(request) => A::Heartbeat(groups::heartbeat(shared, &request)),
        Q::LeaveGroup(request) => A::LeaveGroup(groups::leave(shared, call, &request)),
        Q::ListGroups(request) => A::ListGroups(groups::list(shared, call, &request)),
        Q::DescribeGroups(request) => A::DescribeGroups(groups::describe(shared, call, &request)),
        Q::DeleteGroups(request) => A::DeleteGroups(groups::delete(shared, &request)),
        Q::OffsetCommit(request) => A::OffsetCommit(group_offsets::commit(shared, &request)),
        Q::TxnOffsetCommit(request) => {
            A::TxnOffsetCommit(group_offsets::commit_in_transaction(shared, &request))
        }
        Q::OffsetFetch(request) => A::OffsetFetch(group_offsets::fetch(shared, call, &request)),
        Q::OffsetDelete(request) => A::OffsetDelete(group_offsets::delete(shared, &request)),
        // `versions::is_spoken` lets nothing else through.
        _ => return None,
    })
}

/// The topics that a request names, for faults.
pub(crate) fn topics_of(shared: &Shared, request: &RequestKind) -> Vec<String> {
    let text = |name: &str| name.to_owned();
    match request {
        RequestKind::Produce(request) => request
            .topic_data
            .iter()
            .map(|topic| text(&topic.name))
            .collect(),
        RequestKind::Fetch(request) => request
            .topics
            .iter()
            .map(|topic| match shared.topics.by_id(&topic.topic_id) {
                Some(known) => known.name.clone(),
                None => text(&topic.topic),
            })
            .collect(),
        RequestKind::ListOffsets(request) => request
            .topics
            .iter()
            .map(|topic| text(&topic.name))
            .collect(),
        RequestKind::Metadata(request) => request
            .topics
            .iter()
            .flatten()
            .filter_map(|topic| topic.name.as_ref())
            .map(|name| text(name))
            .collect(),
        RequestKind::OffsetCommit(request) => request
            .topics
            .iter()
            .map(|topic| text(&topic.name))
            .collect(),
        RequestKind::TxnOffsetCommit(request) => request
            .topics
            .iter()
            .map(|topic| text(&topic.name))
            .collect(),
        RequestKind::AddPartitionsToTxn(request) => request
            .v3_and_below_topics
            .iter()
            .map(|topic| text(&topic.name))
            .collect(),
        RequestKind::CreateTopics(request) => request
            .topics
            .iter()
            .map(|topic| text(&topic.name))
            .collect(),
        RequestKind::DeleteTopics(request) => {
            request.topic_names.iter().map(|name| text(name)).collect()
        }
        RequestKind::DeleteRecords(request) => request
            .topics
            .iter()
            .map(|topic| text(&topic.name))
            .collect(),
        _ => Vec::new(),
    }
}

/// The code for an answer; what the disk says goes to the log.
pub(crate) fn code(refused: Refused) -> i16 {
    match refused {
        Refused::Answer(error) => error.code(),
        Refused::Disk(error) => {
            tracing::error!(%error, "disk");
            ResponseError::KafkaStorageError.code()
        }
    }
}

/// The code for an answer, when reading failed.
pub(crate) fn io_code(error: &std::io::Error) -> i16 {
    tracing::error!(%error, "cannot read the log");
    ResponseError::KafkaStorageError.code()
}

#[cfg(test)]
mod tests;
