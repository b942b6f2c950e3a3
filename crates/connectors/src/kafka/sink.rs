//! Topics as a sink: each change is a record, at least once.
//!
//! ```text
//! write    delta -> key and value records -> librdkafka's queue   (full: waits for the brokers)
//! commit   waits until the brokers have acknowledged all of them
//! ```
//!
//! While brokers are away nothing is lost and nothing is given up: records stay in the queue, `commit` and at last
//! `write` say that it is to be tried again. A record that the brokers refuse for good is an error that ends the sink.

use super::client::{code_error, unreachable};
use super::properties::Properties;
use super::records::{Places, Recorder, Records};
use crate::clock;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::sink::{Sink, Writer};
use millstream_dataflow::{Changes, Delta, Error, Kind, Options, Result, Step};
use millstream_formats::EncodingFormat;
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long `write` waits for room in a full queue before it asks to be called again.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// How long a topic that is not there may take to be made by its being asked for.
const MADE_WITHIN: Duration = Duration::from_secs(2);

/// Deliveries are looked at each time so many records were produced.
const SERVE_EVERY: usize = 4096;

/// What a commit promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guarantee {
    /// All records are with the brokers.
    AtLeastOnce,
    /// Nothing.
    None,
}

/// Which partition a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Partitioner {
    /// By the hash of its key, as the Java client does; without a key, wherever a batch is being filled.
    Default,
    /// All to the first.
    Fixed,
    /// In turn.
    RoundRobin,
}

/// The options of a sink alone.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) guarantee: Guarantee,
    pub(super) partitioner: Partitioner,
}

impl Delivery {
    /// The options `sink.*`.
    pub(super) fn new(options: &mut Options) -> Result<Self> {
        let guarantee = options.word(
            "sink.delivery-guarantee",
            &["at-least-once", "none", "exactly-once"],
        )?;
        let _: Option<u32> = options.parse("sink.parallelism")?;
        let _ = options.text("sink.transactional-id-prefix");
        // Flink's buffers: here the producer has its own (`properties.linger.ms`).
        let _: Option<u64> = options.parse("sink.buffer-flush.max-rows")?;
        let _ = options.duration("sink.buffer-flush.interval")?;
        let partitioner = match options.text("sink.partitioner").as_deref() {
            None | Some("default") => Partitioner::Default,
            Some("fixed") => Partitioner::Fixed,
            Some("round-robin") => Partitioner::RoundRobin,
            Some(other) => {
                return Err(options.invalid(
                    "sink.partitioner",
                    other,
                    "default, fixed or round-robin (Java classes cannot be loaded)",
                ));
            }
        };
        let guarantee = match guarantee.as_str() {
            "none" => Guarantee::None,
            "at-least-once" => Guarantee::AtLeastOnce,
            _ => {
                return Err(Error::user(format!(
                    "table `{}`: 'sink.delivery-guarantee' = 'exactly-once' is not supported yet",
                    options.owner()
                ))
                .hint("use 'at-least-once'; consumers can drop duplicates by the key of 'upsert-kafka'"));
            }
        };
        Ok(Self {
            guarantee,
            partitioner,
        })
    }
}

/// A topic as a sink.
#[derive(Debug)]
pub(super) struct KafkaSink {
    pub(super) topic: String,
    pub(super) properties: Properties,
    pub(super) delivery: Delivery,
    pub(super) value: Arc<dyn EncodingFormat>,
    pub(super) key: Option<Arc<dyn EncodingFormat>>,
    /// The key's columns under the names that they have there.
    pub(super) key_schema: SchemaRef,
    pub(super) places: Places,
    pub(super) upsert: bool,
}

impl fmt::Display for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connector = if self.upsert { "upsert-kafka" } else { "kafka" };
        write!(f, "{connector} {} ({})", self.topic, self.value)
    }
}

impl KafkaSink {
    fn producer(&self) -> Result<BaseProducer<Deliveries>> {
        let mut defaults = vec![
            ("enable.idempotence", "true"),
            ("partitioner", "murmur2_random"),
            ("delivery.report.only.error", "true"),
            // Of records that wait for their brokers; librdkafka would let a gigabyte gather.
            ("queue.buffering.max.kbytes", "65536"),
        ];
        if self.delivery.guarantee == Guarantee::AtLeastOnce {
            // Records wait for their brokers as long as it takes: giving them up would lose them.
            defaults.push(("message.timeout.ms", "0"));
        }
        let config = self.properties.config(&defaults, &[]);
        BaseProducer::from_config_and_context(&config, Deliveries::default()).map_err(|error| {
            Error::user("a Kafka producer cannot be made").detail(error.to_string())
        })
    }
}

