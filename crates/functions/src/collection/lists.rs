//! What the functions of arrays share: reading rows of lists, comparing any values, and building lists by picking
//! values from columns.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use crate::call::Call;
use crate::cast::to_text::bounds;
use crate::error::{Error, Result};
use crate::function::{arity, common_of, wrong_type};
use crate::types::{canonical, element_type, list_of};

/// A list argument.
pub(crate) struct Lists {
    list: ListArray,
    literal: bool,
}

impl Lists {
    /// Of an argument that the planner made a list.
    pub(crate) fn new(call: &Call<'_>, idx: usize) -> Result<Self> {
        let arg = call.arg(idx)?;
        let list = arg.array.as_list_opt::<i32>().cloned();
        let list =
            list.ok_or_else(|| wrong_type(call.name, idx, arg.array.data_type(), "an ARRAY"))?;
        Ok(Self {
            list,
            literal: arg.is_literal(),
        })
    }

    /// Where the row's values stand among all values; `None` is NULL.
    pub(crate) fn range(&self, row: usize) -> Option<Range<usize>> {
        let row = if self.literal { 0 } else { row };
        if self.list.is_null(row) {
            return None;
        }
        let (start, end) = bounds(self.list.value_offsets(), row);
        Some(start..end)
    }

    /// All values of all rows.
    pub(crate) fn values(&self) -> &ArrayRef {
        self.list.values()
    }
}

/// Columns of one type in a form that compares as bytes, NULL first.
pub(crate) struct Comparable {
    rows: Vec<Rows>,
}

impl Comparable {
    /// Of columns of the same type.
    pub(crate) fn new(columns: &[&ArrayRef]) -> Result<Self> {
        let Some(first) = columns.first() else {
            return Ok(Self { rows: Vec::new() });
        };
        let converter = RowConverter::new(vec![SortField::new(first.data_type().clone())])?;
        let rows: std::result::Result<Vec<_>, _> = columns
            .iter()
            .map(|column| converter.convert_columns(&[Arc::clone(column)]))
            .collect();
        Ok(Self { rows: rows? })
    }

    /// The comparable form of a column's value.
    pub(crate) fn get(&self, column: usize, idx: usize) -> arrow::row::Row<'_> {
        self.rows[column].row(idx)
    }
}

/// Builds lists whose values are picked from columns.
pub(crate) struct Picker {
    picks: Vec<(usize, usize)>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Picker {
    /// For so many rows.
    pub(crate) fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            picks: Vec::new(),
            offsets,
            valid: Vec::with_capacity(rows),
        }
    }

    /// Adds a value of a column to the row that is built.
    pub(crate) fn pick(&mut self, column: usize, idx: usize) {
        self.picks.push((column, idx));
    }

    /// Adds a run of values.
    pub(crate) fn pick_all(&mut self, column: usize, range: Range<usize>) {
        self.picks.extend(range.map(|idx| (column, idx)));
    }

    /// Ends a row; one that is NULL has picked nothing.
    pub(crate) fn end(&mut self, call: &Call<'_>, valid: bool) -> Result<()> {
        let too_many = || {
            Error::argument(
                call.name,
                "the arrays of one batch have more than 2^31 values",
            )
        };
        self.offsets
            .push(i32::try_from(self.picks.len()).map_err(|_| too_many())?);
        self.valid.push(valid);
        Ok(())
    }

    /// The values, the offsets and the rows that are not NULL.
    pub(crate) fn into_parts(
        self,
        columns: &[&ArrayRef],
    ) -> Result<(ArrayRef, OffsetBuffer<i32>, Option<NullBuffer>)> {
        let columns: Vec<&dyn Array> = columns.iter().map(|column| column.as_ref()).collect();
        let values = interleave(&columns, &self.picks)?;
        let nulls = self
            .valid
            .contains(&false)
            .then(|| NullBuffer::from(self.valid));
        Ok((values, OffsetBuffer::new(self.offsets.into()), nulls))
    }

    /// The lists, of the type that was promised.
    pub(crate) fn finish(self, call: &Call<'_>, columns: &[&ArrayRef]) -> Result<ArrayRef> {
        let (values, offsets, nulls) = self.into_parts(columns)?;
        let DataType::List(field) = call.returns else {
            return Err(Error::argument(call.name, "the result is no ARRAY").into());
        };
        Ok(Arc::new(ListArray::try_new(
            Arc::clone(field),
            offsets,
            values,
            nulls,
        )?))
    }
}

/// The list type that an argument is taken as; NULL is one of the element.
pub(crate) fn list_type(name: &str, idx: usize, given: &DataType) -> Result<DataType> {
    match (given, element_type(given)) {
        (DataType::List(_), _) => Ok(canonical(given)),
        (_, Some(element)) => Ok(list_of(canonical(element))),
        (DataType::Null, _) => Ok(list_of(DataType::Null)),
        _ => Err(wrong_type(name, idx, given, "an ARRAY").into()),
    }
}

/// A list and an element, in their common type.
pub(crate) fn list_and_element(name: &str, given: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, given, 2, 2)?;
    let list = list_type(name, 0, &given[0])?;
    let element = element_type(&list).cloned().unwrap_or(DataType::Null);
    let common = common_of(name, &[element.clone(), given[1].clone()])?;
    let list = if common == element {
        list
    } else {
        list_of(common.clone())
    };
    Ok(vec![list, common])
}

/// Lists in their common type.
pub(crate) fn lists(
    name: &str,
    given: &[DataType],
    least: usize,
    most: usize,
) -> Result<Vec<DataType>> {
    arity(name, given, least, most)?;
    let given: Result<Vec<_>> = given
        .iter()
        .enumerate()
        .map(|(idx, given)| list_type(name, idx, given))
        .collect();
    let given = given?;
    let elements: Vec<_> = given.iter().filter_map(element_type).cloned().collect();
    let common = common_of(name, &elements)?;
    let first = given
        .iter()
        .find(|list| element_type(list) == Some(&common));
    let list = first.cloned().unwrap_or_else(|| list_of(common));
    Ok(vec![list; given.len()])
}
