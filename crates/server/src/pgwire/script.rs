//! A client's text cut into statements, each with who answers it.
//!
//! Tokens are Postgres's, with Flink's back-quoted names beside: both dialects come through the same port. A query goes to
//! DataFusion, a statement about the session is answered here, and all else is the engine's.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use millstream_sql::Limits;

use super::dialect::SessionDialect;
use super::error::{Result, SqlError};

/// What a text may hold.
pub(crate) const LIMITS: Limits = Limits { text_bytes_max: 4 << 20, tokens_max: 300_000, depth_max: 100, chain_max: 1_000, set_operations_max: 200 };

/// One statement of a text.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Its tokens, with their places in the whole text.
    pub tokens: Vec<TokenWithSpan>,
    /// Its words.
    pub text: String,
    /// What it asks for.
    pub command: Command,
}

impl Piece {
    /// A place in the piece's own text as a place in the whole text.
    pub(crate) fn place_in_whole(&self, at: millstream_dataflow::Location) -> millstream_dataflow::Location {
        let Some(start) = self.tokens.first().map(|token| token.span.start) else { return at };
        let column = |line: u64, column: u64| if line == 1 { column + start.column.saturating_sub(1) } else { column };
        let line = |line: u64| line + start.line.saturating_sub(1);
        millstream_dataflow::Location {
            line: line(at.line),
            column: column(at.line, at.column),
            end_line: line(at.end_line),
            end_column: column(at.end_line, at.end_column),
        }
    }
}

/// Who answers a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// DataFusion, over the views.
    Query,
    /// The engine.
    Engine,
    /// The session.
    Session(SessionCommand),
}

/// A statement about the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionCommand {
    Begin(&'static str),
    Commit,
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO: there is nothing that could be undone.
    Savepoint(&'static str),
    Set {
        name: String,
        /// `None`: the default.
        value: Option<String>,
    },
    /// Settings of the transaction: it is read only, and reads what is there.
    SetTransaction,
    /// `None`: all.
    Reset(Option<String>),
    /// `None`: all.
    Show(Option<String>),
    Discard(&'static str),
    /// `None`: all.
    Deallocate(Option<String>),
    /// DECLARE name CURSOR FOR the query that begins at this token.
    Declare {
        name: String,
        query_from: usize,
    },
    /// FETCH; `None`: all that is left.
    Fetch {
        name: String,
        rows: Option<usize>,
        is_move: bool,
    },
    /// `None`: all.
    CloseCursor(Option<String>),
}

/// Cuts a text into its statements.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece>> {
    let tokens = Tokenizer::new(&SessionDialect, text).tokenize_with_location().map_err(|error| SqlError {
        at: Some(place_of(error.location)),
        ..SqlError::new("42601", error.message)
    })?;
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    if text.len() > LIMITS.text_bytes_max || tokens.len() > LIMITS.tokens_max {
        millstream_sql::check_limits(text, &tokens, &LIMITS).map_err(too_much)?;
    }
    let mut offsets = Offsets::new(text);
    let mut found = Vec::new();
    let mut piece = Vec::new();
    for token in tokens {
        if matches!(token.token, Token::SemiColon) && !in_statement_set(&piece) {
            finish(std::mem::take(&mut piece), text, &mut offsets, &mut found)?;
        } else {
            piece.push(token);
        }
    }
    finish(piece, text, &mut offsets, &mut found)?;
    Ok(found)
}

fn finish(tokens: Vec<TokenWithSpan>, text: &str, offsets: &mut Offsets<'_>, found: &mut Vec<Piece>) -> Result<()> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return Ok(()) };
    millstream_sql::check_limits("", &tokens, &LIMITS).map_err(too_much)?;
    let (start, end) = (offsets.of(first.span.start), offsets.of(last.span.end));
    let command = command(&tokens)?;
    found.push(Piece { text: text.get(start..end).unwrap_or_default().to_owned(), command, tokens });
    Ok(())
}

fn too_much(error: millstream_sql::SyntaxError) -> SqlError {
    let at = error.diagnostic.span.start;
    SqlError { hint: error.diagnostic.hint, at: Some(place(at.line as u64, at.column as u64)), ..SqlError::new("54001", error.diagnostic.message) }
}

/// A place of one character.
pub(crate) fn place(line: u64, column: u64) -> millstream_dataflow::Location {
    millstream_dataflow::Location { line, column, end_line: line, end_column: column + 1 }
}

fn place_of(at: Location) -> millstream_dataflow::Location {
    place(at.line, at.column)
}

/// Whether a text was refused for its size, not for its words.
pub(crate) fn is_too_much(error: &millstream_sql::SyntaxError) -> bool {
    let message = &error.diagnostic.message;
    ["more than the limit", "nested more than", "in a row", "has more than"].iter().any(|part| message.contains(part))
}

/// BEGIN STATEMENT SET; ... END holds statements of its own.
fn in_statement_set(piece: &[TokenWithSpan]) -> bool {
    let word = |at: usize| piece.get(at).map(|token| word(&token.token)).unwrap_or_default();
    let opened = (word(0) == "BEGIN" && word(1) == "STATEMENT" && word(2) == "SET") || (word(0) == "EXECUTE" && word(1) == "STATEMENT" && word(2) == "SET");
    let closed = piece.len() > 3 && piece.last().is_some_and(|token| self::word(&token.token) == "END");
    opened && !closed
}

/// An unquoted word in capitals; of anything else nothing.
fn word(token: &Token) -> String {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        _ => String::new(),
    }
}

