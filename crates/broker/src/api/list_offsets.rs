//! ListOffsets and OffsetForLeaderEpoch.

use std::io;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
        OffsetForLeaderEpochResponse,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use super::{Call, io_code};
use crate::{
    broker::Shared,
    log::{batch::LEADER_EPOCH, partition::Partition},
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// There is no tiered storage: the local log is all of it, and nothing has been moved elsewhere.
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// Finds offsets by position or time.
pub(crate) fn list_offsets(
    shared: &Shared,
    call: &Call,
    request: &ListOffsetsRequest,
) -> ListOffsetsResponse {
    let committed = request.isolation_level == 1;
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let told = ListOffsetsPartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_timestamp(-1)
                .with_offset(-1);
            let Some(partition) = shared.topics.partition(&topic.name, asked.partition_index)
            else {
                return told.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            };
            if asked.current_leader_epoch > LEADER_EPOCH {
                return told.with_error_code(ResponseError::UnknownLeaderEpoch.code());
            }
            match find(&partition, asked.timestamp, committed) {
                Ok(Some((offset, timestamp))) => {
                    let told = told.with_offset(offset).with_timestamp(timestamp);
                    if call.version >= 4 {
                        told.with_leader_epoch(LEADER_EPOCH)
                    } else {
                        told
                    }
                }
                Ok(None) => told,
                Err(error) => told.with_error_code(io_code(&error)),
            }
        });
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn find(partition: &Partition, timestamp: i64, committed: bool) -> io::Result<Option<(i64, i64)>> {
    let bounds = partition.bounds();
    match timestamp {
        LATEST => Ok(Some((
            if committed { bounds.stable } else { bounds.end },
            -1,
        ))),
        EARLIEST | EARLIEST_LOCAL => Ok(Some((bounds.start, -1))),
        MAX_TIMESTAMP => partition.find_max_time(committed),
        LATEST_TIERED => Ok(None),
        timestamp => partition.find_time(timestamp, committed),
    }
}

/// Where an epoch ended; there is only one, and it ends at the end of the log.
pub(crate) fn end_of_epoch(
    shared: &Shared,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let told = EpochEndOffset::default().with_partition(asked.partition);
            let Some(partition) = shared.topics.partition(&topic.topic, asked.partition) else {
                return told.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            };
            if asked.current_leader_epoch > LEADER_EPOCH {
                return told.with_error_code(ResponseError::UnknownLeaderEpoch.code());
            }
            if asked.leader_epoch == LEADER_EPOCH {
                told.with_leader_epoch(LEADER_EPOCH)
                    .with_end_offset(partition.bounds().end)
            } else {
                told.with_leader_epoch(-1).with_end_offset(-1)
            }
        });
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
