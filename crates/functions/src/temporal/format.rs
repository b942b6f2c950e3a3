//! DATE_FORMAT, FROM_UNIXTIME, CONVERT_TZ: times as text.

use arrow::array::{ArrayRef, StringViewArray};
use arrow::datatypes::DataType;

use super::Locals;
use super::pattern::{Pattern, Patterns, Writer};
use crate::call::{Arg, Call};
use crate::civil::Moment;
use crate::error::{Error, Result};
use crate::function::{Function, Kind, takes, takes_optional};
use crate::pattern_cache::{Cache, Last};
use crate::types::is_text;
use crate::zone::Zone;

thread_local! {
    static ZONES: Cache<Zone> = Cache::default();
}

/// The pattern where none is given.
pub(crate) const DEFAULT: &str = "yyyy-MM-dd HH:mm:ss";

pub(crate) fn functions() -> Vec<Function> {
    let text =
        |name, arguments, eval| Function::new(name, arguments, |_| Ok(DataType::Utf8View), eval);
    vec![
        text("date_format", takes(&[Kind::Any, Kind::Text]), date_format),
        text(
            "from_unixtime",
            takes_optional(&[Kind::Long], &[Kind::Text]),
            from_unixtime,
        ),
        text(
            "convert_tz",
            takes(&[Kind::Text, Kind::Text, Kind::Text]),
            convert_tz,
        ),
    ]
}

/// Writes the local times of a call in the pattern of each row.
fn write(
    call: &Call<'_>,
    zone: Zone,
    patterns: &Arg<StringViewArray>,
    mut local: impl FnMut(usize) -> Option<Moment>,
) -> Result<ArrayRef> {
    let mut compiled = Patterns::new(call.name);
    let mut writer = Writer::new(zone);
    if patterns.is_literal() {
        let Some(pattern) = patterns.get(0) else {
            return call.texts(|_, _| Ok(false));
        };
        let pattern: &Pattern = compiled.get(pattern)?;
        return call.texts(|row, out| {
            let Some(local) = local(row) else {
                return Ok(false);
            };
            writer.write(pattern, local, out);
            Ok(true)
        });
    }
    call.texts(|row, out| {
        let (Some(local), Some(pattern)) = (local(row), patterns.get(row)) else {
            return Ok(false);
        };
        writer.forget();
        writer.write(compiled.get(pattern)?, local, out);
        Ok(true)
    })
}

/// Of a date, a timestamp, or a text in the default pattern.
fn date_format(call: &Call<'_>) -> Result<ArrayRef> {
    let patterns = call.text(1)?;
    let value = call.arg(0)?;
    if is_text(value.array.data_type()) {
        let texts = call.text(0)?;
        let default =
            Pattern::compile(DEFAULT).map_err(|message| Error::argument(call.name, message))?;
        return write(call, call.zone, &patterns, |row| {
            Some(default.parse(texts.get(row)?, true)?.0)
        });
    }
    let mut values = Locals::new(call, 0)?;
    let zone = if values.zoned() { call.zone } else { Zone::UTC };
    write(call, zone, &patterns, |row| values.get(row))
}

/// Of seconds since 1970-01-01 00:00:00 UTC, in the session's time zone.
fn from_unixtime(call: &Call<'_>) -> Result<ArrayRef> {
    let seconds = call.long(0)?;
    let default = Arg::literal(StringViewArray::from(vec![DEFAULT]));
    let patterns = if call.len() > 1 {
        call.text(1)?
    } else {
        default
    };
    let mut converter = call.zone.converter();
    write(call, call.zone, &patterns, |row| {
        let ms = seconds.get(row)?.checked_mul(1000)?;
        Some(Moment::from_ms(converter.local(ms)))
    })
}

/// From one time zone to another; NULL where the text spells no time.
fn convert_tz(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let default =
        Pattern::compile(DEFAULT).map_err(|message| Error::argument(call.name, message))?;
    let (mut from_zones, mut to_zones) = (Last::new(&ZONES), Last::new(&ZONES));
    let mut writer = Writer::new(Zone::UTC);
    let parse = |name: &str| name.parse::<Zone>().map_err(Into::into);
    call.texts(|row, out| {
        let (Some(text), Some(from), Some(to)) = (texts.get(row), from.get(row), to.get(row))
        else {
            return Ok(false);
        };
        let (from, to) = (from_zones.get(from, parse)?, to_zones.get(to, parse)?);
        let Some((local, _)) = default.parse(text, true) else {
            return Ok(false);
        };
        let utc = from.to_utc(local.ms);
        writer.write(
            &default,
            Moment::from_ms(utc.saturating_add(to.offset_at(utc))),
            out,
        );
        Ok(true)
    })
}
