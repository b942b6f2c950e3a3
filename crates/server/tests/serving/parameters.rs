//! Parameters of all common types, declared by the client and inferred from the statement.

use crate::support::{Running, refused};
use tokio_postgres::types::Type;

#[tokio::test(flavor = "multi_thread")]
async fn inferred_from_columns() {
    let running = Running::start();
    let client = running.client().await;
    let statement = client
        .prepare(
            "SELECT id FROM orders WHERE units > $1 AND customer = $2 AND price < $3 ORDER BY id",
        )
        .await
        .unwrap();
    assert_eq!(statement.params(), [Type::INT8, Type::TEXT, Type::NUMERIC]);
    assert_eq!(statement.columns()[0].type_(), &Type::INT4);
    let statement = client
        .prepare("SELECT id FROM orders WHERE units > $1 AND customer = $2 ORDER BY id LIMIT $3")
        .await
        .unwrap();
    let ids = |rows: Vec<tokio_postgres::Row>| {
        rows.iter()
            .map(|row| row.get::<_, i32>(0))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids(client
            .query(&statement, &[&1_i64, &"ada", &10_i64])
            .await
            .unwrap()),
        [1, 3]
    );
    assert_eq!(
        ids(client
            .query(&statement, &[&2_i64, &"ada", &10_i64])
            .await
            .unwrap()),
        [3]
    );
    assert_eq!(
        ids(client
            .query(&statement, &[&1_i64, &"ada", &1_i64])
            .await
            .unwrap()),
        [1]
    );
    assert_eq!(
        ids(client
            .query(&statement, &[&None::<i64>, &"ada", &1_i64])
            .await
            .unwrap()),
        Vec::<i32>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_by_the_client() {
    let running = Running::start();
    let client = running.client().await;
    let types = [
        Type::INT2,
        Type::FLOAT8,
        Type::BOOL,
        Type::BYTEA,
        Type::TEXT,
        Type::INT4_ARRAY,
    ];
    let statement = client
        .prepare_typed("SELECT $1, $2, $3, $4, $5, $6", &types)
        .await
        .unwrap();
    assert_eq!(statement.params(), types);
    let row = client
        .query_one(
            &statement,
            &[&7_i16, &1.5_f64, &true, &vec![0_u8, 9], &"é", &vec![1, 2]],
        )
        .await
        .unwrap();
    assert_eq!(
        (
            row.get::<_, i16>(0),
            row.get::<_, f64>(1),
            row.get::<_, bool>(2)
        ),
        (7, 1.5, true)
    );
    assert_eq!(
        (
            row.get::<_, Vec<u8>>(3),
            row.get::<_, &str>(4),
            row.get::<_, Vec<i32>>(5)
        ),
        (vec![0, 9], "é", vec![1, 2])
    );
    let rows = client
        .query(
            "SELECT id FROM orders WHERE id = ANY($1) ORDER BY id",
            &[&vec![1, 4, 9]],
        )
        .await
        .unwrap();
    assert_eq!(
        rows.iter()
            .map(|row| row.get::<_, i32>(0))
            .collect::<Vec<_>>(),
        [1, 4]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_of_nothing_known_is_text() {
    let running = Running::start();
    let client = running.client().await;
    let statement = client.prepare("SELECT $1").await.unwrap();
    assert_eq!(
        (statement.params(), statement.columns()[0].type_()),
        (&[Type::TEXT][..], &Type::TEXT)
    );
    assert_eq!(
        client
            .query_one(&statement, &[&"x"])
            .await
            .unwrap()
            .get::<_, &str>(0),
        "x"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_told() {
    let running = Running::start();
    let client = running.client().await;
    let statement = client
        .prepare_typed("SELECT CAST($1 AS INT)", &[Type::TEXT])
        .await
        .unwrap();
    assert_eq!(
        refused(client.query(&statement, &[&"twelve"]).await).0,
        "22P02"
    );
    assert_eq!(
        client
            .query_one(&statement, &[&"12"])
            .await
            .unwrap()
            .get::<_, i32>(0),
        12
    );
    assert_eq!(refused(client.prepare("SELECT $0").await).0, "42P02");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_outlive_changes_of_the_catalog() {
    let running = Running::start();
    let client = running.client().await;
    let statement = client
        .prepare("SELECT sku, units FROM sales WHERE sku = $1")
        .await
        .unwrap();
    client
        .batch_execute("CREATE MATERIALIZED VIEW other AS SELECT id FROM order_lines")
        .await
        .unwrap();
    assert_eq!(
        client
            .query_one(&statement, &[&"A"])
            .await
            .unwrap()
            .get::<_, i64>(1),
        2
    );
    client
        .batch_execute("DROP MATERIALIZED VIEW sales")
        .await
        .unwrap();
    assert_eq!(refused(client.query(&statement, &[&"A"]).await).0, "42P01");
    client.batch_execute("CREATE MATERIALIZED VIEW sales AS SELECT sku, CAST(sku AS STRING) AS units FROM order_lines").await.unwrap();
    assert_eq!(
        refused(client.query(&statement, &[&"A"]).await),
        (
            "0A000".to_owned(),
            "cached plan must not change result type".to_owned()
        )
    );
}
