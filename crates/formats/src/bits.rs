//! A bitmap that is written by row and becomes an Arrow buffer without a copy.

use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};

/// Bits, all clear to begin with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Makes room for `rows` bits; new ones are clear.
    pub(crate) fn grow(&mut self, rows: usize) {
        self.words.resize(rows.div_ceil(64), 0);
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, row: usize) {
        self.words[row / 64] |= 1 << (row % 64);
    }

    #[inline(always)]
    pub(crate) fn clear(&mut self, row: usize) {
        self.words[row / 64] &= !(1 << (row % 64));
    }

    pub(crate) fn get(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// The first `rows` bits; none are left behind.
    pub(crate) fn take(&mut self, rows: usize) -> BooleanBuffer {
        BooleanBuffer::new(Buffer::from_vec(std::mem::take(&mut self.words)), 0, rows)
    }

    /// The first `rows` bits as validity; `None` when all are valid.
    pub(crate) fn take_nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        let nulls = NullBuffer::new(self.take(rows));
        (nulls.null_count() > 0).then_some(nulls)
    }
}
