//! CSV records into lanes.

use super::split::{Field, Split};
use super::{Output, Settings};
use crate::json::scan::Scan;
use crate::lane::{Lane, Values};
use crate::utf8::Run;
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use memchr::memmem;
use millstream_dataflow::format::{Decoded, Decoder, Records};
use millstream_dataflow::{Delta, Error, Result};
use std::sync::Arc;

/// Decodes the records of one reader.
pub(crate) struct CsvDecoder {
    settings: Settings,
    schema: SchemaRef,
    /// For each lane the position of its field.
    places: Vec<usize>,
    /// How many fields a record has.
    width: usize,
    lanes: Vec<Lane>,
    outputs: Vec<Output>,
    split: Split,
}

/// The end of a record without its line's end.
pub(crate) fn without_line_end(bytes: &[u8], end: usize) -> usize {
    match &bytes[..end] {
        [.., b'\r', b'\n'] => end - 2,
        [.., b'\n'] => end - 1,
        _ => end,
    }
}

impl CsvDecoder {
    pub(crate) fn new(
        settings: Settings,
        schema: SchemaRef,
        (places, width): (Vec<usize>, usize),
        lanes: Vec<Lane>,
        outputs: Vec<Output>,
    ) -> Self {
        Self {
            settings,
            schema,
            places,
            width,
            lanes,
            outputs,
            split: Split::default(),
        }
    }

    /// Reads a record into a row; whether it is one.
    fn read(&mut self, scan: &Scan<'_>, start: usize, row: usize) -> Result<bool, String> {
        let first = scan.bytes[start..scan.end].first();
        if first.is_none() || (self.settings.comments && first == Some(&b'#')) {
            return Ok(false);
        }
        self.split
            .record(scan.bytes, start, scan.end, &self.settings)?;
        let width = self.split.fields.len();
        if width != self.width && !self.settings.ignore_parse_errors {
            return Err(format!(
                "the record has {width} fields, but must have {}",
                self.width
            ));
        }
        for (place, lane) in self.places.iter().zip(&mut self.lanes) {
            let Some(field) = self.split.fields.get(*place) else {
                continue;
            };
            if lane.set_plain(scan, *field, row, &self.settings) {
                continue;
            }
            let text = self.split.text(scan.bytes, *field);
            if let Err(why) = lane.set_field(text, row, &self.settings) {
                lane.clear(row);
                if !self.settings.ignore_parse_errors {
                    return Err(lane.complaint(text, why));
                }
            }
        }
        Ok(true)
    }

    fn columns(&mut self, rows: usize, run: &Run<'_>) -> Result<Vec<ArrayRef>> {
        let lanes = self
            .lanes
            .iter_mut()
            .map(|lane| lane.take(rows, run))
            .collect::<Result<Vec<_>>>()?;
        self.outputs
            .iter()
            .map(|output| extract(&lanes[output.lane], &output.path))
            .collect()
    }
}

/// A field inside a ROW column, NULL where a parent is.
fn extract(column: &ArrayRef, path: &[usize]) -> Result<ArrayRef> {
    let mut column = Arc::clone(column);
    for at in path {
        let Some(row) = column.as_any().downcast_ref::<StructArray>() else {
            return Err(Error::internal("a path leads into what is no ROW"));
        };
        let child = row.column(*at);
        column = if row.null_count() > 0 {
            compute::nullif(child, &compute::is_null(row)?)?
        } else {
            Arc::clone(child)
        };
    }
    Ok(column)
}

impl Decoder for CsvDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let run = Run::of(records)?;
        let bytes = records.bytes.as_slice();
        let count = records.len();
        self.lanes.iter_mut().for_each(|lane| lane.grow(count));
        let nul = memchr::memchr(0, bytes).is_some();
        let mut origin = Vec::with_capacity(count);
        let mut bad = Vec::new();
        let mut start = records.start;
        for (record, &end) in records.ends.iter().enumerate() {
            let scan = Scan {
                bytes,
                end: without_line_end(bytes, end).max(start),
                nul,
            };
            let row = origin.len();
            let outcome = run
                .check(&bytes[start..end])
                .and_then(|()| self.read(&scan, start, row));
            match outcome {
                Ok(true) => origin.push(record as u32),
                Ok(false) => {}
                Err(why) => {
                    self.lanes.iter_mut().for_each(|lane| lane.clear(row));
                    bad.push((record as u32, why));
                }
            }
            start = end;
        }
        let rows = origin.len();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = self.columns(rows, &run)?;
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(Decoded {
            delta: Delta::inserts(batch),
            origin: (rows != count).then_some(origin),
            bad,
        })
    }
}

impl Lane {
    /// Sets a row to a field in its usual form; `false` if it needs more care.
    #[inline]
    fn set_plain(
        &mut self,
        scan: &Scan<'_>,
        field: Field,
        row: usize,
        settings: &Settings,
    ) -> bool {
        let Field::Plain(start, end) = field else {
            return false;
        };
        if settings.is_null(scan.slice(start, end)) {
            return true;
        }
        match &mut self.values {
            Values::Text(views) => match scan.load16(start) {
                Some(word) if !scan.nul => views.borrow(row, word, start, end),
                _ => return false,
            },
            Values::Int64(values) => match scan.integer(start) {
                Some((value, behind)) if behind == end => values[row] = value,
                _ => return false,
            },
            Values::Float64(values) => match scan.double(start) {
                Some((value, behind)) if behind == end => values[row] = value,
                _ => return false,
            },
            _ => return false,
        }
        self.valid.set(row);
        true
    }

    /// Sets a row to a field's text.
    fn set_field(
        &mut self,
        text: &[u8],
        row: usize,
        settings: &Settings,
    ) -> Result<(), &'static str> {
        if settings.is_null(text) {
            return Ok(());
        }
        match &mut self.values {
            Values::Text(_) => self.set_text(text, row),
            Values::List(list) => {
                let from = list.items;
                for part in parts(text, &settings.item_delimiter) {
                    let item = list.items;
                    list.items += 1;
                    list.item.grow(list.items);
                    list.item.set_part(part, item, settings)?;
                }
                list.ranges[row] = (from as u32, list.items as u32);
                self.valid.set(row);
                Ok(())
            }
            Values::Row(inner) => {
                let mut parts = parts(text, &settings.item_delimiter).into_iter();
                for lane in &mut inner.lanes {
                    let part = parts.next().ok_or("it has too few fields")?;
                    lane.set_part(part, row, settings)?;
                }
                self.valid.set(row);
                parts
                    .next()
                    .map_or(Ok(()), |_| Err("it has too many fields"))
            }
            // Nothing at all is no number, no date...: it is NULL.
            _ if text.trim_ascii().is_empty() => Ok(()),
            _ => self.set_text(text, row),
        }
    }

    /// Sets a row to an item of an ARRAY or a field of a ROW.
    fn set_part(
        &mut self,
        part: &[u8],
        row: usize,
        settings: &Settings,
    ) -> Result<(), &'static str> {
        if let Err(why) = self.set_field(part, row, settings) {
            if !settings.ignore_parse_errors {
                return Err(why);
            }
            self.clear(row);
        }
        if self.complete(row) {
            Ok(())
        } else {
            Err("NULL in it is declared NOT NULL")
        }
    }
}

/// The parts of a text between delimiters; an empty text has none.
fn parts<'a>(text: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut from = 0;
    let mut parts: Vec<_> = memmem::find_iter(text, delimiter)
        .map(|at| &text[std::mem::replace(&mut from, at + delimiter.len())..at])
        .collect();
    parts.push(&text[from..]);
    parts
}
