//! An object store that fails, is slow, and does things without saying so.

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::{Arc, Mutex};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is done.
    Done,
    /// It is not done.
    Failed,
    /// It is done, and its answer is lost.
    Lost,
}

/// Decides what happens to a request, by its verb and path.
pub(super) type Decide = Box<dyn FnMut(&str, &str) -> Fate + Send>;

/// An object store in memory that stays when its users crash.
#[derive(Clone)]
pub(super) struct Faulty {
    pub(super) inner: Arc<InMemory>,
    decide: Arc<Mutex<Decide>>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

impl Faulty {
    pub(super) fn new() -> Self {
        Self {
            inner: Arc::new(InMemory::new()),
            decide: Arc::new(Mutex::new(Box::new(|_, _| Fate::Done))),
        }
    }

    /// From now on this decides what happens.
    pub(super) fn decide(&self, decide: impl FnMut(&str, &str) -> Fate + Send + 'static) {
        *self.decide.lock().unwrap() = Box::new(decide);
    }

    /// From now on all goes well.
    pub(super) fn heal(&self) {
        self.decide(|_, _| Fate::Done);
    }

    /// From now on all goes well, until what is given is resumed.
    pub(super) fn suspend(&self) -> Decide {
        let mut decide = self.decide.lock().unwrap();
        std::mem::replace(&mut *decide, Box::new(|_, _| Fate::Done))
    }

    pub(super) fn resume(&self, decide: Decide) {
        *self.decide.lock().unwrap() = decide;
    }

    /// Everything that is there, with its size.
    pub(super) fn objects(&self) -> Vec<(String, u64)> {
        let listed: Vec<_> = futures::executor::block_on(self.inner.list(None).collect::<Vec<_>>());
        let objects = listed.into_iter().map(|meta| meta.unwrap());
        objects
            .map(|meta| (meta.location.to_string(), meta.size))
            .collect()
    }

    fn fate(&self, verb: &str, path: &str) -> Fate {
        (self.decide.lock().unwrap())(verb, path)
    }

    async fn around<T>(
        &self,
        verb: &str,
        path: &str,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let fate = self.fate(verb, path);
        tokio::task::yield_now().await;
        if fate == Fate::Failed {
            return Err(unavailable());
        }
        let done = request.await?;
        if fate == Fate::Lost {
            return Err(unavailable());
        }
        Ok(done)
    }
}

fn unavailable() -> Error {
    Error::Generic {
        store: "faulty",
        source: "503 Service Unavailable".into(),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, opts);
        self.around("put", location.as_ref(), put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let get = self.inner.get_opts(location, options);
        self.around("get", location.as_ref(), get).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let faulty = self.clone();
        let delete = move |location: Result<Path>| {
            let faulty = faulty.clone();
            async move {
                let location = location?;
                let one = stream::once(futures::future::ready(Ok(location.clone()))).boxed();
                let delete = async {
                    let mut deleted = faulty.inner.delete_stream(one);
                    deleted.next().await.unwrap()
                };
                faulty.around("delete", location.as_ref(), delete).await
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = prefix.map(ToString::to_string).unwrap_or_default();
        match self.fate("list", &path) {
            Fate::Done => self.inner.list(prefix),
            Fate::Failed | Fate::Lost => {
                stream::once(futures::future::ready(Err(unavailable()))).boxed()
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
