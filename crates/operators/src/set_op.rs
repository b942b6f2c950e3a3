//! INTERSECT and EXCEPT, with and without ALL: how often a row is in each input says how often it is in the output.
//! (UNION ALL is a union, UNION a union and [`crate::distinct`].) NULLs are equal.

use crate::aggregate::pieces;
use crate::tracker::{Changes, Tracker};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream_dataflow::operator::{Bound, Checkpointed};
use millstream_dataflow::{Delta, Error, Operator, Output, Partitioning, Result, Spec, StepTime};
use millstream_state::GroupIndex;
use std::fmt;
use std::sync::Arc;

/// Which rows of the left input (port 0) stay, given those of the right (port 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOp {
    /// Once, the rows that are in both.
    Intersect,
    /// The rows that are in both, as often as in the one that has them less often.
    IntersectAll,
    /// Once, the rows that are in the left only.
    Except,
    /// The rows of the left, less often by those of the right.
    ExceptAll,
}

impl SetOp {
    /// How often a row is there that is so often in the inputs.
    fn count(self, [left, right]: [i64; 2]) -> i64 {
        let (left, right) = (left.max(0), right.max(0));
        match self {
            Self::Intersect => left.min(right).min(1),
            Self::IntersectAll => left.min(right),
            Self::Except => i64::from(left > 0 && right == 0),
            Self::ExceptAll => (left - right).max(0),
        }
    }
}

/// INTERSECT or EXCEPT of two inputs with columns of the same types.
#[derive(Clone, Debug)]
pub struct SetOperation {
    op: SetOp,
    schema: SchemaRef,
}

impl SetOperation {
    /// The output has the columns of `left`.
    ///
    /// # Errors
    /// `User` when the inputs' columns differ in number or type.
    pub fn new(op: SetOp, left: SchemaRef, right: &SchemaRef) -> Result<Self> {
        let types = |schema: &SchemaRef| -> Vec<DataType> {
            schema
                .fields()
                .iter()
                .map(|field| field.data_type().clone())
                .collect()
        };
        if types(&left) != types(right) {
            return Err(Error::user(
                "both sides of INTERSECT or EXCEPT must have columns of the same types",
            )
            .detail(format!("{:?} and {:?}", types(&left), types(right))));
        }
        Ok(Self { op, schema: left })
    }
}

impl fmt::Display for SetOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.op {
            SetOp::Intersect => "Intersect",
            SetOp::IntersectAll => "IntersectAll",
            SetOp::Except => "Except",
            SetOp::ExceptAll => "ExceptAll",
        })
    }
}

impl Spec for SetOperation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, _: usize) -> Partitioning {
        Partitioning::Keys((0..self.schema.fields().len()).collect())
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        inputs.first().cloned().unwrap_or(Partitioning::Any)
    }

    fn bound(&self) -> Bound {
        Bound::Rows("both inputs".into())
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let types: Vec<DataType> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let mut saved: Vec<Field> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        saved.extend(["left_rows", "right_rows"].map(|n| Field::new(n, DataType::Int64, false)));
        Ok(Box::new(Running {
            op: self.op,
            schema: Arc::clone(&self.schema),
            counts: Counts {
                index: GroupIndex::new(&types)?,
                rows: Vec::new(),
                saved: Arc::new(Schema::new(saved)),
                tracker: None,
            },
            before: Vec::new(),
            touched: Vec::new(),
            marked: Vec::new(),
            ids: Vec::new(),
        }))
    }
}

struct Running {
    op: SetOp,
    schema: SchemaRef,
    counts: Counts,
    /// The rows that this step touches, and how often they were in the output before.
    touched: Vec<u32>,
    before: Vec<i64>,
    marked: Vec<bool>,
    ids: Vec<u32>,
}

/// How often each row is in each input.
struct Counts {
    index: GroupIndex,
    rows: Vec<[i64; 2]>,
    saved: SchemaRef,
    tracker: Option<Tracker>,
}

impl Operator for Running {
    fn step(&mut self, port: usize, delta: Delta, _: &mut Output) -> Result<()> {
        let columns = delta.batch().columns();
        let counts = &mut self.counts;
        let mut fresh = Vec::new();
        counts
            .index
            .resolve(columns, delta.rows(), &mut self.ids, &mut fresh)?;
        if let Some(tracker) = &mut counts.tracker {
            tracker.came(&fresh);
        }
        counts.rows.resize(counts.index.id_limit(), [0, 0]);
        self.marked.resize(counts.index.id_limit(), false);
        for (row, id) in self.ids.iter().enumerate() {
            let rows = &mut counts.rows[*id as usize];
            if !std::mem::replace(&mut self.marked[*id as usize], true) {
                self.touched.push(*id);
                self.before.push(self.op.count(*rows));
            }
            rows[port] += delta.weight(row);
        }
        Ok(())
    }

