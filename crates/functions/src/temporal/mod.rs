//! Functions of dates, times and timestamps. A TIMESTAMP_LTZ is seen in the session's time zone.

pub(crate) mod add;
pub(crate) mod diff;
pub(crate) mod extract;
pub(crate) mod format;
pub(crate) mod overlaps;
pub(crate) mod parse;
pub(crate) mod pattern;
pub(crate) mod round;
pub(crate) mod unit;

use arrow::datatypes::{DataType, TimeUnit};

use crate::call::{Arg, Call};
use crate::civil::Moment;
use crate::error::Result;
use crate::moments::Moments;
use crate::types::is_text;
use crate::zone::{Converter, Zone};

/// `TIMESTAMP(3)`
pub(crate) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

/// An argument as local times.
pub(crate) struct Locals {
    values: Arg<Moments>,
    converter: Converter,
}

impl Locals {
    /// Of a temporal argument, or of a text that spells a timestamp.
    pub(crate) fn new(call: &Call<'_>, idx: usize) -> Result<Self> {
        let mut arg = call.arg(idx)?;
        if is_text(arg.array.data_type()) || arg.array.data_type().is_null() {
            arg.array = crate::cast::strict(&arg.array, &TIMESTAMP, call.zone)?;
        }
        let moments = Moments::new(call.name, &arg.array)?;
        let zone = if moments.zoned { call.zone } else { Zone::UTC };
        Ok(Self {
            values: arg.with(moments),
            converter: zone.converter(),
        })
    }

    /// The row's local time.
    #[inline]
    pub(crate) fn get(&mut self, row: usize) -> Option<Moment> {
        let mut moment = self.values.array.get(self.values.at(row))?;
        moment.ms = self.converter.local(moment.ms);
        Some(moment)
    }

    /// Whether the values are instants.
    pub(crate) fn zoned(&self) -> bool {
        self.values.array.zoned
    }
}

#[cfg(test)]
mod tests;
