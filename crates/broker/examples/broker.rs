//! The broker by itself: `cargo run -p millstream-broker --example broker -- --listen 127.0.0.1:9092 --dir DIR`.
//!
//! It prints its start line when it accepts connections, and runs until it is interrupted.

use std::{io::Write, net::SocketAddr, path::PathBuf};

use clap::Parser;
use millstream_broker::{Broker, Config};

/// A Kafka broker for development and tests.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:9092")]
    listen: SocketAddr,
    /// The host that clients are told to connect to.
    #[arg(long)]
    advertised_host: Option<String>,
    /// Where to keep the log; a temporary folder without it.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Partitions of a topic that does not say.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// A setting for all topics that do not say, such as `segment.bytes=1000000`.
    #[arg(long = "topic-default", value_parser = setting)]
    topic_defaults: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let broker = Broker::start(Config {
        listen: arguments.listen,
        advertised_host: arguments.advertised_host,
        dir: arguments.dir,
        default_partitions: arguments.partitions,
        topic_defaults: arguments.topic_defaults.into_iter().collect(),
        ..Config::default()
    })
    .await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", broker.start_line())?;
    out.flush()?;
    tokio::signal::ctrl_c().await?;
    broker.shutdown().await;
    Ok(())
}
