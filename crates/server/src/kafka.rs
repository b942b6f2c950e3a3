//! The embedded broker as commands use it: started, told of, written to.

use millstream_broker::{Broker, Config};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Starts a broker; when the address is taken, on one of the next.
pub(crate) fn start_broker(
    listen: SocketAddr,
    tries: u16,
    dir: Option<&Path>,
    partitions: i32,
) -> Result<Broker, String> {
    let mut next = listen;
    loop {
        match Broker::start_blocking(Config {
            listen: next,
            dir: dir.map(Path::to_path_buf),
            default_partitions: partitions,
            ..Config::default()
        }) {
            Ok(broker) => return Ok(broker),
            Err(millstream_broker::Error::Listen { source, .. })
                if source.kind() == std::io::ErrorKind::AddrInUse
                    && next.port() != 0
                    && next.port() < listen.port().saturating_add(tries) =>
            {
                next.set_port(next.port() + 1);
            }
            Err(error) => return Err(format!("can't start the embedded broker: {error}")),
        }
    }
}

/// The topics that tables of a pipeline name. A new embedded broker has none of them, and nobody else to create them.
pub(crate) fn declared_topics(text: &str) -> Vec<String> {
    // What can't be parsed is told by who runs it.
    let statements = millstream_sql::parse(text).unwrap_or_default();
    let mut topics = Vec::new();
    for statement in &statements {
        let millstream_sql::Statement::CreateTable(create) = &statement.node else {
            continue;
        };
        let option = |key: &str| {
            create
                .options
                .iter()
                .find(|option| option.key.node == key)
                .map(|option| option.value.node.as_str())
        };
        let is_here = matches!(option("connector"), Some("kafka" | "upsert-kafka"))
            && option("properties.bootstrap.servers").is_none();
        if let (true, Some(names)) = (is_here, option("topic")) {
            topics.extend(names.split(';').map(|name| name.trim().to_owned()));
        }
    }
    topics
}

/// Writes records to topics.
pub(crate) struct Records {
    producer: BaseProducer,
}

impl Records {
    /// A writer to brokers.
    pub(crate) fn new(bootstrap_servers: &str) -> Result<Self, String> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap_servers)
            .set("linger.ms", "2")
            .set("acks", "all")
            .set("queue.buffering.max.messages", "100000");
        config
            .create()
            .map(|producer| Self { producer })
            .map_err(|error| format!("can't write to {bootstrap_servers}: {error}"))
    }

    /// Makes sure that a topic is there.
    pub(crate) fn create_topic(&self, topic: &str) -> Result<(), String> {
        let found = self
            .producer
            .client()
            .fetch_metadata(Some(topic), Duration::from_secs(10));
        found
            .map(drop)
            .map_err(|error| format!("can't create the topic {topic}: {error}"))
    }

    /// Writes a record; waits when too many are on their way.
    pub(crate) fn send(&self, topic: &str, key: &str, value: &str) -> Result<(), String> {
        let mut record = BaseRecord::to(topic).key(key).payload(value);
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.producer.poll(Duration::ZERO);
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(format!("can't write to {topic}: {error}")),
            }
        }
    }

    /// Waits until all is written.
    pub(crate) fn flush(&self) -> Result<(), String> {
        self.producer
            .flush(Duration::from_secs(60))
            .map_err(|error| format!("can't write to the broker: {error}"))
    }
}
