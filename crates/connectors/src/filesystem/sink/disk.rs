//! What a local disk needs so that a file or a folder is there after a power cut.

use millstream_dataflow::{Error, Kind, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Makes a folder with those above it, durable.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_folder(above)?;
    match fs::create_dir(folder) {
        // Someone else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    sync_folder(above)
}

/// A folder's names are durable when it has been synced.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// So many waits at once.
const AT_ONCE: usize = 16;

/// Does something that waits for a disk or a store to each of these, to several at once.
pub(super) fn each_at_once<T: Send>(
    mut items: impl ExactSizeIterator<Item = T>,
    act: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    if items.len() == 1 {
        return items.try_for_each(act);
    }
    let act = &act;
    while items.len() > 0 {
        std::thread::scope(|scope| {
            let some = items.by_ref().take(AT_ONCE);
            let started: Vec<_> = some.map(|item| scope.spawn(move || act(item))).collect();
            let ended = started.into_iter().map(|thread| {
                let panicked = |_| {
                    Err(Error::internal(
                        "a thread that waits for a disk has panicked",
                    ))
                };
                thread.join().unwrap_or_else(panicked)
            });
            // All are waited for, whatever the first says.
            ended.fold(Ok(()), Result::and)
        })?;
    }
    Ok(())
}

/// Writes a small file that appears whole, unless there is one of this name. Gives whether it was written.
pub(super) fn create_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<bool> {
    make_folder(folder)?;
    let draft = folder.join(format!(".{name}.{}", super::writer::unique()));
    let written = write_draft(&draft, bytes).and_then(|()| {
        // Unlike a rename, a link does not replace what is there.
        match fs::hard_link(&draft, folder.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    });
    let _ = fs::remove_file(&draft);
    if written? {
        sync_folder(folder)?;
        return Ok(true);
    }
    Ok(false)
}

/// Writes a small file that appears whole, in place of the one of this name.
pub(super) fn replace_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!(".{name}.{}", super::writer::unique()));
    let written = write_draft(&draft, bytes).and_then(|()| fs::rename(&draft, folder.join(name)));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written?;
    sync_folder(folder)
}

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes a file, which may be gone already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A file or folder that cannot be written: a name that can never be is for the user, the rest may pass.
pub(super) fn write_error(name: impl std::fmt::Display, error: &io::Error) -> Error {
    use io::ErrorKind as E;
    let (kind, hint) = match error.kind() {
        E::StorageFull | E::QuotaExceeded | E::FileTooLarge => (
            Kind::Retryable,
            "writing goes on when there is room on the disk",
        ),
        E::ReadOnlyFilesystem | E::PermissionDenied => (
            Kind::Retryable,
            "writing goes on when this process may write there",
        ),
        E::NotADirectory | E::IsADirectory | E::AlreadyExists | E::InvalidInput => (
            Kind::User,
            "the path of a table that is written is a folder; is there a file of that name?",
        ),
        _ => (
            Kind::Retryable,
            "is there room on the disk, and may this process write there?",
        ),
    };
    Error::new(kind, format!("the file '{name}' cannot be written"))
        .detail(error.to_string())
        .hint(hint)
}

/// After a failed sync nobody knows what is on the disk, and the next sync would succeed all the same: the rows have to
/// be written again, which is for whoever still has them.
pub(super) fn sync_error(name: impl std::fmt::Display, error: &io::Error) -> Error {
    Error::internal(format!("the file '{name}' could not be made durable"))
        .detail(error.to_string())
        .hint("the disk failed; rows since the last checkpoint are written again when the job goes on from it")
}
