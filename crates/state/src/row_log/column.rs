//! A column of a row log: typed pages, with the loops that fill them from Arrow arrays and gather arrays from them.

use super::heap::{Heap, Store};
use super::paged::{PAGE_ROWS, Paged, Run, page_of, place_of};
use super::values::{self, values};
use crate::row_log::NONE;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BinaryViewBuilder, BooleanArray, StringBuilder,
    StringViewBuilder,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use millstream_dataflow::Result;
use std::sync::Arc;

/// The cells of a column by how they are kept. Types of one width share their loops.
#[derive(Debug)]
pub(super) enum Cells {
    Bool(Paged<i8>),
    W8(Paged<i8>),
    W16(Paged<i16>),
    W32(Paged<i32>),
    W64(Paged<i64>),
    W128(Paged<i128>),
    Text(Heap<String>),
    Bytes(Heap<Vec<u8>>),
    /// Nested types: each value in Arrow's row format.
    Encoded(Heap<Vec<u8>>, Encoding),
}

/// How the values of a nested type become bytes.
#[derive(Debug)]
pub(super) struct Encoding {
    pub(super) converter: RowConverter,
    null: Vec<u8>,
}

/// The column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) data_type: DataType,
    pub(super) cells: Cells,
    pub(super) nulls: Nulls,
}

/// Which rows are NULL: a bitmap for the pages that have had one.
#[derive(Debug, Default)]
pub(super) struct Nulls {
    pages: Vec<Option<Box<[u64; PAGE_ROWS / 64]>>>,
    pub(super) any: bool,
}

impl Nulls {
    #[inline]
    pub(super) fn is_null(&self, id: u32) -> bool {
        let place = place_of(id);
        match self.pages.get(page_of(id)) {
            Some(Some(words)) => words[place / 64] >> (place % 64) & 1 == 1,
            Some(None) | None => false,
        }
    }

    fn write(&mut self, nulls: Option<&NullBuffer>, run: Run) {
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        if nulls.is_none() && !self.any {
            return;
        }
        let page = page_of(run.id);
        let had = matches!(self.pages.get(page), Some(Some(_)));
        let has = nulls.is_some_and(|nulls| nulls.slice(run.from, run.rows).null_count() > 0);
        if !had && !has {
            return;
        }
        if page >= self.pages.len() {
            self.pages.resize(page + 1, None);
        }
        self.any = true;
        let words = self.pages[page].get_or_insert_with(|| Box::new([0; PAGE_ROWS / 64]));
        for row in 0..run.rows {
            let place = place_of(run.id) + row;
            let null = has && nulls.is_some_and(|nulls| nulls.is_null(run.from + row));
            words[place / 64] =
                words[place / 64] & !(1 << (place % 64)) | u64::from(null) << (place % 64);
        }
    }

    /// The NULLs of the gathered rows; [`NONE`] is NULL.
    fn gather(&self, ids: &[u32], missing: bool) -> Option<NullBuffer> {
        if !self.any && !missing {
            return None;
        }
        let valid =
            BooleanBuffer::collect_bool(ids.len(), |at| ids[at] != NONE && !self.is_null(ids[at]));
        Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0)
    }
}

impl Column {
    pub(super) fn new(data_type: &DataType) -> Result<Self> {
        let cells = match (data_type, data_type.primitive_width()) {
            (DataType::Boolean, _) => Cells::Bool(Paged::new()),
            (DataType::Utf8 | DataType::Utf8View, _) => Cells::Text(Heap::default()),
            (DataType::Binary | DataType::BinaryView, _) => Cells::Bytes(Heap::default()),
            (DataType::Interval(_), _) => Self::encoded(data_type)?,
            (_, Some(1)) => Cells::W8(Paged::new()),
            (_, Some(2)) => Cells::W16(Paged::new()),
            (_, Some(4)) => Cells::W32(Paged::new()),
            (_, Some(8)) => Cells::W64(Paged::new()),
            (_, Some(16)) => Cells::W128(Paged::new()),
            _ => Self::encoded(data_type)?,
        };
        Ok(Self {
            data_type: data_type.clone(),
            cells,
            nulls: Nulls::default(),
        })
    }

