//! Where something stands in the source text.
//!
//! Lines and columns start at 1 and columns count characters, as sqlparser's tokens (and editors) do; offsets are bytes, so that
//! `text[span.range()]` is the spanned text. `Lines` converts between the two; it is built once per text.

use std::fmt;
use std::ops::Range;

use sqlparser::tokenizer::{Location, Span as TokenSpan};

/// One place in a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Bytes from the start of the text.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A stretch of text: `start` is its first character, `end` the place just behind its last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First character.
    pub start: Position,
    /// Just behind the last character.
    pub end: Position,
}

impl Span {
    /// The bytes that the span covers.
    pub fn range(&self) -> Range<usize> {
        self.start.offset..self.end.offset
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

impl Span {
    /// The span of a token, or of a node of sqlparser's AST, in the text that was parsed. An empty span is the text's end.
    pub fn of(text: &str, span: TokenSpan) -> Self {
        Lines::new(text).span(span)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.start.line, self.start.column)
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub node: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub fn new(node: T, span: Span) -> Self {
        Self { node, span }
    }
}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.node
    }
}

/// Characters between two remembered byte offsets in a line that is not ASCII.
const STRIDE: usize = 256;

/// Where each line of a text starts, and where each `STRIDE`th character of a non-ASCII line stands.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    start: usize,
    end: usize,
    /// Byte offset of characters 0, STRIDE, 2 * STRIDE...; empty for an ASCII line.
    marks: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut lines = Vec::new();
        let mut start = 0;
        for line in text.split('\n') {
            let marks = if line.is_ascii() {
                Vec::new()
            } else {
                line.char_indices()
                    .step_by(STRIDE)
                    .map(|(offset, _)| start + offset)
                    .collect()
            };
            lines.push(Line {
                start,
                end: start + line.len(),
                marks,
            });
            start += line.len() + 1;
        }
        Self { text, lines }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Where a token's location is; a location outside of the text is moved to the text's end.
    pub(crate) fn position(&self, location: Location) -> Position {
        let (line, column) = (location.line as usize, location.column as usize);
        let Some(found) = line.checked_sub(1).and_then(|idx| self.lines.get(idx)) else {
            return self.end();
        };
        let chars = column.saturating_sub(1);
        let offset = if found.marks.is_empty() {
            found.start + chars
        } else {
            let mark = (chars / STRIDE).min(found.marks.len() - 1);
            let from = found.marks[mark];
            let rest = &self.text[from..found.end];
            rest.char_indices()
                .nth(chars - mark * STRIDE)
                .map_or(found.end, |(offset, _)| from + offset)
        };
        Position {
            offset: offset.min(found.end),
            line,
            column: column.max(1),
        }
    }

    pub(crate) fn span(&self, span: TokenSpan) -> Span {
        Span {
            start: self.position(span.start),
            end: self.position(span.end),
        }
    }

    /// The place behind the last character.
    pub(crate) fn end(&self) -> Position {
        let last = self.lines.last().map_or(0, |line| line.start);
        Position {
            offset: self.text.len(),
            line: self.lines.len().max(1),
            column: self.text[last..].chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_bytes() {
        let long = "é".repeat(1000);
        let text = format!("a\n{long}x\nb");
        let lines = Lines::new(&text);
        assert_eq!(lines.position(Location { line: 1, column: 1 }).offset, 0);
        assert_eq!(lines.position(Location { line: 2, column: 1 }).offset, 2);
        let x = lines.position(Location {
            line: 2,
            column: 1001,
        });
        assert_eq!(&text[x.offset..=x.offset], "x");
        assert_eq!(
            &text[lines.position(Location { line: 3, column: 1 }).offset..],
            "b"
        );
        assert_eq!(lines.position(Location { line: 0, column: 0 }), lines.end());
        assert_eq!(lines.end().offset, text.len());
    }
}
