//! The extended protocol: Parse, Bind, Describe, Execute, Close.

use arrow::datatypes::SchemaRef;
use millstream_engine::Response;
use pgwire::api::Type;
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    BindComplete, CloseComplete, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::EmptyQueryResponse;
use std::sync::Arc;

use super::cancel::Interrupt;
use super::connection::Connection;
use super::error::{Result, SqlError, notice};
use super::execute::text_schema;
use super::frontend::{Bind, Frontend, Target};
use super::script::{Command, Piece};
use super::statement::{Portal, PortalState, Prepared, Reading, RowSource};
use super::types::{self, Format};
use super::wire::Failure;
use super::words::SessionCommand;
use crate::query::Planned;

impl Connection {
    /// Answers a message. `text` gets the statement's text, for the place of an error.
    pub(crate) async fn extended(
        &mut self,
        message: Frontend,
        text: &mut String,
    ) -> Result<(), Failure> {
        match message {
            Frontend::Parse {
                name,
                text: sent,
                types,
            } => {
                text.clone_from(&sent);
                self.parse(name, sent, &types).await?;
                self.output
                    .put(&Message::ParseComplete(ParseComplete::new()));
            }
            Frontend::Bind(bind) => {
                self.bind(bind).await?;
                self.output.put(&Message::BindComplete(BindComplete::new()));
            }
            Frontend::Describe(target) => self.describe_target(&target).await?,
            Frontend::Execute { portal, rows_max } => {
                let rows_max = usize::try_from(rows_max)
                    .ok()
                    .filter(|rows_max| *rows_max > 0);
                self.execute(&portal, rows_max, text).await?;
            }
            Frontend::Close(target) => {
                match target {
                    Target::Statement(name) => drop(self.session.forget_statement(&name)),
                    Target::Portal(name) => drop(self.session.close_portal(&name)),
                }
                self.output
                    .put(&Message::CloseComplete(CloseComplete::new()));
            }
            Frontend::Query(_)
            | Frontend::Flush
            | Frontend::Sync
            | Frontend::Terminate
            | Frontend::Copy
            | Frontend::Password => {
                return Err(SqlError::internal("not a message of the extended protocol").into());
            }
        }
        Ok(())
    }

    async fn parse(&mut self, name: String, text: String, types: &[u32]) -> Result<(), Failure> {
        let mut pieces = self.port.queries.cut(&text).await?;
        if pieces.len() > 1 {
            return Err(SqlError::new(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            )
            .into());
        }
        let piece = pieces.pop();
        let declared: Vec<Type> = types
            .iter()
            .map(|oid| Type::from_oid(*oid).unwrap_or(Type::UNKNOWN))
            .collect();
        let planned = match &piece {
            Some(piece) => {
                self.check_transaction(piece)?;
                let mut interrupt = self.interrupt();
                self.plan(piece, &declared, &mut interrupt).await?
            }
            None => None,
        };
        self.session.keep_statement(
            name,
            Prepared {
                text,
                piece,
                declared,
                planned,
            },
        )?;
        Ok(())
    }

    /// The plan of a query; of other statements there is none.
    async fn plan(
        &self,
        piece: &Piece,
        declared: &[Type],
        interrupt: &mut Interrupt,
    ) -> Result<Option<Arc<Planned>>, Failure> {
        if piece.command != Command::Query {
            return Ok(None);
        }
        let queries = Arc::clone(&self.port.queries);
        interrupt
            .guard(queries.prepare(self.variables(), piece, declared))
            .await
            .map(Some)
    }

