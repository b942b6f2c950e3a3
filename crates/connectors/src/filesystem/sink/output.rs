//! The bytes of a file that is being written and that no reader sees.
//!
//! ```text
//! write -> waiting (memory) -- drain --> the staged file, or parts of an upload -- stage --> durable, still unseen
//! ```
//!
//! Writing always succeeds, into memory; handing on may fail and is done again where it stopped. So encoders, which
//! could not take a step back, never see a full disk.

use super::super::location::Location;
use super::disk::{sync_error, write_error};
use super::upload::{PART, PARTS_AT_ONCE, Upload, Uploaded};
use super::{disk, upload};
use bytes::Bytes;
use millstream_dataflow::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes are handed to a local file in pieces of about this length.
const PIECE: usize = 1 << 17;

/// A file being written. Dropped before it is [`keep`](Self::keep)-ed, nothing of it remains.
pub(super) struct Output {
    bytes: u64,
    waiting: Vec<u8>,
    target: Option<Target>,
}

enum Target {
    Local { file: File, path: PathBuf },
    Remote(Box<Upload>),
}

/// Where a table's files are before they are visible.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    location: Location,
    writer: String,
}

impl Staging {
    /// The folder of all files that are not visible yet, under the table.
    const FOLDER: &str = "_millstream/staged";

    /// The files of one writer.
    pub(super) fn new(location: &Location, writer: &str) -> Self {
        Self {
            location: location.clone(),
            writer: writer.to_owned(),
        }
    }

    /// Begins a file. In an object store, `noted` leaves a note of the upload, by which it can be ended by another
    /// process.
    pub(super) fn begin(&self, name: &str, noted: bool) -> Result<Output> {
        let target = match &self.location {
            Location::Local(root) => {
                let path = self.local(root, name);
                let file =
                    begin_local(&path).map_err(|error| write_error(path.display(), &error))?;
                Target::Local { file, path }
            }
            Location::Remote(remote) => {
                let upload = Upload::begin(remote, name)?;
                if noted {
                    let note = serde_json::json!({"path": name, "upload": upload.id()});
                    let put = remote.put(&self.note(name), note.to_string().into_bytes());
                    if let Err(error) = put {
                        let _ = upload.abort();
                        return Err(error);
                    }
                }
                Target::Remote(Box::new(upload))
            }
        };
        Ok(Output {
            bytes: 0,
            waiting: Vec::new(),
            target: Some(target),
        })
    }

    fn local(&self, root: &Path, name: &str) -> PathBuf {
        let file = name.rsplit('/').next().unwrap_or(name);
        // Nothing that a glob over the table's files matches.
        root.join(Self::FOLDER)
            .join(&self.writer)
            .join(format!("{file}.inprogress"))
    }

    fn note(&self, name: &str) -> String {
        let file = name.rsplit('/').next().unwrap_or(name);
        format!("{}/{}/{file}", Self::FOLDER, self.writer)
    }

    /// The names of the staged files are durable.
    pub(super) fn sync(&self) -> Result<()> {
        let Location::Local(root) = &self.location else {
            return Ok(());
        };
        let folder = root.join(Self::FOLDER).join(&self.writer);
        disk::sync_folder(&folder).map_err(|error| sync_error(folder.display(), &error))
    }

    /// Makes a staged file visible. Doing it again changes nothing. Locally its new name is durable when its folder has
    /// been synced.
    ///
    /// # Errors
    /// `Internal`: the file is neither staged nor visible.
    pub(super) fn show(&self, name: &str, bytes: u64, uploaded: Option<&Uploaded>) -> Result<()> {
        match (&self.location, uploaded) {
            (Location::Local(root), _) => self.rename(root, name),
            (Location::Remote(remote), Some(uploaded)) => {
                uploaded.complete(remote, name, bytes)?;
                remote.delete(&self.note(name))
            }
            (Location::Remote(_), None) => Err(Error::internal(format!(
                "the file '{name}' was prepared for a local folder, not for '{}'",
                self.location
            ))),
        }
    }

