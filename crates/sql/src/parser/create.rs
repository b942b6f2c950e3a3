//! CREATE of everything but tables.

use sqlparser::tokenizer::{Span as TokenSpan, Token};

use super::StatementParser;
use crate::cursor::{self, Result};
use crate::statement::{
    CreateCatalog, CreateDatabase, CreateMaterializedView, CreateView, Statement, ViewColumn,
};

impl StatementParser<'_> {
    /// The rest of a CREATE statement.
    pub(super) fn create(&mut self) -> Result<Statement> {
        let start = self.here();
        let or_replace = self.eat(&["OR", "REPLACE"]);
        let temporary = self.eat(&["TEMPORARY"]) || self.eat(&["TEMP"]);
        let system = self.eat(&["SYSTEM"]);
        let kind = self.one_of(&[
            "TABLE",
            "VIEW",
            "MATERIALIZED",
            "FUNCTION",
            "CATALOG",
            "DATABASE",
            "MODEL",
        ])?;
        if or_replace && !matches!(kind, "VIEW" | "MATERIALIZED") {
            let hint = if kind == "TABLE" {
                "write DROP TABLE IF EXISTS before it"
            } else {
                "only views can be replaced"
            };
            return Err(self.flink.fault(
                start,
                format!("CREATE OR REPLACE {kind} is not supported"),
                Some(hint.into()),
            ));
        }
        match kind {
            "TABLE" => self.create_table(temporary),
            "VIEW" => self.create_view(or_replace, temporary),
            "MATERIALIZED" => self.create_materialized_view(or_replace, temporary, start),
            "CATALOG" => {
                let if_not_exists = self.if_not_exists();
                let name = self.name("a catalog's name")?;
                let comment = self.comment()?;
                Ok(Statement::CreateCatalog(CreateCatalog {
                    if_not_exists,
                    name,
                    comment,
                    options: self.with()?,
                }))
            }
            "DATABASE" => {
                let if_not_exists = self.if_not_exists();
                let name = self.name("a database's name")?;
                let comment = self.comment()?;
                Ok(Statement::CreateDatabase(CreateDatabase {
                    if_not_exists,
                    name,
                    comment,
                    options: self.with()?,
                }))
            }
            _ => {
                let hint = if system || kind == "FUNCTION" {
                    "all functions are built in"
                } else {
                    "models are not part of the dialect"
                };
                Err(self.flink.fault(
                    start,
                    format!("CREATE {kind} is not supported"),
                    Some(hint.to_string()),
                ))
            }
        }
    }

    fn create_view(&mut self, or_replace: bool, temporary: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists();
        let name = self.name("a view's name")?;
        let columns = self.view_columns()?;
        let comment = self.comment()?;
        if self.at(&["WITH"]) {
            let hint =
                Some("options belong to CREATE TABLE and CREATE MATERIALIZED VIEW".to_string());
            return Err(self.flink.fault(self.here(), "a view has no options", hint));
        }
        self.expect(&["AS"])?;
        let query = self.query()?;
        Ok(Statement::CreateView(CreateView {
            or_replace,
            temporary,
            if_not_exists,
            name,
            columns,
            comment,
            query,
        }))
    }

    fn create_materialized_view(
        &mut self,
        or_replace: bool,
        temporary: bool,
        start: TokenSpan,
    ) -> Result<Statement> {
        if self.one_of(&["VIEW", "TABLE"])? == "TABLE" {
            let hint = "write CREATE MATERIALIZED VIEW: it is kept up to date with every change of its sources".to_string();
            return Err(self
                .flink
                .fault(start, "there are no materialized tables", Some(hint)));
        }
        if temporary {
            let hint = Some("write CREATE TEMPORARY VIEW, or leave out TEMPORARY".to_string());
            return Err(self
                .flink
                .fault(start, "a materialized view cannot be temporary", hint));
        }
        let if_not_exists = self.if_not_exists();
        let name = self.name("a view's name")?;
        let columns = self.view_columns()?;
        let comment = self.comment()?;
        let options = self.with()?;
        self.expect(&["AS"])?;
        let query = self.query()?;
        let view = CreateMaterializedView {
            or_replace,
            if_not_exists,
            name,
            columns,
            comment,
            options,
            query,
        };
        Ok(Statement::CreateMaterializedView(view))
    }

    fn view_columns(&mut self) -> Result<Vec<ViewColumn>> {
        let mut columns: Vec<ViewColumn> = Vec::new();
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(columns);
        }
        loop {
            let span = self.here();
            let name = self.ident("a column's name")?;
            if columns.iter().any(|column| column.name.node == name.node) {
                return Err(self.flink.fault(
                    span,
                    format!("the view has two columns `{}`", name.node),
                    None,
                ));
            }
            columns.push(ViewColumn {
                name,
                comment: self.comment()?,
            });
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        cursor::expect_token(self.flink, &mut self.parser, &Token::RParen)?;
        Ok(columns)
    }
}
