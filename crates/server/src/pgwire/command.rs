//! Statements about the session: BEGIN, SET, SHOW, DISCARD, cursors.

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use pgwire::messages::response::TransactionStatus;
use std::sync::Arc;

use super::cancel::Interrupt;
use super::connection::Connection;
use super::error::{self, SqlError, notice};
use super::execute::{Answer, text_schema};
use super::script::{Command, Piece};
use super::statement::{Portal, PortalState, Prepared, RowSource};
use super::wire::Failure;
use super::words::SessionCommand;

impl Connection {
    /// Does what a statement asks of the session.
    pub(crate) async fn command(
        &mut self,
        command: &SessionCommand,
        piece: &Piece,
        interrupt: &mut Interrupt,
    ) -> Result<Answer, Failure> {
        let done = |tag: &str| Ok(Answer::Done(tag.to_owned()));
        match command {
            SessionCommand::Begin(tag) => {
                if self.session.transaction == TransactionStatus::Transaction {
                    self.output
                        .put(&notice("there is already a transaction in progress"));
                }
                self.session.transaction = TransactionStatus::Transaction;
                done(tag)
            }
            SessionCommand::Commit | SessionCommand::Rollback => {
                done(self.end(*command == SessionCommand::Commit))
            }
            SessionCommand::Savepoint(tag) => {
                self.savepoint(tag)?;
                done(tag)
            }
            SessionCommand::Set { name, value } => {
                let changed = self.session.set(name, value.as_deref())?;
                self.report(changed);
                done("SET")
            }
            SessionCommand::SetTransaction => done("SET"),
            SessionCommand::Reset(name) => {
                let changed = match name {
                    Some(name) => self.session.set(name, None)?.into_iter().collect(),
                    None => self.session.reset_all(),
                };
                self.report(changed);
                done("RESET")
            }
            SessionCommand::Show(name) => self.show(name.as_deref()),
            SessionCommand::Discard(tag) => {
                self.discard(tag);
                done(tag)
            }
            SessionCommand::Deallocate(name) => {
                self.deallocate(name.as_deref())?;
                done(if name.is_some() {
                    "DEALLOCATE"
                } else {
                    "DEALLOCATE ALL"
                })
            }
            SessionCommand::Declare { name, query_from } => {
                self.declare(name, piece, *query_from, interrupt).await
            }
            SessionCommand::Fetch {
                name,
                rows,
                is_move,
            } => Ok(Answer::Cursor {
                name: name.clone(),
                rows_max: *rows,
                is_move: *is_move,
            }),
            SessionCommand::CloseCursor(name) => {
                Ok(Answer::Done(self.close_cursor(name.as_deref())?))
            }
        }
    }

