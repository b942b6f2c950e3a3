//! Deltas to envelopes: an insert is an envelope with the new row, a retraction one with the old row.

use super::dialect::{Dialect, Shape};
use crate::EncodingFormat;
use crate::cells::{Cells, write_object};
use crate::json::Settings;
use crate::json::encoder::fields_of;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::format::Encoder;
use millstream_dataflow::{Changes, Delta, Options, Result};
use std::fmt;

/// A changelog format of a sink.
#[derive(Clone, Debug)]
pub(crate) struct ChangelogEncoding {
    dialect: &'static Dialect,
    settings: Settings,
}

impl ChangelogEncoding {
    /// Takes the options.
    ///
    /// # Errors
    /// `User` for a bad option, or a type that JSON cannot hold.
    pub(crate) fn new(
        dialect: &'static Dialect,
        options: &mut Options,
        schema: &SchemaRef,
    ) -> Result<Self> {
        crate::check_types(schema)?;
        let name = |option: &str| format!("{}.{option}", dialect.name);
        let included = name("schema-include");
        if dialect.has_schema && options.flag(&included, false)? {
            return Err(options.invalid(&included, "true", "false for a table that is written"));
        }
        if dialect.filters {
            // They choose what is read, and say nothing of what is written.
            options.text(&name("database.include"));
            options.text(&name("table.include"));
        }
        Ok(Self {
            dialect,
            settings: Settings::take(dialect.name, options)?,
        })
    }

    fn envelope(
        &self,
        fields: &[(Vec<u8>, Cells)],
        row: usize,
        insert: bool,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let dialect = self.dialect;
        let key = |name: &str, out: &mut Vec<u8>| out.extend_from_slice(&crate::cells::key(name));
        out.push(b'{');
        match (dialect.shape, dialect.partial) {
            (Shape::Lists, _) => {
                key(dialect.after, out);
                out.push(b'[');
                write_object(fields, row, &self.settings, out)?;
                out.push(b']');
            }
            (Shape::Objects, true) => {
                key(dialect.after, out);
                write_object(fields, row, &self.settings, out)?;
            }
            (Shape::Objects, false) => {
                for (name, full) in [(dialect.before, !insert), (dialect.after, insert)] {
                    key(name, out);
                    if full {
                        write_object(fields, row, &self.settings, out)?;
                    } else {
                        out.extend_from_slice(b"null");
                    }
                    if name == dialect.before {
                        out.push(b',');
                    }
                }
            }
        }
        out.push(b',');
        key(dialect.op, out);
        let op = if insert {
            dialect.insert[0]
        } else {
            dialect.delete
        };
        out.push(b'"');
        out.extend_from_slice(op.as_bytes());
        out.extend_from_slice(b"\"}");
        Ok(())
    }
}

impl EncodingFormat for ChangelogEncoding {
    fn changes(&self) -> Changes {
        Changes::All
    }

    fn open(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }
}

impl Encoder for ChangelogEncoding {
    fn encode(&mut self, delta: &Delta, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let fields = fields_of(delta)?;
        for row in 0..delta.rows() {
            let weight = delta.weight(row);
            for _ in 0..weight.unsigned_abs() {
                self.envelope(&fields, row, weight > 0, out)?;
                ends.push(out.len());
            }
        }
        Ok(())
    }
}

impl fmt::Display for ChangelogEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dialect.name, self.settings)
    }
}
