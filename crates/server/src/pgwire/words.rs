//! Statements about the session, read from their words: BEGIN, SET, SHOW, DECLARE and the like.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::error::{Result, SqlError};
use super::script::{Command, place_of, word};

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

/// Who answers a statement.
pub(crate) fn command(tokens: &[TokenWithSpan]) -> Result<Command> {
    let words = Words { tokens, at: 0 };
    if matches!(
        tokens.first().map(|token| &token.token),
        Some(Token::LParen)
    ) {
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
        ("FETCH" | "MOVE", _) => words
            .from(1)
            .fetch(words.at(0) == "MOVE")
            .map(Command::Session),
        ("CLOSE", "ALL") => session(SessionCommand::CloseCursor(None)),
        ("CLOSE", _) => session(SessionCommand::CloseCursor(Some(words.from(1).name()?))),
        ("SET", _) => words.from(1).set(),
        ("RESET", _) => words.from(1).reset(),
        ("SHOW", _) => Ok(words.from(1).show()),
        (
            "COPY" | "LISTEN" | "NOTIFY" | "PREPARE" | "EXECUTE" | "LOCK" | "UPDATE" | "DELETE"
            | "MERGE" | "GRANT" | "REVOKE" | "VACUUM" | "TRUNCATE",
            _,
        ) => Err(SqlError {
            at: tokens.first().map(|token| place_of(token.span.start)),
            ..SqlError::unsupported(words.at(0))
        }),
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
        Words {
            tokens: self.tokens,
            at,
        }
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
        let found = self
            .token(0)
            .map_or_else(|| "end of input".to_owned(), |token| format!("\"{token}\""));
        SqlError {
            at: token.map(|token| place_of(token.span.start)),
            ..SqlError::new("42601", format!("syntax error at or near {found}"))
        }
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
        let Some(Token::Word(word)) = self.token(0) else {
            return Err(self.wrong());
        };
        let name = if word.quote_style.is_none() {
            word.value.to_lowercase()
        } else {
            word.value.clone()
        };
        self.at += 1;
        Ok(name)
    }

    fn end(&self, command: SessionCommand) -> Result<SessionCommand> {
        if self.at < self.tokens.len() {
            Err(self.wrong())
        } else {
            Ok(command)
        }
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
            let known = [
                "BINARY",
                "ASENSITIVE",
                "INSENSITIVE",
                "NO",
                "SCROLL",
                "CURSOR",
                "WITH",
                "WITHOUT",
                "HOLD",
            ];
            if self.at(0) == "BINARY" {
                return Err(SqlError::unsupported("a binary cursor"));
            }
            if !known.contains(&self.at(0).as_str()) {
                return Err(self.wrong());
            }
            self.at += 1;
        }
        Ok(SessionCommand::Declare {
            name,
            query_from: self.at,
        })
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
        } else if ["BACKWARD", "PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE"]
            .contains(&self.at(0).as_str())
        {
            return Err(SqlError::new("55000", "cursor can only scan forward"));
        } else {
            Some(1)
        };
        if !self.eat("FROM") {
            self.eat("IN");
        }
        let name = self.name()?;
        self.end(SessionCommand::Fetch {
            name,
            rows,
            is_move,
        })
    }

    fn set(mut self) -> Result<Command> {
        // SET 'key' = 'value' is Flink's, and so is SET alone.
        if matches!(self.token(0), Some(Token::SingleQuotedString(_)) | None) {
            return Ok(Command::Engine);
        }
        if self.at(0) == "SESSION"
            && matches!(self.at(1).as_str(), "CHARACTERISTICS" | "AUTHORIZATION")
            || matches!(self.at(0).as_str(), "TRANSACTION" | "ROLE" | "CONSTRAINTS")
        {
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
            let sign = if matches!(self.token(0), Some(Token::Minus)) {
                "-"
            } else {
                ""
            };
            self.at += sign.len();
            let value = match self.token(0) {
                Some(Token::Word(word)) => word.value.clone(),
                Some(Token::Number(number, _)) => number.clone(),
                Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => {
                    text.clone()
                }
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
            return Command::Session(SessionCommand::Show(Some(
                "transaction_isolation".to_owned(),
            )));
        }
        if self.at(0) == "SESSION" && self.at(1) == "AUTHORIZATION" {
            return Command::Session(SessionCommand::Show(Some(
                "session_authorization".to_owned(),
            )));
        }
        match self.name() {
            Ok(name) => Command::Session(SessionCommand::Show(Some(name))),
            Err(_) => Command::Engine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgwire::script::pieces;

    fn commands(text: &str) -> Vec<Command> {
        pieces(text)
            .unwrap()
            .into_iter()
            .map(|piece| piece.command)
            .collect()
    }

    fn session(text: &str) -> SessionCommand {
        match commands(text).remove(0) {
            Command::Session(command) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn settings_of_sessions_and_of_the_engine() {
        assert_eq!(
            session("SET search_path TO a, 'B'"),
            SessionCommand::Set {
                name: "search_path".to_owned(),
                value: Some("a, B".to_owned())
            }
        );
        assert_eq!(
            session("SET TIME ZONE 'Europe/Rome'"),
            SessionCommand::Set {
                name: "timezone".to_owned(),
                value: Some("Europe/Rome".to_owned())
            }
        );
        assert_eq!(
            session("set extra_float_digits = -1"),
            SessionCommand::Set {
                name: "extra_float_digits".to_owned(),
                value: Some("-1".to_owned())
            }
        );
        assert_eq!(
            session("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
            SessionCommand::SetTransaction
        );
        assert_eq!(
            commands("SET 'table.local-time-zone' = 'UTC'")[0],
            Command::Engine
        );
        assert_eq!(
            session("show TRANSACTION ISOLATION LEVEL"),
            SessionCommand::Show(Some("transaction_isolation".to_owned()))
        );
        assert_eq!(commands("SHOW TABLES")[0], Command::Engine);
    }

    #[test]
    fn cursors() {
        assert_eq!(
            session("DECLARE \"C\" NO SCROLL CURSOR WITHOUT HOLD FOR SELECT 1"),
            SessionCommand::Declare {
                name: "C".to_owned(),
                query_from: 8
            }
        );
        assert_eq!(
            session("FETCH FORWARD 10 FROM c"),
            SessionCommand::Fetch {
                name: "c".to_owned(),
                rows: Some(10),
                is_move: false
            }
        );
        assert_eq!(
            session("FETCH ALL IN c"),
            SessionCommand::Fetch {
                name: "c".to_owned(),
                rows: None,
                is_move: false
            }
        );
        assert_eq!(
            session("CLOSE c"),
            SessionCommand::CloseCursor(Some("c".to_owned()))
        );
    }
}
