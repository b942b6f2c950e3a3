//! `millstream replay`: a year of a real shop through Kafka topics into views, compared with one batch over the file.
//!
//! ```text
//! file -> lines -> events (JSON) -> topics -> engine (pipeline.sql) -> views ──┐
//!     └─> MemTable -> DataFusion, in one batch (batch.rs) ───────────────────> equal?
//! ```
//! The two sides share the file's lines and nothing else: the batch has queries of its own.

mod batch;
mod lines;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millstream_broker::Broker;
use millstream_engine::{Engine, Response, render};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{Format, Replay};
use crate::kafka::{Records, start_broker};
use crate::print;
use crate::run::{connect_lines, engine, say, stop, wait_for_signal};
use crate::server::{Server, ServerConfig};
use lines::Line;

/// The views.
const PIPELINE: &str = include_str!("pipeline.sql");
/// The slice of the data that the repository carries.
const SLICE: &str = include_str!("../../../../tests/data/online_retail_slice.csv");
/// How often the views are looked at while lines arrive.
const LOOK: Duration = Duration::from_millis(20);

/// What a replay found.
#[derive(Debug)]
pub struct Replayed {
    /// Lines that were sent.
    pub lines: usize,
    /// From the first line sent to the last one in all views.
    pub seconds: f64,
    /// The views beside the batch.
    pub comparisons: Vec<Comparison>,
}

/// A view beside what the batch computes.
#[derive(Debug)]
pub struct Comparison {
    /// The view.
    pub view: &'static str,
    /// Its rows.
    pub rows: usize,
    /// What differs: rows of the view that the batch has not (`+`), and the other way round (`-`).
    pub differences: Vec<String>,
    schema: SchemaRef,
    head: Vec<RecordBatch>,
}

impl Replayed {
    /// Whether all views are what the batch computes.
    pub fn is_equal(&self) -> bool {
        self.comparisons
            .iter()
            .all(|comparison| comparison.differences.is_empty())
    }
}

/// Replays a file (`None`: the slice) and compares.
///
/// # Errors
/// When the file can't be read, or something does not run.
pub fn replay(file: Option<&Path>, workers: Option<usize>) -> Result<Replayed, String> {
    let running = Running::start(workers, None)?;
    let replayed = running.replay(&text(file)?);
    running.stop();
    replayed
}

/// The command.
pub(crate) fn command(replay: &Replay) -> Result<(), String> {
    let text = text(replay.file.as_deref())?;
    let running = Running::start(replay.workers, replay.pg)?;
    running.connect_lines().iter().for_each(|line| say(line));
    let replayed = running.replay(&text)?;
    show(&replayed)?;
    let equal = replayed.is_equal();
    if replay.pg.is_some() && equal {
        say("the views stay until you press Ctrl-C");
        wait_for_signal::<()>(|| None)?;
    }
    running.stop();
    if equal {
        Ok(())
    } else {
        Err("the views differ from the batch".to_owned())
    }
}

fn text(file: Option<&Path>) -> Result<String, String> {
    file.map_or_else(
        || Ok(SLICE.to_owned()),
        |file| lines::read(&PathBuf::from(file)),
    )
}

/// The engine with its broker, before and after the lines.
struct Running {
    broker: Broker,
    engine: Engine,
    server: Option<Server>,
    records: Records,
}

impl Running {
    fn start(workers: Option<usize>, pg: Option<SocketAddr>) -> Result<Self, String> {
        let broker = start_broker(SocketAddr::from(([127, 0, 0, 1], 0)), 0, None, 2)?;
        let records = Records::new(&broker.bootstrap_servers())?;
        lines::TOPICS
            .iter()
            .try_for_each(|topic| records.create_topic(topic))?;
        let engine = engine(workers, None, Some(&broker), &[])?;
        engine
            .run(PIPELINE)
            .map_err(|error| render(&error, PIPELINE, "pipeline.sql"))?;
        let config = ServerConfig {
            pg,
            http: None,
            tries: 20,
            ..ServerConfig::default()
        };
        let server = pg.map(|_| Server::start(&engine, &config)).transpose()?;
        Ok(Self {
            broker,
            engine,
            server,
            records,
        })
    }

