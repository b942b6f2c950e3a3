//! `Call`: one evaluation of a function over a batch, and its arguments.
//!
//! It hides whether an argument is a literal or a column: a literal is a column of one row that is read again and
//! again.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayAccessor, ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array,
    StringViewArray, StringViewBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_expr::ColumnarValue;

use crate::cast::to_text;
use crate::error::{Error, Result};
use crate::types::{is_binary, is_text, sql_name};
use crate::zone::Zone;

/// One evaluation over a batch.
pub(crate) struct Call<'a> {
    /// The function's name.
    pub(crate) name: &'static str,
    /// The arguments.
    pub(crate) args: &'a [ColumnarValue],
    /// The arguments' fields.
    pub(crate) fields: &'a [FieldRef],
    /// How many rows to compute.
    pub(crate) rows: usize,
    /// The type that was promised.
    pub(crate) returns: &'a DataType,
    /// The session's time zone.
    pub(crate) zone: Zone,
}

impl Call<'_> {
    /// How many arguments there are.
    pub(crate) fn len(&self) -> usize {
        self.args.len()
    }

    /// The argument as it is, with one row where it is a literal.
    pub(crate) fn arg(&self, idx: usize) -> Result<Arg<ArrayRef>> {
        match self.args.get(idx) {
            Some(ColumnarValue::Array(array)) => Ok(Arg {
                array: Arc::clone(array),
                step: 1,
            }),
            Some(ColumnarValue::Scalar(value)) => Ok(Arg {
                array: value.to_array_of_size(1)?,
                step: 0,
            }),
            None => {
                Err(Error::argument(self.name, format!("argument {} is missing", idx + 1)).into())
            }
        }
    }

    /// The argument with as many rows as the batch.
    pub(crate) fn column(&self, idx: usize) -> Result<ArrayRef> {
        match self.args.get(idx) {
            Some(value) => value.to_array(self.rows),
            None => {
                Err(Error::argument(self.name, format!("argument {} is missing", idx + 1)).into())
            }
        }
    }

    /// The argument's field.
    pub(crate) fn field(&self, idx: usize) -> Option<&FieldRef> {
        self.fields.get(idx)
    }

    /// The argument as text.
    pub(crate) fn text(&self, idx: usize) -> Result<Arg<StringViewArray>> {
        let Arg { array, step } = self.arg(idx)?;
        let array = match array.data_type() {
            DataType::Utf8View => array,
            text if is_text(text) || is_binary(text) || text.is_null() => {
                cast(&array, &DataType::Utf8View)?
            }
            _ => to_text::to_text(&array, self.field(idx), self.zone)?,
        };
        downcast(self.name, &array).map(|array: StringViewArray| Arg { array, step })
    }

    /// The argument as bytes, a text's in UTF-8.
    pub(crate) fn bytes(&self, idx: usize) -> Result<Arg<BinaryViewArray>> {
        let Arg { array, step } = self.arg(idx)?;
        downcast(self.name, &cast(&array, &DataType::BinaryView)?)
            .map(|array: BinaryViewArray| Arg { array, step })
    }

    /// The argument as BIGINT.
    pub(crate) fn long(&self, idx: usize) -> Result<Arg<Int64Array>> {
        let Arg { array, step } = self.arg(idx)?;
        downcast(self.name, &cast(&array, &DataType::Int64)?)
            .map(|array: Int64Array| Arg { array, step })
    }

    /// The argument as DOUBLE.
    pub(crate) fn double(&self, idx: usize) -> Result<Arg<Float64Array>> {
        let Arg { array, step } = self.arg(idx)?;
        downcast(self.name, &cast(&array, &DataType::Float64)?)
            .map(|array: Float64Array| Arg { array, step })
    }

    /// The argument as BOOLEAN.
    pub(crate) fn boolean(&self, idx: usize) -> Result<Arg<BooleanArray>> {
        let Arg { array, step } = self.arg(idx)?;
        downcast(self.name, &cast(&array, &DataType::Boolean)?)
            .map(|array: BooleanArray| Arg { array, step })
    }

    /// Builds a text column: the closure appends to the buffer and says whether there is a value.
    pub(crate) fn texts(
        &self,
        mut row: impl FnMut(usize, &mut String) -> Result<bool>,
    ) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        let mut buffer = String::new();
        for idx in 0..self.rows {
            buffer.clear();
            if row(idx, &mut buffer)? {
                builder.append_value(&buffer);
            } else {
                builder.append_null();
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// Builds a text column from slices of other texts.
    pub(crate) fn slices<'a>(&self, row: impl Fn(usize) -> Option<&'a str>) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        for idx in 0..self.rows {
            builder.append_option(row(idx));
        }
        Ok(Arc::new(builder.finish()))
    }

    /// Builds a BIGINT or INT column, as the promised type says.
    pub(crate) fn longs(&self, row: impl Fn(usize) -> Option<i64>) -> Result<ArrayRef> {
        let longs: Int64Array = (0..self.rows).map(row).collect();
        if self.returns == &DataType::Int64 {
            return Ok(Arc::new(longs));
        }
        Ok(cast(&longs, self.returns)?)
    }

    /// Builds a BOOLEAN column.
    pub(crate) fn booleans(&self, row: impl Fn(usize) -> Option<bool>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(row).collect::<BooleanArray>()))
    }

    /// Builds a DOUBLE column.
    pub(crate) fn doubles(&self, row: impl Fn(usize) -> Option<f64>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(row).collect::<Float64Array>()))
    }
}

/// The array as the type that it is known to have.
pub(crate) fn downcast<A: Array + Clone + 'static>(name: &str, array: &dyn Array) -> Result<A> {
    array.as_any().downcast_ref::<A>().cloned().ok_or_else(|| {
        Error::argument(
            name,
            format!(
                "a value of type {} came unexpected",
                sql_name(array.data_type())
            ),
        )
        .into()
    })
}

/// An argument: a column, or a literal that every row reads.
pub(crate) struct Arg<A> {
    /// The values.
    pub(crate) array: A,
    step: usize,
}

impl<A> Arg<A> {
    /// An array of one row that every row reads.
    pub(crate) fn literal(array: A) -> Self {
        Self { array, step: 0 }
    }

    /// Where the row's value stands in the array.
    #[inline]
    pub(crate) fn at(&self, row: usize) -> usize {
        row * self.step
    }

    /// Whether it is a literal.
    pub(crate) fn is_literal(&self) -> bool {
        self.step == 0
    }

    /// The row's value.
    #[inline]
    pub(crate) fn get<'a>(&'a self, row: usize) -> Option<<&'a A as ArrayAccessor>::Item>
    where
        &'a A: ArrayAccessor,
    {
        let idx = self.at(row);
        let array = &self.array;
        (!array.is_null(idx)).then(|| array.value(idx))
    }
}

impl Arg<ArrayRef> {
    /// Whether the row's value is NULL.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array.data_type().is_null() || self.array.is_null(self.at(row))
    }

    /// The same argument with its values in another type.
    pub(crate) fn typed<A: Array + Clone + 'static>(&self, name: &str) -> Result<Arg<A>> {
        downcast(name, &self.array).map(|array| Arg {
            array,
            step: self.step,
        })
    }

    /// The same argument with another array of as many rows.
    pub(crate) fn with<A>(&self, array: A) -> Arg<A> {
        Arg {
            array,
            step: self.step,
        }
    }
}
