//! Compares rows as multisets: exactly, but for columns of floats that were added up in some order.
//!
//! Rows are told apart by 128 bits of hash, so that millions take little memory; those that have no equal on the other side
//! are looked at again, one by one.

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Float64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute;
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream_dataflow::Result;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::table::row_bytes;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// How many rows only the view has.
    pub only_view: u64,
    /// How many rows only the batch has.
    pub only_batch: u64,
    /// The first of them, those of one key beside each other.
    pub first: Vec<Difference>,
}

/// A row that one side has and the other has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which side has it.
    pub side: Side,
    /// Its columns, as `name=value`.
    pub row: String,
}

/// A side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The maintained view.
    View,
    /// What the batch computed.
    Batch,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::View => "view ",
            Side::Batch => "batch",
        };
        write!(f, "{side}  {}", self.row)
    }
}

/// How rows are compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// How far columns of floats may be off, relatively.
    pub(crate) inexact: BTreeMap<usize, f64>,
    /// Columns that are not compared.
    pub(crate) left_out: Vec<usize>,
    /// The columns that identify a row, to show.
    pub(crate) key: Vec<usize>,
    /// How many differences are shown.
    pub(crate) rows_max: usize,
}

/// Differences of floats below this are none.
const NOTHING: f64 = 1e-9;
/// Rows without an equal that are looked at to choose those that are shown.
const SHOWN_OF: usize = 10_000;

type Hash128 = u128;

/// A row: of which batch, and which.
type Place = (u32, u32);

/// Compares two sides with the same columns; `None`: they are equal.
///
/// # Errors
/// `Internal` when rows of some type cannot be compared.
pub(crate) fn compare(
    schema: &SchemaRef,
    view: &[RecordBatch],
    batch: &[RecordBatch],
    rules: &Rules,
) -> Result<Option<Differences>> {
    let all: Vec<usize> = (0..schema.fields().len())
        .filter(|column| !rules.left_out.contains(column))
        .collect();
    let (view, batch) = (canonical(view)?, canonical(batch)?);
    let mut sums: HashMap<Hash128, i64> = HashMap::new();
    let (view_hashes, batch_hashes) = (hashes(&view, &all)?, hashes(&batch, &all)?);
    for (hashes, weight) in [(&view_hashes, 1), (&batch_hashes, -1)] {
        for hash in hashes.iter().flatten() {
            *sums.entry(*hash).or_default() += weight;
        }
    }
    sums.retain(|_, sum| *sum != 0);
    if sums.is_empty() {
        return Ok(None);
    }
    let mut left = [
        alone(&view_hashes, &mut sums, 1),
        alone(&batch_hashes, &mut sums, -1),
    ];
    if !rules.inexact.is_empty() {
        left = nearly(&all, [&view, &batch], &left, rules)?;
    }
    let [only_view, only_batch] = left;
    if only_view.is_empty() && only_batch.is_empty() {
        return Ok(None);
    }
    Ok(Some(Differences {
        first: shown(schema, [&view, &batch], [&only_view, &only_batch], rules)?,
        only_view: only_view.len() as u64,
        only_batch: only_batch.len() as u64,
    }))
}

/// The rows of a side that the other does not have.
fn alone(hashes: &[Vec<Hash128>], sums: &mut HashMap<Hash128, i64>, sign: i64) -> Vec<Place> {
    let mut found = Vec::new();
    for (at, hashes) in hashes.iter().enumerate() {
        for (row, hash) in hashes.iter().enumerate() {
            if let Some(sum) = sums.get_mut(hash).filter(|sum| **sum * sign > 0) {
                *sum -= sign;
                found.push((at as u32, row as u32));
            }
        }
    }
    found
}

fn hashes(batches: &[RecordBatch], columns: &[usize]) -> Result<Vec<Vec<Hash128>>> {
    let of = |batch: &RecordBatch| {
        let columns: Vec<ArrayRef> = columns
            .iter()
            .map(|column| Arc::clone(batch.column(*column)))
            .collect();
        let rows = row_bytes(&columns, batch.num_rows())?;
        Ok(rows.iter().map(|row| hash(row)).collect())
    };
    batches.iter().map(of).collect()
}

fn hash(bytes: &[u8]) -> Hash128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        bytes.hash(&mut hasher);
        hasher.finish()
    };
    (Hash128::from(half(0)) << 64) | Hash128::from(half(1))
}

/// The batches with values in one form: one zero, one NaN, maps in the order of their keys.
fn canonical(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let batch = |batch: &RecordBatch| -> Result<RecordBatch> {
        let columns = batch.columns().iter().map(in_one_form);
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let schema = batch.schema();
        let fields = schema.fields().iter().zip(&columns);
        let fields = fields.map(|(field, column)| {
            let field = field.as_ref().clone();
            field
                .with_data_type(column.data_type().clone())
                .with_nullable(true)
        });
        let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::new(schema),
            columns,
            &options,
        )?)
    };
    batches.iter().map(batch).collect()
}

