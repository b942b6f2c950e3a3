//! A lane is a column under construction, written by row: every row begins as NULL, so that an absent field costs
//! nothing, a field that comes twice overwrites itself, and a bad record is wiped out by clearing its row.

use crate::bits::Bits;
use crate::json::fields::Fields;
use crate::time::Style;
use crate::utf8::Run;
use crate::value::type_name;
use crate::views::Views;
use arrow::array::{
    ArrayRef, BooleanArray, ListArray, MapArray, PrimitiveArray, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Field, Fields as ArrowFields,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use millstream_dataflow::{Error, Result};
use std::sync::Arc;

/// How the text of values is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// How timestamps are written.
    pub(crate) style: Style,
    /// A value that does not fit its column is NULL.
    pub(crate) lenient: bool,
    /// A field that is not there makes the record bad.
    pub(crate) strict: bool,
}

/// A column under construction.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// The column's name, with its parents', for messages.
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    /// Whether NULL is allowed: only children of a ROW, ARRAY or MAP may forbid it.
    pub(crate) nullable: bool,
    pub(crate) reading: Reading,
    pub(crate) valid: Bits,
    pub(crate) values: Values,
}

/// The values of a lane, by row.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// Whether the field is there: the validity is the value.
    Present,
    Boolean(Bits),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>, Digits),
    Date(Vec<i32>),
    Time32(Vec<i32>),
    Time64(Vec<i64>),
    Timestamp(Vec<i64>, Stamp),
    Text(Views),
    Bytes(Views),
    Row(Box<RowLane>),
    List(Box<ListLane>),
    Map(Box<MapLane>),
}

/// How many digits a DECIMAL has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits {
    pub(crate) precision: u8,
    pub(crate) scale: i8,
}

/// How the values of a TIMESTAMP column are written.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// Units in a second: 1,000 to 1,000,000,000.
    pub(crate) per_second: i64,
    pub(crate) zoned: bool,
    /// A number of these units since the epoch is meant, rather than a text: 1 for seconds, 1,000 for milliseconds.
    pub(crate) epoch: Option<i64>,
    /// The last `yyyy-MM-dd HH:mm` read, and its seconds since the epoch.
    pub(crate) minute: (u128, i64),
}

/// The fields of a ROW: children share its rows.
#[derive(Clone, Debug)]
pub(crate) struct RowLane {
    pub(crate) fields: Fields,
    pub(crate) lanes: Vec<Lane>,
}

/// The items of an ARRAY, in a lane of their own.
#[derive(Clone, Debug)]
pub(crate) struct ListLane {
    /// By row, which items are its.
    pub(crate) ranges: Vec<(u32, u32)>,
    pub(crate) item: Lane,
    pub(crate) items: usize,
}

/// The entries of a MAP, in lanes of their own.
#[derive(Clone, Debug)]
pub(crate) struct MapLane {
    pub(crate) ranges: Vec<(u32, u32)>,
    pub(crate) key: Lane,
    pub(crate) value: Lane,
    pub(crate) entries: usize,
}