    fn connect_lines(&self) -> Vec<String> {
        self.server
            .as_ref()
            .map(|server| connect_lines(server, Some(&self.broker)))
            .unwrap_or_default()
    }

    /// Sends all lines, waits until they are in the views, and compares.
    #[allow(
        clippy::disallowed_methods,
        reason = "the time that a replay takes is what it reports"
    )]
    fn replay(&self, text: &str) -> Result<Replayed, String> {
        let lines = lines::parse(text)?;
        let began = std::time::Instant::now();
        for line in &lines {
            self.records.send(line.topic(), line.key(), &line.json())?;
        }
        self.records.flush()?;
        self.wait(lines.len() as u64)?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(Replayed {
            lines: lines.len(),
            seconds,
            comparisons: self.compare(&lines)?,
        })
    }

    /// Waits until so many rows are taken; a snapshot asked for after that has them.
    fn wait(&self, rows: u64) -> Result<(), String> {
        loop {
            let progress = self.engine.progress().ok_or("nothing runs")?;
            if let Some(failure) = progress.nodes.iter().find_map(|node| node.failure.as_ref()) {
                return Err(failure.to_string());
            }
            if let Some(bad) = progress.bad.first() {
                return Err(format!(
                    "{} records of {} are bad: {}",
                    bad.records, bad.table, bad.reason
                ));
            }
            if progress.rows >= rows {
                return Ok(());
            }
            std::thread::park_timeout(LOOK);
        }
    }

    fn compare(&self, lines: &[Line]) -> Result<Vec<Comparison>, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let batch = batch::Batch::new(lines)?;
            let session = self.engine.session();
            let mut comparisons = Vec::new();
            for (view, query) in batch::QUERIES {
                let answer = self
                    .engine
                    .execute(&session, &format!("SELECT * FROM {view}"))
                    .await
                    .map_err(|error| error.to_string())?;
                let Some(Response::Rows { schema, batches }) = answer.into_iter().next() else {
                    return Err(format!("{view} gave no rows"));
                };
                let expected = batch.run(query).await?;
                let differences = batch::differences(&batches, &expected)?;
                let rows = batches.iter().map(RecordBatch::num_rows).sum();
                let first = self
                    .engine
                    .execute(
                        &session,
                        &format!(
                            "SELECT * FROM {view} ORDER BY {} LIMIT 5",
                            batch::order(view)
                        ),
                    )
                    .await;
                let head = match first.map_err(|error| error.to_string())?.into_iter().next() {
                    Some(Response::Rows { batches, .. }) => batches,
                    _ => Vec::new(),
                };
                comparisons.push(Comparison {
                    view,
                    rows,
                    differences,
                    schema,
                    head,
                });
            }
            Ok(comparisons)
        })
    }

    fn stop(self) {
        drop(self.records);
        stop(self.engine, self.server, Some(self.broker));
    }
}

/// Prints the heads of the views and whether they are right.
fn show(replayed: &Replayed) -> Result<(), String> {
    for comparison in &replayed.comparisons {
        let equal = if comparison.differences.is_empty() {
            "equal to the batch"
        } else {
            "NOT equal to the batch"
        };
        say(&format!(
            "\n{}: {} rows, {equal}",
            comparison.view, comparison.rows
        ));
        print::print(&comparison.schema, &comparison.head, Format::Table, "NULL")
            .map_err(|error| error.to_string())?;
        comparison
            .differences
            .iter()
            .take(10)
            .for_each(|line| say(line));
    }
    let rate = replayed.lines as f64 / replayed.seconds;
    say(&format!(
        "\n{} lines in {:.1} s: {rate:.0} rows/s from the file through Kafka into {} views",
        replayed.lines,
        replayed.seconds,
        replayed.comparisons.len()
    ));
    say(if replayed.is_equal() {
        "all views are equal to the batch"
    } else {
        "some views differ from the batch"
    });
    Ok(())
}
