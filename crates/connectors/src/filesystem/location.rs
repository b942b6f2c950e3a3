//! Where files are: a local path, or a URL of an object store; one file, a directory or a glob.

use millstream_dataflow::{Error, Result};
use object_store::aws::AmazonS3ConfigKey;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreScheme};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};
use tokio::runtime::Runtime;
use url::Url;

/// A place for files.
#[derive(Clone)]
pub(crate) enum Location {
    /// On this machine.
    Local(PathBuf),
    /// In an object store.
    Remote(Remote),
}

/// A place in an object store.
#[derive(Clone)]
pub(crate) struct Remote {
    store: Arc<dyn ObjectStore>,
    /// The URL up to the store's root: what names begin with.
    root: String,
    path: String,
}

/// A file that can be read.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its path or URL.
    pub(crate) name: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// When it was last changed, in milliseconds since 1970.
    pub(crate) modified_ms: i64,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Remote(remote) => write!(f, "{}{}", remote.root, remote.path),
        }
    }
}

impl Location {
    /// The place that an option 'path' names, with the options of its store (`s3.*`).
    pub(crate) fn new(path: &str, store: &BTreeMap<String, String>) -> Result<Self> {
        let Some((scheme, _)) = path.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
            return Ok(Self::Local(PathBuf::from(path)));
        };
        if scheme.eq_ignore_ascii_case("file") {
            return local(path);
        }
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
        if !matches!(
            kind,
            ObjectStoreScheme::AmazonS3 | ObjectStoreScheme::Memory
        ) {
            let error = Error::user(format!(
                "the path '{path}' has the unsupported scheme '{scheme}'"
            ));
            return Err(error.hint("supported: local paths, file://, s3://"));
        }
        let (store, _) = object_store::parse_url_opts(&url, store_options(store)?)
            .map_err(|error| invalid(error.to_string()))?;
        let root = format!("{}://{}/", url.scheme(), url.host_str().unwrap_or_default());
        // Not the URL's path, which is percent-encoded: a glob's characters must stay.
        let after_scheme = plain.split_once("://").map_or("", |(_, rest)| rest);
        let path = after_scheme.split_once('/').map_or("", |(_, path)| path);
        Ok(Self::Remote(Remote {
            store: Arc::from(store),
            root,
            path: path.trim_matches('/').to_owned(),
        }))
    }

    /// A place in a store that is at hand.
    #[cfg(test)]
    pub(super) fn in_store(store: &Arc<dyn ObjectStore>, path: &str) -> Self {
        Self::Remote(Remote {
            store: Arc::clone(store),
            root: "memory://store/".to_owned(),
            path: path.to_owned(),
        })
    }

    /// The files of this place, sorted by name: the file itself, those that a glob matches, or those of a directory
    /// and its directories. Hidden files (`.x`, `_x`) of a directory are not seen.
    pub(crate) fn files(&self) -> Result<Vec<Entry>> {
        let mut files = match self {
            Self::Local(path) => local_files(path)?,
            Self::Remote(remote) => remote.files()?,
        };
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files.dedup_by(|a, b| a.name == b.name);
        Ok(files)
    }

    /// The file of this place with a name that [`files`](Self::files) gave.
    pub(crate) fn file(&self, name: &str) -> Result<Entry> {
        match self {
            Self::Local(_) => {
                let path = Path::new(name);
                let metadata = fs::metadata(path).map_err(|error| unreadable(name, &error))?;
                Ok(entry(path, &metadata))
            }
            Self::Remote(remote) => remote.file(name),
        }
    }
}

/// One letter is a drive, not a scheme; schemes have no slashes.
fn is_scheme(text: &str) -> bool {
    text.len() > 1
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn local(url: &str) -> Result<Location> {
    let rest = &url["file:".len()..];
    let path = match rest.strip_prefix("//") {
        Some(after) => after.strip_prefix("localhost").unwrap_or(after),
        None => rest,
    };
    if !path.starts_with('/') {
        let error = Error::user(format!("the path '{url}' names another machine"));
        return Err(error.hint("a local file's URL has three slashes: file:///data/orders.json"));
    }
    Ok(Location::Local(PathBuf::from(percent_decoded(path))))
}

pub(crate) fn percent_decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| path.to_owned())
}

