//! What happens in the shop, as records of its topics.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

/// All topics.
pub(crate) const TOPICS: [&str; 7] = [
    "stock_movements",
    "clicks",
    "carts",
    "reservations",
    "orders",
    "payments",
    "prices",
];

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Milliseconds since the shop opened.
    pub at_ms: u64,
    pub what: What,
}

/// What happened. Amounts are in cents.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Movement {
        id: u64,
        sku: usize,
        warehouse: &'static str,
        kind: &'static str,
        quantity: i64,
    },
    Click {
        session: u64,
        customer: u64,
        sku: Option<usize>,
        page: &'static str,
        device: String,
    },
    Cart {
        session: u64,
        customer: u64,
        sku: usize,
        action: &'static str,
        quantity: i64,
    },
    Reservation {
        id: u64,
        session: u64,
        sku: usize,
        warehouse: &'static str,
        quantity: i64,
        status: &'static str,
        expires_ms: u64,
    },
    Order(Box<Order>, &'static str),
    Payment {
        id: u64,
        order: Box<Order>,
        status: &'static str,
        billing_country: &'static str,
    },
    Price {
        sku: usize,
        seller: &'static str,
        cents: i64,
    },
}

/// An order; its status is told by each event about it.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub id: u64,
    pub customer: u64,
    pub session: u64,
    /// 0: nothing was reserved for it.
    pub reservation: u64,
    pub sku: usize,
    pub warehouse: &'static str,
    pub quantity: i64,
    pub cents: i64,
    pub card: String,
    pub device: String,
    pub country: &'static str,
}

/// The name of a product.
pub(crate) fn sku_name(sku: usize) -> String {
    const KINDS: [&str; 12] = [
        "MUG", "LAMP", "CHAIR", "SHIRT", "SHOE", "PHONE", "BOOK", "BAG", "WATCH", "TOY", "PLANT",
        "TENT",
    ];
    format!("{}-{:03}", KINDS[sku % KINDS.len()], sku + 1)
}

fn money(cents: i64) -> Value {
    json!(cents as f64 / 100.0)
}

impl Event {
    pub(crate) fn topic(&self) -> &'static str {
        match self.what {
            What::Movement { .. } => "stock_movements",
            What::Click { .. } => "clicks",
            What::Cart { .. } => "carts",
            What::Reservation { .. } => "reservations",
            What::Order(..) => "orders",
            What::Payment { .. } => "payments",
            What::Price { .. } => "prices",
        }
    }

    /// Records of one thing are in one partition, in their order.
    pub(crate) fn key(&self) -> String {
        match &self.what {
            What::Movement { sku, .. } | What::Price { sku, .. } => sku_name(*sku),
            What::Click { session, .. } | What::Cart { session, .. } => format!("s{session}"),
            What::Reservation { id, .. } => format!("r{id}"),
            What::Order(order, _) | What::Payment { order, .. } => format!("o{}", order.id),
        }
    }

    /// The record; the shop opened at this time.
    pub(crate) fn json(&self, opened_ms: i64) -> String {
        let time = |ms: u64| {
            let at = DateTime::from_timestamp_millis(opened_ms + ms as i64).unwrap_or_default();
            at.to_rfc3339_opts(SecondsFormat::Millis, true)
        };
        let ts = time(self.at_ms);
        let value = match &self.what {
            What::Movement {
                id,
                sku,
                warehouse,
                kind,
                quantity,
            } => {
                json!({ "movement_id": id, "sku": sku_name(*sku), "warehouse": warehouse, "kind": kind, "quantity": quantity, "ts": ts })
            }
            What::Click {
                session,
                customer,
                sku,
                page,
                device,
            } => {
                json!({ "session_id": format!("s{session}"), "customer_id": customer, "page": page, "sku": sku.map(sku_name), "device": device, "ts": ts })
            }
            What::Cart {
                session,
                customer,
                sku,
                action,
                quantity,
            } => {
                json!({ "session_id": format!("s{session}"), "customer_id": customer, "sku": sku_name(*sku), "action": action, "quantity": quantity, "ts": ts })
            }
            What::Reservation {
                id,
                session,
                sku,
                warehouse,
                quantity,
                status,
                expires_ms,
            } => json!({
                "reservation_id": format!("r{id}"), "session_id": format!("s{session}"), "sku": sku_name(*sku), "warehouse": warehouse,
                "quantity": quantity, "status": status, "expires_at": time(*expires_ms), "ts": ts,
            }),
            What::Order(order, status) => json!({
                "order_id": format!("o{}", order.id), "customer_id": order.customer, "session_id": format!("s{}", order.session),
                "reservation_id": (order.reservation > 0).then(|| format!("r{}", order.reservation)), "sku": sku_name(order.sku),
                "warehouse": order.warehouse, "quantity": order.quantity, "amount": money(order.cents), "card": order.card,
                "device": order.device, "country": order.country, "status": status, "ts": ts,
            }),
            What::Payment {
                id,
                order,
                status,
                billing_country,
            } => json!({
                "payment_id": format!("p{id}"), "order_id": format!("o{}", order.id), "card": order.card, "device": order.device,
                "amount": money(order.cents), "billing_country": billing_country, "status": status, "ts": ts,
            }),
            What::Price { sku, seller, cents } => {
                json!({ "sku": sku_name(*sku), "seller": seller, "price": money(*cents), "ts": ts })
            }
        };
        value.to_string()
    }
}
