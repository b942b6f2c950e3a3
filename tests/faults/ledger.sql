-- The ledger's job: what came in goes out by every way that there is. @PREFIX@ and @FILES@ are replaced by the harness; so is @GUARANTEE@.

CREATE TABLE orders (
  id BIGINT NOT NULL,
  account STRING,
  sku STRING,
  amount DECIMAL(12, 2),
  ts TIMESTAMP(3),
  part INT METADATA FROM 'partition' VIRTUAL,
  place BIGINT METADATA FROM 'offset' VIRTUAL,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = '@PREFIX@orders', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset',
  'scan.topic-partition-discovery.interval' = '1 s', 'properties.topic.metadata.refresh.interval.ms' = '1000',
  'scan.watermark.drift-max' = '0 s', 'bad-records' = 'dead-letter', 'dead-letter.topic' = '@PREFIX@dead' @ORDERS@
);

CREATE TABLE payments (
  id BIGINT NOT NULL,
  order_id BIGINT,
  amount DECIMAL(12, 2)
) WITH (
  'connector' = 'kafka', 'topic' = '@PREFIX@payments', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset',
  'scan.topic-partition-discovery.interval' = '1 s', 'properties.topic.metadata.refresh.interval.ms' = '1000', 'bad-records' = 'dead-letter'
);

-- Every order as it came: nothing lost, nothing doubled.
CREATE TABLE copied (
  id BIGINT, account STRING, sku STRING, amount DECIMAL(12, 2), part INT, place BIGINT
) WITH (
  'connector' = 'kafka', 'topic' = '@PREFIX@copied', 'value.format' = 'json', 'key.format' = 'raw', 'key.fields' = 'account' @GUARANTEE@
);
INSERT INTO copied SELECT id, account, sku, amount, part, place FROM orders;

-- A join keeps both sides.
CREATE TABLE paid (
  order_id BIGINT, payment_id BIGINT, ordered DECIMAL(12, 2), paid DECIMAL(12, 2)
) WITH (
  'connector' = 'kafka', 'topic' = '@PREFIX@paid', 'format' = 'json' @GUARANTEE@
);
INSERT INTO paid SELECT o.id, p.id, o.amount, p.amount FROM orders AS o JOIN payments AS p ON o.id = p.order_id;

-- Each change says what it replaces: a change that is lost or written twice breaks the chain.
CREATE TABLE totals (
  sku STRING, n BIGINT, amount DECIMAL(38, 2)
) WITH (
  'connector' = 'kafka', 'topic' = '@PREFIX@totals', 'format' = 'debezium-json', 'sink.partitioner' = 'fixed' @GUARANTEE@
);
INSERT INTO totals SELECT sku, COUNT(*), SUM(amount) FROM orders GROUP BY sku;

-- Counts of a key only grow, from one record to the next.
CREATE TABLE balances (
  account STRING, n BIGINT, amount DECIMAL(38, 2), PRIMARY KEY (account) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '@PREFIX@balances', 'key.format' = 'raw', 'value.format' = 'json' @GUARANTEE@
);
INSERT INTO balances SELECT account, COUNT(*), SUM(amount) FROM orders GROUP BY account;

-- A window comes once, when the watermark has reached its end.
CREATE VIEW closed AS
SELECT window_end, COUNT(*) AS n, SUM(amount) AS amount
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;

CREATE TABLE windows (
  window_end TIMESTAMP(3), n BIGINT, amount DECIMAL(38, 2)
) WITH (
  'connector' = 'kafka', 'topic' = '@PREFIX@windows', 'format' = 'json' @GUARANTEE@
);
INSERT INTO windows SELECT window_end, n, amount FROM closed;

CREATE TABLE parquet_files (
  id BIGINT, account STRING, amount DECIMAL(12, 2), part INT, place BIGINT
) WITH (
  'connector' = 'filesystem', 'path' = '@FILES@/parquet', 'format' = 'parquet',
  'sink.rolling-policy.file-size' = '64 kb', 'sink.rolling-policy.rollover-interval' = '2 s', 'sink.rolling-policy.check-interval' = '200 ms'
);
INSERT INTO parquet_files SELECT id, account, amount, part, place FROM orders;

CREATE TABLE json_files (
  order_id BIGINT, payment_id BIGINT
) WITH (
  'connector' = 'filesystem', 'path' = '@FILES@/json', 'format' = 'json',
  'sink.rolling-policy.file-size' = '64 kb', 'sink.rolling-policy.rollover-interval' = '2 s', 'sink.rolling-policy.check-interval' = '200 ms'
);
INSERT INTO json_files SELECT o.id, p.id FROM orders AS o JOIN payments AS p ON o.id = p.order_id;

CREATE MATERIALIZED VIEW grand AS SELECT COUNT(*) AS n, SUM(amount) AS amount FROM orders;
CREATE MATERIALIZED VIEW by_account AS SELECT account, COUNT(*) AS n, SUM(amount) AS amount FROM orders GROUP BY account;
CREATE MATERIALIZED VIEW by_sku AS SELECT sku, COUNT(*) AS n, SUM(amount) AS amount FROM orders GROUP BY sku;
CREATE MATERIALIZED VIEW by_part AS SELECT part, COUNT(*) AS n, MAX(place) AS last, SUM(amount) AS amount FROM orders GROUP BY part;
CREATE MATERIALIZED VIEW payment_count AS SELECT COUNT(*) AS n FROM payments;
CREATE MATERIALIZED VIEW closed_windows AS SELECT window_end, n, amount FROM closed;
CREATE MATERIALIZED VIEW dearest AS
SELECT account, place_in_account, id, amount
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY account ORDER BY amount DESC, id) AS place_in_account FROM orders)
WHERE place_in_account <= 3;
CREATE MATERIALIZED VIEW unpaid AS
SELECT o.account, COUNT(*) AS n
FROM orders AS o LEFT JOIN payments AS p ON o.id = p.order_id
WHERE p.id IS NULL
GROUP BY o.account;
