//! Who waits for a partition to grow.
//!
//! A long-polling fetch puts one wake-up into every partition it reads and takes it out when it is done; an append
//! rings them all. A ring before the wait is kept by [`Notify`], so none is lost.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The fetches that wait on one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Vec<Arc<Notify>>>);

impl Waiters {
    pub(crate) fn add(&self, waiter: &Arc<Notify>) {
        self.0.lock().push(Arc::clone(waiter));
    }

    pub(crate) fn remove(&self, waiter: &Arc<Notify>) {
        self.0.lock().retain(|other| !Arc::ptr_eq(other, waiter));
    }

    pub(crate) fn ring(&self) {
        for waiter in self.0.lock().iter() {
            waiter.notify_one();
        }
    }
}
