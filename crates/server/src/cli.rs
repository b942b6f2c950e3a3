//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A streaming SQL engine: Flink's dialect over Kafka, live views read with psql.
///
/// Pipeline files declare tables over Kafka topics and files, and materialized views over the tables. `run` keeps the views up to date and serves
/// them to any Postgres client; `demo` shows it with a shop that never closes.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Log lines: set RUST_LOG (warn, info, debug)."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run files as one job and serve their views until stopped
    Run(Run),
    /// Run a shop in this process: a Kafka broker, a generator of its events, the pipelines, the Postgres port and the status page
    Demo(Demo),
    /// Send a year of a real shop's orders through Kafka, maintain views over them, and compare these with a batch over the file
    Replay(Replay),
    /// Run a file over bounded sources to their end, maintain a query over it, and print the query's rows
    Eval(Eval),
    /// Compute the views of files again as a batch, and compare: 0 equal, 1 not equal, 2 could not be verified
    Verify(Verify),
    /// Check files: everything is planned, nothing runs
    Check(Check),
    /// Tell what becomes of each view and INSERT when files change: what keeps its state, what is computed anew and from where
    Plan(Plan),
    /// Print the graph of files: operators, keys, exchanges, and what bounds each operator's state
    Explain(Check),
}

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub files: Files,
    /// A setting, as SET in a file would make it: kafka.bootstrap.servers=host:9092
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}

/// What changes.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The old file and the new one; with --state the new files alone
    #[arg(required = true, value_name = "OLD NEW")]
    pub files: Vec<PathBuf>,
    /// Compare with what the job of this state folder was last started with
    #[arg(long, value_name = "DIR")]
    pub state: Option<String>,
    /// A setting, as SET in a file would make it
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}

/// Pipeline files.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Pipeline files; together they are one job
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// How to run.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub files: Files,
    /// Where state is kept, so that the job goes on from there when it is started again: a folder, or s3://bucket/path
    #[arg(long, value_name = "DIR")]
    pub state: Option<String>,
    /// Where Postgres clients connect; there is no authentication yet, so think before you leave loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5433", value_parser = address)]
    pub pg: SocketAddr,
    /// Where the status page is
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub http: SocketAddr,
    /// Threads that run steps (default: one a core)
    #[arg(long)]
    pub workers: Option<usize>,
    /// Start a Kafka broker in this process, for development; kafka tables that name no brokers use it
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9092", value_parser = address)]
    pub embedded_kafka: Option<SocketAddr>,
    /// A setting, as SET in a file would make it: kafka.bootstrap.servers=host:9092
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}

/// How to demonstrate.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Pipeline files over the demo's topics (default: those of sql/)
    pub files: Vec<PathBuf>,
    /// Events a second
    #[arg(long, default_value_t = 500)]
    pub rate: u32,
    /// Makes the same shop again
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where Postgres clients connect; when it is taken, one of the next ports
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5433", value_parser = address)]
    pub pg: SocketAddr,
    /// Where the status page is; when it is taken, one of the next ports
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub http: SocketAddr,
    /// Where the broker listens; when it is taken, one of the next ports
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9092", value_parser = address)]
    pub kafka: SocketAddr,
    /// Threads that run steps (default: one a core)
    #[arg(long)]
    pub workers: Option<usize>,
    /// A setting, as SET in a file would make it
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}

/// How to replay.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The "Online Retail" data set as csv, gzipped or not (default: the slice in the repository)
    pub file: Option<PathBuf>,
    /// Serve the views to Postgres clients while it runs and afterwards, until stopped
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:5433", value_parser = address)]
    pub pg: Option<SocketAddr>,
    /// Threads that run steps (default: one a core)
    #[arg(long)]
    pub workers: Option<usize>,
}

/// `host:port`, `:port` or a port.
fn address(text: &str) -> Result<SocketAddr, String> {
    use std::net::ToSocketAddrs;
    let full = match text.parse::<u16>() {
        Ok(port) => format!("127.0.0.1:{port}"),
        Err(_) if text.starts_with(':') => format!("127.0.0.1{text}"),
        Err(_) => text.to_owned(),
    };
    let mut found = full
        .to_socket_addrs()
        .map_err(|error| format!("write it as host:port, such as 127.0.0.1:5433 ({error})"))?;
    found
        .next()
        .ok_or_else(|| "the host has no address".to_owned())
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// How to evaluate.
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// The pipeline file
    pub file: PathBuf,
    /// The query, maintained as a view over the run; left out, the file's INSERTs alone are run
    #[arg(long)]
    pub query: Option<String>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// What stands for NULL
    #[arg(long, default_value = "NULL")]
    pub null: String,
    /// Threads that run steps (default: one a core)
    #[arg(long)]
    pub workers: Option<usize>,
    /// At most this many rows a step: 1 makes lateness exact
    #[arg(long)]
    pub step_rows: Option<usize>,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    Table,
    /// RFC 4180, header first
    Csv,
    /// One JSON object a line
    Json,
}

/// What to verify.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub files: Files,
    /// The Postgres port of a running instance, or its URL: its views are verified as they are at one step. Left out, the files are run
    /// here, over bounded sources to their end
    #[arg(long, value_name = "HOST:PORT")]
    pub against: Option<String>,
    /// A view to verify; more than one can be given (default: all materialized views)
    #[arg(long = "view", value_name = "NAME")]
    pub views: Vec<String>,
    /// How many differences of a view are shown
    #[arg(long, value_name = "ROWS", default_value_t = 10)]
    pub differences: usize,
    /// Threads that run steps (default: one a core)
    #[arg(long)]
    pub workers: Option<usize>,
    /// At most this many rows a step
    #[arg(long)]
    pub step_rows: Option<usize>,
    /// A setting, as SET in a file would make it: kafka.bootstrap.servers=host:9092
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}
