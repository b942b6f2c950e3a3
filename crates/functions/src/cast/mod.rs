//! CAST and TRY_CAST as Flink means them, as functions of one argument made for one target type.
//!
//! [`needs_flink`] says where Arrow's own kernel means the same, which is then the faster choice.

pub(crate) mod from_text;
mod nested;
mod number;
mod temporal;
pub(crate) mod to_text;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, Result};
use crate::function::Options;
use crate::types::{canonical, is_binary, is_text, sql_name};
use crate::zone::Zone;

pub(crate) use number::shortest_decimal;
pub use to_text::FRACTION_KEY;

/// The length of a text type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CharLen {
    /// CHAR(n): padded with spaces or cut to n characters.
    Char(usize),
    /// VARCHAR(n): cut to n characters.
    VarChar(usize),
}

/// What a value is cast to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The type.
    pub data_type: DataType,
    /// The length, where the type is a text with one.
    pub char_len: Option<CharLen>,
    /// The digits of a second of TIME(p), TIMESTAMP(p) and TIMESTAMP_LTZ(p). Left out, it is 0 for TIME and as many
    /// as the type's unit holds for a timestamp.
    pub fraction: Option<u8>,
}

impl From<DataType> for Target {
    fn from(data_type: DataType) -> Self {
        Self {
            data_type,
            char_len: None,
            fraction: None,
        }
    }
}

/// What a failing cast does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// CAST: it is an error.
    Strict,
    /// TRY_CAST: it is NULL.
    Try,
}

/// `CAST(x AS target)` as a function of x.
#[must_use]
pub fn cast_udf(target: DataType, char_len: Option<CharLen>, options: &Options) -> Arc<ScalarUDF> {
    udf(
        Target {
            data_type: target,
            char_len,
            fraction: None,
        },
        Mode::Strict,
        options,
    )
}

/// `TRY_CAST(x AS target)` as a function of x.
#[must_use]
pub fn try_cast_udf(
    target: DataType,
    char_len: Option<CharLen>,
    options: &Options,
) -> Arc<ScalarUDF> {
    udf(
        Target {
            data_type: target,
            char_len,
            fraction: None,
        },
        Mode::Try,
        options,
    )
}

/// CAST or TRY_CAST as a function of the value. An unknown time zone is taken for UTC; [`Options::check`] refuses it.
#[must_use]
pub fn udf(mut target: Target, mode: Mode, options: &Options) -> Arc<ScalarUDF> {
    target.data_type = canonical(&target.data_type);
    let zone = options.time_zone.parse().unwrap_or(Zone::UTC);
    Arc::new(
        Cast {
            target,
            mode,
            zone,
            signature: Signature::any(1, Volatility::Immutable),
        }
        .into(),
    )
}

/// Whether the cast means something else than Arrow's kernel with errors for what does not fit.
#[must_use]
pub fn needs_flink(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        (from, to) if from == to => false,
        (T::Null, _) => false,
        (from, to) if is_text(from) && is_text(to) => false,
        (from, to) if is_binary(from) && is_binary(to) => false,
        (from, to) if from.is_signed_integer() && to.is_signed_integer() => {
            to.primitive_width() < from.primitive_width()
        }
        (from, T::Float32 | T::Float64) if from.is_signed_integer() || from.is_floating() => false,
        (T::Boolean, to) if to.is_signed_integer() => false,
        (T::Date32, T::Timestamp(_, None)) => false,
        _ => true,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Cast {
    target: Target,
    mode: Mode,
    zone: Zone,
    signature: Signature,
}

impl ScalarUDFImpl for Cast {
    fn name(&self) -> &str {
        match self.mode {
            Mode::Strict => "flink_cast",
            Mode::Try => "flink_try_cast",
        }
    }

    fn schema_name(&self, args: &[datafusion_expr::Expr]) -> Result<String> {
        let word = if self.mode == Mode::Try {
            "TRY_CAST"
        } else {
            "CAST"
        };
        let value = args
            .first()
            .map(|arg| arg.schema_name().to_string())
            .unwrap_or_default();
        Ok(format!("{word}({value} AS {})", self.target_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.target.data_type.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let cx = Cx {
            mode: self.mode,
            zone: self.zone,
            char_len: self.target.char_len,
            fraction: self.target.fraction,
            field: args.arg_fields.first(),
        };
        match args.args.first() {
            Some(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(convert(
                array,
                &self.target.data_type,
                &cx,
            )?)),
            Some(ColumnarValue::Scalar(value)) => {
                let array = convert(&value.to_array_of_size(1)?, &self.target.data_type, &cx)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    &array, 0,
                )?))
            }
            None => Ok(ColumnarValue::Scalar(ScalarValue::try_from(
                &self.target.data_type,
            )?)),
        }
    }
}

