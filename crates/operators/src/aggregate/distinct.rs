//! Aggregates over distinct arguments: one set of the arguments of each group, that says when one comes and goes, and
//! behind it an accumulator a filter.
//!
//! ```text
//! row (group, args) --set--> entry --count or bit of branch 0: 0 -> 1--> accumulator 0 gets +1
//!                                  --count or bit of branch 1: 1 -> 0--> accumulator 1 gets -1
//! ```
//!
//! The set and the accumulators behind it are saved each by itself: what the latter hold may depend on the order in which
//! entries came and went, which the set does not tell.

use super::accumulator::{Accumulator, Args, Arrival, Entries, Exported, Finish, Rows, Shape};
use super::plan::Branch;
use crate::tracker::{Changes, Tracker};
use arrow::array::BooleanArray;
use arrow::datatypes::DataType;
use millstream_dataflow::Result;
use millstream_state::{ABSENT, Cells, Form, GroupIndex, Lane};

/// See the module's head. Invariant: after a batch, an entry in the index has a count that is not zero.
pub(crate) struct Distinct {
    index: GroupIndex,
    seen: Seen,
    lists: Lists,
    branches: Vec<Running>,
    /// The number of the next turn.
    next_turn: u64,
    tracker: Option<Tracker>,
    entries: Vec<u32>,
    fresh: Vec<u32>,
    turned: Turned,
}

/// A branch: the rows of a filter.
struct Running {
    filter: Option<usize>,
    accumulator: Box<dyn Accumulator>,
    turns: Option<Turns>,
}

/// Of an accumulator to which order matters, the number of the turn at which each entry came, and where it is exported.
struct Turns {
    numbers: Vec<u64>,
    column: usize,
}

impl Distinct {
    pub(crate) fn new(types: &[DataType], branches: &[Branch], append_only: bool) -> Result<Self> {
        let mut columns = branches.len()..;
        let running = branches.iter().map(|branch| Running {
            filter: branch.filter,
            accumulator: branch.kind.build(),
            turns: branch.kind.is_in_order().then(|| Turns {
                numbers: Vec::new(),
                column: columns.next().unwrap_or_default(),
            }),
        });
        let bits = append_only && branches.len() <= u64::BITS as usize;
        Ok(Self {
            index: GroupIndex::scoped(types)?,
            seen: Seen::new(bits, branches.len()),
            lists: Lists::default(),
            branches: running.collect(),
            next_turn: 0,
            tracker: None,
            entries: Vec::new(),
            fresh: Vec::new(),
            turned: Turned::default(),
        })
    }

    /// The entry of each row, made where it is new.
    fn resolve(&mut self, scope: &[u32], lanes: &[Lane]) -> Result<()> {
        self.fresh.clear();
        self.index.resolve_lanes(
            Some(scope),
            lanes,
            scope.len(),
            &mut self.entries,
            &mut self.fresh,
        )?;
        self.seen.grow(self.index.id_limit());
        self.lists.grow(self.index.id_limit());
        for entry in &self.fresh {
            self.lists.insert(self.index.scope(*entry), *entry);
        }
        if let Some(tracker) = &mut self.tracker {
            tracker.came(&self.fresh);
        }
        Ok(())
    }

    /// Takes out those of some entries that nothing counts any more.
    fn drop_void(&mut self, mut entries: Vec<u32>) {
        entries.sort_unstable();
        entries.dedup();
        for entry in entries {
            if self.seen.is_void(entry) {
                self.drop_entry(entry);
            }
        }
    }

    fn drop_entry(&mut self, entry: u32) {
        self.lists.remove(self.index.scope(entry), entry);
        self.index.remove(entry);
        self.seen.reset(entry);
        let saved = self.tracker.as_mut().is_some_and(|t| t.went(entry));
        if !saved {
            self.index.release(entry);
        }
    }

    /// Notes entries of which some counts changed.
    fn touch(&mut self) {
        // Without retractions an entry changes where it turns, if at all.
        if let (Some(tracker), Seen::Counts(..)) = (&mut self.tracker, &self.seen) {
            tracker.changed(self.entries.iter().copied());
        }
    }

    /// What of some entries is exported beside their keys.
    fn push_bodies(&self, entries: &[u32], out: &mut [Cells]) {
        for (at, branch) in self.branches.iter().enumerate() {
            out[at].extend_longs(entries.iter().map(|entry| self.seen.count(*entry, at)));
            if let Some(turns) = &branch.turns {
                let numbers = entries.iter().map(|entry| turns.number(*entry) as i64);
                out[turns.column].extend_longs(numbers);
            }
        }
    }
}