fn in_one_form(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Float64 => {
            let one = |value: f64| {
                if value.is_nan() {
                    f64::NAN
                } else {
                    value + 0.0
                }
            };
            let column: Float64Array = column.as_primitive::<Float64Type>().unary(one);
            Arc::new(column)
        }
        DataType::Float32 => {
            let one = |value: f32| {
                if value.is_nan() {
                    f32::NAN
                } else {
                    value + 0.0
                }
            };
            let column: Float32Array = column.as_primitive::<Float32Type>().unary(one);
            Arc::new(column)
        }
        kind if has_map(kind) => as_text(column)?,
        _ => Arc::clone(column),
    })
}

fn has_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(_, _) => true,
        DataType::List(element) => has_map(element.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_map(field.data_type())),
        _ => false,
    }
}

/// Values as text, the entries of a map sorted.
fn as_text(column: &ArrayRef) -> Result<ArrayRef> {
    let options = FormatOptions::default().with_null("NULL");
    let DataType::Map(_, _) = column.data_type() else {
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let text = |row: usize| {
            column
                .is_valid(row)
                .then(|| formatter.value(row).to_string())
        };
        return Ok(Arc::new(
            (0..column.len()).map(text).collect::<StringArray>(),
        ));
    };
    let map = column.as_map();
    let (keys, values) = (in_one_form(map.keys())?, in_one_form(map.values())?);
    let (keys, values) = (
        ArrayFormatter::try_new(&keys, &options)?,
        ArrayFormatter::try_new(&values, &options)?,
    );
    let text = |row: usize| {
        let (from, to) = (map.value_offsets()[row], map.value_offsets()[row + 1]);
        let entry = |at: i32| format!("{}={}", keys.value(at as usize), values.value(at as usize));
        let mut entries: Vec<String> = (from..to).map(entry).collect();
        entries.sort();
        column
            .is_valid(row)
            .then(|| format!("{{{}}}", entries.join(", ")))
    };
    Ok(Arc::new(
        (0..column.len()).map(text).collect::<StringArray>(),
    ))
}

/// Takes out the rows that have an equal but for what adding up floats may leave.
fn nearly(
    columns: &[usize],
    sides: [&[RecordBatch]; 2],
    left: &[Vec<Place>; 2],
    rules: &Rules,
) -> Result<[Vec<Place>; 2]> {
    let exact: Vec<usize> = columns
        .iter()
        .copied()
        .filter(|column| !rules.inexact.contains_key(column))
        .collect();
    let off: Vec<(usize, f64)> = rules
        .inexact
        .iter()
        .filter(|(column, _)| columns.contains(column))
        .map(|(column, off)| (*column, *off))
        .collect();
    let mut groups: BTreeMap<Hash128, [Vec<Near>; 2]> = BTreeMap::new();
    for (side, (batches, places)) in sides.iter().zip(left).enumerate() {
        for (place, key, floats) in nears(batches, places, &exact, &off)? {
            groups.entry(key).or_default()[side].push(Near { place, floats });
        }
    }
    let mut found = [Vec::new(), Vec::new()];
    for [view, mut batch] in groups.into_values() {
        for row in view {
            match batch.iter().position(|other| row.is_near(other, &off)) {
                Some(at) => drop(batch.swap_remove(at)),
                None => found[0].push(row.place),
            }
        }
        found[1].extend(batch.into_iter().map(|row| row.place));
    }
    found.iter_mut().for_each(|places| places.sort_unstable());
    Ok(found)
}

struct Near {
    place: Place,
    floats: Vec<Option<f64>>,
}

impl Near {
    fn is_near(&self, other: &Self, off: &[(usize, f64)]) -> bool {
        let mut both = self.floats.iter().zip(&other.floats).zip(off);
        both.all(|((one, other), (_, off))| match (one, other) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                one == other
                    || (one.is_nan() && other.is_nan())
                    || (one - other).abs() <= off * one.abs().max(other.abs()) + NOTHING
            }
            _ => false,
        })
    }
}

type NearRow = (Place, Hash128, Vec<Option<f64>>);

