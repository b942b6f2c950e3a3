//! Every API in every version that is spoken: a request is encoded as a client does it, served, and the answer is
//! encoded and decoded again, so that no version promises a field that another lacks.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::{
    messages::*,
    protocol::{Encodable, StrBytes},
};
use uuid::Uuid;

use super::*;
use crate::{
    broker::{self, Shared},
    codec::wire,
    config::Config,
    log::batch,
    wire::{refuse, shape, versions},
};

fn name(text: &str) -> TopicName {
    TopicName(wire(text))
}

fn group() -> GroupId {
    GroupId(wire("g"))
}

fn transactional_id() -> TransactionalId {
    TransactionalId(wire("x"))
}

/// A broker with a topic of two partitions, a record, a group and a transactional id.
fn shared() -> (Shared, Uuid) {
    let shared = broker::open_for_test(Config::default());
    let topic = shared
        .topics
        .create("t", 2, &std::collections::BTreeMap::new())
        .unwrap();
    (shared, topic.id)
}

fn request(api: ApiKey, version: i16, topic_id: Uuid) -> RequestKind {
    use RequestKind as Q;
    match api {
        ApiKey::Produce => Q::Produce(produce()),
        ApiKey::Fetch => Q::Fetch(fetch(version, topic_id)),
        ApiKey::ListOffsets => Q::ListOffsets(list_offsets()),
        ApiKey::Metadata => Q::Metadata(metadata(version)),
        ApiKey::ApiVersions => Q::ApiVersions(ApiVersionsRequest::default()),
        ApiKey::FindCoordinator => Q::FindCoordinator(find_coordinator(version)),
        ApiKey::CreateTopics => Q::CreateTopics(create_topics(version)),
        ApiKey::DeleteTopics => Q::DeleteTopics(delete_topics(version)),
        ApiKey::DeleteRecords => Q::DeleteRecords(delete_records()),
        ApiKey::CreatePartitions => Q::CreatePartitions(create_partitions()),
        ApiKey::DescribeConfigs => Q::DescribeConfigs(describe_configs()),
        ApiKey::AlterConfigs => Q::AlterConfigs(alter_configs()),
        ApiKey::IncrementalAlterConfigs => Q::IncrementalAlterConfigs(alter_incrementally()),
        ApiKey::DescribeCluster => Q::DescribeCluster(DescribeClusterRequest::default()),
        ApiKey::DescribeLogDirs => {
            Q::DescribeLogDirs(DescribeLogDirsRequest::default().with_topics(None))
        }
        ApiKey::DescribeProducers => Q::DescribeProducers(describe_producers()),
        ApiKey::OffsetForLeaderEpoch => Q::OffsetForLeaderEpoch(end_of_epoch()),
        ApiKey::JoinGroup => Q::JoinGroup(join(version)),
        ApiKey::SyncGroup => Q::SyncGroup(SyncGroupRequest::default().with_group_id(group())),
        ApiKey::Heartbeat => Q::Heartbeat(HeartbeatRequest::default().with_group_id(group())),
        ApiKey::LeaveGroup => Q::LeaveGroup(leave(version)),
        ApiKey::ListGroups => Q::ListGroups(ListGroupsRequest::default()),
        ApiKey::DescribeGroups => Q::DescribeGroups(
            DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(wire("none"))]),
        ),
        ApiKey::DeleteGroups => {
            Q::DeleteGroups(DeleteGroupsRequest::default().with_groups_names(vec![group()]))
        }
        ApiKey::OffsetCommit => Q::OffsetCommit(commit()),
        ApiKey::OffsetFetch => Q::OffsetFetch(fetch_offsets(version)),
        ApiKey::OffsetDelete => {
            Q::OffsetDelete(OffsetDeleteRequest::default().with_group_id(group()))
        }
        ApiKey::InitProducerId => Q::InitProducerId(
            InitProducerIdRequest::default()
                .with_transactional_id(Some(transactional_id()))
                .with_transaction_timeout_ms(1000),
        ),
        ApiKey::AddPartitionsToTxn => Q::AddPartitionsToTxn(add_partitions()),
        ApiKey::AddOffsetsToTxn => Q::AddOffsetsToTxn(
            AddOffsetsToTxnRequest::default()
                .with_transactional_id(transactional_id())
                .with_group_id(group()),
        ),
        ApiKey::EndTxn => {
            Q::EndTxn(EndTxnRequest::default().with_transactional_id(transactional_id()))
        }
        ApiKey::TxnOffsetCommit => Q::TxnOffsetCommit(commit_in_transaction()),
        ApiKey::DescribeTransactions => Q::DescribeTransactions(
            DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional_id()]),
        ),
        ApiKey::ListTransactions => Q::ListTransactions(ListTransactionsRequest::default()),
        other => panic!("{other:?} is spoken and not tested"),
    }
}

fn produce() -> ProduceRequest {
    use produce_request::{PartitionProduceData, TopicProduceData};
    // A marker is a batch like others once its control bit is gone; the checksum then is wrong, which is an answer, too.
    let mut records = batch::marker(-1, -1, true, 0);
    records[22] = 0;
    let data = |index| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(Some(Bytes::from(records.clone())))
    };
    let topic = TopicProduceData::default()
        .with_name(name("t"))
        .with_partition_data(vec![data(0), data(9)]);
    ProduceRequest::default()
        .with_acks(1)
        .with_topic_data(vec![topic])
}

