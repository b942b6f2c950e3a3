//! `millstream demo`: a shop that never closes, in one process.
//!
//! ```text
//! shop (what happens, seeded) -> broker (topics) -> engine (the pipelines of sql/) -> psql, status page
//! ```

mod event;
mod fraud;
mod random;
mod shop;

use millstream_engine::render;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::check::read_all;
use crate::cli::Demo;
use crate::kafka::{Records, start_broker};
use crate::run::{connect_lines, engine, say, stop, wait_for_signal};
use crate::server::{Server, ServerConfig, raise_file_limit};
use shop::Shop;

/// The pipelines of the repository, for a binary that is not run in it.
const PIPELINES: [(&str, &str); 5] = [
    (
        "sql/00-topics.sql",
        include_str!("../../../../sql/00-topics.sql"),
    ),
    ("sql/demand.sql", include_str!("../../../../sql/demand.sql")),
    ("sql/fraud.sql", include_str!("../../../../sql/fraud.sql")),
    (
        "sql/inventory.sql",
        include_str!("../../../../sql/inventory.sql"),
    ),
    ("sql/prices.sql", include_str!("../../../../sql/prices.sql")),
];

/// When a port is taken, so many of the next ones are tried.
const TRIES: u16 = 20;
/// How long the shop has been open when the demo begins, so that everything moves from the first second on; and its events at most.
const HISTORY_MS: u64 = 90_000;
const HISTORY_EVENTS_MAX: f64 = 60_000.0;
/// Partitions of a topic.
const PARTITIONS: i32 = 2;

/// Runs the demo until SIGINT or SIGTERM.
pub(crate) fn demo(demo: &Demo) -> Result<(), String> {
    raise_file_limit();
    let (text, name) = match demo.files.as_slice() {
        [] => (
            PIPELINES.map(|(_, text)| text).join("\n;\n"),
            PIPELINES.map(|(name, _)| name).join(", "),
        ),
        files => read_all(files)?,
    };
    let broker = start_broker(demo.kafka, TRIES, None, PARTITIONS)?;
    let records = Records::new(&broker.bootstrap_servers())?;
    event::TOPICS
        .iter()
        .try_for_each(|topic| records.create_topic(topic))?;
    let generator = Generator::start(records, demo.seed, demo.rate)?;
    let engine = engine(demo.workers, None, Some(&broker), &demo.set)?;
    engine
        .run(&text)
        .map_err(|error| render(&error, &text, &name))?;
    let config = ServerConfig {
        pg: Some(demo.pg),
        http: Some(demo.http),
        tries: TRIES,
        ..ServerConfig::default()
    };
    let server = Server::start(&engine, &config)?;
    say(&format!(
        "a shop with {} events a second, seed {}; stop it with Ctrl-C",
        demo.rate, demo.seed
    ));
    connect_lines(&server, Some(&broker))
        .iter()
        .for_each(|line| say(line));
    say("try           SELECT * FROM available_to_sell ORDER BY available LIMIT 10 \\watch 1");
    wait_for_signal::<()>(|| None)?;
    let generated = generator.stop();
    stop(engine, Some(server), Some(broker));
    generated
}

/// Writes what happens in the shop to its topics, as it happens.
struct Generator {
    stops: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
}

impl Generator {
    fn start(records: Records, seed: u64, rate: u32) -> Result<Self, String> {
        let stops = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stops);
        let run = move || generate(&records, seed, rate, &stopped);
        let thread = std::thread::Builder::new()
            .name("shop".to_owned())
            .spawn(run)
            .map_err(|error| format!("can't start threads: {error}"))?;
        Ok(Self { stops, thread })
    }

    fn stop(self) -> Result<(), String> {
        self.stops.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread
            .join()
            .map_err(|_| "the shop's generator panicked".to_owned())?
    }
}

/// The shop's own time begins at 0; the world's time is laid on it here.
#[allow(
    clippy::disallowed_methods,
    reason = "a generator of live events is where the wall clock comes in"
)]
fn generate(records: &Records, seed: u64, rate: u32, stops: &AtomicBool) -> Result<(), String> {
    let rate = f64::from(rate.max(1));
    let history_ms = HISTORY_MS.min((HISTORY_EVENTS_MAX / rate * 1e3) as u64);
    let (began, opened_ms) = (
        Instant::now(),
        chrono::Utc::now().timestamp_millis() - history_ms as i64,
    );
    for event in Shop::new(seed, rate) {
        let due = Duration::from_millis(event.at_ms.saturating_sub(history_ms));
        let mut elapsed = began.elapsed();
        while elapsed < due && !stops.load(Ordering::Relaxed) {
            std::thread::park_timeout((due - elapsed).min(Duration::from_millis(200)));
            elapsed = began.elapsed();
        }
        if stops.load(Ordering::Relaxed) {
            break;
        }
        records.send(event.topic(), &event.key(), &event.json(opened_ms))?;
    }
    records.flush()
}
