//! The groups of one aggregation with their accumulators: what GROUP BY holds once, and a window a slice.
//!
//! A delta goes through in two halves, so that the owner can look at the groups before they change:
//! [`Groups::resolve`], then [`Groups::update`].

use super::accumulator::{Accumulator, Args, Exported, Rows};
use super::plan::{AccumulatorPlan, Plan};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use millstream_dataflow::{Delta, Error, Result, Weights};
use millstream_state::{Cells, Codec, GroupIndex, Lane};
use std::sync::Arc;

/// Groups and their accumulators, by group id.
pub(crate) struct Groups {
    pub(super) plan: Arc<Plan>,
    pub(super) index: GroupIndex,
    /// How many rows each group has, if the plan counts them.
    pub(super) rows: Vec<i64>,
    pub(super) accumulators: Vec<Box<dyn Accumulator>>,
    pub(super) tracker: Option<Tracker>,
    codecs: Vec<Codec>,
    results: Vec<Codec>,
    ids: Vec<u32>,
    fresh: Vec<u32>,
    selections: Vec<Selection>,
}

/// Which groups changed since the last save.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    pub(super) dirty: Vec<u32>,
    pub(super) marked: Vec<bool>,
    /// Groups that are gone, whose keys are kept until the next save.
    pub(super) gone: Vec<u32>,
}

/// The rows of a batch that pass a filter.
#[derive(Debug, Default)]
struct Selection {
    picks: Vec<u32>,
    ids: Vec<u32>,
    weights: Vec<i64>,
}

impl Groups {
    pub(crate) fn new(plan: &Arc<Plan>) -> Result<Self> {
        let codecs = plan
            .lanes
            .iter()
            .map(|(_, data_type)| Codec::new(data_type));
        Ok(Self {
            index: GroupIndex::new(&plan.key_types)?,
            rows: Vec::new(),
            accumulators: plan.accumulators()?,
            tracker: None,
            codecs: codecs.collect::<Result<_>>()?,
            results: plan.result_codecs()?,
            ids: Vec::new(),
            fresh: Vec::new(),
            selections: plan.filters.iter().map(|_| Selection::default()).collect(),
            plan: Arc::clone(plan),
        })
    }

    /// What is computed.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The groups of a delta's rows, made where they are new.
    ///
    /// # Errors
    /// `Internal` for a retraction from an input that is declared to have none.
    pub(crate) fn resolve(&mut self, delta: &Delta) -> Result<()> {
        if self.plan.append_only && !delta.is_append_only() {
            return Err(Error::internal(
                "an input that was planned as append-only retracts a row",
            ));
        }
        let keys: Vec<ArrayRef> = self
            .plan
            .keys
            .iter()
            .map(|key| Arc::clone(delta.column(*key)))
            .collect();
        self.fresh.clear();
        self.index
            .resolve(&keys, delta.rows(), &mut self.ids, &mut self.fresh)?;
        self.grow();
        Ok(())
    }

    /// The groups of the rows of the last delta.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The groups that the last delta made.
    pub(crate) fn fresh(&self) -> &[u32] {
        &self.fresh
    }

    /// Folds the delta that was resolved. `arrival` is the number of its first row in the order of arrival.
    ///
    /// # Errors
    /// `BadData` when a value overflows its accumulator.
    pub(crate) fn update(&mut self, delta: &Delta, arrival: u64) -> Result<()> {
        let weights = match delta.weights() {
            Weights::AllOne => None,
            Weights::Each(weights) => Some(&weights.values()[..]),
        };
        let all = Rows {
            ids: &self.ids,
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
            selection.fill(filter, &self.ids, weights);
        }
        for (accumulator, plan) in self.accumulators.iter_mut().zip(&self.plan.accumulators) {
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
                Some(at) => self.accumulators[at]
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
        self.results
            .iter()
            .zip(cells)
            .map(|(codec, cells)| codec.decode(cells, picks))
            .collect()
    }

    /// The key columns of some groups.
    ///
    /// # Errors
    /// `Internal` when there is too much text for a column.
    pub(crate) fn keys(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        self.index.gather(ids)
    }

    /// A key of 64 bits of a group.
    pub(crate) fn key(&self, column: usize, id: u32) -> Option<i64> {
        self.index.long(column, id)
    }

    /// All groups, in the order in which they were made.
    pub(crate) fn all(&self) -> Vec<u32> {
        self.index.live_ids()
    }

    /// All group ids are below this.
    pub(crate) fn id_limit(&self) -> usize {
        self.index.id_limit()
    }

    /// Whether there is no group.
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Drops groups with all that they hold.
    pub(crate) fn remove(&mut self, ids: &[u32]) {
        if ids.is_empty() {
            return;
        }
        if self.plan.count_rows {
            ids.iter().for_each(|id| self.rows[*id as usize] = 0);
        }
        for accumulator in &mut self.accumulators {
            accumulator.clear(ids);
        }
        for id in ids {
            self.index.remove(*id);
            match &mut self.tracker {
                Some(tracker) => tracker.gone.push(*id),
                None => self.index.release(*id),
            }
        }
    }

    /// Remembers, if anyone saves, that some groups changed.
    pub(crate) fn touch(&mut self, ids: &[u32]) {
        let Some(tracker) = &mut self.tracker else {
            return;
        };
        tracker.marked.resize(self.index.id_limit(), false);
        for id in ids {
            if !std::mem::replace(&mut tracker.marked[*id as usize], true) {
                tracker.dirty.push(*id);
            }
        }
    }

    /// Adds the groups of another aggregation of the same plan to these.
    ///
    /// # Errors
    /// `BadData` when a value overflows its accumulator.
    pub(crate) fn absorb(&mut self, other: &Self) -> Result<()> {
        let theirs = other.all();
        self.fresh.clear();
        self.index
            .absorb(&other.index, &theirs, None, &mut self.ids, &mut self.fresh)?;
        self.grow();
        if self.plan.count_rows {
            for (mine, theirs) in self.ids.iter().zip(&theirs) {
                self.rows[*mine as usize] += other.rows[*theirs as usize];
            }
        }
        let mut home = vec![0; other.id_limit()];
        for (mine, theirs) in self.ids.iter().zip(&theirs) {
            home[*theirs as usize] = *mine;
        }
        for (mine, other) in self.accumulators.iter_mut().zip(&other.accumulators) {
            let mut state: Exported = other.shape().empty();
            other.export(&theirs, &mut state);
            state.ids.iter_mut().for_each(|id| *id = home[*id as usize]);
            mine.merge(&state)?;
        }
        Ok(())
    }

    pub(super) fn grow(&mut self) {
        let groups = self.index.id_limit();
        if self.plan.count_rows && self.rows.len() < groups {
            self.rows.resize(groups, 0);
        }
        for accumulator in &mut self.accumulators {
            accumulator.grow(groups);
        }
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
            self.weights
                .extend(self.picks.iter().map(|row| weights[*row as usize]));
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
