//! The offsets of consumer groups: committing, within transactions too, reading and deleting them.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
        OffsetFetchRequest, OffsetFetchResponse, TopicName, TxnOffsetCommitRequest,
        TxnOffsetCommitResponse,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
        txn_offset_commit_response::{
            TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
        },
    },
    protocol::StrBytes,
};

use super::{Call, code};
use crate::{
    broker::Shared,
    clock::now_ms,
    codec::wire,
    groups::offsets::{Committed, TopicPartition},
    log::partition_log::Refused,
};

/// From here on one request asks for many groups.
const GROUPS_VERSION: i16 = 8;
/// As in Kafka's `offset.metadata.max.bytes`.
const METADATA_MAX: usize = 4096;

/// One partition of a commit, and what becomes of it.
struct Asked {
    at: TopicPartition,
    offset: Committed,
    code: i16,
}

fn asked(
    shared: &Shared,
    topic: &str,
    index: i32,
    offset: (i64, i32),
    metadata: Option<&StrBytes>,
) -> Asked {
    let metadata = metadata
        .map(|text| text.as_str().to_owned())
        .unwrap_or_default();
    let code = if shared.topics.partition(topic, index).is_none() {
        ResponseError::UnknownTopicOrPartition.code()
    } else if metadata.len() > METADATA_MAX {
        ResponseError::OffsetMetadataTooLarge.code()
    } else {
        0
    };
    let offset = Committed {
        offset: offset.0,
        leader_epoch: offset.1,
        metadata,
    };
    Asked {
        at: (topic.to_owned(), index),
        offset,
        code,
    }
}

/// Gives `outcome` to every partition that was not refused already, after `write` had the others.
fn settle(
    mut all: Vec<Asked>,
    allowed: Result<(), Refused>,
    write: impl FnOnce(Vec<(TopicPartition, Committed)>) -> Result<(), Refused>,
) -> Vec<Asked> {
    let good = all
        .iter()
        .filter(|one| one.code == 0)
        .map(|one| (one.at.clone(), one.offset.clone()))
        .collect();
    let outcome = allowed.and_then(|()| write(good)).err().map_or(0, code);
    for one in &mut all {
        if one.code == 0 {
            one.code = outcome;
        }
    }
    all
}

/// The codes back in the request's order: they come in the order in which `asked` took them.
fn codes(settled: Vec<Asked>) -> impl FnMut() -> i16 {
    let mut all = settled.into_iter();
    move || all.next().map_or(0, |one| one.code)
}

/// Commits offsets.
pub(crate) fn commit(shared: &Shared, request: &OffsetCommitRequest) -> OffsetCommitResponse {
    let all = request
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|one| {
                let offset = (one.committed_offset, one.committed_leader_epoch);
                asked(
                    shared,
                    &topic.name,
                    one.partition_index,
                    offset,
                    one.committed_metadata.as_ref(),
                )
            })
        })
        .collect();
    let group = request.group_id.as_str();
    let generation = request.generation_id_or_member_epoch;
    let instance = request.group_instance_id.as_deref();
    let allowed = match shared.groups.with(group, |of| {
        of.may_commit(&request.member_id, instance, generation, now_ms())
    }) {
        Some(outcome) => outcome,
        None if group.is_empty() => Err(ResponseError::InvalidGroupId),
        None if generation < 0 => Ok(()),
        None => Err(ResponseError::IllegalGeneration),
    };
    let write = |offsets| Ok(shared.offsets.commit(group, offsets)?);
    let mut next_code = codes(settle(all, allowed.map_err(Refused::Answer), write));
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(one.partition_index)
                .with_error_code(next_code())
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// Commits offsets when the transaction commits.
pub(crate) fn commit_in_transaction(
    shared: &Shared,
    request: &TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let all = request
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|one| {
                let offset = (one.committed_offset, one.committed_leader_epoch);
                asked(
                    shared,
                    &topic.name,
                    one.partition_index,
                    offset,
                    one.committed_metadata.as_ref(),
                )
            })
        })
        .collect();
    let group = request.group_id.as_str();
    let instance = request.group_instance_id.as_deref();
    let allowed = match shared.groups.with(group, |of| {
        of.may_commit_in_transaction(&request.member_id, instance, request.generation_id)
    }) {
        Some(outcome) => outcome,
        None if request.generation_id < 0 => Ok(()),
        None => Err(ResponseError::IllegalGeneration),
    };
    let producer = (request.producer_id.0, request.producer_epoch);
    let write = |offsets| {
        let covers = |open: &crate::transactions::state::Transaction| open.covers_group(group);
        let write = || {
            shared
                .offsets
                .commit_in_transaction(producer.0, group, offsets)
        };
        Ok(shared
            .transactions
            .within(&request.transactional_id, producer, covers, write)
            .map_err(Refused::Answer)??)
    };
    let mut next_code = codes(settle(all, allowed.map_err(Refused::Answer), write));
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(one.partition_index)
                .with_error_code(next_code())
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

