-- Fraud: every order of the last five minutes has a score from 0 to 99 and what to do about it. A score rises when later orders show that the
-- earlier ones were tests of a stolen card.

CREATE VIEW recent_orders AS
SELECT order_id, customer_id, card, device, country, amount, ts
FROM orders
WHERE status = 'placed' AND ts > NOW() - INTERVAL '5' MINUTE;

-- How much one card does.
CREATE MATERIALIZED VIEW card_velocity AS
SELECT card, COUNT(*) AS orders, SUM(amount) AS amount, MIN(amount) AS smallest, MAX(amount) AS largest, COUNT(DISTINCT device) AS devices
FROM recent_orders
GROUP BY card;

-- How many cards one device tries.
CREATE MATERIALIZED VIEW device_velocity AS
SELECT device, COUNT(*) AS orders, COUNT(DISTINCT card) AS cards, SUM(amount) AS amount
FROM recent_orders
GROUP BY device;

CREATE VIEW recent_payments AS
SELECT order_id, status, billing_country
FROM payments
WHERE status <> 'refunded' AND ts > NOW() - INTERVAL '5' MINUTE;

CREATE VIEW order_signals AS
SELECT
  o.order_id,
  o.customer_id,
  o.card,
  o.device,
  o.amount,
  o.ts,
  c.orders AS card_orders,
  d.cards AS device_cards,
  CASE WHEN c.orders > 2 THEN LEAST(5 * (c.orders - 2), 35) ELSE 0 END AS card_points,
  CASE WHEN d.cards > 1 THEN LEAST(10 * (d.cards - 1), 40) ELSE 0 END AS device_points,
  CASE WHEN c.smallest < 5 AND c.largest > 200 THEN 25 ELSE 0 END AS small_then_large_points,
  CASE WHEN p.billing_country <> o.country THEN 20 ELSE 0 END AS country_points,
  CASE WHEN p.status = 'declined' THEN 10 ELSE 0 END AS declined_points
FROM recent_orders AS o
JOIN card_velocity AS c ON o.card = c.card
JOIN device_velocity AS d ON o.device = d.device
LEFT JOIN recent_payments AS p ON o.order_id = p.order_id;

CREATE VIEW scored_orders AS
SELECT
  order_id, customer_id, card, device, amount, ts, card_orders, device_cards,
  LEAST(card_points + device_points + small_then_large_points + country_points + declined_points, 99) AS score
FROM order_signals;

CREATE MATERIALIZED VIEW order_scores AS
SELECT
  order_id, customer_id, card, device, amount, ts, card_orders, device_cards, score,
  CASE WHEN score <= 30 THEN 'approve' WHEN score <= 60 THEN 'step-up' WHEN score <= 85 THEN 'review' ELSE 'decline' END AS decision
FROM scored_orders;

CREATE MATERIALIZED VIEW decisions AS
SELECT decision, COUNT(*) AS orders, SUM(amount) AS amount
FROM order_scores
GROUP BY decision;
