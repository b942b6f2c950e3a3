//! Fetch: sessionless, long-polling.
//!
//! A fetch puts its wake-up into the partitions before it first looks, so that no append between the look and the
//! wait is missed. It answers when there is enough, when something is wrong, or when its time is up.

use std::{sync::Arc, time::Duration};

use kafka_protocol::{
    error::ResponseError,
    messages::{
        FetchRequest, FetchResponse,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData},
    },
};
use tokio::{sync::Notify, time::Instant};

use super::{Call, io_code};
use crate::{
    broker::Shared,
    log::{
        batch::LEADER_EPOCH,
        partition::{Partition, Read, Reading},
    },
    topics::Topic,
};

/// Topic ids replace names from here on.
const TOPIC_ID_VERSION: i16 = 13;

/// One look at everything that is asked for.
#[derive(Debug, Default)]
struct Look {
    responses: Vec<FetchableTopicResponse>,
    bytes: usize,
    /// Waiting would not help, or not be right.
    at_once: bool,
}

/// The wake-up of one fetch, taken out of the partitions when the fetch ends, however it ends.
#[derive(Debug)]
struct Waiting {
    wake: Arc<Notify>,
    partitions: Vec<Arc<Partition>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.partitions
            .iter()
            .for_each(|partition| partition.stop_waiting(&self.wake));
    }
}

/// Reads what a consumer asks for.
pub(crate) async fn fetch(shared: &Shared, call: &Call, request: &FetchRequest) -> FetchResponse {
    if request.session_id != 0 || request.session_epoch > 0 {
        let error = ResponseError::FetchSessionIdNotFound;
        return FetchResponse::default().with_error_code(error.code());
    }
    let deadline =
        Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0);
    let first = look(shared, call, request);
    if first.at_once || first.bytes >= bytes_min {
        return FetchResponse::default().with_responses(first.responses);
    }
    let waiting = wait_for(shared, call, request);
    loop {
        let look = look(shared, call, request);
        if look.at_once || look.bytes >= bytes_min {
            return FetchResponse::default().with_responses(look.responses);
        }
        if tokio::time::timeout_at(deadline, waiting.wake.notified())
            .await
            .is_err()
        {
            return FetchResponse::default().with_responses(look.responses);
        }
    }
}

fn topic_of(shared: &Shared, call: &Call, topic: &FetchTopic) -> Option<Arc<Topic>> {
    if call.version >= TOPIC_ID_VERSION {
        shared.topics.by_id(&topic.topic_id)
    } else {
        shared.topics.get(&topic.topic)
    }
}

fn wait_for(shared: &Shared, call: &Call, request: &FetchRequest) -> Waiting {
    let wake = Arc::new(Notify::new());
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let Some(known) = topic_of(shared, call, topic) else {
            continue;
        };
        partitions.extend(
            topic
                .partitions
                .iter()
                .filter_map(|asked| known.partition(asked.partition)),
        );
    }
    partitions
        .iter()
        .for_each(|partition| partition.wait(&wake));
    Waiting { wake, partitions }
}

fn look(shared: &Shared, call: &Call, request: &FetchRequest) -> Look {
    // A client that closes its session asks for nothing; there is nothing to wait for.
    let at_once = request.topics.is_empty();
    let mut look = Look {
        at_once,
        ..Look::default()
    };
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0);
    for topic in &request.topics {
        let known = topic_of(shared, call, topic);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let unknown = if call.version >= TOPIC_ID_VERSION && known.is_none() {
                ResponseError::UnknownTopicId
            } else {
                ResponseError::UnknownTopicOrPartition
            };
            let partition = known
                .as_ref()
                .and_then(|topic| topic.partition(asked.partition))
                .ok_or(unknown);
            let left = bytes_max.saturating_sub(look.bytes);
            let outcome = partition
                .map_err(|error| error.code())
                .and_then(|partition| {
                    read(
                        &partition,
                        asked,
                        request.isolation_level == 1,
                        left,
                        look.bytes == 0,
                    )
                });
            partitions.push(look.admit(asked, outcome, request.isolation_level == 1));
        }
        let response = FetchableTopicResponse::default().with_partitions(partitions);
        look.responses.push(if call.version >= TOPIC_ID_VERSION {
            response.with_topic_id(topic.topic_id)
        } else {
            response.with_topic(topic.topic.clone())
        });
    }
    look
}

fn read(
    partition: &Partition,
    asked: &FetchPartition,
    committed: bool,
    left: usize,
    first: bool,
) -> Result<Read, i16> {
    if asked.current_leader_epoch > LEADER_EPOCH {
        return Err(ResponseError::UnknownLeaderEpoch.code());
    }
    let bytes_max = usize::try_from(asked.partition_max_bytes)
        .unwrap_or(0)
        .min(left);
    let reading = Reading {
        offset: asked.fetch_offset,
        bytes_max,
        at_least_one: first,
        committed,
    };
    match partition.read(reading) {
        Ok(outcome) => outcome.map_err(|error| error.code()),
        Err(error) => Err(io_code(&error)),
    }
}

impl Look {
    fn admit(
        &mut self,
        asked: &FetchPartition,
        outcome: Result<Read, i16>,
        committed: bool,
    ) -> PartitionData {
        let data = PartitionData::default().with_partition_index(asked.partition);
        match outcome {
            Ok(read) => {
                self.bytes += read.records.len();
                self.at_once |= read.more && !read.records.is_empty();
                let tell = |aborted: &crate::log::producers::Aborted| {
                    AbortedTransaction::default()
                        .with_producer_id(aborted.producer_id.into())
                        .with_first_offset(aborted.first_offset)
                };
                data.with_high_watermark(read.bounds.end)
                    .with_last_stable_offset(read.bounds.stable)
                    .with_log_start_offset(read.bounds.start)
                    .with_aborted_transactions(
                        committed.then(|| read.aborted.iter().map(tell).collect()),
                    )
                    .with_records(Some(read.records))
            }
            Err(code) => {
                self.at_once = true;
                data.with_error_code(code)
                    .with_high_watermark(-1)
                    .with_aborted_transactions(None)
            }
        }
    }
}
