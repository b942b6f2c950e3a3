//! Files of a table that are not visible yet.
//!
//! ```text
//! local:         _millstream/staged/<writer>/part-x.json.inprogress  -- rename -->    country=FR/part-x.json
//! object store:  an upload of country=FR/part-x.json                 -- complete -->  the object
//! ```
//!
//! An upload that is not completed is no object, and is listed nowhere but in a note at `_millstream/staged/<writer>/`,
//! by which another process can end it.

use super::super::location::Location;
use super::super::remote::{Remote, runtime};
use super::disk;
use super::disk::{sync_error, write_error};
use super::output::{Output, Target};
use super::prepared::DataFile;
use super::upload::{self, Upload};
use futures::{StreamExt, TryStreamExt, stream};
use millstream_dataflow::{Error, Result};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// So many files are begun, or appear, at once in an object store.
const AT_ONCE: usize = 16;

/// Where a writer's files are before they are visible.
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

    /// Begins files of these names. In an object store, `noted` leaves notes of their uploads.
    ///
    /// # Errors
    /// `Retryable`: none is begun.
    pub(super) fn begin(&self, names: &[String], noted: bool) -> Result<Vec<Output>> {
        match &self.location {
            Location::Local(root) => {
                let folder = self.folder(root);
                disk::make_folder(&folder)
                    .map_err(|error| write_error(folder.display(), &error))?;
                let path = |name: &String| self.local(root, name);
                let output = |path| Output::new(Target::Local { file: None, path });
                Ok(names.iter().map(path).map(output).collect())
            }
            Location::Remote(remote) => {
                let begun = names.iter().map(|name| self.upload(remote, name, noted));
                let begun = stream::iter(begun).buffered(AT_ONCE);
                let begun: Vec<Result<Upload>> = runtime()?.block_on(begun.collect());
                // If one is not begun, the others end with their outputs.
                let output = |upload| Output::new(Target::Remote(Box::new(upload)));
                begun.into_iter().map(|upload| upload.map(output)).collect()
            }
        }
    }

    async fn upload(&self, remote: &Remote, name: &str, noted: bool) -> Result<Upload> {
        let upload = Upload::begin(remote, name).await?;
        if noted {
            let note = json!({"path": name, "upload": upload.id()}).to_string();
            if let Err(error) = remote.put(&self.note(name), note.into_bytes()).await {
                let _ = upload.abort().await;
                return Err(error);
            }
        }
        Ok(upload)
    }

    fn folder(&self, root: &Path) -> PathBuf {
        root.join(Self::FOLDER).join(&self.writer)
    }

    fn local(&self, root: &Path, name: &str) -> PathBuf {
        let file = name.rsplit('/').next().unwrap_or(name);
        // Nothing that a glob over the table's files matches.
        self.folder(root).join(format!("{file}.inprogress"))
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
        let folder = self.folder(root);
        disk::sync_folder(&folder).map_err(|error| sync_error(folder.display(), &error))
    }

    /// Makes staged files visible. Doing it again changes nothing. Locally their new names are durable when their folders
    /// have been synced.
    ///
    /// # Errors
    /// `Internal`: a file is neither staged nor visible.
    pub(super) fn show(&self, files: &[&DataFile]) -> Result<()> {
        match &self.location {
            Location::Local(root) => files.iter().try_for_each(|file| self.rename(root, file)),
            Location::Remote(remote) => {
                let shown = files.iter().map(|file| self.complete(remote, file));
                let shown = stream::iter(shown).buffer_unordered(AT_ONCE);
                runtime()?.block_on(shown.try_collect())
            }
        }
    }

    async fn complete(&self, remote: &Remote, file: &DataFile) -> Result<()> {
        let Some(uploaded) = &file.upload else {
            return Err(Error::internal(format!(
                "the file '{}' was prepared for a local folder, not for '{}'",
                file.path, self.location
            )));
        };
        uploaded.complete(remote, &file.path, file.bytes).await?;
        remote.delete(&self.note(&file.path)).await
    }

    fn rename(&self, root: &Path, file: &DataFile) -> Result<()> {
        let (from, to) = (self.local(root, &file.path), root.join(&file.path));
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
                let folder = self.folder(root);
                clear_folder(&folder).map_err(|error| write_error(folder.display(), &error))
            }
            Location::Remote(remote) => runtime()?.block_on(self.clear_remote(remote)),
        }
    }

    async fn clear_remote(&self, remote: &Remote) -> Result<()> {
        let folder = format!("{}/{}", Self::FOLDER, self.writer);
        for name in remote.list(&folder, None).await? {
            let bytes = remote.get(&name).await?.unwrap_or_default();
            let note: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            if let (Some(path), Some(id)) = (note["path"].as_str(), note["upload"].as_str()) {
                upload::abort(remote, path, id).await?;
            }
            remote.delete(&name).await?;
        }
        Ok(())
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

fn clear_folder(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        disk::remove(&entry?.path())?;
    }
    Ok(())
}
