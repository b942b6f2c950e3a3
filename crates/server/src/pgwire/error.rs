//! Errors as Postgres clients know them: five letters that programs act on, and words for people.

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use millstream_dataflow::{Error, Kind, Location};
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage;

use super::frontend::Malformed;

/// The result of what a client asks for.
pub(crate) type Result<T, E = SqlError> = std::result::Result<T, E>;

/// An error for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqlError {
    /// Ends the connection.
    pub fatal: bool,
    /// SQLSTATE.
    pub state: &'static str,
    pub message: String,
    pub detail: Option<Box<str>>,
    pub hint: Option<Box<str>>,
    /// Where in the text that the client sent.
    pub at: Option<Location>,
}

impl SqlError {
    pub(crate) fn new(state: &'static str, message: impl Into<String>) -> Self {
        Self {
            fatal: false,
            state,
            message: message.into(),
            detail: None,
            hint: None,
            at: None,
        }
    }

    pub(crate) fn fatal(state: &'static str, message: impl Into<String>) -> Self {
        Self {
            fatal: true,
            ..Self::new(state, message)
        }
    }

    pub(crate) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::new("0A000", format!("{what} is not supported"))
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new("XX000", message)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into_boxed_str());
        self
    }

    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into().into_boxed_str());
        self
    }

    /// The message for the wire; `text` is what the client sent.
    pub(crate) fn message(&self, text: &str) -> PgWireBackendMessage {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(
            severity.to_owned(),
            self.state.to_owned(),
            self.message.replace('\0', ""),
        );
        info.severity_nonlocalized = Some(severity.to_owned());
        info.detail = self.detail.as_ref().map(|detail| detail.replace('\0', ""));
        info.hint = self.hint.as_ref().map(|hint| hint.replace('\0', ""));
        info.position = self
            .at
            .and_then(|at| position(text, at))
            .map(|position| position.to_string());
        PgWireBackendMessage::ErrorResponse(info.into())
    }
}

/// A notice for the wire.
pub(crate) fn notice(message: &str) -> PgWireBackendMessage {
    let mut info = ErrorInfo::new(
        "NOTICE".to_owned(),
        "00000".to_owned(),
        message.replace('\0', ""),
    );
    info.severity_nonlocalized = Some("NOTICE".to_owned());
    PgWireBackendMessage::NoticeResponse(info.into())
}

/// A place as Postgres counts it: characters from the start of the text, from 1.
fn position(text: &str, at: Location) -> Option<usize> {
    let (line, column) = (
        usize::try_from(at.line).ok()?,
        usize::try_from(at.column).ok()?,
    );
    if line == 0 || column == 0 || text.is_empty() {
        return None;
    }
    let before: usize = text
        .split_inclusive('\n')
        .take(line - 1)
        .map(|line| line.chars().count())
        .sum();
    Some(before + column)
}

impl From<Malformed> for SqlError {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Type(kind) => {
                Self::fatal("08P01", format!("invalid frontend message type {kind}"))
            }
            Malformed::Length => Self::fatal("08P01", "invalid message format"),
            Malformed::Encoding => {
                Self::new("22021", "invalid byte sequence for encoding \"UTF8\"")
            }
        }
    }
}

impl From<Error> for SqlError {
    fn from(mut error: Error) -> Self {
        error.message = own_words(error.message);
        let state = match error.kind {
            Kind::User => user_state(&error),
            Kind::Retryable => "58000",
            Kind::BadData => data_state(&error.message),
            Kind::Internal => "XX000",
            Kind::Fenced => "57P01",
        };
        Self {
            fatal: false,
            state,
            message: error.message,
            detail: boxed(error.detail),
            hint: boxed(error.hint),
            at: error.at,
        }
    }
}

/// The engine's user errors carry words, no codes.
fn user_state(error: &Error) -> &'static str {
    let message = error.message.as_str();
    let has = |part: &str| message.contains(part);
    if has("there is no table or view") || (has("table '") && has("not found")) {
        "42P01"
    } else if has("there already is a") {
        "42P07"
    } else if has("No field named") || has("there is no column") {
        "42703"
    } else if has("read `") && has("other views or sinks") {
        "2BP01"
    } else if has("Invalid function") || has("there is no function") {
        "42883"
    } else if has("there is no setting") {
        "42704"
    } else if (has("is a ") && has("table") && has("holds no rows"))
        || ["table", "view", "materialized view"]
            .iter()
            .any(|kind| message.ends_with(&format!("` is a {kind}")))
    {
        "42809"
    } else if has("not supported") || has("can't be maintained") {
        "0A000"
    } else if has("Resources exhausted") {
        "53200"
    } else if has("more than the limit") || has("nested more than") || has("in a row") {
        "54001"
    } else if message.starts_with("expected") || has("Expected") {
        "42601"
    } else {
        "42000"
    }
}

