//! Producers of records: how they are made, what they hear of their records, and topics as they write to them.

use super::client::{code_error, unreachable};
use super::properties::Properties;
use super::records::{Recorder, Records};
use super::sink::{KafkaSink, Partitioner};
use crate::clock;
use millstream_dataflow::{Delta, Error, Result};
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a record waits for room in a full queue before the brokers count as away.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// How long a topic that is not there may take to be made by its being asked for.
const MADE_WITHIN: Duration = Duration::from_secs(2);

/// Deliveries are looked at each time so many records were produced.
const SERVE_EVERY: usize = 4096;

/// Makes a producer. It connects when it is first asked.
pub(super) fn make(
    properties: &Properties,
    defaults: &[(&str, &str)],
    fixed: &[(&str, &str)],
) -> Result<BaseProducer<Deliveries>> {
    let common = [
        ("enable.idempotence", "true"),
        ("partitioner", "murmur2_random"),
        // Of records that wait for their brokers; librdkafka would let a gigabyte gather.
        ("queue.buffering.max.kbytes", "65536"),
    ];
    let fixed = [&[("delivery.report.only.error", "true")], fixed].concat();
    let config = properties.config(&[&common, defaults].concat(), &fixed);
    BaseProducer::from_config_and_context(&config, Deliveries::default())
        .map_err(|error| Error::user("a Kafka producer cannot be made").detail(error.to_string()))
}

/// Hears what became of records.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    failed: Mutex<Option<Failed>>,
}

/// Records that were given up.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why the first was.
    pub(super) code: RDKafkaErrorCode,
    /// The same in words.
    pub(super) text: String,
    pub(super) count: u64,
}

impl Deliveries {
    /// What was given up since this was asked last.
    pub(super) fn take_failed(&self) -> Option<Failed> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::client::log(level, facility, message);
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else {
            return;
        };
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let first = || Failed {
            code: code(error),
            text: format!(
                "{error}; the first was of {} bytes",
                message.payload().map_or(0, <[u8]>::len)
            ),
            count: 0,
        };
        failed.get_or_insert_with(first).count += 1;
    }
}

/// The code of an error.
pub(super) fn code(error: &KafkaError) -> RDKafkaErrorCode {
    match error {
        KafkaError::Transaction(error) => error.code(),
        _ => error
            .rdkafka_error_code()
            .unwrap_or(RDKafkaErrorCode::Unknown),
    }
}

/// A topic as a producer writes to it.
pub(super) struct Outlet {
    pub(super) topic: String,
    recorder: Recorder,
    partitioner: Partitioner,
    partitions: i32,
    turn: i32,
}

impl Outlet {
    /// Makes sure that the topic is there.
    pub(super) fn new(sink: &KafkaSink, producer: &BaseProducer<Deliveries>) -> Result<Self> {
        Ok(Self {
            topic: sink.topic.clone(),
            recorder: Recorder {
                value: sink.value.open(),
                key: sink.key.as_ref().map(|key| key.open()),
                key_schema: Arc::clone(&sink.key_schema),
                places: sink.places.clone(),
                upsert: sink.upsert,
            },
            partitioner: sink.options.partitioner,
            partitions: partitions(&sink.topic, &sink.properties, producer)?,
            turn: 0,
        })
    }

    /// The records of a delta.
    pub(super) fn encode(&mut self, delta: &Delta) -> Result<Records> {
        self.recorder.encode(delta)
    }

    /// Puts records into the producer's queue, from the one with number `done` on, which is counted up; stops where there
    /// was no room for a long time.
    pub(super) fn send(
        &mut self,
        producer: &BaseProducer<Deliveries>,
        records: &Records,
        done: &mut usize,
    ) -> Result<(), KafkaError> {
        while *done < records.count() {
            self.send_one(producer, records, *done)?;
            *done += 1;
            if done.is_multiple_of(SERVE_EVERY) {
                producer.poll(Duration::ZERO);
            }
        }
        producer.poll(Duration::ZERO);
        Ok(())
    }

    fn send_one(
        &mut self,
        producer: &BaseProducer<Deliveries>,
        records: &Records,
        idx: usize,
    ) -> Result<(), KafkaError> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic);
        record.key = records.key(idx);
        record.payload = records.value(idx);
        record.timestamp = records.timestamp(idx);
        record.headers = records.headers(idx);
        record.partition = match self.partitioner {
            Partitioner::Default => None,
            Partitioner::Fixed => Some(0),
            Partitioner::RoundRobin => Some(self.turn),
        };
        enqueue(producer, record)?;
        self.turn = (self.turn + 1) % self.partitions;
        Ok(())
    }
}

/// Puts a record into the producer's queue, waiting for room.
pub(super) fn enqueue(
    producer: &BaseProducer<Deliveries>,
    mut record: BaseRecord<'_, [u8], [u8]>,
) -> Result<(), KafkaError> {
    let began = clock::now();
    loop {
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, back)) if error == full && began.elapsed() < ROOM_WAIT => {
                producer.poll(Duration::from_millis(20));
                record = back;
            }
            Err((error, _)) => return Err(error),
        }
    }
}

/// How many partitions a topic has. Brokers that make topics when they are first asked for need a moment.
fn partitions(
    topic: &str,
    properties: &Properties,
    producer: &BaseProducer<Deliveries>,
) -> Result<i32> {
    let what = format!("the topic '{topic}' cannot be written");
    let began = clock::now();
    loop {
        let metadata = producer
            .client()
            .fetch_metadata(Some(topic), properties.timeout)
            .map_err(|error| match error.rdkafka_error_code() {
                Some(
                    code @ (RDKafkaErrorCode::Authentication | RDKafkaErrorCode::InvalidTopic),
                ) => code_error(&what, code, &error.to_string()),
                _ => unreachable(properties.servers(), &format!("{what}: {error}")),
            })?;
        let found = metadata.topics().first();
        let partitions = found.map_or(0, |topic| topic.partitions().len() as i32);
        let code = match found.and_then(|topic| topic.error()) {
            None if partitions > 0 => return Ok(partitions),
            None => RDKafkaErrorCode::UnknownTopicOrPartition,
            Some(error) => error.into(),
        };
        let may_be_made = matches!(
            code,
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable
        );
        if !may_be_made || began.elapsed() >= MADE_WITHIN {
            return Err(code_error(&what, code, ""));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
