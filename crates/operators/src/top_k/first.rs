//! The first row of each partition of an append-only input: deduplication.

use super::order::Ranker;
use super::{LatestRows, TopK, Winner};
use crate::deadline::{DeadlinePlan, Deadlines};
use arrow::array::{ArrayRef, BooleanArray};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Error, Operator, Output, Result, StepTime, Watermark};
use millstream_state::NONE;

/// The running operator.
#[derive(Debug)]
pub(super) struct First<R> {
    spec: TopK,
    ranker: R,
    rows: LatestRows,
    pending: Vec<Delta>,
    windows: Option<Deadlines>,
    watermark: Watermark,
    /// The best row of the batch of each group that the batch touches; else [`NONE`].
    best: Vec<u32>,
    groups: Vec<u32>,
}

impl<R: Ranker> First<R> {
    pub(super) fn new(spec: &TopK, ranker: R) -> Result<Self> {
        // By arrival alone a row stays for good: its key is enough.
        let stored = if spec.order.is_empty() && !spec.later_first && !spec.at_expiry {
            let mut keys: Vec<usize> = spec
                .partition
                .iter()
                .chain(&spec.window_end)
                .copied()
                .collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        } else {
            spec.stored()
        };
        Ok(Self {
            rows: LatestRows::new("rows", &spec.input, stored, &spec.partition)?,
            spec: spec.clone(),
            ranker,
            pending: Vec::new(),
            windows: spec
                .window_end
                .map(|column| Deadlines::new(DeadlinePlan::window_end(column))),
            watermark: Watermark::MIN,
            best: Vec::new(),
            groups: Vec::new(),
        })
    }

    fn settle(&mut self, delta: &Delta, out: &mut Output) -> Result<()> {
        if !delta.is_append_only() {
            return Err(retracts());
        }
        let batch = delta.batch();
        let mut groups = std::mem::take(&mut self.groups);
        self.rows.resolve(batch, &mut groups)?;
        self.best.resize(self.rows.group_limit(), NONE);
        let columns: Vec<ArrayRef> = self
            .spec
            .order
            .iter()
            .map(|order| ArrayRef::clone(batch.column(order.column)))
            .collect();
        let keys = self.ranker.keys(&columns, batch.num_rows())?;
        let later_first = self.spec.later_first;
        let before = |new: &R::Key, old: &R::Key| new < old || later_first && new == old;
        let mut touched = Vec::new();
        for (row, group) in groups.iter().enumerate() {
            let best = &mut self.best[*group as usize];
            if *best == NONE {
                touched.push(*group);
                *best = row as u32;
            } else if before(&keys[row], &keys[*best as usize]) {
                *best = row as u32;
            }
        }
        self.groups = groups;
        let had: Vec<u32> = touched
            .iter()
            .map(|group| self.rows.row(*group))
            .filter(|row| *row != NONE)
            .collect();
        let mut old_keys = self.old_keys(&had)?.into_iter();
        let mut winners = Vec::with_capacity(touched.len());
        for group in touched {
            let row = std::mem::replace(&mut self.best[group as usize], NONE);
            let stays = self.rows.row(group) != NONE
                && old_keys
                    .next()
                    .is_none_or(|old| !before(&keys[row as usize], &old));
            if !stays {
                winners.push(Winner { group, row });
            }
        }
        self.put(delta, &winners, out)
    }

    /// The order of kept rows. By arrival alone there is nothing to compare.
    fn old_keys(&self, rows: &[u32]) -> Result<Vec<R::Key>> {
        let columns = self
            .spec
            .order
            .iter()
            .map(|order| {
                let place = self.rows.place(order.column);
                self.rows.log().gather(place, rows)
            })
            .collect::<Result<Vec<_>>>()?;
        self.ranker.keys(&columns, rows.len())
    }

    fn put(&mut self, delta: &Delta, winners: &[Winner], out: &mut Output) -> Result<()> {
        if let Some(windows) = &mut self.windows {
            let ends = windows.of(delta.column(windows.column()))?;
            for winner in winners {
                if let (NONE, Some(end)) = (self.rows.row(winner.group), ends[winner.row as usize])
                {
                    windows.add(winner.group, end);
                }
            }
        }
        if !self.spec.at_expiry {
            let (output, schema) = (&self.spec.output, &self.spec.schema);
            self.rows
                .announce(delta.batch(), winners, output, schema, out)?;
        }
        self.rows.write(delta.batch(), winners)
    }

    /// Finds the windows of restored rows.
    fn refresh(&mut self) -> Result<()> {
        if !self.rows.refresh()? {
            return Ok(());
        }
        let Some(windows) = &mut self.windows else {
            return Ok(());
        };
        let (groups, ids): (Vec<u32>, Vec<u32>) = self.rows.rows().unzip();
        let place = self.rows.place(windows.column());
        let ends = windows.of(&self.rows.log().gather(place, &ids)?)?;
        for (group, end) in groups.iter().zip(ends) {
            if let Some(end) = end {
                windows.add(*group, end);
            }
        }
        Ok(())
    }

    fn expire(&mut self, out: &mut Output) -> Result<()> {
        let Some(windows) = &mut self.windows else {
            return Ok(());
        };
        let mut closed: Vec<(u32, u32)> = windows
            .take(self.watermark.0)
            .into_iter()
            .map(|group| (self.rows.row(group), group))
            .collect();
        closed.sort_unstable();
        if self.spec.at_expiry && !closed.is_empty() {
            let ids: Vec<u32> = closed.iter().map(|(row, _)| *row).collect();
            let shown = self.rows.show(&ids, &self.spec.output, &self.spec.schema)?;
            out.push(Delta::inserts(shown));
        }
        for (row, group) in closed {
            self.rows.forget(group, row);
        }
        Ok(())
    }
}

pub(super) fn retracts() -> Error {
    Error::internal("an input that was planned as append-only retracts a row").detail("in a Top-N")
}

/// The rows whose window is still open; the others are counted.
pub(super) fn on_time(
    windows: Option<&Deadlines>,
    watermark: Watermark,
    delta: Delta,
    out: &mut Output,
) -> Result<Delta> {
    let Some(windows) = windows else {
        return Ok(delta);
    };
    let ends = windows.of(delta.column(windows.column()))?;
    let open: BooleanArray = ends
        .iter()
        .map(|end| Some(end.is_none_or(|end| watermark.0 < end)))
        .collect();
    let late = delta.rows() - open.values().count_set_bits();
    if late == 0 {
        return Ok(delta);
    }
    out.late(late as u64);
    delta.filter(&open)
}

impl<R: Ranker> Operator for First<R> {
    fn step(&mut self, _port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let delta = on_time(self.windows.as_ref(), self.watermark, delta, out)?;
        if !delta.is_empty() {
            self.pending.push(delta);
        }
        Ok(())
    }

    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        self.refresh()?;
        if !self.pending.is_empty() {
            let all = Delta::concat(&self.spec.input, &self.pending)?;
            self.pending.clear();
            self.settle(&all, out)?;
        }
        if time.watermark > self.watermark {
            self.watermark = time.watermark;
            self.expire(out)?;
        }
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        vec![&mut self.rows]
    }
}
