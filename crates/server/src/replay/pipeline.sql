-- The lines of a shop's invoices as they happen, and what the shop wants to know of them.

CREATE TABLE order_lines (
  invoice STRING,
  sku STRING,
  description STRING,
  quantity INT,
  unit_price DECIMAL(12, 3),
  customer_id BIGINT,
  country STRING,
  ts TIMESTAMP(3)
) WITH ('connector' = 'kafka', 'topic' = 'order_lines', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');

-- Quantities of cancelled lines are negative.
CREATE TABLE cancelled_lines (
  invoice STRING,
  sku STRING,
  description STRING,
  quantity INT,
  unit_price DECIMAL(12, 3),
  customer_id BIGINT,
  country STRING,
  ts TIMESTAMP(3)
) WITH ('connector' = 'kafka', 'topic' = 'cancelled_lines', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');

CREATE VIEW all_lines AS
SELECT invoice, sku, quantity, quantity * unit_price AS amount, customer_id, country, ts, 0 AS cancelled FROM order_lines
UNION ALL
SELECT invoice, sku, quantity, quantity * unit_price AS amount, customer_id, country, ts, 1 AS cancelled FROM cancelled_lines;

CREATE MATERIALIZED VIEW revenue_per_country AS
SELECT country, SUM(amount) AS revenue, COUNT(DISTINCT customer_id) AS customers
FROM all_lines
GROUP BY country;

CREATE MATERIALIZED VIEW units_per_sku AS
SELECT sku, SUM(quantity) AS units, COUNT(*) AS order_lines
FROM all_lines
GROUP BY sku;

CREATE VIEW invoices_per_day AS
SELECT
  CAST(ts AS DATE) AS sales_day,
  COUNT(DISTINCT invoice) AS invoices,
  COUNT(DISTINCT invoice) FILTER (WHERE cancelled = 1) AS cancellations
FROM all_lines
GROUP BY CAST(ts AS DATE);

CREATE MATERIALIZED VIEW cancellation_rate_per_day AS
SELECT sales_day, invoices, cancellations, CAST(cancellations AS DOUBLE) / invoices AS rate
FROM invoices_per_day;

CREATE VIEW sales_per_month AS
SELECT DATE_FORMAT(ts, 'yyyy-MM') AS sales_month, sku, SUM(quantity) AS units, SUM(amount) AS revenue
FROM all_lines
WHERE cancelled = 0
GROUP BY DATE_FORMAT(ts, 'yyyy-MM'), sku;

CREATE MATERIALIZED VIEW top_sellers_per_month AS
SELECT sales_month, place, sku, units, revenue
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY sales_month ORDER BY revenue DESC, sku) AS place
  FROM sales_per_month
)
WHERE place <= 5;

CREATE VIEW customer_revenue AS
SELECT customer_id, COUNT(DISTINCT invoice) AS invoices, SUM(amount) AS revenue
FROM all_lines
WHERE customer_id IS NOT NULL
GROUP BY customer_id;

CREATE MATERIALIZED VIEW customer_ranking AS
SELECT place, customer_id, invoices, revenue
FROM (
  SELECT *, ROW_NUMBER() OVER (ORDER BY revenue DESC, customer_id) AS place
  FROM customer_revenue
)
WHERE place <= 100;
