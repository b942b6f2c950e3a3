//! The values of a group in the order in which they came: FIRST_VALUE and LAST_VALUE under retractions, LISTAGG,
//! ARRAY_AGG, SINGLE_VALUE. A retraction takes out the oldest equal value.

use super::accumulator::{Accumulator, Args, Entries, Exported, Finish, Rows, Shape};
use super::change_log::ChangeLog;
use super::function::Function;
use millstream_dataflow::{Error, Result};
use millstream_state::{Cells, Form, Lane};
use std::collections::{BTreeMap, BTreeSet};

/// The values of each group by number of arrival.
#[derive(Debug)]
pub(crate) struct Sequence {
    /// The forms of the arguments.
    forms: Vec<Form>,
    /// Whether a value that is NULL is one.
    keeps_nulls: bool,
    groups: Vec<Group>,
    /// The number of the next arrival, if the rows do not say.
    next: u64,
    log: ChangeLog<u64>,
}

/// The arguments of a row, written by [`Cells::write`].
type Value = Box<[u8]>;

#[derive(Debug, Default)]
struct Group {
    by_arrival: BTreeMap<u64, (Value, i64)>,
    by_value: BTreeMap<Value, BTreeSet<u64>>,
    /// Retractions that came before their insertions.
    owed: BTreeMap<Value, i64>,
}

impl Sequence {
    /// No values, of arguments of these forms.
    pub(crate) fn new(forms: Vec<Form>, keeps_nulls: bool) -> Self {
        Self {
            forms,
            keeps_nulls,
            groups: Vec::new(),
            next: 0,
            log: ChangeLog::default(),
        }
    }

    fn add(&mut self, id: usize, arrival: u64, value: Value, mut weight: i64) {
        let group = &mut self.groups[id];
        if let Some(owed) = group.owed.get_mut(&value) {
            let paid = weight.min(*owed);
            *owed -= paid;
            weight -= paid;
            if *owed == 0 {
                group.owed.remove(&value);
            }
        }
        if weight > 0 {
            group
                .by_value
                .entry(value.clone())
                .or_default()
                .insert(arrival);
            group.by_arrival.entry(arrival).or_insert((value, 0)).1 += weight;
            self.log.note(id as u32, || arrival);
        }
    }

    fn retract(&mut self, id: usize, value: &Value, mut count: i64) {
        while count > 0 {
            let group = &mut self.groups[id];
            let oldest = group
                .by_value
                .get(value)
                .and_then(|arrivals| arrivals.first().copied());
            let Some(arrival) = oldest else {
                *group.owed.entry(value.clone()).or_default() += count;
                return;
            };
            let held = group.by_arrival.get_mut(&arrival).map_or(0, |(_, held)| {
                let taken = count.min(*held);
                *held -= taken;
                count -= taken;
                *held
            });
            if held == 0 {
                group.take_out(arrival);
            }
            self.log.note(id as u32, || arrival);
        }
    }

    fn write(&self, args: &[&Lane], row: usize) -> Value {
        let mut bytes = Vec::new();
        for (form, lane) in self.forms.iter().zip(args) {
            let mut cell = Cells::new(form);
            lane.push_to(row, &mut cell);
            cell.write(0, &mut bytes);
        }
        bytes.into_boxed_slice()
    }

    /// Adds the first argument of a value to `out`.
    fn push(value: &[u8], out: &mut Cells) -> Result<()> {
        out.read(&mut &value[..]).ok_or_else(torn)
    }

    /// The arguments of a value, one cell each.
    fn read(&self, mut value: &[u8]) -> Result<Vec<Cells>> {
        let mut cells: Vec<Cells> = self.forms.iter().map(Cells::new).collect();
        cells
            .iter_mut()
            .try_for_each(|cells| cells.read(&mut value))
            .ok_or_else(torn)?;
        Ok(cells)
    }

    fn push_joined(&self, group: &Group, out: &mut Cells) -> Result<()> {
        let mut joined: Vec<u8> = Vec::new();
        let mut first = true;
        for (value, count) in group.by_arrival.values() {
            let cells = self.read(value)?;
            for _ in 0..*count {
                if !first {
                    joined.extend_from_slice(
                        cells.get(1).map_or(b",", |separator| separator.bytes(0)),
                    );
                }
                joined.extend_from_slice(cells[0].bytes(0));
                first = false;
            }
        }
        out.push_bytes(&joined);
        Ok(())
    }

    fn push_all(group: &Group, out: &mut Cells) -> Result<()> {
        let mut whole = Ok(());
        out.push_list(|children| {
            for (value, count) in group.by_arrival.values() {
                for _ in 0..*count {
                    if let Err(error) = Self::push(value, &mut children[0]) {
                        whole = Err(error);
                    }
                }
            }
        });
        whole
    }