    /// Ends the transaction. Gives the tag: one that failed is rolled back whatever was asked for.
    fn end(&mut self, commits: bool) -> &'static str {
        let failed = self.session.transaction == TransactionStatus::Error;
        if self.session.transaction == TransactionStatus::Idle {
            self.output
                .put(&notice("there is no transaction in progress"));
        }
        self.session.transaction = TransactionStatus::Idle;
        self.session.close_portals();
        if commits && !failed {
            "COMMIT"
        } else {
            "ROLLBACK"
        }
    }

    fn close_cursor(&mut self, name: Option<&str>) -> error::Result<String> {
        match name {
            Some(name) if !self.session.close_portal(name) => return Err(no_cursor(name)),
            Some(_) => {}
            None => self.session.close_portals(),
        }
        Ok(if name.is_some() {
            "CLOSE CURSOR"
        } else {
            "CLOSE CURSOR ALL"
        }
        .to_owned())
    }

    /// There is nothing to go back to, but what failed is over.
    fn savepoint(&mut self, tag: &str) -> error::Result<()> {
        match (self.session.transaction, tag) {
            (TransactionStatus::Idle, _) => Err(SqlError::new(
                "25P01",
                format!("{tag} can only be used in transaction blocks"),
            )),
            (TransactionStatus::Error, "ROLLBACK") => {
                self.session.transaction = TransactionStatus::Transaction;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn show(&self, name: Option<&str>) -> Result<Answer, Failure> {
        let (columns, rows) = match name {
            Some(name) => {
                let (name, value) = self.session.settings.require(name)?;
                (vec![name], vec![vec![value]])
            }
            None => {
                let rows = self
                    .session
                    .settings
                    .all()
                    .into_iter()
                    .map(|(name, value)| vec![name, value, String::new()]);
                (
                    ["name", "setting", "description"]
                        .map(str::to_owned)
                        .to_vec(),
                    rows.collect(),
                )
            }
        };
        let schema = text_schema(&columns.iter().map(String::as_str).collect::<Vec<_>>());
        let arrays = (0..columns.len()).map(|idx| {
            Arc::new(
                rows.iter()
                    .map(|row| Some(row[idx].as_str()))
                    .collect::<StringArray>(),
            ) as ArrayRef
        });
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect())
            .map_err(|error| SqlError::internal(error.to_string()))?;
        Ok(Answer::Rows(schema, vec![batch], "SHOW"))
    }

    fn discard(&mut self, tag: &str) {
        if tag == "DISCARD ALL" {
            self.session.close_portals();
            let changed = self.session.reset_all();
            self.report(changed);
        }
        if matches!(tag, "DISCARD ALL" | "DISCARD PLANS") {
            self.session.forget_statements();
        }
    }

    fn deallocate(&mut self, name: Option<&str>) -> error::Result<()> {
        match name {
            Some(name) if !self.session.forget_statement(name) => Err(SqlError::new(
                "26000",
                format!("prepared statement \"{name}\" does not exist"),
            )),
            Some(_) => Ok(()),
            None => {
                self.session.forget_statements();
                Ok(())
            }
        }
    }

    /// DECLARE: the query begins now, so that all that is fetched is of one step.
    async fn declare(
        &mut self,
        name: &str,
        piece: &Piece,
        query_from: usize,
        interrupt: &mut Interrupt,
    ) -> Result<Answer, Failure> {
        if self.session.transaction == TransactionStatus::Idle {
            return Err(SqlError::new(
                "25P01",
                "DECLARE CURSOR can only be used in transaction blocks",
            )
            .into());
        }
        let tokens = piece.tokens.get(query_from..).unwrap_or_default().to_vec();
        let text = tokens
            .iter()
            .map(|token| token.token.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let query = Piece {
            tokens,
            text,
            command: Command::Query,
        };
        let queries = Arc::clone(&self.port.queries);
        let planned = interrupt
            .guard(queries.prepare(self.variables(), &query, &[]))
            .await?;
        let rows = interrupt
            .guard(queries.open(self.variables(), &planned, Vec::new()))
            .await?;
        let reading = self.reading(Arc::clone(&planned.schema), &[], RowSource::Query(rows));
        let prepared = Prepared {
            text: String::new(),
            piece: Some(query),
            declared: Vec::new(),
            planned: Some(planned),
        };
        let portal = Portal {
            prepared: Arc::new(prepared),
            values: Vec::new(),
            formats: Vec::new(),
            state: PortalState::Running(Box::new(reading)),
        };
        self.session.keep_portal(name.to_owned(), portal)?;
        Ok(Answer::Done("DECLARE CURSOR".to_owned()))
    }

    /// FETCH and MOVE.
    pub(crate) async fn fetch(
        &mut self,
        name: &str,
        rows_max: Option<usize>,
        is_move: bool,
        describes: bool,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        let mut portal = self
            .session
            .take_portal(name)
            .map_err(|_| no_cursor(name))?;
        if let (true, false, Some(planned)) = (describes, is_move, &portal.prepared.planned) {
            self.describe(&planned.schema);
        }
        let count = match &mut portal.state {
            PortalState::Running(reading) if is_move => reading.skip(interrupt, rows_max).await?,
            PortalState::Running(reading) => {
                reading.send(&mut self.output, interrupt, rows_max).await?.0
            }
            PortalState::New | PortalState::Done { .. } => 0,
        };
        self.session.keep_portal(name.to_owned(), portal)?;
        self.complete(format!(
            "{} {count}",
            if is_move { "MOVE" } else { "FETCH" }
        ));
        Ok(())
    }
}

fn no_cursor(name: &str) -> SqlError {
    SqlError::new("34000", format!("cursor \"{name}\" does not exist"))
}
