//! SESSION: per key, runs of rows with no gap between them. A row makes a session, makes one longer, or joins two.
//!
//! Invariant: the sessions of a key are disjoint, do not touch, lie in the order of their begin, and none is closed.

use super::aggregate::Shape;
use super::emit::Fired;
use super::progress::Progress;
use super::span::Window;
use crate::aggregate::{Accumulators, Arrival, SavedRows};
use crate::tracker::Tracker;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::SchemaRef;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Error, Operator, Output, Result, StepTime};
use millstream_state::{ABSENT, GroupIndex};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// The running session windows.
pub(super) struct Sessions {
    state: State,
    progress: Progress,
}

/// All sessions that are open.
pub(super) struct State {
    pub(super) shape: Arc<Shape>,
    gap_ms: i64,
    pub(super) index: GroupIndex,
    /// The sessions of each key, by begin.
    pub(super) of_key: Vec<Vec<u32>>,
    pub(super) each: Vec<Session>,
    pub(super) accumulators: Accumulators,
    free: Vec<u32>,
    /// Ends at which sessions were last known to end. A session that has grown since is put back when its turn comes.
    /// End, number (so that ties have an order that no restore changes) and id.
    due: BinaryHeap<Reverse<(i64, i64, u32)>>,
    pub(super) saved: SchemaRef,
    pub(super) tracker: Option<Tracker>,
    /// What takes away sessions that were saved and are gone, until the next save.
    pub(super) gone: Vec<SavedRows>,
    /// While changes are restored: the session of a key and number.
    pub(super) restored: HashMap<(u32, i64), u32, FixedState>,
}

/// A session; free when it has no key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) key: u32,
    /// The number of its first row in the order of arrival: it tells the sessions of a key apart.
    pub(super) number: i64,
    pub(super) begin: i64,
    pub(super) end: i64,
    /// The end under which it is in `due`.
    queued: i64,
}

impl Sessions {
    pub(super) fn new(shape: &Arc<Shape>) -> Result<Self> {
        let Window::Session { gap_ms } = shape.window else {
            return Err(Error::internal("sessions of another kind of window"));
        };
        Ok(Self {
            state: State {
                gap_ms,
                index: GroupIndex::new(&shape.plan.key_types)?,
                of_key: Vec::new(),
                each: Vec::new(),
                accumulators: Accumulators::new(&shape.plan)?,
                free: Vec::new(),
                due: BinaryHeap::new(),
                saved: super::saved_sessions::schema(shape),
                tracker: None,
                gone: Vec::new(),
                restored: HashMap::default(),
                shape: Arc::clone(shape),
            },
            progress: Progress::default(),
        })
    }
}

impl Operator for Sessions {
    fn step(&mut self, _: usize, delta: Delta, out: &mut Output) -> Result<()> {
        if !delta.is_append_only() {
            return Err(Error::internal("a SESSION window got a retraction"));
        }
        let shape = Arc::clone(&self.state.shape);
        let delta = shape.project(&delta)?;
        let times = shape.time.read(delta.column(0))?;
        let arrival = self.progress.arrive(delta.rows());
        let ids = self
            .state
            .place(&delta, &times, arrival, self.progress.closed)?;
        let late = ids.iter().filter(|id| **id == ABSENT).count();
        if late == 0 {
            return self
                .state
                .accumulators
                .update(&ids, &delta, Arrival::from(arrival));
        }
        out.late(late as u64);
        let kept = (0..ids.len() as u32).filter(|row| ids[*row as usize] != ABSENT);
        let delta = delta.take(&UInt32Array::from_iter_values(kept))?;
        let ids: Vec<u32> = ids.into_iter().filter(|id| *id != ABSENT).collect();
        self.state
            .accumulators
            .update(&ids, &delta, Arrival::from(arrival))
    }

    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        self.state.restored = HashMap::default();
        let closed = self.state.shape.time.closed(time.watermark);
        if closed <= self.progress.closed {
            return Ok(());
        }
        self.progress.close(closed);
        let fired = self.state.fire(closed)?;
        if let Some(delta) = fired.finish(&self.state.shape)? {
            out.push(delta);
        }
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        vec![&mut self.state, &mut self.progress]
    }
}

impl State {
    /// The session of each row, [`ABSENT`] for rows that are late.
    fn place(
        &mut self,
        delta: &Delta,
        times: &[i64],
        arrival: u64,
        closed: i64,
    ) -> Result<Vec<u32>> {
        let keys: Vec<ArrayRef> = self
            .shape
            .plan
            .keys
            .iter()
            .map(|key| Arc::clone(delta.column(*key)))
            .collect();
        let (mut key_ids, mut fresh) = (Vec::new(), Vec::new());
        self.index
            .resolve(&keys, delta.rows(), &mut key_ids, &mut fresh)?;
        self.of_key
            .resize(self.index.id_limit().max(self.of_key.len()), Vec::new());
        let mut ids = Vec::with_capacity(times.len());
        // Sessions that were joined to others: rows before the joining may name them.
        let mut joined: BTreeMap<u32, u32> = BTreeMap::new();
        for (row, (key, ms)) in key_ids.iter().zip(times).enumerate() {
            let number = arrival as i64 + row as i64;
            ids.push(self.place_row(*key, *ms, number, closed, &mut joined)?);
        }
        for id in &mut ids {
            while let Some(into) = joined.get(id) {
                *id = *into;
            }
        }
        joined.into_keys().for_each(|id| self.give_free(id));
        fresh.retain(|key| self.of_key[*key as usize].is_empty());
        fresh.into_iter().for_each(|key| self.drop_key(key));
        Ok(ids)
    }

