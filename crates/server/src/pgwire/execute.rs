//! Statements run: by DataFusion, by the engine, by the session; and their rows sent.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millstream_engine::Response;
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::response::CommandComplete;
use std::sync::Arc;

use super::cancel::Interrupt;
use super::connection::Connection;
use super::error::{SqlError, notice};
use super::script::{Command, Piece};
use super::statement::{Reading, RowSource};
use super::types;
use super::wire::{Failure, OUTPUT_BYTES, Output};

/// What a statement of the session gives.
pub(crate) enum Answer {
    /// Its command tag.
    Done(String),
    /// Rows, and the tag that goes before their count.
    Rows(SchemaRef, Vec<RecordBatch>, &'static str),
    /// Rows of a cursor: at most so many.
    Cursor {
        name: String,
        rows_max: Option<usize>,
        is_move: bool,
    },
}

impl Connection {
    /// One statement of the simple protocol.
    pub(crate) async fn simple(
        &mut self,
        piece: &Piece,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        match &piece.command {
            Command::Query => {
                let queries = Arc::clone(&self.port.queries);
                let planned = interrupt
                    .guard(queries.prepare(self.variables(), piece, &[]))
                    .await?;
                if !planned.parameters.is_empty() {
                    return Err(SqlError::new("42P02", "there is no parameter $1").into());
                }
                let rows = interrupt
                    .guard(queries.open(self.variables(), &planned, Vec::new()))
                    .await?;
                self.describe(&planned.schema);
                let mut reading =
                    self.reading(Arc::clone(&planned.schema), &[], RowSource::Query(rows));
                let (sent, _) = reading.send(&mut self.output, interrupt, None).await?;
                self.complete(format!("SELECT {sent}"));
            }
            Command::Engine => {
                for response in self.port.queries.change(piece).await? {
                    self.respond(response, interrupt).await?;
                }
            }
            Command::Session(command) => {
                let answer = self.command(command, piece, interrupt).await?;
                self.answer(answer, true, interrupt).await?;
            }
        }
        Ok(())
    }

    /// A statement of the engine's, answered with the description of its rows.
    async fn respond(
        &mut self,
        response: Response,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        match response {
            Response::Done { tag, notes } => {
                notes.iter().for_each(|note| self.output.put(&notice(note)));
                self.complete(command_tag(&tag));
            }
            Response::Rows { schema, batches } => {
                self.describe(&schema);
                self.send_batches(schema, batches, &[], interrupt, "SELECT")
                    .await?;
            }
        }
        Ok(())
    }

    /// The answer of a session's statement; `describes` in the simple protocol.
    pub(crate) async fn answer(
        &mut self,
        answer: Answer,
        describes: bool,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        match answer {
            Answer::Done(tag) => self.complete(tag),
            Answer::Rows(schema, batches, tag) => {
                if describes {
                    self.describe(&schema);
                }
                self.send_batches(schema, batches, &[], interrupt, tag)
                    .await?;
            }
            Answer::Cursor {
                name,
                rows_max,
                is_move,
            } => {
                self.fetch(&name, rows_max, is_move, describes, interrupt)
                    .await?
            }
        }
        Ok(())
    }

    /// Sends rows that are there.
    pub(crate) async fn send_batches(
        &mut self,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        formats: &[i16],
        interrupt: &mut Interrupt,
        tag: &str,
    ) -> Result<(), Failure> {
        let mut reading = self.reading(schema, formats, RowSource::Batches(batches.into_iter()));
        let (sent, _) = reading.send(&mut self.output, interrupt, None).await?;
        self.complete(if tag == "SELECT" {
            format!("SELECT {sent}")
        } else {
            tag.to_owned()
        });
        Ok(())
    }

    pub(crate) fn reading(&self, schema: SchemaRef, formats: &[i16], source: RowSource) -> Reading {
        Reading::new(schema, formats, &self.session.settings.time_zone(), source)
    }

    pub(crate) fn describe(&mut self, schema: &SchemaRef) {
        self.output
            .put(&Message::RowDescription(types::description(schema, &[])));
    }

    pub(crate) fn complete(&mut self, tag: String) {
        self.output
            .put(&Message::CommandComplete(CommandComplete::new(tag)));
    }
}

/// Postgres's tag of an INSERT has numbers that drivers read; how many rows a continuous one will write nobody knows.
fn command_tag(tag: &str) -> String {
    if tag == "INSERT" {
        "INSERT 0 0".to_owned()
    } else {
        tag.to_owned()
    }
}

impl Reading {
    /// Sends rows, at most so many. Gives how many there were, and whether there may be more.
    pub(crate) async fn send(
        &mut self,
        output: &mut Output,
        interrupt: &mut Interrupt,
        rows_max: Option<usize>,
    ) -> Result<(usize, bool), Failure> {
        let mut sent = 0;
        loop {
            let Some((batch, from)) = self.batch.take() else {
                match interrupt.guard(self.source.next()).await? {
                    Some(batch) => self.batch = Some((batch, 0)),
                    None => return Ok((sent, false)),
                }
                continue;
            };
            let until = rows_max.map_or(batch.num_rows(), |rows_max| {
                batch.num_rows().min(from + (rows_max - sent))
            });
            let part = batch.slice(from, until - from);
            let typed = self.layout.batch(&part).map_err(arrow_error)?;
            for row in 0..part.num_rows() {
                let before = output.buffer.len();
                if let Err(error) = typed.write(row, &mut output.buffer) {
                    output.buffer.truncate(before);
                    return Err(arrow_error(error).into());
                }
                // In pieces, so that a slow client holds no more than that.
                if output.buffer.len() >= OUTPUT_BYTES {
                    interrupt.guard(output.flush()).await?;
                }
            }
            sent += until - from;
            if until < batch.num_rows() {
                self.batch = Some((batch, until));
            }
            if rows_max.is_some_and(|rows_max| sent >= rows_max) {
                return Ok((sent, true));
            }
        }
    }

    /// Passes over rows.
    pub(crate) async fn skip(
        &mut self,
        interrupt: &mut Interrupt,
        rows_max: Option<usize>,
    ) -> Result<usize, Failure> {
        let mut passed = 0;
        while rows_max.is_none_or(|rows_max| passed < rows_max) {
            match self.batch.take() {
                Some((batch, from)) => {
                    let until = rows_max.map_or(batch.num_rows(), |rows_max| {
                        batch.num_rows().min(from + rows_max - passed)
                    });
                    passed += until - from;
                    if until < batch.num_rows() {
                        self.batch = Some((batch, until));
                    }
                }
                None => match interrupt.guard(self.source.next()).await? {
                    Some(batch) => self.batch = Some((batch, 0)),
                    None => break,
                },
            }
        }
        Ok(passed)
    }
}

impl RowSource {
    async fn next(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        match self {
            Self::Query(rows) => rows.next().await,
            Self::Batches(batches) => Ok(batches.next()),
        }
    }
}

fn arrow_error(error: arrow::error::ArrowError) -> SqlError {
    datafusion::common::DataFusionError::from(error).into()
}

/// A schema of texts.
pub(crate) fn text_schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(
        names
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, false))
            .collect::<Vec<_>>(),
    ))
}
