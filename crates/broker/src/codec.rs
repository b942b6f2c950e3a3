//! How the broker's own files hold text, and how text goes to and comes from the wire.

use bytes::{Buf, BufMut, TryGetError};
use kafka_protocol::protocol::StrBytes;

/// Writes text with its length.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text.as_bytes());
}

/// Reads what [`put_text`] wrote.
pub(crate) fn take_text(at: &mut &[u8]) -> Result<String, TryGetError> {
    let length = at.try_get_u32()? as usize;
    let text = at.get(..length).ok_or(TryGetError {
        requested: length,
        available: at.len(),
    })?;
    let text = String::from_utf8_lossy(text).into_owned();
    at.advance(length);
    Ok(text)
}

/// Text for an answer.
pub(crate) fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
