//! Reads a run of JSON records into lanes: one row for each object, in the order of the records.

use super::fault::{Fault, Parsed};
use super::fields::Fields;
use super::scan::Scan;
use crate::lane::Lane;
use crate::utf8::Run;
use arrow::array::ArrayRef;
use millstream_dataflow::Result;
use millstream_dataflow::format::Records;

/// Lanes, and the fields of a record that fill them.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    fields: Fields,
    lanes: Vec<Lane>,
}

/// What became of a run of records.
#[derive(Debug)]
pub(crate) struct Taken {
    /// One array a lane.
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) rows: usize,
    /// The record of each row; `None` when row `i` is record `i`.
    pub(crate) origin: Option<Vec<u32>>,
    pub(crate) bad: Vec<(u32, String)>,
}

impl Taken {
    /// The record that a row came from.
    pub(crate) fn record(&self, row: usize) -> u32 {
        match &self.origin {
            None => row as u32,
            Some(origin) => origin[row],
        }
    }
}

/// How far a run has been read.
struct Progress {
    row: usize,
    /// Rows for which the lanes have room.
    room: usize,
    origin: Option<Vec<u32>>,
    bad: Vec<(u32, String)>,
}

impl Rows {
    /// Reads fields into lanes.
    pub(crate) fn new(fields: Fields, lanes: Vec<Lane>) -> Self {
        Self { fields, lanes }
    }

    /// Reads all records.
    ///
    /// # Errors
    /// `Internal` for a run of 2 GiB or more: views could not point into it.
    pub(crate) fn read(&mut self, records: &Records) -> Result<Taken> {
        let run = Run::of(records)?;
        let count = records.len();
        let mut progress = Progress {
            row: 0,
            room: count,
            origin: None,
            bad: Vec::new(),
        };
        self.lanes.iter_mut().for_each(|lane| lane.grow(count));
        let bytes = records.bytes.as_slice();
        let nul = memchr::memchr(0, bytes).is_some();
        let mut start = records.start;
        for (record, &end) in records.ends.iter().enumerate() {
            let scan = Scan { bytes, end, nul };
            if let Err(why) = run.check(&bytes[start..end]) {
                progress.note(progress.row, record as u32);
                progress.bad.push((record as u32, why));
            } else {
                self.read_record(&scan, start, record as u32, &mut progress);
            }
            start = end;
        }
        self.take(progress, &run)
    }

    #[inline(always)]
    fn read_record(&mut self, scan: &Scan<'_>, start: usize, record: u32, progress: &mut Progress) {
        let before = progress.row;
        let pos = scan.space(start);
        let outcome = if scan.at(pos) == b'{' && pos < scan.end {
            self.read_object(scan, pos, progress)
        } else {
            self.read_other(scan, pos, progress)
        };
        let outcome = outcome.and_then(|behind| {
            let behind = scan.space(behind);
            if behind == scan.end {
                Ok(())
            } else {
                Err(scan.unexpected(behind.min(scan.end), "nothing more"))
            }
        });
        if let Err(fault) = outcome {
            self.refuse(&fault, scan, start, record, before, progress);
        } else {
            progress.note(before, record);
        }
    }

    #[inline(always)]
    fn read_object(&mut self, scan: &Scan<'_>, pos: usize, progress: &mut Progress) -> Parsed {
        let row = progress.row;
        progress.row += 1;
        self.fields.read(&mut self.lanes, scan, pos, row)
    }

    /// An empty record and `null` are no rows, an array of objects is several.
    #[cold]
    fn read_other(&mut self, scan: &Scan<'_>, pos: usize, progress: &mut Progress) -> Parsed {
        match scan.at(pos) {
            _ if pos >= scan.end => return Ok(scan.end),
            b'n' => return scan.literal(pos, b"null"),
            b'[' => {}
            _ => {
                scan.skip(pos)?;
                return Err(Fault::value(pos, "the record is no JSON object"));
            }
        }
        let mut pos = scan.space(pos + 1);
        if scan.at(pos) == b']' {
            return Ok(pos + 1);
        }
        loop {
            if progress.row == progress.room {
                progress.room += 64;
                let room = progress.room;
                self.lanes.iter_mut().for_each(|lane| lane.grow(room));
            }
            if scan.at(pos) != b'{' {
                scan.skip(pos)?;
                return Err(Fault::value(pos, "an item of the record is no JSON object"));
            }
            pos = scan.space(self.read_object(scan, pos, progress)?);
            match scan.at(pos) {
                b',' if pos < scan.end => pos = scan.space(pos + 1),
                b']' => return Ok(pos + 1),
                _ => return Err(scan.unexpected(pos, "',' or ']'")),
            }
        }
    }

    /// Wipes out what a bad record has left.
    #[cold]
    fn refuse(
        &mut self,
        fault: &Fault,
        scan: &Scan<'_>,
        start: usize,
        record: u32,
        before: usize,
        progress: &mut Progress,
    ) {
        for row in before..progress.row {
            self.lanes.iter_mut().for_each(|lane| lane.clear(row));
        }
        progress.row = before;
        progress.note(before, record);
        progress.bad.push((record, fault.reason(start, scan.end)));
    }

    fn take(&mut self, progress: Progress, run: &Run<'_>) -> Result<Taken> {
        let rows = progress.row;
        let columns = self
            .lanes
            .iter_mut()
            .map(|lane| lane.take(rows, run))
            .collect::<Result<Vec<_>>>()?;
        Ok(Taken {
            columns,
            rows,
            origin: progress.origin,
            bad: progress.bad,
        })
    }
}

impl Progress {
    /// Notes the record of the rows since `before`, from the first time on that it is not simply the row's number.
    #[inline(always)]
    fn note(&mut self, before: usize, record: u32) {
        let simple = self.row == before + 1 && before == record as usize;
        if self.origin.is_some() || !simple {
            self.note_rarely(before, record);
        }
    }

    #[inline(never)]
    fn note_rarely(&mut self, before: usize, record: u32) {
        let origin = self
            .origin
            .get_or_insert_with(|| (0..before as u32).collect());
        origin.resize(self.row, record);
    }
}
