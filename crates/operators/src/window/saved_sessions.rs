//! Sessions as a relation, for checkpoints: keys, the session's number, then as groups are saved, and at last begin and
//! end.

use super::aggregate::Shape;
use super::session::{Session, State};
use crate::aggregate::{Exported, GROUP, SavedRows, fields, parts, pieces, runs};
use crate::tracker::{Changes, Tracker};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Result};
use millstream_state::ABSENT;
use std::sync::Arc;

pub(super) fn schema(shape: &Shape) -> SchemaRef {
    let mut columns = shape.key_fields.clone();
    columns.push(Field::new("session", DataType::Int64, false));
    columns.extend(fields(&shape.plan));
    columns.push(Field::new("begin_ms", DataType::Int64, true));
    columns.push(Field::new("end_ms", DataType::Int64, true));
    Arc::new(Schema::new(columns))
}

impl State {
    /// Notes what was saved of sessions that are about to go.
    pub(super) fn bury(&mut self, ids: &[u32]) -> Result<()> {
        let Some(tracker) = &self.tracker else {
            return Ok(());
        };
        let saved = ids.iter().copied().filter(|id| tracker.is_saved(*id));
        let ids: Vec<u32> = saved.collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut gone = Vec::new();
        self.save_entries(&self.accumulators.all_entries(&ids), &mut gone)?;
        for piece in pieces(ids.len()) {
            let columns = self.accumulators.void_columns(piece.len());
            gone.push(self.rows(&ids[piece], columns, false)?);
        }
        self.gone.extend(gone);
        Ok(())
    }

    fn save_entries(&self, entries: &[(usize, Exported)], out: &mut Vec<SavedRows>) -> Result<()> {
        for (part, entries) in entries {
            for piece in pieces(entries.ids.len()) {
                let columns = self
                    .accumulators
                    .entry_columns(*part, entries, piece.clone());
                out.push(self.rows(&entries.ids[piece], columns, false)?);
            }
        }
        Ok(())
    }

    /// Sessions, then entries.
    fn save(
        &self,
        ids: &[u32],
        entries: &[(usize, Exported)],
        out: &mut Vec<SavedRows>,
    ) -> Result<()> {
        for piece in pieces(ids.len()) {
            let ids = &ids[piece];
            out.push(self.rows(ids, self.accumulators.state_columns(ids)?, true)?);
        }
        self.save_entries(entries, out)
    }

    /// What is gone and what is there since the last call, as rows.
    fn changed(&mut self) -> Result<(Vec<SavedRows>, Vec<SavedRows>)> {
        let mut here = Vec::new();
        let is_live = |id: u32| self.each[id as usize].key != ABSENT;
        let Some(tracker) = &mut self.tracker else {
            let ids: Vec<u32> = (0..self.each.len() as u32)
                .filter(|id| is_live(*id))
                .collect();
            self.save(&ids, &self.accumulators.all_entries(&ids), &mut here)?;
            self.track()?;
            return Ok((Vec::new(), here));
        };
        let mut gone = std::mem::take(&mut self.gone);
        if tracker.is_clean() {
            return Ok((gone, here));
        }
        let (mut away, mut kept) = (Vec::new(), Vec::new());
        for part in 0..self.shape.plan.saved.parts() {
            if let Some((from, to)) = self.accumulators.entry_changes(part) {
                // The entries of sessions that are gone went with them.
                away.push((part, from.retain(is_live)));
                kept.push((part, to));
            }
        }
        let changes: Changes = tracker.take();
        self.save_entries(&away, &mut gone)?;
        self.save(&changes.here, &kept, &mut here)?;
        self.end_quarantine(changes.gone);
        Ok((gone, here))
    }

