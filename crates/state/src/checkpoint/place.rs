//! Where checkpoints are: a local folder, or a prefix in an object store.
//!
//! What is written is there whole and durable, or not at all; what is created is not there yet. Names are
//! `folder/leaf`.

use super::local::Local;
use super::remote::Remote;
use super::{Settings, damaged};
use arrow::buffer::Buffer;
use bytes::Bytes;
use millstream_dataflow::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

/// A part of an object.
pub(super) type Span = (String, Range<u64>);

/// A place for objects.
pub(super) trait Place: Display + Send + Sync {
    /// The leaves of a folder, with their sizes.
    fn list(&self, folder: &str) -> Result<BTreeMap<String, u64>>;

    /// A whole object; `None` if there is no such.
    fn read(&self, name: &str) -> Result<Option<Buffer>>;

    /// Parts of objects.
    ///
    /// # Errors
    /// `BadData` when an object is not there or shorter.
    fn spans(&self, spans: &[Span]) -> Result<Vec<Buffer>>;

    /// Writes an object, over one of that name.
    fn write(&self, name: &str, parts: &[Bytes]) -> Result<()>;

    /// Writes an object if there is none of that name, and says whether it did. After an error it may be there.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool>;

    /// Removes those of some objects that are there. After an error some may be gone.
    fn remove(&self, names: &[String]) -> Result<()>;
}

/// What a place is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// The place that a path or URL names.
pub(super) fn open(url: &str, settings: &Settings, access: Access) -> Result<Arc<dyn Place>> {
    let local = |path| Ok(Arc::new(Local::open(path, access)?) as Arc<dyn Place>);
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    let Some(scheme) = scheme.filter(|scheme| is_scheme(scheme)) else {
        return local(PathBuf::from(url));
    };
    let invalid = || Error::user(format!("the path '{url}' is not a URL of a store"));
    let parsed = Url::parse(url).map_err(|error| invalid().detail(error.to_string()))?;
    if scheme.eq_ignore_ascii_case("file") {
        let path = parsed.to_file_path().map_err(|()| {
            invalid().hint("a local folder's URL has three slashes: file:///data/checkpoints")
        })?;
        return local(path);
    }
    Ok(Arc::new(Remote::open(url, &parsed, settings)?))
}

/// One letter is a drive, not a scheme; schemes have no slashes.
fn is_scheme(text: &str) -> bool {
    text.len() > 1
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

pub(super) fn missing(name: &str) -> Error {
    damaged(format!("'{name}' is not there"))
}

pub(super) fn short(name: &str, range: &Range<u64>) -> Error {
    damaged(format!("'{name}' ends before byte {}", range.end))
}
