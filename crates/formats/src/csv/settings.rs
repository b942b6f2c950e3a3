//! The options of the `csv` format.

use millstream_dataflow::{Options, Result};
use std::fmt;

/// The options, taken and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) delimiter: u8,
    pub(crate) quote: Option<u8>,
    pub(crate) escape: Option<u8>,
    pub(crate) comments: bool,
    pub(crate) ignore_parse_errors: bool,
    /// What stands between the items of an ARRAY and the fields of a ROW.
    pub(crate) item_delimiter: Vec<u8>,
    pub(crate) null_literal: Option<Vec<u8>>,
    /// Whether a file begins with the names of its columns.
    pub(crate) header: bool,
}

impl Settings {
    /// Takes the options.
    ///
    /// # Errors
    /// `User` for a value that an option does not have.
    pub(crate) fn take(options: &mut Options) -> Result<Self> {
        let quote = character(options, "csv.quote-character")?;
        let disabled = options.flag("csv.disable-quote-character", false)?;
        if disabled && quote.is_some() {
            return Err(options.invalid(
                "csv.disable-quote-character",
                "true",
                "false when 'csv.quote-character' is given",
            ));
        }
        let item_delimiter = options.text("csv.array-element-delimiter");
        Ok(Self {
            delimiter: character(options, "csv.field-delimiter")?.unwrap_or(b','),
            quote: (!disabled).then_some(quote.unwrap_or(b'"')),
            escape: character(options, "csv.escape-character")?,
            comments: options.flag("csv.allow-comments", false)?,
            ignore_parse_errors: options.flag("csv.ignore-parse-errors", false)?,
            item_delimiter: match item_delimiter {
                Some(text) if text.is_empty() => {
                    return Err(options.invalid("csv.array-element-delimiter", "", "some text"));
                }
                Some(text) => text.into_bytes(),
                None => vec![b';'],
            },
            null_literal: options.text("csv.null-literal").map(String::into_bytes),
            header: options.flag("csv.header", false)?,
        })
    }

    /// Whether a field's text stands for NULL.
    pub(crate) fn is_null(&self, text: &[u8]) -> bool {
        self.null_literal.as_deref() == Some(text)
    }
}

/// Takes an option that is one ASCII character, or the escape of one.
fn character(options: &mut Options, name: &str) -> Result<Option<u8>> {
    let Some(text) = options.text(name) else {
        return Ok(None);
    };
    match *text.as_bytes() {
        [b'\\', b't'] => Ok(Some(b'\t')),
        [byte] if byte.is_ascii() && byte != b'\n' && byte != b'\r' => Ok(Some(byte)),
        _ => match unicode(&text) {
            Some(byte) => Ok(Some(byte)),
            None => Err(options.invalid(name, &text, "one ASCII character, such as ';' or '\\t'")),
        },
    }
}

/// The character of `\u0001`.
fn unicode(text: &str) -> Option<u8> {
    let digits = text
        .strip_prefix("\\u")
        .filter(|digits| digits.len() == 4)?;
    let code = u8::from_str_radix(digits, 16).ok()?;
    code.is_ascii().then_some(code)
}

impl fmt::Display for Settings {
    /// What differs from the defaults, each with a space before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |byte: u8| char::from(byte).escape_default();
        if self.delimiter != b',' {
            write!(f, " delimiter='{}'", shown(self.delimiter))?;
        }
        match self.quote {
            None => f.write_str(" no-quotes")?,
            Some(b'"') => {}
            Some(quote) => write!(f, " quote='{}'", shown(quote))?,
        }
        if let Some(escape) = self.escape {
            write!(f, " escape='{}'", shown(escape))?;
        }
        if let Some(null) = &self.null_literal {
            write!(f, " null='{}'", String::from_utf8_lossy(null))?;
        }
        let flags = [
            (self.header, " header"),
            (self.comments, " comments"),
            (self.ignore_parse_errors, " ignore-parse-errors"),
        ];
        for (_, text) in flags.iter().filter(|(on, _)| *on) {
            f.write_str(text)?;
        }
        Ok(())
    }
}
