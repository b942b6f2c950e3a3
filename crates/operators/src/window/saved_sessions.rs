//! Sessions as a relation, for checkpoints: keys, the session's number, then as groups are saved, and at last begin and
//! end.

use super::aggregate::Shape;
use super::session::{Session, State, Tracker};
use crate::aggregate::{GROUP, SavedRows, fields, parts, runs};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Result};
use millstream_state::ABSENT;
use std::sync::Arc;

/// The rows that a session had in the table.
pub(super) type Obituary = SavedRows;

pub(super) fn schema(shape: &Shape) -> Result<SchemaRef> {
    let mut columns = shape.key_fields.clone();
    columns.push(Field::new("session", DataType::Int64, false));
    columns.extend(fields(&shape.plan)?);
    columns.push(Field::new("begin_ms", DataType::Int64, true));
    columns.push(Field::new("end_ms", DataType::Int64, true));
    Ok(Arc::new(Schema::new(columns)))
}

impl State {
    /// Notes the rows of a session that is about to go.
    pub(super) fn bury(&mut self, id: u32) -> Result<()> {
        if self.tracker.is_none() {
            return Ok(());
        }
        let mut rows = vec![self.rows(&[id], self.accumulators.void_columns(1)?, false)?];
        for (ids, columns) in self.accumulators.all_entry_columns(&[id])? {
            rows.push(self.rows(&ids, columns, false)?);
        }
        if let Some(tracker) = &mut self.tracker {
            tracker.gone.extend(rows);
        }
        Ok(())
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
                    let id = self.new_session(Session::unknown(key, *number));
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
        let first = self.tracker.is_none();
        let Tracker {
            dirty,
            gone,
            quarantine,
            ..
        } = self.tracker.take().unwrap_or_default();
        self.tracker = Some(Tracker::default());
        let batch = |rows: SavedRows| RecordBatch::try_new(Arc::clone(&self.saved), rows.columns);
        for rows in gone {
            out.push(Delta::retractions(batch(rows)?));
        }
        let is_live = |id: &u32| self.each[*id as usize].key != ABSENT;
        let live: Vec<u32> = if first {
            (0..self.each.len() as u32).filter(is_live).collect()
        } else {
            dirty.into_iter().filter(is_live).collect()
        };
        if !live.is_empty() {
            let rows = self.rows(&live, self.accumulators.state_columns(&live)?, true)?;
            out.push(Delta::inserts(batch(rows)?));
        }
        for at in 0..self.shape.plan.accumulators.len() {
            let Some((away, here)) = self.accumulators.entry_changes(at, first, &live) else {
                continue;
            };
            // The entries of sessions that are gone went with them.
            for (exported, present) in [(away, false), (here, true)] {
                let exported = exported.retain(|id| self.each[id as usize].key != ABSENT);
                if !exported.ids.is_empty() {
                    let columns = self.accumulators.entry_columns(at, &exported)?;
                    let rows = self.rows(&exported.ids, columns, false)?;
                    let rows = RecordBatch::try_new(Arc::clone(&self.saved), rows.columns)?;
                    out.push(if present {
                        Delta::inserts(rows)
                    } else {
                        Delta::retractions(rows)
                    });
                }
            }
        }
        self.end_quarantine(quarantine);
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
