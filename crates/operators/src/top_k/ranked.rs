//! The first rows of each partition in general: an ordered list of rows for each.
//!
//! ```text
//! deltas of the step --> [ key, id ] lists per partition --> what shows now, less what showed before --> output
//! ```
//!
//! Of an append-only input rows that cannot show are never kept: most rows of a batch are turned away by one comparison
//! with the last of their list. Rows that enter wait in the batch until the end of the step, since many leave again.

use super::first::{on_time, retracts};
use super::latest::take;
use super::order::Ranker;
use super::ordered::{Entry, Ordered};
use super::{Rank, TopK};
use crate::deadline::{DeadlinePlan, Deadlines};
use crate::project;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Error, Operator, Output, Result, StepTime, Watermark, Weights};
use millstream_state::{GroupIndex, NONE, RowLog};
use std::sync::Arc;

/// Marks the id of a row that is in the batch and not yet in the log.
const PENDING: u32 = 1 << 31;

/// A row that shows, with its rank if that is put out.
type Shown = (u32, u32);

/// The running operator.
#[derive(Debug)]
pub(super) struct Ranked<R: Ranker> {
    spec: TopK,
    ranker: R,
    log: RowLog,
    stored: Vec<usize>,
    /// The log's column for the order of arrival.
    arrival: usize,
    arrivals: i64,
    groups: GroupIndex,
    lists: Vec<Ordered<R::Key>>,
    pending: Vec<Delta>,
    windows: Option<Deadlines>,
    watermark: Watermark,
    restored: bool,
    changed: Changed,
    group_ids: Vec<u32>,
    fresh: Vec<u32>,
}

/// What changes in a step.
#[derive(Debug, Default)]
struct Changed {
    /// The groups, and where what each of them showed starts in `shown`.
    groups: Vec<(u32, usize)>,
    shown: Vec<Shown>,
    /// By group, whether it is in `groups`.
    is_in: Vec<bool>,
    /// Rows that left and are still in the log, for their last retraction.
    gone: Vec<u32>,
}

