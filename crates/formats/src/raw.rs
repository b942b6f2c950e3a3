//! The `raw` format: a record is one value, as bytes, text, or a number in binary.

use crate::cells::{Cells, Kind};
use crate::framing::{Framing, Input};
use crate::json::schema_of;
use crate::lane::{Lane, Reading, Values};
use crate::time::Style;
use crate::utf8::Run;
use crate::value::type_name;
use crate::{DecodingFormat, EncodingFormat, copies, wanted_path};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef};
use millstream_dataflow::format::{Decoded, Decoder, Encoder, Records};
use millstream_dataflow::{Changes, Column, Delta, Error, Options, Result, Table};
use std::fmt;
use std::sync::Arc;

/// The options, taken and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    little_endian: bool,
}

impl Settings {
    fn take(options: &mut Options) -> Result<Self> {
        options.word("raw.charset", &["utf-8", "utf8", "us-ascii"])?;
        let endianness = options.word("raw.endianness", &["big-endian", "little-endian"])?;
        Ok(Self {
            little_endian: endianness == "little-endian",
        })
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.little_endian {
            "raw little-endian"
        } else {
            "raw"
        })
    }
}

/// `raw` as a source's format.
#[derive(Debug)]
pub(crate) struct Raw {
    settings: Settings,
    schema: SchemaRef,
    lanes: Vec<Lane>,
}

fn check_column(name: &str, data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::BinaryView => Ok(()),
        other => Err(Error::user(format!(
            "column `{name}` has the type {}, but 'raw' holds STRING, BYTES, BOOLEAN or a number",
            type_name(other)
        ))),
    }
}

fn one_column(columns: usize) -> Result<()> {
    if columns == 1 {
        return Ok(());
    }
    Err(Error::user(format!(
        "the format 'raw' holds one column, but the table has {columns}"
    )))
}

impl Raw {
    /// Takes the options and settles the column.
    ///
    /// # Errors
    /// `User` for a bad option, more than one column or a type that has no raw form.
    pub(crate) fn new(options: &mut Options, table: &Table, wanted: &[Column]) -> Result<Self> {
        let settings = Settings::take(options)?;
        let physical = table
            .columns
            .iter()
            .filter(|column| column.metadata.is_none());
        one_column(physical.count())?;
        let reading = Reading {
            style: Style::Any,
            lenient: false,
            strict: false,
        };
        let mut lanes = Vec::with_capacity(wanted.len());
        for column in wanted {
            let path = wanted_path("raw", column)?;
            check_column(column.field.name(), column.field.data_type())?;
            lanes.push(crate::json::lane(path, column, reading)?);
        }
        Ok(Self {
            settings,
            schema: schema_of(wanted),
            lanes,
        })
    }
}

impl DecodingFormat for Raw {
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
        false
    }

    fn open(&self, input: &Input<'_>) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(RawDecoder {
            settings: self.settings,
            schema: Arc::clone(&self.schema),
            lanes: self.lanes.clone(),
            lines: matches!(input, Input::File { .. }),
        }))
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

struct RawDecoder {
    settings: Settings,
    schema: SchemaRef,
    lanes: Vec<Lane>,
    /// Whether a line end behind a record is no part of it.
    lines: bool,
}

impl Decoder for RawDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let run = Run::of(records)?;
        let count = records.len();
        self.lanes.iter_mut().for_each(|lane| lane.grow(count));
        let mut origin = Vec::with_capacity(count);
        let mut bad = Vec::new();
        for record in 0..count {
            let mut value = records.get(record);
            if self.lines {
                value = value.strip_suffix(b"\n").unwrap_or(value);
                value = value.strip_suffix(b"\r").unwrap_or(value);
            }
            let row = origin.len();
            let little = self.settings.little_endian;
            let set = |lane: &mut Lane| lane.set_raw(value, row, little, &run);
            match self.lanes.iter_mut().try_for_each(set) {
                Ok(()) => origin.push(record as u32),
                Err(why) => {
                    self.lanes.iter_mut().for_each(|lane| lane.clear(row));
                    bad.push((record as u32, why));
                }
            }
        }
        let rows = origin.len();
        let lanes = self.lanes.iter_mut();
        let columns = lanes
            .map(|lane| lane.take(rows, &run))
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(Decoded {
            delta: Delta::inserts(batch),
            origin: (rows != count).then_some(origin),
            bad,
        })
    }
}

/// The bytes of a number, the most significant one first.
fn big_endian<const N: usize>(value: &[u8], little: bool) -> Option<[u8; N]> {
    let mut bytes: [u8; N] = value.try_into().ok()?;
    if little {
        bytes.reverse();
    }
    Some(bytes)
}