/// Bytes of places, asked for in rising order.
struct Offsets<'a> {
    rest: std::str::CharIndices<'a>,
    line: u64,
    column: u64,
    length: usize,
}

impl<'a> Offsets<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.char_indices(), line: 1, column: 1, length: text.len() }
    }

    fn of(&mut self, at: Location) -> usize {
        loop {
            let offset = self.rest.offset();
            if (self.line, self.column) >= (at.line, at.column) {
                return offset;
            }
            match self.rest.next() {
                Some((_, '\n')) => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => return self.length,
            }
        }
    }
}

fn command(tokens: &[TokenWithSpan]) -> Result<Command> {
    let words = Words { tokens, at: 0 };
    if matches!(tokens.first().map(|token| &token.token), Some(Token::LParen)) {
        return Ok(Command::Query);
    }
    let session = |command| Ok(Command::Session(command));
    match (words.at(0).as_str(), words.at(1).as_str()) {
        ("SELECT" | "WITH" | "VALUES" | "TABLE", _) => Ok(Command::Query),
        ("BEGIN", "STATEMENT") | ("EXECUTE", "STATEMENT") => Ok(Command::Engine),
        ("BEGIN", _) => session(SessionCommand::Begin("BEGIN")),
        ("START", "TRANSACTION") => session(SessionCommand::Begin("START TRANSACTION")),
        ("ROLLBACK", "TO") => session(SessionCommand::Savepoint("ROLLBACK")),
        ("COMMIT" | "END", _) => session(SessionCommand::Commit),
        ("ROLLBACK" | "ABORT", _) => session(SessionCommand::Rollback),
        ("SAVEPOINT", _) => session(SessionCommand::Savepoint("SAVEPOINT")),
        ("RELEASE", _) => session(SessionCommand::Savepoint("RELEASE")),
        ("DISCARD", what) => session(SessionCommand::Discard(match what {
            "PLANS" => "DISCARD PLANS",
            "SEQUENCES" => "DISCARD SEQUENCES",
            "TEMP" | "TEMPORARY" => "DISCARD TEMP",
            _ => "DISCARD ALL",
        })),
        ("DEALLOCATE", _) => words.from(1).deallocate().map(Command::Session),
        ("DECLARE", _) => words.from(1).declare().map(Command::Session),
        ("FETCH" | "MOVE", _) => words.from(1).fetch(words.at(0) == "MOVE").map(Command::Session),
        ("CLOSE", "ALL") => session(SessionCommand::CloseCursor(None)),
        ("CLOSE", _) => session(SessionCommand::CloseCursor(Some(words.from(1).name()?))),
        ("SET", _) => words.from(1).set(),
        ("RESET", _) => words.from(1).reset(),
        ("SHOW", _) => Ok(words.from(1).show()),
        ("COPY" | "LISTEN" | "NOTIFY" | "PREPARE" | "EXECUTE" | "LOCK" | "UPDATE" | "DELETE" | "MERGE" | "GRANT" | "REVOKE" | "VACUUM" | "TRUNCATE", _) => {
            Err(SqlError { at: tokens.first().map(|token| place_of(token.span.start)), ..SqlError::unsupported(words.at(0)) })
        }
        _ => Ok(Command::Engine),
    }
}

