//! Queries over views: values of all types in both protocols, errors with their codes and places.

use crate::support::{Running, refused, simple, state};
use tokio_postgres::types::Type;

#[tokio::test(flavor = "multi_thread")]
async fn values_as_text() {
    let running = Running::start();
    let client = running.client().await;
    assert_eq!(
        simple(&client, "SELECT * FROM orders ORDER BY id LIMIT 2").await,
        [
            r#"1|ada|A|2|10.50|2026-01-01 10:00:00.5|{new,gift}|{"city":"Rome","zip":100}"#,
            r"2|bob|B|1|99.99|2026-01-01 11:00:00|{}|~",
        ]
    );
    assert_eq!(
        simple(
            &client,
            "SELECT sku, orders, units, revenue FROM sales ORDER BY sku"
        )
        .await,
        ["A|1|2|21.00", "B|2|4|399.96", "C|1|5|0.05"]
    );
    assert_eq!(
        simple(
            &client,
            "SELECT units FROM per_customer WHERE customer = 'ada'"
        )
        .await,
        ["5"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn distinct_from_binds_before_and_and_or() {
    let running = Running::start();
    let client = running.client().await;
    assert_eq!(
        simple(
            &client,
            "SELECT 1 IS DISTINCT FROM 1 OR true, 1 IS NOT DISTINCT FROM 2 AND false, 1 IS DISTINCT FROM (1 + 1)"
        )
        .await,
        ["t|f|t"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_as_bytes() {
    let running = Running::start();
    let client = running.client().await;
    // tokio-postgres asks for binary values always.
    let row = client.query_one("SELECT id, customer, units, units * 0.5 AS half, id > 0 AS yes, tags, NULL AS nothing FROM orders WHERE id = 1", &[]).await.unwrap();
    assert_eq!(
        (
            row.get::<_, i32>(0),
            row.get::<_, &str>(1),
            row.get::<_, i64>(2)
        ),
        (1, "ada", 2)
    );
    assert_eq!(row.columns()[3].type_(), &Type::NUMERIC);
    assert!(row.get::<_, bool>(4));
    assert_eq!(row.get::<_, Vec<String>>(5), ["new", "gift"]);
    assert_eq!(row.get::<_, Option<String>>(6), None);
    let row = client
        .query_one(
            "SELECT CAST(1.5 AS DOUBLE), CAST(2 AS SMALLINT), CAST(1.25 AS REAL), X'00ff'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        (
            row.get::<_, f64>(0),
            row.get::<_, i16>(1),
            row.get::<_, f32>(2)
        ),
        (1.5, 2, 1.25)
    );
    assert_eq!(row.get::<_, Vec<u8>>(3), [0, 255]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_sql_over_views() {
    let running = Running::start();
    let client = running.client().await;
    let joined = "WITH big AS (SELECT * FROM orders WHERE units > 1) \
        SELECT b.customer, s.revenue, rank() OVER (ORDER BY s.revenue DESC) FROM big b JOIN sales s USING (sku) WHERE EXISTS (SELECT 1 FROM per_customer p WHERE p.units = 5) ORDER BY 3";
    assert_eq!(
        simple(&client, joined).await,
        ["ada|399.96|1", "ada|21.00|2", "~|0.05|3"]
    );
    assert_eq!(simple(&client, "SELECT 1; SELECT 2;").await, ["1", "2"]);
    assert_eq!(
        simple(&client, "VALUES (1, 'a'), (2, 'b')").await,
        ["1|a", "2|b"]
    );
    assert_eq!(
        simple(&client, "SELECT count(*) FROM `orders` AS `o`").await,
        ["4"]
    );
    assert!(simple(&client, "").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_codes() {
    let running = Running::start();
    let client = running.client().await;
    for (text, code) in [
        ("SELECT * FROM nothing", "42P01"),
        ("SELECT nothing FROM orders", "42703"),
        ("SELEC 1", "42601"),
        ("SELECT FROM WHERE", "42601"),
        ("SELECT 1 FROM orders GROUP", "42601"),
        ("SELECT CAST('x' AS INT)", "22P02"),
        ("SELECT 1 / (id - id) FROM orders", "22012"),
        ("SELECT nothing(1)", "42883"),
        ("SELECT sku FROM orders GROUP BY id", "42803"),
        ("UPDATE orders SET id = 1", "0A000"),
        (
            "CREATE MATERIALIZED VIEW sales AS SELECT 1 AS one FROM order_lines",
            "42P07",
        ),
        ("DROP MATERIALIZED VIEW nothing", "42P01"),
        ("SELECT * FROM order_lines", "42809"),
        ("SET nothing = 1", "42704"),
        ("SELECT id INTO copied FROM orders", "0A000"),
        ("SELECT $1", "42P02"),
    ] {
        assert_eq!(state(&client, text).await, code, "{text}");
    }
    assert_eq!(simple(&client, "SELECT 'still here'").await, ["still here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_places_and_hints() {
    use tokio_postgres::error::ErrorPosition;
    let running = Running::start();
    let client = running.client().await;
    let error = client
        .simple_query("SELECT 1;\nSELECT id, nosuch FROM orders")
        .await
        .unwrap_err();
    let found = error.as_db_error().unwrap();
    assert_eq!(found.position(), Some(&ErrorPosition::Original(22)));
    let error = client.simple_query("SELECT * FROM sale").await.unwrap_err();
    let found = error.as_db_error().unwrap();
    assert_eq!(found.hint(), Some("did you mean \"sales\"?"));
    let error = client
        .simple_query("SELECT 1; CREATE TABLE t (a INTT) WITH ('connector' = 'datagen')")
        .await
        .unwrap_err();
    let position = error.as_db_error().unwrap().position().cloned();
    assert!(
        matches!(position, Some(ErrorPosition::Original(29..=34))),
        "{position:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_pipeline_skips_to_the_sync() {
    let running = Running::start();
    let client = running.client().await;
    // tokio-postgres sends these ahead of their answers; each has a Sync of its own.
    let (one, bad, two) = tokio::join!(
        client.query("SELECT 1", &[]),
        client.query("SELECT nosuch FROM orders", &[]),
        client.query("SELECT 2", &[])
    );
    assert_eq!(
        (
            one.unwrap()[0].get::<_, i64>(0),
            two.unwrap()[0].get::<_, i64>(0)
        ),
        (1, 2)
    );
    assert_eq!(refused(bad).0, "42703");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_read_by_its_key_and_by_names_in_any_case() {
    let running = Running::start();
    let client = running.client().await;
    assert_eq!(
        simple(&client, "SELECT units FROM SALES WHERE SKU = 'B'").await,
        ["4"]
    );
    let row = client
        .query_one("SELECT units FROM sales WHERE sku = $1", &[&"C"])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 5);
}