impl Accumulator for Distinct {
    fn grow(&mut self, groups: usize) {
        self.lists.grow_groups(groups);
        for branch in &mut self.branches {
            branch.accumulator.grow(groups);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let lanes: Vec<Lane> = args.used.iter().map(|at| args.lanes[*at].clone()).collect();
        self.resolve(rows.ids, &lanes)?;
        for (at, branch) in self.branches.iter_mut().enumerate() {
            self.turned.clear();
            let filter = branch.filter.map(|filter| &args.filters[filter]);
            self.seen
                .fold(at, &self.entries, rows, filter, &mut self.turned);
            if let Some(turns) = &mut branch.turns {
                turns.note(&self.turned, &self.entries, &mut self.next_turn);
            }
            branch
                .accumulator
                .update(&self.turned.rows(rows.arrival), args)?;
            if let (Some(tracker), Seen::Bits(_)) = (&mut self.tracker, &self.seen) {
                let turned = self.turned.picks.iter();
                tracker.changed(turned.map(|row| self.entries[*row as usize]));
            }
        }
        self.touch();
        // A new entry may have passed no filter.
        let mut suspects = std::mem::take(&mut self.fresh);
        if let Some(weights) = rows.weights {
            let retracted = weights
                .iter()
                .zip(&self.entries)
                .filter(|(weight, _)| **weight < 0);
            suspects.extend(retracted.map(|(_, entry)| *entry));
        }
        suspects.retain(|entry| self.seen.is_void(*entry));
        self.drop_void(suspects);
        Ok(())
    }

    fn finish(&self, how: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        self.branches[how.branch].accumulator.finish(how, ids, out)
    }

    fn clear(&mut self, ids: &[u32]) {
        for id in ids {
            for entry in self.lists.all(*id) {
                self.drop_entry(entry);
            }
        }
        for branch in &mut self.branches {
            branch.accumulator.clear(ids);
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            key: self.index.forms(),
            body: vec![
                Form::Long;
                self.branches.len()
                    + self.branches.iter().filter(|b| b.turns.is_some()).count()
            ],
        }
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        for id in ids {
            let entries = self.lists.all(*id);
            out.ids.extend(std::iter::repeat_n(*id, entries.len()));
            self.index.gather_cells(&entries, &mut out.key);
            self.push_bodies(&entries, &mut out.body);
        }
    }

    /// Adds the counts, and passes on what turns.
    fn merge(&mut self, from: &Exported) -> Result<()> {
        let lanes: Vec<Lane> = from.key.iter().map(Lane::from_cells).collect();
        self.resolve(&from.ids, &lanes)?;
        let used: Vec<usize> = (0..lanes.len()).collect();
        let args = Args {
            lanes: &lanes,
            used: &used,
            filters: &[],
        };
        for (at, branch) in self.branches.iter_mut().enumerate() {
            self.turned.clear();
            let entries = &self.entries;
            let mut turn = |row: usize| {
                let turn = self.seen.add(entries[row], at, from.body[at].long(row));
                self.turned.push(from.ids[row], row, turn);
            };
            let mut arrival = Arrival::from(0);
            let places;
            match &mut branch.turns {
                None => (0..entries.len()).for_each(turn),
                Some(turns) => {
                    let order = turns.order(from);
                    order.iter().for_each(|row| turn(*row as usize));
                    turns.note(&self.turned, entries, &mut self.next_turn);
                    places = ranks(&order);
                    arrival.places = Some(&places);
                }
            }
            branch
                .accumulator
                .update(&self.turned.rows(arrival), &args)?;
        }
        if let Some(tracker) = &mut self.tracker {
            tracker.changed(self.entries.iter().copied());
        }
        self.drop_void(self.entries.clone());
        Ok(())
    }

    fn entries(&mut self) -> Option<&mut dyn Entries> {
        Some(self)
    }

    fn branch(&self, number: usize) -> Option<&dyn Accumulator> {
        Some(self.branches.get(number)?.accumulator.as_ref())
    }

    fn branch_mut(&mut self, number: usize) -> Option<&mut dyn Accumulator> {
        Some(self.branches.get_mut(number)?.accumulator.as_mut())
    }
}

impl Entries for Distinct {
    fn track(&mut self) {
        if let Some(mut tracker) = self.tracker.replace(Tracker::default()) {
            let gone = tracker.take().gone;
            gone.into_iter().for_each(|entry| self.index.release(entry));
        }
    }