fn fetch(version: i16, topic_id: Uuid) -> FetchRequest {
    use fetch_request::{FetchPartition, FetchTopic};
    let partition = |index| {
        FetchPartition::default()
            .with_partition(index)
            .with_partition_max_bytes(1000)
    };
    let topic = FetchTopic::default().with_partitions(vec![partition(0), partition(9)]);
    let topic = if version >= 13 {
        topic.with_topic_id(topic_id)
    } else {
        topic.with_topic(name("t"))
    };
    FetchRequest::default()
        .with_isolation_level(1)
        .with_max_bytes(1000)
        .with_topics(vec![topic])
}

fn list_offsets() -> ListOffsetsRequest {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let partition = |index, timestamp| {
        ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_timestamp(timestamp)
    };
    let partitions = vec![partition(0, -1), partition(1, 5), partition(9, -2)];
    let topic = ListOffsetsTopic::default()
        .with_name(name("t"))
        .with_partitions(partitions);
    ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic])
}

fn metadata(version: i16) -> MetadataRequest {
    use metadata_request::MetadataRequestTopic;
    let topic = |text| MetadataRequestTopic::default().with_name(Some(name(text)));
    let request =
        MetadataRequest::default().with_topics(Some(vec![topic("t"), topic("not/allowed")]));
    if version >= 4 {
        request.with_allow_auto_topic_creation(false)
    } else {
        request
    }
}

fn find_coordinator(version: i16) -> FindCoordinatorRequest {
    let request = FindCoordinatorRequest::default();
    if version >= 4 {
        request.with_coordinator_keys(vec![wire("g")])
    } else {
        request.with_key(wire("g"))
    }
}

fn create_topics(version: i16) -> CreateTopicsRequest {
    use create_topics_request::CreatableTopic;
    let topic = |text: &str, partitions| {
        CreatableTopic::default()
            .with_name(name(text))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
    };
    let topics = vec![
        topic(&format!("new-{version}"), 1),
        topic("t", 1),
        topic("none", 0),
    ];
    CreateTopicsRequest::default().with_topics(topics)
}

fn delete_topics(version: i16) -> DeleteTopicsRequest {
    use delete_topics_request::DeleteTopicState;
    let request = DeleteTopicsRequest::default();
    if version >= 6 {
        let by_name = DeleteTopicState::default().with_name(Some(name("missing")));
        let by_id = DeleteTopicState::default()
            .with_name(None)
            .with_topic_id(Uuid::from_u128(5));
        request.with_topics(vec![by_name, by_id])
    } else {
        request.with_topic_names(vec![name("missing")])
    }
}

fn delete_records() -> DeleteRecordsRequest {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let partition = |index| DeleteRecordsPartition::default().with_partition_index(index);
    let topic = DeleteRecordsTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition(0), partition(9)]);
    DeleteRecordsRequest::default().with_topics(vec![topic])
}

fn create_partitions() -> CreatePartitionsRequest {
    use create_partitions_request::CreatePartitionsTopic;
    let topic = CreatePartitionsTopic::default()
        .with_name(name("t"))
        .with_count(1)
        .with_assignments(None);
    CreatePartitionsRequest::default().with_topics(vec![topic])
}

fn describe_configs() -> DescribeConfigsRequest {
    use describe_configs_request::DescribeConfigsResource;
    let resource = |kind, text: &str| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(wire(text))
            .with_configuration_keys(None)
    };
    let resources = vec![
        resource(2, "t"),
        resource(4, "1"),
        resource(2, "missing"),
        resource(9, ""),
    ];
    DescribeConfigsRequest::default().with_resources(resources)
}

fn alter_configs() -> AlterConfigsRequest {
    use alter_configs_request::AlterConfigsResource;
    let resource = |text: &str| {
        AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(wire(text))
    };
    AlterConfigsRequest::default().with_resources(vec![resource("t"), resource("missing")])
}

fn alter_incrementally() -> IncrementalAlterConfigsRequest {
    use incremental_alter_configs_request::AlterConfigsResource;
    let resource = |text: &str| {
        AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(wire(text))
    };
    IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource("t"), resource("missing")])
}

fn describe_producers() -> DescribeProducersRequest {
    use describe_producers_request::TopicRequest;
    let topic = TopicRequest::default()
        .with_name(name("t"))
        .with_partition_indexes(vec![0, 9]);
    DescribeProducersRequest::default().with_topics(vec![topic])
}

fn end_of_epoch() -> OffsetForLeaderEpochRequest {
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let partition = |index| OffsetForLeaderPartition::default().with_partition(index);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(name("t"))
        .with_partitions(vec![partition(0), partition(9)]);
    OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
}

