//! A side of a join: its rows by key, the partners of each if they count, and when rows are past use.

use super::plan::{InputPlan, Plan};
use crate::deadline::Deadlines;
use crate::project;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Error, Result, Weights, hash};
use millstream_state::{Arrangement, NONE, Retention};

/// Rows of a side that arrived together.
#[derive(Debug)]
pub(super) struct Arrivals {
    pub(super) delta: Delta,
    pub(super) keys: Vec<ArrayRef>,
    pub(super) hashes: Vec<u64>,
    /// Rows that match nothing: a NULL in a key.
    pub(super) unmatchable: Option<Vec<bool>>,
    /// The deadline of each row, if rows have one.
    pub(super) deadlines: Option<Vec<Option<i64>>>,
}

impl Arrivals {
    #[inline]
    pub(super) fn matches_nothing(&self, row: usize) -> bool {
        self.unmatchable.as_ref().is_some_and(|rows| rows[row])
    }
}

/// The state of a side.
#[derive(Debug)]
pub(super) struct Side {
    /// 0: left, 1: right.
    number: usize,
    pub(super) rows: Arrangement,
    stored: Vec<usize>,
    keys: Vec<usize>,
    strict: Vec<usize>,
    append_only: bool,
    counts: Option<usize>,
    pub(super) deadlines: Option<Deadlines>,
    restored: bool,
}

impl Side {
    pub(super) fn new(name: &str, plan: &InputPlan) -> Result<Self> {
        let mut fields: Vec<Field> = plan
            .stored
            .iter()
            .map(|column| plan.schema.field(*column).clone())
            .collect();
        let counts = plan.counts.then_some(fields.len());
        if plan.counts {
            fields.push(Field::new("matches", DataType::Int64, false));
        }
        let place = |column: &usize| plan.stored.partition_point(|stored| stored < column);
        let keys: Vec<usize> = plan.keys.iter().map(place).collect();
        let retention = if plan.append_only && plan.deadline.is_none() {
            Retention::Forever
        } else {
            Retention::Removable
        };
        let own = usize::from(plan.counts);
        Ok(Self {
            number: plan.number,
            rows: Arrangement::new(name, &Schema::new(fields), &keys, own, retention)?,
            stored: plan.stored.clone(),
            keys: plan.keys.clone(),
            strict: plan.strict.clone(),
            append_only: plan.append_only,
            counts,
            deadlines: plan.deadline.map(Deadlines::new),
            restored: false,
        })
    }

    /// The place among the kept columns of a column of the input.
    pub(super) fn place(&self, column: usize) -> usize {
        self.stored.partition_point(|stored| *stored < column)
    }