impl<R: Ranker> Ranked<R> {
    pub(super) fn new(spec: &TopK, ranker: R) -> Result<Self> {
        let stored = spec.stored();
        let kept = spec.input.project(&stored)?;
        let mut fields: Vec<Arc<Field>> = kept.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("arrival", DataType::Int64, false)));
        let types: Vec<DataType> = spec
            .partition
            .iter()
            .map(|column| spec.input.field(*column).data_type().clone())
            .collect();
        Ok(Self {
            spec: spec.clone(),
            ranker,
            log: RowLog::new("rows", &arrow::datatypes::Schema::new(fields))?,
            arrival: stored.len(),
            arrivals: 0,
            stored,
            groups: GroupIndex::new(&types)?,
            lists: Vec::new(),
            pending: Vec::new(),
            windows: spec
                .window_end
                .map(|column| Deadlines::new(DeadlinePlan::window_end(column))),
            watermark: Watermark::MIN,
            restored: false,
            changed: Changed::default(),
            group_ids: Vec::new(),
            fresh: Vec::new(),
        })
    }

    fn last_rank(&self) -> u64 {
        self.spec.offset.saturating_add(self.spec.limit)
    }

    fn settle(&mut self, delta: &Delta, out: &mut Output) -> Result<()> {
        let mut groups = std::mem::take(&mut self.group_ids);
        let keys = self.resolve(delta.batch().columns(), delta.rows(), &mut groups)?;
        self.track_windows(delta, &groups)?;
        if self.spec.append_only {
            self.enter(delta, &groups, &keys)?;
            self.write_entered(delta)?;
        } else {
            self.insert(delta, &groups, &keys)?;
            self.retract(delta, &groups, &keys)?;
        }
        self.group_ids = groups;
        self.put_out(out)
    }

    /// The group and the key of each row of the input's columns.
    fn resolve(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        groups: &mut Vec<u32>,
    ) -> Result<Vec<R::Key>> {
        let pick = |which: &mut dyn Iterator<Item = usize>| -> Vec<ArrayRef> {
            which
                .map(|column| ArrayRef::clone(&columns[column]))
                .collect()
        };
        let partition = pick(&mut self.spec.partition.iter().copied());
        let order = pick(&mut self.spec.order.iter().map(|order| order.column));
        self.groups
            .resolve(&partition, rows, groups, &mut self.fresh)?;
        let limit = self.groups.id_limit();
        self.lists.resize_with(limit, Ordered::default);
        self.changed.is_in.resize(limit, false);
        self.ranker.keys(&order, rows)
    }

    fn track_windows(&mut self, delta: &Delta, groups: &[u32]) -> Result<()> {
        let Some(windows) = &mut self.windows else {
            return Ok(());
        };
        if self.fresh.is_empty() {
            return Ok(());
        }
        let ends = windows.of(delta.column(windows.column()))?;
        let mut last = NONE;
        for (group, end) in groups.iter().zip(ends) {
            let new = *group != last && self.lists[*group as usize].is_empty();
            if let (true, Some(end)) = (new, end) {
                windows.add(*group, end);
            }
            last = *group;
        }
        Ok(())
    }

    /// Remembers what a group shows before it changes.
    fn touch(&mut self, group: u32) {
        if std::mem::replace(&mut self.changed.is_in[group as usize], true) {
            return;
        }
        self.changed.groups.push((group, self.changed.shown.len()));
        show(
            &self.spec,
            &self.lists[group as usize],
            &mut self.changed.shown,
        );
    }

    /// Lets rows of an append-only input into the lists.
    fn enter(&mut self, delta: &Delta, groups: &[u32], keys: &[R::Key]) -> Result<()> {
        let cap = usize::try_from(self.last_rank()).unwrap_or(usize::MAX);
        let later_first = self.spec.later_first;
        let shares = self.spec.rank != Rank::RowNumber;
        for (row, group) in groups.iter().enumerate() {
            let key = &keys[row];
            let list = &self.lists[*group as usize];
            let turned_away = list.len() >= cap
                && list.last().is_none_or(|last| match self.spec.rank {
                    Rank::RowNumber => *key > last.key || *key == last.key && !later_first,
                    Rank::Rank => *key > last.key,
                    Rank::DenseRank => *key > last.key && last_rank(list) >= cap as u64,
                });
            if turned_away {
                continue;
            }
            let weight = usize::try_from(delta.weight(row)).map_err(|_| retracts())?;
            self.touch(*group);
            for _ in 0..if shares { weight } else { weight.min(cap) } {
                let entry = Entry {
                    key: key.clone(),
                    id: row as u32 | PENDING,
                };
                self.lists[*group as usize].insert(entry, later_first);
                self.trim(*group, cap);
            }
        }
        Ok(())
    }

    /// Takes out of a list what can never show again.
    fn trim(&mut self, group: u32, cap: usize) {
        let list = &mut self.lists[group as usize];
        if list.len() <= cap {
            return;
        }
        let beyond = match self.spec.rank {
            Rank::RowNumber => list.len() - cap,
            Rank::Rank | Rank::DenseRank => {
                let ranks = ranks(self.spec.rank, list);
                ranks.filter(|(_, rank)| *rank > cap as u64).count()
            }
        };
        for _ in 0..beyond {
            if let Some(entry) = list.pop().filter(|entry| entry.id & PENDING == 0) {
                self.changed.gone.push(entry.id);
            }
        }
    }

    /// Moves the rows that are still in a list from the batch to the log.
    fn write_entered(&mut self, delta: &Delta) -> Result<()> {
        let mut rows = Vec::new();
        for (group, _) in &self.changed.groups {
            let list = self.lists[*group as usize].iter();
            rows.extend(
                list.filter(|entry| entry.id & PENDING != 0)
                    .map(|entry| entry.id & !PENDING),
            );
        }
        let ids = self.write(delta, &rows)?;
        let mut ids = ids.into_iter();
        for (group, _) in &self.changed.groups {
            let list = self.lists[*group as usize].iter_mut();
            let waiting = list.filter(|entry| entry.id & PENDING != 0);
            for (entry, id) in waiting.zip(&mut ids) {
                entry.id = id;
            }
        }
        Ok(())
    }

    /// Adds rows of the batch to the log; their order of arrival is that of the batch.
    fn write(&mut self, delta: &Delta, rows: &[u32]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        if rows.is_empty() {
            return Ok(ids);
        }
        let columns = self.stored.iter().map(|column| delta.column(*column));
        let mut columns = take(columns, rows, delta.rows())?;
        let arrival = rows.iter().map(|row| self.arrivals + i64::from(*row));
        columns.push(Arc::new(Int64Array::from_iter_values(arrival)));
        self.arrivals += delta.rows() as i64;
        self.log.insert(&columns, rows.len(), &mut ids)?;
        Ok(ids)
    }

    /// Inserts the rows of positive weight.
    fn insert(&mut self, delta: &Delta, groups: &[u32], keys: &[R::Key]) -> Result<()> {
        let copies = |row: usize| delta.weight(row).max(0) as usize;
        let rows: Vec<u32> = (0..delta.rows())
            .flat_map(|row| std::iter::repeat_n(row as u32, copies(row)))
            .collect();
        let ids = self.write(delta, &rows)?;
        for (row, id) in rows.iter().zip(ids) {
            let (group, key) = (groups[*row as usize], keys[*row as usize].clone());
            self.touch(group);
            self.lists[group as usize].insert(Entry { key, id }, self.spec.later_first);
        }
        Ok(())
    }

    /// Takes out the rows of negative weight: of equal rows the latest.
    fn retract(&mut self, delta: &Delta, groups: &[u32], keys: &[R::Key]) -> Result<()> {
        if matches!(delta.weights(), Weights::AllOne) {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = self
            .stored
            .iter()
            .map(|column| ArrayRef::clone(delta.column(*column)))
            .collect();
        let places: Vec<usize> = (0..self.stored.len()).collect();
        let newest_first = !self.spec.later_first;
        for row in (0..delta.rows()).filter(|row| delta.weight(*row) < 0) {
            self.touch(groups[row]);
        }
        let same = self.log.compare(&places, &columns)?;
        for row in (0..delta.rows()).filter(|row| delta.weight(*row) < 0) {
            let list = &mut self.lists[groups[row] as usize];
            for _ in 0..-delta.weight(row) {
                let entry = list
                    .remove(&keys[row], newest_first, |id| same.equal(row, id))
                    .ok_or_else(absent)?;
                self.changed.gone.push(entry.id);
            }
        }
        Ok(())
    }

    /// Puts out, for the groups that changed, what shows now less what showed before.
    fn put_out(&mut self, out: &mut Output) -> Result<()> {
        let mut changed = std::mem::take(&mut self.changed);
        let mut turns: Vec<(Shown, i64)> = Vec::new();
        let (mut now, mut before) = (Vec::new(), Vec::new());
        for (number, (group, start)) in changed.groups.iter().enumerate() {
            changed.is_in[*group as usize] = false;
            let end = changed.groups.get(number + 1);
            let end = end.map_or(changed.shown.len(), |next| next.1);
            before.clear();
            before.extend_from_slice(&changed.shown[*start..end]);
            now.clear();
            let list = &self.lists[*group as usize];
            show(&self.spec, list, &mut now);
            difference(&mut before, &mut now, &mut turns);
            if list.is_empty() {
                self.groups.remove(*group);
                self.groups.release(*group);
            }
        }
        if !self.spec.at_expiry {
            self.push(&turns, out)?;
        }
        for id in changed.gone.drain(..) {
            self.log.remove(id);
        }
        changed.groups.clear();
        changed.shown.clear();
        self.changed = changed;
        Ok(())
    }

    fn push(&self, turns: &[(Shown, i64)], out: &mut Output) -> Result<()> {
        if turns.is_empty() {
            return Ok(());
        }
        let ids: Vec<u32> = turns.iter().map(|((id, _), _)| *id).collect();
        let place = |column: &usize| self.stored.partition_point(|stored| stored < column);
        let mut columns = self
            .spec
            .output
            .iter()
            .map(|column| self.log.gather(place(column), &ids))
            .collect::<Result<Vec<_>>>()?;
        if self.spec.shown.is_some() {
            let ranks = turns.iter().map(|((_, rank), _)| i64::from(*rank));
            columns.push(Arc::new(Int64Array::from_iter_values(ranks)));
        }
        let batch = project::batch(&self.spec.schema, columns, ids.len())?;
        let weights: Int64Array = turns.iter().map(|(_, weight)| *weight).collect();
        out.push(Delta::new(batch, weights)?);
        Ok(())
    }

    /// Builds the lists of a restored log.
    fn refresh(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.restored) {
            return Ok(());
        }
        let mut ids: Vec<u32> = self.log.ids().collect();
        ids.sort_by_key(|id| self.log.integer(self.arrival, *id));
        let newest = ids.last().map(|id| self.log.integer(self.arrival, *id));
        self.arrivals = newest.map_or(0, |newest| newest + 1);
        let mut columns: Vec<ArrayRef> = Vec::new();
        for column in 0..self.spec.input.fields().len() {
            // A column that is not kept is not looked at either.
            let place = self.stored.binary_search(&column).unwrap_or(self.arrival);
            columns.push(self.log.gather(place, &ids)?);
        }
        self.groups.clear();
        self.lists.clear();
        let mut groups = Vec::new();
        let keys = self.resolve(&columns, ids.len(), &mut groups)?;
        if let Some(windows) = &mut self.windows {
            let ends = windows.of(&columns[windows.column()])?;
            let mut last = NONE;
            for (group, end) in groups.iter().zip(ends) {
                if let (Some(end), true) = (end, *group != last) {
                    windows.add(*group, end);
                }
                last = *group;
            }
        }
        for ((group, key), id) in groups.iter().zip(keys).zip(ids) {
            self.lists[*group as usize].insert(Entry { key, id }, self.spec.later_first);
        }
        Ok(())
    }

    /// Drops the groups whose window has closed; they show now if they have waited for that.
    fn expire(&mut self, out: &mut Output) -> Result<()> {
        let Some(windows) = &mut self.windows else {
            return Ok(());
        };
        let mut closed: Vec<(u32, u32)> = windows
            .take(self.watermark.0)
            .into_iter()
            .filter_map(|group| {
                let first = self.lists[group as usize].iter().next()?;
                Some((first.id, group))
            })
            .collect();
        closed.sort_unstable();
        closed.dedup();
        let mut shown = Vec::new();
        for (_, group) in &closed {
            show(&self.spec, &self.lists[*group as usize], &mut shown);
        }
        if self.spec.at_expiry {
            let turns: Vec<(Shown, i64)> = shown.into_iter().map(|shown| (shown, 1)).collect();
            self.push(&turns, out)?;
        }
        for (_, group) in closed {
            for entry in std::mem::take(&mut self.lists[group as usize]).iter() {
                self.log.remove(entry.id);
            }
            self.groups.remove(group);
            self.groups.release(group);
        }
        Ok(())
    }
}

