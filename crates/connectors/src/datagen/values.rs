//! The values of one column, or of one field inside it: a function of a cell's random bits, its row and its time.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryViewArray, BooleanArray, Decimal128Array, ListArray,
    MapArray, PrimitiveArray, StringViewArray, StructArray, make_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeType, DataType, Field, Fields, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, TimestampMillisecondType,
};
use millstream_dataflow::{Error, Options, Result};
use std::sync::Arc;

/// Longest collection and text that can be asked for.
const LENGTH_MAX: usize = 1 << 20;

/// How the values of a column, field or item are made.
#[derive(Debug)]
pub(super) struct Values {
    data_type: DataType,
    kind: Kind,
    null_rate: f64,
}

#[derive(Debug)]
enum Kind {
    /// `start + row`, wrapping from `end` to nowhere: the table ends there.
    Sequence {
        start: i64,
        end: i64,
    },
    Boolean,
    Integer {
        min: i128,
        max: i128,
    },
    Float {
        min: f64,
        max: f64,
    },
    /// Hex digits, or bytes.
    Text(Length),
    /// So many milliseconds back at most.
    Time {
        past_ms: u64,
    },
    Row(Vec<(String, Values)>),
    Array(Box<Values>, Length),
    Map(Box<Values>, Box<Values>, Length),
}

#[derive(Clone, Copy, Debug)]
struct Length {
    max: usize,
    varies: bool,
}

/// Cells to fill: for each the random bits, the number of its row and its time.
pub(super) struct Cells<'a> {
    bits: Vec<u64>,
    rows: &'a [u64],
    times_ms: Vec<i64>,
}

impl<'a> Cells<'a> {
    /// The cells of a column.
    pub(super) fn new(seed: u64, column: &str, rows: &'a [u64], times_ms: Vec<i64>) -> Self {
        let column = salted(seed, column);
        Self {
            bits: rows.iter().map(|row| mix(column ^ mix(*row))).collect(),
            rows,
            times_ms,
        }
    }

    /// The cells of a field inside these.
    fn field(&self, name: &str) -> Self {
        Self {
            bits: self.bits.iter().map(|bits| salted(*bits, name)).collect(),
            rows: self.rows,
            times_ms: self.times_ms.clone(),
        }
    }

    /// The cells of items inside these: `counts[i]` of cell `i`.
    fn items(&self, name: &str, counts: &[usize]) -> Self {
        let each = || self.bits.iter().zip(&self.times_ms).zip(counts);
        Self {
            bits: each()
                .flat_map(|((bits, _), count)| {
                    let bits = salted(*bits, name);
                    (0..*count).map(move |item| mix(bits ^ mix(item as u64 + 1)))
                })
                .collect(),
            rows: self.rows,
            times_ms: each()
                .flat_map(|((_, time), count)| std::iter::repeat_n(*time, *count))
                .collect(),
        }
    }
}

