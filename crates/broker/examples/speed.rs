//! How fast the broker is, with librdkafka in the same process:
//! `cargo run --release -p millstream-broker --example speed [-- --bootstrap HOST:PORT]`.
//!
//! Throughput of small records through one partition, in and out, and the time from produce to poll.
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::{
    io::Write,
    time::{Duration, Instant},
};

use clap::Parser;
use millstream_broker::{Broker, Config};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Measures a broker.
#[derive(Parser)]
struct Arguments {
    /// The broker to measure; without it, one is started within.
    #[arg(long)]
    bootstrap: Option<String>,
    /// Records for the throughput.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// Bytes in each.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Round trips for the latency.
    #[arg(long, default_value_t = 5_000)]
    trips: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let embedded = match arguments.bootstrap {
        Some(_) => None,
        None => Some(Broker::start_blocking(Config::default())?),
    };
    let bootstrap = match (&arguments.bootstrap, &embedded) {
        (Some(bootstrap), _) => bootstrap.clone(),
        (None, broker) => broker
            .as_ref()
            .map(Broker::bootstrap_servers)
            .unwrap_or_default(),
    };
    let mut out = std::io::stdout();
    let topic = format!("speed-{}", std::process::id());
    let sent = produce(&bootstrap, &topic, &arguments)?;
    let rate = |elapsed: Duration| arguments.records as f64 / elapsed.as_secs_f64();
    writeln!(out, "produce {:>10.0} records/s", rate(sent))?;
    let read = consume(&bootstrap, &topic, arguments.records)?;
    writeln!(out, "consume {:>10.0} records/s", rate(read))?;
    let commits = transactions(&bootstrap, &format!("{topic}-commits"), arguments.trips / 5)?;
    let at = |part: f64| percentile(&commits, part);
    writeln!(
        out,
        "transaction of one record: p50 {:.0} us, p99 {:.0} us",
        at(0.5),
        at(0.99)
    )?;
    let trips = round_trips(&bootstrap, &format!("{topic}-trips"), arguments.trips)?;
    let at = |part: f64| percentile(&trips, part);
    writeln!(
        out,
        "produce to poll: p50 {:.0} us, p99 {:.0} us, max {:.0} us",
        at(0.5),
        at(0.99),
        at(1.0)
    )?;
    Ok(())
}

/// Microseconds below which this part of the durations is.
fn percentile(durations: &[Duration], part: f64) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted[((sorted.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6
}

/// From the begin of a transaction to the answer to its commit.
fn transactions(bootstrap: &str, topic: &str, count: usize) -> Result<Vec<Duration>, KafkaError> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", topic)
        .set("linger.ms", "0")
        .create()?;
    producer.init_transactions(PATIENCE)?;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        producer.begin_transaction()?;
        producer
            .send(BaseRecord::<(), str>::to(topic).partition(0).payload("x"))
            .map_err(|(error, _)| error)?;
        // The client's own flush sleeps for 100 ms at a time.
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::ZERO);
        }
        producer.commit_transaction(PATIENCE)?;
        all.push(begin.elapsed());
    }
    Ok(all)
}

fn producer(bootstrap: &str, linger_ms: &str) -> Result<BaseProducer, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", linger_ms)
        .set("queue.buffering.max.messages", "1000000")
        .create()
}

fn consumer(bootstrap: &str, topic: &str, offset: Offset) -> Result<BaseConsumer, KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "speed")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "500")
        // Otherwise the client stops for a second whenever it holds 100,000 records.
        .set("queued.min.messages", "1000000")
        .set("fetch.queue.backoff.ms", "1")
        .create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, offset)?;
    consumer.assign(&list)?;
    Ok(consumer)
}

fn produce(bootstrap: &str, topic: &str, arguments: &Arguments) -> Result<Duration, KafkaError> {
    let producer = producer(bootstrap, "5")?;
    let payload = vec![b'x'; arguments.bytes];
    let begin = Instant::now();
    for _ in 0..arguments.records {
        let mut record = BaseRecord::<(), [u8]>::to(topic)
            .partition(0)
            .payload(&payload);
        while let Err((error, again)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error);
            }
            producer.poll(Duration::from_millis(5));
            record = again;
        }
    }
    producer.flush(PATIENCE)?;
    Ok(begin.elapsed())
}

fn consume(bootstrap: &str, topic: &str, records: u64) -> Result<Duration, KafkaError> {
    let consumer = consumer(bootstrap, topic, Offset::Beginning)?;
    let begin = Instant::now();
    let mut count = 0;
    while count < records {
        if let Some(message) = consumer.poll(PATIENCE) {
            message?;
            count += 1;
        }
    }
    Ok(begin.elapsed())
}

fn round_trips(bootstrap: &str, topic: &str, trips: usize) -> Result<Vec<Duration>, KafkaError> {
    let producer = producer(bootstrap, "0")?;
    producer
        .send(
            BaseRecord::<(), str>::to(topic)
                .partition(0)
                .payload("first"),
        )
        .map_err(|(error, _)| error)?;
    producer.flush(PATIENCE)?;
    let consumer = consumer(bootstrap, topic, Offset::Beginning)?;
    let mut all = Vec::with_capacity(trips);
    while consumer.poll(PATIENCE).is_none() {}
    for trip in 0..trips {
        let payload = trip.to_string();
        let begin = Instant::now();
        producer
            .send(
                BaseRecord::<(), str>::to(topic)
                    .partition(0)
                    .payload(&payload),
            )
            .map_err(|(error, _)| error)?;
        loop {
            producer.poll(Duration::ZERO);
            if let Some(message) = consumer.poll(PATIENCE)
                && message?.payload() == Some(payload.as_bytes())
            {
                break;
            }
        }
        all.push(begin.elapsed());
    }
    Ok(all)
}
