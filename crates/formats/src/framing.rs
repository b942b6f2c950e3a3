//! Where records begin and end in a file. Messages (of a topic) need none of this: each is a record.

use memchr::{memchr, memchr2};

/// What the records given to a decoder are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Messages: every byte of a record belongs to it.
    Messages,
    /// Records that [`Framing::split`] has cut out of a file: each may end with its line's end.
    File {
        /// The first record of the file, where [`Framing::header`] says that it is one. It is not decoded again.
        header: Option<&'a [u8]>,
    },
}

/// How a format's records stand in a file: one a line, except that a quoted line end does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Whether the first record of a file names the columns.
    pub header: bool,
    quote: Option<u8>,
    escape: Option<u8>,
    /// Quotes count at the beginning of a field only.
    delimiter: u8,
    comment: bool,
}

impl Framing {
    /// One record a line.
    pub fn lines() -> Self {
        Self {
            header: false,
            quote: None,
            escape: None,
            delimiter: 0,
            comment: false,
        }
    }

    pub(crate) fn csv(
        header: bool,
        delimiter: u8,
        quote: Option<u8>,
        escape: Option<u8>,
        comment: bool,
    ) -> Self {
        Self {
            header,
            quote,
            escape,
            delimiter,
            comment,
        }
    }

    /// Finds the ends of the records in `bytes[start..]`, each behind its line's end, and appends at most `records_max`
    /// of them to `ends`. Gives the last of them (or `start`): what follows is the beginning of a record that does not
    /// end yet. With `last`, `bytes` is the file's end, and what follows its last line's end is a record too.
    ///
    /// ```
    /// use millstream_formats::Framing;
    ///
    /// let mut ends = Vec::new();
    /// let to = Framing::lines().split(b"{}\n{}\n{", 0, false, usize::MAX, &mut ends);
    /// assert_eq!((to, ends), (6, vec![3, 6]));
    /// ```
    pub fn split(
        &self,
        bytes: &[u8],
        start: usize,
        last: bool,
        records_max: usize,
        ends: &mut Vec<usize>,
    ) -> usize {
        let mut from = start;
        let mut left = records_max;
        while left > 0 && from < bytes.len() {
            let end = match self.end_of_record(bytes, from) {
                Some(end) => end,
                None if last => bytes.len(),
                None => break,
            };
            ends.push(end);
            from = end;
            left -= 1;
        }
        from
    }

    /// Behind the line end that ends the record at `from`.
    fn end_of_record(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let Some(quote) = self.quote else {
            return Some(from + memchr(b'\n', &bytes[from..])? + 1);
        };
        if self.comment && bytes[from] == b'#' {
            return Some(from + memchr(b'\n', &bytes[from..])? + 1);
        }
        let mut pos = from;
        loop {
            let found = pos + memchr2(b'\n', quote, &bytes[pos..])?;
            if bytes[found] == b'\n' {
                return Some(found + 1);
            }
            let opens = found == from || bytes[found - 1] == self.delimiter;
            pos = if opens {
                self.end_of_quotes(bytes, found + 1, quote)?
            } else {
                found + 1
            };
        }
    }

    /// Behind the quote that closes what was opened before `pos`. A doubled quote closes and opens again.
    fn end_of_quotes(&self, bytes: &[u8], mut pos: usize, quote: u8) -> Option<usize> {
        loop {
            let escape = self.escape.unwrap_or(quote);
            let found = pos + memchr2(quote, escape, bytes.get(pos..)?)?;
            if bytes[found] == quote {
                if bytes.get(found + 1) != Some(&quote) {
                    return Some(found + 1);
                }
                pos = found + 2;
            } else {
                pos = found + 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(framing: Framing, text: &str) -> Vec<&str> {
        let mut ends = Vec::new();
        framing.split(text.as_bytes(), 0, true, usize::MAX, &mut ends);
        let mut from = 0;
        ends.into_iter()
            .map(|end| &text[std::mem::replace(&mut from, end)..end])
            .collect()
    }

    #[test]
    fn a_quoted_line_end_does_not_end_a_record() {
        let csv = Framing::csv(false, b',', Some(b'"'), None, false);
        assert_eq!(
            split(csv, "1,\"a\nb\"\"\n\"\r\n2,x\"y\n3"),
            ["1,\"a\nb\"\"\n\"\r\n", "2,x\"y\n", "3"]
        );
        let escaped = Framing::csv(false, b',', Some(b'"'), Some(b'\\'), false);
        assert_eq!(split(escaped, "\"a\\\"\nb\"\n2"), ["\"a\\\"\nb\"\n", "2"]);
    }

    #[test]
    fn an_open_quote_waits_for_more() {
        let csv = Framing::csv(false, b',', Some(b'"'), None, false);
        let mut ends = Vec::new();
        assert_eq!(csv.split(b"1\n\"a\nb", 0, false, 10, &mut ends), 2);
        assert_eq!(ends, [2]);
    }
}
