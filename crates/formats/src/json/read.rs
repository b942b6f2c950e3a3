//! Reads a JSON value into a row of a lane. What a value usually looks like is read in place; all the rest (texts that
//! hold numbers, escapes, numbers with many digits) goes through [`Lane::set_text`] and its like.

use super::fault::{Fault, Parsed, excerpt};
use super::scan::Scan;
use super::text::{compact, unescape};
use crate::lane::{Digits, Lane, Stamp, Values};
use crate::value::{self, type_name};

impl Lane {
    /// Reads the value at `pos` into a row that is NULL; gives the position behind it.
    #[inline(always)]
    pub(crate) fn read(&mut self, scan: &Scan<'_>, pos: usize, row: usize) -> Parsed {
        if scan.at(pos) == b'n' {
            return scan.literal(pos, b"null");
        }
        match self.read_usual(scan, pos, row) {
            Some(behind) => {
                self.valid.set(row);
                Ok(behind)
            }
            None => self.read_with_care(scan, pos, row),
        }
    }

    /// Reads a value in its usual form.
    #[inline(always)]
    fn read_usual(&mut self, scan: &Scan<'_>, pos: usize, row: usize) -> Option<usize> {
        match &mut self.values {
            Values::Text(views) => {
                if scan.at(pos) != b'"' {
                    return None;
                }
                let text = scan.string(pos).ok()?;
                if text.escaped || scan.nul {
                    return None;
                }
                let word = scan.load16(text.start)?;
                views.borrow(row, word, text.start, text.end);
                Some(text.end + 1)
            }
            Values::Int64(values) => {
                let (value, behind) = scan.integer(pos)?;
                values[row] = value;
                Some(behind)
            }
            Values::Int32(values) => {
                let (value, behind) = scan.integer(pos)?;
                values[row] = i32::try_from(value).ok()?;
                Some(behind)
            }
            Values::Timestamp(values, stamp) => {
                let (value, behind) = stamp.read_usual(scan, pos)?;
                values[row] = value;
                Some(behind)
            }
            Values::Float64(values) => {
                let (value, behind) = scan.double(pos)?;
                values[row] = value;
                Some(behind)
            }
            Values::Decimal(values, limit) => {
                let (value, behind) = limit.read_usual(scan, pos)?;
                values[row] = value;
                Some(behind)
            }
            Values::Boolean(bits) => {
                let (value, behind) = match scan.at(pos) {
                    b't' => (true, scan.literal(pos, b"true").ok()?),
                    b'f' => (false, scan.literal(pos, b"false").ok()?),
                    _ => return None,
                };
                if value {
                    bits.set(row)
                } else {
                    bits.clear(row)
                }
                Some(behind)
            }
            Values::Int8(_)
            | Values::Int16(_)
            | Values::Float32(_)
            | Values::Date(_)
            | Values::Time32(_)
            | Values::Time64(_)
            | Values::Bytes(_)
            | Values::Row(_)
            | Values::List(_)
            | Values::Map(_)
            | Values::Present => None,
        }
    }

    /// Reads a value in any form.
    #[inline(never)]
    fn read_with_care(&mut self, scan: &Scan<'_>, pos: usize, row: usize) -> Parsed {
        match self.read_any(scan, pos, row) {
            Err(fault) if !fault.syntax && self.reading.lenient => {
                self.clear(row);
                scan.skip(pos)
            }
            other => other,
        }
    }

    fn read_any(&mut self, scan: &Scan<'_>, pos: usize, row: usize) -> Parsed {
        match (&mut self.values, scan.at(pos)) {
            (Values::Row(_), b'{') => return self.read_row(scan, pos, row),
            (Values::List(_), b'[') => return self.read_list(scan, pos, row),
            (Values::Map(_), b'{') => return self.read_map(scan, pos, row),
            _ => {}
        }
        let behind = scan.skip(pos)?;
        if behind > scan.end {
            return Err(Fault::syntax(scan.end, "cut short"));
        }
        let token = scan.slice(pos, behind);
        let set = match token {
            [b'"', raw @ .., b'"'] => self.set_quoted(raw, row),
            [b'{' | b'[', ..] => self.set_nested(token, row),
            b"true" | b"false" => self.set_text(token, row),
            number => self.set_number(number, row),
        };
        match set {
            Ok(()) => Ok(behind),
            Err(why) => Err(self.refuse(pos, token, why)),
        }
    }

