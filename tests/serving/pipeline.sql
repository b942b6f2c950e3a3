-- What the client checks read: `run` puts the folder of the data in.
CREATE TABLE order_lines (
  id INT NOT NULL,
  customer STRING,
  sku STRING,
  units BIGINT,
  price DECIMAL(10, 2),
  weight DOUBLE,
  paid BOOLEAN,
  `day` DATE,
  `at` TIMESTAMP(3),
  zoned TIMESTAMP_LTZ(3),
  tags ARRAY<STRING>,
  ship ROW<city STRING, zip INT>
) WITH ('connector' = 'filesystem', 'path' = '@DATA@/orders.jsonl', 'format' = 'json');

CREATE MATERIALIZED VIEW orders AS
SELECT id, customer, sku, units, price, weight, paid, `day`, `at`, zoned, tags, ship FROM order_lines;

CREATE MATERIALIZED VIEW sales AS
SELECT sku, COUNT(*) AS orders, SUM(units) AS units, SUM(units * price) AS revenue FROM order_lines GROUP BY sku;
