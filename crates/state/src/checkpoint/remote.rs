//! A prefix in an object store. Requests that fail for a reason that may pass are tried again, ever later.

use super::Settings;
use super::place::{Place, Span, missing, short};
use arrow::buffer::Buffer;
use bytes::Bytes;
use foldhash::fast::FixedState;
use futures::{StreamExt, TryStreamExt, stream};
use millstream_dataflow::{Error, Kind, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    ClientOptions, Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutPayload, RetryConfig,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use url::Url;

/// How many requests are under way at once when much is read.
const READS_AT_ONCE: usize = 8;

/// Uploads of more bytes than this are made in parts of so many, several at once.
const PART: usize = 16 << 20;

const PARTS_AT_ONCE: usize = 4;

/// A prefix in an object store.
pub(super) struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    name: String,
    runtime: Runtime,
    attempts: u32,
    wait: Duration,
    /// It has answered: what it refuses now is not the fault of the user's words, and may pass.
    answered: AtomicBool,
    /// What makes waits differ, so that those who failed together don't come back together.
    jitter: AtomicU64,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Remote {
    /// The prefix that a URL names.
    ///
    /// # Errors
    /// `User` for a URL or an option that means nothing.
    pub(super) fn open(url: &str, parsed: &Url, settings: &Settings) -> Result<Self> {
        let prefix = Path::from_url_path(parsed.path()).map_err(|error| {
            Error::user(format!(
                "the path of '{url}' cannot be one of an object store"
            ))
            .detail(error.to_string())
        })?;
        let store: Arc<dyn ObjectStore> = match parsed.scheme() {
            "memory" => Arc::new(InMemory::new()),
            "s3" | "s3a" | "s3n" => Arc::new(amazon(url, parsed, settings)?),
            scheme => {
                let error = Error::user(format!(
                    "checkpoints cannot be kept in '{url}': the scheme '{scheme}' is unknown"
                ));
                return Err(error.hint("supported: local paths, file://, s3://"));
            }
        };
        Self::new(store, prefix, url.to_owned(), settings)
    }

    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        prefix: Path,
        name: String,
        settings: &Settings,
    ) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            Error::internal("an object store cannot be talked to").detail(error.to_string())
        })?;
        Ok(Self {
            store,
            jitter: AtomicU64::new(FixedState::default().hash_one(&name)),
            answered: AtomicBool::new(false),
            prefix,
            name,
            runtime,
            attempts: settings.attempts.max(1),
            wait: settings.wait,
        })
    }

    fn path(&self, name: &str) -> Path {
        let parts = name.split('/');
        parts.fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Makes a request until it succeeds, fails for good, or has been made often enough.
    fn request<T, F>(&self, make: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut attempt = 0;
        loop {
            let error = match self.runtime.block_on(make()) {
                Ok(done) => {
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(done);
                }
                Err(error) => error,
            };
            attempt += 1;
            if attempt >= self.attempts || !may_pass(&error) {
                return Err(error);
            }
            std::thread::sleep(self.pause(attempt));
        }
    }

    /// Between a half and the whole of the longest wait, which doubles.
    fn pause(&self, attempt: u32) -> Duration {
        let seed = self.jitter.fetch_add(1, Ordering::Relaxed);
        let part = FixedState::default().hash_one(seed) % 1024;
        let longest = self.wait.saturating_mul(1 << (attempt - 1).min(6));
        longest / 2 + longest.mul_f64(part as f64 / 2048.0)
    }

    fn failed(&self, doing: &str, name: &str, error: &StoreError) -> Error {
        let hint = match error {
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                "the credentials must allow to list, read, write and remove"
            }
            StoreError::NotImplemented { .. } | StoreError::NotSupported { .. } => {
                "checkpoints need a store that can create an object only if there is none of its name"
            }
            StoreError::NotFound { .. } => "is there such a bucket?",
            _ => "",
        };
        let message = format!("'{name}' cannot be {doing} in {self}");
        let wrong = !hint.is_empty() && !self.answered.load(Ordering::Relaxed);
        let kind = if wrong { Kind::User } else { Kind::Retryable };
        let failed = Error::new(kind, message).detail(error.to_string());
        match hint {
            "" => failed,
            hint => failed.hint(hint),
        }
    }

    async fn upload(&self, path: &Path, parts: &[Bytes]) -> Result<(), StoreError> {
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        if bytes <= 2 * PART {
            let payload: PutPayload = parts.iter().cloned().collect();
            return self.store.put(path, payload).await.map(|_| ());
        }
        let mut upload = self.store.put_multipart(path).await?;
        let payloads = cut(parts).into_iter();
        let sent: Vec<_> = payloads.map(|payload| upload.put_part(payload)).collect();
        let sent = stream::iter(sent)
            .buffer_unordered(PARTS_AT_ONCE)
            .try_collect::<()>();
        match sent.await {
            Ok(()) => upload.complete().await.map(|_| ()),
            Err(error) => {
                // Parts that cannot be removed are the store's to expire.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }
}

impl Place for Remote {
    fn list(&self, folder: &str) -> Result<BTreeMap<String, u64>> {
        let prefix = self.path(folder);
        let list = || async { self.store.list(Some(&prefix)).try_collect().await };
        let found: Vec<ObjectMeta> = self
            .request(list)
            .map_err(|error| self.failed("listed", folder, &error))?;
        let leaves = found.into_iter().filter_map(|meta| {
            let mut below = meta.location.prefix_match(&prefix)?;
            let leaf = below.next()?.as_ref().to_owned();
            below.next().is_none().then_some((leaf, meta.size))
        });
        Ok(leaves.collect())
    }

    fn read(&self, name: &str) -> Result<Option<Buffer>> {
        let path = self.path(name);
        let read = || async { self.store.get(&path).await?.bytes().await };
        match self.request(read) {
            Ok(bytes) => Ok(Some(Buffer::from(bytes))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", name, &error)),
        }
    }

    fn spans(&self, spans: &[Span]) -> Result<Vec<Buffer>> {
        // Each on its own is tried again, not all of them when one has failed.
        let read = |(name, range): Span| async move {
            let path = self.path(&name);
            let mut attempt = 0;
            loop {
                let error = match self.store.get_range(&path, range.clone()).await {
                    Ok(bytes) => return Ok((name, range, bytes)),
                    Err(error) => error,
                };
                attempt += 1;
                if attempt >= self.attempts || !may_pass(&error) {
                    return Err((name, range, error));
                }
                pause(self.pause(attempt)).await;
            }
        };
        let reads = stream::iter(spans.iter().cloned().map(read)).buffered(READS_AT_ONCE);
        let read: Result<Vec<_>, _> = self.runtime.block_on(reads.try_collect());
        let read = match read {
            Ok(read) => read,
            Err((name, _, StoreError::NotFound { .. })) => return Err(missing(&name)),
            Err((name, range, error)) => {
                // Stores tell a range behind the end in their own words.
                let path = self.path(&name);
                let head = self.request(|| self.store.head(&path));
                return Err(match head {
                    Ok(meta) if meta.size < range.end => short(&name, &range),
                    _ => self.failed("read", &name, &error),
                });
            }
        };
        let whole = |(name, range, bytes): (String, _, Bytes)| {
            let range: std::ops::Range<u64> = range;
            if bytes.len() as u64 == range.end - range.start {
                Ok(Buffer::from(bytes))
            } else {
                Err(short(&name, &range))
            }
        };
        read.into_iter().map(whole).collect()
    }

    fn write(&self, name: &str, parts: &[Bytes]) -> Result<()> {
        let path = self.path(name);
        self.request(|| self.upload(&path, parts))
            .map_err(|error| self.failed("written", name, &error))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let path = self.path(name);
        let create = || {
            let payload = PutPayload::from(bytes.to_vec());
            let options = PutOptions::from(PutMode::Create);
            self.store.put_opts(&path, payload, options)
        };
        match self.request(create) {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
            Err(error) => Err(self.failed("written", name, &error)),
        }
    }

    fn remove(&self, names: &[String]) -> Result<()> {
        let left = RefCell::new(names.iter().map(|name| self.path(name)).collect::<Vec<_>>());
        let remove = || async {
            let paths = left.borrow().iter().cloned().map(Ok).collect::<Vec<_>>();
            let mut removed = self.store.delete_stream(stream::iter(paths).boxed());
            let mut failed = None;
            while let Some(one) = removed.next().await {
                match one {
                    Ok(path) => left.borrow_mut().retain(|left| *left != path),
                    Err(StoreError::NotFound { .. }) => {}
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), Err)
        };
        let name = || names.first().map_or("", String::as_str);
        self.request(remove)
            .map_err(|error| self.failed("removed", name(), &error))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the shell that talks to object stores"
)]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Whether the same request may succeed later.
fn may_pass(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Generic { .. } | StoreError::JoinError { .. }
    )
}

/// The same bytes in payloads of one size, but the last.
fn cut(parts: &[Bytes]) -> Vec<PutPayload> {
    let mut payloads = Vec::new();
    let mut current: Vec<Bytes> = Vec::new();
    let mut room = PART;
    for part in parts {
        let mut rest = part.clone();
        while rest.len() >= room {
            current.push(rest.split_to(room));
            payloads.push(std::mem::take(&mut current).into_iter().collect());
            room = PART;
        }
        room -= rest.len();
        current.push(rest);
    }
    if current.iter().any(|bytes| !bytes.is_empty()) {
        payloads.push(current.into_iter().collect());
    }
    payloads
}

/// The client of an `s3://` URL. Its own retries are few: this place has its own around them.
fn amazon(url: &str, parsed: &Url, settings: &Settings) -> Result<object_store::aws::AmazonS3> {
    let retry = RetryConfig {
        max_retries: 2,
        retry_timeout: Duration::from_secs(30),
        ..RetryConfig::default()
    };
    let host = parsed.host_str().unwrap_or_default();
    let client = ClientOptions::new().with_timeout(Duration::from_secs(120));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(host)
        .with_retry(retry)
        .with_client_options(client);
    for (name, value) in std::env::vars() {
        let key = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>();
        if let (true, Ok(key)) = (name.starts_with("AWS_"), key) {
            builder = builder.with_config(key, value);
        }
    }
    for (option, value) in &settings.options {
        let (name, value) = match option.as_str() {
            "access-key" => ("aws_access_key_id".to_owned(), value.clone()),
            "secret-key" => ("aws_secret_access_key".to_owned(), value.clone()),
            "session-token" => ("aws_session_token".to_owned(), value.clone()),
            "path-style-access" | "path.style.access" => (
                "aws_virtual_hosted_style_request".to_owned(),
                (value != "true").to_string(),
            ),
            other => (
                format!("aws_{}", other.replace(['-', '.'], "_")),
                value.clone(),
            ),
        };
        let key = name.parse::<AmazonS3ConfigKey>().map_err(|_| {
            Error::user(format!("unknown option 's3.{option}'")).hint(
                "known are s3.endpoint, s3.region, s3.access-key, s3.secret-key, s3.session-token, s3.path-style-access, and the settings of object_store's S3 client (s3.allow-http, s3.imdsv1-fallback, ...)",
            )
        })?;
        if name == "aws_endpoint" {
            builder = builder.with_allow_http(value.starts_with("http://"));
        }
        builder = builder.with_config(key, value);
    }
    builder.build().map_err(|error| {
        Error::user(format!("the store of '{url}' cannot be used")).detail(error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(settings: &Settings) -> Remote {
        let prefix = Path::from("jobs/one");
        Remote::new(
            Arc::new(InMemory::new()),
            prefix,
            "memory".to_owned(),
            settings,
        )
        .unwrap()
    }

    #[test]
    fn objects_are_listed_by_their_leaves() {
        let place = place(&Settings::default());
        assert!(place.create("manifest/1", b"one").unwrap());
        assert!(!place.create("manifest/1", b"other").unwrap());
        assert!(place.create("manifest/deeper/2", b"two").unwrap());
        assert_eq!(
            place.list("manifest").unwrap(),
            BTreeMap::from([("1".to_owned(), 3)])
        );
        let names = ["manifest/1".to_owned(), "segment/1".to_owned()];
        place.remove(&names).unwrap();
        place.remove(&names).unwrap();
        assert_eq!(place.read("manifest/1").unwrap(), None);
    }

    #[test]
    fn an_object_that_is_missing_or_short_is_damage() {
        let place = place(&Settings::default());
        let parts = [Bytes::from_static(b"abc"), Bytes::from_static(b"def")];
        place.write("segment/s", &parts).unwrap();
        let span = |name: &str, range| place.spans(&[(name.to_owned(), range)]);
        assert_eq!(span("segment/s", 2..5).unwrap()[0].as_slice(), b"cde");
        assert_eq!(span("segment/s", 2..7).unwrap_err().kind, Kind::BadData);
        assert_eq!(span("segment/s", 8..9).unwrap_err().kind, Kind::BadData);
        assert_eq!(span("segment/t", 0..1).unwrap_err().kind, Kind::BadData);
    }

    #[test]
    fn a_large_object_goes_up_in_parts() {
        let place = place(&Settings::default());
        let parts: Vec<Bytes> = (0..45_u8).map(|n| vec![n; (1 << 20) + 7].into()).collect();
        assert_eq!(cut(&parts).len(), 3);
        place.write("segment/s", &parts).unwrap();
        let read = place.read("segment/s").unwrap().unwrap();
        assert!(read.as_slice() == parts.concat());
    }

    #[test]
    fn waits_double_and_differ() {
        let place = place(&Settings::default());
        let waits: Vec<Duration> = (1..=4).map(|attempt| place.pause(attempt)).collect();
        for (wait, longest) in waits.iter().zip([200, 400, 800, 1600]) {
            let longest = Duration::from_millis(longest);
            assert!(*wait >= longest / 2 && *wait <= longest, "{wait:?}");
        }
        assert_ne!(place.pause(1), place.pause(1));
    }

    #[test]
    fn a_bad_url_or_option_is_the_users_error() {
        let open = |url: &str, option: &str| {
            let mut settings = Settings::default();
            settings.options.insert(option.to_owned(), "x".to_owned());
            let parsed = Url::parse(url).unwrap();
            Remote::open(url, &parsed, &settings).err().unwrap()
        };
        let error = open("ftp://host/x", "endpoint");
        assert_eq!(error.kind, Kind::User);
        let error = open("s3://bucket/x", "endpiont");
        assert!(error.message.contains("endpiont"), "{error}");
    }
}
