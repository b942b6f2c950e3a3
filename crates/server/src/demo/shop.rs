//! A shop as a stream of what happens in it: a simulation of sessions, stock and deliveries in its own time.
//!
//! The same seed and rate give the same events for ever. Visitors view products (a few of them are what most want), put some into their cart,
//! reserve, order, pay; some leave, and what they reserved comes back by time alone. Warehouses ship, restock and miscount. Now and then
//! someone tests stolen cards.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use super::event::{Event, Order, What};
use super::random::{Zipf, chance, one_of, pause_ms};

pub(super) const SKUS: usize = 120;
const CUSTOMERS: usize = 5_000;
const WAREHOUSES: [&str; 3] = ["MILAN", "LYON", "ESSEN"];
pub(super) const COUNTRIES: [&str; 6] = ["IT", "FR", "DE", "ES", "AT", "NL"];
const SELLERS: [&str; 3] = ["megastore", "bargainhut", "shopzilla"];
/// Events that one session brings about, all told, on average.
const EVENTS_PER_SESSION: f64 = 8.0;
/// How long a reservation holds; a real shop gives 15 minutes.
const RESERVED_MS: u64 = 30_000;
/// Below this a warehouse orders more.
const REORDER_BELOW: i64 = 15;

/// What is due at a time.
#[derive(Clone, Debug)]
pub(super) enum Due {
    Visit,
    View {
        session: Session,
        views_left: u32,
    },
    Checkout(Session),
    Place {
        order: Order,
        billing_country: &'static str,
    },
    Confirm(Order),
    Ship(Order),
    Cancel {
        order: Order,
        was_paid: bool,
    },
    Return(Order),
    Expire(u64),
    Restock {
        sku: usize,
        warehouse: usize,
    },
    Price,
    Count,
    Burst,
    Fraud {
        order: Order,
        ends: bool,
    },
}

/// A visitor.
#[derive(Clone, Debug)]
pub(super) struct Session {
    id: u64,
    customer: u64,
    device: String,
    cart: Vec<(usize, i64)>,
}

/// The shop. An endless iterator.
pub(crate) struct Shop {
    pub(super) random: ChaCha8Rng,
    now_ms: f64,
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    dues: BTreeMap<u64, Due>,
    out: VecDeque<Event>,
    pub(super) ids: u64,
    visit_ms: f64,
    products: Zipf,
    customers: Zipf,
    /// What each warehouse could still promise, by product.
    available: Vec<[i64; 3]>,
    restocking: BTreeSet<(usize, usize)>,
    reserved: BTreeMap<u64, (usize, usize, i64)>,
    pub(super) cents: Vec<i64>,
}

impl Shop {
    /// A shop with so many events a second.
    pub(crate) fn new(seed: u64, rate: f64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let cents = (0..SKUS)
            .map(|_| (500.0 * (random.random::<f64>() * 5.0).exp()) as i64 / 10 * 10 + 9)
            .collect();
        let mut shop = Self {
            random,
            now_ms: 0.0,
            agenda: BinaryHeap::new(),
            dues: BTreeMap::new(),
            out: VecDeque::new(),
            ids: 0,
            visit_ms: 1_000.0 * EVENTS_PER_SESSION / rate,
            products: Zipf::new(SKUS, 1.05),
            customers: Zipf::new(CUSTOMERS, 0.6),
            available: vec![[0; 3]; SKUS],
            restocking: BTreeSet::new(),
            reserved: BTreeMap::new(),
            cents,
        };
        shop.open();
        shop
    }

    fn open(&mut self) {
        for sku in 0..SKUS {
            for warehouse in 0..WAREHOUSES.len() {
                let popular = 1 + (200 / (sku as i64 + 2)).min(60);
                let quantity = 20 + self.random.random_range(0..30) * popular;
                self.moved(sku, warehouse, "receipt", quantity);
                self.available[sku][warehouse] += quantity;
            }
            let cents = self.cents[sku];
            self.emit(What::Price {
                sku,
                seller: "us",
                cents,
            });
        }
        self.later(0.0, Due::Visit);
        self.later(100.0, Due::Price);
        self.later(5_000.0, Due::Count);
        self.later(8_000.0, Due::Burst);
    }