    #[cold]
    fn refuse(&self, pos: usize, token: &[u8], why: &str) -> Box<Fault> {
        Fault::value(pos, self.complaint(token, why))
    }

    /// The reason for a bad value: the column, the value and what was wanted.
    pub(crate) fn complaint(&self, token: &[u8], why: &str) -> String {
        let value = excerpt(token);
        let kind = type_name(&self.data_type);
        let colon = if why.is_empty() { "" } else { ": " };
        format!("column `{}`: {value} is no {kind}{colon}{why}", self.name)
    }

    fn set_quoted(&mut self, raw: &[u8], row: usize) -> Result<(), &'static str> {
        if let Values::Text(views) = &mut self.values {
            let start = views.own().len();
            unescape(raw, views.own())?;
            if views.own()[start..].contains(&0) {
                return Err("it holds a NUL character");
            }
            views.own_since(row, start);
            self.valid.set(row);
            return Ok(());
        }
        if !raw.contains(&b'\\') {
            return self.set_text(raw, row);
        }
        let mut text = Vec::new();
        unescape(raw, &mut text)?;
        self.set_text(&text, row)
    }

    fn set_nested(&mut self, token: &[u8], row: usize) -> Result<(), &'static str> {
        let Values::Text(views) = &mut self.values else {
            return Err("");
        };
        let start = views.own().len();
        compact(token, views.own())?;
        views.own_since(row, start);
        self.valid.set(row);
        Ok(())
    }

    /// Sets a row to a JSON number.
    fn set_number(&mut self, number: &[u8], row: usize) -> Result<(), &'static str> {
        const RANGE: &str = "it is out of range";
        let plain = !number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
        match &mut self.values {
            Values::Timestamp(values, stamp) => {
                values[row] = stamp.of_epoch(number).ok_or("")?;
            }
            Values::Int32(values) if !plain => {
                let (least, most) = (i64::from(i32::MIN), i64::from(i32::MAX));
                values[row] = value::truncated(number, least, most).ok_or(RANGE)? as i32;
            }
            Values::Int64(values) if !plain => {
                values[row] = value::truncated(number, i64::MIN, i64::MAX).ok_or(RANGE)?;
            }
            Values::Int8(_) | Values::Int16(_) | Values::Int32(_) | Values::Int64(_) if plain => {
                return self.set_text(number, row).map_err(|_| RANGE);
            }
            Values::Float32(_) | Values::Float64(_) => {
                return self.set_text(number, row).map_err(|_| RANGE);
            }
            _ => return self.set_text(number, row),
        }
        self.valid.set(row);
        Ok(())
    }

    fn read_row(&mut self, scan: &Scan<'_>, pos: usize, row: usize) -> Parsed {
        let Values::Row(inner) = &mut self.values else {
            return scan.skip(pos);
        };
        let behind = inner.fields.read(&mut inner.lanes, scan, pos, row)?;
        if let Some(lane) = inner.lanes.iter().find(|lane| !lane.complete(row)) {
            return Err(Fault::value(
                pos,
                format!("column `{}`: NULL, but it is declared NOT NULL", lane.name),
            ));
        }
        self.valid.set(row);
        Ok(behind)
    }

    fn read_list(&mut self, scan: &Scan<'_>, start: usize, row: usize) -> Parsed {
        let Values::List(list) = &mut self.values else {
            return scan.skip(start);
        };
        let from = list.items;
        let mut pos = scan.space(start + 1);
        let mut behind = pos + 1;
        if scan.at(pos) != b']' {
            loop {
                let item = list.items;
                list.items += 1;
                list.item.grow(list.items);
                pos = scan.space(list.item.read(scan, pos, item)?);
                if !list.item.complete(item) {
                    return Err(Fault::value(
                        start,
                        format!("column `{}`: a NULL item, but they are NOT NULL", self.name),
                    ));
                }
                behind = pos + 1;
                match scan.at(pos) {
                    b',' if pos < scan.end => pos = scan.space(behind),
                    b']' => break,
                    _ => return Err(scan.unexpected(pos, "',' or ']'")),
                }
            }
        }
        list.ranges[row] = (from as u32, list.items as u32);
        self.valid.set(row);
        Ok(behind)
    }

    fn read_map(&mut self, scan: &Scan<'_>, start: usize, row: usize) -> Parsed {
        let Values::Map(map) = &mut self.values else {
            return scan.skip(start);
        };
        let from = map.entries;
        let mut pos = scan.space(start + 1);
        let mut behind = pos + 1;
        if scan.at(pos) != b'}' {
            loop {
                if scan.at(pos) != b'"' {
                    return Err(scan.unexpected(pos, "a key in quotes"));
                }
                let entry = map.entries;
                map.entries += 1;
                map.key.grow(map.entries);
                map.value.grow(map.entries);
                let key = map.key.read(scan, pos, entry)?;
                pos = scan.colon(key)?;
                pos = scan.space(map.value.read(scan, pos, entry)?);
                if !map.value.complete(entry) || !map.key.valid.get(entry) {
                    return Err(Fault::value(
                        start,
                        format!(
                            "column `{}`: a NULL entry, but they are NOT NULL",
                            self.name
                        ),
                    ));
                }
                behind = pos + 1;
                match scan.at(pos) {
                    b',' if pos < scan.end => pos = scan.space(behind),
                    b'}' => break,
                    _ => return Err(scan.unexpected(pos, "',' or '}'")),
                }
            }
        }
        map.ranges[row] = (from as u32, map.entries as u32);
        self.valid.set(row);
        Ok(behind)
    }
}

