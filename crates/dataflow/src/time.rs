//! Steps, watermarks and the clock reading of a step. All times are milliseconds since 1970-01-01 00:00 UTC
//! (for TIMESTAMP columns without a zone: of the wall-clock time that they show).

use std::fmt;

/// The number of a step of a job; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(pub u64);

/// No row with an event time up to this many milliseconds is expected any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Before any row.
    pub const MIN: Self = Self(i64::MIN);
    /// The end of all input: every window closes.
    pub const MAX: Self = Self(i64::MAX);

    /// Whether a window that ends (exclusively) at `end_ms` has closed: `watermark >= end - 1 ms`, as in Flink.
    pub fn closes(self, end_ms: i64) -> bool {
        self.0 >= end_ms.saturating_sub(1)
    }
}

impl Default for Watermark {
    fn default() -> Self {
        Self::MIN
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("-inf"),
            Self::MAX => f.write_str("+inf"),
            Self(ms) => write!(f, "{ms} ms"),
        }
    }
}

/// What an operator is told at the end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// The step that ends.
    pub step: Step,
    /// The minimum over the operator's inputs, after this step's rows.
    pub watermark: Watermark,
    /// The step's one reading of the wall clock, in milliseconds since the epoch.
    pub now_ms: i64,
}
