//! FLOOR and CEIL of a time to a unit: `floor_to(value, unit)`, `ceil_to(value, unit)`. Weeks start on Sunday.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::unit::Unit;
use super::{Locals, TIMESTAMP};
use crate::call::Call;
use crate::civil::{DAY_MS, Day, Moment, iso_weekday};
use crate::error::{Error, Result};
use crate::function::{Arguments, Function, Given, arity, wrong_type};
use crate::moments::column;
use crate::types::is_text;
use crate::zone::Zone;

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "floor_to",
            Arguments::Own(|given| types("floor", given)),
            |g| Ok(g.data_type(0).clone()),
            |call| each(call, false),
        ),
        Function::new(
            "ceil_to",
            Arguments::Own(|given| types("ceil", given)),
            |g| Ok(g.data_type(0).clone()),
            |call| each(call, true),
        ),
    ]
}

fn types(name: &str, given: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, given, 2, 2)?;
    let value = match &given[0] {
        text if is_text(text) || text.is_null() => TIMESTAMP,
        value @ (DataType::Date32
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..)) => value.clone(),
        other => return Err(wrong_type(name, 0, other, "a date, time or timestamp").into()),
    };
    Ok(vec![
        value,
        Given::literal_type(&given[1], DataType::Utf8View),
    ])
}

fn each(call: &Call<'_>, up: bool) -> Result<ArrayRef> {
    let unit = Unit::literal(call, 1)?;
    if matches!(
        unit,
        Unit::Dow | Unit::IsoDow | Unit::Doy | Unit::Epoch | Unit::IsoYear
    ) {
        return Err(Error::argument(call.name, format!("cannot round to {unit:?}")).into());
    }
    let mut values = Locals::new(call, 0)?;
    let zone = if values.zoned() { call.zone } else { Zone::UTC };
    let mut last = (i64::MIN, 0);
    let mut rounded = |row: usize| {
        let moment = values.get(row)?;
        let ms = match unit.nanos() {
            Some(nanos) if unit != Unit::Week => return Some(to_nanos(moment, nanos, up)),
            _ => {
                let day = moment.days();
                if last.0 != day {
                    last = (
                        day,
                        if up {
                            ceil(unit, day)
                        } else {
                            floor(unit, day)
                        },
                    );
                }
                last.1.saturating_mul(DAY_MS)
            }
        };
        Some(Moment::from_ms(ms))
    };
    let to_utc = matches!(call.returns, DataType::Timestamp(_, Some(_)));
    column(call.name, call.returns, call.rows, |row| {
        let mut moment = rounded(row)?;
        if to_utc {
            moment.ms = zone.to_utc(moment.ms);
        }
        Some(moment)
    })
}

/// A unit of constant length divides the day.
fn to_nanos(moment: Moment, unit: i64, up: bool) -> Moment {
    let of_day = moment.nanos_of_day();
    let over = of_day % unit;
    let of_day = if up && over > 0 {
        of_day - over + unit
    } else {
        of_day - over
    };
    let within = Moment::from_nanos(of_day);
    Moment {
        ms: moment
            .days()
            .saturating_mul(DAY_MS)
            .saturating_add(within.ms),
        nanos: within.nanos,
    }
}

/// The first day of the unit that the day is in.
fn floor(unit: Unit, days: i64) -> i64 {
    if unit == Unit::Week {
        return days - iso_weekday(days) % 7;
    }
    let day = Day::from_days(days);
    let first = |year: i32, month: u32| {
        Day {
            year,
            month,
            day: 1,
        }
        .to_days()
    };
    match unit {
        Unit::Millennium => first((day.year - 1).div_euclid(1000) * 1000 + 1, 1),
        Unit::Century => first((day.year - 1).div_euclid(100) * 100 + 1, 1),
        Unit::Decade => first(day.year.div_euclid(10) * 10, 1),
        Unit::Quarter => first(day.year, day.quarter() * 3 - 2),
        Unit::Month => first(day.year, day.month),
        _ => first(day.year, 1),
    }
}

/// The first day of the next unit, unless the day is itself the first of one. As on Flink the time of the day does not
/// count, and only the year's first quarter, and no decade, century or millennium, is its own ceiling.
fn ceil(unit: Unit, days: i64) -> i64 {
    let first = floor(unit, days);
    let day = Day::from_days(days);
    let stays = match unit {
        Unit::Quarter => day.month == 1 && day.day == 1,
        Unit::Millennium | Unit::Century | Unit::Decade => false,
        _ => first == days,
    };
    match unit.months() {
        _ if stays => days,
        Some(months) => Day::from_days(first).plus_months(months).to_days(),
        None => first + 7,
    }
}
