//! Arrow arrays to and from the few forms in which keyed state holds values: [`Lane`] on the way in, [`Cells`] on
//! the way out.

use super::cells::{Cells, Data, Form, range};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryViewArray, BooleanArray,
    ListArray, MapArray, PrimitiveArray, StringArray, StringViewArray, StructArray, new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::row::{RowConverter, SortField};
use millstream_dataflow::{Error, Result};
use std::sync::Arc;

/// A column of a batch in the form in which state holds it.
#[derive(Clone, Debug)]
pub enum Lane {
    /// See [`Form::Long`].
    Long {
        /// One value a row, anything where NULL.
        values: ScalarBuffer<i64>,
        /// Which are NULL.
        nulls: Option<NullBuffer>,
    },
    /// See [`Form::Wide`].
    Wide {
        /// One value a row, anything where NULL.
        values: ScalarBuffer<i128>,
        /// Which are NULL.
        nulls: Option<NullBuffer>,
    },
    /// See [`Form::Bytes`].
    Bytes(BinaryViewArray),
}

impl Lane {
    /// Which rows are NULL, if any.
    pub fn nulls(&self) -> Option<&NullBuffer> {
        let nulls = match self {
            Self::Long { nulls, .. } | Self::Wide { nulls, .. } => nulls.as_ref(),
            Self::Bytes(values) => values.nulls(),
        };
        nulls.filter(|nulls| nulls.null_count() > 0)
    }

    /// Whether a row is not NULL.
    pub fn is_valid(&self, row: usize) -> bool {
        self.nulls().is_none_or(|nulls| nulls.is_valid(row))
    }

    /// The values of some cells as a lane. Lists have no lane and become NULLs.
    pub fn from_cells(cells: &Cells) -> Self {
        let nulls = cells.null_buffer(None);
        match &cells.data {
            Data::Long(values) => Self::Long {
                values: values.clone().into(),
                nulls,
            },
            Data::Wide(values) => Self::Wide {
                values: values.clone().into(),
                nulls,
            },
            Data::Bytes { bytes, ends } => Self::Bytes(BinaryViewArray::from_iter(
                (0..ends.len()).map(|i| cells.valid[i].then(|| &bytes[range(ends, i)])),
            )),
            Data::Lists { ends, .. } => Self::Bytes(BinaryViewArray::new_null(ends.len())),
        }
    }

    /// Copies all values to cells of the same form.
    pub fn push_all_to(&self, cells: &mut Cells) {
        match (self, self.nulls()) {
            (Self::Long { values, .. }, None) => cells.extend_longs(values.iter().copied()),
            (Self::Wide { values, .. }, None) => cells.extend_wides(values),
            (Self::Long { values, .. }, Some(_)) => {
                (0..values.len()).for_each(|row| self.push_to(row, cells));
            }
            (Self::Wide { values, .. }, Some(_)) => {
                (0..values.len()).for_each(|row| self.push_to(row, cells));
            }
            (Self::Bytes(values), _) => {
                (0..values.len()).for_each(|row| self.push_to(row, cells));
            }
        }
    }

    /// Copies a row's value, or NULL, to cells of the same form.
    pub fn push_to(&self, row: usize, cells: &mut Cells) {
        if !self.is_valid(row) {
            return cells.push_null();
        }
        match self {
            Self::Long { values, .. } => cells.push_long(values[row]),
            Self::Wide { values, .. } => cells.push_wide(values[row]),
            Self::Bytes(values) => cells.push_bytes(values.value(row)),
        }
    }
}

