//! The groups of one aggregation with their accumulators: what GROUP BY holds once, and a window once a slice.
//!
//! A delta goes through in two halves, so that the owner can look at the groups before they change:
//! [`Groups::resolve`], then [`Groups::update`].

use super::accumulator::Arrival;
use super::accumulators::Accumulators;
use super::plan::Plan;
use crate::tracker::Tracker;
use arrow::array::ArrayRef;
use millstream_dataflow::{Delta, Error, Result};
use millstream_state::{Cells, GroupIndex};
use std::sync::Arc;

/// Groups and their accumulators, by group id.
pub(crate) struct Groups {
    pub(super) plan: Arc<Plan>,
    pub(super) index: GroupIndex,
    pub(super) accumulators: Accumulators,
    pub(super) tracker: Option<Tracker>,
    ids: Vec<u32>,
    fresh: Vec<u32>,
}

impl Groups {
    pub(crate) fn new(plan: &Arc<Plan>) -> Result<Self> {
        Ok(Self {
            index: GroupIndex::new(&plan.key_types)?,
            accumulators: Accumulators::new(plan)?,
            tracker: None,
            ids: Vec::new(),
            fresh: Vec::new(),
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
        self.accumulators.grow(self.index.id_limit());
        if let Some(tracker) = &mut self.tracker {
            tracker.came(&self.fresh);
        }
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

    /// Folds the delta that was resolved.
    ///
    /// # Errors
    /// `BadData` when a value overflows its accumulator.
    pub(crate) fn update(&mut self, delta: &Delta, arrival: Arrival<'_>) -> Result<()> {
        self.accumulators.update(&self.ids, delta, arrival)
    }

    /// Remembers, if anyone saves, that the groups of the last delta changed.
    pub(crate) fn touch_resolved(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        self.touch(&ids);
        self.ids = ids;
    }

    /// Whether a group has rows, so that it has a result.
    pub(crate) fn is_present(&self, id: u32) -> bool {
        self.accumulators.is_present(id)
    }

    /// Whether a group's insertions and retractions cancel.
    pub(crate) fn is_void(&self, id: u32) -> bool {
        self.accumulators.is_void(id)
    }

    /// Adds the results of some groups to `out`, which has cells for each call.
    ///
    /// # Errors
    /// `BadData` when a result does not fit its type.
    pub(crate) fn finish(&self, ids: &[u32], out: &mut [Cells]) -> Result<()> {
        self.accumulators.finish(ids, out)
    }

    /// Empty cells for each call.
    pub(crate) fn cells(&self) -> Vec<Cells> {
        self.accumulators.cells()
    }

    /// The results in `cells`, or those at `picks`, as columns.
    ///
    /// # Errors
    /// `Internal` when there is too much text for a column.
    pub(crate) fn decode(&self, cells: &[Cells], picks: Option<&[u32]>) -> Result<Vec<ArrayRef>> {
        self.accumulators.decode(cells, picks)
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

    /// All groups, in the order of their ids.
    pub(crate) fn all(&self) -> Vec<u32> {
        self.index.live_ids()
    }

    /// All group ids are below this.
    pub(crate) fn id_limit(&self) -> usize {
        self.index.id_limit()
    }

    /// What the groups hold.
    pub(crate) fn accumulators(&self) -> &Accumulators {
        &self.accumulators
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
        self.accumulators.clear(ids);
        for id in ids {
            self.index.remove(*id);
            let saved = self.tracker.as_mut().is_some_and(|t| t.went(*id));
            if !saved {
                self.index.release(*id);
            }
        }
    }

    /// Remembers, if anyone saves, that some groups changed.
    pub(crate) fn touch(&mut self, ids: &[u32]) {
        if let Some(tracker) = &mut self.tracker
            && !self.plan.is_keys_only()
        {
            tracker.changed(ids.iter().copied());
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
        self.accumulators.grow(self.index.id_limit());
        self.accumulators
            .absorb(&self.ids, &other.accumulators, &theirs)?;
        if let Some(tracker) = &mut self.tracker {
            tracker.came(&self.fresh);
        }
        self.touch_resolved();
        Ok(())
    }
}