    fn rename(&self, root: &Path, name: &str) -> Result<()> {
        let (from, to) = (self.local(root, name), root.join(name));
        let failed = |error: io::Error| write_error(to.display(), &error);
        if let Some(folder) = to.parent() {
            disk::make_folder(folder).map_err(failed)?;
        }
        match fs::rename(&from, &to) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            Err(_) if to.exists() => Ok(()),
            Err(error) => {
                let gone = format!("the file '{}' is gone", from.display());
                Err(Error::internal(gone).detail(error.to_string()))
            }
        }
    }

    /// Removes all that is staged.
    pub(super) fn clear(&self) -> Result<()> {
        match &self.location {
            Location::Local(root) => {
                let folder = root.join(Self::FOLDER).join(&self.writer);
                clear_local(&folder).map_err(|error| write_error(folder.display(), &error))
            }
            Location::Remote(remote) => {
                for note in remote.list(&format!("{}/{}", Self::FOLDER, self.writer), None)? {
                    if let Some(bytes) = remote.get(&note)?
                        && let Ok(note) = serde_json::from_slice::<serde_json::Value>(&bytes)
                        && let (Some(name), Some(id)) =
                            (note["path"].as_str(), note["upload"].as_str())
                    {
                        upload::abort(remote, name, id)?;
                    }
                    remote.delete(&note)?;
                }
                Ok(())
            }
        }
    }

    /// Removes the folders that staging made, where they are empty.
    pub(super) fn tidy(&self) {
        if let Location::Local(root) = &self.location {
            let staged = root.join(Self::FOLDER);
            let _ = fs::remove_dir(staged.join(&self.writer));
            let _ = fs::remove_dir(&staged);
            let _ = staged.parent().map(fs::remove_dir);
        }
    }
}

fn begin_local(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        disk::make_folder(folder)?;
    }
    File::create_new(path)
}

fn clear_local(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        disk::remove(&entry?.path())?;
    }
    Ok(())
}

impl Output {
    /// How many bytes were written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hands on what was written, but for the beginning of a piece.
    ///
    /// # Errors
    /// `Retryable`: nothing is lost, call again.
    pub(super) fn drain(&mut self) -> Result<()> {
        match &mut self.target {
            Some(Target::Local { file, path }) if self.waiting.len() >= PIECE => {
                hand_on(&mut self.waiting, file, path)
            }
            Some(Target::Remote(upload)) => {
                upload.send(PARTS_AT_ONCE)?;
                while self.waiting.len() >= PART {
                    let rest = self.waiting.split_off(PART);
                    let part = std::mem::replace(&mut self.waiting, rest);
                    upload.put(part.into())?;
                }
                Ok(())
            }
            Some(Target::Local { .. }) | None => Ok(()),
        }
    }

    /// Makes all that was written durable, but for the file's name.
    ///
    /// # Errors
    /// `Retryable`: nothing is lost, call again. `Internal`: the file is lost.
    pub(super) fn stage(&mut self) -> Result<()> {
        self.drain()?;
        match &mut self.target {
            Some(Target::Local { file, path }) => {
                hand_on(&mut self.waiting, file, path)?;
                file.sync_all()
                    .map_err(|error| sync_error(path.display(), &error))
            }
            Some(Target::Remote(upload)) => {
                if !self.waiting.is_empty() {
                    upload.put(Bytes::from(std::mem::take(&mut self.waiting)))?;
                }
                upload.send(0)
            }
            None => Ok(()),
        }
    }

    /// The file stays as it is staged, for [`Staging::show`] or [`Staging::clear`].
    pub(super) fn keep(mut self) -> Option<Uploaded> {
        match self.target.take() {
            Some(Target::Remote(upload)) => Some(upload.uploaded()),
            Some(Target::Local { .. }) | None => None,
        }
    }
}

/// Writes to a local file what waits; what could not be written waits on.
fn hand_on(waiting: &mut Vec<u8>, file: &mut File, path: &Path) -> Result<()> {
    let mut written = 0;
    let mut outcome = Ok(());
    while written < waiting.len() {
        match file.write(&waiting[written..]) {
            Ok(0) => outcome = Err(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(some) => written += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => outcome = Err(error),
        }
        if outcome.is_err() {
            break;
        }
    }
    waiting.drain(..written);
    outcome.map_err(|error| write_error(path.display(), &error))
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        match self.target.take() {
            Some(Target::Local { path, .. }) => {
                let _ = fs::remove_file(path);
            }
            Some(Target::Remote(upload)) => {
                let id = upload.id().to_owned();
                if let Err(error) = upload.abort() {
                    tracing::warn!(upload = id, %error, "an upload could not be ended");
                }
            }
            None => {}
        }
    }
}
