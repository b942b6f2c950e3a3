//! Sets a row of a lane from a text: a CSV field, or a JSON string in a column of another type.

use crate::lane::{Lane, Reading, Stamp, Values};
use crate::{time, value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const NANOS_PER_MILLI: i64 = 1_000_000;

impl Lane {
    /// Sets a row to what a text means in the lane's type.
    ///
    /// # Errors
    /// What is wrong with it, if more is to be said than that it does not fit.
    pub(crate) fn set_text(&mut self, text: &[u8], row: usize) -> Result<(), &'static str> {
        let whole = |least: i64, most: i64| value::integer(text, least, most).ok_or("");
        let reading = self.reading;
        match &mut self.values {
            Values::Boolean(bits) => match value::boolean(text).ok_or("")? {
                true => bits.set(row),
                false => bits.clear(row),
            },
            Values::Int8(values) => values[row] = whole(i8::MIN.into(), i8::MAX.into())? as i8,
            Values::Int16(values) => values[row] = whole(i16::MIN.into(), i16::MAX.into())? as i16,
            Values::Int32(values) => values[row] = whole(i32::MIN.into(), i32::MAX.into())? as i32,
            Values::Int64(values) => values[row] = whole(i64::MIN, i64::MAX)?,
            Values::Float32(values) => values[row] = value::float(text).ok_or("")?,
            Values::Float64(values) => values[row] = value::double(text).ok_or("")?,
            Values::Decimal(values, digits) => {
                match value::decimal(text, digits.precision, digits.scale).ok_or("")? {
                    Some(value) => values[row] = value,
                    // As in Flink, a decimal with too many digits is NULL.
                    None => return Ok(()),
                }
            }
            Values::Date(values) => values[row] = time::parse_date(text).ok_or("")?,
            Values::Time32(values) => {
                let nanos = time::parse_time(text).ok_or("")?;
                values[row] = (nanos / NANOS_PER_MILLI) as i32;
            }
            Values::Time64(values) => values[row] = time::parse_time(text).ok_or("")?,
            Values::Timestamp(values, stamp) => values[row] = stamp.of_text(text, reading)?,
            Values::Text(views) => {
                if text.contains(&0) {
                    return Err("it holds a NUL character");
                }
                views.copy(row, text);
            }
            Values::Bytes(views) => {
                let start = views.own().len();
                let decoded = STANDARD.decode_vec(text.trim_ascii(), views.own());
                decoded.map_err(|_| "it is no base64")?;
                views.own_since(row, start);
            }
            Values::Present | Values::Row(_) | Values::List(_) | Values::Map(_) => return Err(""),
        }
        self.valid.set(row);
        Ok(())
    }
}

impl Stamp {
    /// The value of a text. Remembers its minute.
    fn of_text(&mut self, text: &[u8], reading: Reading) -> Result<i64, &'static str> {
        const RANGE: &str = "it is out of range";
        if self.epoch.is_some() {
            return self.of_epoch(text).ok_or("");
        }
        if let Some(value) = self.of_usual_text(text) {
            return Ok(value);
        }
        let (seconds, nanos) = time::parse_timestamp(text, reading.style, self.zoned).ok_or("")?;
        let units = i64::from(nanos) / (1_000_000_000 / self.per_second);
        let value = seconds
            .checked_mul(self.per_second)
            .and_then(|value| value.checked_add(units))
            .ok_or(RANGE)?;
        let minute = seconds - seconds.rem_euclid(60);
        // Another second of this minute must not overflow either; and only an offset of zero is remembered.
        let safe = (minute + 60).checked_mul(self.per_second).is_some()
            && minute.checked_mul(self.per_second).is_some();
        if let Some(prefix) = text.first_chunk::<16>()
            && safe
            && text[16..].starts_with(b":")
            && matches!(text.len(), 19..=24)
        {
            self.minute = (u128::from_le_bytes(*prefix), minute);
        }
        Ok(value)
    }

    /// The value of `yyyy-MM-dd HH:mm:ss` or `yyyy-MM-dd HH:mm:ss.SSS` in the remembered minute.
    fn of_usual_text(&self, text: &[u8]) -> Option<i64> {
        let (prefix, rest) = text.split_first_chunk::<16>()?;
        if self.minute.0 != u128::from_le_bytes(*prefix) || self.zoned {
            return None;
        }
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0, |value, digit| {
                let digit = digit.wrapping_sub(b'0');
                (digit <= 9).then(|| value * 10 + i64::from(digit))
            })
        };
        let (second, millis) = match rest {
            [b':', second @ ..] if second.len() == 2 => (number(second)?, 0),
            [b':', s1, s2, b'.', millis @ ..] if millis.len() == 3 => {
                (number(&[*s1, *s2])?, number(millis)?)
            }
            _ => return None,
        };
        let value = (self.minute.1 + second) * self.per_second + millis * (self.per_second / 1000);
        (second < 60).then_some(value)
    }

    /// The value of a count since the epoch.
    pub(crate) fn of_epoch(&self, text: &[u8]) -> Option<i64> {
        let count = value::integer(text, i64::MIN, i64::MAX)?;
        let per_second = self.epoch?;
        if self.per_second >= per_second {
            count.checked_mul(self.per_second / per_second)
        } else {
            Some(count.div_euclid(per_second / self.per_second))
        }
    }
}
