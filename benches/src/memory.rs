//! `memory`: a query over events that are in memory before the clock starts: the engine without generator and decoder.
//!
//! The connector makes all events when it is opened and hands them out without a copy. The CPU time of the process counts
//! from the moment when the first rows wait for a step: that takes in every thread of the engine.

use crate::{Result, process, say};
use millstream_engine::{Config, Engine, Progress, render};
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Memory {
    /// The pipeline file: it reads the connector `nexmark` with 'preload'
    file: PathBuf,
    /// Threads that run steps
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// At most so many rows a step
    #[arg(long)]
    step_rows: Option<usize>,
}

impl Memory {
    pub(crate) fn run(&self) -> Result<()> {
        let text = fs::read_to_string(&self.file)?;
        let engine = Engine::new(Config {
            workers: self.workers,
            step_rows_max: self.step_rows,
            ..Config::default()
        });
        let measured = measure(&engine, &text, &self.file.display().to_string())?;
        say(&measured.to_string())
    }
}

/// What a job cost from its first rows on.
#[derive(Debug)]
pub(crate) struct Measured {
    pub rows: u64,
    pub steps: u64,
    pub sources: usize,
    pub nodes: usize,
    pub cpu: Duration,
    pub wall: Duration,
    /// Resident memory when the first rows were there, and its peak.
    pub start_bytes: u64,
    pub peak_bytes: u64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        write!(
            f,
            r#"{{"rows":{},"steps":{},"partitions":{},"nodes":{},"cpu_s":{:.4},"wall_s":{:.4},"start_mb":{},"peak_mb":{}}}"#,
            self.rows,
            self.steps,
            self.sources,
            self.nodes,
            self.cpu.as_secs_f64(),
            self.wall.as_secs_f64(),
            mib(self.start_bytes),
            mib(self.peak_bytes),
        )
    }
}

/// Runs a pipeline to its end.
pub(crate) fn measure(engine: &Engine, text: &str, name: &str) -> Result<Measured> {
    engine
        .run(text)
        .map_err(|error| render(&error, text, name))?;
    // A reader makes its events within `open`: nothing else runs until then.
    while !engine.progress().is_some_and(|now| has_rows(&now)) {
        thread::sleep(Duration::from_micros(200));
    }
    let (cpu, began) = (process::cpu()?, Instant::now());
    let start_bytes = process::resident()?.now;
    engine.wait_end().map_err(|failures| {
        let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
        failures.join("; ")
    })?;
    let (cpu, wall) = (process::cpu()?.saturating_sub(cpu), began.elapsed());
    let ended = engine.progress().ok_or("the job has no progress")?;
    let peak_bytes = process::resident()?.peak;
    engine.stop();
    Ok(Measured {
        rows: ended.rows,
        steps: ended.step.0,
        sources: ended.partitions.len(),
        nodes: ended.nodes.len(),
        cpu,
        wall,
        start_bytes,
        peak_bytes,
    })
}

fn has_rows(now: &Progress) -> bool {
    let any = now
        .partitions
        .iter()
        .any(|part| part.rows > 0 || part.queued_rows > 0);
    any || now.ended
}
