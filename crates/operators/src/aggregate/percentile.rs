//! PERCENTILE(value, fraction): the value at that place of the sorted values, interpolated between its neighbours.

use super::accumulator::{Accumulator, Args, Entries, Exported, Finish, Rows, Shape};
use super::bag::Bag;
use arrow::datatypes::DataType;
use millstream_dataflow::{Error, Result};
use millstream_state::{Cells, Form, Lane, code_of_float, float_of_code};

/// The values of each group as floats, and the fraction that was asked for.
#[derive(Debug)]
pub(crate) struct Percentile {
    value: DataType,
    fraction: DataType,
    bag: Bag<i64>,
    fractions: Vec<Option<f64>>,
}

impl Percentile {
    /// No values, of arguments of these types.
    pub(crate) fn new(value: &DataType, fraction: &DataType) -> Self {
        Self {
            value: value.clone(),
            fraction: fraction.clone(),
            bag: Bag::new(),
            fractions: Vec::new(),
        }
    }

    fn result(&self, id: u32) -> Option<f64> {
        let fraction = self.fractions[id as usize]?;
        let sorted = || self.bag.sorted(id).filter(|(_, count)| *count > 0);
        let count: i64 = sorted().map(|(_, count)| count).sum();
        let place = fraction * (count - 1) as f64;
        let at = |wanted: i64| {
            let mut passed = 0;
            let found = sorted().find(|(_, count)| {
                passed += count;
                passed > wanted
            });
            found.map(|(value, _)| float_of_code(value))
        };
        let low = at(place.floor() as i64)?;
        let high = at(place.ceil() as i64)?;
        Some(low + (high - low) * place.fract())
    }
}

/// A number of a lane, of an argument of this type.
fn float(lane: &Lane, data_type: &DataType, row: usize) -> f64 {
    match (lane, data_type) {
        (Lane::Long { values, .. }, DataType::Float32 | DataType::Float64) => {
            float_of_code(values[row])
        }
        (Lane::Long { values, .. }, _) => values[row] as f64,
        (Lane::Wide { values, .. }, DataType::Decimal128(_, scale)) => {
            values[row] as f64 / 10_f64.powi(i32::from(*scale))
        }
        (Lane::Wide { .. } | Lane::Bytes(_), _) => f64::NAN,
    }
}

impl Accumulator for Percentile {
    fn grow(&mut self, groups: usize) {
        self.bag.grow(groups);
        if self.fractions.len() < groups {
            self.fractions.resize(groups, None);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let (values, fractions) = (args.lane(0), args.lane(1));
        let mut outside = None;
        rows.each(args.nulls().as_ref(), |id, row, weight| {
            let fraction = float(fractions, &self.fraction, row);
            if !(0.0..=1.0).contains(&fraction) {
                outside = Some(fraction);
            }
            self.fractions[id] = Some(fraction);
            self.bag
                .add(id, &code_of_float(float(values, &self.value, row)), weight);
        });
        match outside {
            None => Ok(()),
            Some(fraction) => Err(Error::bad_data(format!(
                "the fraction {fraction} of PERCENTILE is not between 0 and 1"
            ))),
        }
    }

    fn finish(&self, _: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        out.extend_longs_or_null(ids.iter().map(|id| self.result(*id).map(code_of_float)));
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        self.bag.clear(ids);
        ids.iter()
            .for_each(|id| self.fractions[*id as usize] = None);
    }

    fn shape(&self) -> Shape {
        Shape {
            key: vec![Form::Long],
            body: vec![Form::Long, Form::Long],
        }
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        self.bag.export(ids, out);
        self.push_fractions(out);
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        self.read_fractions(from);
        self.bag.merge(from)
    }

    fn entries(&mut self) -> Option<&mut dyn Entries> {
        Some(self)
    }
}

impl Percentile {
    fn push_fractions(&self, out: &mut Exported) {
        let fractions = out
            .ids
            .iter()
            .map(|id| self.fractions[*id as usize].map(code_of_float));
        out.body[1].clear();
        out.body[1].extend_longs_or_null(fractions);
    }

    fn read_fractions(&mut self, from: &Exported) {
        for (at, id) in from.ids.iter().enumerate() {
            if from.body[1].is_valid(at) {
                self.fractions[*id as usize] = Some(float_of_code(from.body[1].long(at)));
            }
        }
    }
}

impl Entries for Percentile {
    fn track(&mut self) {
        self.bag.track();
    }

    fn changed(&mut self, kept: &mut Exported, gone: &mut Exported) {
        self.bag.changed(kept, gone);
        self.push_fractions(kept);
    }

    fn set(&mut self, entries: &Exported, present: bool) -> Result<()> {
        if present {
            self.read_fractions(entries);
        }
        self.bag.set(entries, present)
    }
}
