//! An object store in memory that fails on demand, and keeps uploads as S3 does.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not done.
    Refused,
    /// It is done, and its answer is lost.
    AnswerLost,
}

#[derive(Debug, Default)]
struct State {
    uploads: BTreeMap<String, BTreeMap<usize, Bytes>>,
    begun: usize,
    /// What completing again says is up to the store: that it is done, for these, or that there is no such upload.
    remembered: BTreeSet<String>,
    /// After so many requests that write one fails, or with `down` all.
    until: Option<(usize, Fault)>,
    down: bool,
}

#[derive(Debug, Default)]
pub(super) struct Faulty {
    objects: InMemory,
    state: Mutex<State>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty")
    }
}

fn failure() -> Error {
    Error::Generic {
        store: "faulty",
        source: "503 Slow Down".into(),
    }
}

impl Faulty {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// One request that writes, after so many others, fails.
    pub(super) fn fail_after(&self, requests: usize, fault: Fault) {
        self.state().until = Some((requests, fault));
    }

    /// After so many requests that write, none is done.
    pub(super) fn down_after(&self, requests: usize) {
        let mut state = self.state();
        state.until = Some((requests, Fault::Refused));
        state.down = true;
    }

    /// All is well again. Gives whether the fault has happened.
    pub(super) fn heal(&self) -> bool {
        let mut state = self.state();
        let happened =
            state.until.is_none() || (state.down && state.until.is_some_and(|(left, _)| left == 0));
        (state.until, state.down) = (None, false);
        happened
    }

    /// How many uploads are not completed.
    pub(super) fn uploads(&self) -> usize {
        self.state().uploads.len()
    }

    /// How this request fails.
    fn fault(&self) -> Option<Fault> {
        let mut state = self.state();
        match state.until {
            Some((0, fault)) => {
                if !state.down {
                    state.until = None;
                }
                Some(fault)
            }
            Some((left, fault)) => {
                state.until = Some((left - 1, fault));
                None
            }
            None => None,
        }
    }

    fn answer<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.fault() {
            Some(Fault::Refused) => Err(failure()),
            Some(Fault::AnswerLost) => {
                act()?;
                Err(failure())
            }
            None => act(),
        }
    }
}

#[async_trait]
impl MultipartStore for Faulty {
    async fn create_multipart(&self, _: &Path) -> Result<MultipartId> {
        self.answer(|| {
            let mut state = self.state();
            state.begun += 1;
            let id = format!("upload-{}", state.begun);
            state.uploads.insert(id.clone(), BTreeMap::new());
            if state.begun.is_multiple_of(2) {
                state.remembered.insert(id.clone());
            }
            Ok(id)
        })
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.answer(|| {
            let mut state = self.state();
            let upload = state.uploads.get_mut(id).ok_or_else(|| gone(path))?;
            upload.insert(idx, data.into());
            Ok(PartId {
                content_id: format!("{id}/{idx}"),
            })
        })
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let fault = self.fault();
        if fault == Some(Fault::Refused) {
            return Err(failure());
        }
        let upload = self.state().uploads.remove(id);
        if upload.is_none() && self.state().remembered.contains(id) {
            return self.objects.head(path).await.map(|_| PutResult {
                e_tag: None,
                version: None,
            });
        }
        let upload = upload.ok_or_else(|| gone(path))?;
        for (idx, part) in parts.iter().enumerate() {
            assert_eq!(part.content_id, format!("{id}/{idx}"));
        }
        assert_eq!(parts.len(), upload.len());
        let whole: Vec<u8> = upload.into_values().flatten().collect();
        let put = self.objects.put(path, whole.into()).await?;
        fault.map_or(Ok(put), |_| Err(failure()))
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.answer(|| {
            let removed = self.state().uploads.remove(id);
            removed.map(|_| ()).ok_or_else(|| gone(path))
        })
    }
}

fn gone(path: &Path) -> Error {
    Error::NotFound {
        path: path.to_string(),
        source: "NoSuchUpload".into(),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let fault = self.fault();
        if fault == Some(Fault::Refused) {
            return Err(failure());
        }
        let put = self.objects.put_opts(at, bytes, opts).await?;
        fault.map_or(Ok(put), |_| Err(failure()))
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, opts: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(at, opts).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.fault() {
            Some(Fault::Refused) => Box::pin(futures::stream::once(async { Err(failure()) })),
            Some(Fault::AnswerLost) | None => self.objects.delete_stream(paths),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, opts: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, opts).await
    }
}