    fn push_result(&self, function: Function, group: &Group, out: &mut Cells) -> Result<()> {
        let (Some(first), Some(last)) = (
            group.by_arrival.first_key_value(),
            group.by_arrival.last_key_value(),
        ) else {
            out.push_null();
            return Ok(());
        };
        match function {
            Function::LastValue => Self::push(&last.1.0, out),
            Function::ListAgg => self.push_joined(group, out),
            Function::ArrayAgg => Self::push_all(group, out),
            Function::SingleValue if group.by_arrival.len() > 1 || first.1.1 > 1 => {
                Err(Error::bad_data("a scalar subquery gives more than one row")
                    .hint("aggregate in the subquery, or add LIMIT 1"))
            }
            _ => Self::push(&first.1.0, out),
        }
    }
}

impl Group {
    fn take_out(&mut self, arrival: u64) {
        if let Some((value, _)) = self.by_arrival.remove(&arrival)
            && let Some(arrivals) = self.by_value.get_mut(&value)
        {
            arrivals.remove(&arrival);
            if arrivals.is_empty() {
                self.by_value.remove(&value);
            }
        }
    }

    fn put(&mut self, arrival: u64, value: Value, count: i64) {
        self.by_value
            .entry(value.clone())
            .or_default()
            .insert(arrival);
        self.by_arrival.insert(arrival, (value, count));
    }
}

fn torn() -> Error {
    Error::internal("a value of an aggregate is cut short")
}

impl Accumulator for Sequence {
    fn grow(&mut self, groups: usize) {
        if self.groups.len() < groups {
            self.groups.resize_with(groups, Group::default);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let lanes: Vec<&Lane> = (0..self.forms.len()).map(|at| args.lane(at)).collect();
        let nulls = if self.keeps_nulls {
            None
        } else {
            lanes[0].nulls()
        };
        let start = self.next;
        rows.each(nulls, |id, row, weight| {
            let value = self.write(&lanes, row);
            let arrival = rows.arrival.number(row, start);
            self.next = arrival + 1;
            if weight > 0 {
                self.add(id, arrival, value, weight);
            } else {
                self.retract(id, &value, -weight);
            }
        });
        Ok(())
    }

    fn finish(&self, how: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        ids.iter()
            .try_for_each(|id| self.push_result(how.function, &self.groups[*id as usize], out))
    }

    fn clear(&mut self, ids: &[u32]) {
        for id in ids {
            let group = std::mem::take(&mut self.groups[*id as usize]);
            for arrival in group.by_arrival.into_keys() {
                self.log.note(*id, || arrival);
            }
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            key: vec![Form::Long],
            body: vec![Form::Bytes, Form::Long],
        }
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        for id in ids {
            for (arrival, (value, count)) in &self.groups[*id as usize].by_arrival {
                out.ids.push(*id);
                out.key[0].push_long(*arrival as i64);
                out.body[0].push_bytes(value);
                out.body[1].push_long(*count);
            }
        }
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (at, id) in from.ids.iter().enumerate() {
            let arrival = from.key[0].long(at) as u64;
            self.next = self.next.max(arrival + 1);
            let value = from.body[0].bytes(at).into();
            self.add(*id as usize, arrival, value, from.body[1].long(at));
        }
        Ok(())
    }

    fn entries(&mut self) -> Option<&mut dyn Entries> {
        Some(self)
    }
}

impl Entries for Sequence {
    fn track(&mut self) {
        self.log.start();
    }

    fn changed(&mut self, kept: &mut Exported, gone: &mut Exported) {
        for (id, arrival) in self.log.take() {
            let held = self.groups[id as usize].by_arrival.get(&arrival);
            let out = if held.is_some() {
                &mut *kept
            } else {
                &mut *gone
            };
            out.ids.push(id);
            out.key[0].push_long(arrival as i64);
            if let Some((value, count)) = held {
                out.body[0].push_bytes(value);
                out.body[1].push_long(*count);
            }
        }
    }

    fn set(&mut self, entries: &Exported, present: bool) -> Result<()> {
        for (at, id) in entries.ids.iter().enumerate() {
            let arrival = entries.key[0].long(at) as u64;
            self.next = self.next.max(arrival + 1);
            let group = &mut self.groups[*id as usize];
            group.take_out(arrival);
            if present {
                group.put(
                    arrival,
                    entries.body[0].bytes(at).into(),
                    entries.body[1].long(at),
                );
            }
        }
        Ok(())
    }
}
