//! Entries in order, in blocks: inserting or taking out moves one block's entries at most.

/// Entries of a block; a longer one is cut in two.
const BLOCK_MAX: usize = 256;

/// A row: its key, by which entries are ordered, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<K> {
    pub(super) key: K,
    pub(super) id: u32,
}

/// Entries in order; those with equal keys as they were inserted.
#[derive(Clone, Debug)]
pub(super) struct Ordered<K> {
    first: Vec<Entry<K>>,
    rest: Vec<Vec<Entry<K>>>,
    entries: usize,
}

impl<K> Default for Ordered<K> {
    fn default() -> Self {
        Self {
            first: Vec::new(),
            rest: Vec::new(),
            entries: 0,
        }
    }
}

impl<K: Ord + Clone> Ordered<K> {
    pub(super) fn len(&self) -> usize {
        self.entries
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<K>> {
        self.first.iter().chain(self.rest.iter().flatten())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry<K>> {
        self.first.iter_mut().chain(self.rest.iter_mut().flatten())
    }

    pub(super) fn last(&self) -> Option<&Entry<K>> {
        self.rest.last().unwrap_or(&self.first).last()
    }

    /// Inserts an entry after its equals, or before them.
    pub(super) fn insert(&mut self, entry: Entry<K>, before_equals: bool) {
        let goes_before = |other: &Entry<K>| {
            if before_equals {
                other.key >= entry.key
            } else {
                other.key > entry.key
            }
        };
        // The last block whose first entry the new one does not go before.
        let number = self
            .rest
            .partition_point(|block| block.first().is_some_and(|first| !goes_before(first)));
        let block = self.block(number);
        let at = block.partition_point(|other| !goes_before(other));
        block.insert(at, entry);
        self.entries += 1;
        let block = self.block(number);
        if block.len() > BLOCK_MAX {
            let upper = block.split_off(BLOCK_MAX / 2);
            self.rest.insert(number, upper);
        }
    }

    /// Takes out the last entry.
    pub(super) fn pop(&mut self) -> Option<Entry<K>> {
        let entry = self.rest.last_mut().unwrap_or(&mut self.first).pop()?;
        self.entries -= 1;
        if self.rest.last().is_some_and(Vec::is_empty) {
            self.rest.pop();
        }
        Some(entry)
    }

    /// Takes out, of the entries with this key, the one that `wanted` accepts; the last first, or the first first.
    pub(super) fn remove(
        &mut self,
        key: &K,
        newest_first: bool,
        wanted: impl Fn(u32) -> bool,
    ) -> Option<Entry<K>> {
        let start = self
            .rest
            .partition_point(|block| block.first().is_some_and(|first| first.key < *key));
        let end = self
            .rest
            .partition_point(|block| block.first().is_some_and(|first| first.key <= *key));
        for step in 0..=end - start {
            let number = if newest_first {
                end - step
            } else {
                start + step
            };
            let block = self.block(number);
            let low = block.partition_point(|entry| entry.key < *key);
            let high = block.partition_point(|entry| entry.key <= *key);
            let equals = &block[low..high];
            let found = if newest_first {
                equals.iter().rposition(|entry| wanted(entry.id))
            } else {
                equals.iter().position(|entry| wanted(entry.id))
            };
            if let Some(place) = found {
                let entry = block.remove(low + place);
                self.entries -= 1;
                if number > 0 && self.rest[number - 1].is_empty() {
                    self.rest.remove(number - 1);
                } else if number == 0 && self.first.is_empty() && !self.rest.is_empty() {
                    self.first = self.rest.remove(0);
                }
                return Some(entry);
            }
        }
        None
    }

    fn block(&mut self, number: usize) -> &mut Vec<Entry<K>> {
        match number {
            0 => &mut self.first,
            _ => &mut self.rest[number - 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::Random;

    #[test]
    fn it_agrees_with_a_sorted_vector() {
        for before_equals in [false, true] {
            let mut random = Random(9);
            let mut ordered = Ordered::default();
            let mut model: Vec<Entry<usize>> = Vec::new();
            for id in 0..6000_u32 {
                let grows = if id < 3000 { 4 } else { 2 };
                let key = random.below(60);
                if random.below(5) < grows {
                    let entry = Entry { key, id };
                    let at = model.partition_point(|other| {
                        if before_equals {
                            other.key < key
                        } else {
                            other.key <= key
                        }
                    });
                    model.insert(at, entry.clone());
                    ordered.insert(entry, before_equals);
                } else if random.below(20) == 0 {
                    assert_eq!(ordered.pop(), model.pop());
                } else {
                    let wanted = |id: u32| id.is_multiple_of(3);
                    let fits = |entry: &Entry<usize>| entry.key == key && wanted(entry.id);
                    let newest_first = random.below(2) == 0;
                    let at = if newest_first {
                        model.iter().rposition(fits)
                    } else {
                        model.iter().position(fits)
                    };
                    let expected = at.map(|at| model.remove(at));
                    assert_eq!(ordered.remove(&key, newest_first, wanted), expected);
                }
                assert_eq!(ordered.len(), model.len());
                assert_eq!(ordered.last(), model.last());
            }
            assert!(ordered.iter().eq(model.iter()));
            assert!(model.len() > 600);
        }
    }
}