/// The rows of a list with their ranks.
fn ranks<K: Ord + Clone>(kind: Rank, list: &Ordered<K>) -> impl Iterator<Item = (&Entry<K>, u64)> {
    let mut rank = 0;
    let mut last: Option<&K> = None;
    list.iter().zip(1_u64..).map(move |(entry, number)| {
        let new = last.is_none_or(|last| *last != entry.key);
        last = Some(&entry.key);
        rank = match kind {
            Rank::RowNumber => number,
            Rank::Rank if new => number,
            Rank::DenseRank if new => rank + 1,
            Rank::Rank | Rank::DenseRank => rank,
        };
        (entry, rank)
    })
}

/// The dense rank of the last row.
fn last_rank<K: Ord + Clone>(list: &Ordered<K>) -> u64 {
    ranks(Rank::DenseRank, list)
        .last()
        .map_or(0, |(_, rank)| rank)
}

/// The rows of a list that show.
fn show<K: Ord + Clone>(spec: &TopK, list: &Ordered<K>, out: &mut Vec<Shown>) {
    let last = spec.offset.saturating_add(spec.limit);
    let shown = ranks(spec.rank, list)
        .take_while(|(_, rank)| *rank <= last)
        .filter(|(_, rank)| *rank > spec.offset);
    let with_rank = spec.shown.is_some();
    out.extend(shown.map(|(entry, rank)| (entry.id, if with_rank { rank as u32 } else { 0 })));
}