/// The options of the store under object_store's names, after those of the environment (AWS_*).
fn store_options(options: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
    let mut all: Vec<(String, String)> = std::env::vars()
        .filter(|(name, _)| name.starts_with("AWS_"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
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
        if name.parse::<AmazonS3ConfigKey>().is_err() {
            return Err(Error::user(format!("unknown option 's3.{option}'")).hint(
                "known are s3.endpoint, s3.region, s3.access-key, s3.secret-key, s3.session-token, s3.path-style-access, and the settings of object_store's S3 client (s3.allow-http, s3.imdsv1-fallback, ...)",
            ));
        }
        if name == "aws_endpoint" && value.starts_with("http://") {
            all.push(("aws_allow_http".to_owned(), "true".to_owned()));
        }
        all.push((name, value));
    }
    Ok(all)
}

fn unreadable(name: &str, error: &std::io::Error) -> Error {
    Error::user(format!("the file '{name}' cannot be read")).detail(error.to_string())
}

fn entry(path: &Path, metadata: &fs::Metadata) -> Entry {
    let since = metadata
        .modified()
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Entry {
        name: path.display().to_string(),
        size: metadata.len(),
        modified_ms: since.map_or(0, |since: Duration| since.as_millis() as i64),
    }
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn no_such_file(path: impl fmt::Display) -> Error {
    Error::user(format!("the path '{path}' matches no file"))
        .hint("a path is a file, a directory or a glob such as /data/*.json; relative ones start where the process was started")
}

fn local_files(path: &Path) -> Result<Vec<Entry>> {
    if let Ok(metadata) = fs::metadata(path) {
        if metadata.is_file() {
            return Ok(vec![entry(path, &metadata)]);
        }
        let mut files = Vec::new();
        walk(path, &mut files)?;
        return Ok(files);
    }
    let text = path.display().to_string();
    if !is_glob(&text) {
        return Err(no_such_file(&text));
    }
    let matched = glob::glob(&text).map_err(|error| {
        Error::user(format!("the path '{text}' is not a valid glob")).detail(error.to_string())
    })?;
    let mut files = Vec::new();
    for path in matched {
        let path = path.map_err(|error| unreadable(&text, error.error()))?;
        let name = path.display().to_string();
        let metadata = fs::metadata(&path).map_err(|error| unreadable(&name, &error))?;
        if metadata.is_dir() {
            walk(&path, &mut files)?;
        } else {
            files.push(entry(&path, &metadata));
        }
    }
    if files.is_empty() {
        return Err(no_such_file(&text));
    }
    Ok(files)
}

fn walk(directory: &Path, files: &mut Vec<Entry>) -> Result<()> {
    let name = directory.display().to_string();
    let unreadable = |error| unreadable(&name, &error);
    for child in fs::read_dir(directory).map_err(unreadable)? {
        let child = child.map_err(unreadable)?;
        if is_hidden(&child.file_name().to_string_lossy()) {
            continue;
        }
        let path = child.path();
        let metadata = fs::metadata(&path).map_err(unreadable)?;
        if metadata.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(entry(&path, &metadata));
        }
    }
    Ok(())
}

impl Remote {
    /// The store.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The path in the store of a name under this place.
    pub(crate) fn child(&self, name: &str) -> ObjectPath {
        ObjectPath::from(format!("{}/{name}", self.path))
    }

    /// The path in the store of a file's full name.
    pub(crate) fn object(&self, name: &str) -> ObjectPath {
        ObjectPath::from(name.strip_prefix(&self.root).unwrap_or(name))
    }

    fn entry(&self, meta: &object_store::ObjectMeta) -> Entry {
        Entry {
            name: format!("{}{}", self.root, meta.location),
            size: meta.size,
            modified_ms: meta.last_modified.timestamp_millis(),
        }
    }

    fn file(&self, name: &str) -> Result<Entry> {
        use object_store::ObjectStoreExt;
        let path = self.object(name);
        let meta = runtime()?.block_on(self.store.head(&path));
        meta.map(|meta| self.entry(&meta))
            .map_err(|error| store_error(&format!("the file '{name}' cannot be read"), &error))
    }

    fn files(&self) -> Result<Vec<Entry>> {
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
        let prefix = ObjectPath::from(fixed);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(location: &str) -> Result<Vec<String>> {
        let files = Location::new(location, &BTreeMap::new())?.files()?;
        let name = |file: Entry| file.name.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(files.into_iter().map(name).collect())
    }

    #[test]
    fn a_path_is_a_file_a_directory_or_a_glob() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().display().to_string();
        fs::create_dir(directory.path().join("sub")).unwrap();
        for name in [
            "b.json",
            "a.json",
            ".hidden",
            "_done",
            "sub/c.csv",
            "d e.json",
        ] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        assert_eq!(
            names(&root).unwrap(),
            ["a.json", "b.json", "d e.json", "c.csv"]
        );
        assert_eq!(
            names(&format!("{root}/[ab].json")).unwrap(),
            ["a.json", "b.json"]
        );
        assert_eq!(names(&format!("{root}/**/*.csv")).unwrap(), ["c.csv"]);
        assert_eq!(
            names(&format!("file://{root}/d%20e.json")).unwrap(),
            ["d e.json"]
        );
        assert_eq!(names(&format!("file:{root}/a.json")).unwrap(), ["a.json"]);
        let error = names(&format!("{root}/*.parquet")).unwrap_err();
        assert!(
            error.message.contains("*.parquet' matches no file"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_url_is_the_users_error() {
        let error = Location::new("ftp://host/x", &BTreeMap::new()).unwrap_err();
        assert_eq!(error.kind, millstream_dataflow::Kind::User);
        let error = Location::new("file://host/x", &BTreeMap::new()).unwrap_err();
        assert!(error.message.contains("another machine"), "{error}");
    }
}
