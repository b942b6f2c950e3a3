//! Cuts a CSV record into its fields (RFC 4180, and an escape character if one is declared).

use super::Settings;
use memchr::{memchr, memchr2, memchr3};

/// The text of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// It stands in the record as it is, between these positions of the run.
    Plain(usize, usize),
    /// Quotes or escapes had to be resolved: it stands between these positions of the scratch space.
    Resolved(usize, usize),
}

/// The fields of a record, by position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Split {
    pub(crate) fields: Vec<Field>,
    pub(crate) scratch: Vec<u8>,
}

impl Split {
    /// Cuts `bytes[start..end]`, which has no line end behind it.
    ///
    /// # Errors
    /// What is wrong with the record.
    pub(crate) fn record(
        &mut self,
        bytes: &[u8],
        start: usize,
        end: usize,
        settings: &Settings,
    ) -> Result<(), String> {
        self.fields.clear();
        self.scratch.clear();
        let record = &bytes[..end];
        let mut pos = start;
        loop {
            let behind = match settings.quote {
                Some(quote) if record.get(pos) == Some(&quote) => {
                    self.quoted(record, pos + 1, quote, settings.escape)?
                }
                _ => self.plain(record, pos, settings)?,
            };
            match record.get(behind) {
                None => return Ok(()),
                Some(byte) if *byte == settings.delimiter => pos = behind + 1,
                Some(_) => {
                    return Err(format!(
                        "not CSV: text behind the closing quote at byte {}",
                        behind - start
                    ));
                }
            }
        }
    }

    /// A field whose opening quote stands before `start`; gives the position behind the closing one.
    fn quoted(
        &mut self,
        record: &[u8],
        start: usize,
        quote: u8,
        escape: Option<u8>,
    ) -> Result<usize, String> {
        let open = || "not CSV: a quote is not closed".to_owned();
        let scratch = self.scratch.len();
        let mut from = start;
        let mut pos = start;
        loop {
            let rest = &record[pos..];
            pos += memchr2(quote, escape.unwrap_or(quote), rest).ok_or_else(open)?;
            let doubled = record.get(pos + 1) == Some(&quote);
            if record[pos] == quote && !doubled {
                break;
            }
            // A doubled quote, or an escape: the next byte stands for itself.
            let next = pos + 1;
            if next >= record.len() {
                return Err(open());
            }
            self.scratch.extend_from_slice(&record[from..pos]);
            from = next;
            pos = next + 1;
        }
        self.finish(record, (start, from, pos), scratch);
        Ok(pos + 1)
    }

    /// A field without quotes; gives the position of its delimiter or the record's end.
    fn plain(&mut self, record: &[u8], start: usize, settings: &Settings) -> Result<usize, String> {
        let Some(escape) = settings.escape else {
            let length = memchr(settings.delimiter, &record[start..]);
            let end = length.map_or(record.len(), |length| start + length);
            self.fields.push(Field::Plain(start, end));
            return Ok(end);
        };
        let scratch = self.scratch.len();
        let mut from = start;
        let mut pos = start;
        loop {
            let found = memchr3(settings.delimiter, escape, escape, &record[pos..]);
            pos = found.map_or(record.len(), |length| pos + length);
            if pos == record.len() || record[pos] == settings.delimiter {
                break;
            }
            if pos + 1 == record.len() {
                return Err("not CSV: an escape character at the end".to_owned());
            }
            self.scratch.extend_from_slice(&record[from..pos]);
            from = pos + 1;
            pos += 2;
        }
        self.finish(record, (start, from, pos), scratch);
        Ok(pos)
    }

    /// Notes the field `start..end`, of which the part before `from` has been resolved.
    fn finish(&mut self, record: &[u8], (start, from, end): (usize, usize, usize), scratch: usize) {
        self.fields.push(if from == start {
            Field::Plain(start, end)
        } else {
            self.scratch.extend_from_slice(&record[from..end]);
            Field::Resolved(scratch, self.scratch.len())
        });
    }

    /// The text of a field.
    pub(crate) fn text<'a>(&'a self, bytes: &'a [u8], field: Field) -> &'a [u8] {
        match field {
            Field::Plain(start, end) => &bytes[start..end],
            Field::Resolved(start, end) => &self.scratch[start..end],
        }
    }
}
