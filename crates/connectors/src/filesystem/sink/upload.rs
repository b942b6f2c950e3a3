//! A file on its way to an object store, in parts: no object before the upload is completed, and nothing is lost when a
//! part could not be sent.

use super::super::remote::{Remote, runtime, store_error};
use bytes::Bytes;
use millstream_dataflow::{Error, Result};
use object_store::MultipartId;
use object_store::multipart::PartId;
use object_store::path::Path as ObjectPath;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The length of all parts but the last: S3 takes none smaller than 5 MiB, and 10,000 at most.
pub(super) const PART: usize = 8 << 20;

/// How many parts are on their way at once before writing waits.
pub(super) const PARTS_AT_ONCE: usize = 4;

/// What it takes to complete an upload, in this process or the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Uploaded {
    id: MultipartId,
    /// What the store calls the parts, in their order.
    parts: Vec<String>,
}

/// An upload.
pub(super) struct Upload {
    remote: Remote,
    path: ObjectPath,
    id: MultipartId,
    /// What the store calls the parts that it has.
    stored: BTreeMap<usize, String>,
    /// Parts that it may not have, yet.
    waiting: BTreeMap<usize, Bytes>,
    /// Those of them that are on their way.
    underway: BTreeSet<usize>,
    tasks: JoinSet<(usize, object_store::Result<PartId>)>,
}

impl Upload {
    /// Begins the upload of a file.
    pub(super) async fn begin(remote: &Remote, name: &str) -> Result<Self> {
        let path = remote.child(name)?;
        let begun = remote.store().create_multipart(&path).await;
        let id = begun.map_err(|error| {
            store_error(&format!("the file '{path}' cannot be written"), &error)
        })?;
        Ok(Self {
            remote: remote.clone(),
            path,
            id,
            stored: BTreeMap::new(),
            waiting: BTreeMap::new(),
            underway: BTreeSet::new(),
            tasks: JoinSet::new(),
        })
    }

    /// What identifies it in the store.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Takes the next part. It may not have arrived when this returns, or fails.
    pub(super) fn put(&mut self, part: Bytes) -> Result<()> {
        let idx = self.stored.len() + self.waiting.len();
        self.waiting.insert(idx, part);
        self.send(PARTS_AT_ONCE)
    }

    /// Sends what waits, until at most so many parts are left.
    ///
    /// # Errors
    /// `Retryable`: nothing is lost, call again.
    pub(super) fn send(&mut self, left_max: usize) -> Result<()> {
        loop {
            self.start()?;
            while let Some(joined) = self.tasks.try_join_next() {
                self.arrived(joined)?;
            }
            if self.waiting.len() <= left_max {
                return Ok(());
            }
            if let Some(joined) = runtime()?.block_on(self.tasks.join_next()) {
                self.arrived(joined)?;
            }
        }
    }

    fn start(&mut self) -> Result<()> {
        for (idx, part) in &self.waiting {
            if self.underway.len() >= PARTS_AT_ONCE {
                break;
            }
            if !self.underway.insert(*idx) {
                continue;
            }
            let store = Arc::clone(self.remote.store());
            let (path, id) = (self.path.clone(), self.id.clone());
            let (idx, part) = (*idx, part.clone());
            let sent = async move { (idx, store.put_part(&path, &id, idx, part.into()).await) };
            self.tasks.spawn_on(sent, runtime()?.handle());
        }
        Ok(())
    }

    fn arrived(
        &mut self,
        joined: Result<(usize, object_store::Result<PartId>), tokio::task::JoinError>,
    ) -> Result<()> {
        let (idx, answer) = joined.map_err(|error| {
            Error::internal(format!("the file '{}' cannot be uploaded", self.path))
                .detail(error.to_string())
        })?;
        self.underway.remove(&idx);
        let part = answer.map_err(|error| {
            store_error(
                &format!("the file '{}' cannot be uploaded", self.path),
                &error,
            )
        })?;
        self.waiting.remove(&idx);
        self.stored.insert(idx, part.content_id);
        Ok(())
    }

    /// All parts have arrived: what it takes to complete it.
    pub(super) fn uploaded(&self) -> Uploaded {
        Uploaded {
            id: self.id.clone(),
            parts: self.stored.values().cloned().collect(),
        }
    }

    /// Gives it up.
    pub(super) async fn abort(mut self) -> object_store::Result<()> {
        self.tasks.abort_all();
        let store = self.remote.store();
        store.abort_multipart(&self.path, &self.id).await
    }
}

impl Uploaded {
    /// Makes the object appear. Doing it again changes nothing.
    ///
    /// # Errors
    /// `Internal`: neither the upload nor the object is there.
    pub(super) async fn complete(&self, remote: &Remote, name: &str, bytes: u64) -> Result<()> {
        let path = remote.child(name)?;
        let parts = self.parts.iter().map(|part| PartId {
            content_id: part.clone(),
        });
        let store = remote.store();
        let completed = store.complete_multipart(&path, &self.id, parts.collect());
        let Err(error) = completed.await else {
            return Ok(());
        };
        // Its name is of this upload alone: an object there is what it became.
        match remote.size(&path).await? {
            Some(size) if size == bytes => Ok(()),
            Some(size) => Err(Error::internal(format!(
                "the file '{path}' has {size} bytes, but {bytes} were written"
            ))),
            None if matches!(error, object_store::Error::NotFound { .. }) => {
                Err(Error::internal(format!("the upload of the file '{path}' is gone"))
                    .detail(error.to_string())
                    .hint("does a rule of the bucket end incomplete uploads? It must leave them as long as a job may be stopped"))
            }
            None => Err(store_error(
                &format!("the upload of the file '{path}' cannot be completed"),
                &error,
            )),
        }
    }
}

/// Ends an upload that another process began and nobody needs.
pub(super) async fn abort(remote: &Remote, name: &str, id: &str) -> Result<()> {
    let path = remote.child(name)?;
    let id = id.to_owned();
    match remote.store().abort_multipart(&path, &id).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(store_error(
            &format!("the upload of the file '{path}' cannot be ended"),
            &error,
        )),
    }
}