/// A code of a float that orders as the floats do (NaN of positive sign last); the function is its own inverse.
pub fn float_code(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The code of a float in a [`Form::Long`].
pub fn code_of_float(value: f64) -> i64 {
    float_code(value.to_bits() as i64)
}

/// The float of a code.
pub fn float_of_code(code: i64) -> f64 {
    f64::from_bits(float_code(code) as u64)
}

/// How the values of one type are held.
#[derive(Debug)]
pub struct Codec {
    data_type: DataType,
    form: Form,
    nested: Option<RowConverter>,
    keys: bool,
}

impl Codec {
    /// A codec of values, which come back exactly as they went in.
    ///
    /// # Errors
    /// `User` for a type that state cannot hold.
    pub fn new(data_type: &DataType) -> Result<Self> {
        let form = form(data_type);
        let nested = if form.is_none() {
            let unfit = |error: arrow::error::ArrowError| {
                Error::user(format!(
                    "values of type {data_type} cannot be held as a key or in an aggregate"
                ))
                .detail(error.to_string())
            };
            Some(RowConverter::new(vec![SortField::new(data_type.clone())]).map_err(unfit)?)
        } else {
            None
        };
        Ok(Self {
            data_type: data_type.clone(),
            form: form.unwrap_or(Form::Bytes),
            nested,
            keys: false,
        })
    }

    /// A codec of keys: -0.0 is 0.0 and all NaNs are one.
    ///
    /// # Errors
    /// `User` for a type that state cannot hold.
    pub fn for_keys(data_type: &DataType) -> Result<Self> {
        Ok(Self {
            keys: true,
            ..Self::new(data_type)?
        })
    }

    /// A codec of results that are built rather than taken from a column: an ARRAY or MAP is held as lists.
    ///
    /// # Errors
    /// `User` for a type that state cannot hold.
    pub fn for_results(data_type: &DataType) -> Result<Self> {
        let children: Vec<DataType> = match data_type {
            DataType::List(element) => vec![element.data_type().clone()],
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) => fields.iter().map(|f| f.data_type().clone()).collect(),
                _ => return Err(Error::internal(format!("{data_type} is no map"))),
            },
            _ => return Self::new(data_type),
        };
        let forms = children
            .iter()
            .map(|child| Ok(Self::new(child)?.form))
            .collect::<Result<_>>()?;
        Ok(Self {
            data_type: data_type.clone(),
            form: Form::Lists(forms),
            nested: None,
            keys: false,
        })
    }

    /// The form of the values.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Whether the values are text or binary as they are (not encoded).
    pub(super) fn is_text(&self) -> bool {
        self.form == Form::Bytes && self.nested.is_none()
    }

    /// The Arrow type of the values.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Empty cells for values of this type.
    pub fn cells(&self) -> Cells {
        Cells::new(&self.form)
    }

    /// The values of an array (of this type; any kind of text for text) in their form.
    ///
    /// # Errors
    /// `Internal` for an array of another type.
    pub fn encode(&self, array: &ArrayRef) -> Result<Lane> {
        if let Some(converter) = &self.nested {
            let rows = converter.convert_columns(std::slice::from_ref(array))?;
            let (views, buffers, _) = BinaryViewArray::from(&rows.try_into_binary()?).into_parts();
            let lane = BinaryViewArray::try_new(views, buffers, array.nulls().cloned())?;
            return Ok(Lane::Bytes(lane));
        }
        let nulls = array.nulls().cloned();
        if self.keys && matches!(array.data_type(), DataType::Float32 | DataType::Float64) {
            let values = floats(array).map(|v| code_of_float(canonical(v))).collect();
            return Ok(Lane::Long { values, nulls });
        }
        encode(array, nulls)
    }

    /// The values, or those at `picks` in their order, as an array.
    ///
    /// # Errors
    /// `Internal` when the cells are of another form, or bytes are not what the type holds.
    pub fn decode(&self, cells: &Cells, picks: Option<&[u32]>) -> Result<ArrayRef> {
        if let Some(converter) = &self.nested {
            let parser = converter.parser();
            let absent = RowNull::new(converter, &self.data_type)?;
            let row = |at: usize| {
                if cells.valid[at] {
                    cells.bytes(at)
                } else {
                    absent.bytes()
                }
            };
            let rows = places(cells.len(), picks).map(|at| parser.parse(row(at)));
            return converter
                .convert_rows(rows)?
                .pop()
                .ok_or_else(|| Error::internal("a nested value came back as no column"));
        }
        decode(&self.data_type, cells, picks)
    }
}

/// The row of a NULL of a nested type.
struct RowNull(arrow::row::Rows);

impl RowNull {
    fn new(converter: &RowConverter, data_type: &DataType) -> Result<Self> {
        Ok(Self(
            converter.convert_columns(&[new_null_array(data_type, 1)])?,
        ))
    }

    fn bytes(&self) -> &[u8] {
        self.0.row(0).data()
    }
}

impl Cells {
    /// Which values (or those at `picks`) are NULL, if any.
    fn null_buffer(&self, picks: Option<&[u32]>) -> Option<NullBuffer> {
        (self.nulls > 0).then(|| places(self.len(), picks).map(|at| self.valid[at]).collect())
    }
}

fn places(len: usize, picks: Option<&[u32]>) -> impl ExactSizeIterator<Item = usize> + '_ {
    let len = picks.map_or(len, <[u32]>::len);
    (0..len).map(move |at| picks.map_or(at, |picks| picks[at] as usize))
}