impl Lane {
    /// A lane for a column.
    ///
    /// # Errors
    /// `User` for a type that the format has no text for.
    pub(crate) fn new(name: &str, data_type: &DataType, reading: Reading) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            data_type: data_type.clone(),
            nullable: true,
            reading,
            valid: Bits::default(),
            values: Values::new(name, data_type, reading)?,
        })
    }

    /// A lane for a child of a nested type.
    fn of(name: &str, field: &Field, reading: Reading) -> Result<Self> {
        let mut lane = Self::new(name, field.data_type(), reading)?;
        lane.nullable = field.is_nullable();
        Ok(lane)
    }

    /// Whether a row has the value that it must have.
    pub(crate) fn complete(&self, row: usize) -> bool {
        self.nullable || self.valid.get(row)
    }

    /// A lane that says whether a field is there.
    pub(crate) fn present(name: &str, reading: Reading) -> Self {
        Self {
            name: name.to_owned(),
            data_type: DataType::Boolean,
            nullable: true,
            reading,
            valid: Bits::default(),
            values: Values::Present,
        }
    }

    /// A lane of items whose lane is already made.
    pub(crate) fn list(name: &str, item: Lane) -> Self {
        let field = Arc::new(Field::new("item", item.data_type.clone(), true));
        Self {
            name: name.to_owned(),
            data_type: DataType::List(field),
            nullable: true,
            reading: item.reading,
            valid: Bits::default(),
            values: Values::List(Box::new(ListLane {
                ranges: Vec::new(),
                item,
                items: 0,
            })),
        }
    }

    /// A lane of rows whose lanes are already made.
    pub(crate) fn row(name: &str, fields: Fields, lanes: Vec<Lane>, reading: Reading) -> Self {
        let types: ArrowFields = lanes
            .iter()
            .map(|lane| Field::new(&lane.name, lane.data_type.clone(), true))
            .collect();
        Self {
            name: name.to_owned(),
            data_type: DataType::Struct(types),
            nullable: true,
            reading,
            valid: Bits::default(),
            values: Values::Row(Box::new(RowLane { fields, lanes })),
        }
    }

    /// Reads numbers that count from the epoch instead of texts. For TIMESTAMP columns only.
    #[must_use]
    pub(crate) fn counted_from_epoch(mut self, units_per_second: i64) -> Self {
        if let Values::Timestamp(_, stamp) = &mut self.values {
            stamp.epoch = Some(units_per_second);
        }
        self
    }

    /// Makes room for `rows` rows; new ones are NULL.
    pub(crate) fn grow(&mut self, rows: usize) {
        self.valid.grow(rows);
        match &mut self.values {
            Values::Present => {}
            Values::Boolean(values) => values.grow(rows),
            Values::Int8(values) => values.resize(rows, 0),
            Values::Int16(values) => values.resize(rows, 0),
            Values::Int32(values) | Values::Date(values) | Values::Time32(values) => {
                values.resize(rows, 0);
            }
            Values::Int64(values) | Values::Time64(values) | Values::Timestamp(values, _) => {
                values.resize(rows, 0);
            }
            Values::Float32(values) => values.resize(rows, 0.0),
            Values::Float64(values) => values.resize(rows, 0.0),
            Values::Decimal(values, _) => values.resize(rows, 0),
            Values::Text(views) | Values::Bytes(views) => views.grow(rows),
            Values::Row(row) => row.lanes.iter_mut().for_each(|lane| lane.grow(rows)),
            Values::List(list) => list.ranges.resize(rows, (0, 0)),
            Values::Map(map) => map.ranges.resize(rows, (0, 0)),
        }
    }

    /// Makes a row NULL again.
    pub(crate) fn clear(&mut self, row: usize) {
        self.valid.clear(row);
        match &mut self.values {
            Values::Row(fields) => fields.lanes.iter_mut().for_each(|lane| lane.clear(row)),
            // A NULL keeps no part of the records alive.
            Values::Text(views) | Values::Bytes(views) => views.clear(row),
            _ => {}
        }
    }

    /// The first `rows` rows as an array; the lane is empty again.
    pub(crate) fn take(&mut self, rows: usize, run: &Run<'_>) -> Result<ArrayRef> {
        if matches!(self.values, Values::Present) {
            return Ok(Arc::new(BooleanArray::new(self.valid.take(rows), None)));
        }
        let nulls = self.valid.take_nulls(rows);
        let data_type = &self.data_type;
        Ok(match &mut self.values {
            Values::Present => return Err(Error::internal("a lane of presence has been taken")),
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.take(rows), nulls)),
            Values::Int8(values) => primitive::<Int8Type>(values, rows, nulls, data_type)?,
            Values::Int16(values) => primitive::<Int16Type>(values, rows, nulls, data_type)?,
            Values::Int32(values) => primitive::<Int32Type>(values, rows, nulls, data_type)?,
            Values::Int64(values) => primitive::<Int64Type>(values, rows, nulls, data_type)?,
            Values::Float32(values) => primitive::<Float32Type>(values, rows, nulls, data_type)?,
            Values::Float64(values) => primitive::<Float64Type>(values, rows, nulls, data_type)?,
            Values::Decimal(values, _) => {
                primitive::<Decimal128Type>(values, rows, nulls, data_type)?
            }
            Values::Date(values) => primitive::<Date32Type>(values, rows, nulls, data_type)?,
            Values::Time32(values) => {
                primitive::<Time32MillisecondType>(values, rows, nulls, data_type)?
            }
            Values::Time64(values) => {
                primitive::<Time64NanosecondType>(values, rows, nulls, data_type)?
            }
            Values::Timestamp(values, _) => timestamps(values, rows, nulls, data_type)?,
            Values::Text(views) => views.take_text(rows, run, nulls)?,
            Values::Bytes(views) => views.take_bytes(rows, run, nulls)?,
            Values::Row(row) => row.take(rows, run, nulls, data_type)?,
            Values::List(list) => list.take(rows, run, nulls, data_type)?,
            Values::Map(map) => map.take(rows, run, nulls, data_type)?,
        })
    }
}

