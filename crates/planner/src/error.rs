//! What planning can refuse, in the one error of the border.

use datafusion::common::DataFusionError;
use millstream_dataflow::{Error, Kind, Location};

/// An error of the binder or optimizer as the user's error: their text is at fault unless it says that it is internal.
#[allow(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub fn from_datafusion(error: DataFusionError) -> Error {
    let at = error
        .diagnostic()
        .and_then(|diagnostic| diagnostic.span)
        .map(|span| Location {
            line: span.start.line,
            column: span.start.column,
            end_line: span.end.line,
            end_column: span.end.column,
        });
    let kind = match error.find_root() {
        DataFusionError::Internal(_) => Kind::Internal,
        DataFusionError::ArrowError(_, _) | DataFusionError::Execution(_) => Kind::BadData,
        _ => Kind::User,
    };
    let text = error.strip_backtrace();
    let text = [
        "Error during planning: ",
        "Schema error: ",
        "SQL error: ",
        "This feature is not implemented: ",
        "Invalid or Unsupported Configuration: ",
    ]
    .iter()
    .fold(text, |text, prefix| text.replace(prefix, ""));
    let found = match text.split_once("\nhint: ") {
        Some((message, hint)) => Error::new(kind, message.trim_end_matches('.')).hint(hint),
        None => Error::new(kind, text.trim_end_matches('.')),
    };
    Error { at, ..found }
}

/// A refusal of this crate on its way through the binder.
pub(crate) fn to_datafusion(error: &Error) -> DataFusionError {
    DataFusionError::Plan(error.to_string())
}
