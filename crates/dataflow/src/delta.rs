//! A delta: Arrow rows with weights. It is the only thing that flows between operators.
//!
//! Weight +1 inserts a row, -1 retracts it, an update is both; `n` stands for `n` equal rows. Invariant: there are as
//! many weights as rows, and none is zero.

use crate::Result;
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use foldhash::fast::FixedState;
use std::collections::HashMap;

/// The weights of a delta's rows.
#[derive(Clone, Debug)]
pub enum Weights {
    /// Every row has weight 1: append-only streams carry no weights at all.
    AllOne,
    /// One weight for each row, no NULLs, no zeros.
    Each(Int64Array),
}

/// Arrow rows with weights.
#[derive(Clone, Debug)]
pub struct Delta {
    batch: RecordBatch,
    weights: Weights,
}

impl Delta {
    /// Rows that are all inserted.
    pub fn inserts(batch: RecordBatch) -> Self {
        Self {
            batch,
            weights: Weights::AllOne,
        }
    }

    /// Rows that are all retracted.
    pub fn retractions(batch: RecordBatch) -> Self {
        let weights = Weights::Each(Int64Array::from_value(-1, batch.num_rows()));
        Self { batch, weights }
    }

    /// Rows with their weights. Rows of weight zero are dropped.
    ///
    /// # Errors
    /// `Internal` when the lengths differ.
    pub fn new(batch: RecordBatch, weights: Int64Array) -> Result<Self> {
        if batch.num_rows() != weights.len() {
            return Err(crate::Error::internal(format!(
                "a delta of {} rows has {} weights",
                batch.num_rows(),
                weights.len()
            )));
        }
        let zeros = weights.values().contains(&0);
        if weights.values().iter().all(|weight| *weight == 1) {
            return Ok(Self::inserts(batch));
        }
        let delta = Self {
            batch,
            weights: Weights::Each(weights),
        };
        if !zeros {
            return Ok(delta);
        }
        let keep = (0..delta.rows())
            .map(|row| Some(delta.weight(row) != 0))
            .collect();
        delta.filter(&keep)
    }

    /// No rows.
    pub fn empty(schema: SchemaRef) -> Self {
        Self::inserts(RecordBatch::new_empty(schema))
    }

    /// The rows.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// A column of the rows.
    pub fn column(&self, idx: usize) -> &ArrayRef {
        self.batch.column(idx)
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The weight of one row.
    pub fn weight(&self, row: usize) -> i64 {
        match &self.weights {
            Weights::AllOne => 1,
            Weights::Each(weights) => weights.value(row),
        }
    }

    /// The weights as an array, one for each row.
    pub fn weight_array(&self) -> Int64Array {
        match &self.weights {
            Weights::AllOne => Int64Array::from_value(1, self.rows()),
            Weights::Each(weights) => weights.clone(),
        }
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    /// How many rows there are (an update counts two).
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Whether nothing is retracted.
    pub fn is_append_only(&self) -> bool {
        match &self.weights {
            Weights::AllOne => true,
            Weights::Each(weights) => weights.values().iter().all(|weight| *weight > 0),
        }
    }

    /// The same weights on other columns of as many rows (a projection).
    ///
    /// # Errors
    /// `Internal` when the number of rows differs.
    pub fn with_batch(&self, batch: RecordBatch) -> Result<Self> {
        if batch.num_rows() != self.rows() {
            return Err(crate::Error::internal(format!(
                "a projection made {} rows of {}",
                batch.num_rows(),
                self.rows()
            )));
        }
        Ok(Self {
            batch,
            weights: self.weights.clone(),
        })
    }

    /// Every weight negated.
    #[must_use]
    pub fn negate(&self) -> Self {
        let weights = match &self.weights {
            Weights::AllOne => Int64Array::from_value(-1, self.rows()),
            Weights::Each(weights) => weights.unary(|weight| -weight),
        };
        if weights.values().iter().all(|weight| *weight == 1) {
            return Self::inserts(self.batch.clone());
        }
        Self {
            batch: self.batch.clone(),
            weights: Weights::Each(weights),
        }
    }

    /// The rows where `keep` is true (NULL is not).
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self> {
        let batch = compute::filter_record_batch(&self.batch, keep)?;
        let weights = match &self.weights {
            Weights::AllOne => Weights::AllOne,
            Weights::Each(weights) => Weights::Each(int64(&compute::filter(weights, keep)?)),
        };
        Ok(Self { batch, weights })
    }

    /// The rows at these indexes, in this order.
    pub fn take(&self, rows: &UInt32Array) -> Result<Self> {
        let batch = compute::take_record_batch(&self.batch, rows)?;
        let weights = match &self.weights {
            Weights::AllOne => Weights::AllOne,
            Weights::Each(weights) => Weights::Each(int64(&compute::take(weights, rows, None)?)),
        };
        Ok(Self { batch, weights })
    }

    /// `length` rows from `offset` on, without a copy.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        let weights = match &self.weights {
            Weights::AllOne => Weights::AllOne,
            Weights::Each(weights) => Weights::Each(weights.slice(offset, length)),
        };
        Self {
            batch: self.batch.slice(offset, length),
            weights,
        }
    }