impl Values {
    /// Takes the options `prefix.*` for values of a type.
    pub(super) fn new(options: &mut Options, prefix: &str, data_type: &DataType) -> Result<Self> {
        let name = |option: &str| format!("{prefix}.{option}");
        let kind = match options
            .word(&name("kind"), &["random", "sequence"])?
            .as_str()
        {
            "sequence" => Self::sequence(options, prefix, data_type)?,
            _ => random(options, prefix, data_type)?,
        };
        let null_rate: f64 = options.parse(&name("null-rate"))?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&null_rate) {
            return Err(options.invalid(&name("null-rate"), &null_rate.to_string(), "from 0 to 1"));
        }
        Ok(Self {
            data_type: data_type.clone(),
            kind,
            null_rate,
        })
    }

    fn sequence(options: &mut Options, prefix: &str, data_type: &DataType) -> Result<Kind> {
        let fits = data_type.is_numeric() || matches!(data_type, DataType::Utf8View);
        if !fits {
            return Err(options.invalid(
                &format!("{prefix}.kind"),
                "sequence",
                &format!("random for a column of type {data_type}"),
            ));
        }
        let mut bound = |name: &str| -> Result<i64> {
            let text = options.required(&format!("{prefix}.{name}"))?;
            let number = text.trim().parse();
            number
                .map_err(|_| options.invalid(&format!("{prefix}.{name}"), &text, "a whole number"))
        };
        let (start, end) = (bound("start")?, bound("end")?);
        if end < start {
            return Err(options.invalid(
                &format!("{prefix}.end"),
                &end.to_string(),
                &format!("at least {prefix}.start"),
            ));
        }
        Ok(Kind::Sequence { start, end })
    }

    /// After how many rows the values end.
    pub(super) fn end(&self) -> Option<u64> {
        match &self.kind {
            Kind::Sequence { start, end } => Some(end.abs_diff(*start).saturating_add(1)),
            Kind::Row(fields) => fields.iter().filter_map(|(_, field)| field.end()).min(),
            Kind::Boolean
            | Kind::Integer { .. }
            | Kind::Float { .. }
            | Kind::Text(_)
            | Kind::Time { .. }
            | Kind::Array(_, _)
            | Kind::Map(_, _, _) => None,
        }
    }

    /// The values of a field inside these, NULL where a parent is.
    pub(super) fn make_at(&self, cells: &Cells<'_>, path: &[String]) -> Result<ArrayRef> {
        let (Some((name, rest)), Kind::Row(fields)) = (path.split_first(), &self.kind) else {
            return self.make(cells);
        };
        let found = fields.iter().find(|(field, _)| field == name);
        let (_, field) =
            found.ok_or_else(|| Error::internal(format!("datagen has no field `{name}`")))?;
        let values = field.make_at(&cells.field(name), rest)?;
        with_nulls(&values, self.nulls(cells).as_ref())
    }

    fn make(&self, cells: &Cells<'_>) -> Result<ArrayRef> {
        let values = self.values(cells)?;
        with_nulls(&values, self.nulls(cells).as_ref())
    }

    fn nulls(&self, cells: &Cells<'_>) -> Option<NullBuffer> {
        let valid = |bits: &u64| unit(salted(*bits, "null")) >= self.null_rate;
        (self.null_rate > 0.0).then(|| cells.bits.iter().map(valid).collect())
    }

    fn values(&self, cells: &Cells<'_>) -> Result<ArrayRef> {
        match &self.kind {
            Kind::Sequence { start, .. } => {
                let numbers = cells
                    .rows
                    .iter()
                    .map(|row| start.wrapping_add_unsigned(*row));
                let numbers: ArrayRef =
                    Arc::new(PrimitiveArray::<Int64Type>::from_iter_values(numbers));
                Ok(cast(&numbers, &self.data_type)?)
            }
            Kind::Boolean => {
                let values: BooleanArray = cells.bits.iter().map(|b| Some(b & 1 == 1)).collect();
                Ok(Arc::new(values))
            }
            Kind::Integer { min, max } => self.integers(cells, *min, *max),
            Kind::Float { min, max } => {
                let value = |bits: &u64| min + (max - min) * unit(*bits);
                match self.data_type {
                    DataType::Float32 => Ok(primitive::<Float32Type>(cells, |b| value(b) as f32)),
                    _ => Ok(primitive::<Float64Type>(cells, value)),
                }
            }
            Kind::Text(length) => Ok(self.texts(cells, *length)),
            Kind::Time { past_ms } => self.times(cells, *past_ms),
            Kind::Row(fields) => {
                let columns = fields
                    .iter()
                    .map(|(name, field)| field.make(&cells.field(name)))
                    .collect::<Result<_>>()?;
                let row = StructArray::try_new(struct_fields(&self.data_type), columns, None)?;
                Ok(Arc::new(row))
            }
            Kind::Array(items, length) => {
                let counts = length.counts(cells);
                let values = items.make(&cells.items("element", &counts))?;
                let offsets = OffsetBuffer::from_lengths(counts);
                let field = item_field(&self.data_type)?;
                Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
            }
            Kind::Map(keys, values, length) => self.maps(cells, keys, values, *length),
        }
    }

    fn integers(&self, cells: &Cells<'_>, min: i128, max: i128) -> Result<ArrayRef> {
        let span = (max - min).cast_unsigned().wrapping_add(1);
        let value = |bits: &u64| {
            let wide = (u128::from(mix(*bits)) << 64) | u128::from(mix(bits ^ 1));
            min + wide.checked_rem(span).unwrap_or(wide).cast_signed()
        };
        Ok(match &self.data_type {
            DataType::Int8 => primitive::<Int8Type>(cells, |b| value(b) as i8),
            DataType::Int16 => primitive::<Int16Type>(cells, |b| value(b) as i16),
            DataType::Int32 => primitive::<Int32Type>(cells, |b| value(b) as i32),
            DataType::Decimal128(precision, scale) => {
                let numbers = Decimal128Array::from_iter_values(cells.bits.iter().map(value));
                Arc::new(numbers.with_precision_and_scale(*precision, *scale)?)
            }
            _ => primitive::<Int64Type>(cells, |b| value(b) as i64),
        })
    }

    fn texts(&self, cells: &Cells<'_>, length: Length) -> ArrayRef {
        let counts = length.counts(cells);
        let each = cells.bits.iter().zip(counts);
        if matches!(self.data_type, DataType::BinaryView) {
            let bytes = each.map(|(bits, count)| random_bytes(*bits, count));
            return Arc::new(BinaryViewArray::from_iter_values(bytes));
        }
        let texts = each.map(|(bits, count)| {
            let digit = |byte: u8| char::from_digit(u32::from(byte & 15), 16).unwrap_or('0');
            random_bytes(*bits, count)
                .into_iter()
                .map(digit)
                .collect::<String>()
        });
        Arc::new(StringViewArray::from_iter_values(texts))
    }

    fn times(&self, cells: &Cells<'_>, past_ms: u64) -> Result<ArrayRef> {
        let each = cells.bits.iter().zip(&cells.times_ms);
        let times = each.map(|(bits, time)| time - (bits % (past_ms + 1)).cast_signed());
        let day = 86_400_000;
        Ok(match &self.data_type {
            DataType::Time32(_) | DataType::Time64(_) => {
                let of_day = times.map(|time| time.rem_euclid(day) as i32);
                let of_day = PrimitiveArray::<Time32MillisecondType>::from_iter_values(of_day);
                cast(&of_day, &self.data_type)?
            }
            other => {
                let times = PrimitiveArray::<TimestampMillisecondType>::from_iter_values(times);
                let times = match other {
                    DataType::Timestamp(_, zone) => times.with_timezone_opt(zone.clone()),
                    _ => times,
                };
                cast(&times, other)?
            }
        })
    }

    fn maps(
        &self,
        cells: &Cells<'_>,
        keys: &Self,
        values: &Self,
        length: Length,
    ) -> Result<ArrayRef> {
        let DataType::Map(entries, sorted) = &self.data_type else {
            return Err(Error::internal("a MAP column has another type"));
        };
        let counts = length.counts(cells);
        let columns = vec![
            keys.make(&cells.items("key", &counts))?,
            values.make(&cells.items("value", &counts))?,
        ];
        let pairs = StructArray::try_new(struct_fields(entries.data_type()), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(counts);
        let maps = MapArray::try_new(Arc::clone(entries), offsets, pairs, None, *sorted)?;
        Ok(Arc::new(maps))
    }
}