/// What left, then what came.
fn difference(before: &mut [Shown], now: &mut [Shown], turns: &mut Vec<(Shown, i64)>) {
    if before == now {
        return;
    }
    before.sort_unstable();
    now.sort_unstable();
    let only = |of: &[Shown], other: &[Shown], weight: i64, turns: &mut Vec<(Shown, i64)>| {
        let mut other = other.iter().peekable();
        for shown in of {
            while other.next_if(|candidate| *candidate < shown).is_some() {}
            if other.peek() != Some(&shown) {
                turns.push((*shown, weight));
            }
        }
    };
    only(before, now, -1, turns);
    only(now, before, 1, turns);
}

fn absent() -> Error {
    Error::internal("a row is retracted that is not there").detail("in a Top-N")
}

impl<R: Ranker> Operator for Ranked<R> {
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
        vec![self]
    }
}

impl<R: Ranker> Checkpointed for Ranked<R> {
    fn name(&self) -> &str {
        self.log.name()
    }

    fn schema(&self) -> arrow::datatypes::SchemaRef {
        self.log.schema()
    }

    fn key_columns(&self) -> usize {
        self.log.key_columns()
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        self.log.changes(out)
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        self.restored = true;
        self.log.restore(change)
    }

    fn track(&mut self) -> Result<()> {
        self.log.track()
    }
}
