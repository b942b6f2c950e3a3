//! Keys packed into 64-bit words, and the arena for the text that does not fit them.

use super::cells::Form;
use super::codec::{Codec, Lane};
use arrow::array::{Array, BinaryViewArray};
use foldhash::quality::FixedState;
use std::hash::BuildHasher;

const SEED: u64 = 0x6b65_7973_696e_6478;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Text up to this many bytes lies in its two words.
const INLINE_BYTES: u32 = 12;
/// The arena is rewritten when more than this, and more than half of it, is dead.
const DEAD_BYTES_MIN: usize = 1 << 16;

/// Where each column lies in a key's words.
#[derive(Debug)]
pub(super) struct Layout {
    /// Words a key.
    pub(super) stride: usize,
    /// For each column, where it is.
    pub(super) places: Vec<ColumnPlace>,
    /// For each column of text: which column it is, and its first word.
    pub(super) texts: Vec<(usize, usize)>,
    scoped: bool,
}

/// Where a column lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColumnPlace {
    /// Its first word.
    pub(super) word: usize,
    /// Its number among the columns of text.
    pub(super) text: usize,
}

impl Layout {
    pub(super) fn new(codecs: &[Codec], scoped: bool) -> Self {
        let mut layout = Self {
            stride: usize::from(scoped),
            places: Vec::new(),
            texts: Vec::new(),
            scoped,
        };
        for (column, codec) in codecs.iter().enumerate() {
            layout.places.push(ColumnPlace {
                word: layout.stride,
                text: layout.texts.len(),
            });
            if *codec.form() == Form::Bytes {
                layout.texts.push((column, layout.stride));
            }
            layout.stride += if *codec.form() == Form::Long { 1 } else { 2 };
        }
        // A key of nothing is one word that is always zero.
        layout.stride = layout.stride.max(1);
        layout
    }

    #[inline]
    pub(super) fn range(&self, id: u32) -> std::ops::Range<usize> {
        let start = id as usize * self.stride;
        start..start + self.stride
    }
}

/// A batch of packed keys with their tags.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) rows: usize,
    pub(super) words: Vec<u64>,
    /// Which columns are NULL, a bit a column and a word a row; empty when none is.
    pub(super) masks: Vec<u64>,
    pub(super) tags: Vec<u32>,
    pub(super) has_long_text: bool,
}

impl Packed {
    /// Packs the rows of some lanes.
    pub(super) fn fill(
        &mut self,
        layout: &Layout,
        scope: Option<&[u32]>,
        lanes: &[Lane],
        rows: usize,
    ) {
        self.begin(layout, rows);
        self.fill_scope(layout, scope);
        for (column, (lane, place)) in lanes.iter().zip(&layout.places).enumerate() {
            self.fill_column(layout.stride, place.word, lane);
            if let Some(nulls) = lane.nulls() {
                self.masks.resize(rows, 0);
                for row in (0..rows).filter(|row| nulls.is_null(*row)) {
                    self.masks[row] |= 1 << column;
                    let words = &mut self.words[row * layout.stride + place.word..];
                    words[0] = 0;
                    if !matches!(lane, Lane::Long { .. }) {
                        words[1] = 0;
                    }
                }
            }
        }
        self.hash(layout);
    }

    /// Takes packed keys of another index.
    pub(super) fn copy(
        &mut self,
        layout: &Layout,
        words: &[u64],
        masks: &[u64],
        ids: &[u32],
        scope: Option<&[u32]>,
    ) {
        self.begin(layout, ids.len());
        for (row, id) in self.words.chunks_exact_mut(layout.stride).zip(ids) {
            row.copy_from_slice(&words[layout.range(*id)]);
        }
        self.fill_scope(layout, scope);
        if !masks.is_empty() {
            let mask = |id: &u32| masks.get(*id as usize).copied().unwrap_or_default();
            self.masks.extend(ids.iter().map(mask));
        }
        self.has_long_text = self
            .words
            .chunks_exact(layout.stride)
            .any(|row| layout.texts.iter().any(|(_, word)| long(row[*word])));
        self.hash(layout);
    }

    #[inline]
    pub(super) fn row(&self, layout: &Layout, row: usize) -> &[u64] {
        &self.words[row * layout.stride..(row + 1) * layout.stride]
    }

    #[inline]
    pub(super) fn mask(&self, row: usize) -> u64 {
        self.masks.get(row).copied().unwrap_or_default()
    }

    fn begin(&mut self, layout: &Layout, rows: usize) {
        self.rows = rows;
        self.words.clear();
        self.words.resize(rows * layout.stride, 0);
        self.masks.clear();
        self.has_long_text = false;
    }

    fn fill_scope(&mut self, layout: &Layout, scope: Option<&[u32]>) {
        if let (true, Some(scope)) = (layout.scoped, scope) {
            let firsts = self.words.iter_mut().step_by(layout.stride);
            firsts
                .zip(scope)
                .for_each(|(word, scope)| *word = u64::from(*scope));
        }
    }

