//! Jobs that go on after their process has ended, as the statements that changed them have left them.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use millstream_engine::{Config, Engine, Response};
use std::io::Write;
use std::path::Path;

/// A file of three orders and the statements over it.
fn pipeline(folder: &Path) -> String {
    let path = folder.join("orders.jsonl");
    let mut file = std::fs::File::create(&path).unwrap();
    for (sku, qty) in [("A", 2), ("B", 1), ("A", 3)] {
        writeln!(file, r#"{{"sku":"{sku}","qty":{qty}}}"#).unwrap();
    }
    format!(
        "CREATE TABLE orders (sku STRING, qty INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         CREATE MATERIALIZED VIEW sold AS SELECT sku, SUM(qty) AS units FROM orders GROUP BY sku;",
        path.display()
    )
}

/// The engine that goes on with what is in a folder.
fn engine(folder: &Path, text: &str) -> Engine {
    loop {
        let engine = Engine::new(Config {
            workers: 2,
            checkpoints: Some(folder.join("state").display().to_string()),
            ..Config::default()
        });
        match engine.run(text) {
            Ok(_) => {
                engine.wait_end().unwrap();
                return engine;
            }
            // The one before is about to let go of the folder.
            Err(error) if error.message.starts_with("another process has") => {
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn send(engine: &Engine, sql: &str) -> Result<(), String> {
    let done = engine.execute(&engine.session(), sql).await;
    done.map(drop).map_err(|error| error.to_string())
}

async fn rows(engine: &Engine, sql: &str) -> Vec<String> {
    let responses = engine.execute(&engine.session(), sql).await.unwrap();
    let [Response::Rows { batches, .. }] = responses.as_slice() else {
        return Vec::new();
    };
    let table = arrow::util::pretty::pretty_format_batches(batches)
        .unwrap()
        .to_string();
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|row| {
        let cells = row.split('|').map(str::trim);
        let cells: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
        cells.join(" ")
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_failed_change_nothing_for_later_ones() {
    let folder = tempfile::tempdir().unwrap();
    let text = pipeline(folder.path());
    let first = engine(folder.path(), &text);
    for refused in [
        "CREATE MATERIALIZED VIEW never AS SELECT NOW() AS t FROM orders",
        "CREATE OR REPLACE MATERIALIZED VIEW sold AS SELECT sku, 1 / (qty - qty) AS units FROM orders",
        "INSERT INTO nowhere SELECT * FROM orders",
    ] {
        assert!(send(&first, refused).await.is_err(), "{refused}");
    }
    send(
        &first,
        "CREATE MATERIALIZED VIEW many AS SELECT COUNT(*) AS n FROM orders",
    )
    .await
    .unwrap();
    send(
        &first,
        "CREATE MATERIALIZED VIEW most AS SELECT MAX(qty) AS n FROM orders",
    )
    .await
    .unwrap();
    send(&first, "CREATE OR REPLACE MATERIALIZED VIEW sold AS SELECT sku, SUM(qty) + 1 AS units FROM orders GROUP BY sku")
        .await
        .unwrap();
    first.stop();
    let second = engine(folder.path(), &text);
    assert_eq!(rows(&second, "SELECT n FROM many").await, ["3"]);
    assert_eq!(rows(&second, "SELECT n FROM most").await, ["3"]);
    assert_eq!(
        rows(&second, "SELECT * FROM sold ORDER BY sku").await,
        ["A 6", "B 2"]
    );
    send(
        &second,
        "CREATE MATERIALIZED VIEW least AS SELECT MIN(qty) AS n FROM orders",
    )
    .await
    .unwrap();
    second.stop();
    let third = engine(folder.path(), &text);
    assert_eq!(rows(&third, "SELECT n FROM least").await, ["1"]);
    third.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_sent_at_the_same_time_are_made_again_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let text = pipeline(folder.path());
    let first = engine(folder.path(), &text);
    let sent: Vec<_> = (0..8)
        .map(|n| {
            let engine = first.clone();
            tokio::spawn(async move {
                let sql = format!("CREATE MATERIALIZED VIEW v{n} AS SELECT SUM(qty + {n}) AS n FROM orders WHERE qty > {}", n % 3);
                send(&engine, &sql).await.unwrap();
                if n % 2 == 0 {
                    send(&engine, &format!("DROP MATERIALIZED VIEW v{n}")).await.unwrap();
                }
            })
        })
        .collect();
    for sent in sent {
        sent.await.unwrap();
    }
    let mut before = Vec::new();
    for n in [1, 3, 5, 7] {
        before.push(rows(&first, &format!("SELECT n FROM v{n}")).await);
    }
    first.stop();
    let second = engine(folder.path(), &text);
    for (n, before) in [1, 3, 5, 7].into_iter().zip(before) {
        assert_eq!(
            rows(&second, &format!("SELECT n FROM v{n}")).await,
            before,
            "v{n}"
        );
    }
    second.stop();
}
