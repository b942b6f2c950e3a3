//! A local folder. Data is on the disk before its name is, and the name before anyone is told.
//!
//! ```text
//! write:   .leaf.part  -- sync, rename, sync the folder -->  leaf
//! create:  .leaf.part  -- sync, link, sync the folder   -->  leaf, unless there is one
//! ```
//!
//! A sync that failed says nothing about what is on the disk, nor does one after it: what was written is thrown away.

use super::place::{Access, Place, Span, missing, short};
use arrow::buffer::Buffer;
use bytes::Bytes;
use millstream_dataflow::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a killed process may take to let go of its lock: the system gives its memory back first.
const LOCK_WAIT: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A folder. Who writes to it has locked it.
pub(super) struct Local {
    root: PathBuf,
    /// Held, not read: the lock goes with it.
    _lock: Option<File>,
    /// Makes a file or a folder durable; tests let it fail.
    pub(super) sync: fn(&File) -> io::Result<()>,
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root.display())
    }
}

impl Local {
    /// Opens a folder. To be written to, it is made if it is not there, and locked.
    ///
    /// # Errors
    /// `User` when it cannot be used, or another process writes to it.
    pub(super) fn open(root: PathBuf, access: Access) -> Result<Self> {
        let unusable = |error: io::Error| {
            let name = root.display();
            Error::user(format!("the folder '{name}' cannot hold checkpoints"))
                .detail(error.to_string())
                .hint("it must be a folder in which this process may write")
        };
        if access == Access::Read {
            fs::read_dir(root.join(super::MANIFESTS)).map_err(|error| {
                Error::user(format!("there are no checkpoints in '{}'", root.display()))
                    .detail(error.to_string())
            })?;
            return Ok(Self {
                root,
                _lock: None,
                sync: File::sync_all,
            });
        }
        for folder in super::FOLDERS {
            make(&root.join(folder)).map_err(unusable)?;
        }
        let lock = lock(&root)?.map_err(unusable)?;
        let place = Self {
            _lock: Some(lock),
            sync: File::sync_all,
            root,
        };
        for folder in super::FOLDERS {
            place.sweep(folder);
        }
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Removes what a process that crashed had begun.
    fn sweep(&self, folder: &str) {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        for entry in entries.flatten() {
            if is_part(&entry.file_name().to_string_lossy()) {
                // What stays is in nobody's way.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Writes a file beside `path` and makes it durable; then `publish` gives it its name.
    fn put(
        &self,
        path: &Path,
        parts: &[&[u8]],
        publish: impl FnOnce(&Path) -> io::Result<bool>,
    ) -> io::Result<bool> {
        let leaf = path.file_name().unwrap_or_default().to_string_lossy();
        let part = path.with_file_name(format!(".{leaf}.part"));
        let write = || {
            let mut file = BufWriter::with_capacity(1 << 17, File::create(&part)?);
            parts.iter().try_for_each(|bytes| file.write_all(bytes))?;
            (self.sync)(&file.into_inner()?)
        };
        let published = write().and_then(|()| publish(&part));
        if !matches!(published, Ok(true)) {
            let _ = fs::remove_file(&part);
            return published;
        }
        self.sync_folder(path).inspect_err(|_| {
            let _ = fs::remove_file(path);
            let _ = fs::remove_file(&part);
        })?;
        Ok(true)
    }

    /// Makes the names in the folder of `path` durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        (self.sync)(&File::open(path.parent().unwrap_or(path))?)
    }

    fn span(&self, (name, range): &Span) -> Result<Buffer> {
        let failed = |error: io::Error| unreadable(name, &error);
        let mut file = match File::open(self.path(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing(name)),
            opened => opened.map_err(failed)?,
        };
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        let wanted = range.end - range.start;
        let mut bytes = Vec::with_capacity(wanted as usize);
        file.take(wanted).read_to_end(&mut bytes).map_err(failed)?;
        if (bytes.len() as u64) < wanted {
            return Err(short(name, range));
        }
        Ok(Buffer::from_vec(bytes))
    }
}

impl Place for Local {
    fn list(&self, folder: &str) -> Result<BTreeMap<String, u64>> {
        let list = || {
            let mut leaves = BTreeMap::new();
            for entry in fs::read_dir(self.path(folder))? {
                let entry = entry?;
                let leaf = entry.file_name().to_string_lossy().into_owned();
                let metadata = entry.metadata()?;
                if metadata.is_file() && !is_part(&leaf) {
                    leaves.insert(leaf, metadata.len());
                }
            }
            Ok(leaves)
        };
        list().map_err(|error: io::Error| unreadable(folder, &error))
    }

    fn read(&self, name: &str) -> Result<Option<Buffer>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(Buffer::from_vec(bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(name, &error)),
        }
    }

    fn spans(&self, spans: &[Span]) -> Result<Vec<Buffer>> {
        spans.iter().map(|span| self.span(span)).collect()
    }

    fn write(&self, name: &str, parts: &[Bytes]) -> Result<()> {
        let path = self.path(name);
        let parts: Vec<&[u8]> = parts.iter().map(Bytes::as_ref).collect();
        let put = self.put(&path, &parts, |part| fs::rename(part, &path).map(|()| true));
        put.map(|_| ()).map_err(|error| unwritable(name, &error))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let path = self.path(name);
        self.put(&path, &[bytes], |part| link(part, &path))
            .map_err(|error| unwritable(name, &error))
    }

    fn remove(&self, names: &[String]) -> Result<()> {
        let mut folders = BTreeMap::new();
        for name in names {
            let path = self.path(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(|error| unwritable(name, &error))?,
            }
            folders.insert(path.parent().map(Path::to_owned), (path, name));
        }
        for (path, name) in folders.into_values() {
            let synced = self.sync_folder(&path);
            synced.map_err(|error| unwritable(name, &error))?;
        }
        Ok(())
    }
}

/// Gives a file its name, unless there is one of that name.
fn link(part: &Path, path: &Path) -> io::Result<bool> {
    match fs::hard_link(part, path) {
        Ok(()) => fs::remove_file(part).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        // Not every file system has links. The folder is locked: nobody else gives names in it.
        Err(_) if !path.try_exists()? => fs::rename(part, path).map(|()| true),
        Err(_) => Ok(false),
    }
}

fn is_part(leaf: &str) -> bool {
    leaf.starts_with('.') && leaf.ends_with(".part")
}

/// Takes the lock, waiting a little for one who is about to let it go.
fn lock_soon(file: &File) -> std::result::Result<(), TryLockError> {
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if waited < LOCK_WAIT => {
                std::thread::sleep(LOCK_PAUSE);
                waited += LOCK_PAUSE;
            }
            outcome => return outcome,
        }
    }
}