    async fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let prepared = self.session.statement(&bind.statement)?;
        let parameters = prepared
            .planned
            .as_ref()
            .map_or(&[][..], |planned| &planned.parameters);
        let (sent, wanted) = (bind.parameters.len(), parameters.len());
        if sent != wanted {
            let message = format!(
                "bind message supplies {sent} parameters, but prepared statement \"{}\" requires {wanted}",
                bind.statement
            );
            return Err(SqlError::new("08P01", message).into());
        }
        if bind.parameter_formats.len() > 1 && bind.parameter_formats.len() != sent {
            return Err(SqlError::new(
                "08P01",
                format!(
                    "bind message has {} parameter formats but {sent} parameters",
                    bind.parameter_formats.len()
                ),
            )
            .into());
        }
        let values = parameters.iter().enumerate().map(|(idx, parameter)| {
            let value = parameter.value(
                bind.parameters[idx].as_ref(),
                Format::of(&bind.parameter_formats, idx),
            );
            value.map_err(|error| SqlError {
                detail: Some(format!("parameter ${}", idx + 1).into_boxed_str()),
                ..error
            })
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        let columns = self
            .columns(&prepared)
            .await?
            .map_or(0, |schema| schema.fields().len());
        if bind.result_formats.len() > 1 && bind.result_formats.len() != columns {
            return Err(SqlError::new(
                "08P01",
                format!(
                    "bind message has {} result formats but query has {columns} columns",
                    bind.result_formats.len()
                ),
            )
            .into());
        }
        let portal = Portal {
            prepared,
            values,
            formats: bind.result_formats,
            state: PortalState::New,
        };
        self.session.keep_portal(bind.portal, portal)?;
        Ok(())
    }

    async fn describe_target(&mut self, target: &Target) -> Result<(), Failure> {
        let (prepared, formats) = match target {
            Target::Statement(name) => (self.session.statement(name)?, Vec::new()),
            Target::Portal(name) => {
                let portal = self.session.portal(name)?;
                (Arc::clone(&portal.prepared), portal.formats.clone())
            }
        };
        if let Target::Statement(_) = target {
            let parameters = prepared
                .planned
                .as_ref()
                .map_or(&[][..], |planned| &planned.parameters);
            let oids = parameters
                .iter()
                .map(|parameter| parameter.sent.oid())
                .collect();
            self.output
                .put(&Message::ParameterDescription(ParameterDescription::new(
                    oids,
                )));
        }
        match self.columns(&prepared).await? {
            Some(schema) => self.output.put(&Message::RowDescription(types::description(
                &schema, &formats,
            ))),
            None => self.output.put(&Message::NoData(NoData::new())),
        }
        Ok(())
    }

    /// The columns of a statement that gives rows. Lists of the engine say theirs when they are made: that changes nothing.
    async fn columns(&self, prepared: &Prepared) -> Result<Option<SchemaRef>> {
        let Some(piece) = &prepared.piece else {
            return Ok(None);
        };
        match &piece.command {
            Command::Query => Ok(prepared
                .planned
                .as_ref()
                .map(|planned| Arc::clone(&planned.schema))),
            Command::Session(SessionCommand::Show(Some(name))) => Ok(Some(text_schema(&[&self
                .session
                .settings
                .require(name)?
                .0]))),
            Command::Session(SessionCommand::Show(None)) => {
                Ok(Some(text_schema(&["name", "setting", "description"])))
            }
            Command::Session(SessionCommand::Fetch {
                name,
                is_move: false,
                ..
            }) => {
                let portal = self.session.portal(name)?;
                Ok(portal
                    .prepared
                    .planned
                    .as_ref()
                    .map(|planned| Arc::clone(&planned.schema)))
            }
            Command::Session(_) => Ok(None),
            Command::Engine if lists(piece) => {
                let responses = self.port.queries.change(piece).await?;
                Ok(responses.into_iter().find_map(|response| match response {
                    Response::Rows { schema, .. } => Some(schema),
                    Response::Done { .. } => None,
                }))
            }
            Command::Engine => Ok(None),
        }
    }

    async fn execute(
        &mut self,
        name: &str,
        rows_max: Option<usize>,
        text: &mut String,
    ) -> Result<(), Failure> {
        let mut portal = self.session.take_portal(name)?;
        let prepared = Arc::clone(&portal.prepared);
        text.clone_from(&prepared.text);
        let Some(piece) = &prepared.piece else {
            self.output
                .put(&Message::EmptyQueryResponse(EmptyQueryResponse::new()));
            return Ok(self.session.keep_portal(name.to_owned(), portal)?);
        };
        self.check_transaction(piece)?;
        let mut interrupt = self.interrupt();
        if let PortalState::New = portal.state {
            portal.state = self.start(&portal, piece, &mut interrupt).await?;
        } else if let PortalState::Done { tag } = portal.state {
            if tag.is_empty() {
                return Err(
                    SqlError::new("55000", format!("portal \"{name}\" cannot be run")).into(),
                );
            }
            self.complete(tag.to_owned());
        }
        if let PortalState::Running(reading) = &mut portal.state {
            let (sent, more) = reading
                .send(&mut self.output, &mut interrupt, rows_max)
                .await?;
            if more {
                self.output
                    .put(&Message::PortalSuspended(PortalSuspended::new()));
            } else {
                self.complete(format!("SELECT {sent}"));
                portal.state = PortalState::Done { tag: "SELECT 0" };
            }
        }
        // COMMIT and the like have closed all portals: then this one is not kept either.
        if !matches!(piece.command, Command::Session(_)) || self.session.portal(name).is_err() {
            self.session.keep_portal(name.to_owned(), portal)?;
        }
        Ok(())
    }

    /// Begins a portal. What gives no rows is done at once.
    async fn start(
        &mut self,
        portal: &Portal,
        piece: &Piece,
        interrupt: &mut Interrupt,
    ) -> Result<PortalState, Failure> {
        match &piece.command {
            Command::Query => self
                .start_query(portal, piece, interrupt)
                .await
                .map(|reading| PortalState::Running(Box::new(reading))),
            Command::Engine => {
                let mut rows = None;
                for response in self.port.queries.change(piece).await? {
                    match response {
                        Response::Rows { schema, batches } => {
                            rows = Some(self.reading(
                                schema,
                                &portal.formats,
                                RowSource::Batches(batches.into_iter()),
                            ))
                        }
                        Response::Done { tag, notes } => {
                            notes.iter().for_each(|note| self.output.put(&notice(note)));
                            self.complete(tag);
                        }
                    }
                }
                Ok(rows.map_or(PortalState::Done { tag: "" }, |reading| {
                    PortalState::Running(Box::new(reading))
                }))
            }
            Command::Session(command) => {
                let answer = self.command(command, piece, interrupt).await?;
                self.answer(answer, false, interrupt).await?;
                Ok(PortalState::Done { tag: "" })
            }
        }
    }

    async fn start_query(
        &mut self,
        portal: &Portal,
        piece: &Piece,
        interrupt: &mut Interrupt,
    ) -> Result<Reading, Failure> {
        let queries = Arc::clone(&self.port.queries);
        let missing = || SqlError::internal("a query without its plan");
        let mut planned = portal.prepared.planned.clone().ok_or_else(missing)?;
        if !queries.is_current(&planned) {
            let now = self
                .plan(piece, &portal.prepared.declared, interrupt)
                .await?
                .ok_or_else(missing)?;
            let same = |planned: &Planned| {
                planned
                    .schema
                    .fields()
                    .iter()
                    .map(|field| types::type_of(field))
                    .collect::<Vec<_>>()
            };
            if same(&now) != same(&planned) || now.parameters != planned.parameters {
                return Err(
                    SqlError::new("0A000", "cached plan must not change result type").into(),
                );
            }
            planned = now;
        }
        let rows = interrupt
            .guard(queries.open(self.variables(), &planned, portal.values.clone()))
            .await?;
        Ok(self.reading(
            Arc::clone(&planned.schema),
            &portal.formats,
            RowSource::Query(rows),
        ))
    }
}

/// Whether a statement of the engine's only tells something.
fn lists(piece: &Piece) -> bool {
    let first = piece
        .text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    matches!(first.as_str(), "SHOW" | "EXPLAIN" | "DESCRIBE" | "DESC") || piece.tokens.len() == 1
}
