//! The options that all formats on JSON share.

use crate::lane::Reading;
use crate::time::Style;
use millstream_dataflow::{Error, Options, Result};
use std::fmt;

/// What to do with a NULL key of a MAP when writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NullKey {
    Fail,
    Drop,
    Literal(String),
}

/// The options, taken and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) ignore_parse_errors: bool,
    pub(crate) fail_on_missing_field: bool,
    pub(crate) iso: bool,
    pub(crate) null_key: NullKey,
    pub(crate) decimal_as_plain_number: bool,
    pub(crate) ignore_null_fields: bool,
}

impl Settings {
    /// Takes the options that begin with the format's name.
    ///
    /// # Errors
    /// `User` for a value that an option does not have.
    pub(crate) fn take(format: &str, options: &mut Options) -> Result<Self> {
        let name = |option: &str| format!("{format}.{option}");
        let words = ["sql", "iso-8601"];
        let iso = options.word(&name("timestamp-format.standard"), &words)? == "iso-8601";
        let modes = ["fail", "drop", "literal"];
        let mode = options.word(&name("map-null-key.mode"), &modes)?;
        let literal = options.text(&name("map-null-key.literal"));
        let settings = Self {
            ignore_parse_errors: options.flag(&name("ignore-parse-errors"), false)?,
            fail_on_missing_field: format == "json"
                && options.flag(&name("fail-on-missing-field"), false)?,
            iso,
            null_key: match mode.as_str() {
                "drop" => NullKey::Drop,
                "literal" => NullKey::Literal(literal.unwrap_or_else(|| "null".to_owned())),
                _ => NullKey::Fail,
            },
            decimal_as_plain_number: options
                .flag(&name("encode.decimal-as-plain-number"), false)?,
            ignore_null_fields: options.flag(&name("encode.ignore-null-fields"), false)?,
        };
        if settings.ignore_parse_errors && settings.fail_on_missing_field {
            return Err(Error::user(format!(
                "table `{}`: 'json.fail-on-missing-field' and 'json.ignore-parse-errors' cannot both be true",
                options.owner()
            )));
        }
        Ok(settings)
    }

    /// How values are read.
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            style: self.style(),
            lenient: self.ignore_parse_errors,
            strict: self.fail_on_missing_field,
        }
    }

    pub(crate) fn style(&self) -> Style {
        if self.iso { Style::Iso } else { Style::Sql }
    }
}

impl fmt::Display for Settings {
    /// What differs from the defaults, each with a space before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            (self.ignore_parse_errors, " ignore-parse-errors"),
            (self.fail_on_missing_field, " fail-on-missing-field"),
            (self.iso, " timestamps=ISO-8601"),
            (self.decimal_as_plain_number, " decimal-as-plain-number"),
            (self.ignore_null_fields, " ignore-null-fields"),
        ];
        for (_, text) in flags.iter().filter(|(on, _)| *on) {
            f.write_str(text)?;
        }
        match &self.null_key {
            NullKey::Fail => Ok(()),
            NullKey::Drop => f.write_str(" map-null-key=DROP"),
            NullKey::Literal(literal) => write!(f, " map-null-key='{literal}'"),
        }
    }
}