    fn encoded(data_type: &DataType) -> Result<Cells> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let null = converter.convert_columns(&[arrow::array::new_null_array(data_type, 1)])?;
        let null = null.row(0).data().to_vec();
        Ok(Cells::Encoded(
            Heap::default(),
            Encoding { converter, null },
        ))
    }

    /// Writes the rows of an array of this column's type.
    pub(super) fn write(&mut self, array: &ArrayRef, runs: &[Run]) -> Result<()> {
        for run in runs {
            self.nulls.write(array.nulls(), *run);
        }
        match &mut self.cells {
            Cells::Bool(cells) => {
                let flags = array.as_boolean().values();
                let flags: Vec<i8> = flags.iter().map(i8::from).collect();
                runs.iter().for_each(|run| cells.write(&flags, *run));
            }
            Cells::W8(cells) => write_words(cells, values(array)?, runs),
            Cells::W16(cells) => write_words(cells, values(array)?, runs),
            Cells::W32(cells) => write_words(cells, values(array)?, runs),
            Cells::W64(cells) => write_words(cells, values(array)?, runs),
            Cells::W128(cells) => write_words(cells, values(array)?, runs),
            Cells::Text(cells) => match array.data_type() {
                DataType::Utf8 => {
                    let texts = array.as_string::<i32>();
                    return write_heap(cells, runs, |row| texts.value(row));
                }
                _ => {
                    let texts = array.as_string_view();
                    return write_heap(cells, runs, |row| texts.value(row));
                }
            },
            Cells::Bytes(cells) => match array.data_type() {
                DataType::Binary => {
                    let bytes = array.as_binary::<i32>();
                    return write_heap(cells, runs, |row| bytes.value(row));
                }
                _ => {
                    let bytes = array.as_binary_view();
                    return write_heap(cells, runs, |row| bytes.value(row));
                }
            },
            Cells::Encoded(cells, encoding) => {
                let rows = encoding
                    .converter
                    .convert_columns(std::slice::from_ref(array))?;
                return write_heap(cells, runs, |row| rows.row(row).data());
            }
        }
        Ok(())
    }

    /// The values of some rows. `missing`: some of the ids may be [`NONE`], which gives NULL.
    pub(super) fn gather(&self, ids: &[u32], missing: bool) -> Result<ArrayRef> {
        let nulls = self.nulls.gather(ids, missing);
        let to = &self.data_type;
        Ok(match &self.cells {
            Cells::Bool(cells) => {
                let flags = BooleanBuffer::collect_bool(ids.len(), |at| {
                    ids[at] != NONE && cells.get(ids[at]) != 0
                });
                Arc::new(BooleanArray::new(flags, nulls))
            }
            Cells::W8(cells) => values::array(to, gather_words(cells, ids, missing), nulls)?,
            Cells::W16(cells) => values::array(to, gather_words(cells, ids, missing), nulls)?,
            Cells::W32(cells) => values::array(to, gather_words(cells, ids, missing), nulls)?,
            Cells::W64(cells) => values::array(to, gather_words(cells, ids, missing), nulls)?,
            Cells::W128(cells) => values::array(to, gather_words(cells, ids, missing), nulls)?,
            Cells::Text(cells) => gather_texts(to, cells, ids, nulls.as_ref()),
            Cells::Bytes(cells) => gather_bytes(to, cells, ids, nulls.as_ref()),
            Cells::Encoded(cells, encoding) => {
                let parser = encoding.converter.parser();
                let rows = ids.iter().map(|id| {
                    parser.parse(if *id == NONE {
                        &encoding.null
                    } else {
                        cells.get(*id)
                    })
                });
                let mut columns = encoding.converter.convert_rows(rows)?;
                columns.swap_remove(0)
            }
        })
    }

    /// Lets go of a row's value. True when the page should be squeezed.
    pub(super) fn forget(&mut self, id: u32) -> bool {
        match &mut self.cells {
            Cells::Text(cells) => cells.forget(id),
            Cells::Bytes(cells) | Cells::Encoded(cells, _) => cells.forget(id),
            Cells::Bool(_)
            | Cells::W8(_)
            | Cells::W16(_)
            | Cells::W32(_)
            | Cells::W64(_)
            | Cells::W128(_) => false,
        }
    }

    pub(super) fn squeeze(&mut self, page: usize, live: impl Iterator<Item = u32>) {
        match &mut self.cells {
            Cells::Text(cells) => cells.squeeze(page, live),
            Cells::Bytes(cells) | Cells::Encoded(cells, _) => cells.squeeze(page, live),
            Cells::Bool(_)
            | Cells::W8(_)
            | Cells::W16(_)
            | Cells::W32(_)
            | Cells::W64(_)
            | Cells::W128(_) => {}
        }
    }

    pub(super) fn drop_page(&mut self, page: usize) {
        if let Some(nulls) = self.nulls.pages.get_mut(page) {
            *nulls = None;
        }
        match &mut self.cells {
            Cells::Bool(cells) | Cells::W8(cells) => cells.drop_page(page),
            Cells::W16(cells) => cells.drop_page(page),
            Cells::W32(cells) => cells.drop_page(page),
            Cells::W64(cells) => cells.drop_page(page),
            Cells::W128(cells) => cells.drop_page(page),
            Cells::Text(cells) => cells.drop_page(page),
            Cells::Bytes(cells) | Cells::Encoded(cells, _) => cells.drop_page(page),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.cells {
            Cells::Bool(cells) | Cells::W8(cells) => cells.bytes(),
            Cells::W16(cells) => cells.bytes(),
            Cells::W32(cells) => cells.bytes(),
            Cells::W64(cells) => cells.bytes(),
            Cells::W128(cells) => cells.bytes(),
            Cells::Text(cells) => cells.bytes(),
            Cells::Bytes(cells) | Cells::Encoded(cells, _) => cells.bytes(),
        }
    }
}