impl Lane {
    fn set_raw(
        &mut self,
        value: &[u8],
        row: usize,
        little: bool,
        run: &Run<'_>,
    ) -> Result<(), String> {
        let complaint = format!(
            "column `{}`: {} bytes are no {}",
            self.name,
            value.len(),
            type_name(&self.data_type)
        );
        let set = match &mut self.values {
            Values::Text(views) => {
                run.check(value)?;
                if value.contains(&0) {
                    return Err(format!(
                        "column `{}`: the text holds a NUL character",
                        self.name
                    ));
                }
                views.copy(row, value);
                Some(())
            }
            Values::Bytes(views) => {
                views.copy(row, value);
                Some(())
            }
            Values::Boolean(bits) => match value {
                [0] => {
                    bits.clear(row);
                    Some(())
                }
                [_] => {
                    bits.set(row);
                    Some(())
                }
                _ => None,
            },
            Values::Int8(values) => {
                big_endian(value, little).map(|bytes| values[row] = i8::from_be_bytes(bytes))
            }
            Values::Int16(values) => {
                big_endian(value, little).map(|bytes| values[row] = i16::from_be_bytes(bytes))
            }
            Values::Int32(values) => {
                big_endian(value, little).map(|bytes| values[row] = i32::from_be_bytes(bytes))
            }
            Values::Int64(values) => {
                big_endian(value, little).map(|bytes| values[row] = i64::from_be_bytes(bytes))
            }
            Values::Float32(values) => {
                big_endian(value, little).map(|bytes| values[row] = f32::from_be_bytes(bytes))
            }
            Values::Float64(values) => {
                big_endian(value, little).map(|bytes| values[row] = f64::from_be_bytes(bytes))
            }
            _ => None,
        };
        set.ok_or(complaint)?;
        self.valid.set(row);
        Ok(())
    }
}

/// `raw` as a sink's format.
#[derive(Clone, Debug)]
pub(crate) struct RawEncoding {
    settings: Settings,
    data_type: DataType,
}

impl RawEncoding {
    /// Takes the options and settles the column.
    ///
    /// # Errors
    /// As [`Raw::new`].
    pub(crate) fn new(options: &mut Options, schema: &SchemaRef) -> Result<Self> {
        let settings = Settings::take(options)?;
        one_column(schema.fields().len())?;
        let field = schema.field(0);
        check_column(field.name(), field.data_type())?;
        Ok(Self {
            settings,
            data_type: field.data_type().clone(),
        })
    }

    fn value(&self, cells: &Cells, row: usize, out: &mut Vec<u8>) {
        let from = out.len();
        match (&cells.kind, &self.data_type) {
            (Kind::Bytes(values), _) => return out.extend_from_slice(values.value(row)),
            (Kind::Text(_), _) => return cells.plain(row, Style::Sql, out),
            (Kind::Boolean(values), _) => out.push(values.value(row).into()),
            (Kind::Float(values), _) => out.extend_from_slice(&values.value(row).to_be_bytes()),
            (Kind::Double(values), _) => out.extend_from_slice(&values.value(row).to_be_bytes()),
            (Kind::Integer(values), data_type) => {
                let bytes = values.value(row).to_be_bytes();
                let width = data_type.primitive_width().unwrap_or(bytes.len());
                out.extend_from_slice(&bytes[bytes.len() - width..]);
            }
            _ => {}
        }
        if self.settings.little_endian {
            out[from..].reverse();
        }
    }
}

impl EncodingFormat for RawEncoding {
    fn changes(&self) -> Changes {
        Changes::AppendOnly
    }

    fn open(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }
}

impl Encoder for RawEncoding {
    fn encode(&mut self, delta: &Delta, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let cells = Cells::of(delta.column(0))?;
        for row in 0..delta.rows() {
            for _ in 0..copies("raw", delta, row)? {
                if !cells.is_null(row) {
                    self.value(&cells, row, out);
                }
                ends.push(out.len());
            }
        }
        Ok(())
    }
}

impl fmt::Display for RawEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{column, decode, decode_file, encode, reasons};
    use millstream_dataflow::testing;

    #[test]
    fn a_record_is_a_value() {
        let text = [column("v", "text")];
        let got = decode("raw", &[], &text, &[&b"a b"[..], b"", b"\xff", b"x\n"]);
        assert_eq!(got.rows, "+1 a_b / +1 '' / +1 x\n");
        assert_eq!(reasons(&got), ["2 not UTF-8 at byte 0"]);
        assert_eq!(decode_file("raw", &[], &text, "a\r\nb").rows, "+1 a / +1 b");
        let number = [column("v", "int")];
        let got = decode("raw", &[], &number, &[&[0, 0, 1, 0][..], &[1]]);
        assert_eq!(got.rows, "+1 256");
        assert_eq!(reasons(&got), ["1 column `v`: 1 bytes are no INT"]);
        let little = [("raw.endianness", "little-endian")];
        assert_eq!(
            decode("raw", &little, &number, &[[0, 1, 0, 0]]).rows,
            "+1 256"
        );
    }

    #[test]
    fn a_value_is_a_record() {
        let delta = testing::delta("v int", "+1 65 / +1 NULL");
        assert_eq!(encode("raw", &[], &delta), ["\0\0\0A", ""]);
        let little = [("raw.endianness", "little-endian")];
        assert_eq!(encode("raw", &little, &delta), ["A\0\0\0", ""]);
        assert_eq!(encode("raw", &[], &testing::delta("v text", "+1 é")), ["é"]);
    }
}
