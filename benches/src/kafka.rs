//! `kafka`: a query over a topic of Nexmark events, to the topic's end. The broker is another process (`broker`), so that
//! its CPU time is not the engine's.

use crate::memory::measure;
use crate::topic::Writer;
use crate::{Result, events, say};
use millstream_engine::{Config, Engine};
use std::fs;
use std::io::Read;
use std::path::PathBuf;

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Kafka {
    /// The pipeline file: its kafka table ends with the topic
    file: PathBuf,
    /// The brokers
    #[arg(long)]
    bootstrap: String,
    /// Threads that run steps
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

impl Kafka {
    pub(crate) fn run(&self) -> Result<()> {
        let text = fs::read_to_string(&self.file)?;
        let engine = Engine::new(Config {
            workers: self.workers,
            ..Config::default()
        });
        engine
            .set("kafka.bootstrap.servers", &self.bootstrap)
            .map_err(|error| error.to_string())?;
        let measured = measure(&engine, &text, &self.file.display().to_string())?;
        say(&measured.to_string())
    }
}

/// What to hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Broker {
    /// Events
    #[arg(long)]
    events: usize,
    /// Partitions
    #[arg(long, default_value_t = 2)]
    parts: i32,
    /// The topic
    #[arg(long, default_value = "nexmark")]
    topic: String,
}

impl Broker {
    /// Says where it listens once all events are written.
    pub(crate) fn run(&self) -> Result<()> {
        let config = millstream_broker::Config {
            default_partitions: self.parts,
            ..millstream_broker::Config::default()
        };
        let broker = millstream_broker::Broker::start_blocking(config)?;
        let writer = Writer::new(&broker.bootstrap_servers(), &self.topic, 5)?;
        let mut line = Vec::with_capacity(2048);
        let all = events::generator(10_000, 0, 1).take(self.events);
        for (event, part) in all.zip((0..self.parts).cycle()) {
            line.clear();
            events::write_line(&mut line, &event);
            writer.send(part, line.trim_ascii_end())?;
            writer.poll();
        }
        writer.flush()?;
        say(&broker.bootstrap_servers())?;
        std::io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }
}
