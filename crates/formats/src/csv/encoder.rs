//! Rows to CSV records.

use super::{Settings, refuse_maps};
use crate::cells::{Cells, Kind};
use crate::time::Style;
use crate::{EncodingFormat, copies};
use arrow::datatypes::SchemaRef;
use millstream_dataflow::format::Encoder;
use millstream_dataflow::{Changes, Delta, Options, Result};
use std::fmt;

/// `csv` as a sink's format.
#[derive(Clone, Debug)]
pub(crate) struct CsvEncoding {
    settings: Settings,
    schema: SchemaRef,
}

impl CsvEncoding {
    /// Takes the options.
    ///
    /// # Errors
    /// `User` for a bad option, or a type that CSV cannot hold.
    pub(crate) fn new(options: &mut Options, schema: &SchemaRef) -> Result<Self> {
        crate::check_types(schema)?;
        for field in schema.fields() {
            refuse_maps(field.name(), field.data_type())?;
        }
        Ok(Self {
            settings: Settings::take(options)?,
            schema: SchemaRef::clone(schema),
        })
    }

    /// Appends a field, in quotes where it needs them.
    fn field(&self, text: &[u8], out: &mut Vec<u8>) {
        let settings = &self.settings;
        let special = |byte: &u8| {
            *byte == settings.delimiter
                || matches!(byte, b'\n' | b'\r')
                || Some(*byte) == settings.quote
                || Some(*byte) == settings.escape
        };
        let comment = settings.comments && text.first() == Some(&b'#');
        let Some(quote) = settings
            .quote
            .filter(|_| comment || text.iter().any(special))
        else {
            out.extend_from_slice(text);
            return;
        };
        out.push(quote);
        for byte in text {
            if *byte == quote || Some(*byte) == settings.escape {
                out.push(settings.escape.unwrap_or(quote));
            }
            out.push(*byte);
        }
        out.push(quote);
    }

    /// Appends the text of a value, its items with their delimiter between them.
    fn text(&self, cells: &Cells, row: usize, out: &mut Vec<u8>) {
        if cells.is_null(row) {
            out.extend_from_slice(self.settings.null_literal.as_deref().unwrap_or_default());
            return;
        }
        match &cells.kind {
            Kind::List(offsets, items) => {
                let from = offsets[row] as usize;
                for item in from..offsets[row + 1] as usize {
                    self.delimit(item > from, out);
                    self.text(items, item, out);
                }
            }
            Kind::Row(fields) => {
                for (idx, (_, field)) in fields.iter().enumerate() {
                    self.delimit(idx > 0, out);
                    self.text(field, row, out);
                }
            }
            _ => cells.plain(row, Style::Sql, out),
        }
    }

    fn delimit(&self, more: bool, out: &mut Vec<u8>) {
        if more {
            out.extend_from_slice(&self.settings.item_delimiter);
        }
    }
}

impl EncodingFormat for CsvEncoding {
    fn changes(&self) -> Changes {
        Changes::AppendOnly
    }

    fn header(&self) -> Option<Vec<u8>> {
        self.settings.header.then(|| {
            let mut out = Vec::new();
            for (idx, field) in self.schema.fields().iter().enumerate() {
                if idx > 0 {
                    out.push(self.settings.delimiter);
                }
                self.field(field.name().as_bytes(), &mut out);
            }
            out
        })
    }

    fn open(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }
}

impl Encoder for CsvEncoding {
    fn encode(&mut self, delta: &Delta, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let columns = delta.batch().columns();
        let columns = columns.iter().map(Cells::of).collect::<Result<Vec<_>>>()?;
        let mut text = Vec::new();
        for row in 0..delta.rows() {
            for _ in 0..copies("csv", delta, row)? {
                for (idx, cells) in columns.iter().enumerate() {
                    if idx > 0 {
                        out.push(self.settings.delimiter);
                    }
                    text.clear();
                    self.text(cells, row, &mut text);
                    self.field(&text, out);
                }
                ends.push(out.len());
            }
        }
        Ok(())
    }
}

impl fmt::Display for CsvEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "csv{}", self.settings)
    }
}