fn write_words<T: Copy + Default>(cells: &mut Paged<T>, words: &[T], runs: &[Run]) {
    runs.iter().for_each(|run| cells.write(words, *run));
}

fn write_heap<'a, S: Store + 'a>(
    cells: &mut Heap<S>,
    runs: &[Run],
    value: impl Fn(usize) -> &'a S::Value,
) -> Result<()> {
    runs.iter()
        .try_for_each(|run| cells.write(*run, (run.from..run.from + run.rows).map(&value)))
}

fn gather_words<T: Copy + Default>(cells: &Paged<T>, ids: &[u32], missing: bool) -> Vec<T> {
    if missing {
        let cell = |id: &u32| {
            if *id == NONE {
                T::default()
            } else {
                cells.get(*id)
            }
        };
        return ids.iter().map(cell).collect();
    }
    ids.iter().map(|id| cells.get(*id)).collect()
}

/// The bytes that the views of these rows need beside them, as the size of a block.
fn block_size<S: Store>(cells: &Heap<S>, ids: &[u32]) -> u32 {
    let long: usize = ids
        .iter()
        .filter(|id| **id != NONE)
        .map(|id| cells.length(*id))
        .filter(|length| *length > 12)
        .sum();
    long.clamp(1, 1 << 26) as u32
}

fn gather_texts(
    to: &DataType,
    cells: &Heap<String>,
    ids: &[u32],
    nulls: Option<&NullBuffer>,
) -> ArrayRef {
    let valid = |at: usize| nulls.is_none_or(|nulls| nulls.is_valid(at));
    let values = ids
        .iter()
        .enumerate()
        .map(|(at, id)| valid(at).then(|| cells.get(*id)));
    if *to == DataType::Utf8 {
        let mut builder = StringBuilder::with_capacity(ids.len(), 0);
        values.for_each(|value| builder.append_option(value));
        return Arc::new(builder.finish());
    }
    let mut builder =
        StringViewBuilder::with_capacity(ids.len()).with_fixed_block_size(block_size(cells, ids));
    match nulls {
        None => ids
            .iter()
            .for_each(|id| builder.append_value(cells.get(*id))),
        Some(_) => values.for_each(|value| builder.append_option(value)),
    }
    Arc::new(builder.finish())
}

fn gather_bytes(
    to: &DataType,
    cells: &Heap<Vec<u8>>,
    ids: &[u32],
    nulls: Option<&NullBuffer>,
) -> ArrayRef {
    let valid = |at: usize| nulls.is_none_or(|nulls| nulls.is_valid(at));
    let values = ids
        .iter()
        .enumerate()
        .map(|(at, id)| valid(at).then(|| cells.get(*id)));
    if *to == DataType::Binary {
        let mut builder = BinaryBuilder::with_capacity(ids.len(), 0);
        values.for_each(|value| builder.append_option(value));
        return Arc::new(builder.finish());
    }
    let mut builder =
        BinaryViewBuilder::with_capacity(ids.len()).with_fixed_block_size(block_size(cells, ids));
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}