fn canonical(value: f64) -> f64 {
    if value.is_nan() {
        f64::NAN
    } else {
        // -0.0 + 0.0 is 0.0.
        value + 0.0
    }
}

fn floats(array: &ArrayRef) -> Box<dyn Iterator<Item = f64> + '_> {
    match array.data_type() {
        DataType::Float32 => Box::new(
            array
                .as_primitive::<Float32Type>()
                .values()
                .iter()
                .map(|v| f64::from(*v)),
        ),
        _ => Box::new(array.as_primitive::<Float64Type>().values().iter().copied()),
    }
}

fn form(data_type: &DataType) -> Option<Form> {
    use DataType as D;
    match data_type {
        D::Boolean
        | D::Int8
        | D::Int16
        | D::Int32
        | D::Int64
        | D::UInt8
        | D::UInt16
        | D::UInt32
        | D::UInt64
        | D::Float32
        | D::Float64
        | D::Date32
        | D::Date64
        | D::Time32(_)
        | D::Time64(_)
        | D::Timestamp(_, _)
        | D::Null => Some(Form::Long),
        D::Duration(TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond)
        | D::Interval(arrow::datatypes::IntervalUnit::YearMonth) => Some(Form::Long),
        D::Decimal128(_, _) => Some(Form::Wide),
        D::Utf8 | D::Utf8View | D::Binary | D::BinaryView => Some(Form::Bytes),
        _ => None,
    }
}

fn encode(array: &ArrayRef, nulls: Option<NullBuffer>) -> Result<Lane> {
    use DataType as D;
    let values = match array.data_type() {
        D::Int8 => widen::<Int8Type>(array),
        D::Int16 => widen::<Int16Type>(array),
        D::Int32 => widen::<Int32Type>(array),
        D::UInt8 => widen::<UInt8Type>(array),
        D::UInt16 => widen::<UInt16Type>(array),
        D::UInt32 => widen::<UInt32Type>(array),
        D::UInt64 => array
            .as_primitive::<UInt64Type>()
            .values()
            .iter()
            .map(|v| *v as i64)
            .collect(),
        D::Date32 => widen::<Date32Type>(array),
        D::Time32(TimeUnit::Second) => widen::<Time32SecondType>(array),
        D::Time32(_) => widen::<Time32MillisecondType>(array),
        D::Interval(_) => widen::<IntervalYearMonthType>(array),
        D::Int64 => share::<Int64Type>(array),
        D::Date64 => share::<Date64Type>(array),
        D::Time64(TimeUnit::Microsecond) => share::<Time64MicrosecondType>(array),
        D::Time64(_) => share::<Time64NanosecondType>(array),
        D::Timestamp(TimeUnit::Second, _) => share::<TimestampSecondType>(array),
        D::Timestamp(TimeUnit::Millisecond, _) => share::<TimestampMillisecondType>(array),
        D::Timestamp(TimeUnit::Microsecond, _) => share::<TimestampMicrosecondType>(array),
        D::Timestamp(TimeUnit::Nanosecond, _) => share::<TimestampNanosecondType>(array),
        D::Duration(TimeUnit::Millisecond) => share::<DurationMillisecondType>(array),
        D::Duration(TimeUnit::Microsecond) => share::<DurationMicrosecondType>(array),
        D::Duration(_) => share::<DurationNanosecondType>(array),
        D::Float32 | D::Float64 => floats(array).map(code_of_float).collect(),
        D::Boolean => array.as_boolean().values().iter().map(i64::from).collect(),
        D::Null => {
            return Ok(Lane::Long {
                values: vec![0; array.len()].into(),
                nulls: Some(NullBuffer::new_null(array.len())),
            });
        }
        D::Decimal128(_, _) => {
            let values = array.as_primitive::<Decimal128Type>().values().clone();
            return Ok(Lane::Wide { values, nulls });
        }
        D::Utf8View => return Ok(Lane::Bytes(array.as_string_view().clone().to_binary_view())),
        D::BinaryView => return Ok(Lane::Bytes(array.as_binary_view().clone())),
        D::Utf8 => {
            return Ok(Lane::Bytes(
                StringViewArray::from(array.as_string::<i32>()).to_binary_view(),
            ));
        }
        D::Binary => return Ok(Lane::Bytes(BinaryViewArray::from(array.as_binary::<i32>()))),
        other => return Err(Error::internal(format!("no lane holds {other}"))),
    };
    Ok(Lane::Long { values, nulls })
}

