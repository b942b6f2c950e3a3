//! What is wrong with a text, where, and what to do about it: one form for the parser's errors and for the planner's.

use std::fmt::{self, Write as _};

use crate::span::Span;

/// Characters of a source line that a rendered diagnostic shows at most.
const LINE_SHOWN_CHARS: usize = 160;
/// Characters shown before the underlined text when a line is too long to show whole.
const LEAD_CHARS: usize = 60;

/// A message about a place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong: one sentence without a full stop.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A diagnostic without a hint.
    pub fn new(message: impl Into<String>, span: Span) -> Self {
        Self {
            message: message.into(),
            span,
            hint: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The diagnostic with the source line and its text underlined:
    ///
    /// ```text
    /// error: expected end of statement, found `t`
    ///  --> shop.sql:3:14
    ///   |
    /// 3 | SELECT a FRM t
    ///   |              ^
    ///   = hint: did you mean FROM instead of `FRM`?
    /// ```
    pub fn render(&self, source: &str, file_name: &str) -> String {
        self.render_as("error", source, file_name)
    }

    /// As [`Self::render`], with another word than `error` in front.
    pub fn render_as(&self, level: &str, source: &str, file_name: &str) -> String {
        let (line, column) = (self.span.start.line.max(1), self.span.start.column.max(1));
        let text = source
            .split('\n')
            .nth(line - 1)
            .unwrap_or_default()
            .trim_end_matches('\r');
        let length = self.underlined_chars(text);
        let (shown, lead) = crop(text, column - 1);
        let gutter = " ".repeat(line.to_string().len());
        let underline = "^".repeat(
            length
                .min(LINE_SHOWN_CHARS.saturating_sub(lead.chars().count()))
                .max(1),
        );
        let mut out = String::new();
        let _ = write!(
            out,
            "{level}: {}\n{gutter}--> {file_name}:{line}:{column}\n{gutter} |\n{line} | {shown}\n{gutter} | {lead}{underline}",
            self.message
        );
        if let Some(hint) = &self.hint {
            let _ = write!(out, "\n{gutter} = hint: {hint}");
        }
        out
    }

    /// How much to underline: a span over several lines is underlined to the end of its first.
    fn underlined_chars(&self, line: &str) -> usize {
        let start = self.span.start.column.max(1) - 1;
        let end = if self.span.end.line > self.span.start.line {
            line.chars().count()
        } else {
            self.span.end.column.max(1) - 1
        };
        end.saturating_sub(start).max(1)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.message, self.span)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// The part of a line to show, and the blank text that stands in front of the underline (tabs kept, so that it lines up).
fn crop(line: &str, start: usize) -> (String, String) {
    let chars: Vec<char> = line.chars().collect();
    let start = start.min(chars.len());
    let from = if chars.len() <= LINE_SHOWN_CHARS {
        0
    } else {
        start.saturating_sub(LEAD_CHARS)
    };
    let to = chars.len().min(from + LINE_SHOWN_CHARS);
    let mut shown: String = chars[from..to].iter().map(|c| printable(*c)).collect();
    let mut lead: String = chars[from..start]
        .iter()
        .map(|c| if *c == '\t' { '\t' } else { ' ' })
        .collect();
    if from > 0 {
        shown.insert_str(0, "...");
        lead.insert_str(0, "   ");
    }
    if to < chars.len() {
        shown.push_str("...");
    }
    (shown, lead)
}

fn printable(c: char) -> char {
    if c.is_control() && c != '\t' {
        '\u{fffd}'
    } else {
        c
    }
}

/// The text is not a statement of the dialect, or exceeds a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{diagnostic}")]
pub struct SyntaxError {
    /// What, where and what to do.
    pub diagnostic: Diagnostic,
}

impl SyntaxError {
    /// The error with its source line and the text underlined; see [`Diagnostic::render`].
    pub fn render(&self, source: &str, file_name: &str) -> String {
        self.diagnostic.render(source, file_name)
    }
}

impl From<Diagnostic> for SyntaxError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Position;
    use expect_test::expect;

    fn at(line: usize, from: usize, to: usize) -> Span {
        let position = |column| Position {
            offset: 0,
            line,
            column,
        };
        Span {
            start: position(from),
            end: position(to),
        }
    }

    #[test]
    fn renders_tabs_and_long_lines() {
        let tabbed =
            Diagnostic::new("no such column `b`", at(2, 2, 3)).with_hint("did you mean `a`?");
        expect![[r"
            error: no such column `b`
             --> f.sql:2:2
              |
            2 | 	b
              | 	^
              = hint: did you mean `a`?"]]
        .assert_eq(&tabbed.render("x\n\tb", "f.sql"));
        let long = format!("{}ERR{}", "a ".repeat(200), " b".repeat(200));
        let rendered = Diagnostic::new("bad", at(1, 401, 404)).render(&long, "f.sql");
        let lines: Vec<&str> = rendered.lines().collect();
        assert!(lines[3].len() < 180, "{rendered}");
        assert_eq!(lines[3].find("ERR"), lines[4].find("^^^"), "{rendered}");
    }
}
