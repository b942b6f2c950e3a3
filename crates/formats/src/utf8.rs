//! Whether records are UTF-8: a whole run is checked at once, and only if it fails its records one by one.

use arrow::buffer::Buffer;
use millstream_dataflow::format::Records;
use millstream_dataflow::{Error, Result};

/// A run of records whose bytes have been looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// The buffer that the run is part of.
    pub(crate) buffer: &'a Buffer,
    /// Where the run begins in it.
    pub(crate) start: usize,
    /// The run, if all of it is UTF-8.
    pub(crate) text: Option<&'a str>,
}

impl<'a> Run<'a> {
    /// Checks a run.
    ///
    /// # Errors
    /// `Internal` for one of 2 GiB or more: views, which count bytes in 32 bits with a sign, could not point into it.
    pub(crate) fn of(records: &'a Records) -> Result<Self> {
        let buffer = &records.bytes;
        if i32::try_from(buffer.len()).is_err() {
            return Err(Error::internal(format!(
                "a run of records has {} bytes, but must have less than 2 GiB",
                buffer.len()
            )));
        }
        let end = records.ends.last().copied().unwrap_or(records.start);
        Ok(Self {
            buffer,
            start: records.start,
            text: simdutf8::basic::from_utf8(&buffer[records.start..end]).ok(),
        })
    }

    /// Whether a record of the run is UTF-8.
    ///
    /// # Errors
    /// The reason.
    #[inline(always)]
    pub(crate) fn check(&self, record: &[u8]) -> Result<(), String> {
        // Even in a valid run a record could begin inside a character.
        let inside = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
        let cut = |byte: Option<&u8>| byte.is_some_and(|byte| *byte >= 0x80);
        if self.text.is_some() && !inside(record.first()) && !cut(record.last()) {
            return Ok(());
        }
        check_alone(record)
    }
}

#[cold]
fn check_alone(record: &[u8]) -> Result<(), String> {
    match simdutf8::compat::from_utf8(record) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("not UTF-8 at byte {}", error.valid_up_to())),
    }
}
