//! Writing to topics.

use crate::Result;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Writes records to one topic.
pub(crate) struct Writer {
    producer: BaseProducer,
    topic: String,
}

impl Writer {
    /// A writer that waits so long for more records before it sends.
    pub(crate) fn new(bootstrap_servers: &str, topic: &str, linger_ms: u32) -> Result<Self> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("linger.ms", linger_ms.to_string())
            .set("acks", "all")
            .set("queue.buffering.max.messages", "200000")
            .create()?;
        // The broker makes a topic when it is asked for.
        producer.client().fetch_metadata(Some(topic), PATIENCE)?;
        Ok(Self {
            producer,
            topic: topic.to_owned(),
        })
    }

    /// Writes a record; waits when too many are on their way.
    pub(crate) fn send(&self, partition: i32, value: &[u8]) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic)
            .partition(partition)
            .payload(value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Takes delivery reports, so that they don't pile up.
    pub(crate) fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until all is written.
    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.producer.flush(PATIENCE)?)
    }
}
