//! Why a record, or a value in it, cannot be read. Made only when something is wrong.

/// What reading gives: mostly the position behind what was read.
pub(crate) type Parsed<T = usize> = Result<T, Box<Fault>>;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The position in the run of records.
    pub(crate) at: usize,
    /// The reason, with the column and the value where there is one.
    pub(crate) what: String,
    /// Whether the text is not JSON at all (rather than a value that does not fit its column).
    pub(crate) syntax: bool,
}

impl Fault {
    /// The text is not JSON.
    #[cold]
    pub(crate) fn syntax(at: usize, what: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            at,
            what: what.into(),
            syntax: true,
        })
    }

    /// A value does not fit its column.
    #[cold]
    pub(crate) fn value(at: usize, what: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            at,
            what: what.into(),
            syntax: false,
        })
    }

    /// The reason for a record that is `start..end`.
    pub(crate) fn reason(&self, start: usize, end: usize) -> String {
        if !self.syntax {
            self.what.clone()
        } else if self.at >= end {
            "not JSON: it is cut short".to_owned()
        } else {
            format!(
                "not JSON: {} at byte {}",
                self.what,
                self.at.saturating_sub(start)
            )
        }
    }
}

/// A value for a message: cut at 64 characters.
pub(crate) fn excerpt(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(260)]);
    match text.char_indices().nth(64) {
        None => text.into_owned(),
        Some((at, _)) => format!("{}...", &text[..at]),
    }
}
