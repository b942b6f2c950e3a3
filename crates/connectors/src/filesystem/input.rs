//! The bytes of a file from a position on: decompressed where it is compressed, read in ranges where it is remote.

use super::location::{Entry, Location};
use super::remote::{Remote, runtime, store_error};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use millstream_dataflow::{Error, Options, Result};
use object_store::ObjectStoreExt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Remote files are fetched in ranges of so many bytes.
const RANGE: u64 = 8 << 20;

/// How a file's bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// As they are.
    Plain,
    /// gzip, also of several members.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// The option 'compression': for all files, or `None` to go by each file's name.
    pub(crate) fn option(options: &mut Options) -> Result<Option<Self>> {
        let word = options.word("compression", &["auto", "none", "gzip", "zstd"])?;
        Ok(match word.as_str() {
            "none" => Some(Self::Plain),
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        })
    }

    /// By the end of a file's name.
    pub(crate) fn of(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        if lower.ends_with(".gz") || lower.ends_with(".gzip") {
            Self::Gzip
        } else if lower.ends_with(".zst") || lower.ends_with(".zstd") {
            Self::Zstd
        } else {
            Self::Plain
        }
    }

    /// What a file's name ends with.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// A file's bytes from a position on; in a compressed file positions count the bytes that come out.
pub(crate) fn open(
    location: &Location,
    file: &Entry,
    compression: Compression,
    from: u64,
) -> Result<Box<dyn Read + Send>> {
    let failed = |error: io::Error| read_error(&file.name, &error);
    let plain: Box<dyn Read + Send> = match location {
        Location::Local(_) => {
            let mut plain = File::open(&file.name).map_err(failed)?;
            if compression == Compression::Plain {
                plain.seek(SeekFrom::Start(from)).map_err(failed)?;
            }
            Box::new(plain)
        }
        Location::Remote(remote) => Box::new(Ranges {
            remote: remote.clone(),
            name: file.name.clone(),
            at: if compression == Compression::Plain {
                from
            } else {
                0
            },
            size: file.size,
            fetched: Bytes::new(),
        }),
    };
    let mut bytes: Box<dyn Read + Send> = match compression {
        Compression::Plain => return Ok(plain),
        Compression::Gzip => Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(
            1 << 17,
            plain,
        ))),
        Compression::Zstd => Box::new(zstd::Decoder::new(plain).map_err(failed)?),
    };
    let skipped = io::copy(&mut bytes.by_ref().take(from), &mut io::sink()).map_err(failed)?;
    if skipped < from {
        return Err(truncated(&file.name, from, skipped));
    }
    Ok(bytes)
}

/// A file that cannot be read, or not any further.
pub(crate) fn read_error(name: &str, error: &io::Error) -> Error {
    // What a store said keeps its kind: it may be retryable.
    let of_store = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    if let Some(of_store) = of_store {
        return of_store.clone();
    }
    let hint = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Some(
                "it is cut off or damaged, or compressed in another way than its name or 'compression' says",
            )
        }
        io::ErrorKind::Interrupted | io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            return Error::retryable(format!("the file '{name}' cannot be read now"))
                .detail(error.to_string());
        }
        _ => None,
    };
    let read = Error::user(format!("the file '{name}' cannot be read")).detail(error.to_string());
    match hint {
        Some(hint) => read.hint(hint),
        None => read,
    }
}

/// A file that is shorter than it was.
pub(crate) fn truncated(name: &str, wanted: u64, found: u64) -> Error {
    Error::user(format!(
        "the file '{name}' ends at byte {found}, but was {wanted} bytes long: it was cut off while a job reads it"
    ))
    .hint("write a file under another name and rename it into place when it is whole")
}

/// A remote file as a stream.
struct Ranges {
    remote: Remote,
    name: String,
    at: u64,
    size: u64,
    fetched: Bytes,
}

impl Read for Ranges {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.fetched.is_empty() && self.at < self.size {
            self.fetched = fetch(
                &self.remote,
                &self.name,
                self.at,
                RANGE.min(self.size - self.at),
            )
            .map_err(io::Error::other)?;
            self.at += self.fetched.len() as u64;
        }
        let count = out.len().min(self.fetched.len());
        out[..count].copy_from_slice(&self.fetched.split_to(count));
        Ok(count)
    }
}

/// Some bytes of a remote file.
pub(crate) fn fetch(remote: &Remote, name: &str, from: u64, length: u64) -> Result<Bytes> {
    let path = remote.object(name)?;
    runtime()?
        .block_on(remote.store().get_range(&path, from..from + length))
        .map_err(|error| store_error(&format!("the file '{name}' cannot be read"), &error))
}
