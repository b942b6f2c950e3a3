-- Demand: what is looked at, what is put into carts, what is sold.

-- Views of each product in the last minute, every ten seconds.
CREATE VIEW views_by_minute AS
SELECT sku, window_end, COUNT(*) AS product_views, MAX(ts) AS last_view
FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE))
WHERE page = 'product'
GROUP BY sku, window_start, window_end;

CREATE VIEW carts_by_minute AS
SELECT sku, window_end, COUNT(*) AS cart_adds, MAX(ts) AS last_add
FROM TABLE(HOP(TABLE carts, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE))
WHERE `action` = 'add'
GROUP BY sku, window_start, window_end;

-- A ratio that jumps is a reason to look at a price. Windows of the last half hour: older ones leave by themselves.
CREATE MATERIALIZED VIEW browse_to_cart AS
SELECT
  v.sku,
  v.window_end,
  v.product_views,
  COALESCE(c.cart_adds, 0) AS cart_adds,
  CAST(COALESCE(c.cart_adds, 0) AS DOUBLE) / v.product_views AS ratio
FROM views_by_minute AS v
LEFT JOIN carts_by_minute AS c ON v.sku = c.sku AND v.window_end = c.window_end
WHERE GREATEST(v.last_view, COALESCE(c.last_add, v.last_view)) > NOW() - INTERVAL '30' MINUTE;

CREATE MATERIALIZED VIEW sales_per_minute AS
SELECT window_start, COUNT(*) AS orders, SUM(quantity) AS units, SUM(amount) AS revenue
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
WHERE status = 'confirmed'
GROUP BY window_start, window_end;

CREATE MATERIALIZED VIEW product_sales AS
SELECT sku, COUNT(*) AS orders, SUM(quantity) AS units, SUM(amount) AS revenue
FROM orders
WHERE status = 'confirmed'
GROUP BY sku;

CREATE MATERIALIZED VIEW best_sellers AS
SELECT place, sku, units, revenue
FROM (
  SELECT sku, units, revenue, ROW_NUMBER() OVER (ORDER BY revenue DESC) AS place
  FROM product_sales
)
WHERE place <= 10;
