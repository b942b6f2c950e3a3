//! The commands as processes: started, told of, stopped.

use crate::support::{eventually, simple};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tokio_postgres::{Client, NoTls};

/// A running command; it is killed when dropped.
struct Process {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args(args)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = std::sync::mpsc::sync_channel(1_000);
        let output = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)))
        });
        Self { child, lines }
    }

    /// Waits for the line that begins so.
    fn line(&self, start: &str) -> String {
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(std::time::Duration::from_secs(60)) {
            if line.starts_with(start) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line {start}: {seen:?}");
    }

    async fn client(&self) -> Client {
        let line = self.line("psql");
        let port = line.split("-p ").nth(1).unwrap().split(' ').next().unwrap();
        let (client, connection) =
            tokio_postgres::connect(&format!("host=127.0.0.1 port={port} user=shop"), NoTls)
                .await
                .unwrap();
        tokio::spawn(connection);
        client
    }

    /// Stops it as a person or an orchestrator does.
    fn stop(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_stops_in_order_and_the_embedded_log_survives() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let topic = "CREATE TABLE numbers (n INT) WITH ('connector' = 'kafka', 'topic' = 'numbers', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');";
    let data = file("numbers.jsonl", "{\"n\": 1}\n{\"n\": 2}\n{\"n\": 3}\n");
    let view = format!(
        "{topic} CREATE MATERIALIZED VIEW total AS SELECT COUNT(*) AS numbers, SUM(n) AS total FROM numbers;"
    );
    let fill = format!(
        "CREATE TABLE data (n INT) WITH ('connector' = 'filesystem', 'path' = '{data}', 'format' = 'json'); INSERT INTO numbers SELECT n FROM data;"
    );
    let (view, fill) = (file("view.sql", &view), file("fill.sql", &fill));
    let state = dir.path().join("state").display().to_string();
    let ports = [
        "--pg",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--embedded-kafka",
        "127.0.0.1:0",
        "--state",
        &state,
    ];
    let process = Process::start(&[&["run", &view, &fill], &ports[..]].concat());
    let client = process.client().await;
    eventually("the numbers went through Kafka", async || {
        simple(&client, "SELECT numbers, total FROM total").await == ["3|6"]
    })
    .await;
    process.stop(Signal::TERM);
    let process = Process::start(&[&["run", &view], &ports[..]].concat());
    let client = process.client().await;
    eventually("the numbers are still there", async || {
        simple(&client, "SELECT numbers, total FROM total").await == ["3|6"]
    })
    .await;
    process.stop(Signal::INT);
}

#[test]
fn wrong_files_are_told_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrong.sql");
    std::fs::write(&path, "CREATE VIEW a AS\nSELECT x FRM t;\n").unwrap();
    for command in ["run", "check"] {
        let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args([command, path.to_str().unwrap()])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(
            told.contains("wrong.sql:2:") && told.contains('^'),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_moves_and_adds_up() {
    let process = Process::start(&[
        "demo",
        "--rate",
        "300",
        "--pg",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--kafka",
        "127.0.0.1:0",
    ]);
    let client = process.client().await;
    let page = process.line("status page");
    assert!(page.contains("http://localhost:"), "{page}");
    let all = "SELECT sku, warehouse, on_hand, reserved, committed, available FROM available_to_sell ORDER BY sku, warehouse";
    let first = simple(&client, all).await;
    eventually("what is available changes", async || {
        simple(&client, all).await != first
    })
    .await;
    let wrong = "SELECT count(*) FROM available_to_sell a \
        FULL JOIN on_hand h ON a.sku = h.sku AND a.warehouse = h.warehouse \
        LEFT JOIN (SELECT sku, warehouse, SUM(quantity) AS units FROM active_reservations GROUP BY sku, warehouse) r ON a.sku = r.sku AND a.warehouse = r.warehouse \
        LEFT JOIN committed c ON a.sku = c.sku AND a.warehouse = c.warehouse \
        WHERE (a.available IS DISTINCT FROM (h.units - COALESCE(r.units, 0) - COALESCE(c.units, 0))) OR a.reserved <> COALESCE(r.units, 0)";
    for view in [
        "available_to_sell",
        "browse_to_cart",
        "sales_per_minute",
        "best_sellers",
        "order_scores",
        "decisions",
        "price_position",
        "active_reservations",
    ] {
        eventually(view, async || {
            simple(&client, &format!("SELECT count(*) > 0 FROM {view}")).await == ["t"]
        })
        .await;
        // Whenever it is asked, all views are of one step.
        assert_eq!(simple(&client, wrong).await, ["0"]);
    }
    eventually("fraud is found", async || {
        simple(
            &client,
            "SELECT count(*) > 0 FROM order_scores WHERE decision IN ('review', 'decline')",
        )
        .await
            == ["t"]
    })
    .await;
    process.stop(Signal::INT);
}