    /// Rows of sessions: `rest` are the columns after the keys and number.
    fn rows(&self, ids: &[u32], rest: Vec<ArrayRef>, with_bounds: bool) -> Result<SavedRows> {
        let of = |id: &u32| &self.each[*id as usize];
        let keys: Vec<u32> = ids.iter().map(|id| of(id).key).collect();
        let mut columns = self.index.gather(&keys)?;
        let longs = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
        columns.push(longs(ids.iter().map(|id| of(id).number).collect()));
        columns.extend(rest);
        if with_bounds {
            columns.push(longs(ids.iter().map(|id| of(id).begin).collect()));
            columns.push(longs(ids.iter().map(|id| of(id).end).collect()));
        } else {
            let absent = new_null_array(&DataType::Int64, ids.len());
            columns.extend([Arc::clone(&absent), absent]);
        }
        let rows = ids.len();
        Ok(SavedRows { columns, rows })
    }

    /// The session of each row, made where it is new.
    fn find_sessions(&mut self, saved: &SavedRows, present: bool) -> Result<Vec<u32>> {
        let keys = self.shape.key_fields.len();
        let (mut key_ids, mut fresh) = (Vec::new(), Vec::new());
        let columns = &saved.columns[..keys];
        if present {
            self.index
                .resolve(columns, saved.rows, &mut key_ids, &mut fresh)?;
        } else {
            self.index.find(columns, saved.rows, &mut key_ids)?;
        }
        self.of_key
            .resize(self.index.id_limit().max(self.of_key.len()), Vec::new());
        let numbers = saved.columns[keys].as_primitive::<Int64Type>();
        let mut ids = Vec::with_capacity(saved.rows);
        for (key, number) in key_ids.into_iter().zip(numbers.values()) {
            let held = self.restored.get(&(key, *number)).copied();
            ids.push(match held {
                Some(id) => id,
                None if present => {
                    let id = self.add_session(Session::unknown(key, *number));
                    self.of_key[key as usize].push(id);
                    self.restored.insert((key, *number), id);
                    id
                }
                None => ABSENT,
            });
        }
        Ok(ids)
    }

    fn restore_part(&mut self, part: i32, saved: &SavedRows, present: bool) -> Result<()> {
        let keys = self.shape.key_fields.len();
        let mut ids = self.find_sessions(saved, present)?;
        if part != GROUP || present {
            self.accumulators
                .restore(part, &ids, &saved.columns[keys + 1..], present)?;
            if part == GROUP {
                let last = saved.columns.len() - 1;
                let begins = saved.columns[last - 1].as_primitive::<Int64Type>();
                let ends = saved.columns[last].as_primitive::<Int64Type>();
                for (row, id) in ids.iter().enumerate() {
                    self.settle(*id, begins.value(row), ends.value(row));
                }
            }
            return Ok(());
        }
        ids.retain(|id| *id != ABSENT);
        ids.sort_unstable();
        ids.dedup();
        self.accumulators.clear(&ids);
        for id in ids {
            let Session { key, number, .. } = self.each[id as usize];
            self.restored.remove(&(key, number));
            self.remove(id);
        }
        Ok(())
    }
}

impl Checkpointed for State {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.saved)
    }

    fn key_columns(&self) -> usize {
        self.shape.key_fields.len() + 3
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        let (gone, here) = self.changed()?;
        let batch = |rows: SavedRows| RecordBatch::try_new(Arc::clone(&self.saved), rows.columns);
        for rows in gone {
            out.push(Delta::retractions(batch(rows)?));
        }
        for rows in here {
            out.push(Delta::inserts(batch(rows)?));
        }
        Ok(())
    }

    fn track(&mut self) -> Result<()> {
        self.gone.clear();
        if let Some(mut tracker) = self.tracker.replace(Tracker::default()) {
            self.end_quarantine(tracker.take().gone);
        }
        self.accumulators.track();
        Ok(())
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        let keys = self.shape.key_fields.len();
        for (rows, present) in runs(change) {
            for (part, rows) in parts(&rows, keys + 1)? {
                self.restore_part(part, &rows, present)?;
            }
        }
        Ok(())
    }
}
