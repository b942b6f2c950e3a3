//! Rows to JSON objects.

use super::Settings;
use crate::cells::{Cells, key, write_object};
use crate::{EncodingFormat, copies};
use arrow::datatypes::SchemaRef;
use millstream_dataflow::format::Encoder;
use millstream_dataflow::{Changes, Delta, Options, Result};
use std::fmt;

/// `json` as a sink's format.
#[derive(Clone, Debug)]
pub(crate) struct JsonEncoding {
    settings: Settings,
}

impl JsonEncoding {
    /// Takes the options.
    ///
    /// # Errors
    /// `User` for a bad option, or a type that JSON cannot hold.
    pub(crate) fn new(options: &mut Options, schema: &SchemaRef) -> Result<Self> {
        crate::check_types(schema)?;
        Ok(Self {
            settings: Settings::take("json", options)?,
        })
    }
}

/// The columns of a delta with their names as JSON.
pub(crate) fn fields_of(delta: &Delta) -> Result<Vec<(Vec<u8>, Cells)>> {
    let schema = delta.schema();
    let columns = schema.fields().iter().zip(delta.batch().columns());
    columns
        .map(|(field, column)| Ok((key(field.name()), Cells::of(column)?)))
        .collect()
}

impl EncodingFormat for JsonEncoding {
    fn changes(&self) -> Changes {
        Changes::AppendOnly
    }

    fn open(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }
}

impl Encoder for JsonEncoding {
    fn encode(&mut self, delta: &Delta, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let fields = fields_of(delta)?;
        for row in 0..delta.rows() {
            for _ in 0..copies("json", delta, row)? {
                write_object(&fields, row, &self.settings, out)?;
                ends.push(out.len());
            }
        }
        Ok(())
    }
}

impl fmt::Display for JsonEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "json{}", self.settings)
    }
}
