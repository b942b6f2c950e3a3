//! Whole pipelines as users write them.

use expect_test::expect;
use millstream_sql::parse;

/// Parses a pipeline and gives one line per statement: where it stands, and how it starts when printed.
fn outline(text: &str) -> String {
    let statements = parse(text).unwrap_or_else(|error| panic!("{}", error.render(text, "p.sql")));
    let mut lines = Vec::new();
    for statement in statements {
        let printed = statement.node.to_string();
        let again = parse(&printed)
            .unwrap_or_else(|error| panic!("{}", error.render(&printed, "printed.sql")));
        assert_eq!(again[0].node.to_string(), printed);
        lines.push(format!(
            "{}: {}",
            statement.span,
            printed.lines().next().unwrap_or_default()
        ));
    }
    lines.join("\n")
}

#[test]
fn auctions() {
    let text = "-- Auction events of three kinds in one stream.
CREATE TABLE events (
  event_type INT,
  person ROW<id BIGINT, name VARCHAR, email VARCHAR, `dateTime` TIMESTAMP(3), extra VARCHAR>,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3)>,
  `dateTime` AS CASE WHEN event_type = 0 THEN person.`dateTime` ELSE bid.`dateTime` END,
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${DATA}', 'format' = 'json');
CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, `dateTime` FROM events WHERE event_type = 2;
CREATE TABLE hot (auction BIGINT, num BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO hot
SELECT AuctionBids.auction, AuctionBids.num
FROM (
  SELECT auction, COUNT(*) AS num, window_start AS starttime, window_end AS endtime
  FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
  GROUP BY auction, window_start, window_end
) AS AuctionBids
JOIN (
  SELECT MAX(CountBids.num) AS maxn, CountBids.starttime, CountBids.endtime
  FROM (
    SELECT COUNT(*) AS num, window_start AS starttime, window_end AS endtime
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY auction, window_start, window_end
  ) AS CountBids
  GROUP BY CountBids.starttime, CountBids.endtime
) AS MaxBids
ON AuctionBids.starttime = MaxBids.starttime AND AuctionBids.num >= MaxBids.maxn;";
    expect![[r#"
        line 2, column 1: CREATE TABLE `events` (
        line 9, column 1: CREATE VIEW `bid`
        line 10, column 1: CREATE TABLE `hot` (
        line 11, column 1: INSERT INTO `hot`"#]]
    .assert_eq(&outline(text));
}

#[test]
fn shop() {
    let text = "SET 'table.local-time-zone' = 'UTC';
CREATE TABLE reservations (res_id INT, sku STRING, qty INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'reservations', 'value.format' = 'json');
CREATE TABLE res_events (res_id INT, kind STRING, ts TIMESTAMP(3), PRIMARY KEY (res_id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka');
CREATE TEMPORARY VIEW outcome AS
SELECT r.res_id, r.sku, r.qty, r.ts AS res_ts, e.ts AS end_ts, e.kind
FROM reservations r LEFT JOIN res_events e ON r.res_id = e.res_id AND e.ts BETWEEN r.ts AND r.ts + INTERVAL '15' MINUTE;
CREATE VIEW bucket AS
SELECT sku, FLOOR(at_ts TO HOUR) + (EXTRACT(MINUTE FROM at_ts) / 10) * INTERVAL '10' MINUTE AS b, SUM(d) AS net
FROM ledger GROUP BY sku, FLOOR(at_ts TO HOUR) + (EXTRACT(MINUTE FROM at_ts) / 10) * INTERVAL '10' MINUTE;
CREATE MATERIALIZED VIEW ats WITH ('history' = '7 d') AS
SELECT x.sku, SUM(x.net) FILTER (WHERE x.net > 0) AS inflow, COUNT(DISTINCT x.b) AS buckets FROM bucket x GROUP BY x.sku;
CREATE MATERIALIZED VIEW fraud AS
SELECT order_id, COUNT(*) OVER w AS n10, COUNT(DISTINCT zip) OVER w AS z10 FROM o
WINDOW w AS (PARTITION BY card ORDER BY ts RANGE BETWEEN INTERVAL '10' MINUTE PRECEDING AND CURRENT ROW);
CREATE MATERIALIZED VIEW top AS
SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY cat ORDER BY price DESC, id ASC) AS rn FROM o) WHERE rn <= 3;
CREATE VIEW enriched AS SELECT o.sku, o.qty * p.price AS amount FROM o JOIN prices FOR SYSTEM_TIME AS OF o.ts AS p ON o.sku = p.sku;
CREATE VIEW steps AS SELECT usr, v_id FROM e MATCH_RECOGNIZE (
  PARTITION BY usr ORDER BY ts
  MEASURES V.id AS v_id, COUNT(X.id) AS n
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW
  PATTERN (V X*? C) WITHIN INTERVAL '10' MINUTE
  DEFINE V AS V.kind = 'view', C AS C.kind = 'cart' AND C.sku = V.sku
) AS m;
EXECUTE STATEMENT SET BEGIN
  INSERT INTO a SELECT TIMESTAMPDIFF(SECOND, s.created, s.shipped) FROM s;
  INSERT INTO b SELECT CAST(tags AS STRING), MAP['k', id], items[1].sku FROM t;
END;";
    expect![[r#"
        line 1, column 1: SET 'table.local-time-zone' = 'UTC'
        line 2, column 1: CREATE TABLE `reservations` (
        line 4, column 1: CREATE TABLE `res_events` (
        line 5, column 1: CREATE TEMPORARY VIEW `outcome`
        line 8, column 1: CREATE VIEW `bucket`
        line 11, column 1: CREATE MATERIALIZED VIEW `ats`
        line 13, column 1: CREATE MATERIALIZED VIEW `fraud`
        line 16, column 1: CREATE MATERIALIZED VIEW `top`
        line 18, column 1: CREATE VIEW `enriched`
        line 19, column 1: CREATE VIEW `steps`
        line 26, column 1: EXECUTE STATEMENT SET BEGIN"#]]
    .assert_eq(&outline(text));
}
