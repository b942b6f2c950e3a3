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
        ..Config::default()
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
        error.contains("\"orders\" is a table: it holds no rows to read"),
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
        ..Config::default()
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
        ..Config::default()
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

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_replaced_and_its_readers_with_it() {
    let (engine, _file) = engine(&ROWS);
    let sent = answer(
        &engine,
        "CREATE VIEW twice AS SELECT sku, 2 * units AS units FROM sold;
         CREATE MATERIALIZED VIEW big AS SELECT sku FROM twice WHERE units > 3;
         CREATE OR REPLACE MATERIALIZED VIEW sold AS SELECT sku, SUM(qty) + CAST(COUNT(*) AS INT) AS units FROM orders GROUP BY sku",
    );
    assert!(sent.await.unwrap().ends_with("\nCREATE MATERIALIZED VIEW"));
    let sold = cells(&engine, "SELECT sku, units FROM sold ORDER BY sku").await;
    assert_eq!(sold, ["A 7", "B 2", "C 1"]);
    assert_eq!(
        cells(&engine, "SELECT units FROM sold WHERE sku = 'B'").await,
        ["2"]
    );
    assert_eq!(
        cells(&engine, "SELECT sku FROM big ORDER BY sku").await,
        ["A", "B"]
    );
    let nodes = |engine: &Engine| engine.progress().unwrap().nodes.len();
    let before = nodes(&engine);
    answer(
        &engine,
        "CREATE OR REPLACE VIEW twice AS SELECT sku, units - 6 AS units FROM sold",
    )
    .await
    .unwrap();
    assert!(cells(&engine, "SELECT sku FROM big").await.is_empty());
    // What was replaced is gone.
    assert!(nodes(&engine) <= before);
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_cannot_be_replaced_stays() {
    let (engine, _file) = engine(&ROWS);
    answer(
        &engine,
        "CREATE MATERIALIZED VIEW big AS SELECT * FROM sold WHERE units > 1",
    )
    .await
    .unwrap();
    let nodes = engine.progress().unwrap().nodes.len();
    for (statement, why) in [
        (
            "SELECT sku, COUNT(*) AS n FROM orders GROUP BY sku",
            "units",
        ),
        ("SELECT sku, 'x' AS units FROM orders", "big"),
        (
            "SELECT sku, units + 1 AS units FROM sold",
            "`sold` can't read itself",
        ),
        (
            "SELECT sku, units FROM big",
            "`sold` can't read `big`, which reads it",
        ),
        ("SELECT sku, 1 / qty AS units FROM orders", "ivide by zero"),
    ] {
        let sent = format!("CREATE OR REPLACE MATERIALIZED VIEW sold AS {statement}");
        let error = answer(&engine, &sent).await.unwrap_err();
        assert!(error.contains(why), "{statement}: {error}");
        assert_eq!(
            cells(&engine, "SELECT * FROM sold ORDER BY sku").await,
            ["A 5", "B 1", "C 0"],
            "{statement}"
        );
        assert_eq!(cells(&engine, "SELECT * FROM big").await, ["A 5"]);
        assert_eq!(engine.progress().unwrap().nodes.len(), nodes, "{statement}");
    }
    for (statement, why) in [
        (
            "CREATE OR REPLACE VIEW sold AS SELECT 1 AS a",
            "`sold` is a materialized view",
        ),
        (
            "CREATE OR REPLACE MATERIALIZED VIEW orders AS SELECT 1 AS a",
            "`orders` is a table",
        ),
    ] {
        let error = answer(&engine, statement).await.unwrap_err();
        assert!(error.contains(why), "{statement}: {error}");
    }
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_insert_reads_is_not_replaced() {
    let (engine, _file) = engine(&ROWS);
    answer(
        &engine,
        "CREATE TABLE nowhere (sku STRING, units INT) WITH ('connector' = 'blackhole');
         INSERT INTO nowhere SELECT sku, units FROM sold",
    )
    .await
    .unwrap();
    let error = answer(
        &engine,
        "CREATE OR REPLACE MATERIALIZED VIEW sold AS SELECT sku, 0 AS units FROM orders",
    )
    .await
    .unwrap_err();
    assert!(
        error.contains("other views or sinks read `sold`"),
        "{error}"
    );
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_go_on_while_a_view_is_replaced_again_and_again() {
    let (engine, _file) = engine(&ROWS);
    let reader = tokio::spawn({
        let engine = engine.clone();
        async move {
            let mut seen = Vec::new();
            loop {
                let rows = cells(&engine, "SELECT units FROM sold WHERE sku = 'A'").await;
                assert_eq!(rows.len(), 1, "{rows:?}");
                seen.push(rows[0].parse::<i64>().unwrap());
                if seen.last() == Some(&25) {
                    return seen;
                }
            }
        }
    });
    for added in 1..=20 {
        answer(
            &engine,
            &format!("CREATE OR REPLACE MATERIALIZED VIEW sold AS SELECT sku, SUM(qty) + {added} AS units FROM orders GROUP BY sku"),
        )
        .await
        .unwrap();
    }
    assert!(reader.await.unwrap().is_sorted());
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_replace_its_own_views() {
    let (engine, _file) = engine(&[]);
    engine.stop();
    let (engine, file) = (Engine::new(Config::default()), _file);
    ROWS.iter()
        .for_each(|row| writeln!(file.as_file(), "{row}").unwrap());
    let text = format!(
        "CREATE TABLE orders (id INT, sku STRING, qty INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         CREATE TEMPORARY VIEW some AS SELECT * FROM orders WHERE id < 3;
         CREATE MATERIALIZED VIEW n AS SELECT COUNT(*) AS n FROM some;
         CREATE MATERIALIZED VIEW gone AS SELECT COUNT(*) AS n FROM some;
         CREATE OR REPLACE TEMPORARY VIEW some AS SELECT * FROM orders WHERE id < 4;
         DROP MATERIALIZED VIEW gone;
         ALTER MATERIALIZED VIEW n RENAME TO many;",
        file.path().display()
    );
    engine.run(&text).unwrap();
    engine.wait_end().unwrap();
    assert_eq!(cells(&engine, "SELECT n FROM many").await, ["3"]);
    assert_eq!(cells(&engine, "SHOW MATERIALIZED VIEWS").await, ["many"]);
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_change_and_go_only_when_nothing_reads_them() {
    let (engine, file) = engine(&ROWS);
    answer(
        &engine,
        "ALTER MATERIALIZED VIEW sold RENAME TO `units sold`",
    )
    .await
    .unwrap();
    assert_eq!(
        cells(&engine, "SELECT COUNT(*) FROM \"units sold\"").await,
        ["3"]
    );
    let shown = answer(&engine, "SHOW CREATE MATERIALIZED VIEW `units sold`").await;
    assert!(
        shown
            .unwrap()
            .contains("CREATE MATERIALIZED VIEW `units sold` AS SELECT sku")
    );
    answer(
        &engine,
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM `units sold`",
    )
    .await
    .unwrap();
    for (statement, why) in [
        ("DROP TABLE orders", "other views or sinks read `orders`"),
        (
            "ALTER MATERIALIZED VIEW `units sold` RENAME TO sold",
            "other views or sinks read `units sold`",
        ),
        (
            "ALTER MATERIALIZED VIEW v RENAME TO orders",
            "there already is a table `orders`",
        ),
        (
            "ALTER TABLE orders RENAME TO o",
            "ALTER TABLE `orders` RENAME TO is not supported",
        ),
        ("ALTER TABLE orders SET ('path' = 'x')", "is not supported"),
        (
            "ALTER MATERIALIZED VIEW v AS SELECT 1 AS a",
            "CREATE OR REPLACE MATERIALIZED VIEW",
        ),
        ("ALTER VIEW v RENAME TO w", "`v` is a materialized view"),
    ] {
        let error = engine
            .execute(&engine.session(), statement)
            .await
            .unwrap_err();
        let said = format!("{error} {}", error.hint.clone().unwrap_or_default());
        assert!(said.contains(why), "{statement}: {said}");
    }
    let other = tempfile::Builder::new()
        .suffix(".jsonl")
        .tempfile()
        .unwrap();
    writeln!(other.as_file(), "{}", ROWS[0]).unwrap();
    // Another table under the name of one that was read is another table.
    let sent = format!(
        "DROP MATERIALIZED VIEW v; DROP MATERIALIZED VIEW `units sold`; DROP TABLE orders;
         CREATE TABLE orders (id INT, sku STRING, qty INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         CREATE MATERIALIZED VIEW n AS SELECT COUNT(*) AS n FROM orders",
        other.path().display()
    );
    answer(&engine, &sent).await.unwrap();
    assert_eq!(cells(&engine, "SELECT n FROM n").await, ["1"]);
    drop(file);
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_go_with_their_table() {
    let file = tempfile::Builder::new()
        .suffix(".jsonl")
        .tempfile()
        .unwrap();
    writeln!(file.as_file(), "{{\"id\":1}}\nnothing").unwrap();
    let engine = Engine::new(Config::default());
    let table = format!(
        "CREATE TABLE t (id INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json', 'bad-records' = 'dead-letter')",
        file.path().display()
    );
    let view = "CREATE MATERIALIZED VIEW v AS SELECT id FROM t";
    engine.run(&format!("{table};{view}")).unwrap();
    engine.wait_end().unwrap();
    let error = answer(&engine, "DROP MATERIALIZED VIEW t_dead_letters")
        .await
        .unwrap_err();
    assert!(error.contains("holds the bad records of `t`"), "{error}");
    let sent = format!("DROP MATERIALIZED VIEW v; DROP TABLE t; {table}; {view}");
    answer(&engine, &sent).await.unwrap();
    assert_eq!(
        cells(&engine, "SELECT COUNT(*) FROM t_dead_letters").await,
        ["1"]
    );
    engine.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_views_are_explained() {
    let (engine, _file) = engine(&ROWS);
    let plan = answer(&engine, "EXPLAIN SELECT sku FROM sold WHERE units > 1").await;
    assert!(plan.unwrap().contains("(running)"));
    let plan = answer(
        &engine,
        "EXPLAIN CREATE OR REPLACE MATERIALIZED VIEW sold AS SELECT id FROM orders",
    )
    .await;
    assert!(plan.unwrap().contains("View sold"));
    engine.stop();
}
