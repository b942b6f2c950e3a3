//! EXTRACT and YEAR, QUARTER, MONTH, WEEK, DAYOFYEAR, DAYOFMONTH, DAYOFWEEK, HOUR, MINUTE, SECOND.
//!
//! `extract(unit, value)` takes the unit as a text. Sunday is day 1 of the week, weeks are those of ISO 8601.

use arrow::array::{ArrayRef, Int64Builder};
use arrow::datatypes::DataType;
use std::sync::Arc;

use super::Locals;
use super::unit::Unit;
use crate::call::Call;
use crate::civil::{DAY_MS, Day, Moment, iso_week, iso_weekday};
use crate::error::Result;
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    let part = |name, eval| Function::new(name, takes(&[Kind::Any]), |_| Ok(DataType::Int64), eval);
    vec![
        Function::new(
            "extract",
            takes(&[Kind::Text, Kind::Any]),
            |_| Ok(DataType::Int64),
            |call| each(call, 1, Unit::literal(call, 0)?),
        ),
        part("year", |call| each(call, 0, Unit::Year)),
        part("quarter", |call| each(call, 0, Unit::Quarter)),
        part("month", |call| each(call, 0, Unit::Month)),
        part("week", |call| each(call, 0, Unit::Week)),
        part("dayofyear", |call| each(call, 0, Unit::Doy)),
        part("dayofmonth", |call| each(call, 0, Unit::Day)),
        part("dayofweek", |call| each(call, 0, Unit::Dow)),
        part("hour", |call| each(call, 0, Unit::Hour)),
        part("minute", |call| each(call, 0, Unit::Minute)),
        part("second", |call| each(call, 0, Unit::Second)),
    ]
}

fn each(call: &Call<'_>, idx: usize, unit: Unit) -> Result<ArrayRef> {
    let mut values = Locals::new(call, idx)?;
    let instants = values.zoned() && unit == Unit::Epoch;
    let raw = call.arg(idx)?;
    let mut builder = Int64Builder::with_capacity(call.rows);
    if instants {
        let moments = crate::moments::Moments::new(call.name, &raw.array)?;
        for row in 0..call.rows {
            builder.append_option(
                moments
                    .get(raw.at(row))
                    .map(|moment| moment.ms.div_euclid(1000)),
            );
        }
        return Ok(Arc::new(builder.finish()));
    }
    let mut last = (i64::MIN, 0);
    let of_day = !unit.within_day() && unit != Unit::Epoch;
    for row in 0..call.rows {
        let value = values.get(row).map(|moment| {
            if !of_day {
                return within_day(unit, moment);
            }
            let days = moment.days();
            if last.0 != days {
                last = (days, of_days(unit, days));
            }
            last.1
        });
        builder.append_option(value);
    }
    Ok(Arc::new(builder.finish()))
}

fn within_day(unit: Unit, moment: Moment) -> i64 {
    let ms = moment.ms.rem_euclid(DAY_MS);
    match unit {
        Unit::Hour => ms / 3_600_000,
        Unit::Minute => ms / 60_000 % 60,
        Unit::Second => ms / 1000 % 60,
        Unit::Millisecond => ms % 1000,
        Unit::Microsecond => ms % 1000 * 1000 + i64::from(moment.nanos / 1000),
        Unit::Nanosecond => ms % 1000 * 1_000_000 + i64::from(moment.nanos),
        _ => moment.ms.div_euclid(1000),
    }
}

fn of_days(unit: Unit, days: i64) -> i64 {
    let day = Day::from_days(days);
    let year = i64::from(day.year);
    let away_from_zero = |size: i64| {
        if year > 0 {
            (year + size - 1) / size
        } else {
            (year - size + 1) / size
        }
    };
    match unit {
        Unit::Millennium => away_from_zero(1000),
        Unit::Century => away_from_zero(100),
        Unit::Decade => year / 10,
        Unit::IsoYear => iso_week(days).0.into(),
        Unit::Quarter => day.quarter().into(),
        Unit::Month => day.month.into(),
        Unit::Week => iso_week(days).1,
        Unit::Day => day.day.into(),
        Unit::Dow => iso_weekday(days) % 7 + 1,
        Unit::IsoDow => iso_weekday(days),
        Unit::Doy => day.of_year(),
        _ => year,
    }
}
