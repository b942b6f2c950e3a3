//! Clients of a Kafka cluster, what they say about its health, and what their errors mean.

use super::properties::Properties;
use crate::clock;
use millstream_dataflow::{Error, Result};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Events of a client (errors, statistics) are looked at no more often than this.
const SERVE_EVERY: Duration = Duration::from_millis(50);

/// What librdkafka says, at its own level.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(target: "librdkafka", facility, "{message}");
        }
    }
}

/// Hears what librdkafka has to say.
#[derive(Debug, Default)]
pub(super) struct Watch {
    down: Mutex<Option<String>>,
    /// Errors of partitions that are logged and reach no queue: among them that a topic is gone.
    doubts: AtomicU64,
}

impl Watch {
    /// That no broker could be reached, told once each time that it happens.
    pub(super) fn take_down(&self) -> Option<String> {
        self.down
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "ERROR" {
            self.doubts.fetch_add(1, Ordering::Relaxed);
        }
        log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        tracing::debug!(target: "librdkafka", "{}", String::from_utf8_lossy(statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(target: "librdkafka", %error, "{reason}");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.down.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Watch {}

/// The consumer that all partitions of a table share: one connection to each broker.
pub(super) struct Consumer {
    pub(super) client: BaseConsumer<Watch>,
    properties: Properties,
    /// Whether positions are told to the group, for tools that show its lag.
    commits: bool,
    served: Mutex<Instant>,
    /// The partitions that have a reader: in one consumer, a partition has one queue.
    claimed: Mutex<BTreeSet<(String, i32)>>,
}

/// The right to read a partition with a consumer, until it is dropped.
pub(super) struct Claim {
    pub(super) consumer: Arc<Consumer>,
    topic: String,
    partition: i32,
    assigned: bool,
}

impl Claim {
    /// Claims a partition; `None` if it has a reader.
    pub(super) fn new(consumer: &Arc<Consumer>, topic: &str, partition: i32) -> Option<Self> {
        let mut claimed = consumer
            .claimed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        claimed.insert((topic.to_owned(), partition)).then(|| Self {
            consumer: Arc::clone(consumer),
            topic: topic.to_owned(),
            partition,
            assigned: false,
        })
    }

    /// Begins to fetch the partition from an offset on.
    pub(super) fn assign(&mut self, from: i64) -> Result<()> {
        let list = one(&self.topic, self.partition, Offset::Offset(from))?;
        let assigned = self.consumer.client.incremental_assign(&list);
        assigned.map_err(|error| {
            let what = format!("'{}/{}' cannot be read", self.topic, self.partition);
            self.consumer.error(&what, &error)
        })?;
        self.assigned = true;
        Ok(())
    }

    /// Tells the group how far the partition was taken.
    pub(super) fn store(&self, position: i64) {
        let Self {
            consumer,
            topic,
            partition,
            ..
        } = self;
        if consumer.commits
            && let Err(error) = consumer
                .client
                .store_offset(topic, *partition, position - 1)
        {
            tracing::debug!(topic, partition, %error, "an offset cannot be stored for the group");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.assigned
            && let Ok(list) = one(&self.topic, self.partition, Offset::Invalid)
            && let Err(error) = self.consumer.client.incremental_unassign(&list)
        {
            tracing::debug!(topic = self.topic, partition = self.partition, %error, "unassign");
        }
        let mut claimed = self
            .consumer
            .claimed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        claimed.remove(&(std::mem::take(&mut self.topic), self.partition));
    }
}

impl Consumer {
    /// Makes a consumer. It connects when it is first asked. One that `may_commit` tells the table's group, if it has one,
    /// how far it was read.
    pub(super) fn new(properties: &Properties, may_commit: bool) -> Result<Self> {
        let reset = properties.reset.as_deref().unwrap_or("error");
        // With a group, positions are stored as rows are taken and committed in the background. Partitions are assigned,
        // so nothing is ever rebalanced, and no job starts from here but one that asks for 'group-offsets'.
        let commits = may_commit
            && properties.get("group.id").is_some()
            && properties.get("enable.auto.commit") != Some("false");
        let config = properties.config(
            &[
                ("group.id", "millstream"),
                ("isolation.level", "read_committed"),
                // How long a full queue waits before it asks for more: librdkafka's second starves a fast reader.
                ("fetch.queue.backoff.ms", "10"),
                ("queued.max.messages.kbytes", "8192"),
            ],
            &[
                ("enable.partition.eof", "true"),
                ("enable.auto.offset.store", "false"),
                ("enable.auto.commit", if commits { "true" } else { "false" }),
                ("auto.offset.reset", reset),
            ],
        );
        let client =
            BaseConsumer::from_config_and_context(&config, Watch::default()).map_err(|error| {
                Error::user("a Kafka consumer cannot be made").detail(error.to_string())
            })?;
        Ok(Self {
            client,
            properties: properties.clone(),
            commits,
            served: Mutex::new(clock::now()),
            claimed: Mutex::default(),
        })
    }

    /// Lets librdkafka tell its events, now and then; says that no broker can be reached when that happens.
    pub(super) fn serve(&self) -> Result<()> {
        if let Ok(mut served) = self.served.try_lock()
            && served.elapsed() >= SERVE_EVERY
        {
            *served = clock::now();
            // Messages come by their partitions' queues; here are events only.
            let _ = self.client.poll(Duration::ZERO);
        }
        match self.client.context().take_down() {
            Some(reason) => Err(unreachable(self.properties.servers(), &reason)),
            None => Ok(()),
        }
    }

    /// Makes sure that a partition is still there, if there were doubts since `seen`.
    pub(super) fn verify(&self, topic: &str, partition: i32, seen: &mut u64) -> Result<()> {
        let doubts = self.client.context().doubts.load(Ordering::Relaxed);
        if std::mem::replace(seen, doubts) == doubts {
            return Ok(());
        }
        let there = self.topics(Some(topic))?;
        if there.iter().any(|(_, count)| partition < *count) {
            return Ok(());
        }
        let what = format!("'{topic}/{partition}' cannot be read");
        Err(code_error(&what, RDKafkaErrorCode::UnknownPartition, ""))
    }

    /// The names and partition counts of the topics that are there: of one, or of all.
    pub(super) fn topics(&self, topic: Option<&str>) -> Result<Vec<(String, i32)>> {
        let what = || match topic {
            Some(topic) => format!("the partitions of the topic '{topic}' cannot be read"),
            None => "the topics cannot be read".to_owned(),
        };
        let metadata = self
            .client
            .fetch_metadata(topic, self.properties.timeout)
            .map_err(|error| self.error(&what(), &error))?;
        let mut topics = Vec::new();
        for found in metadata.topics() {
            if let (Some(error), Some(_)) = (found.error(), topic) {
                let code = RDKafkaErrorCode::from(error);
                return Err(code_error(&what(), code, ""));
            }
            topics.push((found.name().to_owned(), found.partitions().len() as i32));
        }
        topics.sort();
        Ok(topics)
    }

    /// Where partitions begin, end, or pass a time, as their broker says: `what` is `Beginning`, `End`, or the
    /// milliseconds. A time after the last message is the end.
    pub(super) fn offsets(&self, partitions: &[(String, i32)], what: Offset) -> Result<Vec<i64>> {
        let asked = self.list_offsets(partitions, what)?;
        let mut offsets = Vec::with_capacity(partitions.len());
        let mut ends: Option<Vec<i64>> = None;
        for (idx, offset) in asked.into_iter().enumerate() {
            offsets.push(match offset {
                Offset::Offset(offset) => offset,
                _ => {
                    let end = match &ends {
                        Some(ends) => ends[idx],
                        None => {
                            let all = self.list_offsets(partitions, Offset::End)?;
                            let all: Vec<i64> = all
                                .into_iter()
                                .map(|end| end.to_raw().unwrap_or(0))
                                .collect();
                            let end = all[idx];
                            ends = Some(all);
                            end
                        }
                    };
                    end.max(0)
                }
            });
        }
        Ok(offsets)
    }

    fn list_offsets(&self, partitions: &[(String, i32)], what: Offset) -> Result<Vec<Offset>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            let added = list.add_partition_offset(topic, *partition, what);
            added.map_err(|error| {
                Error::internal("an offset cannot be asked for").detail(error.to_string())
            })?;
        }
        // The protocol asks for beginning and end as times -2 and -1.
        let failed = |error| self.error("the offsets of partitions cannot be read", &error);
        let found = self
            .client
            .offsets_for_times(list, self.properties.timeout)
            .map_err(failed)?;
        found_offsets(partitions, &found).map_err(failed)
    }

    /// The offsets that the consumer's group has committed, where it has.
    pub(super) fn committed(&self, partitions: &[(String, i32)]) -> Result<Vec<Option<i64>>> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let failed =
            |error| self.error("the committed offsets of the group cannot be read", &error);
        let found = self
            .client
            .committed_offsets(list, self.properties.timeout)
            .map_err(failed)?;
        let found = found_offsets(partitions, &found).map_err(failed)?;
        let offset = |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok(found.into_iter().map(offset).collect())
    }

    /// What an error of the client means, with what could not be done.
    pub(super) fn error(&self, what: &str, error: &KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve,
            ) => unreachable(self.properties.servers(), &format!("{what}: {error}")),
            Some(code) => code_error(what, code, &error.to_string()),
            None => Error::user(what).detail(error.to_string()),
        }
    }
}