impl Length {
    fn new(options: &mut Options, prefix: &str, default: usize) -> Result<Self> {
        let name = format!("{prefix}.length");
        let length = Self {
            max: options.parse(&name)?.unwrap_or(default),
            varies: options.flag(&format!("{prefix}.var-len"), false)?,
        };
        if length.max > LENGTH_MAX || (length.varies && length.max == 0) {
            let wanted = format!("from 1 to {LENGTH_MAX}");
            return Err(options.invalid(&name, &length.max.to_string(), &wanted));
        }
        Ok(length)
    }

    fn counts(self, cells: &Cells<'_>) -> Vec<usize> {
        let count = |bits: &u64| match self.varies {
            true => 1 + (salted(*bits, "length") % self.max as u64) as usize,
            false => self.max,
        };
        cells.bits.iter().map(count).collect()
    }
}

fn random(options: &mut Options, prefix: &str, data_type: &DataType) -> Result<Kind> {
    Ok(match data_type {
        DataType::Boolean => Kind::Boolean,
        DataType::Int8 => integer(options, prefix, i8::MIN.into(), i8::MAX.into())?,
        DataType::Int16 => integer(options, prefix, i16::MIN.into(), i16::MAX.into())?,
        DataType::Int32 => integer(options, prefix, i32::MIN.into(), i32::MAX.into())?,
        DataType::Int64 => integer(options, prefix, i64::MIN.into(), i64::MAX.into())?,
        DataType::Float32 => float(options, prefix, f64::from(f32::MAX))?,
        DataType::Float64 => float(options, prefix, f64::MAX)?,
        DataType::Decimal128(precision, scale) => decimal(options, prefix, *precision, *scale)?,
        DataType::Utf8View | DataType::BinaryView => Kind::Text(Length::new(options, prefix, 100)?),
        DataType::Date32
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(_, _) => {
            let past = options.duration(&format!("{prefix}.max-past"))?;
            Kind::Time {
                past_ms: past.map_or(0, |past| past.as_millis() as u64),
            }
        }
        DataType::Struct(fields) => {
            let field = |field: &Arc<Field>| {
                let name = field.name();
                let values = Values::new(options, &format!("{prefix}.{name}"), field.data_type())?;
                Ok((name.clone(), values))
            };
            Kind::Row(fields.iter().map(field).collect::<Result<_>>()?)
        }
        DataType::List(item) => {
            let length = Length::new(options, prefix, 3)?;
            let items = Values::new(options, &format!("{prefix}.element"), item.data_type())?;
            Kind::Array(Box::new(items), length)
        }
        DataType::Map(entries, _) => {
            let length = Length::new(options, prefix, 3)?;
            let fields = struct_fields(entries.data_type());
            let mut side = |name: &str, idx: usize| {
                let data_type = fields.get(idx).map_or(&DataType::Null, |f| f.data_type());
                Values::new(options, &format!("{prefix}.{name}"), data_type).map(Box::new)
            };
            Kind::Map(side("key", 0)?, side("value", 1)?, length)
        }
        other => {
            let message = format!("datagen cannot make values of type {other} ('{prefix}')");
            return Err(Error::user(message));
        }
    })
}