    /// All the rows of some deltas of one schema, in order.
    pub fn concat(schema: &SchemaRef, deltas: &[Self]) -> Result<Self> {
        if let [one] = deltas {
            return Ok(one.clone());
        }
        let batch = compute::concat_batches(schema, deltas.iter().map(Self::batch))?;
        if deltas
            .iter()
            .all(|delta| matches!(delta.weights, Weights::AllOne))
        {
            return Ok(Self::inserts(batch));
        }
        let weights: Vec<i64> = deltas
            .iter()
            .flat_map(|delta| (0..delta.rows()).map(|row| delta.weight(row)))
            .collect();
        Ok(Self {
            batch,
            weights: Weights::Each(weights.into()),
        })
    }

    /// Equal rows summed and zeros dropped; the first of equal rows keeps its place. Append-only deltas stay as they are.
    pub fn consolidate(&self) -> Result<Self> {
        let Weights::Each(weights) = &self.weights else {
            return Ok(self.clone());
        };
        let rows = row_format(&self.batch)?;
        let mut first: HashMap<&[u8], usize, FixedState> =
            HashMap::with_capacity_and_hasher(self.rows(), FixedState::default());
        let mut sums = vec![0_i64; self.rows()];
        for row in 0..self.rows() {
            let home = *first.entry(rows.row(row).data()).or_insert(row);
            sums[home] += weights.value(row);
        }
        Self::new(self.batch.clone(), sums.into())
    }
}

/// The rows of a batch as bytes that are equal (and ordered) as the rows are.
fn row_format(batch: &RecordBatch) -> Result<Rows> {
    let fields = batch
        .schema()
        .fields()
        .iter()
        .map(|field| SortField::new(field.data_type().clone()))
        .collect();
    let converter = RowConverter::new(fields)?;
    if batch.num_columns() == 0 {
        return Ok(converter.empty_rows(0, 0));
    }
    Ok(converter.convert_columns(batch.columns())?)
}

fn int64(array: &ArrayRef) -> Int64Array {
    Int64Array::from(array.to_data())
}

#[cfg(test)]
mod tests {
    use crate::testing::delta;

    #[test]
    fn consolidation_sums_equal_rows_and_drops_zeros() {
        let given = delta(
            "a text, n bigint",
            "+1 x 1 / -1 y 2 / +1 y 2 / +2 x 1 / -1 z NULL",
        );
        assert_eq!(
            crate::testing::show(&given.consolidate().unwrap()),
            "+3 x 1 / -1 z NULL"
        );
    }

    #[test]
    fn a_weight_of_zero_is_no_row() {
        let given = delta("a text", "+1 x / +1 y");
        let weighed = super::Delta::new(given.batch().clone(), vec![0, -1].into()).unwrap();
        assert_eq!(crate::testing::show(&weighed), "-1 y");
    }
}
