//! `millstream run`: pipeline files as one job, served until the process is told to stop.

use millstream_broker::Broker;
use millstream_engine::{Config, Engine, render};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::check::read_all;
use crate::cli::Run;
use crate::kafka::{Records, declared_topics, start_broker};
use crate::server::{Server, ServerConfig, raise_file_limit};

/// Longer than a reader's poll.
const READERS_LEAVE: Duration = Duration::from_millis(400);

/// Runs files until SIGINT or SIGTERM.
pub(crate) fn run(run: &Run) -> Result<(), String> {
    raise_file_limit();
    let (text, name) = read_all(&run.files.files)?;
    let place = run.state.as_deref().map(StatePlace::new).transpose()?;
    let broker = match run.embedded_kafka {
        Some(listen) => Some(start_broker(
            listen,
            0,
            place.as_ref().and_then(|place| place.kafka.as_deref()),
            1,
        )?),
        None => None,
    };
    if let Some(broker) = &broker {
        let records = Records::new(&broker.bootstrap_servers())?;
        declared_topics(&text)
            .iter()
            .try_for_each(|topic| records.create_topic(topic))?;
    }
    let checkpoints = place.map(|place| place.checkpoints);
    let engine = engine(run.workers, checkpoints, broker.as_ref(), &run.set)?;
    // What is wrong with the files is said before anything is opened to clients.
    let notes = engine
        .run(&text)
        .map_err(|error| render(&error, &text, &name))?;
    notes.iter().for_each(|note| say(&format!("note: {note}")));
    let config = ServerConfig {
        pg: Some(run.pg),
        http: Some(run.http),
        ..ServerConfig::default()
    };
    let server = Server::start(&engine, &config)?;
    connect_lines(&server, broker.as_ref())
        .iter()
        .for_each(|line| say(line));
    let fenced = wait_for_signal(|| engine.fenced())?;
    if fenced.is_none() {
        say("stopping: what was written is committed");
    }
    stop(engine, Some(server), broker);
    match fenced {
        None => Ok(()),
        Some(error) => Err(format!(
            "stopped, as another process runs this job now: {error}"
        )),
    }
}

/// Where the parts of a process keep what outlives it.
pub(crate) struct StatePlace {
    pub checkpoints: String,
    /// The embedded broker's log; on an object store it has none, and keeps it for as long as it runs.
    pub kafka: Option<PathBuf>,
}

impl StatePlace {
    pub(crate) fn new(state: &str) -> Result<Self, String> {
        if state.contains("://") && !state.starts_with("file://") {
            let checkpoints = format!("{}/checkpoints", state.trim_end_matches('/'));
            return Ok(Self {
                checkpoints,
                kafka: None,
            });
        }
        let dir = PathBuf::from(state.trim_start_matches("file://"));
        std::fs::create_dir_all(&dir)
            .map_err(|error| format!("can't create {}: {error}", dir.display()))?;
        Ok(Self {
            checkpoints: dir.join("checkpoints").display().to_string(),
            kafka: Some(dir.join("kafka")),
        })
    }
}

/// An engine with the settings of the command line.
pub(crate) fn engine(
    workers: Option<usize>,
    checkpoints: Option<String>,
    broker: Option<&Broker>,
    settings: &[(String, String)],
) -> Result<Engine, String> {
    let default = Config::default();
    let engine = Engine::new(Config {
        workers: workers.unwrap_or(default.workers),
        checkpoints,
        ..default
    });
    if let Some(broker) = broker {
        engine
            .set("kafka.bootstrap.servers", &broker.bootstrap_servers())
            .map_err(|error| error.to_string())?;
    }
    for (key, value) in settings {
        engine
            .set(key, value)
            .map_err(|error| format!("--set {key}={value}: {error}"))?;
    }
    Ok(engine)
}

/// How to reach what runs: a line for each port.
pub(crate) fn connect_lines(server: &Server, broker: Option<&Broker>) -> Vec<String> {
    let addresses = server.addresses();
    let mut lines = Vec::new();
    if let Some(pg) = addresses.pg {
        let open = if pg.ip().is_loopback() {
            ""
        } else {
            "   (anyone who reaches this address reads and changes everything: there is no authentication yet)"
        };
        lines.push(format!(
            "psql          psql -h {} -p {} -U shop millstream{open}",
            host(pg),
            pg.port()
        ));
    }
    if let Some(http) = addresses.http {
        lines.push(format!(
            "status page   http://{}:{}/",
            host(http),
            http.port()
        ));
    }
    if let Some(broker) = broker {
        lines.push(format!(
            "Kafka         {}   (embedded: for development, not for production)",
            broker.bootstrap_servers()
        ));
    }
    lines
}

fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) if address.ip().is_unspecified() => "localhost".to_owned(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => "localhost".to_owned(),
        SocketAddr::V4(address) if address.ip().is_loopback() => "localhost".to_owned(),
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// A line for the person at the terminal.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// How often is looked whether the process has lost its place.
const LOOK: Duration = Duration::from_millis(100);

/// Waits for SIGINT or SIGTERM, or until there is a reason to end.
pub(crate) fn wait_for_signal<T>(ended: impl Fn() -> Option<T>) -> Result<Option<T>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("can't wait for signals: {error}"))?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let terminated = signal(SignalKind::terminate());
        let mut terminated =
            terminated.map_err(|error| format!("can't wait for signals: {error}"))?;
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => {
                    return interrupted
                        .map(|()| None)
                        .map_err(|error| format!("can't wait for signals: {error}"));
                }
                _ = terminated.recv() => return Ok(None),
                _ = look.tick() => if let Some(reason) = ended() {
                    return Ok(Some(reason));
                },
            }
        }
    })
}

/// Ends everything in order: no more clients, then the job with all its sinks committed, then the broker.
pub(crate) fn stop(engine: Engine, server: Option<Server>, broker: Option<Broker>) {
    if let Some(server) = server {
        server.stop();
    }
    engine.stop();
    drop(engine);
    if let Some(broker) = broker {
        // Readers end by themselves when their poll does; a broker that goes before them would look like a fault in the logs.
        std::thread::park_timeout(READERS_LEAVE);
        drop(broker);
    }
}
