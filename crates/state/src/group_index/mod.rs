//! Rows of keys to dense group ids, a batch at a time.
//!
//! ```text
//! key columns --pack--> words per row --hash--> tag --slots--> id --compare words--> the same group
//!                       [ n ] [len,prefix | rest] ...
//! ```
//!
//! Every key is packed into a fixed number of 64-bit words: numbers and times take one, decimals two, text two (all of
//! it up to 12 bytes; else length, prefix and a hash, with the bytes in an arena). A group's words lie together, so
//! that finding a group touches one line of the table and one of the keys. Ids are dense, given in order of arrival
//! and reused after [`GroupIndex::release`]; whoever holds state for a group holds it in vectors by id.
//!
//! Invariant: equal keys (NULLs are equal, so are -0.0 and 0.0, and all NaNs) have one id while they are not removed.

mod cells;
mod codec;
mod pack;
mod slots;

pub use cells::{Cells, Form};
pub use codec::{Codec, Lane, code_of_float, float_code, float_of_code};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use millstream_dataflow::{Error, Result};
use pack::{Arena, Layout, LongText, Packed, long};
use slots::Slots;

/// The id of no group.
pub const ABSENT: u32 = u32::MAX;

/// How many rows are looked up together: enough for the memory to be asked for many lines at once, few enough for
/// them all to stay in the cache.
const PROBE_ROWS: usize = 256;

/// An index from keys to dense ids.
#[derive(Debug)]
pub struct GroupIndex {
    codecs: Vec<Codec>,
    layout: Layout,
    slots: Slots,
    words: Vec<u64>,
    /// A bit a column and a word a group, only once a key with a NULL has been seen.
    masks: Vec<u64>,
    arena: Arena,
    free: Vec<u32>,
    ids: u32,
    batch: Packed,
}

impl GroupIndex {
    /// An empty index of keys of these types. No types: all rows are one group.
    ///
    /// # Errors
    /// `User` for a type that cannot be a key, or more than 64 columns.
    pub fn new(types: &[DataType]) -> Result<Self> {
        Self::with_scope(types, false)
    }

    /// An empty index of keys of these types, each within a scope (a group of another index).
    ///
    /// # Errors
    /// As [`GroupIndex::new`].
    pub fn scoped(types: &[DataType]) -> Result<Self> {
        Self::with_scope(types, true)
    }

    fn with_scope(types: &[DataType], scoped: bool) -> Result<Self> {
        if types.len() > u64::BITS as usize {
            return Err(Error::user(format!(
                "{} key columns are more than 64",
                types.len()
            )));
        }
        let codecs: Vec<Codec> = types.iter().map(Codec::for_keys).collect::<Result<_>>()?;
        Ok(Self {
            layout: Layout::new(&codecs, scoped),
            codecs,
            slots: Slots::default(),
            words: Vec::new(),
            masks: Vec::new(),
            arena: Arena::default(),
            free: Vec::new(),
            ids: 0,
            batch: Packed::default(),
        })
    }

    /// How many groups can be found.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no group can be found.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All ids are below this.
    pub fn id_limit(&self) -> usize {
        self.ids as usize
    }

    /// The ids of the groups that can be found, ascending.
    pub fn live_ids(&self) -> Vec<u32> {
        if self.slots.len() == self.ids as usize {
            return (0..self.ids).collect();
        }
        let mut ids: Vec<u32> = self.slots.ids().collect();
        ids.sort_unstable();
        ids
    }

    /// The group of each row, made where it is new: `ids` is cleared and gets one a row, `fresh` gets the new ones.
    ///
    /// # Errors
    /// `Internal` when the columns are of other types, or beyond 2^31 groups.
    pub fn resolve(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        ids: &mut Vec<u32>,
        fresh: &mut Vec<u32>,
    ) -> Result<()> {
        let lanes = self.encode(columns)?;
        self.resolve_lanes(None, &lanes, rows, ids, fresh)
    }

