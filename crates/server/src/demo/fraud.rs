//! Someone tests stolen cards: many small orders from one device within seconds, then a large one on the card that worked.

use rand::Rng;

use super::event::{Order, What};
use super::random::{chance, one_of, pause_ms};
use super::shop::{COUNTRIES, Due, SKUS, Shop};

impl Shop {
    /// A burst begins, and the next one is put on the agenda.
    pub(super) fn burst(&mut self) {
        let pause = pause_ms(&mut self.random, 25_000.0).max(8_000.0);
        self.later(pause, Due::Burst);
        let device = format!("x{}", self.random.random_range(0..100_000));
        let customer = 900_000 + self.random.random_range(0..1_000);
        let many_cards = chance(&mut self.random, 0.6);
        let stolen = self.random.random_range(0..100_000);
        let tries = self.random.random_range(8..20);
        let mut after_ms = 0.0;
        for attempt in 0..=tries {
            let ends = attempt == tries;
            let card = if many_cards && !ends {
                format!("x{stolen:05}-{attempt}")
            } else {
                format!("x{stolen:05}-0")
            };
            let cents = if ends {
                self.random.random_range(30_000..90_000)
            } else {
                self.random.random_range(99..300)
            };
            let order = Order {
                id: self.id(),
                customer,
                session: 0,
                reservation: 0,
                sku: self.random.random_range(0..SKUS),
                warehouse: "MILAN",
                quantity: 1,
                cents,
                card,
                device: device.clone(),
                country: one_of(&mut self.random, &COUNTRIES),
            };
            after_ms += self.random.random_range(150.0..600.0);
            self.later(after_ms, Due::Fraud { order, ends });
        }
    }

    /// One of its orders. The shop's own checks cancel it a moment later, whatever the bank says.
    pub(super) fn test_card(&mut self, order: Order, ends: bool) {
        self.emit(What::Order(Box::new(order.clone()), "placed"));
        let paid = ends || chance(&mut self.random, 0.3);
        let id = self.id();
        self.emit(What::Payment {
            id,
            order: Box::new(order.clone()),
            status: if paid { "authorized" } else { "declined" },
            billing_country: "US",
        });
        let pause = self.random.random_range(1_500.0..4_000.0);
        self.later(
            pause,
            Due::Cancel {
                order,
                was_paid: paid,
            },
        );
    }
}