impl Cast {
    fn target_name(&self) -> String {
        match self.target.char_len {
            Some(CharLen::Char(length)) => format!("CHAR({length})"),
            Some(CharLen::VarChar(length)) => format!("VARCHAR({length})"),
            None => sql_name(&self.target.data_type),
        }
    }
}

/// What a conversion needs beside the values and the type.
#[derive(Clone, Copy)]
pub(crate) struct Cx<'a> {
    mode: Mode,
    zone: Zone,
    char_len: Option<CharLen>,
    fraction: Option<u8>,
    field: Option<&'a FieldRef>,
}

impl<'a> Cx<'a> {
    /// For the values inside a nested one.
    fn inner(&self) -> Cx<'a> {
        Cx {
            char_len: None,
            fraction: None,
            field: None,
            ..*self
        }
    }

    /// NULL or an error, as the mode says.
    fn failed<T>(&self, value: impl Into<String>, to: &DataType) -> Result<Option<T>> {
        match self.mode {
            Mode::Try => Ok(None),
            Mode::Strict => Err(Error::Cast {
                value: value.into(),
                target: sql_name(to),
            }
            .into()),
        }
    }
}

/// Casts a value as an implicit conversion of another function would.
pub(crate) fn strict(array: &ArrayRef, to: &DataType, zone: Zone) -> Result<ArrayRef> {
    convert(
        array,
        to,
        &Cx {
            mode: Mode::Strict,
            zone,
            char_len: None,
            fraction: None,
            field: None,
        },
    )
}

/// Casts a column.
pub(crate) fn convert(array: &ArrayRef, to: &DataType, cx: &Cx<'_>) -> Result<ArrayRef> {
    use DataType as T;
    let from = array.data_type();
    if from == to && cx.char_len.is_none() && cx.fraction.is_none() {
        return Ok(Arc::clone(array));
    }
    match (from, to) {
        (T::Null, _) => Ok(new_null_array(to, array.len())),
        (from, T::Utf8View) if is_text(from) || is_binary(from) => {
            to_text::with_length(&from_bytes(array)?, cx.char_len)
        }
        (_, T::Utf8View) => {
            to_text::with_length(&to_text::to_text(array, cx.field, cx.zone)?, cx.char_len)
        }
        (from, to) if is_text(from) => {
            from_text::convert(&arrow_cast(array, &T::Utf8View)?, to, cx)
        }
        (from, T::BinaryView) if is_binary(from) => Ok(arrow_cast(array, to)?),
        (T::Boolean, to) if to.is_numeric() => number::from_boolean(array, to),
        (from, T::Boolean) if from.is_numeric() => number::to_boolean(array),
        (from, to) if from.is_numeric() && to.is_numeric() => number::convert(array, to, cx),
        (T::List(_) | T::LargeList(_) | T::FixedSizeList(..), T::List(_))
        | (T::Map(..), T::Map(..))
        | (T::Struct(_), T::Struct(_)) => nested::convert(array, to, cx),
        _ => temporal::convert(array, to, cx),
    }
}

fn from_bytes(array: &ArrayRef) -> Result<ArrayRef> {
    if !is_binary(array.data_type()) {
        return Ok(arrow_cast(array, &DataType::Utf8View)?);
    }
    // Bytes that are no UTF-8 become the replacement character, as in Java.
    let bytes: arrow::array::BinaryViewArray =
        crate::call::downcast("cast", &arrow_cast(array, &DataType::BinaryView)?)?;
    let texts: arrow::array::StringViewArray = bytes
        .iter()
        .map(|value| value.map(String::from_utf8_lossy))
        .collect();
    Ok(Arc::new(texts))
}

/// Refuses a pair of types.
fn no_cast<T>(from: &DataType, to: &DataType) -> Result<T> {
    Err(Error::NoCast {
        from: sql_name(from),
        to: sql_name(to),
    }
    .into())
}

#[cfg(test)]
mod tests;
