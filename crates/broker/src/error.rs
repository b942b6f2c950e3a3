//! What can go wrong in starting and running a broker.
//!
//! Errors that belong in an answer to a client are Kafka's own codes ([`kafka_protocol::error::ResponseError`]);
//! this enum is for everything that a client cannot be told.

use std::{io, path::PathBuf};

/// An error of the broker itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {source}; choose another port, or 0 for any free one")]
    Listen {
        /// The address that was asked for.
        address: std::net::SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file holds something that the broker did not write.
    #[error("{} is damaged at byte {position}: {what}; restore the file or delete its folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// What is wrong there.
        what: String,
    },
    /// A second broker uses the same folder.
    #[error("{} is in use by another broker; give each its own folder", .0.display())]
    InUse(PathBuf),
    /// The broker's threads could not be started.
    #[error("cannot start the broker's threads: {0}")]
    Threads(io::Error),
    /// The broker ended while it was being started.
    #[error("the broker stopped while it was starting")]
    Stopped,
}

/// The result of the broker's own operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Names the file when an I/O operation fails.
pub(crate) trait At<T> {
    /// Says what was tried on which path.
    fn at(self, doing: &'static str, path: &std::path::Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &std::path::Path) -> Result<T> {
        self.map_err(|source| Error::File {
            doing,
            path: path.to_path_buf(),
            source,
        })
    }
}
