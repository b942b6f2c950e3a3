//! How long to wait before the next try: twice as long each time, with jitter, from a seeded generator.

use std::time::Duration;

const FIRST_MS: u64 = 20;
const LONGEST_MS: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct Backoff {
    attempts: u32,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            attempts: 0,
            random: seed | 1,
        }
    }

    /// The tries since the last success.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn succeeded(&mut self) {
        self.attempts = 0;
    }

    /// Between half and all of `20 ms * 2^attempts`, at most 10 s.
    pub(crate) fn next(&mut self) -> Duration {
        let full = (FIRST_MS << self.attempts.min(10)).min(LONGEST_MS);
        self.attempts = self.attempts.saturating_add(1);
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Duration::from_millis(full / 2 + self.random % (full / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(7);
        for attempt in 0..20 {
            let full = (20_u64 << attempt).min(10_000);
            let wait = backoff.next().as_millis() as u64;
            assert!((full / 2..=full).contains(&wait), "{attempt}: {wait}");
        }
        backoff.succeeded();
        assert!(backoff.next().as_millis() <= 20);
    }
}