fn widen<T: ArrowPrimitiveType>(array: &ArrayRef) -> ScalarBuffer<i64>
where
    i64: From<T::Native>,
{
    array
        .as_primitive::<T>()
        .values()
        .iter()
        .map(|v| i64::from(*v))
        .collect()
}

fn share<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef) -> ScalarBuffer<i64> {
    array.as_primitive::<T>().values().clone()
}

fn decode(data_type: &DataType, cells: &Cells, picks: Option<&[u32]>) -> Result<ArrayRef> {
    let nulls = cells.null_buffer(picks);
    match &cells.data {
        Data::Long(values) => decode_longs(data_type, values, picks, nulls),
        Data::Wide(values) => {
            let values = gather(values, picks).collect::<ScalarBuffer<i128>>();
            let array = PrimitiveArray::<Decimal128Type>::new(values, nulls);
            Ok(Arc::new(array.with_data_type(data_type.clone())))
        }
        Data::Bytes { .. } => decode_bytes(data_type, cells, picks),
        Data::Lists { children, ends } => decode_lists(data_type, children, ends, picks, nulls),
    }
}

fn gather<'a, T: Copy>(
    values: &'a [T],
    picks: Option<&'a [u32]>,
) -> impl ExactSizeIterator<Item = T> + 'a {
    places(values.len(), picks).map(|at| values[at])
}

fn decode_longs(
    data_type: &DataType,
    values: &[i64],
    picks: Option<&[u32]>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    use DataType as D;
    let longs = Longs {
        data_type,
        values,
        picks,
        nulls,
    };
    Ok(match data_type {
        D::Int8 => longs.array::<Int8Type>(|v| v as i8),
        D::Int16 => longs.array::<Int16Type>(|v| v as i16),
        D::Int32 => longs.array::<Int32Type>(|v| v as i32),
        D::Int64 => longs.array::<Int64Type>(|v| v),
        D::UInt8 => longs.array::<UInt8Type>(|v| v as u8),
        D::UInt16 => longs.array::<UInt16Type>(|v| v as u16),
        D::UInt32 => longs.array::<UInt32Type>(|v| v as u32),
        D::UInt64 => longs.array::<UInt64Type>(|v| v as u64),
        D::Float32 => longs.array::<Float32Type>(|v| float_of_code(v) as f32),
        D::Float64 => longs.array::<Float64Type>(float_of_code),
        D::Date32 => longs.array::<Date32Type>(|v| v as i32),
        D::Date64 => longs.array::<Date64Type>(|v| v),
        D::Time32(TimeUnit::Second) => longs.array::<Time32SecondType>(|v| v as i32),
        D::Time32(_) => longs.array::<Time32MillisecondType>(|v| v as i32),
        D::Time64(TimeUnit::Microsecond) => longs.array::<Time64MicrosecondType>(|v| v),
        D::Time64(_) => longs.array::<Time64NanosecondType>(|v| v),
        D::Timestamp(TimeUnit::Second, _) => longs.array::<TimestampSecondType>(|v| v),
        D::Timestamp(TimeUnit::Millisecond, _) => longs.array::<TimestampMillisecondType>(|v| v),
        D::Timestamp(TimeUnit::Microsecond, _) => longs.array::<TimestampMicrosecondType>(|v| v),
        D::Timestamp(TimeUnit::Nanosecond, _) => longs.array::<TimestampNanosecondType>(|v| v),
        D::Duration(TimeUnit::Millisecond) => longs.array::<DurationMillisecondType>(|v| v),
        D::Duration(TimeUnit::Microsecond) => longs.array::<DurationMicrosecondType>(|v| v),
        D::Duration(_) => longs.array::<DurationNanosecondType>(|v| v),
        D::Interval(_) => longs.array::<IntervalYearMonthType>(|v| v as i32),
        D::Boolean => {
            let bits = gather(values, picks).map(|v| v != 0).collect();
            Arc::new(BooleanArray::new(bits, longs.nulls))
        }
        D::Null => new_null_array(&D::Null, places(values.len(), picks).len()),
        other => return Err(Error::internal(format!("no 64-bit cells hold {other}"))),
    })
}

/// What the arms of a match over types share.
struct Longs<'a> {
    data_type: &'a DataType,
    values: &'a [i64],
    picks: Option<&'a [u32]>,
    nulls: Option<NullBuffer>,
}

