//! VALUES and SELECT without FROM: a source of constant rows that ends at once.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use millstream_dataflow::graph::{OnBad, SourceNode};
use millstream_dataflow::source::{
    Offset, Partition, Polled, Prepare, Prepared, Reader, RowOffsets, Source, State,
};
use millstream_dataflow::{Changes, Delta, Result};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::from_datafusion;
use crate::expr;

/// A source of these rows.
pub(crate) fn source(rows: &[Vec<Expr>], schema: &SchemaRef) -> Result<SourceNode> {
    let one = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::new(); schema.fields().len()];
    for row in rows {
        for ((value, field), column) in row.iter().zip(schema.fields()).zip(&mut columns) {
            let value =
                expr::plan(value, &DFSchema::empty(), Some(field.data_type()))?.evaluate(&one)?;
            column.push(ScalarValue::try_from_array(&value, 0).map_err(from_datafusion)?);
        }
    }
    let arrays = columns
        .into_iter()
        .zip(schema.fields())
        .map(|(column, field)| match column.is_empty() {
            true => Ok(arrow::array::new_empty_array(field.data_type())),
            false => ScalarValue::iter_to_array(column).map_err(from_datafusion),
        });
    let arrays = arrays.collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?;
    let values = Arc::new(Values { batch });
    Ok(SourceNode {
        table: "VALUES".into(),
        source: Arc::clone(&values) as _,
        prepare: values,
        idle_timeout_ms: None,
        on_bad: OnBad::Fail,
    })
}

#[derive(Clone, Debug)]
struct Values {
    batch: RecordBatch,
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "values rows={}", self.batch.num_rows())
    }
}

impl Source for Values {
    fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    fn changes(&self) -> Changes {
        Changes::AppendOnly
    }

    fn bounded(&self) -> bool {
        true
    }

    fn partitions(&self) -> Result<Vec<Partition>> {
        let end = Some(Offset(self.batch.num_rows() as i64));
        Ok(vec![Partition {
            name: "values".into(),
            start: Offset(0),
            end,
        }])
    }

    fn open(&self, _partition: &Partition, from: Offset) -> Result<Box<dyn Reader>> {
        Ok(Box::new(Rows {
            batch: self.batch.clone(),
            next: from.0 as usize,
        }))
    }
}

struct Rows {
    batch: RecordBatch,
    next: usize,
}

impl Reader for Rows {
    fn poll(&mut self, rows_max: usize, _wait: Duration) -> Result<Polled> {
        let rows = (self.batch.num_rows() - self.next).min(rows_max);
        let delta = Delta::inserts(self.batch.slice(self.next, rows));
        let offsets = RowOffsets::Consecutive(Offset(self.next as i64));
        self.next += rows;
        let state = if self.next == self.batch.num_rows() {
            State::End
        } else {
            State::More
        };
        Ok(Polled {
            delta,
            offsets,
            bad: Vec::new(),
            position: Offset(self.next as i64),
            state,
        })
    }
}

impl Prepare for Values {
    fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    fn watermarked(&self) -> bool {
        false
    }

    fn prepare(&self, delta: Delta) -> Result<Prepared> {
        Ok(Prepared {
            delta,
            watermark_ms: None,
            refused: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    #[test]
    fn rows_can_be_cut_anywhere() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
        let batch = RecordBatch::try_from_iter([("n", column)]);
        let values = Values {
            batch: batch.expect("one column"),
        };
        let partition = &values.partitions().expect("constant")[0];
        for cut in 0..=10 {
            let mut reader = values.open(partition, Offset(0)).expect("constant");
            let polled = reader.poll(7, Duration::ZERO).expect("constant");
            let before = polled.offsets.before(Offset(cut), 7);
            assert_eq!(before as i64, cut.min(7));
            let mut reader = values.open(partition, Offset(cut)).expect("constant");
            let polled = reader.poll(20, Duration::ZERO).expect("constant");
            assert_eq!(polled.offsets.get(0), Offset(cut));
            let rest = values.batch.slice(cut as usize, 10 - cut as usize);
            assert_eq!(polled.delta.batch(), &rest);
        }
    }
}
