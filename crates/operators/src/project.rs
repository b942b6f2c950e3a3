//! Computes columns. Stateless; weights stay as they are.

use crate::filter;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Delta, Error, Expression, Operator, Output, Partitioning, Result, Spec};
use std::fmt;
use std::sync::Arc;

/// Computes each column of the output, after a filter if there is one.
#[derive(Clone, Debug)]
pub struct Project {
    schema: SchemaRef,
    exprs: Vec<Arc<dyn Expression>>,
    predicate: Option<Arc<dyn Expression>>,
}

impl Project {
    /// A projection: one expression, over the input's columns, for each column of `schema`.
    ///
    /// # Errors
    /// `Internal` when their numbers differ.
    pub fn new(schema: SchemaRef, exprs: Vec<Arc<dyn Expression>>) -> Result<Self> {
        if schema.fields().len() != exprs.len() {
            return Err(Error::internal(format!(
                "a projection has {} columns and {} expressions",
                schema.fields().len(),
                exprs.len()
            )));
        }
        Ok(Self {
            schema,
            exprs,
            predicate: None,
        })
    }

    /// First keeps the rows for which `predicate`, over the input's columns, is true. The expressions see no others.
    #[must_use]
    pub fn filter(self, predicate: Arc<dyn Expression>) -> Self {
        Self {
            predicate: Some(predicate),
            ..self
        }
    }

    fn project(&self, delta: &Delta) -> Result<Delta> {
        let columns = self
            .exprs
            .iter()
            .map(|expr| match expr.as_column() {
                Some(column) => Ok(Arc::clone(delta.column(column))),
                None => expr.evaluate(delta.batch()),
            })
            .collect::<Result<_>>()?;
        delta.with_batch(batch(&self.schema, columns, delta.rows())?)
    }
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Project: ")?;
        for (idx, (expr, field)) in self.exprs.iter().zip(self.schema.fields()).enumerate() {
            let comma = if idx > 0 { ", " } else { "" };
            write!(f, "{comma}{expr}")?;
            if expr.to_string() != *field.name() {
                write!(f, " AS {}", field.name())?;
            }
        }
        match &self.predicate {
            Some(predicate) => write!(f, " WHERE {predicate}"),
            None => Ok(()),
        }
    }
}

impl Spec for Project {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, _port: usize) -> Partitioning {
        Partitioning::Any
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        remap(inputs.first(), |input| {
            self.exprs
                .iter()
                .position(|expr| expr.as_column() == Some(input))
        })
    }

    fn bound(&self) -> Bound {
        Bound::Stateless
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }
}

impl Operator for Project {
    fn step(&mut self, _port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let Some(predicate) = &self.predicate else {
            out.push(self.project(&delta)?);
            return Ok(());
        };
        let keep = filter::holds(predicate.as_ref(), delta.batch())?;
        let columns_only = self.exprs.iter().all(|expr| expr.as_column().is_some());
        if columns_only {
            // The columns that only the predicate reads need no copy.
            out.push(filter::retain(&self.project(&delta)?, &keep)?);
            return Ok(());
        }
        let kept = filter::retain(&delta, &keep)?;
        if !kept.is_empty() {
            out.push(self.project(&kept)?);
        }
        Ok(())
    }
}

/// A batch of these columns; without any it still has its rows.
pub(crate) fn batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// How rows are partitioned after their columns have moved; `to` says where an input column is now, if anywhere.
pub(crate) fn remap(
    input: Option<&Partitioning>,
    to: impl Fn(usize) -> Option<usize>,
) -> Partitioning {
    match input {
        Some(Partitioning::Keys(keys)) => {
            let moved: Option<Vec<usize>> = keys.iter().map(|key| to(*key)).collect();
            moved.map_or(Partitioning::Any, Partitioning::Keys)
        }
        Some(Partitioning::Single) => Partitioning::Single,
        Some(Partitioning::Any) | None => Partitioning::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Column, compare};
    use millstream_dataflow::testing::{Script, check, delta, schema};

    #[test]
    fn columns_are_computed_and_moved() {
        let rows = delta("a bigint, b text", "+1 1 x / +2 5 y / -1 5 y");
        let script = Script::new().step(vec![(0, rows)], 0);
        let project = Project::new(
            schema("b text, big boolean, a bigint"),
            vec![
                Arc::new(Column(1)),
                compare(0, |a| a > 2),
                Arc::new(Column(0)),
            ],
        )
        .unwrap();
        assert_eq!(check(&project, &script), "+1 x false 1 / +1 y true 5");
        assert_eq!(
            project.partitioning(&[Partitioning::Keys(vec![0])]),
            Partitioning::Keys(vec![2])
        );
        let filtered = project.filter(compare(0, |a| a < 2));
        assert_eq!(check(&filtered, &script), "+1 x false 1");
        assert_eq!(
            filtered.to_string(),
            "Project: #1 AS b, #0? AS big, #0 AS a WHERE #0?"
        );
    }

    #[test]
    fn no_columns_still_have_rows() {
        let rows = delta("a bigint", "+1 1 / +2 5 / -1 1");
        let project = Project::new(schema(""), Vec::new())
            .unwrap()
            .filter(compare(0, |a| a > 2));
        let mut out = Output::default();
        project.build().unwrap().step(0, rows, &mut out).unwrap();
        assert_eq!(out.take()[0].rows(), 1);
    }
}
