//! Keeps the rows for which a predicate is true. Stateless; weights stay as they are.

use crate::project;
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef};
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Delta, Error, Expression, Operator, Output, Partitioning, Result, Spec};
use std::fmt;
use std::sync::Arc;

/// Keeps the rows for which `predicate` is true (NULL is not).
#[derive(Clone, Debug)]
pub struct Filter {
    schema: SchemaRef,
    predicate: Arc<dyn Expression>,
    columns: Option<Vec<usize>>,
}

impl Filter {
    /// A filter of rows with the columns of `schema`; `predicate` gives a BOOLEAN.
    pub fn new(schema: SchemaRef, predicate: Arc<dyn Expression>) -> Self {
        Self {
            schema,
            predicate,
            columns: None,
        }
    }

    /// Puts out only these columns of the rows: the others need not be copied.
    ///
    /// # Errors
    /// `Internal` when there is no such column.
    pub fn keep(self, columns: Vec<usize>) -> Result<Self> {
        Ok(Self {
            schema: Arc::new(self.schema.project(&columns)?),
            columns: Some(columns),
            ..self
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter: {}", self.predicate)
    }
}

impl Spec for Filter {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, _port: usize) -> Partitioning {
        Partitioning::Any
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        match &self.columns {
            None => inputs.first().cloned().unwrap_or(Partitioning::Any),
            Some(columns) => project::remap(inputs.first(), |input| {
                columns.iter().position(|column| *column == input)
            }),
        }
    }

    fn bound(&self) -> Bound {
        Bound::Stateless
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }
}

impl Operator for Filter {
    fn step(&mut self, _port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let keep = holds(self.predicate.as_ref(), delta.batch())?;
        let delta = match &self.columns {
            Some(columns) => {
                let columns = columns
                    .iter()
                    .map(|column| Arc::clone(delta.column(*column)));
                delta.with_batch(project::batch(
                    &self.schema,
                    columns.collect(),
                    delta.rows(),
                )?)?
            }
            None => delta,
        };
        out.push(retain(&delta, &keep)?);
        Ok(())
    }
}

/// For each row whether a predicate is true: without NULLs.
pub(crate) fn holds(predicate: &dyn Expression, batch: &RecordBatch) -> Result<BooleanArray> {
    let values = predicate.evaluate(batch)?;
    if *values.data_type() != DataType::Boolean {
        return Err(Error::internal(format!(
            "the predicate {predicate} gives {}",
            values.data_type()
        )));
    }
    let values = values.as_boolean();
    Ok(if values.null_count() > 0 {
        compute::prep_null_mask_filter(values)
    } else {
        values.clone()
    })
}

/// The rows to keep; all or none cost nothing.
pub(crate) fn retain(delta: &Delta, keep: &BooleanArray) -> Result<Delta> {
    match keep.values().count_set_bits() {
        0 => Ok(Delta::empty(delta.schema())),
        all if all == delta.rows() => Ok(delta.clone()),
        _ => delta.filter(keep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Column, compare};
    use millstream_dataflow::testing::{Script, check, delta, schema};

    fn input() -> Script {
        let rows = delta(
            "a bigint, b text",
            "+1 1 x / +2 5 y / +1 NULL z / -1 5 y / +1 7 w",
        );
        Script::new().step(vec![(0, rows)], 0)
    }

    #[test]
    fn rows_stay_where_the_predicate_is_true() {
        let predicate = compare(0, |a| a > 2);
        let filter = Filter::new(schema("a bigint, b text"), predicate);
        assert_eq!(check(&filter, &input()), "+1 5 y / +1 7 w");
        let kept = filter.keep(vec![1]).unwrap();
        assert_eq!(check(&kept, &input()), "+1 w / +1 y");
        assert_eq!(
            kept.partitioning(&[Partitioning::Keys(vec![1])]),
            Partitioning::Keys(vec![0])
        );
        assert_eq!(
            kept.partitioning(&[Partitioning::Keys(vec![0, 1])]),
            Partitioning::Any
        );
    }

    #[test]
    fn a_predicate_that_is_no_boolean_is_refused() {
        let filter = Filter::new(schema("a bigint, b text"), Arc::new(Column(0)));
        let mut out = Output::default();
        let failed = filter
            .build()
            .unwrap()
            .step(0, delta("a bigint, b text", "+1 1 x"), &mut out);
        assert!(failed.unwrap_err().message.contains("gives Int64"));
    }
}