impl KafkaSink {
    /// How many partitions the topic has. Brokers that make topics when they are first asked for need a moment.
    fn partitions(&self, producer: &BaseProducer<Deliveries>) -> Result<i32> {
        let what = format!("the topic '{}' cannot be written", self.topic);
        let began = clock::now();
        loop {
            let metadata = producer
                .client()
                .fetch_metadata(Some(&self.topic), self.properties.timeout)
                .map_err(|error| match error.rdkafka_error_code() {
                    Some(
                        code @ (RDKafkaErrorCode::Authentication | RDKafkaErrorCode::InvalidTopic),
                    ) => code_error(&what, code, &error.to_string()),
                    _ => unreachable(self.properties.servers(), &format!("{what}: {error}")),
                })?;
            let topic = metadata.topics().first();
            let partitions = topic.map_or(0, |topic| topic.partitions().len() as i32);
            let code = match topic.and_then(|topic| topic.error()) {
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
}

impl Sink for KafkaSink {
    fn changes(&self) -> Changes {
        match self.upsert {
            true => Changes::Upsert(self.places.key.clone()),
            false => self.value.changes(),
        }
    }

    fn open(&self) -> Result<Box<dyn Writer>> {
        let producer = self.producer()?;
        let partitions = self.partitions(&producer)?;
        Ok(Box::new(KafkaWriter {
            topic: self.topic.clone(),
            servers: self.properties.servers().to_owned(),
            timeout: self.properties.timeout,
            delivery: self.delivery.clone(),
            recorder: Recorder {
                value: self.value.open(),
                key: self.key.as_ref().map(|key| key.open()),
                key_schema: Arc::clone(&self.key_schema),
                places: self.places.clone(),
                upsert: self.upsert,
            },
            partitions,
            turn: 0,
            done: 0,
            producer,
        }))
    }
}

/// Hears what became of records.
#[derive(Debug, Default)]
struct Deliveries {
    failed: Mutex<Option<(RDKafkaErrorCode, String, u64)>>,
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
        let code = error
            .rdkafka_error_code()
            .unwrap_or(RDKafkaErrorCode::Unknown);
        let size = message.payload().map_or(0, <[u8]>::len);
        let first = || (code, format!("{error}; the first was of {size} bytes"), 0);
        failed.get_or_insert_with(first).2 += 1;
    }
}

/// Produces the records of a job.
struct KafkaWriter {
    topic: String,
    servers: String,
    timeout: Duration,
    delivery: Delivery,
    recorder: Recorder,
    partitions: i32,
    turn: i32,
    /// How many records of the delta that is to be given again are in the queue already.
    done: usize,
    producer: BaseProducer<Deliveries>,
}

impl Writer for KafkaWriter {
    fn write(&mut self, _: Step, delta: &Delta) -> Result<()> {
        let records = self.recorder.encode(delta)?;
        while self.done < records.count() {
            let room = self.send(&records, self.done)?;
            if !room {
                return Err(unreachable(
                    &self.servers,
                    &format!("the queue of records for '{}' is full", self.topic),
                ));
            }
            self.done += 1;
            if self.done.is_multiple_of(SERVE_EVERY) {
                self.producer.poll(Duration::ZERO);
            }
        }
        self.done = 0;
        self.producer.poll(Duration::ZERO);
        self.check()
    }

    fn commit(&mut self, _: Step) -> Result<()> {
        match self.delivery.guarantee {
            Guarantee::None => self.producer.poll(Duration::ZERO),
            Guarantee::AtLeastOnce => self.flush()?,
        }
        self.check()
    }

    fn finish(&mut self, _: Step) -> Result<()> {
        self.flush()?;
        self.check()
    }
}

impl KafkaWriter {
    fn flush(&self) -> Result<()> {
        self.producer.flush(self.timeout).map_err(|error| {
            let waiting = self.producer.in_flight_count();
            unreachable(
                &self.servers,
                &format!(
                    "{waiting} records for '{}' are not acknowledged: {error}",
                    self.topic
                ),
            )
        })
    }

    /// Fails if the brokers refused records for good.
    fn check(&self) -> Result<()> {
        let mut failed = self
            .producer
            .context()
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some((code, text, count)) = failed.take() else {
            return Ok(());
        };
        let what = format!("{count} records could not be written to '{}'", self.topic);
        let error = code_error(&what, code, &text);
        if self.delivery.guarantee == Guarantee::None {
            tracing::warn!(topic = self.topic, %error, "records were lost");
            return Ok(());
        }
        // They are no longer at hand to be tried again.
        Err(match error.kind {
            Kind::Retryable => Error {
                kind: Kind::Internal,
                ..error
            },
            Kind::User | Kind::BadData | Kind::Internal | Kind::Fenced => error,
        })
    }

    /// Puts a record into the queue; `false` if there was no room for a long time.
    fn send(&mut self, records: &Records, idx: usize) -> Result<bool> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic);
        record.key = records.key(idx);
        record.payload = records.value(idx);
        record.timestamp = records.timestamp(idx);
        record.headers = records.headers(idx);
        record.partition = match self.delivery.partitioner {
            Partitioner::Default => None,
            Partitioner::Fixed => Some(0),
            Partitioner::RoundRobin => Some(self.turn),
        };
        let began = clock::now();
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.turn = (self.turn + 1) % self.partitions;
                    return Ok(true);
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if began.elapsed() > ROOM_WAIT {
                        return Ok(false);
                    }
                    self.producer.poll(Duration::from_millis(20));
                    record = back;
                }
                Err((error, _)) => {
                    let what = format!("a record cannot be written to '{}'", self.topic);
                    let code = error
                        .rdkafka_error_code()
                        .unwrap_or(RDKafkaErrorCode::Unknown);
                    return Err(code_error(&what, code, &error.to_string()));
                }
            }
        }
    }
}
