//! Places in object stores (`s3://bucket/path`).

use super::location::{Entry, is_glob, is_hidden, no_such_file};
use bytes::Bytes;
use millstream_dataflow::{Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path as ObjectPath;
use object_store::{
    ClientConfigKey, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode, RetryConfig,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Runtime;
use url::Url;

/// A store whose uploads can be begun in one process and completed in another.
pub(crate) trait Store: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Store for T {}

/// A place in an object store.
#[derive(Clone)]
pub(crate) struct Remote {
    store: Arc<dyn Store>,
    /// The URL up to the store's root: what names begin with.
    root: String,
    path: String,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.root, self.path)
    }
}

impl Remote {
    /// The place that a URL names, with the options of its store.
    pub(super) fn new(path: &str, scheme: &str, store: &BTreeMap<String, String>) -> Result<Self> {
        let invalid = |error: String| {
            Error::user(format!("the path '{path}' is not a URL of a store")).detail(error)
        };
        // Spark's and Hadoop's names for the same store.
        let plain = path
            .replacen("s3a://", "s3://", 1)
            .replacen("s3n://", "s3://", 1);
        let url = Url::parse(&plain).map_err(|error| invalid(error.to_string()))?;
        let (kind, _) =
            ObjectStoreScheme::parse(&url).map_err(|error| invalid(error.to_string()))?;
        let store: Arc<dyn Store> = match kind {
            ObjectStoreScheme::AmazonS3 => {
                let mut builder = AmazonS3Builder::new()
                    .with_url(url.as_str())
                    .with_retry(patience());
                for (key, value) in store_options(store)? {
                    builder = builder.with_config(key, value);
                }
                let built = builder.build();
                Arc::new(built.map_err(|error| invalid(error.to_string()))?)
            }
            ObjectStoreScheme::Memory => Arc::new(InMemory::new()),
            _ => {
                let error = Error::user(format!(
                    "the path '{path}' has the unsupported scheme '{scheme}'"
                ));
                return Err(error.hint("supported: local paths, file://, s3://"));
            }
        };
        let root = format!("{}://{}/", url.scheme(), url.host_str().unwrap_or_default());
        // Not the URL's path, which is percent-encoded: a glob's characters must stay.
        let after_scheme = plain.split_once("://").map_or("", |(_, rest)| rest);
        let path = after_scheme.split_once('/').map_or("", |(_, path)| path);
        Ok(Self {
            store,
            root,
            path: path.trim_matches('/').to_owned(),
        })
    }

    /// A place in a store that is at hand.
    #[cfg(test)]
    pub(super) fn in_store(store: &Arc<dyn Store>, path: &str) -> Self {
        Self {
            store: Arc::clone(store),
            root: "memory://store/".to_owned(),
            path: path.to_owned(),
        }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The path in the store of a name under this place.
    pub(crate) fn child(&self, name: &str) -> Result<ObjectPath> {
        object_path(&format!("{}/{name}", self.path))
    }

    /// The path in the store of a file's full name.
    pub(crate) fn object(&self, name: &str) -> Result<ObjectPath> {
        object_path(name.strip_prefix(&self.root).unwrap_or(name))
    }

    /// The size of an object, if there is one.
    pub(super) async fn size(&self, path: &ObjectPath) -> Result<Option<u64>> {
        match self.store.head(path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(store_error(
                &format!("the file '{path}' cannot be read"),
                &error,
            )),
        }
    }

    /// A small object of this name under this place, if there is one.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let path = self.child(name)?;
        let got = async { self.store.get(&path).await?.bytes().await };
        match got.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(store_error(
                &format!("the file '{path}' cannot be read"),
                &error,
            )),
        }
    }

    /// Writes a small object.
    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.child(name)?;
        let put = self.store.put(&path, bytes.into()).await;
        put.map(|_| ())
            .map_err(|error| store_error(&format!("the file '{path}' cannot be written"), &error))
    }

    /// Writes a small object unless there is one of this name. Gives whether it was written.
    pub(super) async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool> {
        let path = self.child(name)?;
        let put = self
            .store
            .put_opts(&path, bytes.into(), PutMode::Create.into());
        match put.await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(store_error(
                &format!("the file '{path}' cannot be written"),
                &error,
            )),
        }
    }

    /// Removes an object, which may be gone already.
    pub(super) async fn delete(&self, name: &str) -> Result<()> {
        let path = self.child(name)?;
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(store_error(
                &format!("the file '{path}' cannot be removed"),
                &error,
            )),
        }
    }

    /// The names under this place of the objects of a folder, those behind a name if one is given.
    pub(super) async fn list(&self, folder: &str, behind: Option<&str>) -> Result<Vec<String>> {
        use futures::TryStreamExt;
        let prefix = self.child(folder)?;
        let listed = match behind {
            Some(name) => {
                let behind = self.child(&format!("{folder}/{name}"))?;
                self.store.list_with_offset(Some(&prefix), &behind)
            }
            None => self.store.list(Some(&prefix)),
        };
        let listed: Vec<object_store::ObjectMeta> =
            listed.try_collect().await.map_err(|error| {
                store_error(&format!("the path '{prefix}' cannot be listed"), &error)
            })?;
        let below = format!("{}/", self.path.trim_matches('/'));
        let name = |meta: &object_store::ObjectMeta| {
            let path = meta.location.as_ref();
            path.strip_prefix(&below).unwrap_or(path).to_owned()
        };
        Ok(listed.iter().map(name).collect())
    }

    fn entry(&self, meta: &object_store::ObjectMeta) -> Entry {
        Entry {
            name: format!("{}{}", self.root, meta.location),
            size: meta.size,
            modified_ms: meta.last_modified.timestamp_millis(),
        }
    }

    /// The file of this full name.
    pub(super) fn file(&self, name: &str) -> Result<Entry> {
        let path = self.object(name)?;
        let meta = runtime()?.block_on(self.store.head(&path));
        meta.map(|meta| self.entry(&meta))
            .map_err(|error| store_error(&format!("the file '{name}' cannot be read"), &error))
    }

    /// The files of this place, in any order.
    pub(super) fn files(&self) -> Result<Vec<Entry>> {
        use futures::TryStreamExt;
        let fixed = match self.path.find(['*', '?', '[']) {
            Some(at) => self.path[..at]
                .rsplit_once('/')
                .map_or("", |(fixed, _)| fixed),
            None => &self.path,
        };
        let pattern = glob::Pattern::new(&self.path).map_err(|error| {
            Error::user(format!("the path '{}' is not a valid glob", self.path))
                .detail(error.to_string())
        })?;
        let strict = glob::MatchOptions {
            require_literal_separator: true,
            ..glob::MatchOptions::new()
        };
        let prefix = object_path(fixed)?;
        let name = format!("{}{}", self.root, self.path);
        let mut listed: Vec<object_store::ObjectMeta> = runtime()?
            .block_on(self.store.list(Some(&prefix)).try_collect())
            .map_err(|error| store_error(&format!("the path '{name}' cannot be listed"), &error))?;
        if is_glob(&self.path) {
            listed.retain(|meta| pattern.matches_with(meta.location.as_ref(), strict));
        } else {
            listed.retain(|meta| {
                let below = meta.location.as_ref().strip_prefix(self.path.as_str());
                !below.unwrap_or_default().split('/').any(is_hidden)
            });
        }
        if listed.is_empty() && !is_glob(&self.path) {
            // The listing of a prefix does not hold an object of just that name.
            return self
                .file(&name)
                .map(|file| vec![file])
                .map_err(|_| no_such_file(&name));
        }
        if listed.is_empty() {
            return Err(no_such_file(&name));
        }
        Ok(listed.iter().map(|meta| self.entry(meta)).collect())
    }
}

