//! Text and bytes as Arrow views: short ones inline, long ones pointing into the records' own bytes, or, where escapes
//! had to be resolved, into bytes of the column's own.

use crate::utf8::Run;
use arrow::array::{ArrayRef, BinaryViewArray, StringViewArray};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use millstream_dataflow::Result;
use std::sync::Arc;

const INLINE_MAX: usize = 12;
const RECORDS: u32 = 0;
const OWN: u32 = 1;

/// A column of views, written by row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Views {
    views: Vec<u128>,
    own: Vec<u8>,
    borrows: bool,
}

impl Views {
    /// Makes room for `rows` views; new ones are the empty text.
    pub(crate) fn grow(&mut self, rows: usize) {
        self.views.resize(rows, 0);
    }

    /// Sets a row to `bytes[start..end]` of the records; `word` are the 16 bytes at `start`.
    #[inline(always)]
    pub(crate) fn borrow(&mut self, row: usize, word: u128, start: usize, end: usize) {
        let length = end - start;
        self.views[row] = if length <= INLINE_MAX {
            let mask = (1_u128 << (8 * length)) - 1;
            (word & mask) << 32 | length as u128
        } else {
            self.borrows = true;
            long(length, word as u32, RECORDS, start)
        };
    }

    /// Sets a row to a text that is copied.
    pub(crate) fn copy(&mut self, row: usize, value: &[u8]) {
        let start = self.own.len();
        self.own.extend_from_slice(value);
        self.own_since(row, start);
    }

    /// Where texts that do not stand in the records are written, before [`Self::own_since`].
    pub(crate) fn own(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    /// Sets a row to what was written to [`Self::own`] from `start` on.
    pub(crate) fn own_since(&mut self, row: usize, start: usize) {
        let value = &self.own[start..];
        let mut word = [0; 16];
        let first = value.len().min(INLINE_MAX);
        word[..first].copy_from_slice(&value[..first]);
        let word = u128::from_le_bytes(word);
        if value.len() <= INLINE_MAX {
            self.views[row] = word << 32 | value.len() as u128;
            self.own.truncate(start);
        } else {
            self.views[row] = long(value.len(), word as u32, OWN, start);
        }
    }

    /// Makes a row the empty text again.
    pub(crate) fn clear(&mut self, row: usize) {
        self.views[row] = 0;
    }

    fn buffers(&mut self, records: &Buffer) -> [Buffer; 2] {
        let records = if self.borrows {
            records.clone()
        } else {
            Buffer::from_vec(Vec::<u8>::new())
        };
        self.borrows = false;
        [records, Buffer::from_vec(std::mem::take(&mut self.own))]
    }

    fn take_views(&mut self, rows: usize) -> ScalarBuffer<u128> {
        let mut views = std::mem::take(&mut self.views);
        views.truncate(rows);
        views.into()
    }

    /// The first `rows` as texts.
    pub(crate) fn take_text(
        &mut self,
        rows: usize,
        run: &Run<'_>,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef> {
        let proven = self.are_text(rows, run) && nulls.as_ref().is_none_or(|n| n.len() == rows);
        let buffers = self.buffers(run.buffer);
        let views = self.take_views(rows);
        if !proven {
            return Ok(Arc::new(StringViewArray::try_new(views, buffers, nulls)?));
        }
        #[expect(
            unsafe_code,
            reason = "validating each text again takes a quarter of the time of decoding"
        )]
        // SAFETY: `are_text` has just proven what `try_new` would: every view lies in its buffer, begins with the
        // prefix that it holds, and is UTF-8.
        let array = unsafe { StringViewArray::new_unchecked(views, buffers, nulls) };
        Ok(Arc::new(array))
    }

    /// Whether it is certain that the first `rows` views are valid and UTF-8: the run that they point into is known to
    /// be, so that what is left to see is that each begins and ends between two characters.
    fn are_text(&self, rows: usize, run: &Run<'_>) -> bool {
        let Some(text) = run.text else {
            return false;
        };
        let Ok(own) = simdutf8::basic::from_utf8(&self.own) else {
            return false;
        };
        self.views.len() >= rows
            && self.views[..rows].iter().all(|view| {
                let length = *view as u32 as usize;
                if length <= INLINE_MAX {
                    return is_inline_text(*view, length);
                }
                let offset = (*view >> 96) as u32 as usize;
                let (whole, start) = match (*view >> 64) as u32 {
                    RECORDS => (text, offset.checked_sub(run.start)),
                    OWN => (own, Some(offset)),
                    _ => return false,
                };
                start
                    .and_then(|start| whole.get(start..start + length))
                    .is_some_and(|value| {
                        value.as_bytes().first_chunk()
                            == Some(&((*view >> 32) as u32).to_le_bytes())
                    })
            })
    }

    /// The first `rows` as bytes.
    pub(crate) fn take_bytes(
        &mut self,
        rows: usize,
        run: &Run<'_>,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef> {
        let buffers = self.buffers(run.buffer);
        let views = self.take_views(rows);
        Ok(Arc::new(BinaryViewArray::try_new(views, buffers, nulls)?))
    }
}

#[inline(always)]
fn long(length: usize, prefix: u32, buffer: u32, offset: usize) -> u128 {
    length as u128 | u128::from(prefix) << 32 | u128::from(buffer) << 64 | (offset as u128) << 96
}

/// Whether an inline view is UTF-8, padded with zeros.
#[inline(always)]
fn is_inline_text(view: u128, length: usize) -> bool {
    const HIGH: u128 = 0x8080_8080_8080_8080_8080_8080 << 32;
    let padding = u128::MAX.checked_shl(32 + 8 * length as u32).unwrap_or(0);
    let ascii = view & HIGH == 0;
    view & padding == 0
        && (ascii || std::str::from_utf8(&view.to_le_bytes()[4..4 + length]).is_ok())
}