/// Reads a statement's words.
struct Words<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl Words<'_> {
    fn from(&self, at: usize) -> Self {
        Words { tokens: self.tokens, at }
    }

    fn token(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|token| &token.token)
    }

    fn at(&self, ahead: usize) -> String {
        self.token(ahead).map(word).unwrap_or_default()
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let is = self.at(0) == wanted;
        self.at += usize::from(is);
        is
    }

    fn wrong(&self) -> SqlError {
        let token = self.tokens.get(self.at).or(self.tokens.last());
        let found = self.token(0).map_or_else(|| "end of input".to_owned(), |token| format!("\"{token}\""));
        SqlError { at: token.map(|token| place_of(token.span.start)), ..SqlError::new("42601", format!("syntax error at or near {found}")) }
    }

    /// A name: unquoted ones are folded, as Postgres does. `a.b` is one name of a setting.
    fn name(&mut self) -> Result<String> {
        let mut name = self.part()?;
        while matches!(self.token(0), Some(Token::Period)) {
            self.at += 1;
            name = format!("{name}.{}", self.part()?);
        }
        Ok(name)
    }

    fn part(&mut self) -> Result<String> {
        let Some(Token::Word(word)) = self.token(0) else { return Err(self.wrong()) };
        let name = if word.quote_style.is_none() { word.value.to_lowercase() } else { word.value.clone() };
        self.at += 1;
        Ok(name)
    }

    fn end(&self, command: SessionCommand) -> Result<SessionCommand> {
        if self.at < self.tokens.len() { Err(self.wrong()) } else { Ok(command) }
    }

    fn deallocate(mut self) -> Result<SessionCommand> {
        self.eat("PREPARE");
        if self.eat("ALL") {
            return self.end(SessionCommand::Deallocate(None));
        }
        let name = self.name()?;
        self.end(SessionCommand::Deallocate(Some(name)))
    }

    fn declare(mut self) -> Result<SessionCommand> {
        let name = self.name()?;
        while !self.eat("FOR") {
            let known = ["BINARY", "ASENSITIVE", "INSENSITIVE", "NO", "SCROLL", "CURSOR", "WITH", "WITHOUT", "HOLD"];
            if self.at(0) == "BINARY" {
                return Err(SqlError::unsupported("a binary cursor"));
            }
            if !known.contains(&self.at(0).as_str()) {
                return Err(self.wrong());
            }
            self.at += 1;
        }
        Ok(SessionCommand::Declare { name, query_from: self.at })
    }

    fn fetch(mut self, is_move: bool) -> Result<SessionCommand> {
        self.eat("FORWARD");
        let rows = if self.eat("ALL") {
            None
        } else if self.eat("NEXT") {
            Some(1)
        } else if let Some(Token::Number(number, _)) = self.token(0) {
            let rows = number.parse().map_err(|_| self.wrong())?;
            self.at += 1;
            Some(rows)
        } else if ["BACKWARD", "PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE"].contains(&self.at(0).as_str()) {
            return Err(SqlError::new("55000", "cursor can only scan forward"));
        } else {
            Some(1)
        };
        if !self.eat("FROM") {
            self.eat("IN");
        }
        let name = self.name()?;
        self.end(SessionCommand::Fetch { name, rows, is_move })
    }

    fn set(mut self) -> Result<Command> {
        // SET 'key' = 'value' is Flink's, and so is SET alone.
        if matches!(self.token(0), Some(Token::SingleQuotedString(_)) | None) {
            return Ok(Command::Engine);
        }
        if self.at(0) == "SESSION" && matches!(self.at(1).as_str(), "CHARACTERISTICS" | "AUTHORIZATION") || matches!(self.at(0).as_str(), "TRANSACTION" | "ROLE" | "CONSTRAINTS") {
            return Ok(Command::Session(SessionCommand::SetTransaction));
        }
        if !self.eat("SESSION") {
            self.eat("LOCAL");
        }
        let name = match (self.at(0).as_str(), self.at(1).as_str()) {
            ("TIME", "ZONE") => {
                self.at += 2;
                "timezone".to_owned()
            }
            ("NAMES", _) => {
                self.at += 1;
                "client_encoding".to_owned()
            }
            _ => {
                let name = self.name()?;
                if !matches!(self.token(0), Some(Token::Eq)) && self.at(0) != "TO" {
                    return Err(self.wrong());
                }
                self.at += 1;
                name
            }
        };
        let value = self.values()?;
        Ok(Command::Session(SessionCommand::Set { name, value }))
    }

    /// The rest as a value: words, numbers and texts, with commas between them.
    fn values(mut self) -> Result<Option<String>> {
        if matches!(self.at(0).as_str(), "DEFAULT") && self.tokens.len() == self.at + 1 {
            return Ok(None);
        }
        let mut values = Vec::new();
        loop {
            let sign = if matches!(self.token(0), Some(Token::Minus)) { "-" } else { "" };
            self.at += sign.len();
            let value = match self.token(0) {
                Some(Token::Word(word)) => word.value.clone(),
                Some(Token::Number(number, _)) => number.clone(),
                Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
                _ => return Err(self.wrong()),
            };
            values.push(format!("{sign}{value}"));
            self.at += 1;
            match self.token(0) {
                None => return Ok(Some(values.join(", "))),
                Some(Token::Comma) => self.at += 1,
                Some(_) => return Err(self.wrong()),
            }
        }
    }

    fn reset(mut self) -> Result<Command> {
        if matches!(self.token(0), Some(Token::SingleQuotedString(_)) | None) {
            return Ok(Command::Engine);
        }
        if matches!(self.at(0).as_str(), "ALL") {
            return Ok(Command::Session(SessionCommand::Reset(None)));
        }
        if self.at(0) == "SESSION" || self.at(0) == "ROLE" {
            return Ok(Command::Session(SessionCommand::SetTransaction));
        }
        Ok(Command::Session(SessionCommand::Reset(Some(self.name()?))))
    }

    /// SHOW is Flink's (SHOW TABLES) and Postgres's (SHOW server_version): the lists are Flink's.
    fn show(mut self) -> Command {
        let flink = matches!(
            self.token(0),
            Some(Token::Word(word)) if matches!(word.value.to_ascii_uppercase().as_str(),
                "TABLES" | "VIEWS" | "MATERIALIZED" | "COLUMNS" | "FUNCTIONS" | "USER" | "CATALOGS" | "CURRENT" | "DATABASES" | "JOBS" | "CREATE")
        );
        if flink || self.token(0).is_none() {
            return Command::Engine;
        }
        if self.at(0) == "ALL" {
            return Command::Session(SessionCommand::Show(None));
        }
        if self.at(0) == "TIME" && self.at(1) == "ZONE" {
            return Command::Session(SessionCommand::Show(Some("timezone".to_owned())));
        }
        if self.at(0) == "TRANSACTION" && self.at(1) == "ISOLATION" {
            return Command::Session(SessionCommand::Show(Some("transaction_isolation".to_owned())));
        }
        if self.at(0) == "SESSION" && self.at(1) == "AUTHORIZATION" {
            return Command::Session(SessionCommand::Show(Some("session_authorization".to_owned())));
        }
        match self.name() {
            Ok(name) => Command::Session(SessionCommand::Show(Some(name))),
            Err(_) => Command::Engine,
        }
    }
}

