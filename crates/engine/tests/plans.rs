//! What pipeline files are planned to, and which are refused, and why.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use expect_test::{Expect, expect};
use millstream_engine::{Config, Engine, render};

const TABLES: &str = "\
CREATE TABLE orders (
  id INT, sku STRING, qty INT, buyer ROW<name STRING, city STRING>, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'datagen');
CREATE TABLE shipments (order_id INT, sts TIMESTAMP(3), WATERMARK FOR sts AS sts - INTERVAL '5' SECOND) WITH ('connector' = 'datagen');
CREATE TABLE dropped (sku STRING, n BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE appended (sku STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'nowhere', 'format' = 'json');
";

fn plan(sql: &str) -> String {
    let text = format!("{TABLES}{sql}");
    match Engine::new(Config::default()).check(&text) {
        Ok((graph, _)) => graph,
        Err(error) => render(&error, sql, "shop.sql"),
    }
}

fn check(sql: &str, expected: &Expect) {
    expected.assert_eq(&plan(sql));
}

/// The message and the hint of a refusal.
fn refused(sql: &str) -> (String, String) {
    let text = format!("{TABLES}{sql}");
    match Engine::new(Config::default()).check(&text) {
        Ok((graph, _)) => (format!("accepted: {graph}"), String::new()),
        Err(error) => (error.message, error.hint.unwrap_or_default()),
    }
}

#[test]
fn only_the_wanted_fields_are_read() {
    check(
        "CREATE MATERIALIZED VIEW v AS SELECT o.buyer.city, COUNT(*) AS n FROM orders AS o GROUP BY o.buyer.city;",
        &expect![[r#"
            #1 View v key: city
              #3 Aggregate keys=[buyer.city] [COUNT(*)] state: one entry for each buyer.city
                #2 Source orders [buyer.city] datagen of 10000 rows/s <- exchange by buyer.city
        "#]],
    );
}

#[test]
fn windows_bound_their_state() {
    check(
        "INSERT INTO dropped SELECT sku, COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
         GROUP BY window_start, window_end, sku;",
        &expect![[r#"
            #6 Sink dropped blackhole
              #5 Project: sku, EXPR$1 AS n
                #4 Project: sku, COUNT(*) AS EXPR$1
                  #3 WindowAggregate TUMBLE size=60000ms on ts keys=[sku] [COUNT(*)] state: until the watermark passes
                    #2 Project: ts, sku <- exchange by sku
                      #1 Source orders [sku, ts] datagen of 10000 rows/s
        "#]],
    );
}

#[test]
fn intervals_bound_joins() {
    check(
        "CREATE MATERIALIZED VIEW v AS SELECT o.id, s.sts FROM orders AS o LEFT JOIN shipments AS s
         ON o.id = s.order_id AND s.sts BETWEEN o.ts AND o.ts + INTERVAL '1' HOUR;",
        &expect![[r#"
            #1 View v key: whole row
              #5 Project: id, sts
                #4 Join: left on id = order_id and sts >= ts AND sts <= ts + INTERVAL '1' HOUR, sts - ts in [0, 3600000] ms state: until the watermark passes
                  #2 Source orders [id, ts] datagen of 10000 rows/s <- exchange by id
                  #3 Source shipments [order_id, sts] datagen of 10000 rows/s <- exchange by order_id
        "#]],
    );
}

#[test]
fn the_latest_row_of_a_key_is_a_top_1() {
    check(
        "CREATE MATERIALIZED VIEW v AS SELECT id, qty FROM
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts DESC) AS rn FROM orders) WHERE rn = 1;",
        &expect![[r#"
            #1 View v key: id
              #4 Project: id, qty
                #3 TopK: first 1 of each id in order of ts DESC, append-only state: one entry for each id
                  #2 Source orders [id, qty, ts] datagen of 10000 rows/s <- exchange by id
        "#]],
    );
}

#[test]
fn rows_leave_as_time_passes() {
    check(
        "CREATE MATERIALIZED VIEW v AS SELECT sku, COUNT(*) AS n FROM orders WHERE ts > NOW() - INTERVAL '1' HOUR GROUP BY sku;",
        &expect![[r#"
            #1 View v key: sku
              #7 Aggregate keys=[sku] [COUNT(*)] state: one entry for each sku
                #6 Project: sku <- exchange by sku
                  #5 Project: buyer, id, qty, sku, ts
                    #4 TemporalFilter: NOW() < CAST(ts AS TIMESTAMP_LTZ(3)) + INTERVAL '1' HOUR state: until the clock passes
                      #3 Project: buyer, id, qty, sku, ts, CAST(ts AS TIMESTAMP_LTZ(3)) + INTERVAL '1' HOUR
                        #2 Source orders [buyer, id, qty, sku, ts] datagen of 10000 rows/s
        "#]],
    );
}

#[test]
fn rows_that_leave_with_the_clock_stay_above_closed_windows() {
    let graph = plan(
        "CREATE VIEW per_minute AS SELECT sku, window_end AS until, COUNT(*) AS n
         FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY sku, window_start, window_end;
         CREATE MATERIALIZED VIEW v AS SELECT sku, n FROM per_minute WHERE until > NOW() - INTERVAL '1' HOUR;",
    );
    let (filter, window) = (graph.find("TemporalFilter"), graph.find("WindowAggregate"));
    assert!(filter.is_some() && filter < window, "{graph}");
    let (message, _) = refused(
        "CREATE VIEW fresh AS SELECT * FROM orders WHERE ts > NOW() - INTERVAL '1' HOUR;
         CREATE MATERIALIZED VIEW v AS SELECT sku, COUNT(*) AS n
         FROM TABLE(TUMBLE(TABLE fresh, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY sku, window_start, window_end;",
    );
    assert!(
        message.ends_with("can't be taken out of a window that has closed"),
        "{message}"
    );
}

#[test]
fn columns_have_the_names_that_people_gave() {
    check(
        "CREATE VIEW big AS SELECT sku, SUM(qty) AS units FROM orders WHERE qty > 2 OR qty IS NULL GROUP BY sku;
         CREATE MATERIALIZED VIEW v AS
         SELECT a.sku, a.units - b.units AS more, ROW_NUMBER() OVER (ORDER BY a.units + 1 DESC) AS place
         FROM big AS a JOIN (SELECT sku, COUNT(*) AS units FROM orders GROUP BY sku) AS b ON a.sku = b.sku AND a.units > b.units;",
        &expect![[r#"
            #1 View v key: place
              #12 Project: a.sku, CAST(a.units AS BIGINT) - b.units AS more, ROW_NUMBER() AS place
                #11 TopK: all in order of a.units + 1 DESC state: every row of the input, for ever
                  #10 Project: a.sku, a.units, b.units, a.units + 1 <- exchange to one worker
                    #9 Project: a.sku, a.units, b.units
                      #8 Join: inner on sku = sku and CAST(a.units AS BIGINT) > b.units state: every row of both inputs, for ever
                        #5 Aggregate keys=[sku] [SUM(qty)] state: one entry for each sku
                          #4 Project: sku, qty <- exchange by sku
                            #3 Filter: qty > 2 OR qty IS NULL
                              #2 Source orders [qty, sku] datagen of 10000 rows/s
                        #7 Aggregate keys=[sku] [COUNT(*)] state: one entry for each sku
                          #6 Project: sku <- exchange by sku
                            #2 (above)
        "#]],
    );
}

#[test]
fn equal_sub_plans_run_once() {
    let graph = plan(
        "CREATE VIEW hot AS SELECT sku, COUNT(*) AS n FROM orders GROUP BY sku;
         INSERT INTO dropped SELECT sku, n FROM hot WHERE n > 1;
         INSERT INTO dropped SELECT sku, n FROM hot WHERE n > 2;",
    );
    assert_eq!(graph.matches("Aggregate").count(), 1, "{graph}");
    assert_eq!(graph.matches("Source orders").count(), 1, "{graph}");
}

#[test]
fn what_cannot_be_kept_right_is_refused_with_the_reason() {
    let cases = [
        (
            "SELECT NOW() AS t, sku FROM orders",
            "NOW() stands where its value would have to change without input",
        ),
        (
            "SELECT sku, SUM(qty) OVER (PARTITION BY sku ORDER BY qty) AS s FROM orders",
            "an aggregate OVER rows needs ORDER BY an event time, ascending",
        ),
        (
            "SELECT DISTINCT ON (sku) * FROM orders",
            "DISTINCT ON can't be maintained",
        ),
        (
            "SELECT LISTAGG(sku ORDER BY ts) AS l FROM orders",
            "LISTAGG with ORDER BY inside can't be maintained incrementally yet",
        ),
    ];
    for (query, reason) in cases {
        let (message, hint) = refused(&format!("CREATE MATERIALIZED VIEW v AS {query};"));
        assert!(message.ends_with(reason), "{query}: {message}");
        assert!(!hint.is_empty(), "{query}");
    }
}

#[test]
fn sinks_take_what_they_can_express() {
    let (message, _) =
        refused("INSERT INTO appended SELECT sku, COUNT(*) FROM orders GROUP BY sku;");
    assert_eq!(
        message,
        "table `appended` takes inserts only, but the query also updates or deletes rows it gave before"
    );
    let (message, _) = refused("INSERT INTO dropped SELECT sku FROM orders;");
    assert_eq!(
        message,
        "INSERT INTO `dropped` gives 1 columns, but the table has 2"
    );
    let (message, _) = refused("INSERT INTO dropped SELECT qty, id FROM orders;");
    assert_eq!(
        message,
        "INSERT INTO `dropped`: column `sku` is STRING, but the query gives INT"
    );
}

#[test]
fn errors_underline_the_text() {
    let text = "CREATE MATERIALIZED VIEW v AS\nSELECT skuu FROM orders;";
    let all = format!("{TABLES}{text}");
    let error = Engine::new(Config::default()).check(&all).unwrap_err();
    let rendered = render(&error, &all, "shop.sql");
    assert!(rendered.contains("SELECT skuu FROM orders;"), "{rendered}");
    assert!(rendered.contains("^^^^"), "{rendered}");
    assert!(rendered.contains("shop.sql:9:8"), "{rendered}");
}