impl Values {
    fn new(name: &str, data_type: &DataType, reading: Reading) -> Result<Self> {
        let stamp = |unit: &TimeUnit, zoned| {
            let per_second = match unit {
                TimeUnit::Second => return None,
                TimeUnit::Millisecond => 1_000,
                TimeUnit::Microsecond => 1_000_000,
                TimeUnit::Nanosecond => 1_000_000_000,
            };
            Some(Stamp {
                per_second,
                zoned,
                epoch: None,
                minute: (0, 0),
            })
        };
        Ok(match data_type {
            DataType::Boolean => Self::Boolean(Bits::default()),
            DataType::Int8 => Self::Int8(Vec::new()),
            DataType::Int16 => Self::Int16(Vec::new()),
            DataType::Int32 => Self::Int32(Vec::new()),
            DataType::Int64 => Self::Int64(Vec::new()),
            DataType::Float32 => Self::Float32(Vec::new()),
            DataType::Float64 => Self::Float64(Vec::new()),
            DataType::Decimal128(precision, scale) if *scale >= 0 => {
                let digits = Digits {
                    precision: *precision,
                    scale: *scale,
                };
                Self::Decimal(Vec::new(), digits)
            }
            DataType::Date32 => Self::Date(Vec::new()),
            DataType::Time32(TimeUnit::Millisecond) => Self::Time32(Vec::new()),
            DataType::Time64(TimeUnit::Nanosecond) => Self::Time64(Vec::new()),
            DataType::Timestamp(unit, zone) => match stamp(unit, zone.is_some()) {
                Some(stamp) => Self::Timestamp(Vec::new(), stamp),
                None => return Err(unreadable(name, data_type)),
            },
            DataType::Utf8View => Self::Text(Views::default()),
            DataType::BinaryView => Self::Bytes(Views::default()),
            DataType::Struct(fields) => Self::Row(Box::new(RowLane::new(name, fields, reading)?)),
            DataType::List(item) => Self::List(Box::new(ListLane {
                ranges: Vec::new(),
                item: Lane::of(name, item, reading)?,
                items: 0,
            })),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => Self::Map(Box::new(MapLane {
                    ranges: Vec::new(),
                    key: Lane::of(name, &fields[0], reading)?,
                    value: Lane::of(name, &fields[1], reading)?,
                    entries: 0,
                })),
                _ => return Err(unreadable(name, data_type)),
            },
            _ => return Err(unreadable(name, data_type)),
        })
    }
}

fn unreadable(name: &str, data_type: &DataType) -> Error {
    Error::user(format!(
        "column `{name}` has the type {}, which this format cannot read",
        type_name(data_type)
    ))
}

