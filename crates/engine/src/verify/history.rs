//! The steps of a job that ran here: in which order rows arrived, and what clock and watermarks said then.
//!
//! With it a batch can leave out exactly the rows that came too late, and tell which of two rows came first.

use millstream_dataflow::Watermark;
use millstream_dataflow::graph::NodeId;
use millstream_runtime::{NodeTime, Range, Recorder, StepRecord};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Writes down what steps are made of.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    records: Mutex<Vec<StepRecord>>,
}

impl Recorder for Steps {
    fn record(&self, step: &StepRecord) {
        self.records.lock().push(step.clone());
    }
}

impl Steps {
    /// What was written down so far; `sources` are the job's, with their tables.
    pub(crate) fn history(&self, sources: BTreeMap<NodeId, String>) -> History {
        History {
            records: self.records.lock().clone(),
            sources,
        }
    }
}

/// What each step was made of.
#[derive(Debug, Default)]
pub(crate) struct History {
    records: Vec<StepRecord>,
    sources: BTreeMap<NodeId, String>,
}

impl History {
    /// The pieces of a table in the order in which they arrived, each with the place of its step.
    pub(crate) fn arrivals(&self, table: &str) -> impl Iterator<Item = (i64, &Range)> {
        let is_of = move |range: &&Range| {
            self.sources
                .get(&range.source)
                .is_some_and(|source| source == table)
        };
        (0..).zip(&self.records).flat_map(move |(step, record)| {
            let ranges = record.ranges.iter().filter(is_of);
            ranges.map(move |range| (step, range))
        })
    }

    /// The clock's reading at each step.
    pub(crate) fn clocks_ms(&self) -> Vec<i64> {
        self.records.iter().map(|record| record.now_ms).collect()
    }

    /// The watermark before each step of what follows from these tables and no others.
    pub(crate) fn watermarks_before(&self, tables: &BTreeSet<String>) -> Vec<i64> {
        let mut times: BTreeMap<NodeId, NodeTime> = self
            .sources
            .iter()
            .filter(|(_, table)| tables.contains(*table))
            .map(|(id, _)| (*id, NodeTime::default()))
            .collect();
        let mut watermark = Watermark::MIN;
        let mut before = Vec::with_capacity(self.records.len());
        for record in &self.records {
            before.push(watermark.0);
            for (id, time) in &record.times {
                if let Some(known) = times.get_mut(id) {
                    *known = *time;
                }
            }
            watermark = watermark.max(of_all(times.values()));
        }
        before
    }
}

/// The least of those that are not idle; if all are, the greatest; of what has ended, the end.
fn of_all<'a>(times: impl Iterator<Item = &'a NodeTime> + Clone) -> Watermark {
    let open = times.filter(|time| time.watermark != Watermark::MAX);
    let active = open.clone().filter(|time| !time.idle);
    let least = active.map(|time| time.watermark).min();
    least
        .or_else(|| open.map(|time| time.watermark).max())
        .unwrap_or(Watermark::MAX)
}

/// A history that is shared by all that read it.
pub(crate) type Shared = Arc<Steps>;
