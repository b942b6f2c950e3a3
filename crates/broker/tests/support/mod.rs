//! What the tests share: a broker to test, and small clients.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use millstream_broker::{Broker, Config};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer, future_producer::Delivery},
};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The broker to test; without it, one is started within the test.
pub(crate) const BOOTSTRAP: &str = "KAFKA_BOOTSTRAP_SERVERS";

/// The address of the broker under test.
pub(crate) fn bootstrap() -> String {
    static EMBEDDED: OnceLock<Broker> = OnceLock::new();
    std::env::var(BOOTSTRAP).unwrap_or_else(|_| {
        let start = || {
            // Statics are not dropped, so a temporary folder would stay; this one goes at the next run.
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
            std::fs::remove_dir_all(&dir).ok();
            let dir = Some(dir);
            Broker::start_blocking(Config {
                dir,
                ..Config::default()
            })
            .unwrap()
        };
        EMBEDDED.get_or_init(start).bootstrap_servers()
    })
}

/// Waits for a future without a runtime.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// A name that no other test or run uses.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let at = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    format!(
        "{what}-{at}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}

pub(crate) fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("broker.address.family", "v4");
    config
}

pub(crate) fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    client(bootstrap).create().unwrap()
}

pub(crate) fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

/// Makes a topic and gives its name.
pub(crate) fn topic(bootstrap: &str, what: &str, partitions: i32) -> String {
    topic_with(bootstrap, what, partitions, &[])
}

/// Makes a topic with settings and gives its name.
pub(crate) fn topic_with(
    bootstrap: &str,
    what: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> String {
    let name = unique(what);
    let mut new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let admin = admin(bootstrap);
    let made = wait(admin.create_topics([&new], &options())).unwrap();
    assert_eq!(made, [Ok(name.clone())]);
    eventually("the topic is known", || {
        let metadata = admin.inner().fetch_metadata(Some(&name), PATIENCE).unwrap();
        let topic = &metadata.topics()[0];
        topic.error().is_none() && topic.partitions().len() == partitions as usize
    });
    name
}

/// Asks until it is so. A cluster tells what it did a little later than it did it.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(std::time::Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn producer(bootstrap: &str, settings: &[(&str, &str)]) -> FutureProducer {
    let mut config = client(bootstrap);
    config
        .set("linger.ms", "0")
        .set("message.timeout.ms", "20000");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

/// A producer with a transactional id that has fenced all others of that id.
pub(crate) fn transactional(
    bootstrap: &str,
    id: &str,
    settings: &[(&str, &str)],
) -> FutureProducer {
    let mut all = vec![("transactional.id", id)];
    all.extend_from_slice(settings);
    let producer = producer(bootstrap, &all);
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

/// Sends one record and waits for its place.
pub(crate) fn send(
    producer: &FutureProducer,
    topic: &str,
    partition: i32,
    value: &str,
) -> Result<Delivery, KafkaError> {
    let record = FutureRecord::<str, str>::to(topic)
        .partition(partition)
        .payload(value);
    let sent = producer.send_result(record).map_err(|(error, _)| error)?;
    wait(sent).unwrap().map_err(|(error, _)| error)
}

/// Sends records together and waits for all; gives their offsets.
pub(crate) fn send_all(
    producer: &FutureProducer,
    topic: &str,
    partition: i32,
    values: &[String],
) -> Vec<i64> {
    let sent: Vec<_> = values
        .iter()
        .map(|value| {
            let record = FutureRecord::<str, str>::to(topic)
                .partition(partition)
                .payload(value);
            producer
                .send_result(record)
                .map_err(|(error, _)| error)
                .unwrap()
        })
        .collect();
    sent.into_iter()
        .map(|one| wait(one).unwrap().unwrap().offset)
        .collect()
}

pub(crate) fn header<'a>(key: &'a str, value: Option<&'a str>) -> OwnedHeaders {
    OwnedHeaders::new().insert(Header { key, value })
}

pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("value {number}")).collect()
}

/// A consumer outside of any group.
pub(crate) fn reader(bootstrap: &str, committed: bool, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = client(bootstrap);
    config
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "100")
        .set(
            "isolation.level",
            if committed {
                "read_committed"
            } else {
                "read_uncommitted"
            },
        );
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

pub(crate) fn assign(consumer: &BaseConsumer, topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))
        .unwrap();
    consumer.assign(&list).unwrap();
}

/// All values from an offset to the end of what may be read, with their offsets.
pub(crate) fn read_from(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    offset: i64,
    committed: bool,
) -> Vec<(i64, String)> {
    let consumer = reader(bootstrap, committed, &[]);
    assign(&consumer, topic, partition, offset);
    let mut all = Vec::new();
    loop {
        match consumer.poll(PATIENCE).expect("nothing arrived in time") {
            Ok(message) => {
                let value =
                    String::from_utf8(message.payload().unwrap_or_default().to_vec()).unwrap();
                all.push((message.offset(), value));
            }
            Err(KafkaError::PartitionEOF(_)) => return all,
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// All values of a partition.
pub(crate) fn read(bootstrap: &str, topic: &str, partition: i32, committed: bool) -> Vec<String> {
    read_from(bootstrap, topic, partition, 0, committed)
        .into_iter()
        .map(|(_, value)| value)
        .collect()
}

/// The first and the next offset, as the broker tells them.
pub(crate) fn watermarks(bootstrap: &str, topic: &str, partition: i32) -> (i64, i64) {
    reader(bootstrap, false, &[])
        .fetch_watermarks(topic, partition, PATIENCE)
        .unwrap()
}
