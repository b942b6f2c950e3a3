//! The answer that refuses a request with one error, wherever the answer's shape can hold it. Only injected faults
//! need it: handlers say more precisely what is wrong with which part.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
        ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
        DeleteTopicsResponse, DescribeClusterResponse, EndTxnResponse, FetchRequest, FetchResponse,
        FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatResponse, InitProducerIdResponse,
        JoinGroupResponse, LeaveGroupResponse, ListGroupsResponse, ListOffsetsRequest,
        ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
        OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, ProduceRequest,
        ProduceResponse, RequestKind, ResponseKind, SyncGroupResponse, TxnOffsetCommitRequest,
        TxnOffsetCommitResponse,
        add_partitions_to_txn_response::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
        },
        create_topics_response::CreatableTopicResult,
        delete_topics_response::DeletableTopicResult,
        fetch_response::{FetchableTopicResponse, PartitionData},
        find_coordinator_response::Coordinator,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        metadata_response::MetadataResponseTopic,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_response::OffsetFetchResponseGroup,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
        txn_offset_commit_response::{
            TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
        },
    },
};

/// The refusal; `None` for an API whose answer is not made here, which a fault then refuses by closing.
pub(crate) fn refuse(request: &RequestKind, error: ResponseError) -> Option<ResponseKind> {
    use {RequestKind as Q, ResponseKind as A};
    let code = error.code();
    Some(match request {
        Q::Produce(request) => A::Produce(produce(request, code)),
        Q::Fetch(request) => A::Fetch(fetch(request, code)),
        Q::ListOffsets(request) => A::ListOffsets(list_offsets(request, code)),
        Q::Metadata(request) => A::Metadata(metadata(request, code)),
        Q::FindCoordinator(request) => A::FindCoordinator(find_coordinator(request, code)),
        Q::OffsetCommit(request) => A::OffsetCommit(offset_commit(request, code)),
        Q::OffsetFetch(request) => A::OffsetFetch(offset_fetch(request, code)),
        Q::TxnOffsetCommit(request) => A::TxnOffsetCommit(txn_offset_commit(request, code)),
        Q::AddPartitionsToTxn(request) => A::AddPartitionsToTxn(add_partitions(request, code)),
        Q::CreateTopics(request) => A::CreateTopics(create_topics(request, code)),
        Q::DeleteTopics(request) => A::DeleteTopics(delete_topics(request, code)),
        Q::ApiVersions(_) => A::ApiVersions(ApiVersionsResponse::default().with_error_code(code)),
        Q::DescribeCluster(_) => {
            A::DescribeCluster(DescribeClusterResponse::default().with_error_code(code))
        }
        Q::JoinGroup(_) => A::JoinGroup(JoinGroupResponse::default().with_error_code(code)),
        Q::SyncGroup(_) => A::SyncGroup(SyncGroupResponse::default().with_error_code(code)),
        Q::Heartbeat(_) => A::Heartbeat(HeartbeatResponse::default().with_error_code(code)),
        Q::LeaveGroup(_) => A::LeaveGroup(LeaveGroupResponse::default().with_error_code(code)),
        Q::ListGroups(_) => A::ListGroups(ListGroupsResponse::default().with_error_code(code)),
        Q::InitProducerId(_) => A::InitProducerId(
            InitProducerIdResponse::default()
                .with_error_code(code)
                .with_producer_id((-1).into())
                .with_producer_epoch(-1),
        ),
        Q::AddOffsetsToTxn(_) => {
            A::AddOffsetsToTxn(AddOffsetsToTxnResponse::default().with_error_code(code))
        }
        Q::EndTxn(_) => A::EndTxn(EndTxnResponse::default().with_error_code(code)),
        _ => return None,
    })
}

fn produce(request: &ProduceRequest, code: i16) -> ProduceResponse {
    let topics = request.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|data| {
            PartitionProduceResponse::default()
                .with_index(data.index)
                .with_error_code(code)
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
        });
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_partition_responses(partitions.collect())
    });
    ProduceResponse::default().with_responses(topics.collect())
}

fn fetch(request: &FetchRequest, code: i16) -> FetchResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            PartitionData::default()
                .with_partition_index(asked.partition)
                .with_error_code(code)
                .with_high_watermark(-1)
                .with_aborted_transactions(None)
        });
        FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect())
    });
    FetchResponse::default().with_responses(topics.collect())
}

fn list_offsets(request: &ListOffsetsRequest, code: i16) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            ListOffsetsPartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(code)
                .with_timestamp(-1)
                .with_offset(-1)
        });
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn metadata(request: &MetadataRequest, code: i16) -> MetadataResponse {
    let topics = request.topics.iter().flatten().map(|topic| {
        MetadataResponseTopic::default()
            .with_error_code(code)
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
    });
    MetadataResponse::default().with_topics(topics.collect())
}

fn find_coordinator(request: &FindCoordinatorRequest, code: i16) -> FindCoordinatorResponse {
    let told = FindCoordinatorResponse::default();
    if request.coordinator_keys.is_empty() {
        return told
            .with_error_code(code)
            .with_node_id((-1).into())
            .with_port(-1);
    }
    let coordinators = request.coordinator_keys.iter().map(|key| {
        Coordinator::default()
            .with_key(key.clone())
            .with_error_code(code)
            .with_node_id((-1).into())
            .with_port(-1)
    });
    told.with_coordinators(coordinators.collect())
}

fn offset_commit(request: &OffsetCommitRequest, code: i16) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(one.partition_index)
                .with_error_code(code)
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn offset_fetch(request: &OffsetFetchRequest, code: i16) -> OffsetFetchResponse {
    if request.groups.is_empty() {
        return OffsetFetchResponse::default().with_error_code(code);
    }
    let groups = request.groups.iter().map(|group| {
        OffsetFetchResponseGroup::default()
            .with_group_id(group.group_id.clone())
            .with_error_code(code)
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

fn txn_offset_commit(request: &TxnOffsetCommitRequest, code: i16) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(one.partition_index)
                .with_error_code(code)
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

fn add_partitions(request: &AddPartitionsToTxnRequest, code: i16) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect())
}

fn create_topics(request: &CreateTopicsRequest, code: i16) -> CreateTopicsResponse {
    let topics = request.topics.iter().map(|topic| {
        CreatableTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(code)
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

fn delete_topics(request: &DeleteTopicsRequest, code: i16) -> DeleteTopicsResponse {
    let named = request
        .topic_names
        .iter()
        .map(|name| (Some(name.clone()), uuid::Uuid::nil()));
    let topics = request
        .topics
        .iter()
        .map(|topic| (topic.name.clone(), topic.topic_id));
    let responses = named.chain(topics).map(|(name, id)| {
        DeletableTopicResult::default()
            .with_name(name)
            .with_topic_id(id)
            .with_error_code(code)
    });
    DeleteTopicsResponse::default().with_responses(responses.collect())
}
