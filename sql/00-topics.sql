-- The shop's topics as tables. No brokers are named here: they come from the setting kafka.bootstrap.servers, so that the same files run
-- against the broker of `millstream demo` and against any other Kafka:
--
--   millstream run sql/*.sql --set kafka.bootstrap.servers=host:9092

-- What comes into a warehouse and leaves it: receipts, restocks, returns, shipments (negative), corrections.
CREATE TABLE stock_movements (
  movement_id BIGINT,
  sku STRING NOT NULL,
  warehouse STRING NOT NULL,
  kind STRING,
  quantity INT NOT NULL,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'stock_movements', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '5 s'
);

-- Pages that visitors look at; product pages name their product.
CREATE TABLE clicks (
  session_id STRING,
  customer_id BIGINT,
  page STRING,
  sku STRING,
  device STRING,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'clicks', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '5 s'
);

-- What goes into carts and out of them.
CREATE TABLE carts (
  session_id STRING,
  customer_id BIGINT,
  sku STRING,
  `action` STRING,
  quantity INT,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'carts', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '5 s'
);

-- The life of reservations: active, then confirmed (by an order) or released; or nothing more, and it expires.
CREATE TABLE reservations (
  reservation_id STRING,
  session_id STRING,
  sku STRING,
  warehouse STRING,
  quantity INT,
  status STRING,
  expires_at TIMESTAMP_LTZ(3),
  ts TIMESTAMP_LTZ(3)
) WITH (
  'connector' = 'kafka', 'topic' = 'reservations', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);

-- The life of orders: placed, confirmed, shipped; or cancelled.
CREATE TABLE orders (
  order_id STRING,
  customer_id BIGINT,
  session_id STRING,
  reservation_id STRING,
  sku STRING,
  warehouse STRING,
  quantity INT,
  amount DECIMAL(10, 2),
  card STRING,
  device STRING,
  country STRING,
  status STRING,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'orders', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '5 s'
);

-- What banks say: authorized, declined, refunded.
CREATE TABLE payments (
  payment_id STRING,
  order_id STRING,
  card STRING,
  device STRING,
  amount DECIMAL(10, 2),
  billing_country STRING,
  status STRING,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'payments', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '5 s'
);

-- What things cost, here ('us') and elsewhere.
CREATE TABLE prices (
  sku STRING,
  seller STRING,
  price DECIMAL(10, 2),
  ts TIMESTAMP_LTZ(3)
) WITH (
  'connector' = 'kafka', 'topic' = 'prices', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset'
);