    fn place_row(
        &mut self,
        key: u32,
        ms: i64,
        number: i64,
        closed: i64,
        joined: &mut BTreeMap<u32, u32>,
    ) -> Result<u32> {
        let end = ms.saturating_add(self.gap_ms);
        let sessions = &self.of_key[key as usize];
        let first = sessions.partition_point(|id| self.each[*id as usize].end < ms);
        let touched = sessions[first..]
            .iter()
            .take_while(|id| self.each[**id as usize].begin <= end)
            .count();
        if touched == 0 && end <= closed {
            return Ok(ABSENT);
        }
        if touched == 0 {
            let id = self.new_session(Session {
                key,
                number,
                begin: ms,
                end,
                queued: end,
            });
            self.of_key[key as usize].insert(first, id);
            return Ok(id);
        }
        let others: Vec<u32> = self.of_key[key as usize]
            .drain(first + 1..first + touched)
            .collect();
        let into = self.of_key[key as usize][first];
        for other in others {
            let gone = self.each[other as usize];
            self.bury(&[other])?;
            self.accumulators.unite(into, other)?;
            self.each[other as usize].key = ABSENT;
            let session = &mut self.each[into as usize];
            session.end = session.end.max(gone.end);
            joined.insert(other, into);
        }
        let session = &mut self.each[into as usize];
        session.begin = session.begin.min(ms);
        session.end = session.end.max(end);
        if let Some(tracker) = &mut self.tracker {
            tracker.changed([into]);
        }
        Ok(into)
    }

    fn new_session(&mut self, session: Session) -> u32 {
        let id = self.add_session(session);
        self.due.push(Reverse((session.queued, session.number, id)));
        id
    }

    /// Adds a session that is not to fire yet.
    pub(super) fn add_session(&mut self, session: Session) -> u32 {
        let id = self.free.pop().unwrap_or(self.each.len() as u32);
        if id as usize == self.each.len() {
            self.each.push(session);
        } else {
            self.each[id as usize] = session;
        }
        self.accumulators.grow(self.each.len());
        if let Some(tracker) = &mut self.tracker {
            tracker.came(&[id]);
        }
        id
    }

    /// Fires and drops the sessions that end at or before `closed`, in the order of their ends.
    fn fire(&mut self, closed: i64) -> Result<Fired> {
        let mut ids = Vec::new();
        while let Some(Reverse((end, number, id))) = self.due.peek().copied()
            && end <= closed
        {
            self.due.pop();
            let session = &mut self.each[id as usize];
            if session.key == ABSENT || session.queued != end || session.number != number {
                continue;
            }
            if session.end > end {
                session.queued = session.end;
                self.due.push(Reverse((session.end, number, id)));
                continue;
            }
            // Out of the queue for good, should the session be there twice.
            session.queued = i64::MIN;
            ids.push(id);
        }
        let mut fired = Fired::default();
        let of = |id: &u32| &self.each[*id as usize];
        let keys: Vec<u32> = ids.iter().map(|id| of(id).key).collect();
        let bounds = (
            ids.iter().map(|id| of(id).begin).collect(),
            ids.iter().map(|id| of(id).end).collect(),
        );
        let columns = self.index.gather(&keys)?;
        fired.add(&self.shape, &columns, &self.accumulators, &ids, bounds)?;
        self.bury(&ids)?;
        self.accumulators.clear(&ids);
        for id in ids {
            self.remove(id);
        }
        Ok(fired)
    }

    /// Takes a session out of its key, and the key if it was the last.
    pub(super) fn remove(&mut self, id: u32) {
        let key = std::mem::replace(&mut self.each[id as usize].key, ABSENT);
        let sessions = &mut self.of_key[key as usize];
        sessions.retain(|held| *held != id);
        if sessions.is_empty() {
            self.drop_key(key);
        }
        self.give_free(id);
    }

    fn drop_key(&mut self, key: u32) {
        self.index.remove(key);
        self.index.release(key);
    }

    fn give_free(&mut self, id: u32) {
        let saved = self.tracker.as_mut().is_some_and(|t| t.went(id));
        if !saved {
            self.free.push(id);
        }
    }

    /// Gives ids free that waited for a save.
    pub(super) fn end_quarantine(&mut self, ids: Vec<u32>) {
        self.free.extend(ids);
    }

    /// Puts a restored session where it belongs.
    pub(super) fn settle(&mut self, id: u32, begin: i64, end: i64) {
        let session = &mut self.each[id as usize];
        session.begin = begin;
        session.end = end;
        session.queued = end;
        let (key, number) = (session.key, session.number);
        self.due.push(Reverse((end, number, id)));
        let mut sessions = std::mem::take(&mut self.of_key[key as usize]);
        sessions.sort_by_key(|id| self.each[*id as usize].begin);
        self.of_key[key as usize] = sessions;
    }
}

impl Session {
    /// A session that is being restored.
    pub(super) fn unknown(key: u32, number: i64) -> Self {
        Self {
            key,
            number,
            begin: i64::MIN,
            end: i64::MAX,
            queued: i64::MAX,
        }
    }
}
