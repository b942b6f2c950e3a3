//! The format of a table as its connector names it, with the options that belong to it.

use arrow::datatypes::SchemaRef;
use millstream_dataflow::{Column, Error, Options, Result, Table};
use millstream_formats::{DecodingFormat, EncodingFormat};
use std::sync::Arc;

/// A format by its name, with its options.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) name: String,
    /// What comes before the format's name in the names of its options: `key.` in `key.json.fail-on-missing-field`.
    prefix: &'static str,
    options: Options,
}

impl Format {
    /// Takes the options of a format.
    pub(crate) fn take(options: &mut Options, prefix: &'static str, name: String) -> Self {
        let of_format = options.prefixed(&format!("{prefix}{name}."));
        let renamed = of_format
            .into_iter()
            .map(|(option, value)| (format!("{name}.{option}"), value));
        Self {
            options: Options::new(options.owner(), renamed),
            prefix,
            name,
        }
    }

    /// The format for reading the wanted columns; `table` has the columns that stand in the records.
    pub(crate) fn decoder(
        &self,
        table: &Table,
        wanted: &[Column],
    ) -> Result<Arc<dyn DecodingFormat>> {
        let mut options = self.options.clone();
        millstream_formats::decoder(&self.name, &mut options, table, wanted)
            .and_then(|format| options.finish().map(|()| format))
            .map_err(|error| self.named(error))
    }

    /// The format for writing rows of a schema.
    pub(crate) fn encoder(&self, schema: &SchemaRef) -> Result<Arc<dyn EncodingFormat>> {
        let mut options = self.options.clone();
        millstream_formats::encoder(&self.name, &mut options, schema)
            .and_then(|format| options.finish().map(|()| format))
            .map_err(|error| self.named(error))
    }

    /// An error that names options as the user wrote them.
    fn named(&self, mut error: Error) -> Error {
        let (own, given) = (
            format!("'{}.", self.name),
            format!("'{}{}.", self.prefix, self.name),
        );
        error.message = error.message.replace(&own, &given);
        error.hint = error.hint.map(|hint| hint.replace(&own, &given));
        error
    }
}
