//! All accumulators of an aggregation, by group id, whoever gives the ids: an index of keys, or sessions.

use super::accumulator::{Accumulator, Args, Arrival, Exported, Rows};
use super::plan::{AccumulatorPlan, Plan};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use millstream_dataflow::{Delta, Error, Result, Weights};
use millstream_state::{Cells, Codec, Lane};
use std::sync::Arc;

/// The accumulators of a plan.
pub(crate) struct Accumulators {
    pub(super) plan: Arc<Plan>,
    /// How many rows each group has, if the plan counts them.
    pub(super) rows: Vec<i64>,
    pub(super) each: Vec<Box<dyn Accumulator>>,
    codecs: Vec<Codec>,
    results: Vec<Codec>,
    selections: Vec<Selection>,
    /// By group, false; for who looks for groups that are there twice.
    pub(super) marks: Vec<bool>,
}

/// The rows of a batch that pass a filter.
#[derive(Debug, Default)]
struct Selection {
    picks: Vec<u32>,
    ids: Vec<u32>,
    weights: Vec<i64>,
}

impl Accumulators {
    pub(crate) fn new(plan: &Arc<Plan>) -> Result<Self> {
        let codecs = plan
            .lanes
            .iter()
            .map(|(_, data_type)| Codec::new(data_type));
        Ok(Self {
            rows: Vec::new(),
            each: plan.accumulators()?,
            codecs: codecs.collect::<Result<_>>()?,
            results: plan.result_codecs()?,
            selections: plan.filters.iter().map(|_| Selection::default()).collect(),
            marks: Vec::new(),
            plan: Arc::clone(plan),
        })
    }

    /// Makes room for the groups below `groups`.
    pub(crate) fn grow(&mut self, groups: usize) {
        if self.plan.count_rows && self.rows.len() < groups {
            self.rows.resize(groups, 0);
        }
        self.each
            .iter_mut()
            .for_each(|accumulator| accumulator.grow(groups));
    }

    /// Folds a delta's rows into the groups `ids`.
    ///
    /// # Errors
    /// `BadData` when a value overflows its accumulator.
    pub(crate) fn update(
        &mut self,
        ids: &[u32],
        delta: &Delta,
        arrival: Arrival<'_>,
    ) -> Result<()> {
        let weights = match delta.weights() {
            Weights::AllOne => None,
            Weights::Each(weights) => Some(&weights.values()[..]),
        };
        let all = Rows {
            ids,
            picks: None,
            weights,
            arrival,
        };
        if self.plan.count_rows {
            let rows = self.rows.as_mut_slice();
            all.each(None, |id, _, weight| rows[id] += weight);
        }
        let lanes: Vec<Lane> = self
            .codecs
            .iter()
            .zip(&self.plan.lanes)
            .map(|(codec, (column, _))| codec.encode(delta.column(*column)))
            .collect::<Result<_>>()?;
        let filters: Vec<BooleanArray> = self
            .plan
            .filters
            .iter()
            .map(|column| true_rows(delta.column(*column)))
            .collect::<Result<_>>()?;
        for (selection, filter) in self.selections.iter_mut().zip(&filters) {
            selection.fill(filter, ids, weights);
        }
        for (accumulator, plan) in self.each.iter_mut().zip(&self.plan.accumulators) {
            let (used, filter) = match plan {
                AccumulatorPlan::Plain { args, filter, .. } => (args, *filter),
                AccumulatorPlan::Distinct { args, .. } => (args, None),
            };
            let rows = filter.map_or(all, |filter| self.selections[filter].rows(all));
            let args = Args {
                lanes: &lanes,
                used,
                filters: &filters,
            };
            accumulator.update(&rows, &args)?;
        }
        Ok(())
    }

    /// Whether a group has rows, so that it has a result.
    pub(crate) fn is_present(&self, id: u32) -> bool {
        self.plan.append_only || self.rows[id as usize] > 0
    }

    /// Whether a group's insertions and retractions cancel.
    pub(crate) fn is_void(&self, id: u32) -> bool {
        !self.plan.append_only && self.rows[id as usize] == 0
    }

