-- Real-time inventory: available to sell = on hand - reserved - committed, for each product and warehouse.

CREATE MATERIALIZED VIEW on_hand AS
SELECT sku, warehouse, SUM(quantity) AS units
FROM stock_movements
GROUP BY sku, warehouse;

-- The latest word on each reservation.
CREATE VIEW reservation_status AS
SELECT reservation_id, sku, warehouse, quantity, status, expires_at
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY reservation_id ORDER BY ts DESC) AS latest
  FROM reservations
)
WHERE latest = 1;

-- An active reservation holds its units until it expires: no event says so, time does.
CREATE MATERIALIZED VIEW active_reservations AS
SELECT reservation_id, sku, warehouse, quantity, expires_at
FROM reservation_status
WHERE status = 'active' AND expires_at > NOW();

CREATE MATERIALIZED VIEW reserved AS
SELECT sku, warehouse, SUM(quantity) AS units
FROM active_reservations
GROUP BY sku, warehouse;

-- The latest word on each order.
CREATE VIEW order_status AS
SELECT order_id, customer_id, reservation_id, sku, warehouse, quantity, amount, status, ts
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY ts DESC) AS latest
  FROM orders
)
WHERE latest = 1;

-- Ordered and not yet shipped. Orders without a reservation hold no units.
CREATE MATERIALIZED VIEW committed AS
SELECT sku, warehouse, SUM(quantity) AS units
FROM order_status
WHERE status IN ('placed', 'confirmed') AND reservation_id IS NOT NULL
GROUP BY sku, warehouse;

CREATE MATERIALIZED VIEW available_to_sell AS
SELECT
  h.sku,
  h.warehouse,
  h.units AS on_hand,
  COALESCE(r.units, 0) AS reserved,
  COALESCE(c.units, 0) AS committed,
  h.units - COALESCE(r.units, 0) - COALESCE(c.units, 0) AS available
FROM on_hand AS h
LEFT JOIN reserved AS r ON h.sku = r.sku AND h.warehouse = r.warehouse
LEFT JOIN committed AS c ON h.sku = c.sku AND h.warehouse = c.warehouse;

-- What needs someone's attention: nothing left, or little.
CREATE MATERIALIZED VIEW stock_alerts AS
SELECT sku, warehouse, available, CASE WHEN available <= 0 THEN 'out of stock' ELSE 'reorder' END AS alert
FROM available_to_sell
WHERE available < 10;

-- Over all warehouses, as a product page shows it.
CREATE MATERIALIZED VIEW product_stock AS
SELECT sku, SUM(on_hand) AS on_hand, SUM(available) AS available, COUNT(*) AS warehouses
FROM available_to_sell
GROUP BY sku;