    fn changed(&mut self, kept: &mut Exported, gone: &mut Exported) {
        let Some(tracker) = &mut self.tracker else {
            return;
        };
        let Changes { gone: away, here } = tracker.take();
        let group = |entry: &u32| self.index.scope(*entry);
        gone.ids.extend(away.iter().map(group));
        self.index.gather_cells(&away, &mut gone.key);
        kept.ids.extend(here.iter().map(group));
        self.index.gather_cells(&here, &mut kept.key);
        self.push_bodies(&here, &mut kept.body);
        away.into_iter().for_each(|entry| self.index.release(entry));
    }

    fn set(&mut self, entries: &Exported, present: bool) -> Result<()> {
        let lanes: Vec<Lane> = entries.key.iter().map(Lane::from_cells).collect();
        if !present {
            let mut found = Vec::new();
            let rows = entries.ids.len();
            self.index
                .find_lanes(Some(&entries.ids), &lanes, rows, &mut found);
            found.retain(|entry| *entry != ABSENT);
            found.sort_unstable();
            found.dedup();
            found.into_iter().for_each(|entry| self.drop_entry(entry));
            return Ok(());
        }
        self.resolve(&entries.ids, &lanes)?;
        for (at, branch) in self.branches.iter_mut().enumerate() {
            for (row, entry) in self.entries.iter().enumerate() {
                self.seen.set(*entry, at, entries.body[at].long(row));
                if let Some(turns) = &mut branch.turns {
                    let number = entries.body[turns.column].long(row) as u64;
                    turns.set(*entry, number);
                    self.next_turn = self.next_turn.max(number + 1);
                }
            }
        }
        Ok(())
    }
}

impl Turns {
    fn number(&self, entry: u32) -> u64 {
        self.numbers
            .get(entry as usize)
            .copied()
            .unwrap_or_default()
    }

    fn set(&mut self, entry: u32, number: u64) {
        let at = entry as usize;
        if self.numbers.len() <= at {
            self.numbers.resize(at + 1, 0);
        }
        self.numbers[at] = number;
    }

    /// Numbers the entries that have just come.
    fn note(&mut self, turned: &Turned, entries: &[u32], next: &mut u64) {
        for (row, weight) in turned.picks.iter().zip(&turned.weights) {
            if *weight > 0 {
                self.set(entries[*row as usize], *next);
                *next += 1;
            }
        }
    }

    /// Exported rows in the order of their turns.
    fn order(&self, from: &Exported) -> Vec<u32> {
        let numbers = &from.body[self.column];
        let mut rows: Vec<u32> = (0..numbers.len() as u32).collect();
        rows.sort_by_key(|row| numbers.long(*row as usize));
        rows
    }
}

/// The place of each row in an order.
fn ranks(order: &[u32]) -> Vec<u32> {
    let mut ranks = vec![0; order.len()];
    for (rank, row) in (0..).zip(order) {
        ranks[*row as usize] = rank;
    }
    ranks
}

/// How often each entry is there, by branch.
#[derive(Debug)]
enum Seen {
    /// A bit a branch: nothing is ever retracted.
    Bits(Vec<u64>),
    /// So many counts an entry.
    Counts(usize, Vec<i64>),
}

impl Seen {
    fn new(bits: bool, branches: usize) -> Self {
        if bits {
            Self::Bits(Vec::new())
        } else {
            Self::Counts(branches, Vec::new())
        }
    }

    fn grow(&mut self, entries: usize) {
        match self {
            Self::Bits(bits) if bits.len() < entries => bits.resize(entries, 0),
            Self::Counts(branches, counts) if counts.len() < entries * *branches => {
                counts.resize(entries * *branches, 0);
            }
            Self::Bits(_) | Self::Counts(..) => {}
        }
    }

    fn count(&self, entry: u32, branch: usize) -> i64 {
        match self {
            Self::Bits(bits) => (bits[entry as usize] >> branch & 1) as i64,
            Self::Counts(branches, counts) => counts[entry as usize * branches + branch],
        }
    }

    fn set(&mut self, entry: u32, branch: usize, to: i64) {
        match self {
            Self::Bits(bits) => {
                let word = &mut bits[entry as usize];
                *word = *word & !(1 << branch) | u64::from(to > 0) << branch;
            }
            Self::Counts(branches, counts) => counts[entry as usize * *branches + branch] = to,
        }
    }

