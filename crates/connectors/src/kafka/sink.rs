//! Topics as a sink: each change is a record.
//!
//! ```text
//! exactly once   the job's transactions write (system, transactions); without checkpoints: at least once
//! at least once  write    delta -> key and value records -> librdkafka's queue   (full: waits for the brokers)
//!                commit   waits until the brokers have acknowledged all of them
//! ```
//!
//! At least once: while brokers are away nothing is lost and nothing is given up; records stay in the queue, `commit` and
//! at last `write` say that it is to be tried again. A record that the brokers refuse for good ends the sink.

use super::client::{code_error, unreachable};
use super::drain::drain;
use super::producer::{self, Deliveries, Outlet};
use super::properties::Properties;
use super::records::Places;
use super::system::KafkaSystem;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::sink::{Delivery, Sink, Writer};
use millstream_dataflow::{Changes, Delta, Error, Kind, Options, Result, Step};
use millstream_formats::EncodingFormat;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a commit promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guarantee {
    /// All records are with the brokers, and seen once by those who read what is committed.
    ExactlyOnce,
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
pub(super) struct SinkOptions {
    pub(super) guarantee: Guarantee,
    pub(super) partitioner: Partitioner,
    /// Comes before the name of the job in the name of its transactions.
    pub(super) prefix: Option<String>,
}

impl SinkOptions {
    /// The options `sink.*`.
    pub(super) fn new(options: &mut Options) -> Result<Self> {
        let guarantee = options.word(
            "sink.delivery-guarantee",
            &["exactly-once", "at-least-once", "none"],
        )?;
        let _: Option<u32> = options.parse("sink.parallelism")?;
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
        Ok(Self {
            guarantee: match guarantee.as_str() {
                "none" => Guarantee::None,
                "at-least-once" => Guarantee::AtLeastOnce,
                _ => Guarantee::ExactlyOnce,
            },
            partitioner,
            prefix: options.text("sink.transactional-id-prefix"),
        })
    }
}

/// A topic as a sink.
#[derive(Debug)]
pub(super) struct KafkaSink {
    pub(super) topic: String,
    pub(super) properties: Properties,
    pub(super) options: SinkOptions,
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

impl Sink for KafkaSink {
    fn changes(&self) -> Changes {
        match self.upsert {
            true => Changes::Upsert(self.places.key.clone()),
            false => self.value.changes(),
        }
    }

    fn open(&self) -> Result<Box<dyn Writer>> {
        let defaults: &[_] = match self.options.guarantee {
            // Records wait for their brokers as long as it takes: giving them up would lose them.
            Guarantee::ExactlyOnce | Guarantee::AtLeastOnce => &[("message.timeout.ms", "0")],
            Guarantee::None => &[],
        };
        let producer = producer::make(&self.properties, defaults, &[])?;
        Ok(Box::new(KafkaWriter {
            servers: self.properties.servers().to_owned(),
            timeout: self.properties.timeout,
            guarantee: self.options.guarantee,
            outlet: Outlet::new(self, &producer)?,
            done: 0,
            producer,
        }))
    }

    fn delivery(&self) -> Delivery {
        match self.options.guarantee {
            Guarantee::ExactlyOnce => Delivery::Transaction(Arc::new(KafkaSystem::new(
                &self.properties,
                self.options.prefix.as_deref(),
            ))),
            Guarantee::AtLeastOnce | Guarantee::None => Delivery::AtLeastOnce,
        }
    }
}

/// Produces the records of a job.
struct KafkaWriter {
    servers: String,
    timeout: Duration,
    guarantee: Guarantee,
    outlet: Outlet,
    /// How many records of the delta that is to be given again are in the queue already.
    done: usize,
    producer: BaseProducer<Deliveries>,
}

impl Writer for KafkaWriter {
    fn write(&mut self, _: Step, delta: &Delta) -> Result<()> {
        let records = self.outlet.encode(delta)?;
        let sent = self.outlet.send(&self.producer, &records, &mut self.done);
        sent.map_err(|error| self.not_sent(&error))?;
        self.done = 0;
        self.check()
    }

    fn commit(&mut self, _: Step) -> Result<()> {
        match self.guarantee {
            Guarantee::None => self.producer.poll(Duration::ZERO),
            Guarantee::ExactlyOnce | Guarantee::AtLeastOnce => self.flush()?,
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
        if drain(&self.producer, self.timeout) {
            return Ok(());
        }
        let waiting = self.producer.in_flight_count();
        let topic = &self.outlet.topic;
        let reason = format!("{waiting} records for '{topic}' are not acknowledged");
        Err(unreachable(&self.servers, &reason))
    }

    fn not_sent(&self, error: &KafkaError) -> Error {
        let topic = &self.outlet.topic;
        match producer::code(error) {
            RDKafkaErrorCode::QueueFull => {
                let reason = format!("the queue of records for '{topic}' is full");
                unreachable(&self.servers, &reason)
            }
            code => {
                let what = format!("a record cannot be written to '{topic}'");
                code_error(&what, code, &error.to_string())
            }
        }
    }

    /// Fails if the brokers refused records for good.
    fn check(&self) -> Result<()> {
        let Some(failed) = self.producer.context().take_failed() else {
            return Ok(());
        };
        let topic = &self.outlet.topic;
        let what = format!("{} records could not be written to '{topic}'", failed.count);
        let error = code_error(&what, failed.code, &failed.text);
        if self.guarantee == Guarantee::None {
            tracing::warn!(topic, %error, "records were lost");
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
}
