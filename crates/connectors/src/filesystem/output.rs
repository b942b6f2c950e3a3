//! A file that appears whole or not at all.
//!
//! ```text
//! local:  .part-x.json.inprogress  -- sync, rename -->  part-x.json
//! remote: a multipart upload       -- complete     -->  part-x.json
//! ```
//!
//! What is dropped without [`Output::finish`] leaves nothing that a reader sees: names that begin with a dot are hidden
//! to readers of directories, and an upload that is not completed is no object.

use super::location::Location;
use super::remote::{Remote, runtime, store_error};
use millstream_dataflow::{Error, Result};
use object_store::{ObjectStoreExt, WriteMultipart};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// Parts of an upload: S3 takes none smaller than 5 MiB but the last, and 10,000 at most.
const PART: usize = 8 << 20;

/// How many parts are on their way at once before writing waits.
const PARTS_AT_ONCE: usize = 4;

/// A file being written.
pub(super) struct Output {
    name: String,
    bytes: u64,
    target: Target,
}

enum Target {
    Local {
        file: BufWriter<File>,
        written: PathBuf,
        published: PathBuf,
    },
    Remote(Option<WriteMultipart>),
}

impl Output {
    /// Begins the file of this name (with its directories) under a location.
    pub(super) fn create(location: &Location, name: &str) -> Result<Self> {
        let target = match location {
            Location::Local(root) => local(root.join(name))?,
            Location::Remote(remote) => Target::Remote(Some(upload(remote, name)?)),
        };
        Ok(Self {
            name: format!("{location}/{name}"),
            bytes: 0,
            target,
        })
    }

    /// How many bytes were written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the file durable and visible.
    pub(super) fn finish(mut self) -> Result<()> {
        let failed = |error: io::Error| write_error(&self.name, &error);
        match &mut self.target {
            Target::Local {
                file,
                written,
                published,
            } => {
                file.flush().map_err(failed)?;
                file.get_ref().sync_all().map_err(failed)?;
                fs::rename(&*written, &*published).map_err(failed)?;
                // The new name is durable when its directory is.
                if let Some(directory) = published.parent() {
                    File::open(directory)
                        .and_then(|it| it.sync_all())
                        .map_err(failed)?;
                }
                Ok(())
            }
            Target::Remote(upload) => match upload.take() {
                None => Err(Error::internal(format!(
                    "the file '{}' was finished twice",
                    self.name
                ))),
                Some(upload) => {
                    let done = runtime()?.block_on(upload.finish());
                    done.map(|_| ()).map_err(|error| {
                        store_error(
                            &format!("the file '{}' cannot be uploaded", self.name),
                            &error,
                        )
                    })
                }
            },
        }
    }
}

fn local(published: PathBuf) -> Result<Target> {
    let name = published.display().to_string();
    let failed = |error: io::Error| write_error(&name, &error);
    let directory = published.parent().unwrap_or(&published);
    fs::create_dir_all(directory).map_err(failed)?;
    let file_name = published.file_name().unwrap_or_default().to_string_lossy();
    let written = directory.join(format!(".{file_name}.inprogress"));
    let file = File::create(&written).map_err(failed)?;
    Ok(Target::Local {
        file: BufWriter::with_capacity(1 << 17, file),
        written,
        published,
    })
}

fn upload(remote: &Remote, name: &str) -> Result<WriteMultipart> {
    let path = remote.child(name);
    let begun = runtime()?.block_on(remote.store().put_multipart(&path));
    begun
        .map(|upload| WriteMultipart::new_with_chunk_size(upload, PART))
        .map_err(|error| store_error(&format!("the file '{name}' cannot be written"), &error))
}

/// A file that cannot be written. Bytes of it may be: trying the same rows again would double them.
pub(super) fn write_error(name: &str, error: &io::Error) -> Error {
    Error::user(format!("the file '{name}' cannot be written"))
        .detail(error.to_string())
        .hint("is there room on the disk, and may this process write there?")
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.target {
            Target::Local { file, .. } => file.write_all(bytes)?,
            Target::Remote(upload) => {
                let upload = upload
                    .as_mut()
                    .ok_or_else(|| io::Error::other("already finished"))?;
                let runtime = runtime().map_err(io::Error::other)?;
                // Parts are sent by tasks of the runtime.
                let _inside = runtime.enter();
                runtime
                    .block_on(upload.wait_for_capacity(PARTS_AT_ONCE))
                    .map_err(io::Error::other)?;
                upload.write(bytes);
            }
        }
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        match &mut self.target {
            Target::Local { written, .. } => {
                // Gone already if the file was published.
                let _ = fs::remove_file(written);
            }
            Target::Remote(upload) => {
                if let (Some(upload), Ok(runtime)) = (upload.take(), runtime()) {
                    let aborted = runtime.block_on(upload.abort());
                    if let Err(error) = aborted {
                        tracing::warn!(file = self.name, %error, "an upload could not be aborted");
                    }
                }
            }
        }
    }
}
