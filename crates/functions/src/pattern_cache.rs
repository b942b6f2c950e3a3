//! A bounded cache per thread of what is expensive to compile from a text: patterns are nearly always literals, and
//! the batches of a stream are small.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::LocalKey;

use crate::error::Result;

/// How many different texts are remembered before all are forgotten.
const ENTRIES_MAX: usize = 256;

/// Compiled values by their text.
pub(crate) type Cache<T> = RefCell<HashMap<String, Arc<T>>>;

/// The compiled value of a text.
pub(crate) fn compiled<T>(
    cache: &'static LocalKey<Cache<T>>,
    text: &str,
    compile: impl FnOnce(&str) -> Result<T>,
) -> Result<Arc<T>> {
    cache.with_borrow_mut(|cache| {
        if let Some(found) = cache.get(text) {
            return Ok(Arc::clone(found));
        }
        let value = Arc::new(compile(text)?);
        if cache.len() >= ENTRIES_MAX {
            cache.clear();
        }
        cache.insert(text.to_string(), Arc::clone(&value));
        Ok(value)
    })
}

/// The last compiled value, so that a literal is looked up once per batch.
pub(crate) struct Last<T: 'static> {
    cache: &'static LocalKey<Cache<T>>,
    last: Option<(String, Arc<T>)>,
}

impl<T> Last<T> {
    /// Nothing yet.
    pub(crate) fn new(cache: &'static LocalKey<Cache<T>>) -> Self {
        Self { cache, last: None }
    }

    /// The compiled value of a text.
    pub(crate) fn get(
        &mut self,
        text: &str,
        compile: impl FnOnce(&str) -> Result<T>,
    ) -> Result<&T> {
        let stale = self.last.as_ref().is_none_or(|(last, _)| last != text);
        if stale {
            self.last = Some((text.to_string(), compiled(self.cache, text, compile)?));
        }
        match &self.last {
            Some((_, value)) => Ok(value),
            None => Err(datafusion_common::DataFusionError::Internal(
                "a compiled pattern got lost".into(),
            )),
        }
    }
}
