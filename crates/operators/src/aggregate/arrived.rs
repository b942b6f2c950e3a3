//! FIRST_VALUE and LAST_VALUE over rows that are never retracted: one value a group, with its number of arrival.

use super::accumulator::{Accumulator, Args, Exported, Finish, Rows, Shape};
use millstream_dataflow::Result;
use millstream_state::{Cells, Form, Lane};

/// The value that came first or last, a group each.
#[derive(Debug)]
pub(crate) struct Arrived {
    last: bool,
    form: Form,
    /// Where each group's value is, and its number of arrival.
    values: Cells,
    places: Vec<Option<(u32, u64)>>,
    /// Values that no group has any more.
    dead: usize,
    next: u64,
}

/// Values are copied together when more than this, and more than half of them, are dead.
const DEAD_MIN: usize = 1 << 12;

impl Arrived {
    /// Keeps the last value, or the first.
    pub(crate) fn new(form: &Form, last: bool) -> Self {
        Self {
            last,
            form: form.clone(),
            values: Cells::new(form),
            places: Vec::new(),
            dead: 0,
            next: 0,
        }
    }

    fn offer(&mut self, id: usize, arrival: u64, push: impl FnOnce(&mut Cells)) {
        let better = match self.places[id] {
            None => true,
            Some((_, held)) if self.last => arrival > held,
            Some((_, held)) => arrival < held,
        };
        if better {
            self.dead += usize::from(self.places[id].is_some());
            self.places[id] = Some((self.values.len() as u32, arrival));
            push(&mut self.values);
        }
    }

    fn compact(&mut self) {
        if self.dead < DEAD_MIN || self.dead * 2 < self.values.len() {
            return;
        }
        let mut values = Cells::new(&self.form);
        for (place, _) in self.places.iter_mut().flatten() {
            let at = values.len() as u32;
            values.push_from(&self.values, *place as usize);
            *place = at;
        }
        self.values = values;
        self.dead = 0;
    }
}

impl Accumulator for Arrived {
    fn grow(&mut self, groups: usize) {
        if self.places.len() < groups {
            self.places.resize(groups, None);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let lane: &Lane = args.lane(0);
        let start = self.next;
        rows.each(lane.nulls(), |id, row, _| {
            let arrival = rows.arrival.number(row, start);
            self.next = arrival + 1;
            self.offer(id, arrival, |values| lane.push_to(row, values));
        });
        self.compact();
        Ok(())
    }

    fn finish(&self, _: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        for id in ids {
            match self.places[*id as usize] {
                Some((place, _)) => out.push_from(&self.values, place as usize),
                None => out.push_null(),
            }
        }
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        for id in ids {
            self.dead += usize::from(self.places[*id as usize].take().is_some());
        }
        self.compact();
    }

    fn shape(&self) -> Shape {
        Shape::scalar(vec![Form::Long, self.form.clone()])
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        out.ids.extend_from_slice(ids);
        for id in ids {
            match self.places[*id as usize] {
                Some((place, arrival)) => {
                    out.body[0].push_long(arrival as i64);
                    out.body[1].push_from(&self.values, place as usize);
                }
                None => out.body.iter_mut().for_each(Cells::push_null),
            }
        }
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (at, id) in from.ids.iter().enumerate() {
            if from.body[0].is_valid(at) {
                let arrival = from.body[0].long(at) as u64;
                self.next = self.next.max(arrival + 1);
                self.offer(*id as usize, arrival, |values| {
                    values.push_from(&from.body[1], at)
                });
            }
        }
        Ok(())
    }
}