impl Longs<'_> {
    fn array<T: ArrowPrimitiveType>(self, narrow: impl Fn(i64) -> T::Native) -> ArrayRef {
        let values: Vec<T::Native> = match self.picks {
            Some(picks) => picks
                .iter()
                .map(|at| narrow(self.values[*at as usize]))
                .collect(),
            None => self.values.iter().map(|v| narrow(*v)).collect(),
        };
        let array = PrimitiveArray::<T>::new(values.into(), self.nulls);
        if array.data_type() == self.data_type {
            return Arc::new(array);
        }
        Arc::new(array.with_data_type(self.data_type.clone()))
    }
}

fn decode_bytes(data_type: &DataType, cells: &Cells, picks: Option<&[u32]>) -> Result<ArrayRef> {
    let values = places(cells.len(), picks).map(|at| cells.valid[at].then(|| cells.bytes(at)));
    let mut views = Views::with_capacity(values.len());
    values.for_each(|value| views.push(value));
    views.finish(data_type)
}

/// Text or binary values being collected as views.
#[derive(Debug, Default)]
pub(super) struct Views {
    views: Vec<u128>,
    buffer: Vec<u8>,
    valid: Vec<bool>,
    nulls: usize,
}

impl Views {
    pub(super) fn with_capacity(values: usize) -> Self {
        Self {
            views: Vec::with_capacity(values),
            buffer: Vec::new(),
            valid: Vec::with_capacity(values),
            nulls: 0,
        }
    }

    pub(super) fn push(&mut self, value: Option<&[u8]>) {
        let Some(value) = value else {
            self.nulls += 1;
            self.valid.push(false);
            return self.views.push(0);
        };
        if value.len() <= 12 {
            let mut view = [0_u8; 16];
            view[..4].copy_from_slice(&(value.len() as u32).to_le_bytes());
            view[4..4 + value.len()].copy_from_slice(value);
            return self.push_inline(u128::from_le_bytes(view));
        }
        let prefix = u32::from_le_bytes([value[0], value[1], value[2], value[3]]);
        let offset = self.buffer.len();
        self.buffer.extend_from_slice(value);
        let view = value.len() as u128 | u128::from(prefix) << 32 | (offset as u128) << 96;
        self.push_inline(view);
    }

    /// A value of at most 12 bytes, as a view.
    pub(super) fn push_inline(&mut self, view: u128) {
        self.views.push(view);
        self.valid.push(true);
    }

    pub(super) fn finish(self, data_type: &DataType) -> Result<ArrayRef> {
        if self.buffer.len() > i32::MAX as usize {
            return Err(Error::internal(
                "one step puts out more than 2 GiB of text in a column",
            ));
        }
        let nulls = (self.nulls > 0).then(|| NullBuffer::from(self.valid));
        let buffers = if self.buffer.is_empty() {
            Vec::new()
        } else {
            vec![Buffer::from_vec(self.buffer)]
        };
        let views = ScalarBuffer::from(self.views);
        Ok(match data_type {
            DataType::Utf8View => Arc::new(StringViewArray::try_new(views, buffers, nulls)?),
            DataType::Utf8 => {
                let array = StringViewArray::try_new(views, buffers, nulls)?;
                Arc::new(array.iter().collect::<StringArray>())
            }
            DataType::BinaryView => Arc::new(BinaryViewArray::try_new(views, buffers, nulls)?),
            DataType::Binary => {
                let array = BinaryViewArray::try_new(views, buffers, nulls)?;
                Arc::new(array.iter().collect::<BinaryArray>())
            }
            other => return Err(Error::internal(format!("no bytes hold {other}"))),
        })
    }
}

fn decode_lists(
    data_type: &DataType,
    children: &[Cells],
    ends: &[usize],
    picks: Option<&[u32]>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let ranges = || places(ends.len(), picks).map(|at| range(ends, at));
    let elements: Vec<u32> = ranges().flatten().map(|at| at as u32).collect();
    let offsets = OffsetBuffer::from_lengths(ranges().map(|range| range.len()));
    let child = |at: usize, data_type: &DataType| {
        Codec::new(data_type)?.decode(&children[at], Some(&elements))
    };
    match data_type {
        DataType::List(field) => {
            let values = child(0, field.data_type())?;
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(field),
                offsets,
                values,
                nulls,
            )?))
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(Error::internal(format!("{data_type} is no map")));
            };
            let columns = fields
                .iter()
                .enumerate()
                .map(|(at, field)| child(at, field.data_type()))
                .collect::<Result<_>>()?;
            let rows = StructArray::try_new(fields.clone(), columns, None)?;
            Ok(Arc::new(MapArray::try_new(
                Arc::clone(entries),
                offsets,
                rows,
                nulls,
                *sorted,
            )?))
        }
        other => Err(Error::internal(format!("no lists hold {other}"))),
    }
}
