//! What there is besides topics: the one node, its folder, its role as every coordinator.

use kafka_protocol::messages::{
    DescribeClusterResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, TopicName,
    describe_cluster_response::DescribeClusterBroker,
    describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
    },
    find_coordinator_response::Coordinator,
};

use super::Call;
use crate::{
    broker::{NODE_ID, Shared},
    codec::wire,
};

pub(crate) fn describe(shared: &Shared) -> DescribeClusterResponse {
    let broker = DescribeClusterBroker::default()
        .with_broker_id(NODE_ID.into())
        .with_host(wire(&shared.advertised.host))
        .with_port(shared.advertised.port);
    DescribeClusterResponse::default()
        .with_cluster_id(wire(&shared.cluster_id))
        .with_controller_id(NODE_ID.into())
        .with_brokers(vec![broker])
}

pub(crate) fn log_dirs(
    shared: &Shared,
    request: &DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted = |name: &str, index: i32| {
        request.topics.as_ref().is_none_or(|topics| {
            topics
                .iter()
                .any(|topic| topic.topic.as_str() == name && topic.partitions.contains(&index))
        })
    };
    let mut topics = Vec::new();
    for topic in shared.topics.list() {
        let partitions: Vec<_> = topic
            .partitions()
            .iter()
            .filter(|partition| wanted(&topic.name, partition.index))
            .map(|partition| {
                let size = i64::try_from(partition.size()).unwrap_or(i64::MAX);
                DescribeLogDirsPartition::default()
                    .with_partition_index(partition.index)
                    .with_partition_size(size)
            })
            .collect();
        if !partitions.is_empty() {
            let name = TopicName(wire(&topic.name));
            topics.push(
                DescribeLogDirsTopic::default()
                    .with_name(name)
                    .with_partitions(partitions),
            );
        }
    }
    let dir = wire(&shared.dir.to_string_lossy());
    DescribeLogDirsResponse::default().with_results(vec![
        DescribeLogDirsResult::default()
            .with_log_dir(dir)
            .with_topics(topics),
    ])
}

/// The one node coordinates every group and every transaction.
pub(crate) fn find_coordinator(
    shared: &Shared,
    call: &Call,
    request: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let host = wire(&shared.advertised.host);
    let told = FindCoordinatorResponse::default();
    if call.version < 4 {
        return told
            .with_node_id(NODE_ID.into())
            .with_host(host)
            .with_port(shared.advertised.port);
    }
    let coordinators = request.coordinator_keys.iter().map(|key| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id(NODE_ID.into())
            .with_host(host.clone())
            .with_port(shared.advertised.port)
    });
    told.with_coordinators(coordinators.collect())
}
