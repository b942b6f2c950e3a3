//! A query's tokens as a statement of sqlparser.
//!
//! Queries of Postgres's catalogs come in the shapes that tools send; datafusion-pg-catalog rewrites them so that DataFusion can plan them.
//! It loses all places and may change what a person wrote, so that other queries do not go through it.

use datafusion::common::DataFusionError;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, GroupByExpr, Query, SelectItem, SetExpr, Statement, Value, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use std::ops::ControlFlow;

use crate::pgwire::dialect::SessionDialect;
use crate::pgwire::error::{Result, SqlError};
use crate::pgwire::script;

/// Parses queries.
pub(crate) struct QueryParser {
    catalogs: PostgresCompatibilityParser,
}

impl QueryParser {
    pub(crate) fn new() -> Self {
        Self {
            catalogs: PostgresCompatibilityParser::new(),
        }
    }

    /// The statement of a text and its tokens.
    pub(crate) fn statement(&self, text: &str, tokens: Vec<TokenWithSpan>) -> Result<Statement> {
        if script::asks_catalogs(&tokens) {
            self.of_catalogs(text)
        } else {
            plain_statement(tokens)
        }
    }

    fn of_catalogs(&self, text: &str) -> Result<Statement> {
        let statements = self
            .catalogs
            .parse(text)
            .map_err(|error| SqlError::from(DataFusionError::from(error)))?;
        let mut statement = statements
            .into_iter()
            .next()
            .ok_or_else(|| SqlError::new("42601", "there is no statement"))?;
        let _ = VisitMut::visit(&mut statement, &mut Subqueries);
        Ok(statement)
    }
}

fn plain_statement(tokens: Vec<TokenWithSpan>) -> Result<Statement> {
    let depth = script::LIMITS.depth_max + 50;
    let mut parser = Parser::new(&SessionDialect)
        .with_recursion_limit(depth)
        .with_tokens_with_locations(tokens);
    let parsed = parser
        .parse_statement()
        .and_then(|statement| match parser.peek_token().token {
            Token::EOF => Ok(statement),
            _ => parser.expected("end of statement", parser.peek_token()),
        });
    parsed.map_err(|error| SqlError::from(DataFusionError::from(error)))
}

/// Makes subqueries of the catalogs' queries such that DataFusion can plan them.
struct Subqueries;

impl VisitorMut for Subqueries {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Subquery(query) = expr {
            at_most_one_row(query);
        }
        // DataFusion has no ARRAY(SELECT ...), and what these list here (options, roles) is never there.
        if let Expr::Function(call) = expr
            && matches!(call.args, FunctionArguments::Subquery(_))
            && call.name.to_string().eq_ignore_ascii_case("array")
        {
            let nothing = Parser::new(&SessionDialect)
                .try_with_sql("CAST(NULL AS TEXT[])")
                .and_then(|mut parser| parser.parse_expr());
            *expr = nothing.unwrap_or_else(|_| Expr::Value(Value::Null.into()));
        }
        ControlFlow::Continue(())
    }
}

/// A scalar subquery must say that it gives one row: `SELECT x` becomes `SELECT max(x)`, which is x of the one row that there is.
fn at_most_one_row(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    let [SelectItem::UnnamedExpr(expr)] = select.projection.as_mut_slice() else {
        return;
    };
    let is_grouped =
        !matches!(&select.group_by, GroupByExpr::Expressions(columns, _) if columns.is_empty());
    let is_aggregate = matches!(&*expr, Expr::Function(call) if AGGREGATES.contains(&call.name.to_string().to_lowercase().trim_start_matches("pg_catalog.")));
    if query.limit_clause.is_some() || select.from.is_empty() || is_grouped || is_aggregate {
        return;
    }
    let wrapped = Parser::new(&SessionDialect)
        .try_with_sql(&format!("max({expr})"))
        .and_then(|mut parser| parser.parse_expr());
    if let Ok(wrapped) = wrapped {
        *expr = wrapped;
        query.order_by = None;
    }
}

const AGGREGATES: [&str; 9] = [
    "array_agg",
    "bool_and",
    "bool_or",
    "count",
    "json_agg",
    "max",
    "min",
    "string_agg",
    "sum",
];
