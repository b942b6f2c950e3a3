//! `decision`: from a produced row to the committed record that follows from it, as a `read_committed` consumer of another
//! topic sees it, while the job keeps checkpoints and commits every 10 ms.

use crate::latency::{movement, percentile, send_load};
use crate::topic::Writer;
use crate::{Result, say};
use millstream_broker::Broker;
use millstream_engine::{Config, Engine, render};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::{Duration, Instant};

const PIPELINE: &str = "
SET 'sink.commit-interval' = '10 ms';
CREATE TABLE movements (sku BIGINT, quantity BIGINT, ts TIMESTAMP(3))
WITH ('connector' = 'kafka', 'topic' = 'movements', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE decisions (sku BIGINT, on_hand BIGINT, PRIMARY KEY (sku) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'decisions', 'key.format' = 'raw', 'value.format' = 'json', 'sink.partitioner' = 'fixed');
INSERT INTO decisions SELECT sku, SUM(quantity) AS on_hand FROM movements GROUP BY sku;
";

/// How long a probe may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Decision {
    /// A running Kafka (default: an embedded broker)
    #[arg(long)]
    bootstrap: Option<String>,
    /// Rows a second
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Probes
    #[arg(long, default_value_t = 500)]
    probes: u64,
    /// Seconds of load before the first probe
    #[arg(long, default_value_t = 5)]
    warm_up_s: u64,
    /// Threads that run steps
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Where checkpoints are kept
    #[arg(long)]
    state: String,
}

impl Decision {
    pub(crate) fn run(&self) -> Result<()> {
        let broker = match &self.bootstrap {
            Some(_) => None,
            None => Some(Broker::start_blocking(millstream_broker::Config::default())?),
        };
        let embedded = broker.as_ref().map(Broker::bootstrap_servers);
        let servers = self.bootstrap.clone().or(embedded).unwrap_or_default();
        let load = Writer::new(&servers, "movements", 5)?;
        let reader = reader(&servers)?;
        let engine = Engine::new(Config {
            workers: self.workers,
            checkpoints: Some(self.state.clone()),
            ..Config::default()
        });
        engine
            .set("kafka.bootstrap.servers", &servers)
            .map_err(|error| error.to_string())?;
        engine
            .run(PIPELINE)
            .map_err(|error| render(&error, PIPELINE, "decision"))?;
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let measured = thread::scope(|scope| {
            let (rate, load, stop, sent) = (self.rate, &load, &stop, &sent);
            let loading =
                scope.spawn(move || send_load(load, rate, stop, sent).map_err(|e| e.to_string()));
            let probed = self.probe(&servers, &reader);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            loading.join().map_err(|_| "the load has panicked")??;
            probed
        });
        let measured = measured?;
        engine.stop();
        say(&measured)
    }

    fn probe(&self, servers: &str, reader: &BaseConsumer) -> Result<String> {
        let writer = Writer::new(servers, "movements", 0)?;
        let warm = Instant::now();
        while warm.elapsed() < Duration::from_secs(self.warm_up_s) {
            // The reader stays where the topic ends.
            drop(reader.poll(Duration::from_millis(1)));
        }
        let mut seen = Vec::new();
        for probe in 1..=self.probes {
            let pause = Instant::now();
            while pause.elapsed() < Duration::from_micros(probe.wrapping_mul(7919) % 20_000) {
                drop(reader.poll(Duration::from_millis(1)));
            }
            let key = (-probe.cast_signed()).to_be_bytes();
            let start = Instant::now();
            writer.send(0, movement(-probe.cast_signed(), 1).as_bytes())?;
            writer.poll();
            loop {
                let message = reader.poll(Duration::from_millis(5)).transpose()?;
                if message.is_some_and(|message| message.key() == Some(&key)) {
                    break;
                }
                if start.elapsed() > PATIENCE {
                    return Err(format!(
                        "the decision on key -{probe} was not seen in {PATIENCE:?}"
                    )
                    .into());
                }
            }
            seen.push(start.elapsed());
        }
        Ok(format!(
            r#"{{"rate":{},"probes":{},"p50_ms":{:.3},"p90_ms":{:.3},"p99_ms":{:.3},"max_ms":{:.3}}}"#,
            self.rate,
            self.probes,
            percentile(&mut seen, 0.5),
            percentile(&mut seen, 0.9),
            percentile(&mut seen, 0.99),
            percentile(&mut seen, 1.0),
        ))
    }
}

/// A consumer that sees what is committed, from the end of the topic on.
fn reader(servers: &str) -> Result<BaseConsumer> {
    Writer::new(servers, "decisions", 0)?;
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "bench")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset("decisions", 0, Offset::End)?;
    reader.assign(&partitions)?;
    Ok(reader)
}