    /// As [`GroupIndex::resolve`], of lanes, and with the scope of each row if the index is scoped.
    ///
    /// # Errors
    /// `Internal` beyond 2^31 groups.
    pub fn resolve_lanes(
        &mut self,
        scope: Option<&[u32]>,
        lanes: &[Lane],
        rows: usize,
        ids: &mut Vec<u32>,
        fresh: &mut Vec<u32>,
    ) -> Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.fill(&self.layout, scope, lanes, rows);
        let resolved = self.resolve_packed(&batch, &lanes, ids, fresh);
        self.batch = batch;
        resolved
    }

    /// The group of each row, [`ABSENT`] where there is none.
    ///
    /// # Errors
    /// `Internal` when the columns are of other types.
    pub fn find(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        let lanes = self.encode(columns)?;
        self.find_lanes(None, &lanes, rows, ids);
        Ok(())
    }

    /// As [`GroupIndex::find`], of lanes, and with the scope of each row if the index is scoped.
    pub fn find_lanes(
        &mut self,
        scope: Option<&[u32]>,
        lanes: &[Lane],
        rows: usize,
        ids: &mut Vec<u32>,
    ) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.fill(&self.layout, scope, lanes, rows);
        ids.clear();
        ids.extend((0..rows).map(|row| match self.search(&batch, &lanes, row) {
            Search::Found(id) => id,
            Search::Free(_) => ABSENT,
        }));
        self.batch = batch;
    }

    /// The groups of another index of the same types: `ids` is cleared and gets, for each of `theirs`, its group here,
    /// made where it is new. `scope` gives the scope here of each, if the index is scoped.
    ///
    /// # Errors
    /// `Internal` beyond 2^31 groups.
    pub fn absorb(
        &mut self,
        other: &Self,
        theirs: &[u32],
        scope: Option<&[u32]>,
        ids: &mut Vec<u32>,
        fresh: &mut Vec<u32>,
    ) -> Result<()> {
        if self.slots.is_empty() {
            // Most of them will be new.
            self.slots.reserve(theirs.len());
        }
        let mut batch = std::mem::take(&mut self.batch);
        batch.copy(&self.layout, &other.words, &other.masks, theirs, scope);
        let text = pack::Stored {
            arena: &other.arena,
            layout: &other.layout,
            words: &other.words,
            ids: theirs,
        };
        let resolved = self.resolve_packed(&batch, &text, ids, fresh);
        self.batch = batch;
        resolved
    }

    /// Takes a group out: it is found no more, while its id and key stay until [`GroupIndex::release`].
    pub fn remove(&mut self, id: u32) {
        let words = &self.words[self.layout.range(id)];
        let mask = self.masks.get(id as usize).copied().unwrap_or_default();
        self.slots.remove(pack::tag(words, mask), id);
    }

    /// Gives the id of a removed group free for another.
    pub fn release(&mut self, id: u32) {
        self.arena
            .forget(&self.layout, &self.words[self.layout.range(id)]);
        self.words[self.layout.range(id)].fill(0);
        self.free.push(id);
        self.arena.compact(&self.layout, &self.words);
    }

    /// Forgets all groups and keeps the room.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.words.clear();
        self.masks.clear();
        self.arena.clear();
        self.free.clear();
        self.ids = 0;
    }

    /// The scope of a group of a scoped index.
    pub fn scope(&self, id: u32) -> u32 {
        self.words[id as usize * self.layout.stride] as u32
    }

    /// The key columns of some groups, in the order of the ids.
    ///
    /// # Errors
    /// `Internal` when more than 2 GiB of text would come out in one column.
    pub fn gather(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        (0..self.codecs.len())
            .map(|column| self.gather_column(column, ids))
            .collect()
    }

    /// The keys of some groups as cells, added to those in `out` (one a column).
    pub fn gather_cells(&self, ids: &[u32], out: &mut [Cells]) {
        for (column, cells) in out.iter_mut().enumerate() {
            ids.iter().for_each(|id| self.push_cell(column, *id, cells));
        }
    }

    /// A key column of 64-bit form of one group; `None` for NULL.
    pub fn long(&self, column: usize, id: u32) -> Option<i64> {
        let at = id as usize * self.layout.stride + self.layout.places[column].word;
        (!self.is_null(column, id)).then(|| self.words[at] as i64)
    }

    /// The form of each key column.
    pub fn forms(&self) -> Vec<Form> {
        self.codecs
            .iter()
            .map(|codec| codec.form().clone())
            .collect()
    }

    /// Empty cells for each key column.
    pub fn key_cells(&self) -> Vec<Cells> {
        self.codecs.iter().map(Codec::cells).collect()
    }

    /// The key columns in the form in which [`GroupIndex::resolve_lanes`] takes them.
    ///
    /// # Errors
    /// `Internal` when the columns are of other types.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Vec<Lane>> {
        self.codecs
            .iter()
            .zip(columns)
            .map(|(codec, column)| codec.encode(column))
            .collect()
    }

    fn resolve_packed<T: LongText>(
        &mut self,
        batch: &Packed,
        text: &T,
        ids: &mut Vec<u32>,
        fresh: &mut Vec<u32>,
    ) -> Result<()> {
        if self.ids as usize + batch.rows > i32::MAX as usize {
            return Err(Error::internal("one index holds more than 2^31 groups"));
        }
        ids.clear();
        ids.reserve(batch.rows);
        match self.layout.stride {
            1 => self.probe::<1, T>(batch, text, ids, fresh),
            2 => self.probe::<2, T>(batch, text, ids, fresh),
            3 => self.probe::<3, T>(batch, text, ids, fresh),
            4 => self.probe::<4, T>(batch, text, ids, fresh),
            _ => self.probe::<0, T>(batch, text, ids, fresh),
        }
        Ok(())
    }

    /// `N` is the number of words a key, 0 for any: known to the compiler, a comparison is a few instructions.
    fn probe<const N: usize, T: LongText>(
        &mut self,
        batch: &Packed,
        text: &T,
        ids: &mut Vec<u32>,
        fresh: &mut Vec<u32>,
    ) {
        let plain = batch.masks.is_empty() && self.masks.is_empty() && !batch.has_long_text;
        let mut guesses = [ABSENT; PROBE_ROWS];
        let mut row = 0;
        while row < batch.rows {
            let rows = PROBE_ROWS.min(batch.rows - row);
            if plain && !self.slots.is_empty() {
                self.guess::<N>(batch, row, &mut guesses[..rows]);
            } else {
                guesses[..rows].fill(ABSENT);
            }
            for (at, guess) in guesses[..rows].iter().enumerate() {
                let id = if *guess == ABSENT {
                    self.find_or_insert(batch, text, row + at, fresh)
                } else {
                    *guess
                };
                ids.push(id);
            }
            row += rows;
        }
    }

    /// The group in a row's home, if its words are equal: the usual case, without a branch that depends on another
    /// row, so that the processor waits for many rows' memory at once.
    fn guess<const N: usize>(&self, batch: &Packed, first: usize, guesses: &mut [u32]) {
        let stride = if N == 0 { self.layout.stride } else { N };
        for (at, guess) in guesses.iter_mut().enumerate() {
            let tag = batch.tags[first + at];
            *guess = match self.slots.get(self.slots.home(tag)) {
                Some((found, id)) if found == tag => id,
                _ => ABSENT,
            };
        }
        for (at, guess) in guesses.iter_mut().enumerate() {
            if *guess != ABSENT {
                let row = (first + at) * stride;
                let mine = *guess as usize * stride;
                if batch.words[row..row + stride] != self.words[mine..mine + stride] {
                    *guess = ABSENT;
                }
            }
        }
    }

    fn find_or_insert<T: LongText>(
        &mut self,
        batch: &Packed,
        text: &T,
        row: usize,
        fresh: &mut Vec<u32>,
    ) -> u32 {
        self.slots.reserve_one();
        match self.search(batch, text, row) {
            Search::Found(id) => id,
            Search::Free(place) => {
                let id = self.new_id();
                self.slots.fill(place, batch.tags[row], id);
                self.store(batch, text, row, id);
                fresh.push(id);
                id
            }
        }
    }

    fn search<T: LongText>(&self, batch: &Packed, text: &T, row: usize) -> Search {
        if self.slots.is_empty() && !self.slots.has_room() {
            return Search::Free(0);
        }
        let tag = batch.tags[row];
        let mut place = self.slots.home(tag);
        while let Some((found, id)) = self.slots.get(place) {
            if found == tag && self.same(batch, text, row, id) {
                return Search::Found(id);
            }
            place = self.slots.next(place);
        }
        Search::Free(place)
    }

    fn same<T: LongText>(&self, batch: &Packed, text: &T, row: usize, id: u32) -> bool {
        let words = batch.row(&self.layout, row);
        words == &self.words[self.layout.range(id)]
            && batch.mask(row) == self.masks.get(id as usize).copied().unwrap_or_default()
            && (!batch.has_long_text || self.same_text(words, text, row, id))
    }

    fn same_text<T: LongText>(&self, words: &[u64], text: &T, row: usize, id: u32) -> bool {
        self.layout
            .texts
            .iter()
            .enumerate()
            .all(|(at, (column, word))| {
                !long(words[*word])
                    || self.arena.get(&self.layout, id, at, words[*word])
                        == text.get(row, at, *column)
            })
    }

    fn new_id(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let id = self.ids;
            self.ids += 1;
            self.words.resize(self.ids as usize * self.layout.stride, 0);
            id
        })
    }

    fn store<T: LongText>(&mut self, batch: &Packed, text: &T, row: usize, id: u32) {
        let words = batch.row(&self.layout, row);
        self.words[self.layout.range(id)].copy_from_slice(words);
        let mask = batch.mask(row);
        if mask != 0 || !self.masks.is_empty() {
            self.masks
                .resize((self.ids as usize).max(self.masks.len()), 0);
            self.masks[id as usize] = mask;
        }
        if batch.has_long_text {
            for (at, (column, word)) in self.layout.texts.iter().enumerate() {
                if long(words[*word]) {
                    self.arena
                        .put(&self.layout, id, at, text.get(row, at, *column));
                }
            }
        }
    }

    fn is_null(&self, column: usize, id: u32) -> bool {
        self.masks
            .get(id as usize)
            .is_some_and(|mask| mask >> column & 1 == 1)
    }

    fn gather_column(&self, column: usize, ids: &[u32]) -> Result<ArrayRef> {
        let codec = &self.codecs[column];
        if *codec.form() == Form::Bytes && codec.is_text() {
            let mut views = codec::Views::with_capacity(ids.len());
            for id in ids {
                self.push_view(column, *id, &mut views);
            }
            return views.finish(codec.data_type());
        }
        let mut cells = codec.cells();
        if *codec.form() == Form::Long && self.masks.is_empty() {
            let (stride, word) = (self.layout.stride, self.layout.places[column].word);
            cells.extend_longs(
                ids.iter()
                    .map(|id| self.words[*id as usize * stride + word] as i64),
            );
        } else {
            ids.iter()
                .for_each(|id| self.push_cell(column, *id, &mut cells));
        }
        codec.decode(&cells, None)
    }

    fn push_view(&self, column: usize, id: u32, views: &mut codec::Views) {
        let words = &self.words[self.layout.range(id)][self.layout.places[column].word..];
        if self.is_null(column, id) {
            views.push(None);
        } else if long(words[0]) {
            let at = self.layout.places[column].text;
            views.push(Some(self.arena.get(&self.layout, id, at, words[0])));
        } else {
            views.push_inline(u128::from(words[0]) | u128::from(words[1]) << 64);
        }
    }

    fn push_cell(&self, column: usize, id: u32, cells: &mut Cells) {
        if self.is_null(column, id) {
            return cells.push_null();
        }
        let words = &self.words[self.layout.range(id)][self.layout.places[column].word..];
        match self.codecs[column].form() {
            Form::Long => cells.push_long(words[0] as i64),
            Form::Wide => {
                cells.push_wide((u128::from(words[0]) | u128::from(words[1]) << 64) as i128)
            }
            Form::Bytes if long(words[0]) => {
                let at = self.layout.places[column].text;
                cells.push_bytes(self.arena.get(&self.layout, id, at, words[0]));
            }
            Form::Bytes => {
                let view = (u128::from(words[0]) | u128::from(words[1]) << 64).to_le_bytes();
                cells.push_bytes(&view[4..4 + words[0] as u32 as usize]);
            }
            Form::Lists(_) => cells.push_null(),
        }
    }
}

enum Search {
    Found(u32),
    Free(usize),
}

#[cfg(test)]
mod tests;
