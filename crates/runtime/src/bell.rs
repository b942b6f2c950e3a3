//! One thread waits, others wake it. A ring that nobody waits for is kept for the next wait.

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        let mut rung = self.rung.lock();
        if !*rung {
            *rung = true;
            self.changed.notify_one();
        }
    }

    /// Waits for a ring, or for as long as this.
    pub(crate) fn wait(&self, longest: Option<Duration>) {
        let mut rung = self.rung.lock();
        while !*rung {
            match longest {
                None => self.changed.wait(&mut rung),
                Some(longest) => {
                    if self.changed.wait_for(&mut rung, longest).timed_out() {
                        break;
                    }
                }
            }
        }
        *rung = false;
    }
}
