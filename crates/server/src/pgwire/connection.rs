//! One connection: a message, its answer, the next message.
//!
//! After an error in the extended protocol everything up to Sync is skipped, so that a client that sent ahead is not answered for what
//! it would not have sent.

use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::response::{EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use std::io;
use std::sync::Arc;
use tokio::time::timeout;

use super::cancel::{Interrupt, Registration};
use super::error::SqlError;
use super::frontend::Frontend;
use super::script::{Command, Piece};
use super::session::Session;
use super::wire::{Failure, Input, Output};
use super::{Port, error};
use crate::query::Variables;

/// A connection whose startup is done.
pub(crate) struct Connection {
    pub port: Arc<Port>,
    input: Input,
    pub output: Output,
    pub session: Session,
    registration: Registration,
    skips_to_sync: bool,
}

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Continue,
    End,
}

impl Connection {
    pub(crate) fn new(
        port: Arc<Port>,
        input: Input,
        output: Output,
        session: Session,
        registration: Registration,
    ) -> Self {
        Self {
            port,
            input,
            output,
            session,
            registration,
            skips_to_sync: false,
        }
    }

    /// Answers messages until the client goes.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        loop {
            let step = match self.next().await {
                Ok(Some((kind, body))) => self.message(kind, body).await,
                Ok(None) => return Ok(()),
                Err(failure) => Err(failure),
            };
            match step {
                Ok(Flow::Continue) => {}
                Ok(Flow::End) => return Ok(()),
                Err(Failure::Io(error)) => return Err(error),
                Err(Failure::Sql(error)) => {
                    self.output.put(&error.message(""));
                    return self.output.flush().await;
                }
            }
        }
    }

    /// The next message. Who holds rows and does nothing is sent away.
    async fn next(&mut self) -> Result<Option<(u8, bytes::Bytes)>, Failure> {
        let waits = self
            .session
            .settings
            .idle_in_transaction_timeout()
            .filter(|_| self.session.holds_rows());
        match waits {
            None => self.input.frame().await,
            Some(patience) => timeout(patience, self.input.frame())
                .await
                .unwrap_or_else(|_| {
                    Err(SqlError::fatal(
                        "25P03",
                        "terminating connection due to idle-in-transaction timeout",
                    )
                    .into())
                }),
        }
    }

    /// Answers one message; only what ends the connection is an error.
    async fn message(&mut self, kind: u8, body: bytes::Bytes) -> Result<Flow, Failure> {
        let message = match Frontend::decode(kind, body) {
            Ok(message) => message,
            Err(malformed) => {
                let error = SqlError::from(malformed);
                return if error.fatal {
                    Err(error.into())
                } else {
                    self.failed(kind == b'Q', "", Failure::from(error)).await
                };
            }
        };
        if self.skips_to_sync && !matches!(message, Frontend::Sync | Frontend::Terminate) {
            return Ok(Flow::Continue);
        }
        match message {
            Frontend::Query(text) => {
                let done = self.query(&text).await;
                match done {
                    Ok(()) => self.ready().await?,
                    Err(failure) => return self.failed(true, &text, failure).await,
                }
            }
            Frontend::Sync => {
                self.skips_to_sync = false;
                self.ready().await?;
            }
            Frontend::Flush => self.output.flush().await?,
            Frontend::Terminate => return Ok(Flow::End),
            Frontend::Copy => {}
            Frontend::Password => {
                return Err(SqlError::fatal("08P01", "a password was not asked for").into());
            }
            extended => {
                let mut text = String::new();
                if let Err(failure) = self.extended(extended, &mut text).await {
                    return self.failed(false, &text, failure).await;
                }
                self.output.relieve().await?;
            }
        }
        Ok(Flow::Continue)
    }

    /// Tells of an error, and goes on.
    async fn failed(
        &mut self,
        is_simple: bool,
        text: &str,
        failure: Failure,
    ) -> Result<Flow, Failure> {
        let error = match failure {
            Failure::Io(error) => return Err(error.into()),
            Failure::Sql(error) if error.fatal => return Err(Failure::Sql(error)),
            Failure::Sql(error) => error,
        };
        self.output.put(&error.message(text));
        self.session.failed();
        if is_simple {
            self.ready().await?;
        } else {
            self.skips_to_sync = true;
            self.output.relieve().await?;
        }
        Ok(Flow::Continue)
    }

    async fn ready(&mut self) -> io::Result<()> {
        self.session.settled();
        self.output.put(&Message::ReadyForQuery(ReadyForQuery::new(
            self.session.transaction,
        )));
        self.output.flush().await
    }

    /// The simple protocol: all statements of a text, until one fails.
    async fn query(&mut self, text: &str) -> Result<(), Failure> {
        let pieces = self.port.queries.cut(text).await?;
        if pieces.is_empty() {
            self.output
                .put(&Message::EmptyQueryResponse(EmptyQueryResponse::new()));
        }
        for piece in pieces {
            self.check_transaction(&piece)?;
            let mut interrupt = self.interrupt();
            self.simple(&piece, &mut interrupt).await?;
        }
        Ok(())
    }

    /// In a failed transaction nothing is done but to end it.
    pub(crate) fn check_transaction(&self, piece: &Piece) -> error::Result<()> {
        use super::words::SessionCommand::{Commit, Rollback, Savepoint};
        let ends = matches!(
            piece.command,
            Command::Session(Commit | Rollback | Savepoint("ROLLBACK"))
        );
        if self.session.transaction == TransactionStatus::Error && !ends {
            return Err(SqlError::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    /// Watches over a statement from now on.
    pub(crate) fn interrupt(&self) -> Interrupt {
        self.registration
            .statement(self.session.settings.statement_timeout())
    }

    /// The session as its queries see it.
    pub(crate) fn variables(&self) -> Variables {
        Variables {
            user: self.session.user.clone(),
            pid: self.registration.pid,
            settings: self.session.settings.clone(),
        }
    }

    /// Tells of a setting that has changed.
    pub(crate) fn report(&mut self, changed: impl IntoIterator<Item = (&'static str, String)>) {
        for (name, value) in changed {
            self.output
                .put(&Message::ParameterStatus(ParameterStatus::new(
                    name.to_owned(),
                    value,
                )));
        }
    }
}
