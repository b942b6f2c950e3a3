//! Bytes in and out of a connection, with bounds on size and time.
//!
//! A frame is read only as far as it comes: a length that is announced costs nothing. What is written waits in a buffer that keeps what
//! the socket has not taken, so that a statement can be cut off between two awaits and the stream of messages stays whole.

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::error::SqlError;

/// Bytes of a message at most, for those that carry texts and parameters.
const LONG_FRAME_BYTES_MAX: usize = 16 << 20;
/// And for the others.
const SHORT_FRAME_BYTES_MAX: usize = 64 << 10;
/// Bytes of a startup packet at most, as in Postgres.
const STARTUP_BYTES_MAX: usize = 10_000;
/// From how many bytes on output is sent without being asked to.
pub(crate) const OUTPUT_BYTES: usize = 64 << 10;

/// Why a connection can't go on, or a statement can't.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client is gone, or does not read or finish what it began.
    Io(io::Error),
    /// The client is told.
    Sql(Box<SqlError>),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Sql(Box::new(error))
    }
}

/// What a client sends.
#[derive(Debug)]
pub(crate) struct Input {
    reader: OwnedReadHalf,
    buffer: BytesMut,
    /// How long a message that has begun may take to arrive.
    patience: Duration,
}

impl Input {
    pub(crate) fn new(reader: OwnedReadHalf, patience: Duration) -> Self {
        Self {
            reader,
            buffer: BytesMut::new(),
            patience,
        }
    }

    /// The next message's type and body; `None` when the client has gone between two messages.
    pub(crate) async fn frame(&mut self) -> Result<Option<(u8, Bytes)>, Failure> {
        if self.buffer.is_empty() && self.reader.read_buf(&mut self.buffer).await? == 0 {
            return Ok(None);
        }
        let patience = self.patience;
        let rest = timeout(patience, self.rest_of_frame()).await;
        rest.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "a message was not finished"))?
            .map(Some)
    }

    async fn rest_of_frame(&mut self) -> Result<(u8, Bytes), Failure> {
        self.fill(5).await?;
        let kind = self.buffer[0];
        let length = u32::from_be_bytes([
            self.buffer[1],
            self.buffer[2],
            self.buffer[3],
            self.buffer[4],
        ]) as usize;
        let length_max = if matches!(kind, b'Q' | b'P' | b'B' | b'd') {
            LONG_FRAME_BYTES_MAX
        } else {
            SHORT_FRAME_BYTES_MAX
        };
        if !kind.is_ascii_alphabetic() {
            return Err(
                SqlError::fatal("08P01", format!("invalid frontend message type {kind}")).into(),
            );
        }
        if !(4..=length_max).contains(&length) {
            return Err(SqlError::fatal(
                "08P01",
                format!("invalid message length: {length} bytes, {length_max} at most"),
            )
            .into());
        }
        self.fill(1 + length).await?;
        self.buffer.advance(5);
        let body = self.buffer.split_to(length - 4).freeze();
        // An idle connection holds no buffer.
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok((kind, body))
    }

    /// The body of a packet before the startup is done: it has a length and no type.
    pub(crate) async fn startup_packet(&mut self) -> Result<Bytes, Failure> {
        self.fill(4).await?;
        let length = u32::from_be_bytes([
            self.buffer[0],
            self.buffer[1],
            self.buffer[2],
            self.buffer[3],
        ]) as usize;
        if !(8..=STARTUP_BYTES_MAX).contains(&length) {
            return Err(SqlError::fatal("08P01", "invalid length of startup packet").into());
        }
        self.fill(length).await?;
        self.buffer.advance(4);
        Ok(self.buffer.split_to(length - 4).freeze())
    }

    async fn fill(&mut self, length: usize) -> Result<(), Failure> {
        while self.buffer.len() < length {
            self.buffer
                .reserve((length - self.buffer.len()).min(OUTPUT_BYTES));
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }
}

/// What a client gets.
#[derive(Debug)]
pub(crate) struct Output {
    writer: OwnedWriteHalf,
    pub buffer: BytesMut,
    /// How long a client may take nothing of what waits for it.
    patience: Duration,
}

impl Output {
    pub(crate) fn new(writer: OwnedWriteHalf, patience: Duration) -> Self {
        Self {
            writer,
            buffer: BytesMut::new(),
            patience,
        }
    }

    /// Puts a message behind what waits.
    pub(crate) fn put(&mut self, message: &PgWireBackendMessage) {
        let before = self.buffer.len();
        if let Err(error) = message.encode(&mut self.buffer) {
            self.buffer.truncate(before);
            tracing::error!(%error, "a message could not be encoded");
        }
    }

    /// Sends what waits if it is much.
    pub(crate) async fn relieve(&mut self) -> io::Result<()> {
        if self.buffer.len() >= OUTPUT_BYTES {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Sends what waits. Can be dropped at any await: what was not sent still waits.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            let written = timeout(self.patience, self.writer.write_buf(&mut self.buffer)).await;
            if written.map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, "the client does not read")
            })?? == 0
            {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        if self.buffer.capacity() > OUTPUT_BYTES * 4 {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }

    /// Sends bytes that are no message.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.flush().await
    }
}