fn data_state(message: &str) -> &'static str {
    let has = |part: &str| message.contains(part);
    if message.starts_with("view \"") {
        // A view that is not there to be read, whatever its operator died of.
        "55000"
    } else if has("Divide by zero") || has("divide by zero") || has("ivision by zero") {
        "22012"
    } else if has("verflow") || has("out of range") {
        "22003"
    } else if has("Cast error") || has("Parser error") || has("cannot parse") || has("Cannot cast")
    {
        "22P02"
    } else {
        "22000"
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        let state = state_of(error.find_root());
        let syntax = match error.find_root() {
            DataFusionError::SQL(parser, _) => parser_location(parser),
            _ => None,
        };
        let worded = millstream_engine::from_datafusion(error);
        let message = match syntax {
            // The place is said apart.
            Some(_) => worded
                .message
                .split(" at Line:")
                .next()
                .unwrap_or_default()
                .replace("sql parser error: ", ""),
            None => own_words(worded.message),
        };
        // What could have been meant instead is not what is wrong.
        let (message, detail) = match message.split_once("Valid fields are") {
            Some((message, fields)) => (
                message.trim().to_owned(),
                Some(format!("fields:{}", shortened(fields, 400))),
            ),
            None => (shortened(&message, 2_000), worded.detail),
        };
        Self {
            fatal: false,
            state,
            message,
            detail: boxed(detail),
            hint: boxed(worded.hint),
            at: worded.at.or(syntax),
        }
    }
}

/// A message without the names that libraries put before it.
fn own_words(message: String) -> String {
    const NAMES: [&str; 6] = [
        "Execution error: ",
        "Arrow error: ",
        "External error: ",
        "Optimizer rule 'simplify_expressions' failed\ncaused by\n",
        "type_coercion\ncaused by\n",
        "Internal error: ",
    ];
    let mut rest = message.as_str();
    while let Some(shorter) = NAMES.iter().find_map(|name| rest.strip_prefix(name)) {
        rest = shorter;
    }
    if rest.len() == message.len() {
        message
    } else {
        rest.to_owned()
    }
}

fn boxed(text: Option<String>) -> Option<Box<str>> {
    text.map(String::into_boxed_str)
}

fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn state_of(error: &DataFusionError) -> &'static str {
    match error {
        DataFusionError::SQL(parser, _) => match parser.as_ref() {
            ParserError::RecursionLimitExceeded => "54001",
            ParserError::TokenizerError(_) | ParserError::ParserError(_) => "42601",
        },
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { .. } => "42703",
            SchemaError::AmbiguousReference { .. } => "42702",
            SchemaError::DuplicateQualifiedField { .. }
            | SchemaError::DuplicateUnqualifiedField { .. } => "42701",
        },
        DataFusionError::NotImplemented(_) => "0A000",
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::Plan(message) => plan_state(message),
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::DivideByZero => "22012",
            ArrowError::ArithmeticOverflow(_) => "22003",
            ArrowError::CastError(_) | ArrowError::ParseError(_) => "22P02",
            ArrowError::MemoryError(_) => "53200",
            other => data_state(&other.to_string()),
        },
        DataFusionError::Execution(message) => data_state(message),
        DataFusionError::External(external) => match external.downcast_ref::<DataFusionError>() {
            Some(inner) => state_of(inner),
            None => "XX000",
        },
        DataFusionError::Internal(_) => "XX000",
        _ => "XX000",
    }
}

fn plan_state(message: &str) -> &'static str {
    let has = |part: &str| message.contains(part);
    if message.starts_with("table '") && has("not found") {
        "42P01"
    } else if has("table function") && has("not found")
        || has("Invalid function")
        || has("No function matches")
        || has("failed to match any signature")
    {
        "42883"
    } else if has("Invalid placeholder") {
        "42P02"
    } else if has("GROUP BY") || has("aggregate") {
        "42803"
    } else if has("coerce") || has("Cannot infer common") || has("type") {
        "42804"
    } else if has("DDL not supported")
        || has("DML not supported")
        || has("Statement not supported")
        || has("not supported")
    {
        "0A000"
    } else {
        "42000"
    }
}

/// sqlparser says the place in its words.
fn parser_location(error: &ParserError) -> Option<Location> {
    let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = error else {
        return None;
    };
    let rest = text.rsplit_once("at Line: ")?.1;
    let (line, column) = rest.split_once(", Column: ")?;
    let column = column
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .ok()?;
    let line = line.parse().ok()?;
    Some(Location {
        line,
        column,
        end_line: line,
        end_column: column + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters() {
        let at = |line, column| Location {
            line,
            column,
            end_line: line,
            end_column: column,
        };
        assert_eq!(position("SELECT é\nFROM t", at(2, 6)), Some(15));
        assert_eq!(position("", at(1, 1)), None);
    }

    #[test]
    fn codes_of_datafusion() {
        let state = |error: DataFusionError| SqlError::from(error).state;
        assert_eq!(
            state(DataFusionError::ArrowError(
                Box::new(ArrowError::DivideByZero),
                None
            )),
            "22012"
        );
        assert_eq!(
            state(DataFusionError::Plan("table 'a.b.c' not found".to_owned())),
            "42P01"
        );
        assert_eq!(
            state(DataFusionError::ResourcesExhausted("no".to_owned())),
            "53200"
        );
    }
}
