//! A query's share of the memory of all queries.

use datafusion::common::{Result, resources_datafusion_err};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Takes from the pool of all, up to a limit of its own.
#[derive(Debug)]
pub(crate) struct Share {
    whole: Arc<dyn MemoryPool>,
    used_bytes: AtomicUsize,
    bytes_max: usize,
}

impl Share {
    pub(crate) fn new(whole: Arc<dyn MemoryPool>, bytes_max: usize) -> Self {
        Self {
            whole,
            used_bytes: AtomicUsize::new(0),
            bytes_max,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "share({} of {} bytes)", self.reserved(), self.bytes_max)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &'static str {
        "share"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used_bytes.fetch_add(additional, Ordering::Relaxed);
        self.whole.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used_bytes.fetch_sub(shrink, Ordering::Relaxed);
        self.whole.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let fits = |used: usize| {
            used.checked_add(additional)
                .filter(|used| *used <= self.bytes_max)
        };
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|used| {
            resources_datafusion_err!("the query needs more memory than its share: {used} of {} bytes are taken, {additional} more are needed", self.bytes_max)
        })?;
        self.whole
            .try_grow(reservation, additional)
            .inspect_err(|_| {
                self.used_bytes.fetch_sub(additional, Ordering::Relaxed);
            })
    }

    fn reserved(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer};

    #[test]
    fn a_share_ends_before_the_whole_does_and_gives_back() {
        let whole: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let share: Arc<dyn MemoryPool> = Arc::new(Share::new(Arc::clone(&whole), 60));
        let one = MemoryConsumer::new("one").register(&share);
        one.try_grow(50).unwrap();
        assert!(
            one.try_grow(20)
                .unwrap_err()
                .to_string()
                .contains("more memory than its share")
        );
        let other: Arc<dyn MemoryPool> = Arc::new(Share::new(Arc::clone(&whole), 60));
        let two = MemoryConsumer::new("two").register(&other);
        assert!(two.try_grow(60).is_err(), "the whole has 50 left");
        two.try_grow(50).unwrap();
        drop(one);
        assert_eq!((whole.reserved(), share.reserved()), (50, 0));
    }
}
