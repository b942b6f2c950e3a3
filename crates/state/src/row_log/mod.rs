//! A log of rows in columns: what joins and Top-N keep. Rows are addressed by ids that never move.
//!
//! ```text
//! id = page (18 bits) | place (14 bits)        column: [page 0][page 1]...   each typed, strings copied together
//! ```
//!
//! Invariant: a live row has a weight other than zero; freed ids are given out again, lowest first; a page without live
//! rows gives its memory back.

mod checkpoint;
mod column;
mod equal;
mod heap;
mod live;
mod paged;
#[cfg(test)]
mod tests;
mod values;

pub use equal::RowEqual;
pub use paged::Paged;

use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};
use column::{Cells, Column};
use live::Live;
use millstream_dataflow::{Error, Result};
use paged::{PAGE_ROWS, Run, page_of, place_of};

/// No row: gathers as NULL.
pub const NONE: u32 = u32::MAX;

/// The most rows that a log holds: ids keep a bit for their users.
const ROWS_MAX: usize = 1 << 31;

/// A list of changed rows that is longer than this, and than four times the live rows, is sorted out.
const DIRTY_MAX: usize = 1 << 20;

/// A log of rows.
#[derive(Debug)]
pub struct RowLog {
    name: String,
    /// The id, the weight, then the columns.
    schema: SchemaRef,
    columns: Vec<Column>,
    live: Live,
    /// Pages whose rows all have weight 1 have none.
    weights: Vec<Option<Vec<i64>>>,
    negative: usize,
    /// The rows that changed since the last checkpoint; `None` before the first.
    dirty: Option<Vec<u32>>,
    runs: Vec<Run>,
}

impl RowLog {
    /// An empty log of rows with these columns; the name is its table's in a checkpoint.
    pub fn new(name: &str, schema: &Schema) -> Result<Self> {
        let columns = schema
            .fields()
            .iter()
            .map(|field| Column::new(field.data_type()))
            .collect::<Result<_>>()?;
        Ok(Self {
            name: name.to_owned(),
            schema: checkpoint::schema(schema),
            columns,
            live: Live::default(),
            weights: Vec::new(),
            negative: 0,
            dirty: None,
            runs: Vec::new(),
        })
    }

    /// How many rows are live.
    pub fn rows(&self) -> usize {
        self.live.rows()
    }

    /// How many live rows have a weight below zero.
    pub fn negative_rows(&self) -> usize {
        self.negative
    }

    /// The memory of the columns, roughly.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }

    /// Whether the row is live.
    pub fn contains(&self, id: u32) -> bool {
        self.live.contains(id)
    }

    /// The live rows, ascending.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.live.pages()).flat_map(|page| self.live.ids(page))
    }

    /// Appends rows of weight 1. `ids` is cleared and gets the id of each.
    pub fn insert(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        if self.rows() + rows > ROWS_MAX {
            return Err(Error::bad_data(format!(
                "the state {} has more than 2^31 rows on one worker",
                self.name
            ))
            .hint("use more workers, or bound the state"));
        }
        self.runs.clear();
        ids.clear();
        self.live.allocate(rows, &mut self.runs);
        for (column, array) in self.columns.iter_mut().zip(columns) {
            column.write(array, &self.runs)?;
        }
        for run in &self.runs {
            ids.extend(run.id..run.id + run.rows as u32);
        }
        if let Some(dirty) = &mut self.dirty {
            dirty.extend_from_slice(ids);
        }
        Ok(())
    }

    /// Puts the rows of a batch in the places of live rows; their weights stay.
    pub fn replace(&mut self, ids: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.runs.clear();
        self.runs
            .extend(ids.iter().enumerate().map(|(from, id)| Run {
                id: *id,
                from,
                rows: 1,
            }));
        for id in ids {
            self.forget(*id);
        }
        for (column, array) in self.columns.iter_mut().zip(columns) {
            column.write(array, &self.runs)?;
        }
        if let Some(dirty) = &mut self.dirty {
            dirty.extend_from_slice(ids);
        }
        Ok(())
    }

    /// The weight of a live row.
    #[inline]
    pub fn weight(&self, id: u32) -> i64 {
        match self.weights.get(page_of(id)) {
            Some(Some(weights)) => weights[place_of(id)],
            Some(None) | None => 1,
        }
    }

    /// Whether every row that was ever in the log had weight 1.
    pub fn all_one(&self) -> bool {
        self.weights.is_empty()
    }

    /// Sets the weight of a live row; zero removes it.
    pub fn set_weight(&mut self, id: u32, weight: i64) {
        let old = self.weight(id);
        if weight == 0 {
            return self.remove(id);
        }
        self.negative = self.negative + usize::from(weight < 0) - usize::from(old < 0);
        let page = page_of(id);
        if page >= self.weights.len() {
            self.weights.resize(page + 1, None);
        }
        let weights = self.weights[page].get_or_insert_with(|| vec![1; PAGE_ROWS]);
        weights[place_of(id)] = weight;
        self.touch(id);
    }

    /// Removes a live row. Its values must not be read any more.
    pub fn remove(&mut self, id: u32) {
        self.negative -= usize::from(self.weight(id) < 0);
        self.touch(id);
        let page = page_of(id);
        if let Some(Some(weights)) = self.weights.get_mut(page) {
            weights[place_of(id)] = 1;
        }
        // The last page is still growing: it keeps its memory, so that a row that comes and goes costs no allocation.
        if self.live.free(id) > 0 || page + 1 == self.live.pages() {
            return self.forget(id);
        }
        self.columns
            .iter_mut()
            .for_each(|column| column.drop_page(page));
        if let Some(weights) = self.weights.get_mut(page) {
            *weights = None;
        }
    }

    /// The values of some rows in a column.
    pub fn gather(&self, column: usize, ids: &[u32]) -> Result<ArrayRef> {
        self.columns[column].gather(ids, false)
    }

    /// The values of some rows in a column, where [`NONE`] gives NULL.
    pub fn gather_or_null(&self, column: usize, ids: &[u32]) -> Result<ArrayRef> {
        self.columns[column].gather(ids, true)
    }

    /// Compares rows of these arrays with rows of the log in these columns.
    pub fn compare<'a>(
        &'a self,
        columns: &[usize],
        arrays: &'a [ArrayRef],
    ) -> Result<RowEqual<'a>> {
        RowEqual::new(
            arrays
                .iter()
                .zip(columns.iter().map(|column| &self.columns[*column])),
        )
    }

    /// A BIGINT of a live row (NULL reads as 0).
    #[inline]
    pub fn integer(&self, column: usize, id: u32) -> i64 {
        match &self.columns[column].cells {
            Cells::W64(cells) => cells.get(id),
            _ => 0,
        }
    }

    /// Sets a BIGINT of a live row.
    pub fn set_integer(&mut self, column: usize, id: u32, value: i64) {
        if let Cells::W64(cells) = &mut self.columns[column].cells {
            cells.set(id, value);
        }
        self.touch(id);
    }

    fn touch(&mut self, id: u32) {
        if let Some(dirty) = &mut self.dirty {
            dirty.push(id);
            // The same few rows may change very often between two saves.
            if dirty.len() >= DIRTY_MAX.max(4 * self.live.rows()) {
                dirty.sort_unstable();
                dirty.dedup();
            }
        }
    }

    fn forget(&mut self, id: u32) {
        let page = page_of(id);
        let live = &self.live;
        for column in &mut self.columns {
            if column.forget(id) {
                column.squeeze(page, live.ids(page));
            }
        }
    }
}