/// Makes a folder and those that it is in, each durable before the next.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|path| !path.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    make(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made.and_then(|()| File::open(parent)?.sync_all()),
    }
}

fn lock(root: &Path) -> Result<io::Result<File>> {
    let path = root.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = match options.open(&path) {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    match lock_soon(&file) {
        Ok(()) => {
            // For people who look; the lock itself is the system's.
            let line = format!("process {}\n", std::process::id());
            let written = file
                .set_len(0)
                .and_then(|()| file.write_all(line.as_bytes()));
            Ok(written.map(|()| file))
        }
        Err(TryLockError::WouldBlock) => {
            let owner = fs::read_to_string(&path).unwrap_or_default();
            let error = Error::user(format!(
                "another process has the checkpoints in '{}' open",
                root.display()
            ));
            Err(error
                .detail(format!("the file '{}' is locked by {}", path.display(), owner.trim()))
                .hint("two engines cannot share a folder: stop the other, or give this one a folder of its own"))
        }
        Err(TryLockError::Error(error)) => Ok(Err(error)),
    }
}

/// Reading failed. A disk that cannot read a sector has lost it; anything else may pass.
fn unreadable(name: &str, error: &io::Error) -> Error {
    const EIO: i32 = 5;
    let message = format!("'{name}' cannot be read");
    let read = match error.raw_os_error() {
        Some(EIO) => super::damaged(message),
        _ => Error::retryable(message),
    };
    read.detail(error.to_string())
}

fn unwritable(name: &str, error: &io::Error) -> Error {
    let failed = Error::retryable(format!("'{name}' cannot be written")).detail(error.to_string());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            failed.hint("the disk is full: checkpoints go on when there is room")
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            failed.hint("this process must be able to write to the folder of the checkpoints")
        }
        _ => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::Kind;

    fn place() -> (tempfile::TempDir, Local) {
        let folder = tempfile::tempdir().unwrap();
        let place = Local::open(folder.path().join("a/b"), Access::Write).unwrap();
        (folder, place)
    }

    #[test]
    fn what_is_created_is_not_there_yet() {
        let (_folder, place) = place();
        assert!(place.create("manifest/1", b"one").unwrap());
        assert!(!place.create("manifest/1", b"two").unwrap());
        let read = place.read("manifest/1").unwrap().unwrap();
        assert_eq!(read.as_slice(), b"one");
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
    fn parts_of_files_are_read_and_files_that_are_short_are_damage() {
        let (_folder, place) = place();
        let parts = [Bytes::from_static(b"abc"), Bytes::from_static(b"def")];
        place.write("segment/s", &parts).unwrap();
        let span = |name: &str, range| place.spans(&[(name.to_owned(), range)]);
        assert_eq!(span("segment/s", 2..5).unwrap()[0].as_slice(), b"cde");
        assert_eq!(span("segment/s", 2..7).unwrap_err().kind, Kind::BadData);
        assert_eq!(span("segment/t", 0..1).unwrap_err().kind, Kind::BadData);
    }

    #[test]
    fn a_second_owner_is_refused_and_what_a_crash_left_is_swept() {
        let (folder, place) = place();
        let error = Local::open(folder.path().join("a/b"), Access::Write)
            .err()
            .unwrap();
        assert_eq!(error.kind, Kind::User);
        assert!(error.message.contains("another process"), "{error}");
        let own = format!("process {}", std::process::id());
        assert!(error.detail.unwrap().contains(&own));
        let left = folder.path().join("a/b/segment/.x.part");
        fs::write(&left, "half").unwrap();
        drop(place);
        Local::open(folder.path().join("a/b"), Access::Write).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn what_cannot_be_synced_is_not_there() {
        let (folder, mut place) = place();
        place.sync = |_| Err(io::Error::from_raw_os_error(5));
        for error in [
            place.write("segment/s", &[Bytes::from_static(b"x")]),
            place.create("manifest/1", b"x").map(|_| ()),
        ] {
            assert_eq!(error.unwrap_err().kind, Kind::Retryable);
        }
        // The file is durable and its name is not.
        place.sync = |file| match file.metadata()?.is_dir() {
            true => Err(io::Error::from(ErrorKind::StorageFull)),
            false => Ok(()),
        };
        let error = place.create("manifest/1", b"x").unwrap_err();
        assert!(error.hint.unwrap().contains("disk is full"));
        for sub in ["segment", "manifest"] {
            let left = fs::read_dir(folder.path().join("a/b").join(sub)).unwrap();
            assert_eq!(left.count(), 0);
        }
        place.sync = File::sync_all;
        assert!(place.create("manifest/1", b"x").unwrap());
    }

    #[test]
    fn a_file_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Local::open(file.join("x"), Access::Write).err().unwrap();
        assert_eq!(error.kind, Kind::User);
    }
}
