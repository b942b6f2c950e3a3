//! Transactions as clients see them, cursors, portals with row limits, settings.

use crate::support::{Running, refused, simple, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_waits_for_its_end() {
    let running = Running::start();
    let client = running.client().await;
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(state(&client, "SELECT nosuch FROM orders").await, "42703");
    assert_eq!(state(&client, "SELECT 1").await, "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(simple(&client, "SELECT 1").await, ["1"]);
    client
        .batch_execute("BEGIN; SAVEPOINT a; SELECT 1; RELEASE a; COMMIT")
        .await
        .unwrap();
    client
        .batch_execute("START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; END")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_give_their_rows_in_parts() {
    let running = Running::start();
    let mut client = running.client().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction
        .bind("SELECT id FROM orders ORDER BY id", &[])
        .await
        .unwrap();
    let part = async |rows_max| {
        transaction
            .query_portal(&portal, rows_max)
            .await
            .unwrap()
            .iter()
            .map(|row| row.get::<_, i32>(0))
            .collect::<Vec<_>>()
    };
    assert_eq!(part(3).await, [1, 2, 3]);
    assert_eq!(part(3).await, [4]);
    assert_eq!(part(3).await, Vec::<i32>::new());
    // Nothing that a client can announce is taken for memory; less than nothing is all.
    let portal = transaction
        .bind("SELECT id FROM orders ORDER BY id", &[])
        .await
        .unwrap();
    assert_eq!(
        transaction
            .query_portal(&portal, i32::MAX)
            .await
            .unwrap()
            .len(),
        4
    );
    let portal = transaction
        .bind("SELECT id FROM orders ORDER BY id", &[])
        .await
        .unwrap();
    assert_eq!(
        transaction.query_portal(&portal, -1).await.unwrap().len(),
        4
    );
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors() {
    let running = Running::start();
    let client = running.client().await;
    assert_eq!(
        state(&client, "DECLARE c CURSOR FOR SELECT 1").await,
        "25P01"
    );
    client
        .batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id")
        .await
        .unwrap();
    assert_eq!(simple(&client, "FETCH FORWARD 2 FROM c").await, ["1", "2"]);
    client.batch_execute("MOVE 1 FROM c").await.unwrap();
    assert_eq!(simple(&client, "FETCH ALL FROM c").await, ["4"]);
    client.batch_execute("CLOSE c; COMMIT").await.unwrap();
    assert_eq!(state(&client, "FETCH ALL FROM c").await, "34000");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_tools_read_and_write() {
    let running = Running::start();
    let client = running.client().await;
    for (name, value) in [
        ("server_version", "16.6"),
        ("transaction_isolation", "read committed"),
        ("standard_conforming_strings", "on"),
        ("search_path", "\"$user\", public"),
        ("TRANSACTION ISOLATION LEVEL", "read committed"),
        ("client_encoding", "UTF8"),
    ] {
        assert_eq!(simple(&client, &format!("SHOW {name}")).await, [value]);
    }
    client.batch_execute("SET application_name TO 'x'; SET extra_float_digits = 3; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").await.unwrap();
    assert_eq!(
        client
            .query_one("SHOW application_name", &[])
            .await
            .unwrap()
            .get::<_, &str>(0),
        "x"
    );
    client
        .batch_execute("RESET application_name; DISCARD ALL; DEALLOCATE ALL")
        .await
        .unwrap();
    assert_eq!(simple(&client, "SHOW application_name").await, [""]);
    assert_eq!(
        state(&client, "SET client_encoding = 'LATIN1'").await,
        "22023"
    );
    assert_eq!(simple(&client, "SELECT current_setting('server_version'), current_user, current_schema(), current_database()").await, ["16.6|shop|public|millstream"]);
    assert!(
        simple(&client, "SELECT version()").await[0].starts_with("PostgreSQL 16.6 (Millstream")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_shown_in_the_sessions_zone() {
    let running = Running::start();
    let client = running.client().await;
    let query = "SELECT CAST('2026-07-01T12:00:00Z' AS TIMESTAMP WITH TIME ZONE)";
    assert_eq!(simple(&client, query).await, ["2026-07-01 12:00:00+00"]);
    client
        .batch_execute("SET TIME ZONE 'Europe/Rome'")
        .await
        .unwrap();
    assert_eq!(simple(&client, query).await, ["2026-07-01 14:00:00+02"]);
    client
        .batch_execute("SET TIME ZONE 'Asia/Kolkata'")
        .await
        .unwrap();
    assert!(simple(&client, "SELECT now()").await[0].ends_with("+05:30"));
    assert_eq!(
        client
            .query_one("SELECT now()", &[])
            .await
            .unwrap()
            .columns()[0]
            .type_(),
        &tokio_postgres::types::Type::TIMESTAMPTZ
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_can_be_cancelled_and_takes_no_longer_than_it_may() {
    let running = Running::start();
    let client = running.client().await;
    let endless =
        "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b";
    let token = client.cancel_token();
    let cancel = async {
        tokio::time::timeout(
            std::time::Duration::from_millis(300),
            std::future::pending::<()>(),
        )
        .await
        .unwrap_err();
        token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    };
    let (ended, ()) = tokio::join!(client.simple_query(endless), cancel);
    assert_eq!(
        refused(ended),
        (
            "57014".to_owned(),
            "canceling statement due to user request".to_owned()
        )
    );
    client
        .batch_execute("SET statement_timeout = 200")
        .await
        .unwrap();
    assert_eq!(
        refused(client.simple_query(endless).await),
        (
            "57014".to_owned(),
            "canceling statement due to statement timeout".to_owned()
        )
    );
    assert_eq!(simple(&client, "SELECT 1").await, ["1"]);
}
