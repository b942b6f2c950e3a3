//! An open-addressing table from 32-bit tags to ids.
//!
//! A slot is one word: the tag above, the id plus one below, zero when free. A tag's home is its leading bits, so
//! the table can grow without seeing a key again, reading and writing memory in order. Invariant: between an entry
//! and its home there is no free slot.

/// The smallest table: one cache line.
const SMALLEST_BITS: u32 = 3;

/// Tags with their ids.
#[derive(Debug, Default)]
pub(super) struct Slots {
    words: Vec<u64>,
    bits: u32,
    len: usize,
}

/// A place in the table: the next one to look at in a search.
pub(super) type Place = usize;

impl Slots {
    /// Makes room for one more entry; places found before are void.
    #[inline]
    pub(super) fn reserve_one(&mut self) {
        // Linear probing stays short below five eighths.
        if (self.len + 1) * 8 > self.words.len() * 5 {
            self.grow();
        }
    }

    /// Makes room for so many more entries; places found before are void.
    pub(super) fn reserve(&mut self, more: usize) {
        while (self.len + more) * 8 > self.words.len() * 5 {
            self.grow();
        }
    }

    /// Where the search for a tag begins. The table must not be empty: call `reserve_one` first.
    #[inline]
    pub(super) fn home(&self, tag: u32) -> Place {
        (tag >> (32 - self.bits)) as usize
    }

    /// The place after this one.
    #[inline]
    pub(super) fn next(&self, place: Place) -> Place {
        (place + 1) & (self.words.len() - 1)
    }

    /// The tag and id at a place.
    #[inline]
    pub(super) fn get(&self, place: Place) -> Option<(u32, u32)> {
        let word = self.words[place];
        (word != 0).then(|| ((word >> 32) as u32, (word as u32).wrapping_sub(1)))
    }

    /// Fills a free place.
    #[inline]
    pub(super) fn fill(&mut self, place: Place, tag: u32, id: u32) {
        self.words[place] = word(tag, id);
        self.len += 1;
    }

    /// Whether the table has any place at all.
    pub(super) fn has_room(&self) -> bool {
        !self.words.is_empty()
    }

    /// Whether nothing can be found.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes an entry out and closes the gap; nothing when it is not there.
    pub(super) fn remove(&mut self, tag: u32, id: u32) {
        if self.words.is_empty() {
            return;
        }
        let wanted = word(tag, id);
        let mut place = self.home(tag);
        while self.words[place] != wanted {
            if self.words[place] == 0 {
                return;
            }
            place = self.next(place);
        }
        self.len -= 1;
        self.close_gap(place);
    }

    /// Forgets all entries and keeps the room.
    pub(super) fn clear(&mut self) {
        self.words.fill(0);
        self.len = 0;
    }

    /// All ids, in the order of the table (which is not an order to show).
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.words
            .iter()
            .filter(|word| **word != 0)
            .map(|word| (*word as u32).wrapping_sub(1))
    }

    /// Moves later entries of the run back so that no search stops early.
    fn close_gap(&mut self, mut gap: Place) {
        let mask = self.words.len() - 1;
        let mut place = gap;
        loop {
            place = self.next(place);
            let word = self.words[place];
            if word == 0 {
                break;
            }
            let home = self.home((word >> 32) as u32);
            let from_home = place.wrapping_sub(home) & mask;
            let from_gap = place.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.words[gap] = word;
                gap = place;
            }
        }
        self.words[gap] = 0;
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.words);
        self.bits = if old.is_empty() {
            SMALLEST_BITS
        } else {
            self.bits + 1
        };
        self.words = vec![0; 1 << self.bits];
        for word in old.into_iter().filter(|word| *word != 0) {
            let mut place = self.home((word >> 32) as u32);
            while self.words[place] != 0 {
                place = self.next(place);
            }
            self.words[place] = word;
        }
    }
}

fn word(tag: u32, id: u32) -> u64 {
    (u64::from(tag) << 32) | (u64::from(id) + 1)
}
