//! A vector cut into pages, addressed by row id: it grows without copying what it holds, and pages can be dropped.

use std::mem;

/// How many low bits of a row id say the place within its page.
pub(crate) const PAGE_BITS: u32 = 14;
/// Rows of a page.
pub(crate) const PAGE_ROWS: usize = 1 << PAGE_BITS;

/// The page of a row.
pub(crate) fn page_of(id: u32) -> usize {
    (id >> PAGE_BITS) as usize
}

/// The place of a row within its page.
pub(crate) fn place_of(id: u32) -> usize {
    id as usize & (PAGE_ROWS - 1)
}

/// Neighbouring rows of one page, and the rows of a batch that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: u32,
    pub(crate) from: usize,
    pub(crate) rows: usize,
}

/// One plain value for each row id.
#[derive(Clone, Debug, Default)]
pub struct Paged<T> {
    pages: Vec<Vec<T>>,
}

impl<T: Copy + Default> Paged<T> {
    /// No pages.
    pub fn new() -> Self {
        Self { pages: Vec::new() }
    }

    /// The value of a row that was set.
    #[inline]
    pub fn get(&self, id: u32) -> T {
        self.pages[page_of(id)][place_of(id)]
    }

    /// Sets the value of a row; the rows between are the default.
    #[inline]
    pub fn set(&mut self, id: u32, value: T) {
        let place = place_of(id);
        let page = self.page(page_of(id));
        if place < page.len() {
            page[place] = value;
        } else {
            page.resize(place, T::default());
            page.push(value);
        }
    }

    /// The value of a row, to change; the row must have been set.
    #[inline]
    pub fn get_mut(&mut self, id: u32) -> &mut T {
        &mut self.pages[page_of(id)][place_of(id)]
    }

    pub(crate) fn write(&mut self, values: &[T], run: Run) {
        let place = place_of(run.id);
        let values = &values[run.from..run.from + run.rows];
        let page = self.page(page_of(run.id));
        if place >= page.len() {
            page.resize(place, T::default());
            page.extend_from_slice(values);
        } else if place + run.rows <= page.len() {
            page[place..place + run.rows].copy_from_slice(values);
        } else {
            let (old, new) = values.split_at(page.len() - place);
            page[place..].copy_from_slice(old);
            page.extend_from_slice(new);
        }
    }

    pub(crate) fn drop_page(&mut self, page: usize) {
        if let Some(page) = self.pages.get_mut(page) {
            drop(mem::take(page));
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.pages
            .iter()
            .map(|page| page.capacity() * size_of::<T>())
            .sum()
    }

    fn page(&mut self, page: usize) -> &mut Vec<T> {
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, Vec::new);
        }
        &mut self.pages[page]
    }
}
