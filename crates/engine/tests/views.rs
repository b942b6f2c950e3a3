//! Views as sessions see them: created, read, dropped while the job runs; and what a failing one says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millstream_engine::{Config, Engine, Response};
use std::io::Write;

fn engine(rows: &[&str]) -> (Engine, tempfile::NamedTempFile) {
    let mut file = tempfile::Builder::new()
        .suffix(".jsonl")
        .tempfile()
        .unwrap();
    rows.iter().for_each(|row| writeln!(file, "{row}").unwrap());
    let engine = Engine::new(Config {
        workers: 2,
        step_rows_max: None,
    });
    let text = format!(
        "CREATE TABLE orders (id INT, sku STRING, qty INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         CREATE MATERIALIZED VIEW sold AS SELECT sku, SUM(qty) AS units FROM orders GROUP BY sku;",
        file.path().display()
    );
    engine.run(&text).unwrap();
    engine.wait_end().unwrap();
    (engine, file)
}

const ROWS: [&str; 4] = [
    r#"{"id":1,"sku":"A","qty":2}"#,
    r#"{"id":2,"sku":"B","qty":1}"#,
    r#"{"id":3,"sku":"A","qty":3}"#,
    r#"{"id":4,"sku":"C","qty":0}"#,
];

async fn answer(engine: &Engine, sql: &str) -> Result<String, String> {
    let responses = engine
        .execute(&engine.session(), sql)
        .await
        .map_err(|error| error.to_string())?;
    let texts = responses.iter().map(|response| match response {
        Response::Done { tag, .. } => tag.clone(),
        Response::Rows { batches, .. } => arrow::util::pretty::pretty_format_batches(batches)
            .unwrap()
            .to_string(),
    });
    Ok(texts.collect::<Vec<_>>().join("\n"))
}

