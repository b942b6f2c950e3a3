//! The bytes of a file that is being written and that no reader sees.
//!
//! ```text
//! write -> waiting (memory) -- drain --> the staged file, or parts of an upload -- stage --> durable, still unseen
//! ```
//!
//! Writing always succeeds, into memory; handing on may fail and is done again where it stopped. So encoders, which
//! could not take a step back, never see a full disk.

use super::super::remote::runtime;
use super::disk::{sync_error, write_error};
use super::upload::{PART, PARTS_AT_ONCE, Upload, Uploaded};
use millstream_dataflow::Result;
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

/// Where bytes go.
pub(super) enum Target {
    /// A file, made when there is something to write: many small ones need not be open at once.
    Local {
        file: Option<File>,
        path: PathBuf,
    },
    Remote(Box<Upload>),
}

impl Output {
    pub(super) fn new(target: Target) -> Self {
        Self {
            bytes: 0,
            waiting: Vec::new(),
            target: Some(target),
        }
    }

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
                hand_on(&mut self.waiting, file, path).map(|_| ())
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
            Some(Target::Local { file, path }) => hand_on(&mut self.waiting, file, path)?
                .sync_all()
                .map_err(|error| sync_error(path.display(), &error)),
            Some(Target::Remote(upload)) => {
                if !self.waiting.is_empty() {
                    upload.put(std::mem::take(&mut self.waiting).into())?;
                }
                upload.send(0)
            }
            None => Ok(()),
        }
    }

    /// The file stays as it is staged.
    pub(super) fn keep(mut self) -> Option<Uploaded> {
        match self.target.take() {
            Some(Target::Remote(upload)) => Some(upload.uploaded()),
            Some(Target::Local { .. }) | None => None,
        }
    }
}

/// Writes to a local file what waits; what could not be written waits on.
fn hand_on<'a>(waiting: &mut Vec<u8>, file: &'a mut Option<File>, path: &Path) -> Result<&'a File> {
    let failed = |error: io::Error| write_error(path.display(), &error);
    let file = match file {
        Some(file) => file,
        None => file.insert(File::create_new(path).map_err(failed)?),
    };
    let mut written = 0;
    let mut outcome = Ok(());
    while written < waiting.len() && outcome.is_ok() {
        match file.write(&waiting[written..]) {
            Ok(0) => outcome = Err(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(some) => written += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => outcome = Err(error),
        }
    }
    waiting.drain(..written);
    outcome.map(|()| &*file).map_err(failed)
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
            Some(Target::Local { file, path }) if file.is_some() => {
                let _ = fs::remove_file(path);
            }
            Some(Target::Remote(upload)) => {
                let id = upload.id().to_owned();
                if let Ok(runtime) = runtime()
                    && let Err(error) = runtime.block_on(upload.abort())
                {
                    tracing::warn!(upload = id, %error, "an upload could not be ended");
                }
            }
            Some(Target::Local { .. }) | None => {}
        }
    }
}