    fn fill_column(&mut self, stride: usize, word: usize, lane: &Lane) {
        let rows = self.words.chunks_exact_mut(stride);
        match lane {
            Lane::Long { values, .. } => {
                rows.zip(values.iter())
                    .for_each(|(row, value)| row[word] = *value as u64);
            }
            Lane::Wide { values, .. } => {
                for (row, value) in rows.zip(values.iter()) {
                    row[word] = *value as u64;
                    row[word + 1] = (*value >> 64) as u64;
                }
            }
            Lane::Bytes(values) => {
                for (at, (row, view)) in rows.zip(values.views().iter()).enumerate() {
                    row[word] = *view as u64;
                    row[word + 1] = (*view >> 64) as u64;
                    if long(row[word]) && values.is_valid(at) {
                        row[word + 1] = hash_bytes(values.value(at));
                        self.has_long_text = true;
                    }
                }
            }
        }
    }

    fn hash(&mut self, layout: &Layout) {
        self.tags.clear();
        let masks = &self.masks;
        let keys = self.words.chunks_exact(layout.stride);
        if masks.is_empty() {
            self.tags.extend(keys.map(|key| tag(key, 0)));
        } else {
            self.tags
                .extend(keys.zip(masks).map(|(key, mask)| tag(key, *mask)));
        }
    }
}

/// The tag of a packed key.
#[inline]
pub(super) fn tag(words: &[u64], mask: u64) -> u32 {
    let mixed = words.iter().fold(SEED ^ mask, |state, word| {
        let product = u128::from(state ^ word) * u128::from(FACTOR);
        (product as u64) ^ ((product >> 64) as u64)
    });
    (mixed ^ (mixed >> 32)) as u32
}

/// Whether the first word of a text says that it does not fit its words.
#[inline]
pub(super) fn long(word: u64) -> bool {
    word as u32 > INLINE_BYTES
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    FixedState::with_seed(SEED).hash_one(bytes)
}

/// Where the bytes of long text in a batch are: by row, number among the columns of text, and column.
pub(super) trait LongText {
    fn get(&self, row: usize, text: usize, column: usize) -> &[u8];
}

impl LongText for &[Lane] {
    fn get(&self, row: usize, _: usize, column: usize) -> &[u8] {
        match &self[column] {
            Lane::Bytes(values) => BinaryViewArray::value(values, row),
            Lane::Long { .. } | Lane::Wide { .. } => &[],
        }
    }
}

/// The long text of some groups of an index.
pub(super) struct Stored<'a> {
    pub(super) arena: &'a Arena,
    pub(super) layout: &'a Layout,
    pub(super) words: &'a [u64],
    pub(super) ids: &'a [u32],
}

impl LongText for Stored<'_> {
    fn get(&self, row: usize, text: usize, _: usize) -> &[u8] {
        let id = self.ids[row];
        let (_, word) = self.layout.texts[text];
        let head = self.words[self.layout.range(id)][word];
        self.arena.get(self.layout, id, text, head)
    }
}

/// The bytes of long text of the groups of an index.
#[derive(Debug, Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    /// Where each group's texts begin, only once there is any.
    starts: Vec<usize>,
    dead: usize,
}

impl Arena {
    /// The bytes of a text of which `head` is the first word.
    pub(super) fn get(&self, layout: &Layout, id: u32, text: usize, head: u64) -> &[u8] {
        let start = self.starts[id as usize * layout.texts.len() + text];
        &self.bytes[start..start + head as u32 as usize]
    }

    pub(super) fn put(&mut self, layout: &Layout, id: u32, text: usize, bytes: &[u8]) {
        let at = id as usize * layout.texts.len() + text;
        if self.starts.len() <= at {
            self.starts.resize(at + layout.texts.len() - text, 0);
        }
        self.starts[at] = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
    }

    /// A key with these words goes away.
    pub(super) fn forget(&mut self, layout: &Layout, words: &[u64]) {
        let heads = layout.texts.iter().map(|(_, word)| words[*word]);
        self.dead += heads
            .filter(|head| long(*head))
            .map(|head| head as u32 as usize)
            .sum::<usize>();
    }

    /// Drops dead bytes when they are many; `words` are those of all groups, zero for those that went away.
    pub(super) fn compact(&mut self, layout: &Layout, words: &[u64]) {
        if self.dead < DEAD_BYTES_MIN || self.dead * 2 < self.bytes.len() {
            return;
        }
        let old = std::mem::take(&mut self.bytes);
        for (id, words) in words.chunks_exact(layout.stride).enumerate() {
            for (text, (_, word)) in layout.texts.iter().enumerate() {
                if long(words[*word]) {
                    let start = &mut self.starts[id * layout.texts.len() + text];
                    let bytes = &old[*start..*start + words[*word] as u32 as usize];
                    *start = self.bytes.len();
                    self.bytes.extend_from_slice(bytes);
                }
            }
        }
        self.dead = 0;
    }

    /// How many bytes it takes, dead ones too.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
        self.dead = 0;
    }
}
