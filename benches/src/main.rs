//! `millstream-bench`: what `benches/run` measures inside one process. Each command prints one JSON object a line on
//! standard output; the tables are made of them by `bench.py`.
//!
//! ```text
//! generate   Nexmark events as JSON files, for the engine and its peers
//! memory     a query over events in memory: the engine without decoding
//! step       one row through five operators
//! latency    from a produced row to its sight through the Postgres port
//! decision   from a produced row to the committed record that follows from it
//! recovery   from the end of a killed job to the first right answer of the one that goes on
//! kafka      a query over a topic; `broker` is the other process of it
//! ```
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time; nothing here runs in a step"
)]

mod decision;
mod events;
mod generate;
mod kafka;
mod latency;
mod memory;
mod process;
mod recovery;
mod step;
mod topic;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// What can go wrong: always told to a person, never handled.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Measurements in one process; `benches/run` calls it.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to measure.
#[derive(Debug, Subcommand)]
enum Command {
    /// Write Nexmark events as JSON lines
    Generate(generate::Generate),
    /// Run a query over events from memory
    Memory(memory::Memory),
    /// Send rows one at a time through five operators
    Step(step::Step),
    /// Measure from a produced row to its sight through the Postgres port
    Latency(latency::Latency),
    /// Measure from a produced row to the committed record that follows from it
    Decision(decision::Decision),
    /// Measure from the end of a killed job to the first right answer of the one that goes on
    Recovery(recovery::Recovery),
    /// Run a query over a topic of Nexmark events
    Kafka(kafka::Kafka),
    /// Hold a topic of Nexmark events until standard input ends
    Broker(kafka::Broker),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Generate(generate) => generate.run(),
        Command::Memory(memory) => memory.run(),
        Command::Step(step) => step.run(),
        Command::Latency(latency) => latency.run(),
        Command::Decision(decision) => decision.run(),
        Command::Recovery(recovery) => recovery.run(),
        Command::Kafka(kafka) => kafka.run(),
        Command::Broker(broker) => broker.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A line of the result.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