/// How long the client tries by itself. Who called tries again too, and shows why meanwhile: that must not take minutes.
fn patience() -> RetryConfig {
    RetryConfig {
        max_retries: 5,
        retry_timeout: Duration::from_secs(20),
        ..RetryConfig::default()
    }
}

/// A path as it is, without any encoding: names of directories bring their own.
fn object_path(path: &str) -> Result<ObjectPath> {
    ObjectPath::parse(path).map_err(|error| {
        Error::user(format!(
            "the path '{path}' cannot be one of an object store"
        ))
        .detail(error.to_string())
    })
}

/// What a failure of the store means: missing or forbidden is for the user, the rest may pass.
pub(crate) fn store_error(what: &str, error: &object_store::Error) -> Error {
    use object_store::Error as E;
    let error_here = match error {
        E::NotFound { .. }
        | E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::PermissionDenied { .. }
        | E::Unauthenticated { .. }
        | E::UnknownConfigurationKey { .. } => Error::user(what),
        _ => Error::retryable(what),
    };
    error_here.detail(error.to_string())
}

/// The runtime that talks to object stores: their clients are asynchronous, readers and writers are not.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("object-store")
            .enable_all()
            .build()
    });
    made.as_ref().map_err(|error| {
        Error::internal("the threads for object stores cannot be started").detail(error.to_string())
    })
}

/// The options of the store under object_store's names, after those of the environment (AWS_*).
fn store_options(options: &BTreeMap<String, String>) -> Result<Vec<(AmazonS3ConfigKey, String)>> {
    let mut all: Vec<(AmazonS3ConfigKey, String)> = std::env::vars()
        .filter(|(name, _)| name.starts_with("AWS_"))
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
        .collect();
    for (option, value) in options {
        let (name, value) = match option.as_str() {
            "access-key" => ("aws_access_key_id".to_owned(), value.clone()),
            "secret-key" => ("aws_secret_access_key".to_owned(), value.clone()),
            "session-token" => ("aws_session_token".to_owned(), value.clone()),
            "path-style-access" | "path.style.access" => {
                let virtual_hosted = (value != "true").to_string();
                (
                    "aws_virtual_hosted_style_request".to_owned(),
                    virtual_hosted,
                )
            }
            other => (
                format!("aws_{}", other.replace(['-', '.'], "_")),
                value.clone(),
            ),
        };
        let Ok(key) = name.parse() else {
            return Err(Error::user(format!("unknown option 's3.{option}'")).hint(
                "known are s3.endpoint, s3.region, s3.access-key, s3.secret-key, s3.session-token, s3.path-style-access, and the settings of object_store's S3 client (s3.allow-http, s3.imdsv1-fallback, ...)",
            ));
        };
        all.push((key, value));
    }
    let plain = |(key, value): &(AmazonS3ConfigKey, String)| {
        *key == AmazonS3ConfigKey::Endpoint && value.starts_with("http://")
    };
    if all.iter().any(plain) {
        let allow = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        all.push((allow, "true".to_owned()));
    }
    Ok(all)
}
