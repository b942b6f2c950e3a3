//! Rows of a batch against rows of a log, column by column. NULLs are equal, so are all NaNs, and -0.0 is 0.0.

use super::column::{Cells, Column};
use super::heap::Heap;
use super::paged::Paged;
use super::values::values;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, StringArray,
    StringViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::row::Rows;
use millstream_dataflow::Result;

/// Compares an array with a column.
pub(super) struct ColumnEqual<'a> {
    pairs: Pairs<'a>,
    /// The array's NULLs and the column, unless neither has any.
    nulls: Option<(Option<&'a NullBuffer>, &'a Column)>,
}

enum Pairs<'a> {
    Bool(&'a BooleanArray, &'a Paged<i8>),
    W8(&'a [i8], &'a Paged<i8>),
    W16(&'a [i16], &'a Paged<i16>),
    W32(&'a [i32], &'a Paged<i32>),
    W64(&'a [i64], &'a Paged<i64>),
    W128(&'a [i128], &'a Paged<i128>),
    Float32(&'a [i32], &'a Paged<i32>),
    Float64(&'a [i64], &'a Paged<i64>),
    Text(&'a StringArray, &'a Heap<String>),
    TextView(&'a StringViewArray, &'a Heap<String>),
    Bytes(&'a BinaryArray, &'a Heap<Vec<u8>>),
    BytesView(&'a BinaryViewArray, &'a Heap<Vec<u8>>),
    Encoded(Rows, &'a Heap<Vec<u8>>),
}

impl<'a> ColumnEqual<'a> {
    pub(super) fn new(array: &'a ArrayRef, column: &'a Column) -> Result<Self> {
        let float = column.data_type.is_floating();
        let pairs = match &column.cells {
            Cells::Bool(cells) => Pairs::Bool(array.as_boolean(), cells),
            Cells::W8(cells) => Pairs::W8(values(array)?, cells),
            Cells::W16(cells) => Pairs::W16(values(array)?, cells),
            Cells::W32(cells) if float => Pairs::Float32(values(array)?, cells),
            Cells::W32(cells) => Pairs::W32(values(array)?, cells),
            Cells::W64(cells) if float => Pairs::Float64(values(array)?, cells),
            Cells::W64(cells) => Pairs::W64(values(array)?, cells),
            Cells::W128(cells) => Pairs::W128(values(array)?, cells),
            Cells::Text(cells) if *array.data_type() == DataType::Utf8 => {
                Pairs::Text(array.as_string(), cells)
            }
            Cells::Text(cells) => Pairs::TextView(array.as_string_view(), cells),
            Cells::Bytes(cells) if *array.data_type() == DataType::Binary => {
                Pairs::Bytes(array.as_binary(), cells)
            }
            Cells::Bytes(cells) => Pairs::BytesView(array.as_binary_view(), cells),
            Cells::Encoded(cells, encoding) => Pairs::Encoded(
                encoding
                    .converter
                    .convert_columns(std::slice::from_ref(array))?,
                cells,
            ),
        };
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        let any = nulls.is_some() || column.nulls.any;
        Ok(Self {
            pairs,
            nulls: any.then_some((nulls, column)),
        })
    }

    /// The words of both when the column is of 8 bytes and neither side has NULLs.
    pub(super) fn as_words(&self) -> Option<(&'a [i64], &'a Paged<i64>)> {
        match (&self.pairs, &self.nulls) {
            (Pairs::W64(words, cells), None) => Some((words, cells)),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn equal(&self, row: usize, id: u32) -> bool {
        if let Some((nulls, column)) = &self.nulls {
            let null = nulls.is_some_and(|nulls| nulls.is_null(row));
            if null || column.nulls.is_null(id) {
                return null && column.nulls.is_null(id);
            }
        }
        match &self.pairs {
            Pairs::Bool(flags, cells) => flags.value(row) == (cells.get(id) != 0),
            Pairs::W8(words, cells) => words[row] == cells.get(id),
            Pairs::W16(words, cells) => words[row] == cells.get(id),
            Pairs::W32(words, cells) => words[row] == cells.get(id),
            Pairs::W64(words, cells) => words[row] == cells.get(id),
            Pairs::W128(words, cells) => words[row] == cells.get(id),
            Pairs::Float32(words, cells) => {
                let [a, b] = [words[row], cells.get(id)].map(|bits| f32::from_bits(bits as u32));
                a == b || a.is_nan() && b.is_nan()
            }
            Pairs::Float64(words, cells) => {
                let [a, b] = [words[row], cells.get(id)].map(|bits| f64::from_bits(bits as u64));
                a == b || a.is_nan() && b.is_nan()
            }
            Pairs::Text(texts, cells) => texts.value(row) == cells.get(id),
            Pairs::TextView(texts, cells) => texts.value(row) == cells.get(id),
            Pairs::Bytes(bytes, cells) => bytes.value(row) == cells.get(id),
            Pairs::BytesView(bytes, cells) => bytes.value(row) == cells.get(id),
            Pairs::Encoded(rows, cells) => rows.row(row).data() == cells.get(id),
        }
    }
}

/// Compares the rows of some arrays with rows of a log, in some of its columns.
pub struct RowEqual<'a> {
    columns: Vec<ColumnEqual<'a>>,
}

impl<'a> RowEqual<'a> {
    pub(super) fn new(pairs: impl Iterator<Item = (&'a ArrayRef, &'a Column)>) -> Result<Self> {
        let columns = pairs
            .map(|(array, column)| ColumnEqual::new(array, column))
            .collect::<Result<_>>()?;
        Ok(Self { columns })
    }

    /// Whether the row of the batch equals the row of the log.
    #[inline]
    pub fn equal(&self, row: usize, id: u32) -> bool {
        self.columns.iter().all(|column| column.equal(row, id))
    }

    /// The words to compare when this is one column of 8 bytes without NULLs: the case that is worth a loop of its own.
    pub(crate) fn as_words(&self) -> Option<(&'a [i64], &'a Paged<i64>)> {
        match self.columns.as_slice() {
            [one] => one.as_words(),
            _ => None,
        }
    }
}
