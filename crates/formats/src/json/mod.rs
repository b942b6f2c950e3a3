//! The `json` format: one object a record.

pub(crate) mod encoder;
pub(crate) mod fault;
pub(crate) mod fields;
mod read;
pub(crate) mod rows;
pub(crate) mod scan;
mod settings;
#[cfg(test)]
mod tests;
pub(crate) mod text;

pub(crate) use settings::{NullKey, Settings};

use crate::framing::{Framing, Input};
use crate::lane::{Lane, Reading};
use crate::{DecodingFormat, wanted_path};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use fields::Fields;
use millstream_dataflow::format::{Decoded, Decoder, Records};
use millstream_dataflow::{Changes, Column, Delta, Options, Result};
use rows::Rows;
use std::fmt;
use std::sync::Arc;

/// `json` as a source's format.
#[derive(Debug)]
pub(crate) struct Json {
    settings: Settings,
    schema: SchemaRef,
    rows: Rows,
}

impl Json {
    /// Takes the options and settles how each wanted column is read.
    ///
    /// # Errors
    /// `User` for a bad option, a metadata column or a type that JSON cannot hold.
    pub(crate) fn new(options: &mut Options, wanted: &[Column]) -> Result<Self> {
        let settings = Settings::take("json", options)?;
        let reading = settings.reading();
        let mut fields = Fields::new("", reading);
        let mut lanes = Vec::with_capacity(wanted.len());
        for column in wanted {
            let path = wanted_path("json", column)?;
            fields.add(path, lanes.len());
            lanes.push(lane(path, column, reading)?);
        }
        Ok(Self {
            settings,
            schema: schema_of(wanted),
            rows: Rows::new(fields, lanes),
        })
    }
}

/// The lane of a wanted column, named by its path.
pub(crate) fn lane(path: &[String], column: &Column, reading: Reading) -> Result<Lane> {
    Lane::new(&path.join("."), column.field.data_type(), reading)
}

/// The wanted columns as a schema.
pub(crate) fn schema_of(wanted: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(
        wanted
            .iter()
            .map(|column| column.field.clone())
            .collect::<Vec<_>>(),
    ))
}

impl DecodingFormat for Json {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn changes(&self) -> Changes {
        Changes::AppendOnly
    }

    fn framing(&self) -> Framing {
        Framing::lines()
    }

    fn skips_bad(&self) -> bool {
        self.settings.ignore_parse_errors
    }

    fn open(&self, _input: &Input<'_>) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(JsonDecoder {
            schema: Arc::clone(&self.schema),
            rows: self.rows.clone(),
        }))
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "json{}", self.settings)
    }
}

struct JsonDecoder {
    schema: SchemaRef,
    rows: Rows,
}

impl Decoder for JsonDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let taken = self.rows.read(records)?;
        let options = RecordBatchOptions::new().with_row_count(Some(taken.rows));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, taken.columns, &options)?;
        Ok(Decoded {
            delta: Delta::inserts(batch),
            origin: taken.origin,
            bad: taken.bad,
        })
    }
}
