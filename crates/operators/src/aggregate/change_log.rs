//! The keys of entries that changed since the last save: noted as often as they change, given once.

/// A longer log is sorted out, so that it does not outgrow what it tells of.
const KEYS_MAX: usize = 1 << 16;

/// Keys of entries by group; notes nothing before it is started.
#[derive(Debug)]
pub(super) struct ChangeLog<K> {
    keys: Option<Vec<(u32, K)>>,
    keys_max: usize,
}

impl<K> Default for ChangeLog<K> {
    fn default() -> Self {
        Self {
            keys: None,
            keys_max: KEYS_MAX,
        }
    }
}

impl<K: Ord> ChangeLog<K> {
    /// Notes nothing that was, and all that comes.
    pub(super) fn start(&mut self) {
        *self = Self {
            keys: Some(Vec::new()),
            ..Self::default()
        };
    }

    /// An entry changed, came or went.
    #[inline]
    pub(super) fn note(&mut self, group: u32, key: impl FnOnce() -> K) {
        if let Some(keys) = &mut self.keys {
            keys.push((group, key()));
            if keys.len() >= self.keys_max {
                sort_out(keys);
                self.keys_max = KEYS_MAX.max(keys.len() * 2);
            }
        }
    }

    /// All keys that were noted since the last time, in order.
    pub(super) fn take(&mut self) -> Vec<(u32, K)> {
        self.keys_max = KEYS_MAX;
        let mut keys = self.keys.as_mut().map(std::mem::take).unwrap_or_default();
        sort_out(&mut keys);
        keys
    }
}

fn sort_out<T: Ord>(keys: &mut Vec<T>) {
    keys.sort_unstable();
    keys.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_given_once() {
        let mut log = ChangeLog::default();
        log.note(1, || 'x');
        assert!(log.take().is_empty());
        log.start();
        for _ in 0..3 * KEYS_MAX {
            log.note(2, || 'y');
            log.note(1, || 'x');
        }
        assert!(log.keys.as_ref().is_some_and(|keys| keys.len() <= KEYS_MAX));
        assert_eq!(log.take(), [(1, 'x'), (2, 'y')]);
        assert!(log.take().is_empty());
    }
}