fn integer(options: &mut Options, prefix: &str, min: i128, max: i128) -> Result<Kind> {
    let low: i128 = options.parse(&format!("{prefix}.min"))?.unwrap_or(min);
    let high: i128 = options.parse(&format!("{prefix}.max"))?.unwrap_or(max);
    if low < min || high > max || low > high {
        let wanted = format!("within {min} and {max}, and at most '{prefix}.max' ({high})");
        return Err(options.invalid(&format!("{prefix}.min"), &low.to_string(), &wanted));
    }
    Ok(Kind::Integer {
        min: low,
        max: high,
    })
}

fn float(options: &mut Options, prefix: &str, max: f64) -> Result<Kind> {
    let low: f64 = options.parse(&format!("{prefix}.min"))?.unwrap_or(0.0);
    let high: f64 = options.parse(&format!("{prefix}.max"))?.unwrap_or(max);
    let span = high - low;
    if !span.is_finite() || span < 0.0 || high > max || low < -max {
        let wanted = format!("a number up to '{prefix}.max' ({high})");
        return Err(options.invalid(&format!("{prefix}.min"), &low.to_string(), &wanted));
    }
    Ok(Kind::Float {
        min: low,
        max: high,
    })
}

fn decimal(options: &mut Options, prefix: &str, precision: u8, scale: i8) -> Result<Kind> {
    let largest = 10_i128.pow(u32::from(precision)) - 1;
    let unit = 10_f64.powi(i32::from(scale));
    let mut bound = |name: &str, default: i128| -> Result<i128> {
        let name = format!("{prefix}.{name}");
        let Some(number) = options.parse::<f64>(&name)? else {
            return Ok(default);
        };
        let scaled = (number * unit).round() as i128;
        if !number.is_finite() || scaled.abs() > largest {
            let wanted = format!("a number of DECIMAL({precision}, {scale})");
            return Err(options.invalid(&name, &number.to_string(), &wanted));
        }
        Ok(scaled)
    };
    let (min, max) = (bound("min", 0)?, bound("max", largest)?);
    if min > max {
        let wanted = format!("at most '{prefix}.max'");
        return Err(options.invalid(&format!("{prefix}.min"), &min.to_string(), &wanted));
    }
    Ok(Kind::Integer { min, max })
}

fn struct_fields(data_type: &DataType) -> Fields {
    match data_type {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    }
}

fn item_field(data_type: &DataType) -> Result<Arc<Field>> {
    match data_type {
        DataType::List(item) => Ok(Arc::clone(item)),
        _ => Err(Error::internal("an ARRAY column has another type")),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    cells: &Cells<'_>,
    value: impl Fn(&u64) -> T::Native,
) -> ArrayRef
where
    T::Native: ArrowNativeType,
{
    Arc::new(PrimitiveArray::<T>::from_iter_values(
        cells.bits.iter().map(value),
    ))
}

fn with_nulls(values: &ArrayRef, nulls: Option<&NullBuffer>) -> Result<ArrayRef> {
    if nulls.is_none() {
        return Ok(Arc::clone(values));
    }
    let nulls = NullBuffer::union(values.nulls(), nulls);
    Ok(make_array(
        values.to_data().into_builder().nulls(nulls).build()?,
    ))
}

fn random_bytes(bits: u64, count: usize) -> Vec<u8> {
    let words = (0..count.div_ceil(8) as u64).map(|word| mix(bits ^ mix(word + 1)));
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(count);
    bytes
}

/// From 0 to just under 1.
fn unit(bits: u64) -> f64 {
    (mix(bits) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Other bits for another name.
fn salted(bits: u64, name: &str) -> u64 {
    name.bytes()
        .fold(mix(bits), |state, byte| mix(state ^ u64::from(byte)))
}

/// SplitMix64's finalizer: every bit of the input moves half of the output's.
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
