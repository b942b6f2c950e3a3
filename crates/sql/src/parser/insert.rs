//! INSERT INTO and INSERT OVERWRITE.

use sqlparser::tokenizer::Token;

use super::StatementParser;
use crate::cursor::{self, Result};
use crate::span::Spanned;
use crate::statement::{Insert, Parsed, Property};

impl StatementParser<'_> {
    /// The rest of an INSERT statement.
    pub(super) fn insert(&mut self) -> Result<Insert> {
        let overwrite = self.one_of(&["INTO", "OVERWRITE"])? == "OVERWRITE";
        if overwrite {
            self.eat(&["INTO"]);
        }
        self.eat(&["TABLE"]);
        let table = self.name("a table's name")?;
        let options = self.target_options();
        let partition = if self.eat(&["PARTITION"]) {
            self.partition()?
        } else {
            Vec::new()
        };
        let columns = if self.at_token(&Token::LParen) && !self.query_in_parentheses() {
            self.names("a column's name")?
        } else {
            Vec::new()
        };
        let query = self.query()?;
        Ok(Insert {
            overwrite,
            table,
            options,
            partition,
            columns,
            query,
        })
    }

    /// The OPTIONS hint behind the table's name, which has just been read.
    fn target_options(&mut self) -> Vec<Property> {
        let end = self.parser.get_current_token().span.end;
        let Some(hint) = self.hints.remove(&end) else {
            return Vec::new();
        };
        let span = self.lines.span(hint.span);
        let property = |(key, value)| Property {
            key: Spanned::new(key, span),
            value: Spanned::new(value, span),
        };
        hint.options.into_iter().map(property).collect()
    }

    /// `(` starts a query and not a list of columns.
    fn query_in_parentheses(&self) -> bool {
        let depth = (0..)
            .take_while(|n| self.parser.peek_nth_token_ref(*n).token == Token::LParen)
            .count();
        let word = cursor::word_at(&self.parser, depth).unwrap_or_default();
        ["SELECT", "WITH", "VALUES", "TABLE"]
            .iter()
            .any(|start| word.eq_ignore_ascii_case(start))
    }

    fn partition(&mut self) -> Result<Vec<(Spanned<String>, Parsed<sqlparser::ast::Expr>)>> {
        let mut pairs = Vec::new();
        cursor::expect_token(self.flink, &mut self.parser, &Token::LParen)?;
        loop {
            let column = self.ident("a partition column")?;
            cursor::expect_token(self.flink, &mut self.parser, &Token::Eq)?;
            pairs.push((column, self.expression()?));
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        cursor::expect_token(self.flink, &mut self.parser, &Token::RParen)?;
        Ok(pairs)
    }
}