async fn cells(engine: &Engine, sql: &str) -> Vec<String> {
    let table = answer(engine, sql).await.unwrap();
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|row| {
        row.split('|')
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_created_while_the_job_runs_catches_up() {
    let (engine, _file) = engine(&ROWS);
    assert_eq!(
        cells(&engine, "SELECT * FROM sold ORDER BY sku").await,
        ["A 5", "B 1", "C 0"]
    );
    assert_eq!(
        cells(&engine, "SELECT units FROM sold WHERE sku = 'B'").await,
        ["1"]
    );
    let created = answer(
        &engine,
        "CREATE MATERIALIZED VIEW big AS SELECT sku FROM sold WHERE units > 1",
    )
    .await;
    assert_eq!(created.unwrap(), "CREATE MATERIALIZED VIEW");
    assert_eq!(cells(&engine, "SELECT * FROM big").await, ["A"]);
    let created = answer(
        &engine,
        "CREATE MATERIALIZED VIEW many AS SELECT COUNT(*) AS n FROM orders",
    )
    .await;
    assert_eq!(created.unwrap(), "CREATE MATERIALIZED VIEW");
    assert_eq!(cells(&engine, "SELECT n FROM many").await, ["4"]);
    let refused = answer(&engine, "DROP MATERIALIZED VIEW sold")
        .await
        .unwrap_err();
    assert!(
        refused.contains("other views or sinks read `sold`"),
        "{refused}"
    );
    assert_eq!(
        answer(
            &engine,
            "DROP MATERIALIZED VIEW big; DROP MATERIALIZED VIEW sold"
        )
        .await
        .unwrap(),
        "DROP MATERIALIZED VIEW\nDROP MATERIALIZED VIEW"
    );
    assert!(answer(&engine, "SELECT * FROM sold").await.is_err());
    assert_eq!(cells(&engine, "SELECT n FROM many").await, ["4"]);
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_view_says_why_and_the_others_go_on() {
    let (engine, _file) = engine(&ROWS);
    let created = answer(
        &engine,
        "CREATE MATERIALIZED VIEW share AS SELECT id, 10 / qty AS x FROM orders",
    )
    .await;
    let why = match created {
        Ok(_) => answer(&engine, "SELECT * FROM share").await.unwrap_err(),
        Err(why) => why,
    };
    assert!(why.to_lowercase().contains("divide by zero"), "{why}");
    assert_eq!(cells(&engine, "SELECT COUNT(*) FROM sold").await, ["3"]);
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_no_views() {
    let (engine, _file) = engine(&ROWS);
    let error = answer(&engine, "SELECT * FROM orders").await.unwrap_err();
    assert!(
        error.contains("`orders` is a table: it holds no rows to read"),
        "{error}"
    );
    assert!(
        cells(&engine, "SHOW TABLES")
            .await
            .contains(&"orders".to_owned())
    );
    assert!(
        cells(&engine, "DESCRIBE orders")
            .await
            .iter()
            .any(|row| row.starts_with("qty INT"))
    );
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_are_rows_of_their_own_table() {
    let mut file = tempfile::Builder::new()
        .suffix(".jsonl")
        .tempfile()
        .unwrap();
    [
        r#"{"id":1,"at":"2024-01-01 00:00:00"}"#,
        r#"{"id":"x""#,
        r#"{"id":2}"#,
        r#"{"id":3,"at":"2024-01-01 00:00:01"}"#,
    ]
    .iter()
    .for_each(|row| writeln!(file, "{row}").unwrap());
    let engine = Engine::new(Config {
        workers: 1,
        step_rows_max: None,
    });
    let text = format!(
        "CREATE TABLE t (id INT, at TIMESTAMP(3), WATERMARK FOR at AS at) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
           'bad-records' = 'dead-letter');
         CREATE MATERIALIZED VIEW kept AS SELECT id, at FROM t;",
        file.path().display()
    );
    engine.run(&text).unwrap();
    engine.wait_end().unwrap();
    assert_eq!(
        cells(&engine, "SELECT id FROM kept ORDER BY id").await,
        ["1", "3"]
    );
    let reasons = cells(&engine, "SELECT reason FROM t_dead_letters ORDER BY reason").await;
    assert_eq!(
        reasons,
        [
            r#"column `id`: "x" is no INT"#,
            "the event time `at` is NULL"
        ]
    );
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_stamped_with_the_clock() {
    let mut file = tempfile::Builder::new()
        .suffix(".jsonl")
        .tempfile()
        .unwrap();
    ROWS.iter().for_each(|row| writeln!(file, "{row}").unwrap());
    let engine = Engine::new(Config {
        workers: 2,
        step_rows_max: None,
    });
    let text = format!(
        "CREATE TABLE orders (id INT, sku STRING, qty INT, p AS PROCTIME())
           WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         CREATE MATERIALIZED VIEW stamped AS SELECT id, p > TIMESTAMP '2020-01-01 00:00:00' AS is_now, PROCTIME() AS q FROM orders;
         CREATE MATERIALIZED VIEW last AS SELECT sku, id FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY sku ORDER BY p DESC) AS rn FROM orders) WHERE rn = 1;
         CREATE MATERIALIZED VIEW open AS SELECT sku, COUNT(*) AS n
           FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(p), INTERVAL '1' HOUR)) GROUP BY sku, window_start, window_end;",
        file.path().display()
    );
    engine.run(&text).unwrap();
    engine.wait_end().unwrap();
    assert_eq!(
        cells(
            &engine,
            "SELECT COUNT(*) FROM stamped WHERE is_now AND q IS NOT NULL"
        )
        .await,
        ["4"]
    );
    assert_eq!(
        cells(&engine, "SELECT id FROM last ORDER BY sku").await,
        ["3", "2", "4"]
    );
    // A window of the clock does not close because the input ends.
    assert_eq!(cells(&engine, "SELECT COUNT(*) FROM open").await, ["0"]);
    engine.stop();
}