/// The offsets of a list in the order that they were asked for.
fn found_offsets(
    partitions: &[(String, i32)],
    found: &TopicPartitionList,
) -> std::result::Result<Vec<Offset>, KafkaError> {
    let offset = |(topic, partition): &(String, i32)| match found.find_partition(topic, *partition)
    {
        None => Ok(Offset::Invalid),
        Some(element) => element.error().map(|()| element.offset()),
    };
    partitions.iter().map(offset).collect()
}

fn one(topic: &str, partition: i32, offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(1);
    let added = list.add_partition_offset(topic, partition, offset);
    added
        .map(|()| list)
        .map_err(|error| Error::internal("an offset is no offset").detail(error.to_string()))
}

/// No broker answers.
pub(super) fn unreachable(servers: &str, reason: &str) -> Error {
    Error::retryable(format!("no Kafka broker can be reached at {servers}"))
        .detail(reason)
        .hint("is it running, and is 'properties.bootstrap.servers' right? A cluster with TLS or SASL needs 'properties.security.protocol'")
}

/// What an error code of a broker or of librdkafka means.
pub(super) fn code_error(what: &str, code: RDKafkaErrorCode, text: &str) -> Error {
    use RDKafkaErrorCode as C;
    let detail = if text.is_empty() {
        code.to_string()
    } else {
        text.to_owned()
    };
    let hint = match code {
        C::UnknownTopicOrPartition | C::UnknownTopic | C::UnknownPartition => {
            "the topic or partition does not exist (any more): create it, or correct 'topic'"
        }
        C::TopicAuthorizationFailed
        | C::GroupAuthorizationFailed
        | C::ClusterAuthorizationFailed => {
            "the user may not: grant access, or set 'properties.sasl.*'"
        }
        C::TransactionalIdAuthorizationFailed => {
            "the user may not write in transactions: grant WRITE and DESCRIBE on the transactional id, or set 'sink.delivery-guarantee' to at-least-once"
        }
        C::InvalidTransactionTimeout => {
            "the brokers allow less (transaction.max.timeout.ms): set 'properties.transaction.timeout.ms'"
        }
        C::Authentication | C::SaslAuthenticationFailed => {
            "check 'properties.sasl.*' and 'properties.ssl.*'"
        }
        C::AutoOffsetReset | C::OffsetOutOfRange => {
            "the offset is gone, by retention or because the topic was made anew: messages are missing. 'properties.auto.offset.reset' = 'earliest' goes on with what is there"
        }
        C::BadCompression | C::NotImplemented => "the messages cannot be decompressed",
        C::InvalidTopic => "correct 'topic'",
        C::MessageSizeTooLarge => {
            "the record is larger than 'properties.message.max.bytes' or the topic's max.message.bytes"
        }
        _ => return Error::retryable(what).detail(detail),
    };
    Error::user(what).detail(detail).hint(hint)
}
