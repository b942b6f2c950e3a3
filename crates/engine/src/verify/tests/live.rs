//! Views of an engine that runs: verified at whatever step it is, from what the table function tells.

use super::faults;
use crate::verify::{Facts, Pipeline, SNAPSHOT};
use crate::{Config, Engine, Response};
use std::time::Duration;

/// Bids of an auction house that goes on for ever, in two partitions.
const PIPELINE: &str = "
CREATE TABLE events (
  event_type INT,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, `dateTime` TIMESTAMP(3), extra VARCHAR>,
  `at` AS bid.`dateTime`, WATERMARK FOR `at` AS `at` - INTERVAL '0.05' SECOND
) WITH ('connector' = 'nexmark', 'parts' = '2', 'rate' = '1000', 'next-event.rate' = '2000', 'bad-records' = 'skip');
CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, `at` FROM events WHERE event_type = 2;
CREATE MATERIALIZED VIEW per_auction AS SELECT auction, COUNT(*) AS n, SUM(price) AS s, MAX(price) AS m FROM bid GROUP BY auction;
CREATE MATERIALIZED VIEW tumble AS SELECT window_start, window_end, COUNT(*) AS n, SUM(price) AS s
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`at`), INTERVAL '0.1' SECOND)) GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW hop AS SELECT window_end, auction, COUNT(*) AS n
  FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`at`), INTERVAL '0.1' SECOND, INTERVAL '0.3' SECOND)) GROUP BY window_start, window_end, auction;
CREATE MATERIALIZED VIEW sessions AS SELECT bidder, window_start, window_end, COUNT(*) AS n
  FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(`at`), INTERVAL '0.02' SECOND)) GROUP BY bidder, window_start, window_end;
CREATE MATERIALIZED VIEW best AS SELECT window_end, auction, price, rn FROM
  (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY price DESC, auction, bidder) AS rn
   FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`at`), INTERVAL '0.2' SECOND))) WHERE rn <= 3;
CREATE MATERIALIZED VIEW sums AS SELECT auction, `at`, SUM(price) OVER (PARTITION BY auction ORDER BY `at`) AS s FROM bid;
CREATE MATERIALIZED VIEW pairs AS SELECT a.auction, a.price, b.price AS later FROM bid a LEFT JOIN bid b
  ON a.auction = b.auction AND a.bidder = b.bidder AND b.price > a.price AND b.`at` BETWEEN a.`at` AND a.`at` + INTERVAL '0.1' SECOND;
CREATE MATERIALIZED VIEW lately AS SELECT auction, price FROM bid WHERE `at` + INTERVAL '100' YEAR > NOW();
CREATE MATERIALIZED VIEW many AS SELECT n, COUNT(*) AS auctions FROM per_auction GROUP BY n;
";

async fn facts(engine: &Engine, names: &[&str]) -> Facts {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    let query = format!("SELECT * FROM {SNAPSHOT}({})", names.join(", "));
    let session = engine.session();
    let answer = engine.execute(&session, &query).await.unwrap();
    let Some(Response::Rows { batches, .. }) = answer.into_iter().next() else {
        panic!("no rows")
    };
    Facts::read(&batches).unwrap()
}

#[test]
fn a_running_engine_is_verified_at_any_step() {
    let (pipeline, _) = Pipeline::new(PIPELINE, &[], &[]).unwrap();
    let engine = Engine::new(Config {
        workers: 2,
        ..Config::default()
    });
    engine.run(PIPELINE).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rows = 0;
    for _ in 0..2 {
        // Until it has come on by some rows.
        while engine.progress().unwrap().rows < rows + 400 {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let facts = runtime.block_on(facts(&engine, &pipeline.names()));
        rows = engine.progress().unwrap().rows;
        assert!(facts.step > 0 && facts.history.is_none());
        let closed = facts.views["tumble"].rows.as_ref().unwrap();
        let closed: usize = closed.iter().map(|batch| batch.num_rows()).sum();
        let faults = faults(&pipeline, &facts);
        assert!(
            closed > 0 && faults.is_empty(),
            "{closed} windows: {}",
            faults.join("\n")
        );
    }
    engine.stop();
}

#[test]
fn another_view_of_the_same_name_is_told() {
    let engine = Engine::new(Config::default());
    let table = "CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '10');";
    let view = |query: &str| format!("{table} CREATE MATERIALIZED VIEW v AS {query};");
    engine.run(&view("SELECT a FROM t")).unwrap();
    engine.wait_end().unwrap();
    let facts = engine.facts(&[]).unwrap();
    let (same, _) = Pipeline::new(&view("SELECT  a\nFROM t"), &[], &[]).unwrap();
    assert_eq!(faults(&same, &facts), Vec::<String>::new());
    let (other, _) = Pipeline::new(&view("SELECT a + 1 AS a FROM t"), &[], &[]).unwrap();
    assert!(faults(&other, &facts)[0].contains("another view of this name"));
    engine.stop();
}
