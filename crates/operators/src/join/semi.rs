//! Semi and anti joins by keys alone: the other side is only counted, so that a key with very many rows there costs no
//! more than one with few.

use super::counts::{KeyCounts, rows_of};
use super::plan::{Kept, Plan};
use super::side::Side;
use crate::project;
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Operator, Output, Result, hash};
use millstream_state::Matches;

/// The running join.
#[derive(Debug)]
pub(super) struct Semi {
    plan: Plan,
    kept: Kept,
    rows: Side,
    counts: KeyCounts,
}

impl Semi {
    pub(super) fn new(mut plan: Plan, kept: Kept) -> Result<Self> {
        plan.inputs[kept.side].counts = false;
        let other = &plan.inputs[1 - kept.side];
        Ok(Self {
            rows: Side::new("rows", &plan.inputs[kept.side])?,
            counts: KeyCounts::new("keys", &other.schema, &other.keys)?,
            plan,
            kept,
        })
    }

    /// Rows of the kept side show if their key is there, or is not.
    fn meet(&mut self, delta: Delta, out: &mut Output) -> Result<()> {
        let mut arrivals = self.rows.arrive(delta)?;
        let rows = arrivals.delta.rows();
        let there = self.counts.there(&arrivals.keys, rows)?;
        let shows = |row: usize| (there[row] && !arrivals.matches_nothing(row)) != self.kept.anti;
        let shown: BooleanArray = (0..rows).map(|row| Some(shows(row))).collect();
        let shown = arrivals.delta.filter(&shown)?;
        let columns = self
            .plan
            .output
            .iter()
            .map(|column| ArrayRef::clone(shown.column(self.plan.side_of(*column).1)));
        let batch = project::batch(&self.plan.schema, columns.collect(), shown.rows())?;
        out.push(shown.with_batch(batch)?);
        if arrivals.unmatchable.is_some() {
            let stay: BooleanArray = (0..rows)
                .map(|row| Some(!arrivals.matches_nothing(row)))
                .collect();
            arrivals = self.rows.arrive(arrivals.delta.filter(&stay)?)?;
        }
        self.rows.keep(&arrivals, Vec::new())
    }

    /// Keys that come or go on the other side turn the rows that have them.
    fn count(&mut self, delta: &Delta, out: &mut Output) -> Result<()> {
        let strict = &self.plan.inputs[1 - self.kept.side].strict;
        let null = |row: usize| strict.iter().any(|key| delta.column(*key).is_null(row));
        let delta = if strict.iter().any(|key| delta.column(*key).null_count() > 0) {
            &delta.filter(&(0..delta.rows()).map(|row| Some(!null(row))).collect())?
        } else {
            delta
        };
        let turns = self.counts.add(delta)?;
        if turns.is_empty() {
            return Ok(());
        }
        let keys = &self.plan.inputs[1 - self.kept.side].keys;
        let batch = rows_of(delta.batch(), turns.iter().map(|turn| turn.row).collect())?;
        let keys: Vec<_> = keys
            .iter()
            .map(|key| ArrayRef::clone(batch.column(*key)))
            .collect();
        let mut hashes = Vec::new();
        hash::rows(&keys, turns.len(), &mut hashes)?;
        let mut pairs = Matches::default();
        self.rows
            .rows
            .probe(&keys, &hashes, |_| false, 0, usize::MAX, &mut pairs)?;
        let log = self.rows.rows.log();
        let weight = |(turn, id): (&u32, &u32)| {
            let shows = turns[*turn as usize].is_there != self.kept.anti;
            log.weight(*id) * if shows { 1 } else { -1 }
        };
        let weights: Int64Array = pairs.rows.iter().zip(&pairs.ids).map(weight).collect();
        let batch = self.rows.show(&self.plan, &pairs.ids)?;
        out.push(Delta::new(batch, weights)?);
        Ok(())
    }
}

impl Operator for Semi {
    fn step(&mut self, port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        if port == self.kept.side {
            self.meet(delta, out)
        } else {
            self.count(&delta, out)
        }
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        vec![&mut self.rows, &mut self.counts]
    }
}
