//! A client's text cut into statements, each with who answers it.
//!
//! Tokens are Postgres's, with Flink's back-quoted names beside: both dialects come through the same port. A query goes to
//! DataFusion, a statement about the session is answered here, and all else is the engine's.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use millstream_sql::Limits;

use super::dialect::SessionDialect;
use super::error::{Result, SqlError};
use super::words::{self, SessionCommand};

/// What a text may hold.
pub(crate) const LIMITS: Limits = Limits {
    text_bytes_max: 4 << 20,
    tokens_max: 300_000,
    depth_max: 100,
    chain_max: 1_000,
    set_operations_max: 200,
};

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
    pub(crate) fn place_in_whole(
        &self,
        at: millstream_dataflow::Location,
    ) -> millstream_dataflow::Location {
        let Some(start) = self.tokens.first().map(|token| token.span.start) else {
            return at;
        };
        let column = |line: u64, column: u64| {
            if line == 1 {
                column + start.column.saturating_sub(1)
            } else {
                column
            }
        };
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

/// Cuts a text into its statements.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece>> {
    let tokens = Tokenizer::new(&SessionDialect, text)
        .tokenize_with_location()
        .map_err(|error| SqlError {
            at: Some(place_of(error.location)),
            ..SqlError::new("42601", error.message)
        })?;
    let tokens: Vec<TokenWithSpan> = tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .collect();
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

fn finish(
    tokens: Vec<TokenWithSpan>,
    text: &str,
    offsets: &mut Offsets<'_>,
    found: &mut Vec<Piece>,
) -> Result<()> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Ok(());
    };
    millstream_sql::check_limits("", &tokens, &LIMITS).map_err(too_much)?;
    let (start, end) = (offsets.of(first.span.start), offsets.of(last.span.end));
    let command = words::command(&tokens)?;
    found.push(Piece {
        text: text.get(start..end).unwrap_or_default().to_owned(),
        command,
        tokens,
    });
    Ok(())
}

fn too_much(error: millstream_sql::SyntaxError) -> SqlError {
    let at = error.diagnostic.span.start;
    SqlError {
        hint: error.diagnostic.hint.map(String::into_boxed_str),
        at: Some(place(at.line as u64, at.column as u64)),
        ..SqlError::new("54001", error.diagnostic.message)
    }
}

/// A place of one character.
pub(crate) fn place(line: u64, column: u64) -> millstream_dataflow::Location {
    millstream_dataflow::Location {
        line,
        column,
        end_line: line,
        end_column: column + 1,
    }
}

/// A token's place.
pub(crate) fn place_of(at: Location) -> millstream_dataflow::Location {
    place(at.line, at.column)
}

/// Whether a text was refused for its size, not for its words.
pub(crate) fn is_too_much(error: &millstream_sql::SyntaxError) -> bool {
    let message = &error.diagnostic.message;
    [
        "more than the limit",
        "nested more than",
        "in a row",
        "has more than",
    ]
    .iter()
    .any(|part| message.contains(part))
}

/// BEGIN STATEMENT SET; ... END holds statements of its own.
fn in_statement_set(piece: &[TokenWithSpan]) -> bool {
    let word = |at: usize| {
        piece
            .get(at)
            .map(|token| word(&token.token))
            .unwrap_or_default()
    };
    let opened = (word(0) == "BEGIN" && word(1) == "STATEMENT" && word(2) == "SET")
        || (word(0) == "EXECUTE" && word(1) == "STATEMENT" && word(2) == "SET");
    let closed = piece.len() > 3
        && piece
            .last()
            .is_some_and(|token| self::word(&token.token) == "END");
    opened && !closed
}

/// An unquoted word in capitals; of anything else nothing.
pub(crate) fn word(token: &Token) -> String {
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
        Self {
            rest: text.char_indices(),
            line: 1,
            column: 1,
            length: text.len(),
        }
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

/// Whether tokens ask for Postgres's catalogs, in the ways that tools do.
pub(crate) fn asks_catalogs(tokens: &[TokenWithSpan]) -> bool {
    tokens.iter().any(|token| match &token.token {
        Token::Word(word) => {
            let name = word.value.to_ascii_lowercase();
            name.starts_with("pg_")
                || matches!(
                    name.as_str(),
                    "regclass" | "regtype" | "regproc" | "regnamespace" | "current_setting"
                )
                || word.keyword == Keyword::REGCLASS
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<(String, Command)> {
        pieces(text)
            .unwrap()
            .into_iter()
            .map(|piece| (piece.text, piece.command))
            .collect()
    }

    #[test]
    fn statements_are_cut_at_semicolons_only() {
        let found = commands("SELECT ';' -- ;\n, \"a;b\", `c;d` ; /* ; */ BEGIN;; COMMIT");
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(
            texts,
            ["SELECT ';' -- ;\n, \"a;b\", `c;d`", "BEGIN", "COMMIT"]
        );
        assert!(commands(" ; -- nothing\n").is_empty());
    }

    #[test]
    fn a_statement_set_is_one_statement() {
        let found = commands(
            "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END; SELECT 1",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(
            (&found[0].1, &found[1].1),
            (&Command::Engine, &Command::Query)
        );
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
