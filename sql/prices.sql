-- Prices: ours beside the cheapest elsewhere.

CREATE VIEW latest_prices AS
SELECT sku, seller, price
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY sku, seller ORDER BY ts DESC) AS latest
  FROM prices
)
WHERE latest = 1;

CREATE MATERIALIZED VIEW our_prices AS
SELECT sku, price FROM latest_prices WHERE seller = 'us';

CREATE MATERIALIZED VIEW cheapest_elsewhere AS
SELECT sku, MIN(price) AS price, COUNT(*) AS sellers
FROM latest_prices
WHERE seller <> 'us'
GROUP BY sku;

CREATE MATERIALIZED VIEW price_position AS
SELECT
  o.sku,
  o.price AS our_price,
  c.price AS cheapest,
  c.sellers,
  o.price - c.price AS above_cheapest,
  CASE WHEN o.price <= c.price THEN 'cheapest' WHEN o.price <= c.price * 1.05 THEN 'close' ELSE 'dear' END AS place
FROM our_prices AS o
JOIN cheapest_elsewhere AS c ON o.sku = c.sku;
