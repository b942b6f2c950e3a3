//! The one error that crosses crate borders: what kind it is decides what the caller does about it.

use std::fmt;

/// The result of everything that can fail across a crate border.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The user's text, option or request is wrong: show it, change nothing.
    User,
    /// The outside world is not there right now: try again, with back-off.
    Retryable,
    /// A record is wrong: the table's policy (`fail`, `skip`, `dead-letter`) says where it goes.
    BadData,
    /// An invariant does not hold: the views that depend on it stop and say so.
    Internal,
    /// Another process has taken this one's place: stop, without writing anything more.
    Fenced,
}

/// An error with what happened, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What a caller does about it.
    pub kind: Kind,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where, or the words of the library below.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the SQL text, if it is about one.
    pub at: Option<Location>,
}

/// A piece of a SQL text: lines and columns count from 1, in characters; the end is behind the last character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The line where it begins.
    pub line: u64,
    /// The column where it begins.
    pub column: u64,
    /// The line where it ends.
    pub end_line: u64,
    /// The column behind its end.
    pub end_column: u64,
}

impl Error {
    /// An error of a kind, with its message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: None,
            hint: None,
            at: None,
        }
    }

    /// The user's text, option or request is wrong.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message)
    }

    /// The outside world is not there right now.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::new(Kind::Retryable, message)
    }

    /// A record is wrong.
    pub fn bad_data(message: impl Into<String>) -> Self {
        Self::new(Kind::BadData, message)
    }

    /// Another process has taken this one's place.
    pub fn fenced(message: impl Into<String>) -> Self {
        Self::new(Kind::Fenced, message)
    }

    /// An invariant does not hold.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Says where, or what the library below said.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says where in the SQL text.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.at = Some(location);
        self
    }

    /// Puts `context: ` before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<arrow::error::ArrowError> for Error {
    /// A kernel fails on values (a cast, a division by zero) or on a broken invariant; the first is the data's fault.
    fn from(error: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError as A;
        let kind = match error {
            A::CastError(_)
            | A::DivideByZero
            | A::ArithmeticOverflow(_)
            | A::ParseError(_)
            | A::InvalidArgumentError(_)
            | A::ComputeError(_) => Kind::BadData,
            _ => Kind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}
