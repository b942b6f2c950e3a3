//! `recovery`: from the end of a killed job to the first right answer of the one that goes on from its checkpoints.
//!
//! A child process (`millstream run --state`) builds up state, is killed, and started again; a client asks the Postgres port
//! for one key until it answers. Building up tells too how long steps waited for checkpoints, from the process's metrics.

use crate::{Result, say};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

/// How long building up the state or going on may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Recovery {
    /// The program
    #[arg(long)]
    millstream: PathBuf,
    /// An empty folder for state
    #[arg(long)]
    state: PathBuf,
    /// Keys, each a group of an aggregate and a row of a view
    #[arg(long, default_value_t = 5_000_000)]
    keys: u64,
    /// Times to kill it
    #[arg(long, default_value_t = 3)]
    kills: u32,
    /// Threads that run steps
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

impl Recovery {
    pub(crate) fn run(&self) -> Result<()> {
        fs::create_dir_all(&self.state)?;
        let file = self.state.join("pipeline.sql");
        fs::write(&file, pipeline(self.keys))?;
        let (pg, http) = (free_address()?, free_address()?);
        let began = Instant::now();
        let mut child = self.start(&file, pg, http)?;
        let outcome = self.measure(&file, pg, http, &mut child, began);
        child.kill()?;
        child.wait()?;
        say(&outcome?)
    }

    fn measure(
        &self,
        file: &Path,
        pg: SocketAddr,
        http: SocketAddr,
        child: &mut Child,
        began: Instant,
    ) -> Result<String> {
        let all = self.keys.to_string();
        wait_for(pg, "SELECT COUNT(*) FROM totals", &all)?;
        let built = began.elapsed();
        let saved = self.wait_saved(http)?;
        let pause_ms = metric(http, "millstream_checkpoint_pause_seconds_max")? * 1e3;
        let bytes = folder_bytes(&self.state.join("checkpoints"))?;
        let mut took = Vec::new();
        for _ in 0..self.kills {
            child.kill()?;
            let killed = Instant::now();
            child.wait()?;
            *child = self.start(file, pg, http)?;
            let key = self.keys / 2;
            wait_for(pg, &format!("SELECT n FROM totals WHERE id = {key}"), "1")?;
            took.push(killed.elapsed());
            wait_for(pg, "SELECT COUNT(*) FROM totals", &all)?;
        }
        took.sort_unstable();
        let seconds = |at: usize| took.get(at).map_or(f64::NAN, Duration::as_secs_f64);
        Ok(format!(
            r#"{{"keys":{},"state_mb":{},"built_s":{:.1},"checkpoint_step":{saved},"pause_max_ms":{pause_ms:.2},"recovery_least_s":{:.3},"recovery_most_s":{:.3}}}"#,
            self.keys,
            bytes >> 20,
            built.as_secs_f64(),
            seconds(0),
            seconds(took.len().saturating_sub(1)),
        ))
    }

    fn start(&self, file: &Path, pg: SocketAddr, http: SocketAddr) -> Result<Child> {
        let workers = self.workers.to_string();
        Ok(Command::new(&self.millstream)
            .arg("run")
            .arg(file)
            .args(["--pg", &pg.to_string(), "--http", &http.to_string()])
            .args(["--workers", &workers])
            .arg("--state")
            .arg(&self.state)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?)
    }

    /// Waits until a checkpoint holds the last step.
    fn wait_saved(&self, http: SocketAddr) -> Result<u64> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let saved = metric(http, "millstream_checkpoint_step")?;
            if saved >= metric(http, "millstream_step")? {
                return Ok(saved as u64);
            }
            thread::sleep(Duration::from_millis(200));
        }
        Err("no checkpoint holds the last step".into())
    }
}

fn pipeline(keys: u64) -> String {
    format!(
        "CREATE TABLE events (id BIGINT, amount BIGINT, note STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '{keys}', 'rows-per-second' = '100000000', \
         'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{keys}', \
         'fields.amount.min' = '1', 'fields.amount.max' = '1000', 'fields.note.length' = '40');\n\
         CREATE MATERIALIZED VIEW totals AS SELECT id, COUNT(*) AS n, SUM(amount) AS amount, MAX(note) AS note FROM events GROUP BY id;\n"
    )
}

/// Asks until the first value of the first row is this.
fn wait_for(pg: SocketAddr, question: &str, wanted: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let began = Instant::now();
    runtime.block_on(async {
        while began.elapsed() < PATIENCE {
            if answer(pg, question).await.ok().flatten().as_deref() == Some(wanted) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(format!("{question}: not {wanted} in {PATIENCE:?}").into())
    })
}

async fn answer(pg: SocketAddr, question: &str) -> Result<Option<String>> {
    let target = format!(
        "host={} port={} user=bench dbname=millstream",
        pg.ip(),
        pg.port()
    );
    let (client, connection) = tokio_postgres::connect(&target, NoTls).await?;
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(question).await?;
    drop(client);
    connection.abort();
    let row = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(row)
}

/// A figure of the process's metrics page.
fn metric(http: SocketAddr, name: &str) -> Result<f64> {
    let mut stream = TcpStream::connect(http)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line
        .ok_or_else(|| format!("the metrics have no {name}"))?
        .trim()
        .parse()?)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}