    pub(super) fn arrive(&self, delta: Delta) -> Result<Arrivals> {
        if self.append_only && !delta.is_append_only() {
            return Err(
                Error::internal("an input that was planned as append-only retracts a row")
                    .detail("in a join"),
            );
        }
        let columns = delta.batch().columns();
        let keys: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|key| ArrayRef::clone(&columns[*key]))
            .collect();
        let mut hashes = Vec::new();
        hash::rows(&keys, delta.rows(), &mut hashes)?;
        let strict = self.strict.iter().map(|key| &columns[*key]);
        let with_nulls: Vec<&ArrayRef> = strict.filter(|key| key.null_count() > 0).collect();
        let null = |row: usize| with_nulls.iter().any(|key| key.is_null(row));
        let mut unmatchable =
            (!with_nulls.is_empty()).then(|| (0..delta.rows()).map(null).collect::<Vec<bool>>());
        let deadlines = match &self.deadlines {
            Some(deadlines) => Some(deadlines.of(&columns[deadlines.column()])?),
            None => None,
        };
        for (row, deadline) in deadlines.iter().flatten().enumerate() {
            if deadline.is_none() {
                unmatchable.get_or_insert_with(|| vec![false; delta.rows()])[row] = true;
            }
        }
        Ok(Arrivals {
            delta,
            keys,
            hashes,
            unmatchable,
            deadlines,
        })
    }

    /// Keeps rows; `matches` has the partners of each if they count here.
    pub(super) fn keep(&mut self, arrivals: &Arrivals, matches: Vec<i64>) -> Result<()> {
        let columns = arrivals.delta.batch().columns();
        let mut columns: Vec<ArrayRef> = self
            .stored
            .iter()
            .map(|column| ArrayRef::clone(&columns[*column]))
            .collect();
        if self.counts.is_some() {
            columns.push(std::sync::Arc::new(Int64Array::from(matches)));
        }
        let mut ids = Vec::new();
        match arrivals.delta.weights() {
            Weights::AllOne if self.rows.log().negative_rows() == 0 => {
                self.rows.insert(&columns, &arrivals.hashes, &mut ids)?;
            }
            Weights::AllOne => {
                let weights = vec![1; arrivals.hashes.len()];
                self.rows
                    .apply(&columns, &arrivals.hashes, &weights, &mut ids)?;
            }
            Weights::Each(weights) => {
                self.rows
                    .apply(&columns, &arrivals.hashes, weights.values(), &mut ids)?;
            }
        }
        if let (Some(buckets), Some(deadlines)) = (&mut self.deadlines, &arrivals.deadlines) {
            for (id, deadline) in ids.iter().zip(deadlines) {
                if let (true, Some(deadline)) = (*id != NONE, deadline) {
                    buckets.add(*id, *deadline);
                }
            }
        }
        Ok(())
    }

    /// Kept rows as output; the columns of the other side are NULL.
    pub(super) fn show(&self, plan: &Plan, ids: &[u32]) -> Result<RecordBatch> {
        let columns = plan.output.iter().map(|column| {
            let (side, column) = plan.side_of(*column);
            let input = &plan.inputs[side];
            if side == self.number {
                return self.rows.log().gather(self.place(column), ids);
            }
            Ok(new_null_array(
                input.schema.field(column).data_type(),
                ids.len(),
            ))
        });
        project::batch(&plan.schema, columns.collect::<Result<_>>()?, ids.len())
    }

    /// How many partners a row has.
    #[inline]
    pub(super) fn matches(&self, id: u32) -> i64 {
        self.counts
            .map_or(0, |column| self.rows.log().integer(column, id))
    }

    pub(super) fn set_matches(&mut self, id: u32, matches: i64) {
        if let Some(column) = self.counts {
            self.rows.set_own(column, id, matches);
        }
    }

    /// The live rows that are past use at this watermark. They stay until they are removed.
    pub(super) fn expired(&mut self, watermark_ms: i64) -> Result<Vec<u32>> {
        let Some(deadlines) = &mut self.deadlines else {
            return Ok(Vec::new());
        };
        let place = self
            .stored
            .partition_point(|stored| *stored < deadlines.column());
        if std::mem::take(&mut self.restored) {
            let ids: Vec<u32> = self.rows.log().ids().collect();
            let times = self.rows.log().gather(place, &ids)?;
            for (id, deadline) in ids.iter().zip(deadlines.of(&times)?) {
                deadlines.add(*id, deadline.unwrap_or(i64::MAX));
            }
        }
        let mut ids = deadlines.take(watermark_ms);
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| self.rows.log().contains(*id));
        if ids.is_empty() {
            return Ok(ids);
        }
        // An id may have been given to a younger row since.
        let times = self.rows.log().gather(place, &ids)?;
        let now = deadlines.of(&times)?;
        let expired = |deadline: Option<i64>| deadline.is_none_or(|ms| ms <= watermark_ms);
        Ok(ids
            .into_iter()
            .zip(now)
            .filter(|(_, deadline)| expired(*deadline))
            .map(|(id, _)| id)
            .collect())
    }
}

impl Checkpointed for Side {
    fn name(&self) -> &str {
        self.rows.name()
    }

    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn key_columns(&self) -> usize {
        self.rows.key_columns()
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        self.rows.changes(out)
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        self.restored = true;
        self.rows.restore(change)
    }

    fn track(&mut self) -> Result<()> {
        self.rows.track()
    }
}
