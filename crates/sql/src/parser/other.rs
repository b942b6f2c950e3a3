//! Which statement it is, and the short ones: ALTER, DROP, SET, RESET, EXPLAIN, SHOW, DESCRIBE, USE.

use sqlparser::tokenizer::{Span as TokenSpan, Token};

use super::{OpenSet, StatementParser};
use crate::cursor::{self, Result};
use crate::dialect::describe;
use crate::nearest::did_you_mean;
use crate::span::Spanned;
use crate::statement::{
    Alter, AlterAction, Drop, Explain, ExplainDetail, Insert, ObjectKind, Property, Show, ShowKind,
    ShowLike, Statement,
};

const STARTS: &[&str] = &[
    "SELECT", "INSERT", "CREATE", "DROP", "ALTER", "WITH", "VALUES", "SET", "RESET", "EXPLAIN",
    "SHOW", "DESCRIBE", "USE", "EXECUTE", "BEGIN", "END", "TABLE",
];

/// Statements of Flink or of SQL that have no meaning here, and why.
const REFUSED: &[(&str, &str)] = &[
    (
        "UPDATE",
        "tables change only through their connectors; a view updates itself",
    ),
    (
        "DELETE",
        "tables change only through their connectors; a view updates itself",
    ),
    ("MERGE", "write an INSERT into an upsert table"),
    ("TRUNCATE", "tables change only through their connectors"),
    ("CALL", "there are no procedures"),
    ("LOAD", "all functions and connectors are built in"),
    ("UNLOAD", "all functions and connectors are built in"),
    (
        "ADD",
        "there are no jars: all functions and connectors are built in",
    ),
    (
        "REMOVE",
        "there are no jars: all functions and connectors are built in",
    ),
    ("ANALYZE", "plans do not depend on statistics"),
    ("STOP", "stop the process, or DROP the view"),
    (
        "COMMIT",
        "there are no transactions: each statement stands alone",
    ),
    (
        "ROLLBACK",
        "there are no transactions: each statement stands alone",
    ),
    (
        "START",
        "there are no transactions: each statement stands alone",
    ),
    (
        "COPY",
        "read files with a table of the filesystem connector",
    ),
    ("REPLACE", "write CREATE OR REPLACE"),
];

