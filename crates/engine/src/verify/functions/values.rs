//! Functions over the values of a group themselves, in the order in which they are given.

use arrow::array::{Array, ArrayRef, Int32Array, MapArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, not_impl_err};
use datafusion::logical_expr::Accumulator;
use millstream_planner::logical::Function;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::total::Total;
use super::{Undecided, moments};

/// The arguments of a row.
type Arguments = Vec<ScalarValue>;

/// The values of a group.
#[derive(Debug)]
pub(super) struct Values {
    function: Function,
    distinct: bool,
    arguments: Vec<DataType>,
    result: DataType,
    undecided: Option<Undecided>,
    rows: VecDeque<Arguments>,
}

impl Values {
    pub(super) fn new(
        function: Function,
        distinct: bool,
        arguments: Vec<DataType>,
        result: DataType,
        undecided: Option<Undecided>,
    ) -> Self {
        let distinct = distinct || function == Function::ApproxCountDistinct;
        Self {
            function,
            distinct,
            arguments,
            result,
            undecided,
            rows: VecDeque::new(),
        }
    }

    /// The rows that count.
    fn present(&self) -> Vec<&Arguments> {
        let keeps_nulls = matches!(self.function, Function::ArrayAgg | Function::SingleValue);
        let is_present = |row: &&Arguments| keeps_nulls || !row.iter().any(ScalarValue::is_null);
        let rows = self.rows.iter().filter(is_present);
        if !self.distinct {
            return rows.collect();
        }
        let mut seen = HashSet::new();
        rows.filter(|row| seen.insert(*row)).collect()
    }

    fn value(&self, rows: &[&Arguments]) -> Result<ScalarValue> {
        let first = || rows.iter().map(|row| &row[0]);
        let none = || ScalarValue::try_from(&self.result);
        match self.function {
            Function::Count | Function::ApproxCountDistinct => {
                Ok(ScalarValue::Int64(Some(rows.len() as i64)))
            }
            Function::Collect => self.counted(rows),
            Function::Sum | Function::Sum0 | Function::Avg => self.total(rows),
            _ if rows.is_empty() => none(),
            Function::FirstValue => Ok(rows[0][0].clone()),
            Function::LastValue => Ok(rows[rows.len() - 1][0].clone()),
            Function::SingleValue if rows.len() > 1 => {
                exec_err!("a scalar subquery gives more than one row")
            }
            Function::SingleValue => Ok(rows[0][0].clone()),
            Function::Min => Ok(extreme(first(), std::cmp::Ordering::Less)),
            Function::Max => Ok(extreme(first(), std::cmp::Ordering::Greater)),
            Function::BoolAnd => Ok(truth(first().all(is_true))),
            Function::BoolOr => Ok(truth(first().any(is_true))),
            Function::ListAgg => Ok(joined(rows)),
            Function::ArrayAgg => {
                let values: Vec<ScalarValue> = first().cloned().collect();
                let DataType::List(element) = &self.result else {
                    return not_impl_err!("ARRAY_AGG of type {}", self.result);
                };
                let list = ScalarValue::new_list_nullable(&values, element.data_type());
                ScalarValue::List(list).cast_to(&self.result)
            }
            Function::StddevPop | Function::StddevSamp | Function::VarPop | Function::VarSamp => {
                moments::of(self.function, &first().collect::<Vec<_>>(), &self.result)
            }
            Function::Percentile => percentile(rows),
        }
    }

    fn total(&self, rows: &[&Arguments]) -> Result<ScalarValue> {
        if self.arguments[0].is_null() {
            return ScalarValue::try_from(&self.result);
        }
        let mut total = Total::new(self.function, &self.arguments[0], &self.result);
        if !rows.is_empty() {
            let values = rows.iter().map(|row| row[0].clone());
            total.update_batch(&[ScalarValue::iter_to_array(values)?])?;
        }
        total.evaluate()
    }

    /// A multiset: each value with how often it is there.
    fn counted(&self, rows: &[&Arguments]) -> Result<ScalarValue> {
        let mut counts: HashMap<&ScalarValue, i32> = HashMap::new();
        for row in rows {
            *counts.entry(&row[0]).or_default() += 1;
        }
        let DataType::Map(entries, sorted) = &self.result else {
            return not_impl_err!("COLLECT of type {}", self.result);
        };
        let DataType::Struct(fields) = entries.data_type() else {
            return not_impl_err!("COLLECT of type {}", self.result);
        };
        let (keys, counts): (Vec<ScalarValue>, Vec<i32>) = counts
            .into_iter()
            .map(|(value, count)| (value.clone(), count))
            .unzip();
        let keys = if keys.is_empty() {
            arrow::array::new_empty_array(fields[0].data_type())
        } else {
            ScalarValue::iter_to_array(keys)?
        };
        let columns: Vec<ArrayRef> = vec![keys, Arc::new(Int32Array::from(counts))];
        let offsets = OffsetBuffer::from_lengths([columns[0].len()]);
        let entries_array = StructArray::try_new(fields.clone(), columns, None)?;
        let map = MapArray::try_new(Arc::clone(entries), offsets, entries_array, None, *sorted)?;
        Ok(ScalarValue::Map(Arc::new(map)))
    }
}

fn is_true(value: &ScalarValue) -> bool {
    *value == ScalarValue::Boolean(Some(true))
}

fn truth(value: bool) -> ScalarValue {
    ScalarValue::Boolean(Some(value))
}

fn extreme<'a>(
    values: impl Iterator<Item = &'a ScalarValue>,
    wanted: std::cmp::Ordering,
) -> ScalarValue {
    let better = |best: &'a ScalarValue, value: &'a ScalarValue| {
        if value.partial_cmp(best) == Some(wanted) {
            value
        } else {
            best
        }
    };
    values.reduce(better).cloned().unwrap_or(ScalarValue::Null)
}

fn text(value: &ScalarValue) -> &str {
    value.try_as_str().flatten().unwrap_or_default()
}

fn joined(rows: &[&Arguments]) -> ScalarValue {
    let mut all = String::new();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            all.push_str(row.get(1).map_or(",", text));
        }
        all.push_str(text(&row[0]));
    }
    ScalarValue::Utf8View(Some(all))
}

fn percentile(rows: &[&Arguments]) -> Result<ScalarValue> {
    let values = rows.iter().map(|row| moments::number(&row[0]));
    let mut values = values.collect::<Result<Vec<f64>>>()?;
    values.sort_by(f64::total_cmp);
    let fraction = moments::number(&rows[rows.len() - 1][1])?;
    if !(0.0..=1.0).contains(&fraction) {
        return exec_err!("the fraction {fraction} of PERCENTILE is not between 0 and 1");
    }
    let place = fraction * (values.len() - 1) as f64;
    let (low, high) = (
        values[place.floor() as usize],
        values[place.ceil() as usize],
    );
    Ok(ScalarValue::Float64(Some(
        low + (high - low) * place.fract(),
    )))
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |column| column.len());
        for row in 0..rows {
            let cells = values
                .iter()
                .map(|column| ScalarValue::try_from_array(column, row));
            self.rows.push_back(cells.collect::<Result<_>>()?);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let rows = self.present();
        if let Some(undecided) = &self.undecided
            && rows.iter().any(|row| *row != rows[0])
        {
            undecided.count();
        }
        self.value(&rows)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.rows.len() * size_of::<Arguments>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        not_impl_err!("a batch in parts")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        not_impl_err!("a batch in parts")
    }

    /// A frame lets go of its first rows.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |column| column.len());
        self.rows.drain(..rows.min(self.rows.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}