    /// Adds to a count; 1 when the entry came, -1 when it went.
    #[inline]
    fn add(&mut self, entry: u32, branch: usize, weight: i64) -> i64 {
        match self {
            Self::Bits(bits) => {
                let word = &mut bits[entry as usize];
                let came = *word >> branch & 1 == 0 && weight > 0;
                *word |= u64::from(came) << branch;
                i64::from(came)
            }
            Self::Counts(branches, counts) => {
                let count = &mut counts[entry as usize * *branches + branch];
                let before = *count > 0;
                *count += weight;
                i64::from(*count > 0) - i64::from(before)
            }
        }
    }

    fn fold(
        &mut self,
        branch: usize,
        entries: &[u32],
        rows: &Rows<'_>,
        filter: Option<&BooleanArray>,
        turned: &mut Turned,
    ) {
        let mut fold = |row: usize| {
            let weight = rows.weights.map_or(1, |weights| weights[row]);
            let turn = self.add(entries[row], branch, weight);
            turned.push(rows.ids[row], row, turn);
        };
        match filter {
            Some(filter) => filter.values().set_indices().for_each(&mut fold),
            None => (0..entries.len()).for_each(&mut fold),
        }
    }

    fn is_void(&self, entry: u32) -> bool {
        match self {
            Self::Bits(bits) => bits[entry as usize] == 0,
            Self::Counts(branches, counts) => {
                let start = entry as usize * branches;
                counts[start..start + branches]
                    .iter()
                    .all(|count| *count == 0)
            }
        }
    }

    fn reset(&mut self, entry: u32) {
        match self {
            Self::Bits(bits) => bits[entry as usize] = 0,
            Self::Counts(branches, counts) => {
                let start = entry as usize * *branches;
                counts[start..start + *branches].fill(0);
            }
        }
    }
}

/// The rows of a batch at which an entry came or went in a branch.
#[derive(Debug, Default)]
struct Turned {
    ids: Vec<u32>,
    picks: Vec<u32>,
    weights: Vec<i64>,
    went: bool,
}

impl Turned {
    fn clear(&mut self) {
        self.ids.clear();
        self.picks.clear();
        self.weights.clear();
        self.went = false;
    }

    #[inline]
    fn push(&mut self, id: u32, row: usize, turn: i64) {
        if turn != 0 {
            self.ids.push(id);
            self.picks.push(row as u32);
            self.weights.push(turn);
            self.went |= turn < 0;
        }
    }

    fn rows<'a>(&'a self, arrival: Arrival<'a>) -> Rows<'a> {
        Rows {
            ids: &self.ids,
            picks: Some(&self.picks),
            weights: self.went.then_some(self.weights.as_slice()),
            arrival,
        }
    }
}

/// The entries of each group, linked: a group's entries are found without looking at those of others.
#[derive(Debug, Default)]
struct Lists {
    heads: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
}

impl Lists {
    fn grow_groups(&mut self, groups: usize) {
        if self.heads.len() < groups {
            self.heads.resize(groups, ABSENT);
        }
    }

    fn grow(&mut self, entries: usize) {
        if self.next.len() < entries {
            self.next.resize(entries, ABSENT);
            self.previous.resize(entries, ABSENT);
        }
    }

    fn insert(&mut self, group: u32, entry: u32) {
        let head = std::mem::replace(&mut self.heads[group as usize], entry);
        self.next[entry as usize] = head;
        self.previous[entry as usize] = ABSENT;
        if head != ABSENT {
            self.previous[head as usize] = entry;
        }
    }

    fn remove(&mut self, group: u32, entry: u32) {
        let (next, previous) = (self.next[entry as usize], self.previous[entry as usize]);
        if next != ABSENT {
            self.previous[next as usize] = previous;
        }
        if previous == ABSENT {
            self.heads[group as usize] = next;
        } else {
            self.next[previous as usize] = next;
        }
    }

    /// The entries of a group, oldest first.
    fn all(&self, group: u32) -> Vec<u32> {
        let head = self.heads[group as usize];
        let mut entries: Vec<u32> = std::iter::successors(Some(head), |entry| {
            (*entry != ABSENT).then(|| self.next[*entry as usize])
        })
        .take_while(|entry| *entry != ABSENT)
        .collect();
        entries.reverse();
        entries
    }
}
