//! The Postgres wire protocol: any client of Postgres reads the views.
//!
//! ```text
//! wire        frames in, messages out, bounded in size and time
//! startup     greeting -> session
//! connection  one message after the other; an error, and what is skipped after it
//! script      texts -> statements
//! words       who answers a statement                        command   those that are answered here
//! statement   prepared statements, portals                   execute   rows to the client
//! types, rows (text, numeric, json), parameters (binary)     values, both ways
//! ```
//! The messages are pgwire's; its connection loop is not used: it sizes buffers by what clients announce, holds whole results, and
//! does not watch over a statement while its rows are sent.

mod binary;
mod cancel;
mod command;
mod connection;
pub(crate) mod dialect;
pub(crate) mod error;
mod execute;
mod extended;
mod frontend;
mod json;
mod numeric;
pub(crate) mod parameters;
mod rows;
pub(crate) mod script;
mod session;
pub(crate) mod settings;
mod startup;
mod statement;
mod text;
mod types;
mod wire;
mod words;

use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::query::Queries;
use cancel::Cancels;
use connection::Connection;
use error::SqlError;
pub(crate) use types::Format;
use wire::{Failure, Input, Output};

/// How patient the port is, and with how many.
#[derive(Clone, Copy, Debug)]
pub struct PgLimits {
    /// Connections at a time.
    pub connections_max: usize,
    /// How long a client may take to say who it is.
    pub startup: Duration,
    /// How long a message that has begun may take, and how long a client may take nothing of its answer.
    pub patience: Duration,
}

impl Default for PgLimits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            startup: Duration::from_secs(10),
            patience: Duration::from_secs(30),
        }
    }
}

/// What all connections share.
pub(crate) struct Port {
    pub queries: Arc<Queries>,
    pub cancels: Arc<Cancels>,
    limits: PgLimits,
}

impl Port {
    pub(crate) fn new(queries: Arc<Queries>, limits: PgLimits) -> Self {
        Self {
            queries,
            cancels: Arc::default(),
            limits,
        }
    }

    /// How many clients are connected.
    pub(crate) fn connections(&self) -> usize {
        self.cancels.connections()
    }

    /// Takes connections for ever.
    pub(crate) async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let port = Arc::clone(&self);
                    tokio::spawn(async move {
                        match port.serve(stream).await {
                            Ok(()) => {}
                            Err(error) => tracing::debug!(%peer, %error, "a connection ended"),
                        }
                    });
                }
                Err(error) => {
                    // Too many open files, most likely: others must close before it gets better.
                    tracing::warn!(%error, "cannot accept a connection");
                    let _ = timeout(Duration::from_millis(50), std::future::pending::<()>()).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let (mut input, mut output) = (
            Input::new(reader, self.limits.patience),
            Output::new(writer, self.limits.patience),
        );
        if self.connections() >= self.limits.connections_max {
            output.put(&SqlError::fatal("53300", "sorry, too many clients already").message(""));
            return output.flush().await;
        }
        let greeted = timeout(
            self.limits.startup,
            startup::greet(&mut input, &mut output, &self.cancels),
        )
        .await;
        match greeted
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the startup was not finished"))?
        {
            Ok(Some((session, registration))) => {
                Connection::new(self, input, output, session, registration)
                    .run()
                    .await
            }
            Ok(None) => Ok(()),
            Err(Failure::Io(error)) => Err(error),
            Err(Failure::Sql(error)) => {
                output.put(
                    &SqlError {
                        fatal: true,
                        ..*error
                    }
                    .message(""),
                );
                output.flush().await
            }
        }
    }
}