    /// Puts something on the agenda.
    pub(super) fn later(&mut self, after_ms: f64, due: Due) {
        self.ids += 1;
        self.agenda
            .push(Reverse(((self.now_ms + after_ms) as u64, self.ids)));
        self.dues.insert(self.ids, due);
    }

    pub(super) fn emit(&mut self, what: What) {
        self.out.push_back(Event {
            at_ms: self.now_ms as u64,
            what,
        });
    }

    pub(super) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn between(&mut self, from_ms: f64, to_ms: f64) -> f64 {
        self.random.random_range(from_ms..to_ms)
    }

    fn act(&mut self, due: Due) {
        match due {
            Due::Visit => self.visit(),
            Due::View {
                session,
                views_left,
            } => self.view(session, views_left),
            Due::Checkout(session) => self.checkout(&session),
            Due::Place {
                order,
                billing_country,
            } => self.place(order, billing_country),
            Due::Confirm(order) => self.confirm(order),
            Due::Ship(order) => self.ship(order),
            Due::Cancel { order, was_paid } => self.cancel(&order, was_paid),
            Due::Return(order) => self.take_back(&order),
            Due::Expire(reservation) => self.expire(reservation),
            Due::Restock { sku, warehouse } => self.restock(sku, warehouse),
            Due::Price => self.price(),
            Due::Count => self.count(),
            Due::Burst => self.burst(),
            Due::Fraud { order, ends } => self.test_card(order, ends),
        }
    }

    fn visit(&mut self) {
        let pause = pause_ms(&mut self.random, self.visit_ms);
        self.later(pause, Due::Visit);
        let customer = self.customers.draw(&mut self.random) as u64 + 1;
        let device = format!(
            "d{}",
            customer * 10 + u64::from(chance(&mut self.random, 0.2))
        );
        let session = Session {
            id: self.id(),
            customer,
            device,
            cart: Vec::new(),
        };
        let page = one_of(&mut self.random, &["home", "search", "category"]);
        self.emit(What::Click {
            session: session.id,
            customer,
            sku: None,
            page,
            device: session.device.clone(),
        });
        let views_left = 1 + self.random.random_range(0..5);
        let pause = self.between(300.0, 3_000.0);
        self.later(
            pause,
            Due::View {
                session,
                views_left,
            },
        );
    }

    fn view(&mut self, mut session: Session, views_left: u32) {
        let sku = self.products.draw(&mut self.random);
        self.emit(What::Click {
            session: session.id,
            customer: session.customer,
            sku: Some(sku),
            page: "product",
            device: session.device.clone(),
        });
        if chance(&mut self.random, 0.22) {
            let quantity = 1 + i64::from(chance(&mut self.random, 0.2));
            session.cart.push((sku, quantity));
            self.emit(What::Cart {
                session: session.id,
                customer: session.customer,
                sku,
                action: "add",
                quantity,
            });
        } else if chance(&mut self.random, 0.05)
            && let Some((sku, quantity)) = session.cart.pop()
        {
            self.emit(What::Cart {
                session: session.id,
                customer: session.customer,
                sku,
                action: "remove",
                quantity,
            });
        }
        let pause = self.between(400.0, 4_000.0);
        match views_left {
            0 | 1 if session.cart.is_empty() => {}
            0 | 1 if chance(&mut self.random, 0.65) => self.later(pause, Due::Checkout(session)),
            0 | 1 => {}
            more => self.later(
                pause,
                Due::View {
                    session,
                    views_left: more - 1,
                },
            ),
        }
    }

    /// Reserves what is in the cart where there is most of it; what is sold out can't be ordered.
    fn checkout(&mut self, session: &Session) {
        for (sku, quantity) in session.cart.clone() {
            let most = (0..WAREHOUSES.len())
                .max_by_key(|warehouse| self.available[sku][*warehouse])
                .unwrap_or(0);
            if self.available[sku][most] < quantity {
                continue;
            }
            self.available[sku][most] -= quantity;
            self.reorder(sku, most);
            let id = self.id();
            self.reserved.insert(id, (sku, most, quantity));
            let (warehouse, expires_ms) = (WAREHOUSES[most], self.now_ms as u64 + RESERVED_MS);
            self.emit(What::Reservation {
                id,
                session: session.id,
                sku,
                warehouse,
                quantity,
                status: "active",
                expires_ms,
            });
            self.later(RESERVED_MS as f64, Due::Expire(id));
            if chance(&mut self.random, 0.75) {
                let country = COUNTRIES[session.customer as usize % COUNTRIES.len()];
                let order = Order {
                    id: self.id(),
                    customer: session.customer,
                    session: session.id,
                    reservation: id,
                    sku,
                    warehouse,
                    quantity,
                    cents: self.cents[sku] * quantity,
                    card: format!("c{:05}", session.customer),
                    device: session.device.clone(),
                    country,
                };
                let pause = self.between(1_500.0, 9_000.0);
                let billing_country = if chance(&mut self.random, 0.02) {
                    "US"
                } else {
                    country
                };
                self.later(
                    pause,
                    Due::Place {
                        order,
                        billing_country,
                    },
                );
            } else if chance(&mut self.random, 0.3) {
                let pause = self.between(1_000.0, 10_000.0);
                self.later(pause, Due::Expire(id));
            }
        }
    }

