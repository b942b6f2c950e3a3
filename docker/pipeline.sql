-- Made-up orders go into a Kafka topic and come out of it as a view. The brokers come from the setting kafka.bootstrap.servers.

CREATE TABLE made_up (
  order_id BIGINT,
  product INT,
  quantity INT,
  price DECIMAL(10, 2)
) WITH (
  'connector' = 'datagen', 'rows-per-second' = '20',
  'fields.order_id.kind' = 'sequence', 'fields.order_id.start' = '1', 'fields.order_id.end' = '1000000000',
  'fields.product.min' = '1', 'fields.product.max' = '25',
  'fields.quantity.min' = '1', 'fields.quantity.max' = '4',
  'fields.price.min' = '1', 'fields.price.max' = '99'
);

CREATE TABLE orders (
  order_id BIGINT,
  sku STRING,
  quantity INT,
  price DECIMAL(10, 2),
  placed_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR placed_at AS placed_at - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'orders', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '5 s'
);

INSERT INTO orders
SELECT order_id, 'SKU-' || CAST(product AS STRING) AS sku, quantity, price FROM made_up;

CREATE MATERIALIZED VIEW sales AS
SELECT sku, COUNT(*) AS orders, SUM(quantity) AS units, SUM(quantity * price) AS revenue
FROM orders
GROUP BY sku;

CREATE MATERIALIZED VIEW orders_per_ten_seconds AS
SELECT window_start, COUNT(*) AS orders, SUM(quantity * price) AS revenue
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed_at), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;
