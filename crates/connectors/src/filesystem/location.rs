//! Where files are: a local path, or a URL of an object store; one file, a directory or a glob.

use super::remote::Remote;
use millstream_dataflow::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// A place for files.
#[derive(Clone)]
pub(crate) enum Location {
    /// On this machine.
    Local(PathBuf),
    /// In an object store.
    Remote(Remote),
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
            Self::Remote(remote) => write!(f, "{remote}"),
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
        Remote::new(path, scheme, store).map(Self::Remote)
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

pub(super) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

pub(super) fn no_such_file(path: impl fmt::Display) -> Error {
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