impl StatementParser<'_> {
    /// One piece between semicolons: a statement, or a part of a statement set (whose start is then given too, with its END).
    pub(super) fn piece(
        &mut self,
        open: &mut Option<OpenSet>,
    ) -> Result<Option<(Statement, Option<TokenSpan>)>> {
        if let Some(set) = open {
            let ended = self.in_set(set)?;
            let done = if ended { open.take() } else { None };
            return Ok(done
                .map(|set| (set.start, set.into_statement()))
                .map(|(start, set)| (set, Some(start))));
        }
        let start = self.here();
        let explain = if self.at(&["EXPLAIN"]) && self.set_behind_explain() {
            Some(self.explain_details()?)
        } else {
            None
        };
        let begins = self.eat(&["BEGIN", "STATEMENT", "SET"]);
        let opens = begins
            || self.eat(&["EXECUTE", "STATEMENT", "SET", "BEGIN"])
            || (explain.is_some() && self.eat(&["STATEMENT", "SET", "BEGIN"]));
        if !opens {
            return self.statement().map(|statement| Some((statement, None)));
        }
        let mut set = OpenSet {
            start,
            inserts: Vec::new(),
            explain,
        };
        if !begins {
            self.set_member(&mut set.inserts)?;
        }
        *open = Some(set);
        Ok(None)
    }

    /// EXPLAIN [details] STATEMENT SET, which ends at an END and not at a semicolon.
    fn set_behind_explain(&self) -> bool {
        (1..12).any(|n| {
            let word = |n| cursor::word_at(&self.parser, n).unwrap_or_default();
            word(n).eq_ignore_ascii_case("STATEMENT") && word(n + 1).eq_ignore_ascii_case("SET")
        })
    }

    /// A piece of an open set; gives whether it ended the set.
    fn in_set(&mut self, set: &mut OpenSet) -> Result<bool> {
        if self.eat(&["END"]) {
            if set.inserts.is_empty() {
                return Err(self.flink.fault(
                    set.start,
                    "the statement set is empty",
                    Some("put INSERT statements before END".into()),
                ));
            }
            return Ok(true);
        }
        self.set_member(&mut set.inserts)?;
        Ok(false)
    }

    fn set_member(&mut self, inserts: &mut Vec<Spanned<Insert>>) -> Result<()> {
        let start = self.here();
        if !self.eat(&["INSERT"]) {
            let hint = Some("end the set with END; before other statements".to_string());
            let message = format!(
                "expected INSERT in the statement set, found {}",
                describe(&self.parser.peek_token_ref().token)
            );
            return Err(self.flink.fault(start, message, hint));
        }
        let insert = self.insert()?;
        inserts.push(Spanned::new(insert, self.since(start)));
        Ok(())
    }

    fn statement(&mut self) -> Result<Statement> {
        if self.at_token(&Token::LParen)
            || ["SELECT", "WITH", "VALUES", "TABLE"]
                .iter()
                .any(|word| self.at(&[word]))
        {
            return self.query().map(Statement::Query);
        }
        let start = self.here();
        let word = cursor::word_at(&self.parser, 0)
            .unwrap_or_default()
            .to_ascii_uppercase();
        if !word.is_empty() {
            self.parser.advance_token();
        }
        match word.as_str() {
            "CREATE" => self.create(),
            "INSERT" => self.insert().map(Statement::Insert),
            "EXECUTE" => self.execute(),
            "ALTER" => self.alter(),
            "DROP" => self.drop(),
            "SET" => self.set(),
            "RESET" => self.reset(),
            "EXPLAIN" => self.explain(),
            "SHOW" => self.show(),
            "DESCRIBE" | "DESC" => {
                let extended = self.eat(&["EXTENDED"]);
                Ok(Statement::Describe {
                    extended,
                    name: self.name("the name of a table or view")?,
                })
            }
            "USE" => {
                let catalog = self.eat(&["CATALOG"]);
                Ok(Statement::Use {
                    catalog,
                    name: self.name("a name")?,
                })
            }
            "BEGIN" => {
                self.expect(&["STATEMENT", "SET"])?;
                Err(self
                    .flink
                    .fault(start, "a statement set cannot stand here", None))
            }
            "END" => Err(self.flink.fault(
                start,
                "END without a statement set",
                Some("open it with BEGIN STATEMENT SET;".into()),
            )),
            _ => Err(self.unknown(&word, start)),
        }
    }

    fn unknown(&self, word: &str, span: TokenSpan) -> sqlparser::parser::ParserError {
        if let Some((name, reason)) = REFUSED.iter().find(|(name, _)| *name == word) {
            return self.flink.fault(
                span,
                format!("{name} is not supported"),
                Some((*reason).to_string()),
            );
        }
        if word.is_empty() {
            return self.flink.expected("a statement", &self.parser);
        }
        let hint = did_you_mean(word, STARTS.iter().copied());
        let hint = hint.or_else(|| Some(format!("a statement starts with {}", STARTS.join(", "))));
        self.flink
            .fault(span, format!("unknown statement `{word}`"), hint)
    }

    /// `EXECUTE INSERT ...`, `EXECUTE query` (sets are read before)
    fn execute(&mut self) -> Result<Statement> {
        if self.eat(&["INSERT"]) {
            return self.insert().map(Statement::Insert);
        }
        if self.at(&["SELECT"]) || self.at(&["WITH"]) {
            return self.query().map(Statement::Query);
        }
        Err(self
            .flink
            .expected("INSERT, a query or STATEMENT SET BEGIN", &self.parser))
    }

    fn alter(&mut self) -> Result<Statement> {
        let kind = self.object_kind(&["TABLE", "VIEW", "MATERIALIZED"])?;
        let if_exists = self.eat(&["IF", "EXISTS"]);
        let name = self.name("a name")?;
        let is_view = kind != ObjectKind::Table;
        let action = match self.one_of(if is_view {
            &["RENAME", "SET", "RESET", "AS"]
        } else {
            &["RENAME", "SET", "RESET"]
        })? {
            "RENAME" if self.eat(&["TO"]) => AlterAction::Rename(self.name("the new name")?),
            "RENAME" => {
                let from = self.ident("TO, or the name of a column")?;
                self.expect(&["TO"])?;
                AlterAction::RenameColumn {
                    from,
                    to: self.ident("the column's new name")?,
                }
            }
            "SET" => AlterAction::Set(self.properties()?),
            "RESET" => AlterAction::Reset(self.keys()?),
            _ => AlterAction::Query(self.query()?),
        };
        let alter = Alter {
            if_exists,
            name,
            action,
        };
        Ok(match kind {
            ObjectKind::View => Statement::AlterView(alter),
            ObjectKind::MaterializedView => Statement::AlterMaterializedView(alter),
            _ => Statement::AlterTable(alter),
        })
    }

    /// `('key', ...)`
    fn keys(&mut self) -> Result<Vec<Spanned<String>>> {
        let (flink, lines) = (self.flink, self.lines);
        cursor::list(flink, &mut self.parser, |parser| {
            let (text, span) = cursor::text(flink, parser, "an option's key in single quotes")?;
            Ok(Spanned::new(text, lines.span(span)))
        })
    }

    fn object_kind(&mut self, words: &[&str]) -> Result<ObjectKind> {
        Ok(match self.one_of(words)? {
            "TABLE" => ObjectKind::Table,
            "VIEW" => ObjectKind::View,
            "CATALOG" => ObjectKind::Catalog,
            "DATABASE" => ObjectKind::Database,
            "FUNCTION" => ObjectKind::Function,
            _ => {
                let kind = if self.eat(&["TABLE"]) {
                    "TABLE"
                } else {
                    self.one_of(&["VIEW"])?
                };
                if kind == "TABLE" {
                    let span = self.parser.get_current_token().span;
                    return Err(self.flink.fault(
                        span,
                        "there are no materialized tables",
                        Some("write MATERIALIZED VIEW".into()),
                    ));
                }
                ObjectKind::MaterializedView
            }
        })
    }

    fn drop(&mut self) -> Result<Statement> {
        let temporary = self.eat(&["TEMPORARY"]);
        self.eat(&["SYSTEM"]);
        let kind = self.object_kind(&[
            "TABLE",
            "VIEW",
            "MATERIALIZED",
            "CATALOG",
            "DATABASE",
            "FUNCTION",
        ])?;
        let if_exists = self.eat(&["IF", "EXISTS"]);
        let name = self.name("a name")?;
        let cascade = self.eat(&["CASCADE"]);
        if !cascade {
            self.eat(&["RESTRICT"]);
        }
        Ok(Statement::Drop(Drop {
            kind,
            temporary,
            if_exists,
            name,
            cascade,
        }))
    }

    /// `SET`, `SET 'key' = 'value'` or `SET key = value`
    fn set(&mut self) -> Result<Statement> {
        if self.at_token(&Token::EOF) {
            return Ok(Statement::ShowSettings);
        }
        let key = self.setting("the setting's key")?;
        if !self.parser.consume_token(&Token::Eq) {
            let message = format!(
                "expected `=`, found {}",
                describe(&self.parser.peek_token_ref().token)
            );
            return Err(self.flink.fault(
                self.here(),
                message,
                Some("write SET 'key' = 'value'".into()),
            ));
        }
        let value = self.setting("the setting's value")?;
        Ok(Statement::Set(Property { key, value }))
    }

    fn reset(&mut self) -> Result<Statement> {
        if self.at_token(&Token::EOF) {
            return Ok(Statement::Reset(None));
        }
        self.setting("the setting's key")
            .map(|key| Statement::Reset(Some(key)))
    }

    /// A string, or everything up to `=` or the end: `table.exec.state.ttl`, `1 h`.
    fn setting(&mut self, what: &str) -> Result<Spanned<String>> {
        if matches!(
            self.parser.peek_token_ref().token,
            Token::SingleQuotedString(_)
        ) {
            return self.text(what);
        }
        let start = self.here();
        while !matches!(
            self.parser.peek_token_ref().token,
            Token::Eq | Token::EOF | Token::SingleQuotedString(_)
        ) {
            self.parser.advance_token();
        }
        if self.here() == start {
            return Err(self.flink.expected(what, &self.parser));
        }
        let span = self.since(start);
        let text = self.lines.text().get(span.range()).unwrap_or_default();
        Ok(Spanned::new(
            text.trim_matches(['"', '`']).to_string(),
            span,
        ))
    }

    fn explain_details(&mut self) -> Result<Vec<ExplainDetail>> {
        self.expect(&["EXPLAIN"])?;
        self.details()
    }

    fn details(&mut self) -> Result<Vec<ExplainDetail>> {
        let mut details = Vec::new();
        if self.eat(&["PLAN", "FOR"]) {
            return Ok(details);
        }
        let words = [
            ("ESTIMATED_COST", ExplainDetail::EstimatedCost),
            ("CHANGELOG_MODE", ExplainDetail::ChangelogMode),
            ("JSON_EXECUTION_PLAN", ExplainDetail::JsonExecutionPlan),
            ("PLAN_ADVICE", ExplainDetail::PlanAdvice),
        ];
        while let Some((_, detail)) = words.iter().find(|(word, _)| self.eat(&[word])) {
            details.push(*detail);
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        Ok(details)
    }

    fn explain(&mut self) -> Result<Statement> {
        let details = self.details()?;
        let start = self.here();
        if self.at(&["EXPLAIN"]) {
            return Err(self.flink.fault(start, "EXPLAIN cannot be explained", None));
        }
        let statement = self.statement()?;
        let explained = matches!(
            statement,
            Statement::Query(_) | Statement::Insert(_) | Statement::CreateMaterializedView(_)
        );
        if !explained {
            let hint = Some(
                "EXPLAIN takes a query, an INSERT, a STATEMENT SET or a CREATE MATERIALIZED VIEW"
                    .to_string(),
            );
            return Err(self.flink.fault(start, "this statement has no plan", hint));
        }
        let statement = Box::new(Spanned::new(statement, self.since(start)));
        Ok(Statement::Explain(Explain { details, statement }))
    }

    fn show(&mut self) -> Result<Statement> {
        let words = [
            "TABLES",
            "VIEWS",
            "MATERIALIZED",
            "CREATE",
            "COLUMNS",
            "USER",
            "FUNCTIONS",
            "CATALOGS",
            "DATABASES",
            "CURRENT",
            "JOBS",
        ];
        let kind = match self.one_of(&words)? {
            "TABLES" => ShowKind::Tables(self.in_database()?),
            "VIEWS" => ShowKind::Views(self.in_database()?),
            "MATERIALIZED" => {
                self.expect(&["VIEWS"])?;
                ShowKind::MaterializedViews(self.in_database()?)
            }
            "CREATE" => match self.one_of(&["TABLE", "VIEW", "MATERIALIZED"])? {
                "TABLE" => ShowKind::CreateTable(self.name("a table's name")?),
                "VIEW" => ShowKind::CreateView(self.name("a view's name")?),
                _ => {
                    self.expect(&["VIEW"])?;
                    ShowKind::CreateMaterializedView(self.name("a view's name")?)
                }
            },
            "COLUMNS" => {
                self.one_of(&["FROM", "IN"])?;
                ShowKind::Columns(self.name("the name of a table or view")?)
            }
            "USER" => {
                self.expect(&["FUNCTIONS"])?;
                ShowKind::Functions
            }
            "FUNCTIONS" => ShowKind::Functions,
            "CATALOGS" => ShowKind::Catalogs,
            "DATABASES" => ShowKind::Databases,
            "JOBS" => ShowKind::Jobs,
            _ => match self.one_of(&["CATALOG", "DATABASE"])? {
                "CATALOG" => ShowKind::CurrentCatalog,
                _ => ShowKind::CurrentDatabase,
            },
        };
        Ok(Statement::Show(Show {
            kind,
            like: self.show_like()?,
        }))
    }

    fn in_database(&mut self) -> Result<Option<crate::name::Name>> {
        if self.eat(&["FROM"]) || self.eat(&["IN"]) {
            self.name("a database's name").map(Some)
        } else {
            Ok(None)
        }
    }

    fn show_like(&mut self) -> Result<Option<ShowLike>> {
        let negated = self.eat(&["NOT"]);
        let ignore_case = self.eat(&["ILIKE"]);
        if !ignore_case && !negated && !self.at(&["LIKE"]) {
            return Ok(None);
        }
        if !ignore_case {
            self.expect(&["LIKE"])?;
        }
        let pattern = self.text("a pattern in single quotes")?.node;
        Ok(Some(ShowLike {
            negated,
            ignore_case,
            pattern,
        }))
    }
}

impl OpenSet {
    fn into_statement(self) -> Statement {
        let span = match (self.inserts.first(), self.inserts.last()) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => crate::span::Span::default(),
        };
        let set = Statement::StatementSet(self.inserts);
        match self.explain {
            None => set,
            Some(details) => Statement::Explain(Explain {
                details,
                statement: Box::new(Spanned::new(set, span)),
            }),
        }
    }
}