/// Rows by the hash of their exact columns, with the values of the others.
fn nears(
    batches: &[RecordBatch],
    places: &[Place],
    exact: &[usize],
    off: &[(usize, f64)],
) -> Result<Vec<NearRow>> {
    let mut found = Vec::with_capacity(places.len());
    for run in places.chunk_by(|one, other| one.0 == other.0) {
        let at = run[0].0;
        let rows = UInt32Array::from_iter_values(run.iter().map(|(_, row)| *row));
        let taken = compute::take_record_batch(&batches[at as usize], &rows)?;
        let keys = hashes(std::slice::from_ref(&taken), exact)?;
        let floats = off
            .iter()
            .map(|(column, _)| compute::cast(taken.column(*column), &DataType::Float64));
        let floats = floats.collect::<std::result::Result<Vec<ArrayRef>, _>>()?;
        for (row, (place, key)) in run.iter().zip(keys.into_iter().flatten()).enumerate() {
            let value = |column: &ArrayRef| {
                let column = column.as_primitive::<Float64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            found.push((*place, key, floats.iter().map(value).collect()));
        }
    }
    Ok(found)
}

/// The first rows of both sides, in the order of their keys.
fn shown(
    schema: &SchemaRef,
    sides: [&[RecordBatch]; 2],
    left: [&[Place]; 2],
    rules: &Rules,
) -> Result<Vec<Difference>> {
    let mut rows: Vec<(String, Side, String)> = Vec::new();
    for ((batches, places), side) in sides.iter().zip(left).zip([Side::View, Side::Batch]) {
        let some = &places[..places.len().min(SHOWN_OF)];
        for run in some.chunk_by(|one, other| one.0 == other.0) {
            let batch = &batches[run[0].0 as usize];
            let options = FormatOptions::default().with_null("NULL");
            let formatters = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
            let formatters = formatters.collect::<std::result::Result<Vec<_>, _>>()?;
            for (_, row) in run {
                let value = |column: usize| {
                    let text = formatters[column].value(*row as usize).to_string();
                    format!("{}={text}", schema.field(column).name())
                };
                let key: Vec<String> = rules.key.iter().map(|column| value(*column)).collect();
                let whole: Vec<String> = (0..formatters.len()).map(value).collect();
                let whole = whole.join(" ");
                let key = if key.is_empty() {
                    whole.clone()
                } else {
                    key.join(" ")
                };
                rows.push((key, side, whole));
            }
        }
    }
    rows.sort();
    rows.truncate(rules.rows_max);
    let shown = rows.into_iter();
    Ok(shown
        .map(|(_, side, row)| Difference { side, row })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::delta;

    fn sides(columns: &str, view: &str, batch: &str, rules: &Rules) -> Option<Differences> {
        let rows = |rows: &str| vec![delta(columns, rows).batch().clone()];
        let schema = delta(columns, view).schema();
        compare(&schema, &rows(view), &rows(batch), rules).unwrap()
    }

    fn rules() -> Rules {
        Rules {
            rows_max: 10,
            ..Rules::default()
        }
    }

    #[test]
    fn rows_are_compared_as_multisets() {
        let columns = "a text, n bigint";
        assert_eq!(
            sides(
                columns,
                "+1 x 1 / +1 y 2 / +1 y 2",
                "+1 y 2 / +1 x 1 / +1 y 2",
                &rules()
            ),
            None
        );
        let found = sides(
            columns,
            "+1 x 1 / +1 y 2 / +1 z 5",
            "+1 y 2 / +1 y 2 / +1 z 6",
            &rules(),
        );
        let found = found.unwrap();
        assert_eq!((found.only_view, found.only_batch), (2, 2));
        let lines: Vec<String> = found.first.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "view   a=x n=1",
                "batch  a=y n=2",
                "view   a=z n=5",
                "batch  a=z n=6"
            ]
        );
    }

    #[test]
    fn sums_of_floats_may_be_off_a_little_and_nothing_else() {
        let columns = "k bigint, s double";
        let view = "+1 1 0.30000000000000004 / +1 2 1e20 / +1 2 NULL";
        let batch = "+1 1 0.3 / +1 2 100000000000000000001 / +1 2 NULL";
        assert!(sides(columns, view, batch, &rules()).is_some());
        let near = Rules {
            inexact: [(1, 1e-9)].into(),
            ..rules()
        };
        assert_eq!(sides(columns, view, batch, &near), None);
        assert!(sides(columns, "+1 1 0.3", "+1 1 0.31", &near).is_some());
        assert!(sides(columns, "+1 1 0.3", "+1 2 0.3", &near).is_some());
        assert!(sides(columns, "+1 1 0.3 / +1 1 0.3", "+1 1 0.3", &near).is_some());
    }

    #[test]
    fn a_column_can_be_left_out_and_keys_bring_rows_together() {
        let columns = "k bigint, v text";
        let without = Rules {
            left_out: vec![1],
            ..rules()
        };
        assert_eq!(
            sides(columns, "+1 1 a / +1 2 b", "+1 1 x / +1 2 y", &without),
            None
        );
        let keyed = Rules {
            key: vec![1],
            rows_max: 2,
            ..rules()
        };
        let found = sides(columns, "+1 1 a / +1 9 b", "+1 5 a / +1 3 b", &keyed).unwrap();
        assert_eq!(
            found
                .first
                .iter()
                .map(|d| d.row.as_str())
                .collect::<Vec<_>>(),
            ["k=1 v=a", "k=5 v=a"]
        );
    }
}