    /// Adds the results of some groups to `out`, which has cells for each call.
    ///
    /// # Errors
    /// `BadData` when a result does not fit its type.
    pub(crate) fn finish(&self, ids: &[u32], out: &mut [Cells]) -> Result<()> {
        for (output, out) in self.plan.outputs.iter().zip(out) {
            match output.accumulator {
                None => out.extend_longs(ids.iter().map(|id| self.rows[*id as usize])),
                Some(at) => self.each[at]
                    .finish(&output.finish, ids, out)
                    .map_err(|error| error.context(output.field.name()))?,
            }
        }
        Ok(())
    }

    /// Empty cells for each call.
    pub(crate) fn cells(&self) -> Vec<Cells> {
        self.results.iter().map(Codec::cells).collect()
    }

    /// The results in `cells`, or those at `picks`, as columns.
    ///
    /// # Errors
    /// `Internal` when there is too much text for a column.
    pub(crate) fn decode(&self, cells: &[Cells], picks: Option<&[u32]>) -> Result<Vec<ArrayRef>> {
        let results = self.results.iter().zip(cells);
        results
            .map(|(codec, cells)| codec.decode(cells, picks))
            .collect()
    }

    /// Forgets what some groups hold.
    pub(crate) fn clear(&mut self, ids: &[u32]) {
        if self.plan.count_rows {
            ids.iter().for_each(|id| self.rows[*id as usize] = 0);
        }
        self.each
            .iter_mut()
            .for_each(|accumulator| accumulator.clear(ids));
    }

    /// Adds what `theirs` hold in another to `mine` here, one by one.
    ///
    /// # Errors
    /// `BadData` when a value overflows its accumulator.
    pub(crate) fn absorb(&mut self, mine: &[u32], other: &Self, theirs: &[u32]) -> Result<()> {
        if self.plan.count_rows {
            for (mine, theirs) in mine.iter().zip(theirs) {
                self.rows[*mine as usize] += other.rows[*theirs as usize];
            }
        }
        for (into, from) in self.each.iter_mut().zip(&other.each) {
            let mut state = from.shape().empty();
            from.export(theirs, &mut state);
            readdress(&mut state, mine, theirs);
            into.merge(&state)?;
        }
        Ok(())
    }

    /// Moves what `from` holds into `into`.
    ///
    /// # Errors
    /// `BadData` when a value overflows its accumulator.
    pub(crate) fn unite(&mut self, into: u32, from: u32) -> Result<()> {
        if self.plan.count_rows {
            self.rows[into as usize] += std::mem::take(&mut self.rows[from as usize]);
        }
        for accumulator in &mut self.each {
            let mut state = accumulator.shape().empty();
            accumulator.export(&[from], &mut state);
            state.ids.fill(into);
            accumulator.merge(&state)?;
            accumulator.clear(&[from]);
        }
        Ok(())
    }
}

/// Exported entries come in the order of the groups: each group's id is replaced by the one beside it.
fn readdress(state: &mut Exported, mine: &[u32], theirs: &[u32]) {
    let mut at = 0;
    for id in &mut state.ids {
        while theirs[at] != *id {
            at += 1;
        }
        *id = mine[at];
    }
}

impl Selection {
    fn fill(&mut self, filter: &BooleanArray, ids: &[u32], weights: Option<&[i64]>) {
        self.picks.clear();
        self.ids.clear();
        self.weights.clear();
        for row in filter.values().set_indices() {
            self.picks.push(row as u32);
            self.ids.push(ids[row]);
        }
        if let Some(weights) = weights {
            let picked = self.picks.iter().map(|row| weights[*row as usize]);
            self.weights.extend(picked);
        }
    }

    fn rows<'a>(&'a self, all: Rows<'a>) -> Rows<'a> {
        Rows {
            ids: &self.ids,
            picks: Some(&self.picks),
            weights: all.weights.map(|_| self.weights.as_slice()),
            arrival: all.arrival,
        }
    }
}

/// A filter column in which no value is NULL.
fn true_rows(column: &ArrayRef) -> Result<BooleanArray> {
    let column = column
        .as_boolean_opt()
        .ok_or_else(|| Error::internal("a FILTER column is not BOOLEAN"))?;
    if column.null_count() == 0 {
        return Ok(column.clone());
    }
    Ok(arrow::compute::prep_null_mask_filter(column))
}
