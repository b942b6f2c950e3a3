//! Which row ids are in use. Ids are given out lowest first, so that which ids a batch gets follows from the set of live
//! rows alone: a restored log goes on exactly as the saved one would have.

use super::paged::{PAGE_ROWS, Run, page_of, place_of};

const WORDS: usize = PAGE_ROWS / 64;

#[derive(Debug)]
struct Page {
    words: Box<[u64; WORDS]>,
    live: usize,
    /// Below this word every row is live.
    full_words: usize,
}

/// The set of live row ids.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pages: Vec<Page>,
    /// Below this page every row is live.
    full_pages: usize,
    rows: usize,
}

impl Live {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn pages(&self) -> usize {
        self.pages.len()
    }

    pub(crate) fn page_rows(&self, page: usize) -> usize {
        self.pages[page].live
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        let place = place_of(id);
        self.pages
            .get(page_of(id))
            .is_some_and(|page| page.words[place / 64] >> (place % 64) & 1 == 1)
    }

    /// Gives out the lowest free ids for some rows of a batch.
    pub(crate) fn allocate(&mut self, rows: usize, runs: &mut Vec<Run>) {
        let mut from = 0;
        let mut number = self.full_pages;
        while from < rows {
            self.ensure(number);
            let page = &mut self.pages[number];
            let taken = page.allocate(number, from, rows - from, runs);
            from += taken;
            if page.live == PAGE_ROWS {
                number += 1;
                self.full_pages = number;
            }
        }
        self.rows += rows;
    }

    /// Takes ids that are free.
    pub(crate) fn occupy(&mut self, run: Run) {
        self.ensure(page_of(run.id));
        let page = &mut self.pages[page_of(run.id)];
        let (mut place, end) = (place_of(run.id), place_of(run.id) + run.rows);
        while place < end {
            let bits = (64 - place % 64).min(end - place);
            page.words[place / 64] |= (u64::MAX >> (64 - bits)) << (place % 64);
            place += bits;
        }
        page.live += run.rows;
        self.rows += run.rows;
    }

    /// Frees an id that is live. Gives the rows that are left in its page.
    pub(crate) fn free(&mut self, id: u32) -> usize {
        let number = page_of(id);
        let place = place_of(id);
        let page = &mut self.pages[number];
        page.words[place / 64] &= !(1 << (place % 64));
        page.full_words = page.full_words.min(place / 64);
        page.live -= 1;
        self.rows -= 1;
        self.full_pages = self.full_pages.min(number);
        page.live
    }

    /// The live ids of a page, ascending.
    pub(crate) fn ids(&self, page: usize) -> impl Iterator<Item = u32> + '_ {
        let base = (page * PAGE_ROWS) as u32;
        self.pages[page]
            .words
            .iter()
            .enumerate()
            .flat_map(move |(number, word)| {
                let mut rest = *word;
                std::iter::from_fn(move || {
                    (rest != 0).then(|| {
                        let bit = rest.trailing_zeros();
                        rest &= rest - 1;
                        base + number as u32 * 64 + bit
                    })
                })
            })
    }

    fn ensure(&mut self, page: usize) {
        while self.pages.len() <= page {
            self.pages.push(Page {
                words: Box::new([0; WORDS]),
                live: 0,
                full_words: 0,
            });
        }
    }
}

impl Page {
    /// Takes up to `wanted` free rows, lowest first, and gives how many.
    fn allocate(
        &mut self,
        number: usize,
        from: usize,
        wanted: usize,
        runs: &mut Vec<Run>,
    ) -> usize {
        let mut taken = 0;
        let mut at = self.full_words;
        while taken < wanted && at < WORDS {
            let free = !self.words[at];
            if free == 0 {
                at += 1;
                self.full_words = at;
                continue;
            }
            let first = free.trailing_zeros() as usize;
            let rows = ((free >> first).trailing_ones() as usize).min(wanted - taken);
            let ones = u64::MAX >> (64 - rows);
            self.words[at] |= ones << first;
            let id = (number * PAGE_ROWS + at * 64 + first) as u32;
            match runs.last_mut() {
                Some(run)
                    if run.id + run.rows as u32 == id
                        && place_of(id) != 0
                        && run.from + run.rows == from + taken =>
                {
                    run.rows += rows;
                }
                _ => runs.push(Run {
                    id,
                    from: from + taken,
                    rows,
                }),
            }
            taken += rows;
        }
        self.live += taken;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_ids_are_given_out_first() {
        let mut live = Live::default();
        let mut runs = Vec::new();
        live.allocate(PAGE_ROWS + 100, &mut runs);
        let lengths: Vec<usize> = runs.iter().map(|run| run.rows).collect();
        assert_eq!(lengths, [PAGE_ROWS, 100]);
        for id in [70, 71, 3, PAGE_ROWS as u32 + 5] {
            live.free(id);
        }
        runs.clear();
        live.allocate(5, &mut runs);
        let ids: Vec<(u32, usize)> = runs.iter().map(|run| (run.id, run.rows)).collect();
        let last = PAGE_ROWS as u32;
        assert_eq!(ids, [(3, 1), (70, 2), (last + 5, 1), (last + 100, 1)]);
        assert_eq!(live.rows(), PAGE_ROWS + 101);
        assert_eq!(live.ids(1).count(), 101);
    }

    #[test]
    fn taken_ids_are_not_given_out() {
        let mut live = Live::default();
        for (id, rows) in [(3, 1), (60, 70), (200, 56)] {
            live.occupy(Run { id, from: 0, rows });
        }
        let taken: Vec<u32> = [3].into_iter().chain(60..130).chain(200..256).collect();
        assert!(live.ids(0).eq(taken));
        let mut runs = Vec::new();
        live.allocate(60, &mut runs);
        let given: Vec<(u32, usize)> = runs.iter().map(|run| (run.id, run.rows)).collect();
        assert_eq!(given, [(0, 3), (4, 56), (130, 1)]);
        assert_eq!(live.rows(), 60 + 127);
    }
}
