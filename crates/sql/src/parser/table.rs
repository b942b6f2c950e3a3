//! CREATE TABLE.

use sqlparser::tokenizer::{Span as TokenSpan, Token};

use super::StatementParser;
use crate::cursor::Result;
use crate::name::Name;
use crate::span::Spanned;
use crate::statement::{
    Column, ColumnKind, CreateTable, Like, LikeFeature, LikeMerge, LikeRule, PrimaryKey, Statement,
    Watermark,
};
use crate::type_parser;
use crate::types::FieldType;

/// A column's name without a type.
struct Bare {
    node: String,
    span: TokenSpan,
}

/// What the parentheses of CREATE TABLE hold.
#[derive(Default)]
struct Elements {
    columns: Vec<Column>,
    watermark: Option<Watermark>,
    primary_key: Option<PrimaryKey>,
    /// The first name without a type.
    bare: Option<Bare>,
}

impl StatementParser<'_> {
    /// The rest of a CREATE TABLE statement.
    pub(super) fn create_table(&mut self, temporary: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists();
        let name = self.name("a table's name")?;
        let elements = if self.parser.consume_token(&Token::LParen) {
            self.elements()?
        } else {
            Elements::default()
        };
        let comment = self.comment()?;
        let here = self.here();
        if self.eat(&["DISTRIBUTED"]) {
            let hint = Some(
                "leave it out: rows are distributed by the keys that the plan needs".to_string(),
            );
            return Err(self.flink.fault(here, "DISTRIBUTED is not supported", hint));
        }
        let partitioned_by = if self.eat(&["PARTITIONED", "BY"]) {
            self.names("a column's name")?
        } else {
            Vec::new()
        };
        let options = self.with()?;
        let like = if self.eat(&["LIKE"]) {
            Some(self.like()?)
        } else {
            None
        };
        let query = if self.eat(&["AS"]) {
            Some(self.query()?)
        } else {
            None
        };
        self.check_table(here, &name, &elements, like.is_some(), query.is_some())?;
        let Elements {
            columns,
            watermark,
            primary_key,
            ..
        } = elements;
        Ok(Statement::CreateTable(Box::new(CreateTable {
            temporary,
            if_not_exists,
            name,
            columns,
            watermark,
            primary_key,
            comment,
            partitioned_by,
            options,
            like,
            query,
        })))
    }

    /// What CREATE TABLE must not be, once all of it is read.
    fn check_table(
        &self,
        here: TokenSpan,
        name: &Name,
        elements: &Elements,
        like: bool,
        query: bool,
    ) -> Result<()> {
        if like && query {
            let message = "LIKE and AS cannot stand in one CREATE TABLE";
            return Err(self.flink.fault(here, message, None));
        }
        match &elements.bare {
            Some(bare) if query => {
                let message = "columns without types are not supported in CREATE TABLE AS";
                let hint = "name the columns in the query".to_string();
                Err(self.flink.fault(bare.span, message, Some(hint)))
            }
            Some(bare) => {
                let message = format!("the column `{}` has no type", bare.node);
                let hint = format!("write `{}` STRING, or another type", bare.node);
                Err(self.flink.fault(bare.span, message, Some(hint)))
            }
            None if elements.columns.is_empty() && !like && !query => {
                let hint = format!("write CREATE TABLE {name} (id BIGINT, ...)");
                Err(self
                    .flink
                    .fault(here, "the table has no columns", Some(hint)))
            }
            None => Ok(()),
        }
    }

    /// Everything up to the closing parenthesis.
    fn elements(&mut self) -> Result<Elements> {
        let mut elements = Elements::default();
        if self.parser.consume_token(&Token::RParen) {
            return Ok(elements);
        }
        loop {
            self.element(&mut elements)?;
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
            if self.at_token(&Token::RParen) {
                return Err(self.flink.fault(
                    self.here(),
                    "expected a column after the comma, found `)`",
                    Some("leave out the comma".into()),
                ));
            }
        }
        if !self.parser.consume_token(&Token::RParen) {
            return Err(self
                .flink
                .expected("`,` or `)` after a column", &self.parser));
        }
        Ok(elements)
    }

    fn element(&mut self, elements: &mut Elements) -> Result<()> {
        let start = self.here();
        if self.eat(&["WATERMARK", "FOR"]) {
            let column = self.name("the name of the time column")?;
            self.expect(&["AS"])?;
            let expr = self.expression()?;
            if elements.watermark.is_some() {
                return Err(self
                    .flink
                    .fault(start, "a table can have only one WATERMARK", None));
            }
            elements.watermark = Some(Watermark { column, expr });
            return Ok(());
        }
        let constraint = if self.eat(&["CONSTRAINT"]) {
            Some(self.ident("the constraint's name")?.node)
        } else {
            None
        };
        if self.eat(&["PRIMARY", "KEY"]) {
            let columns = self.names("a key column")?;
            return self.primary_key(elements, constraint, columns, start);
        }
        let unique = self.at(&["UNIQUE"]) && *self.parser.peek_nth_token_ref(1) == Token::LParen;
        if unique || constraint.is_some() || self.at(&["CHECK"]) || self.at(&["FOREIGN", "KEY"]) {
            return Err(self.no_constraint(start));
        }
        self.column(elements, start)
    }

    fn no_constraint(&self, span: TokenSpan) -> sqlparser::parser::ParserError {
        let hint = "only PRIMARY KEY (...) NOT ENFORCED can be declared: the engine does not own the data and cannot enforce others";
        self.flink.fault(
            span,
            "UNIQUE, CHECK and FOREIGN KEY constraints are not supported",
            Some(hint.to_string()),
        )
    }

    fn primary_key(
        &mut self,
        elements: &mut Elements,
        name: Option<String>,
        columns: Vec<Spanned<String>>,
        start: TokenSpan,
    ) -> Result<()> {
        if !self.eat(&["NOT", "ENFORCED"]) {
            let hint = Some(
                "write NOT ENFORCED after it: the source must keep the key unique".to_string(),
            );
            return Err(self
                .flink
                .fault(start, "a PRIMARY KEY cannot be enforced", hint));
        }
        if elements.primary_key.is_some() {
            return Err(self
                .flink
                .fault(start, "a table can have only one PRIMARY KEY", None));
        }
        elements.primary_key = Some(PrimaryKey {
            name,
            columns,
            span: self.since(start),
        });
        Ok(())
    }

    fn column(&mut self, elements: &mut Elements, start: TokenSpan) -> Result<()> {
        let name = self.ident("a column's name, WATERMARK or PRIMARY KEY")?;
        if elements
            .columns
            .iter()
            .any(|column| column.name.node == name.node)
        {
            return Err(self.flink.fault(
                start,
                format!("the table has two columns `{}`", name.node),
                None,
            ));
        }
        if self.at_token(&Token::Comma) || self.at_token(&Token::RParen) {
            elements.bare.get_or_insert(Bare {
                node: name.node,
                span: start,
            });
            return Ok(());
        }
        if self.eat(&["AS"]) {
            let kind = ColumnKind::Computed(Box::new(self.expression()?));
            let comment = self.comment()?;
            elements.columns.push(Column {
                name,
                kind,
                comment,
            });
            return Ok(());
        }
        let type_start = self.here();
        let field_type = type_parser::field_type(self.flink, &mut self.parser)?;
        let mut field_type = Spanned::new(field_type, self.since(type_start));
        if self.eat(&["METADATA"]) {
            let key = if self.eat(&["FROM"]) {
                Some(self.text("the metadata's key in single quotes")?.node)
            } else {
                None
            };
            let is_virtual = self.eat(&["VIRTUAL"]);
            let kind = ColumnKind::Metadata {
                field_type,
                key,
                is_virtual,
            };
            let comment = self.comment()?;
            elements.columns.push(Column {
                name,
                kind,
                comment,
            });
            return Ok(());
        }
        self.column_constraint(elements, &name, &mut field_type.node)?;
        let comment = self.comment()?;
        elements.columns.push(Column {
            name,
            kind: ColumnKind::Physical(field_type),
            comment,
        });
        Ok(())
    }

    fn column_constraint(
        &mut self,
        elements: &mut Elements,
        name: &Spanned<String>,
        field_type: &mut FieldType,
    ) -> Result<()> {
        let start = self.here();
        let constraint = if self.eat(&["CONSTRAINT"]) {
            Some(self.ident("the constraint's name")?.node)
        } else {
            None
        };
        if self.eat(&["PRIMARY", "KEY"]) {
            self.primary_key(elements, constraint, vec![name.clone()], start)?;
            field_type.nullable &= !self.eat(&["NOT", "NULL"]);
        } else if self.at(&["UNIQUE"])
            || self.at(&["CHECK"])
            || self.at(&["REFERENCES"])
            || constraint.is_some()
        {
            return Err(self.no_constraint(start));
        } else if self.at(&["DEFAULT"]) {
            let hint = Some(
                "give the value in the query that writes, or with COALESCE in the one that reads"
                    .to_string(),
            );
            return Err(self.flink.fault(start, "columns have no DEFAULT", hint));
        }
        Ok(())
    }

    fn like(&mut self) -> Result<Like> {
        let source = self.name("a table's name")?;
        let mut rules = Vec::new();
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(Like { source, rules });
        }
        while !self.parser.consume_token(&Token::RParen) {
            let merge = match self.one_of(&["INCLUDING", "EXCLUDING", "OVERWRITING"])? {
                "INCLUDING" => LikeMerge::Including,
                "EXCLUDING" => LikeMerge::Excluding,
                _ => LikeMerge::Overwriting,
            };
            rules.push(LikeRule {
                merge,
                feature: self.like_feature(merge)?,
            });
        }
        Ok(Like { source, rules })
    }

    fn like_feature(&mut self, merge: LikeMerge) -> Result<LikeFeature> {
        let start = self.here();
        let words = [
            "ALL",
            "CONSTRAINTS",
            "DISTRIBUTION",
            "GENERATED",
            "METADATA",
            "OPTIONS",
            "PARTITIONS",
            "WATERMARKS",
        ];
        let feature = match self.one_of(&words)? {
            "ALL" => LikeFeature::All,
            "CONSTRAINTS" => LikeFeature::Constraints,
            "DISTRIBUTION" => LikeFeature::Distribution,
            "GENERATED" => LikeFeature::Generated,
            "METADATA" => LikeFeature::Metadata,
            "OPTIONS" => LikeFeature::Options,
            "PARTITIONS" => LikeFeature::Partitions,
            _ => LikeFeature::Watermarks,
        };
        let whole = matches!(
            feature,
            LikeFeature::All
                | LikeFeature::Constraints
                | LikeFeature::Distribution
                | LikeFeature::Partitions
        );
        if merge == LikeMerge::Overwriting && whole {
            let hint = Some(
                "OVERWRITING goes with GENERATED, METADATA, OPTIONS and WATERMARKS".to_string(),
            );
            return Err(self.flink.fault(start, "this cannot be overwritten", hint));
        }
        Ok(feature)
    }
}

impl CreateTable {
    /// Whether the table's rows come from a connector (WITH) or from a query or another table.
    pub fn has_connector(&self) -> bool {
        self.options
            .iter()
            .any(|property| property.key.node == "connector")
    }
}