    fn place(&mut self, order: Order, billing_country: &'static str) {
        self.settle(order.reservation, "confirmed");
        self.emit(What::Order(Box::new(order.clone()), "placed"));
        let paid = chance(&mut self.random, 0.96);
        let id = self.id();
        self.emit(What::Payment {
            id,
            order: Box::new(order.clone()),
            status: if paid { "authorized" } else { "declined" },
            billing_country,
        });
        let pause = self.between(300.0, 1_500.0);
        self.later(
            pause,
            if paid {
                Due::Confirm(order)
            } else {
                Due::Cancel {
                    order,
                    was_paid: false,
                }
            },
        );
    }

    fn confirm(&mut self, order: Order) {
        self.emit(What::Order(Box::new(order.clone()), "confirmed"));
        let pause = self.between(5_000.0, 25_000.0);
        let is_cancelled = chance(&mut self.random, 0.04);
        self.later(
            pause,
            if is_cancelled {
                Due::Cancel {
                    order,
                    was_paid: true,
                }
            } else {
                Due::Ship(order)
            },
        );
    }

    fn ship(&mut self, order: Order) {
        self.emit(What::Order(Box::new(order.clone()), "shipped"));
        self.moved(
            order.sku,
            warehouse_index(order.warehouse),
            "shipment",
            -order.quantity,
        );
        if chance(&mut self.random, 0.03) {
            let pause = self.between(10_000.0, 60_000.0);
            self.later(pause, Due::Return(order));
        }
    }

    pub(super) fn cancel(&mut self, order: &Order, was_paid: bool) {
        self.emit(What::Order(Box::new(order.clone()), "cancelled"));
        if order.reservation > 0 {
            self.available[order.sku][warehouse_index(order.warehouse)] += order.quantity;
        }
        if was_paid {
            let id = self.id();
            self.emit(What::Payment {
                id,
                order: Box::new(order.clone()),
                status: "refunded",
                billing_country: order.country,
            });
        }
    }

    fn take_back(&mut self, order: &Order) {
        let warehouse = warehouse_index(order.warehouse);
        self.moved(order.sku, warehouse, "return", order.quantity);
        self.available[order.sku][warehouse] += order.quantity;
        let id = self.id();
        self.emit(What::Payment {
            id,
            order: Box::new(order.clone()),
            status: "refunded",
            billing_country: order.country,
        });
    }

    /// A reservation ends: said aloud when the visitor lets go, in silence when its time is over.
    fn expire(&mut self, reservation: u64) {
        let Some((sku, warehouse, quantity)) = self.reserved.remove(&reservation) else {
            return;
        };
        self.available[sku][warehouse] += quantity;
        let expires_ms = self.now_ms as u64;
        if chance(&mut self.random, 0.3) {
            let place = WAREHOUSES[warehouse];
            self.emit(What::Reservation {
                id: reservation,
                session: 0,
                sku,
                warehouse: place,
                quantity,
                status: "released",
                expires_ms,
            });
        }
    }

    /// A reservation becomes an order: its units are now the order's.
    fn settle(&mut self, reservation: u64, status: &'static str) {
        let Some((sku, warehouse, quantity)) = self.reserved.remove(&reservation) else {
            return;
        };
        let expires_ms = self.now_ms as u64;
        let place = WAREHOUSES[warehouse];
        self.emit(What::Reservation {
            id: reservation,
            session: 0,
            sku,
            warehouse: place,
            quantity,
            status,
            expires_ms,
        });
    }