impl Digits {
    /// A number with no more digits behind the point than the column has.
    #[inline(always)]
    fn read_usual(self, scan: &Scan<'_>, pos: usize) -> Option<(i128, usize)> {
        let (digits, scale, behind) = scan.fixed(pos)?;
        let missing = (self.scale as usize).checked_sub(scale)?;
        if missing > 18 {
            return None;
        }
        let value = i128::from(digits) * 10_i128.pow(missing as u32);
        let limit = 10_u128.pow(u32::from(self.precision.min(38)));
        (value.unsigned_abs() < limit).then_some((value, behind))
    }
}

impl Stamp {
    /// A timestamp of the usual form with seconds or milliseconds, of which everything down to the minute is mostly the
    /// same as in the one before.
    #[inline(always)]
    fn read_usual(&mut self, scan: &Scan<'_>, pos: usize) -> Option<(i64, usize)> {
        if self.epoch.is_some() || scan.at(pos) != b'"' || self.minute.0 == 0 {
            return None;
        }
        if scan.load16(pos + 1)? != self.minute.0 {
            return None;
        }
        let [colon, s1, s2, point, m1, m2, m3, last] = scan.load8(pos + 17)?.to_le_bytes();
        let digit = |byte: u8| byte.wrapping_sub(b'0');
        let (s1, s2) = (digit(s1), digit(s2));
        if colon != b':' || s1 > 5 || s2 > 9 {
            return None;
        }
        let second = self.minute.1 + i64::from(s1) * 10 + i64::from(s2);
        let (millis, behind) = if point == b'.' {
            let (m1, m2, m3) = (digit(m1), digit(m2), digit(m3));
            if m1.max(m2).max(m3) > 9 {
                return None;
            }
            let millis = i64::from(m1) * 100 + i64::from(m2) * 10 + i64::from(m3);
            (millis, self.closing(scan, last, pos + 24)?)
        } else {
            (0, self.closing(scan, point, pos + 20)?)
        };
        // A remembered minute is never so far away that this overflows.
        let value = second * self.per_second + millis * (self.per_second / 1000);
        Some((value, behind))
    }

    /// Behind the end of the text, where `byte` stands at `pos`.
    #[inline(always)]
    fn closing(&self, scan: &Scan<'_>, byte: u8, pos: usize) -> Option<usize> {
        if !self.zoned {
            return (byte == b'"').then_some(pos + 1);
        }
        (byte == b'Z' && scan.at(pos + 1) == b'"').then_some(pos + 2)
    }
}
