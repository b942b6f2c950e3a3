//! `latency`: from a produced row to its sight through the Postgres port, while a topic takes so many rows a second.
//!
//! One process holds broker, engine and port, as `millstream demo` does. A probe is a row with a key of its own; from just
//! before it is produced, a client asks for that key with a prepared statement until the answer has it. The time of the
//! last question is part of the result, as it is for anyone who reads.

use crate::topic::Writer;
use crate::{Result, process, say};
use millstream_broker::Broker;
use millstream_engine::{Config, Engine, render};
use millstream_server::{Server, ServerConfig};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use tokio_postgres::{NoTls, Statement};

const PIPELINE: &str = "
CREATE TABLE movements (sku BIGINT, quantity BIGINT, ts TIMESTAMP(3))
WITH ('connector' = 'kafka', 'topic' = 'movements', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE MATERIALIZED VIEW stock AS
  SELECT sku, COUNT(*) AS movements, SUM(quantity) AS on_hand, MAX(ts) AS last_ts
  FROM movements WHERE quantity <> 0 GROUP BY sku;
";

const QUESTION: &str = "SELECT on_hand FROM stock WHERE sku = $1";

/// Keys of the load; those of probes are negative.
const SKUS: u64 = 10_000;

/// How long a probe may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Latency {
    /// Rows a second
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Probes
    #[arg(long, default_value_t = 1000)]
    probes: u64,
    /// Seconds of load before the first probe
    #[arg(long, default_value_t = 5)]
    warm_up_s: u64,
    /// Threads that run steps
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

impl Latency {
    pub(crate) fn run(&self) -> Result<()> {
        let broker = Broker::start_blocking(millstream_broker::Config::default())?;
        let servers = broker.bootstrap_servers();
        let load = Writer::new(&servers, "movements", 5)?;
        let engine = Engine::new(Config {
            workers: self.workers,
            ..Config::default()
        });
        engine
            .set("kafka.bootstrap.servers", &servers)
            .map_err(|error| error.to_string())?;
        engine
            .run(PIPELINE)
            .map_err(|error| render(&error, PIPELINE, "latency"))?;
        let config = ServerConfig {
            http: None,
            ..ServerConfig::default()
        };
        let server = Server::start(&engine, &config)?;
        let pg = server.addresses().pg.ok_or("there is no Postgres port")?;
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let measured = thread::scope(|scope| {
            let (rate, load, stop, sent) = (self.rate, &load, &stop, &sent);
            let loading =
                scope.spawn(move || send_load(load, rate, stop, sent).map_err(|e| e.to_string()));
            let probed = self.probe(&servers, pg, sent);
            stop.store(true, Relaxed);
            loading.join().map_err(|_| "the load has panicked")??;
            probed
        });
        let measured = measured?;
        drop(server);
        engine.stop();
        say(&measured)
    }

    /// Probes, and tells their times as JSON.
    fn probe(&self, servers: &str, pg: SocketAddr, sent: &AtomicU64) -> Result<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let writer = Writer::new(servers, "movements", 0)?;
        runtime.block_on(async {
            let target = format!(
                "host={} port={} user=bench dbname=millstream",
                pg.ip(),
                pg.port()
            );
            let (client, connection) = tokio_postgres::connect(&target, NoTls).await?;
            tokio::spawn(connection);
            let statement = client.prepare(QUESTION).await?;
            tokio::time::sleep(Duration::from_secs(self.warm_up_s)).await;
            let (cpu, began, before) = (process::cpu()?, Instant::now(), sent.load(Relaxed));
            let (mut seen, mut asked) = (Vec::new(), Vec::new());
            for probe in 1..=self.probes {
                // Probes fall anywhere between two steps.
                tokio::time::sleep(Duration::from_micros(probe.wrapping_mul(7919) % 20_000)).await;
                let sku = -probe.cast_signed();
                let start = Instant::now();
                writer.send(0, movement(sku, 1).as_bytes())?;
                let last = wait_for(&client, &statement, sku, start).await?;
                seen.push(start.elapsed());
                asked.push(last);
                writer.poll();
            }
            let wall = began.elapsed().as_secs_f64();
            let rate = (sent.load(Relaxed) - before) as f64 / wall;
            let cores = process::cpu()?.saturating_sub(cpu).as_secs_f64() / wall;
            Ok(format!(
                r#"{{"rate":{rate:.0},"probes":{},"p50_ms":{:.3},"p90_ms":{:.3},"p99_ms":{:.3},"max_ms":{:.3},"query_p50_ms":{:.3},"cores":{cores:.2}}}"#,
                self.probes,
                percentile(&mut seen, 0.5),
                percentile(&mut seen, 0.9),
                percentile(&mut seen, 0.99),
                percentile(&mut seen, 1.0),
                percentile(&mut asked, 0.5),
            ))
        })
    }
}

/// Rows at the rate, every millisecond those that are due.
pub(crate) fn send_load(
    writer: &Writer,
    rate: u64,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<()> {
    let began = Instant::now();
    let mut count = 0;
    while !stop.load(Relaxed) {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        while count < due {
            let (sku, quantity) = (count.wrapping_mul(7919) % SKUS, 1 + count % 5);
            writer.send(0, movement(sku.cast_signed(), quantity).as_bytes())?;
            count += 1;
        }
        sent.store(count, Relaxed);
        writer.poll();
        thread::sleep(Duration::from_millis(1));
    }
    writer.flush()
}

/// Asks until the key is there. Gives how long the last question took.
async fn wait_for(
    client: &tokio_postgres::Client,
    statement: &Statement,
    sku: i64,
    start: Instant,
) -> Result<Duration> {
    loop {
        let asked = Instant::now();
        if !client.query(statement, &[&sku]).await?.is_empty() {
            return Ok(asked.elapsed());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("the row of key {sku} was not seen in {PATIENCE:?}").into());
        }
    }
}

pub(crate) fn movement(sku: i64, quantity: u64) -> String {
    format!(r#"{{"sku":{sku},"quantity":{quantity},"ts":"2024-01-01 00:00:00.000"}}"#)
}

/// Milliseconds below which this part of the durations is.
pub(crate) fn percentile(durations: &mut [Duration], part: f64) -> f64 {
    durations.sort_unstable();
    let at = (durations.len().saturating_sub(1) as f64 * part) as usize;
    durations
        .get(at)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
