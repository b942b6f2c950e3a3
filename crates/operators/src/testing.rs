//! Expressions for the tests of operators.

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::Int64Type;
use millstream_dataflow::{Expression, Result};
use std::fmt;
use std::sync::Arc;

/// A column.
#[derive(Debug)]
pub(crate) struct Column(pub(crate) usize);

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl Expression for Column {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        Ok(Arc::clone(batch.column(self.0)))
    }

    fn as_column(&self) -> Option<usize> {
        Some(self.0)
    }
}

/// A test of one or two BIGINT columns, NULL where one is.
struct Test<F> {
    columns: Vec<usize>,
    test: F,
}

impl<F> fmt::Debug for Test<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<F> fmt::Display for Test<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.columns
            .iter()
            .try_for_each(|column| write!(f, "#{column}"))?;
        f.write_str("?")
    }
}

impl<F: Fn(&[i64]) -> bool + Send + Sync> Expression for Test<F> {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| batch.column(*column).as_primitive::<Int64Type>())
            .collect();
        let row = |row: usize| {
            let values: Option<Vec<i64>> = columns
                .iter()
                .map(|column| column.iter().nth(row).flatten())
                .collect();
            values.map(|values| (self.test)(&values))
        };
        Ok(Arc::new(
            (0..batch.num_rows()).map(row).collect::<BooleanArray>(),
        ))
    }
}

/// A predicate on one BIGINT column.
pub(crate) fn compare(
    column: usize,
    test: impl Fn(i64) -> bool + Send + Sync + 'static,
) -> Arc<dyn Expression> {
    Arc::new(Test {
        columns: vec![column],
        test: move |values: &[i64]| test(values[0]),
    })
}

/// A predicate on two BIGINT columns.
pub(crate) fn compare_two(
    columns: [usize; 2],
    test: impl Fn(i64, i64) -> bool + Send + Sync + 'static,
) -> Arc<dyn Expression> {
    Arc::new(Test {
        columns: columns.to_vec(),
        test: move |values: &[i64]| test(values[0], values[1]),
    })
}