/// Whether tokens ask for Postgres's catalogs, in the ways that tools do.
pub(crate) fn asks_catalogs(tokens: &[TokenWithSpan]) -> bool {
    tokens.iter().any(|token| match &token.token {
        Token::Word(word) => {
            let name = word.value.to_ascii_lowercase();
            name.starts_with("pg_") || matches!(name.as_str(), "regclass" | "regtype" | "regproc" | "regnamespace" | "current_setting") || word.keyword == Keyword::REGCLASS
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<(String, Command)> {
        pieces(text).unwrap().into_iter().map(|piece| (piece.text, piece.command)).collect()
    }

    fn session(text: &str) -> SessionCommand {
        match commands(text).remove(0).1 {
            Command::Session(command) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn statements_are_cut_at_semicolons_only() {
        let found = commands("SELECT ';' -- ;\n, \"a;b\", `c;d` ; /* ; */ BEGIN;; COMMIT");
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["SELECT ';' -- ;\n, \"a;b\", `c;d`", "BEGIN", "COMMIT"]);
        assert!(commands(" ; -- nothing\n").is_empty());
    }

    #[test]
    fn a_statement_set_is_one_statement() {
        let found = commands("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END; SELECT 1");
        assert_eq!(found.len(), 2);
        assert_eq!((&found[0].1, &found[1].1), (&Command::Engine, &Command::Query));
    }

    #[test]
    fn settings_of_sessions_and_of_the_engine() {
        assert_eq!(session("SET search_path TO a, 'B'"), SessionCommand::Set { name: "search_path".to_owned(), value: Some("a, B".to_owned()) });
        assert_eq!(session("SET TIME ZONE 'Europe/Rome'"), SessionCommand::Set { name: "timezone".to_owned(), value: Some("Europe/Rome".to_owned()) });
        assert_eq!(session("set extra_float_digits = -1"), SessionCommand::Set { name: "extra_float_digits".to_owned(), value: Some("-1".to_owned()) });
        assert_eq!(session("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), SessionCommand::SetTransaction);
        assert_eq!(commands("SET 'table.local-time-zone' = 'UTC'")[0].1, Command::Engine);
        assert_eq!(session("show TRANSACTION ISOLATION LEVEL"), SessionCommand::Show(Some("transaction_isolation".to_owned())));
        assert_eq!(commands("SHOW TABLES")[0].1, Command::Engine);
    }

    #[test]
    fn cursors() {
        assert_eq!(session("DECLARE \"C\" NO SCROLL CURSOR WITHOUT HOLD FOR SELECT 1"), SessionCommand::Declare { name: "C".to_owned(), query_from: 8 });
        assert_eq!(session("FETCH FORWARD 10 FROM c"), SessionCommand::Fetch { name: "c".to_owned(), rows: Some(10), is_move: false });
        assert_eq!(session("FETCH ALL IN c"), SessionCommand::Fetch { name: "c".to_owned(), rows: None, is_move: false });
        assert_eq!(session("CLOSE c"), SessionCommand::CloseCursor(Some("c".to_owned())));
    }

    #[test]
    fn what_is_not_understood_says_where() {
        let error = pieces("SET x y").unwrap_err();
        assert_eq!((error.state, error.at.unwrap().column), ("42601", 7));
        assert_eq!(pieces("COPY t TO STDOUT").unwrap_err().state, "0A000");
        assert_eq!(pieces("SELECT 'x").unwrap_err().state, "42601");
    }

    #[test]
    fn no_text_is_too_much() {
        let sum = format!("SELECT 1{}", "+1".repeat(100_000));
        assert_eq!(pieces(&sum).unwrap_err().state, "54001");
        let nested = format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500));
        assert_eq!(pieces(&nested).unwrap_err().state, "54001");
        let unions = vec!["SELECT 1"; 3_000].join(" UNION ALL ");
        assert_eq!(pieces(&unions).unwrap_err().state, "54001");
        assert_eq!(pieces(&"x ".repeat(3 << 20)).unwrap_err().state, "54001");
    }
}