impl RowLane {
    fn new(name: &str, types: &ArrowFields, reading: Reading) -> Result<Self> {
        let mut lanes = Vec::with_capacity(types.len());
        let mut fields = Fields::new(name, reading);
        for field in types {
            let path = format!("{name}.{}", field.name());
            fields.add(std::slice::from_ref(field.name()), lanes.len());
            lanes.push(Lane::of(&path, field, reading)?);
        }
        Ok(Self { fields, lanes })
    }

    fn take(
        &mut self,
        rows: usize,
        run: &Run<'_>,
        nulls: Option<NullBuffer>,
        data_type: &DataType,
    ) -> Result<ArrayRef> {
        let DataType::Struct(fields) = data_type else {
            return Err(Error::internal("a row lane has another type"));
        };
        let columns = self
            .lanes
            .iter_mut()
            .map(|lane| lane.take(rows, run))
            .collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new_with_length(
            fields.clone(),
            columns,
            nulls,
            rows,
        )?))
    }
}

impl ListLane {
    fn take(
        &mut self,
        rows: usize,
        run: &Run<'_>,
        nulls: Option<NullBuffer>,
        data_type: &DataType,
    ) -> Result<ArrayRef> {
        let DataType::List(field) = data_type else {
            return Err(Error::internal("a list lane has another type"));
        };
        let (offsets, order) = settle(&mut self.ranges, rows, nulls.as_ref(), self.items);
        let items = std::mem::take(&mut self.items);
        let items = reorder(self.item.take(items, run)?, order)?;
        Ok(Arc::new(ListArray::try_new(
            Arc::clone(field),
            offsets,
            items,
            nulls,
        )?))
    }
}

impl MapLane {
    fn take(
        &mut self,
        rows: usize,
        run: &Run<'_>,
        nulls: Option<NullBuffer>,
        data_type: &DataType,
    ) -> Result<ArrayRef> {
        let DataType::Map(field, sorted) = data_type else {
            return Err(Error::internal("a map lane has another type"));
        };
        let DataType::Struct(fields) = field.data_type() else {
            return Err(Error::internal("a map's entries have another type"));
        };
        let (offsets, order) = settle(&mut self.ranges, rows, nulls.as_ref(), self.entries);
        let entries = std::mem::take(&mut self.entries);
        let keys = reorder(self.key.take(entries, run)?, order.clone())?;
        let values = reorder(self.value.take(entries, run)?, order)?;
        let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
        Ok(Arc::new(MapArray::try_new(
            Arc::clone(field),
            offsets,
            entries,
            nulls,
            *sorted,
        )?))
    }
}

/// The offsets of a list of `rows` rows, and which items belong to them, if not simply all in order (a bad record or a
/// field that came twice leaves orphans).
fn settle(
    ranges: &mut Vec<(u32, u32)>,
    rows: usize,
    nulls: Option<&NullBuffer>,
    items: usize,
) -> (OffsetBuffer<i32>, Option<UInt32Array>) {
    let ranges = std::mem::take(ranges);
    let held = |row: usize| {
        let (from, to) = ranges[row];
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            0..0
        } else {
            from..to
        }
    };
    let offsets = OffsetBuffer::from_lengths((0..rows).map(|row| held(row).len()));
    let kept = offsets.last().map_or(0, |last| *last as usize);
    let order = (kept != items).then(|| (0..rows).flat_map(held).collect::<Vec<_>>().into());
    (offsets, order)
}

fn reorder(items: ArrayRef, order: Option<UInt32Array>) -> Result<ArrayRef> {
    match order {
        None => Ok(items),
        Some(order) => Ok(compute::take(&items, &order, None)?),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    rows: usize,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let mut values = std::mem::take(values);
    values.truncate(rows);
    let array = PrimitiveArray::<T>::try_new(values.into(), nulls)?;
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

fn timestamps(
    values: &mut Vec<i64>,
    rows: usize,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    match data_type {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitive::<TimestampMillisecondType>(values, rows, nulls, data_type)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType>(values, rows, nulls, data_type)
        }
        _ => primitive::<TimestampNanosecondType>(values, rows, nulls, data_type),
    }
}