fn join(version: i16) -> JoinGroupRequest {
    use join_group_request::JoinGroupRequestProtocol;
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(wire("range"))
        .with_metadata(Bytes::from_static(b"m"));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(wire(&format!("g{version}"))))
        .with_session_timeout_ms(1000)
        .with_protocol_type(wire("consumer"))
        .with_protocols(vec![protocol]);
    if version >= 5 {
        request.with_group_instance_id(Some(wire("one")))
    } else {
        request
    }
}

fn leave(version: i16) -> LeaveGroupRequest {
    use leave_group_request::MemberIdentity;
    let request = LeaveGroupRequest::default().with_group_id(group());
    if version >= 3 {
        request.with_members(vec![MemberIdentity::default().with_member_id(wire("m"))])
    } else {
        request.with_member_id(wire("m"))
    }
}

fn commit() -> OffsetCommitRequest {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let partition = |index| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(7)
            .with_committed_metadata(Some(StrBytes::from_static_str("note")))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition(0), partition(9)]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

fn fetch_offsets(version: i16) -> OffsetFetchRequest {
    use offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    };
    if version >= 8 {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(name("t"))
            .with_partition_indexes(vec![0, 1]);
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_topics(Some(vec![topic]));
        let all = OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_topics(None);
        OffsetFetchRequest::default().with_groups(vec![asked, all])
    } else {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(name("t"))
            .with_partition_indexes(vec![0, 1]);
        OffsetFetchRequest::default()
            .with_group_id(group())
            .with_topics(Some(vec![topic]))
    }
}

fn add_partitions() -> AddPartitionsToTxnRequest {
    use add_partitions_to_txn_request::AddPartitionsToTxnTopic;
    let topic = AddPartitionsToTxnTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![0]);
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id())
        .with_v3_and_below_topics(vec![topic])
}

fn commit_in_transaction() -> TxnOffsetCommitRequest {
    use txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(7);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition]);
    TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional_id())
        .with_group_id(group())
        .with_topics(vec![topic])
}

/// What a client reads of an answer.
fn through_the_wire(api: ApiKey, version: i16, answer: &ResponseKind) -> ResponseKind {
    let mut bytes = BytesMut::new();
    answer
        .encode(&mut bytes, version)
        .unwrap_or_else(|error| panic!("{api:?} version {version}: {error}\n{answer:?}"));
    let mut bytes = bytes.freeze();
    let read = ResponseKind::decode(api, &mut bytes, version)
        .unwrap_or_else(|error| panic!("{api:?} version {version}: {error}"));
    assert!(
        !bytes.has_remaining(),
        "{api:?} version {version} has a rest"
    );
    read
}

#[tokio::test]
async fn every_version_is_served() {
    let (shared, topic_id) = shared();
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    for (api, oldest, newest) in versions::SPOKEN {
        for version in *oldest..=*newest {
            // As a client writes it, so that a test cannot ask for what a version lacks.
            let mut bytes = BytesMut::new();
            let request = request(*api, version, topic_id);
            request
                .encode(&mut bytes, version)
                .unwrap_or_else(|error| panic!("{api:?} version {version}: {error}"));
            let rest = shape::rest_of(*api, version, &bytes);
            assert_eq!(rest, Some(0), "the shape of {api:?} version {version}");
            let request = RequestKind::decode(*api, &mut bytes.freeze(), version).unwrap();
            let call = Call {
                version,
                client_id: "test".into(),
                peer,
            };
            let refused = refuse::refuse(&request, ResponseError::UnknownServerError);
            if let Some(refused) = refused {
                through_the_wire(*api, version, &refused);
            }
            let answer = answer(&shared, &call, request).await.unwrap();
            through_the_wire(*api, version, &answer);
        }
    }
}

#[tokio::test]
async fn a_committed_offset_is_read_in_every_version() {
    let (shared, _) = shared();
    let call = |version| Call {
        version,
        client_id: "test".into(),
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
    };
    let committed = group_offsets::commit(&shared, &commit());
    let codes: Vec<i16> = committed.topics[0]
        .partitions
        .iter()
        .map(|one| one.error_code)
        .collect();
    assert_eq!(codes, [0, ResponseError::UnknownTopicOrPartition.code()]);
    for version in 1..=9 {
        let answer = group_offsets::fetch(&shared, &call(version), &fetch_offsets(version));
        let offsets: Vec<i64> = if version >= 8 {
            let partitions = &answer.groups[0].topics[0].partitions;
            assert_eq!(
                answer.groups[1].topics[0].partitions.len(),
                1,
                "all that are committed"
            );
            partitions.iter().map(|one| one.committed_offset).collect()
        } else {
            let partitions = &answer.topics[0].partitions;
            partitions.iter().map(|one| one.committed_offset).collect()
        };
        assert_eq!(offsets, [7, -1], "version {version}");
    }
}

#[test]
fn headers_fit_their_requests() {
    for (api, oldest, newest) in versions::SPOKEN {
        for version in *oldest..=*newest {
            let header = ResponseHeader::default().with_correlation_id(3);
            let mut bytes = BytesMut::new();
            header
                .encode(&mut bytes, api.response_header_version(version))
                .unwrap();
            // An old client must be able to read what ApiVersions answers before it knows any version.
            assert!(*api != ApiKey::ApiVersions || bytes.len() == 4);
        }
    }
}