    fn reorder(&mut self, sku: usize, warehouse: usize) {
        if self.available[sku][warehouse] < REORDER_BELOW
            && self.restocking.insert((sku, warehouse))
        {
            let pause = self.between(8_000.0, 40_000.0);
            self.later(pause, Due::Restock { sku, warehouse });
        }
    }

    fn restock(&mut self, sku: usize, warehouse: usize) {
        self.restocking.remove(&(sku, warehouse));
        let quantity = self.random.random_range(20..150);
        self.moved(sku, warehouse, "restock", quantity);
        self.available[sku][warehouse] += quantity;
    }

    /// Someone counts the shelves and finds a little less.
    fn count(&mut self) {
        let pause = pause_ms(&mut self.random, 4_000.0);
        self.later(pause, Due::Count);
        let (sku, warehouse) = (
            self.random.random_range(0..SKUS),
            self.random.random_range(0..WAREHOUSES.len()),
        );
        if self.available[sku][warehouse] > 2 {
            self.moved(sku, warehouse, "correction", -1);
            self.available[sku][warehouse] -= 1;
            self.reorder(sku, warehouse);
        }
    }

    fn price(&mut self) {
        let pause = pause_ms(&mut self.random, 250.0);
        self.later(pause, Due::Price);
        let sku = self.products.draw(&mut self.random);
        if chance(&mut self.random, 0.1) {
            let change = self.random.random_range(0.92..1.09);
            self.cents[sku] = ((self.cents[sku] as f64 * change) as i64).max(199);
            let cents = self.cents[sku];
            return self.emit(What::Price {
                sku,
                seller: "us",
                cents,
            });
        }
        let seller = one_of(&mut self.random, &SELLERS);
        let cents = (self.cents[sku] as f64 * self.random.random_range(0.85..1.2)) as i64;
        self.emit(What::Price { sku, seller, cents });
    }

    fn moved(&mut self, sku: usize, warehouse: usize, kind: &'static str, quantity: i64) {
        let id = self.id();
        self.emit(What::Movement {
            id,
            sku,
            warehouse: WAREHOUSES[warehouse],
            kind,
            quantity,
        });
    }
}

pub(super) fn warehouse_index(name: &str) -> usize {
    WAREHOUSES
        .iter()
        .position(|warehouse| *warehouse == name)
        .unwrap_or(0)
}

impl Iterator for Shop {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Some(event);
            }
            let Reverse((at_ms, id)) = self.agenda.pop()?;
            self.now_ms = self.now_ms.max(at_ms as f64);
            if let Some(due) = self.dues.remove(&id) {
                self.act(due);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_shop() {
        let texts = |seed| {
            Shop::new(seed, 500.0)
                .take(5_000)
                .map(|event| event.json(0))
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(7), texts(7));
        assert_ne!(texts(7), texts(8));
    }

    #[test]
    fn the_rate_is_about_what_was_asked_for() {
        // The first half minute fills the pipeline of orders; then it is steady.
        let events: Vec<Event> = Shop::new(3, 500.0)
            .take_while(|event| event.at_ms < 120_000)
            .collect();
        let steady = events.iter().filter(|event| event.at_ms >= 60_000).count() as f64 / 60.0;
        assert!((400.0..650.0).contains(&steady), "{steady} events a second");
        assert!(events.is_sorted_by_key(|event| event.at_ms));
    }

    #[test]
    fn stock_is_never_promised_twice() {
        let mut left: BTreeMap<(usize, &str), i64> = BTreeMap::new();
        for event in Shop::new(11, 2_000.0).take_while(|event| event.at_ms < 120_000) {
            if let What::Movement {
                sku,
                warehouse,
                quantity,
                ..
            } = event.what
            {
                *left.entry((sku, warehouse)).or_default() += quantity;
                assert!(
                    left[&(sku, warehouse)] >= 0,
                    "{sku} in {warehouse} at {}",
                    event.at_ms
                );
            }
        }
        assert_eq!(left.len(), SKUS * WAREHOUSES.len());
    }

    #[test]
    fn all_topics_get_their_events_in_the_first_half_minute() {
        let seen: BTreeSet<&str> = Shop::new(1, 500.0)
            .take_while(|event| event.at_ms < 30_000)
            .map(|event| event.topic())
            .collect();
        assert_eq!(seen.len(), super::super::event::TOPICS.len());
    }
}