/// What is said of one partition: offset, epoch, metadata, error.
struct Told {
    at: TopicPartition,
    offset: Committed,
    code: i16,
}

fn look_up(
    shared: &Shared,
    group: &str,
    asked: Option<Vec<TopicPartition>>,
    stable: bool,
) -> Vec<Told> {
    let asked = asked.unwrap_or_else(|| {
        shared
            .offsets
            .list(group)
            .into_iter()
            .map(|(at, _)| at)
            .collect()
    });
    let none = || Committed {
        offset: -1,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let tell = |at: TopicPartition| {
        if stable && shared.offsets.is_pending(group, &at) {
            return Told {
                at,
                offset: none(),
                code: ResponseError::UnstableOffsetCommit.code(),
            };
        }
        let offset = shared.offsets.get(group, &at).unwrap_or_else(none);
        Told {
            at,
            offset,
            code: 0,
        }
    };
    asked.into_iter().map(tell).collect()
}

/// Reads committed offsets.
pub(crate) fn fetch(
    shared: &Shared,
    call: &Call,
    request: &OffsetFetchRequest,
) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if call.version >= GROUPS_VERSION {
        let groups = request.groups.iter().map(|group| {
            let asked = group.topics.as_ref().map(|topics| {
                places(
                    topics
                        .iter()
                        .map(|topic| (topic.name.as_str(), topic.partition_indexes.as_slice())),
                )
            });
            let topics = by_topic(look_up(shared, &group.group_id, asked, stable)).into_iter();
            let topics = topics.map(|(name, told)| {
                let partitions = told.into_iter().map(|told| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(told.at.1)
                        .with_committed_offset(told.offset.offset)
                        .with_committed_leader_epoch(told.offset.leader_epoch)
                        .with_metadata(Some(wire(&told.offset.metadata)))
                        .with_error_code(told.code)
                });
                OffsetFetchResponseTopics::default()
                    .with_name(name)
                    .with_partitions(partitions.collect())
            });
            OffsetFetchResponseGroup::default()
                .with_group_id(group.group_id.clone())
                .with_topics(topics.collect())
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let asked = request.topics.as_ref().map(|topics| {
        places(
            topics
                .iter()
                .map(|topic| (topic.name.as_str(), topic.partition_indexes.as_slice())),
        )
    });
    let topics = by_topic(look_up(shared, &request.group_id, asked, stable))
        .into_iter()
        .map(|(name, told)| {
            let partitions = told.into_iter().map(|told| {
                let one = OffsetFetchResponsePartition::default()
                    .with_partition_index(told.at.1)
                    .with_committed_offset(told.offset.offset)
                    .with_metadata(Some(wire(&told.offset.metadata)))
                    .with_error_code(told.code);
                if call.version >= 5 {
                    one.with_committed_leader_epoch(told.offset.leader_epoch)
                } else {
                    one
                }
            });
            OffsetFetchResponseTopic::default()
                .with_name(name)
                .with_partitions(partitions.collect())
        });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn places<'a>(topics: impl Iterator<Item = (&'a str, &'a [i32])>) -> Vec<TopicPartition> {
    topics
        .flat_map(|(name, indexes)| indexes.iter().map(|index| (name.to_owned(), *index)))
        .collect()
}

/// Neighbours of the same topic come together.
fn by_topic(all: Vec<Told>) -> Vec<(TopicName, Vec<Told>)> {
    let mut topics: Vec<(TopicName, Vec<Told>)> = Vec::new();
    for told in all {
        match topics.last_mut() {
            Some((name, of)) if name.as_str() == told.at.0 => of.push(told),
            _ => topics.push((TopicName(wire(&told.at.0)), vec![told])),
        }
    }
    topics
}

/// Deletes committed offsets of a group that does not use them.
pub(crate) fn delete(shared: &Shared, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = request.group_id.as_str();
    let told = OffsetDeleteResponse::default();
    let seen = shared.groups.describe(group);
    if seen.is_none() && !shared.offsets.has_group(group) {
        return told.with_error_code(ResponseError::GroupIdNotFound.code());
    }
    // Which topics a member subscribes to is known to the clients alone, so any member keeps all offsets.
    let in_use = seen.is_some_and(|seen| !seen.members.is_empty());
    let mut topics = Vec::new();
    for topic in &request.topics {
        let at: Vec<TopicPartition> = topic
            .partitions
            .iter()
            .map(|one| (topic.name.to_string(), one.partition_index))
            .collect();
        let code = if in_use {
            ResponseError::GroupSubscribedToTopic.code()
        } else {
            shared
                .offsets
                .delete(group, &at)
                .err()
                .map_or(0, |error| code(Refused::Disk(error)))
        };
        let partitions = at.iter().map(|(_, index)| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(*index)
                .with_error_code(code)
        });
        topics.push(
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect()),
        );
    }
    told.with_topics(topics)
}
