//! Whether records are UTF-8: a whole run is checked at once, and only if it fails its records one by one.

use millstream_dataflow::format::Records;

/// What is known of a run of records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Utf8 {
    all: bool,
}

impl Utf8 {
    /// Checks a run.
    pub(crate) fn of(records: &Records) -> Self {
        let end = records.ends.last().copied().unwrap_or(records.start);
        let bytes = &records.bytes[records.start..end];
        Self {
            all: simdutf8::basic::from_utf8(bytes).is_ok(),
        }
    }

    /// Whether a record of the run is UTF-8.
    ///
    /// # Errors
    /// The reason.
    #[inline(always)]
    pub(crate) fn check(self, record: &[u8]) -> Result<(), String> {
        // Even in a valid run a record could begin inside a character.
        let inside = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
        let cut = |byte: Option<&u8>| byte.is_some_and(|byte| *byte >= 0x80);
        if self.all && !inside(record.first()) && !cut(record.last()) {
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
