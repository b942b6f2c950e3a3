//! Texts and byte strings of a column: page by page a span for each row into the page's own bytes.
//!
//! Values are copied in, so that no row keeps the buffer alive that it was decoded from. What dead rows leave behind is
//! squeezed out once it is the greater part of a page.

use super::paged::{PAGE_ROWS, Paged, Run, page_of, place_of};
use millstream_dataflow::{Error, Result};

/// Below this many wasted bytes a page is left as it is.
const WASTE_MIN: usize = 1 << 14;

/// Where the bytes of values are kept: a `String` or a `Vec<u8>`.
pub(crate) trait Store: Default {
    type Value: ?Sized + PartialEq;
    fn push(&mut self, value: &Self::Value);
    fn at(&self, start: usize, end: usize) -> &Self::Value;
    fn bytes(&self) -> usize;
    fn allocated(&self) -> usize;
    fn length(value: &Self::Value) -> usize;
    fn reserve(&mut self, bytes: usize);
    fn fit(&mut self);
}

impl Store for String {
    type Value = str;
    fn push(&mut self, value: &str) {
        self.push_str(value);
    }
    fn at(&self, start: usize, end: usize) -> &str {
        &self[start..end]
    }
    fn bytes(&self) -> usize {
        self.len()
    }
    fn allocated(&self) -> usize {
        self.capacity()
    }
    fn length(value: &str) -> usize {
        value.len()
    }
    fn reserve(&mut self, bytes: usize) {
        self.reserve(bytes);
    }
    fn fit(&mut self) {
        self.shrink_to_fit();
    }
}

impl Store for Vec<u8> {
    type Value = [u8];
    fn push(&mut self, value: &[u8]) {
        self.extend_from_slice(value);
    }
    fn at(&self, start: usize, end: usize) -> &[u8] {
        &self[start..end]
    }
    fn bytes(&self) -> usize {
        self.len()
    }
    fn allocated(&self) -> usize {
        self.capacity()
    }
    fn length(value: &[u8]) -> usize {
        value.len()
    }
    fn reserve(&mut self, bytes: usize) {
        self.reserve(bytes);
    }
    fn fit(&mut self) {
        self.shrink_to_fit();
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    length: u32,
}

#[derive(Debug, Default)]
struct Page<S> {
    store: S,
    wasted: usize,
}

/// One value of any length for each row id.
#[derive(Debug, Default)]
pub(crate) struct Heap<S> {
    spans: Paged<Span>,
    pages: Vec<Page<S>>,
    new_spans: Vec<Span>,
}

impl<S: Store> Heap<S> {
    #[inline]
    pub(crate) fn get(&self, id: u32) -> &S::Value {
        let span = self.spans.get(id);
        self.pages[page_of(id)]
            .store
            .at(span.start as usize, (span.start + span.length) as usize)
    }

    #[inline]
    pub(crate) fn length(&self, id: u32) -> usize {
        self.spans.get(id).length as usize
    }

    /// Writes the values of a run, in order. NULLs are given as empty values.
    pub(crate) fn write<'a>(
        &mut self,
        run: Run,
        values: impl Iterator<Item = &'a S::Value> + Clone,
    ) -> Result<()>
    where
        S: 'a,
    {
        let page = page_of(run.id);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, Page::default);
        }
        let store = &mut self.pages[page].store;
        let mut start = store.bytes();
        let bytes: usize = values.clone().map(S::length).sum();
        if u32::try_from(start + bytes).is_err() {
            return Err(too_long());
        }
        if run.rows > 1 {
            store.reserve(bytes);
        }
        self.new_spans.clear();
        for value in values {
            let length = S::length(value);
            store.push(value);
            self.new_spans.push(Span {
                start: start as u32,
                length: length as u32,
            });
            start += length;
        }
        self.spans.write(&self.new_spans, Run { from: 0, ..run });
        // A page that has just been filled grows no more.
        if place_of(run.id) + run.rows == PAGE_ROWS {
            store.fit();
        }
        Ok(())
    }

    /// Lets go of a row's value. True when the page should be squeezed.
    pub(crate) fn forget(&mut self, id: u32) -> bool {
        let span = self.spans.get(id);
        self.spans.set(id, Span::default());
        let page = &mut self.pages[page_of(id)];
        page.wasted += span.length as usize;
        page.wasted > WASTE_MIN && page.wasted * 2 > page.store.bytes()
    }

    /// Copies the values of a page's live rows together.
    pub(crate) fn squeeze(&mut self, page: usize, live: impl Iterator<Item = u32>) {
        let old = std::mem::take(&mut self.pages[page]).store;
        let mut store = S::default();
        for id in live {
            let span = self.spans.get_mut(id);
            let start = store.bytes() as u32;
            store.push(old.at(span.start as usize, (span.start + span.length) as usize));
            span.start = start;
        }
        self.pages[page].store = store;
    }

    pub(crate) fn drop_page(&mut self, page: usize) {
        self.spans.drop_page(page);
        if let Some(page) = self.pages.get_mut(page) {
            *page = Page::default();
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.spans.bytes()
            + self
                .pages
                .iter()
                .map(|page| page.store.allocated())
                .sum::<usize>()
    }
}

fn too_long() -> Error {
    Error::bad_data("the texts of a page of state are longer than 4 GiB in one column")
        .hint("leave the column out of the query, or shorten its values")
}
