//! The topic that holds a job's progress: made when it is absent, read up to a place, cut off behind what is needed.

use super::client::{Watch, code_error, unreachable};
use super::producer::code;
use super::progress::Ledger;
use super::properties::Properties;
use crate::clock;
use futures::executor::block_on;
use millstream_dataflow::{Error, Kind, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{FromClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;

/// A topic that was just made is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Its one partition.
const PARTITION: i32 = 0;

/// Progress is kept until the job lets it go. Small segments: only whole ones leave the disk.
const SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("segment.bytes", "16777216"),
];

/// How far the topic is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Up to the instance's own message with this number.
    Own(u64),
    /// Up to what is committed now.
    End,
}

/// The topic of a job's progress.
#[derive(Clone)]
pub(super) struct ProgressTopic {
    pub(super) name: String,
    pub(super) properties: Properties,
    consumer: Arc<BaseConsumer<Watch>>,
}

impl ProgressTopic {
    /// The topic, which is made if it is not there.
    ///
    /// # Errors
    /// `Retryable` when the brokers do not answer; `User` when they do not allow it.
    pub(super) fn open(name: String, properties: &Properties) -> Result<Self> {
        let config = properties.config(
            &[("group.id", "millstream")],
            &[
                ("isolation.level", "read_committed"),
                ("enable.partition.eof", "true"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("allow.auto.create.topics", "false"),
                // What was cut off is not missed.
                ("auto.offset.reset", "earliest"),
                ("fetch.min.bytes", "1"),
                // The end is heard of when a broker answers that nothing is there.
                ("fetch.wait.max.ms", "2"),
            ],
        );
        let consumer = BaseConsumer::from_config_and_context(&config, Watch::default());
        let topic = Self {
            name,
            properties: properties.clone(),
            consumer: Arc::new(consumer.map_err(|error| {
                Error::user("a Kafka consumer cannot be made").detail(error.to_string())
            })?),
        };
        if !topic.is_there()? {
            topic.make()?;
        }
        Ok(topic)
    }

    fn make(&self) -> Result<()> {
        tracing::info!(
            topic = self.name,
            "making the topic that holds the job's progress"
        );
        let mut topic = NewTopic::new(&self.name, 1, TopicReplication::Fixed(-1));
        for (name, value) in SETTINGS {
            topic = topic.set(name, value);
        }
        let options = AdminOptions::new()
            .request_timeout(Some(self.properties.timeout))
            .operation_timeout(Some(self.properties.timeout));
        let made = block_on(self.admin()?.create_topics([&topic], &options));
        match made.map_err(|error| self.failed("made", &error))?.first() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) => {}
            Some(Err((_, code))) => return Err(self.not_made(*code)),
            None => return Err(self.not_made(RDKafkaErrorCode::Unknown)),
        }
        let began = clock::now();
        while !self.is_there()? {
            if began.elapsed() >= self.properties.timeout {
                return Err(self.not_made(RDKafkaErrorCode::LeaderNotAvailable));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Reads on from where the ledger stands, what is committed only. Gives the records that were found.
    pub(super) fn read(&self, ledger: &mut Ledger, until: Until) -> Result<Vec<Vec<u8>>> {
        // An offset and not "the beginning": that would be asked for first, half a second later.
        let list = self.place(Offset::Offset(ledger.position.unwrap_or(0)))?;
        let assigned = self.consumer.assign(&list);
        assigned.map_err(|error| self.failed("read", &error))?;
        let read = self.read_assigned(ledger, until);
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(topic = self.name, %error, "unassign");
        }
        read
    }

    fn read_assigned(&self, ledger: &mut Ledger, until: Until) -> Result<Vec<Vec<u8>>> {
        let mut records = Vec::new();
        let mut heard = clock::now();
        loop {
            if let Until::Own(number) = until
                && ledger.has_seen(number)
            {
                return Ok(records);
            }
            match self.consumer.poll(self.properties.timeout) {
                Some(Ok(message)) => {
                    heard = clock::now();
                    let bytes = message.payload().unwrap_or_default();
                    let at_ms = message.timestamp().to_millis();
                    records.extend(ledger.take(message.offset(), at_ms, bytes)?);
                }
                Some(Err(KafkaError::PartitionEOF(_))) if until == Until::End => {
                    return Ok(records);
                }
                Some(Err(KafkaError::PartitionEOF(_))) | None => {}
                Some(Err(error)) => {
                    let failed = self.failed("read", &error);
                    if failed.kind != Kind::Retryable {
                        return Err(failed);
                    }
                }
            }
            if heard.elapsed() >= self.properties.timeout {
                let reason = format!("the topic '{}' cannot be read to its end", self.name);
                return Err(unreachable(self.properties.servers(), &reason));
            }
        }
    }

    /// Removes all before an offset.
    pub(super) fn cut(&self, offset: i64) -> Result<()> {
        let list = self.place(Offset::Offset(offset))?;
        let options = AdminOptions::new()
            .request_timeout(Some(self.properties.timeout))
            .operation_timeout(Some(self.properties.timeout));
        let cut = block_on(self.admin()?.delete_records(&list, &options));
        let cut = cut.map_err(|error| self.failed("cut off", &error))?;
        let partition = cut.find_partition(&self.name, PARTITION);
        partition
            .map_or(Ok(()), |partition| partition.error())
            .map_err(|error| self.failed("cut off", &error))
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        AdminClient::from_config(&self.properties.config(&[], &[]))
            .map_err(|error| Error::user("a Kafka client cannot be made").detail(error.to_string()))
    }

    fn is_there(&self) -> Result<bool> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(&self.name), self.properties.timeout)
            .map_err(|error| self.failed("found", &error))?;
        let topic = metadata.topics().first();
        match topic
            .and_then(|topic| topic.error())
            .map(RDKafkaErrorCode::from)
        {
            None => Ok(topic.is_some_and(|topic| !topic.partitions().is_empty())),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::LeaderNotAvailable,
            ) => Ok(false),
            Some(code) => Err(code_error(&self.what("found"), code, "")),
        }
    }

    fn place(&self, offset: Offset) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(1);
        let added = list.add_partition_offset(&self.name, PARTITION, offset);
        added
            .map(|()| list)
            .map_err(|error| Error::internal("an offset is no offset").detail(error.to_string()))
    }

    fn what(&self, done: &str) -> String {
        format!(
            "the topic '{}', which holds the job's progress, cannot be {done}",
            self.name
        )
    }

    fn failed(&self, done: &str, error: &KafkaError) -> Error {
        use RDKafkaErrorCode as C;
        match code(error) {
            C::BrokerTransportFailure | C::AllBrokersDown | C::OperationTimedOut | C::Resolve => {
                let reason = format!("{}: {error}", self.what(done));
                unreachable(self.properties.servers(), &reason)
            }
            code => code_error(&self.what(done), code, &error.to_string()),
        }
    }

    fn not_made(&self, code: RDKafkaErrorCode) -> Error {
        use RDKafkaErrorCode as C;
        let error = code_error(&self.what("made"), code, "");
        match code {
            C::ClusterAuthorizationFailed
            | C::TopicAuthorizationFailed
            | C::PolicyViolation
            | C::InvalidConfig
            | C::InvalidReplicationFactor
            | C::UnsupportedVersion => Error {
                kind: Kind::User,
                ..error
            }
            .hint("make it: one partition, cleanup.policy=delete, retention.ms=-1; or set 'sink.delivery-guarantee' to at-least-once"),
            _ => error,
        }
    }
}