    fn advance(&mut self, _: StepTime, out: &mut Output) -> Result<()> {
        let touched = std::mem::take(&mut self.touched);
        let before = std::mem::take(&mut self.before);
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for (id, before) in touched.iter().zip(before) {
            self.marked[*id as usize] = false;
            let weight = self.op.count(self.counts.rows[*id as usize]) - before;
            if weight != 0 {
                ids.push(*id);
                weights.push(weight);
            }
        }
        if !ids.is_empty() {
            let columns = self.counts.index.gather(&ids)?;
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
            out.push(Delta::new(batch, weights.into())?);
        }
        self.counts.settle(&touched);
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        vec![&mut self.counts]
    }
}

impl Counts {
    /// Rows that are in no input any more go.
    fn settle(&mut self, touched: &[u32]) {
        if let Some(tracker) = &mut self.tracker {
            tracker.changed(touched.iter().copied());
        }
        for id in touched {
            if self.rows[*id as usize] == [0, 0] {
                self.index.remove(*id);
                let saved = self.tracker.as_mut().is_some_and(|t| t.went(*id));
                if !saved {
                    self.index.release(*id);
                }
            }
        }
    }

    fn push(&self, ids: &[u32], how: fn(RecordBatch) -> Delta, out: &mut Vec<Delta>) -> Result<()> {
        for piece in pieces(ids.len()) {
            out.push(how(self.batch(&ids[piece])?));
        }
        Ok(())
    }

    fn batch(&self, ids: &[u32]) -> Result<RecordBatch> {
        let mut columns = self.index.gather(ids)?;
        for port in 0..2 {
            let counts = ids.iter().map(|id| self.rows[*id as usize][port]);
            columns.push(Arc::new(Int64Array::from_iter_values(counts)) as ArrayRef);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.saved), columns)?)
    }
}

impl Checkpointed for Counts {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.saved)
    }

    fn key_columns(&self) -> usize {
        self.saved.fields().len() - 2
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        let Some(tracker) = &mut self.tracker else {
            self.push(&self.index.live_ids(), Delta::inserts, out)?;
            return self.track();
        };
        let Changes { gone, here } = tracker.take();
        self.push(&gone, Delta::retractions, out)?;
        self.push(&here, Delta::inserts, out)?;
        gone.into_iter().for_each(|id| self.index.release(id));
        Ok(())
    }

    fn track(&mut self) -> Result<()> {
        if let Some(mut tracker) = self.tracker.replace(Tracker::default()) {
            let gone = tracker.take().gone;
            gone.into_iter().for_each(|id| self.index.release(id));
        }
        Ok(())
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        let keys = self.key_columns();
        let mut ids = Vec::new();
        let columns = &change.batch().columns()[..keys];
        self.index
            .resolve(columns, change.rows(), &mut ids, &mut Vec::new())?;
        self.rows.resize(self.index.id_limit(), [0, 0]);
        let counts = [keys, keys + 1].map(|at| change.column(at).as_primitive::<Int64Type>());
        for (row, id) in ids.iter().enumerate() {
            self.rows[*id as usize] = if change.weight(row) > 0 {
                [counts[0].value(row), counts[1].value(row)]
            } else {
                [0, 0]
            };
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if self.rows[id as usize] == [0, 0] {
                self.index.remove(id);
                self.index.release(id);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::tests::{oracle, script};
    use millstream_dataflow::testing::{Script, check, schema};
    use std::collections::BTreeMap;

    const COLUMNS: &str = "a int, f boolean";

    fn counts(deltas: &[Delta]) -> BTreeMap<Vec<String>, i64> {
        let mut counts = BTreeMap::new();
        for row in oracle::rows(deltas) {
            *counts.entry(row).or_default() += 1;
        }
        counts
    }

    #[test]
    fn rows_stay_as_often_as_they_should() {
        for op in [
            SetOp::Intersect,
            SetOp::IntersectAll,
            SetOp::Except,
            SetOp::ExceptAll,
        ] {
            let spec = SetOperation::new(op, schema(COLUMNS), &schema(COLUMNS)).unwrap();
            for seed in 1..=4 {
                let (left, right) = (
                    script(COLUMNS, seed, false).port(0),
                    script(COLUMNS, seed + 10, false).port(0),
                );
                let mut both = Script::new();
                for (at, (left, right)) in left.iter().zip(&right).enumerate() {
                    both = both.step(vec![(0, left.clone()), (1, right.clone())], at as i64);
                }
                let right = counts(&right);
                let mut lines = Vec::new();
                for (row, left) in counts(&left) {
                    let right = right.get(&row).copied().unwrap_or_default();
                    let count = match op {
                        SetOp::Intersect => i64::from(right > 0),
                        SetOp::IntersectAll => left.min(right),
                        SetOp::Except => i64::from(right == 0),
                        SetOp::ExceptAll => (left - right).max(0),
                    };
                    if count > 0 {
                        lines.push(format!("{count:+} {}", row.join(" ")));
                    }
                }
                lines.sort();
                assert_eq!(check(&spec, &both), lines.join(" / "), "{spec} seed {seed}");
            }
        }
    }

    #[test]
    fn inputs_of_other_types_are_refused() {
        assert!(SetOperation::new(SetOp::Except, schema("a int"), &schema("a text")).is_err());
    }
}
