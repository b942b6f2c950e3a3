//! Pipelines changed over the port: created, explained, listed, dropped.

use crate::support::{Running, eventually, refused, simple, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_created_read_and_dropped() {
    let running = Running::start();
    let client = running.client().await;
    client.batch_execute("CREATE MATERIALIZED VIEW expensive AS SELECT sku, revenue FROM sales WHERE revenue > 20").await.unwrap();
    eventually("the view has caught up", async || {
        simple(&client, "SELECT sku FROM expensive ORDER BY sku").await == ["A", "B"]
    })
    .await;
    assert_eq!(
        state(&client, "DROP MATERIALIZED VIEW sales").await,
        "2BP01"
    );
    client
        .batch_execute("DROP MATERIALIZED VIEW expensive")
        .await
        .unwrap();
    assert_eq!(state(&client, "SELECT * FROM expensive").await, "42P01");
    client
        .batch_execute("DROP MATERIALIZED VIEW IF EXISTS expensive")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_replaced_under_a_prepared_query() {
    let running = Running::start();
    let client = running.client().await;
    client
        .batch_execute("CREATE MATERIALIZED VIEW one AS SELECT 1 AS n, sku FROM sales")
        .await
        .unwrap();
    let prepared = client
        .prepare("SELECT max(n) FROM one WHERE sku = 'A'")
        .await
        .unwrap();
    client
        .batch_execute("CREATE OR REPLACE MATERIALIZED VIEW one AS SELECT 2 AS n, sku FROM sales")
        .await
        .unwrap();
    let rows = client.query(&prepared, &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i32>(0), 2);
    for (statement, code) in [
        ("CREATE OR REPLACE VIEW one AS SELECT 3 AS n", "42809"),
        (
            "CREATE OR REPLACE MATERIALIZED VIEW sales AS SELECT 1 AS n",
            // The views that read it miss their columns.
            "42703",
        ),
        ("ALTER MATERIALIZED VIEW sales RENAME TO sold", "2BP01"),
        ("ALTER MATERIALIZED VIEW one RENAME TO sales", "42P07"),
        ("ALTER MATERIALIZED VIEW one AS SELECT 1 AS n", "0A000"),
    ] {
        assert_eq!(state(&client, statement).await, code, "{statement}");
    }
    client
        .batch_execute("ALTER MATERIALIZED VIEW one RENAME TO two")
        .await
        .unwrap();
    assert_eq!(simple(&client, "SELECT max(n) FROM two").await, ["2"]);
    assert_eq!(state(&client, "SELECT * FROM one").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_both_protocols() {
    let running = Running::start();
    let client = running.client().await;
    assert_eq!(
        simple(&client, "SHOW MATERIALIZED VIEWS").await,
        ["orders", "per_customer", "sales"]
    );
    let rows = client.query("SHOW MATERIALIZED VIEWS", &[]).await.unwrap();
    assert_eq!(
        rows.iter()
            .map(|row| row.get::<_, &str>(0))
            .collect::<Vec<_>>(),
        ["orders", "per_customer", "sales"]
    );
    let described = simple(&client, "DESCRIBE sales").await;
    assert!(described[0].starts_with("sku|STRING"), "{described:?}");
    let plan = simple(
        &client,
        "EXPLAIN SELECT sku, COUNT(*) FROM order_lines GROUP BY sku",
    )
    .await;
    assert!(!plan.is_empty());
    assert!(
        simple(&client, "SHOW CREATE MATERIALIZED VIEW sales").await[0].contains("GROUP BY sku")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_notices() {
    let running = Running::start();
    let config = format!(
        "host={} port={} user=shop",
        running.pg().ip(),
        running.pg().port()
    );
    let (client, mut connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls)
        .await
        .unwrap();
    let (sender, mut notices) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let tokio_postgres::AsyncMessage::Notice(notice) = message {
                sender.send(notice.message().to_owned()).await.unwrap();
            }
        }
    });
    client
        .batch_execute("SET 'parallelism.default' = '4'")
        .await
        .unwrap();
    assert!(notices.recv().await.unwrap().contains("changes nothing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_says_so_and_the_rest_goes_on() {
    let running = Running::start();
    let client = running.client().await;
    client
        .batch_execute(
            "CREATE MATERIALIZED VIEW broken AS SELECT id, 1 / (id - 2) AS x FROM order_lines",
        )
        .await
        .unwrap_or(());
    eventually("the view has failed", async || {
        client.simple_query("SELECT * FROM broken").await.is_err()
    })
    .await;
    let (code, message) = refused(client.simple_query("SELECT * FROM broken").await);
    assert_eq!(code, "55000", "{message}");
    assert!(message.starts_with("view \"broken\""), "{message}");
    assert!(
        message.contains("broken") || message.to_lowercase().contains("zero"),
        "{message}"
    );
    assert_eq!(simple(&client, "SELECT count(*) FROM sales").await, ["3"]);
    client
        .batch_execute("DROP MATERIALIZED VIEW broken")
        .await
        .unwrap();
}
