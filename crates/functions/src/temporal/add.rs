//! TIMESTAMPADD: `timestampadd(unit, count, value)`; months end where they end. `interval_multiply(interval, count)`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, IntervalDayTimeArray, IntervalMonthDayNanoArray, IntervalYearMonthArray,
};
use arrow::datatypes::{DataType, IntervalDayTime, IntervalMonthDayNano, IntervalUnit, TimeUnit};

use super::unit::Unit;
use super::{Locals, TIMESTAMP};
use crate::call::Call;
use crate::civil::{DAY_MS, Day, Moment};
use crate::error::Result;
use crate::function::{Arguments, Function, Given, arity, wrong_type};
use crate::moments::column;
use crate::types::is_text;
use crate::zone::Zone;

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new("timestampadd", Arguments::Own(types), returns, add),
        Function::new(
            "interval_multiply",
            Arguments::Own(interval_types),
            |g| Ok(g.data_type(0).clone()),
            multiply,
        ),
    ]
}

fn types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("timestampadd", given, 3, 3)?;
    let value = match &given[2] {
        text if is_text(text) || text.is_null() => TIMESTAMP,
        value @ (DataType::Date32
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..)) => value.clone(),
        other => {
            return Err(wrong_type("timestampadd", 2, other, "a date, time or timestamp").into());
        }
    };
    Ok(vec![
        Given::literal_type(&given[0], DataType::Utf8View),
        Given::literal_type(&given[1], DataType::Int64),
        value,
    ])
}

/// A DATE stays one with units of days and more; a timestamp becomes as fine as the unit.
fn returns(given: &Given<'_>) -> Result<DataType> {
    let unit = given
        .literal_text(0)
        .map(|name| Unit::named(given.name, name))
        .transpose()?;
    let finest = match unit {
        Some(Unit::Microsecond) => TimeUnit::Microsecond,
        Some(Unit::Nanosecond) => TimeUnit::Nanosecond,
        _ => TimeUnit::Millisecond,
    };
    Ok(match given.data_type(2) {
        DataType::Date32 if unit.is_none_or(|unit| !unit.within_day()) => DataType::Date32,
        DataType::Date32 => DataType::Timestamp(finest, None),
        DataType::Timestamp(unit, zone) => {
            DataType::Timestamp(if finest > *unit { finest } else { *unit }, zone.clone())
        }
        other => other.clone(),
    })
}

fn add(call: &Call<'_>) -> Result<ArrayRef> {
    let unit = Unit::literal(call, 0)?;
    let counts = call.long(1)?;
    let mut values = Locals::new(call, 2)?;
    let zone = if values.zoned() { call.zone } else { Zone::UTC };
    let raw = call.arg(2)?;
    let instants = if values.zoned() {
        Some(crate::moments::Moments::new(call.name, &raw.array)?)
    } else {
        None
    };
    let moved = |row: usize| {
        let count = counts.get(row)?;
        let Some(nanos) = unit.nanos() else {
            let moment = values.get(row)?;
            let months = count.checked_mul(unit.months()?)?;
            let ms = Day::from_days(moment.days())
                .plus_months(months)
                .to_days()
                .checked_mul(DAY_MS)?;
            return Some(Moment {
                ms: zone.to_utc(ms.checked_add(moment.ms_of_day())?),
                nanos: moment.nanos,
            });
        };
        let moment = match &instants {
            Some(instants) => instants.get(raw.at(row))?,
            None => values.get(row)?,
        };
        let total = i128::from(count) * i128::from(nanos) + i128::from(moment.nanos);
        let ms = i64::try_from(total.div_euclid(1_000_000)).ok()?;
        Some(Moment {
            ms: moment.ms.checked_add(ms)?,
            nanos: u32::try_from(total.rem_euclid(1_000_000)).ok()?,
        })
    };
    column(call.name, call.returns, call.rows, moved)
}

fn interval_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("interval_multiply", given, 2, 2)?;
    match &given[0] {
        interval @ DataType::Interval(_) => Ok(vec![interval.clone(), DataType::Int64]),
        other => Err(wrong_type("interval_multiply", 0, other, "an interval").into()),
    }
}

/// NULL where the product does not fit.
fn multiply(call: &Call<'_>) -> Result<ArrayRef> {
    let (intervals, counts) = (call.arg(0)?, call.long(1)?);
    let rows = 0..call.rows;
    let small = |value: i32, count: i64| i32::try_from(i64::from(value).checked_mul(count)?).ok();
    Ok(match call.returns {
        DataType::Interval(IntervalUnit::YearMonth) => {
            let intervals = intervals.typed::<IntervalYearMonthArray>(call.name)?;
            let products: IntervalYearMonthArray = rows
                .map(|row| small(intervals.get(row)?, counts.get(row)?))
                .collect();
            Arc::new(products)
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let intervals = intervals.typed::<IntervalDayTimeArray>(call.name)?;
            let products: IntervalDayTimeArray = rows
                .map(|row| {
                    let (interval, count) = (intervals.get(row)?, counts.get(row)?);
                    let ms = i64::from(interval.days) * DAY_MS + i64::from(interval.milliseconds);
                    let ms = ms.checked_mul(count)?;
                    let days = i32::try_from(ms / DAY_MS).ok()?;
                    Some(IntervalDayTime::new(days, i32::try_from(ms % DAY_MS).ok()?))
                })
                .collect();
            Arc::new(products)
        }
        _ => {
            let intervals = intervals.typed::<IntervalMonthDayNanoArray>(call.name)?;
            let products: IntervalMonthDayNanoArray = rows
                .map(|row| {
                    let (interval, count) = (intervals.get(row)?, counts.get(row)?);
                    let (months, days) =
                        (small(interval.months, count)?, small(interval.days, count)?);
                    Some(IntervalMonthDayNano::new(
                        months,
                        days,
                        interval.nanoseconds.checked_mul(count)?,
                    ))
                })
                .collect();
            Arc::new(products)
        }
    })
}
