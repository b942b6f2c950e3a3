//! TUMBLE, HOP and CUMULATE: one aggregation a slice of time, put together when a window fires.
//!
//! Invariant: no window that ends at or before `closed` is ever fired again, and every slice in state has a window
//! that is still to fire.

use super::aggregate::Shape;
use super::blocks::Blocks;
use super::emit::Fired;
use super::progress::Progress;
use super::span::Window;
use crate::aggregate::{Arrival, Groups, SavedRows, fields, runs};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Error, Operator, Output, Result, StepTime};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The running window aggregate.
pub(super) struct Sliced {
    slices: Slices,
    progress: Progress,
}

/// The slices, by their end in local milliseconds.
struct Slices {
    shape: Arc<Shape>,
    open: BTreeMap<i64, Groups>,
    /// Slices of HOP windows, merged ahead.
    blocks: Blocks,
    /// What takes away slices that were saved and are gone, until the next save.
    gone: Vec<(i64, SavedRows)>,
    saved: SchemaRef,
}

impl Sliced {
    pub(super) fn new(shape: &Arc<Shape>) -> Result<Self> {
        Ok(Self {
            slices: Slices {
                shape: Arc::clone(shape),
                open: BTreeMap::new(),
                blocks: Blocks::default(),
                gone: Vec::new(),
                saved: saved_schema(shape),
            },
            progress: Progress::default(),
        })
    }
}

impl Operator for Sliced {
    fn step(&mut self, _: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let shape = Arc::clone(&self.slices.shape);
        let delta = shape.project(&delta)?;
        let times = shape.time.read(delta.column(0))?;
        let arrival = self.progress.arrive(delta.rows());
        let (first, rest) = assign(shape.window, &times, self.progress.closed, out);
        if let Some(end) = first {
            return self.slices.fold(end, &delta, Arrival::from(arrival));
        }
        for (end, rows) in rest {
            // A window may put slices together: their rows are in one order.
            let arrival = Arrival {
                first: arrival,
                places: Some(&rows),
            };
            let rows = delta.take(&UInt32Array::from(rows.clone()))?;
            self.slices.fold(end, &rows, arrival)?;
        }
        Ok(())
    }

    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        let closed = self.slices.shape.time.closed(time.watermark);
        if closed <= self.progress.closed {
            return Ok(());
        }
        let mut fired = Fired::default();
        let mut after = self.progress.closed;
        while let Some((begin, end)) = self.slices.next_window(after).filter(|w| w.1 <= closed) {
            self.slices.fire(begin, end, &mut fired)?;
            after = end;
        }
        self.progress.close(closed);
        if let Some(delta) = fired.finish(&self.slices.shape)? {
            out.push(delta);
        }
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        vec![&mut self.slices, &mut self.progress]
    }
}

/// The slice of each row: one slice if all rows go there (the usual case), else the rows of each slice. Rows of which
/// all windows are closed are late.
fn assign(
    window: Window,
    times: &[i64],
    closed: i64,
    out: &mut Output,
) -> (Option<i64>, BTreeMap<i64, Vec<u32>>) {
    let (least, most) = times
        .iter()
        .fold((i64::MAX, i64::MIN), |(least, most), ms| {
            (least.min(*ms), most.max(*ms))
        });
    if let (Home::Slice(first), Home::Slice(last)) =
        (home(window, least, closed), home(window, most, closed))
        && first == last
    {
        return (Some(first), BTreeMap::new());
    }
    let mut slices: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    let mut runs = Runs::default();
    for (row, ms) in times.iter().enumerate() {
        if !runs.holds(*ms) {
            let end = window.slice_end(*ms);
            runs.turn(
                end.saturating_sub(window.slice_ms()),
                end,
                home(window, *ms, closed),
                &mut slices,
            );
        }
        runs.rows.push(row as u32);
    }
    out.late(runs.finish(&mut slices));
    (None, slices)
}

/// Where a row goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Slice(i64),
    Late,
    /// Between the windows of a HOP whose slide is longer than its size.
    Nowhere,
}

fn home(window: Window, ms: i64, closed: i64) -> Home {
    let slice = window.slice_end(ms);
    match (window, window.window_after(slice, closed)) {
        // What a CUMULATE window still has to fire holds its earlier rows: those join them there.
        (Window::Cumulate { .. }, Some((_, end))) => Home::Slice(end),
        (_, Some(_)) => Home::Slice(slice),
        (_, None) if window.window_after(slice, i64::MIN).is_some() => Home::Late,
        (_, None) => Home::Nowhere,
    }
}

/// Rows of one slice after another: times come nearly in order, so that the next row's slice is mostly the last one's.
struct Runs {
    begin: i64,
    end: i64,
    home: Home,
    rows: Vec<u32>,
    late: u64,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            begin: 0,
            end: 0,
            home: Home::Nowhere,
            rows: Vec::new(),
            late: 0,
        }
    }
}

impl Runs {
    fn holds(&self, ms: i64) -> bool {
        self.begin <= ms && ms < self.end
    }

    fn turn(&mut self, begin: i64, end: i64, home: Home, slices: &mut BTreeMap<i64, Vec<u32>>) {
        self.put_away(slices);
        (self.begin, self.end, self.home) = (begin, end, home);
        if let Home::Slice(slice) = home {
            self.rows = slices.remove(&slice).unwrap_or_default();
        }
    }

    fn put_away(&mut self, slices: &mut BTreeMap<i64, Vec<u32>>) {
        let rows = std::mem::take(&mut self.rows);
        match self.home {
            Home::Slice(slice) => {
                slices.insert(slice, rows);
            }
            Home::Late => self.late += rows.len() as u64,
            Home::Nowhere => {}
        }
    }

    /// How many rows were late.
    fn finish(mut self, slices: &mut BTreeMap<i64, Vec<u32>>) -> u64 {
        self.put_away(slices);
        self.late
    }
}

impl Slices {
    fn fold(&mut self, end: i64, delta: &Delta, arrival: Arrival<'_>) -> Result<()> {
        self.blocks.forget(self.shape.window.slice_number(end));
        let groups = self.slice(end)?;
        groups.resolve(delta)?;
        groups.update(delta, arrival)?;
        groups.touch_resolved();
        Ok(())
    }

    fn slice(&mut self, end: i64) -> Result<&mut Groups> {
        use std::collections::btree_map::Entry;
        Ok(match self.open.entry(end) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Groups::new(&self.shape.plan)?),
        })
    }

    /// The first window that ends after `after` and has a slice.
    fn next_window(&self, after: i64) -> Option<(i64, i64)> {
        let (end, _) = self.open.first_key_value()?;
        self.shape.window.window_after(*end, after)
    }

    fn fire(&mut self, begin: i64, end: i64, fired: &mut Fired) -> Result<()> {
        let within: Vec<i64> = self
            .open
            .range(begin + 1..=end)
            .map(|(end, _)| *end)
            .collect();
        match within.as_slice() {
            [] => {}
            [one] => {
                let groups = self.open.get(one).ok_or_else(lost)?;
                emit(&self.shape, groups, (begin, end), fired)?;
            }
            many => {
                let window = self.shape.window;
                let mut merged = Groups::new(&self.shape.plan)?;
                let range = (window.slice_number(many[0]), window.slice_number(end) + 1);
                self.blocks
                    .merge(&self.shape, &self.open, range, &mut merged)?;
                emit(&self.shape, &merged, (begin, end), fired)?;
            }
        }
        for slice in within {
            match (
                self.shape.window,
                self.shape.window.window_after(slice, end),
            ) {
                (_, None) => self.drop_slice(slice)?,
                (Window::Cumulate { .. }, Some((_, next))) => self.carry(slice, next)?,
                (_, Some(_)) => {}
            }
        }
        Ok(())
    }

    /// Makes a slice that has fired part of the next.
    fn carry(&mut self, slice: i64, next: i64) -> Result<()> {
        let Some(mut groups) = self.open.remove(&slice) else {
            return Ok(());
        };
        self.bury(slice, &mut groups)?;
        if let Some(later) = self.open.get_mut(&next) {
            // The earlier rows lie in the groups that are carried: they came first.
            return later.absorb(&groups);
        }
        groups.forget_saves();
        self.open.insert(next, groups);
        Ok(())
    }

    fn drop_slice(&mut self, slice: i64) -> Result<()> {
        self.blocks
            .drop_before(self.shape.window.slice_number(slice) + 1);
        if let Some(mut groups) = self.open.remove(&slice) {
            self.bury(slice, &mut groups)?;
        }
        Ok(())
    }

    /// Notes what was saved of a slice that goes.
    fn bury(&mut self, slice: i64, groups: &mut Groups) -> Result<()> {
        let rows = groups.bury()?;
        self.gone.extend(rows.into_iter().map(|rows| (slice, rows)));
        Ok(())
    }

    fn batch(&self, slice: i64, saved: SavedRows) -> Result<RecordBatch> {
        let mut columns = saved.columns;
        let ends: ArrayRef = Arc::new(Int64Array::from_value(slice, saved.rows));
        columns.insert(self.shape.key_fields.len(), ends);
        Ok(RecordBatch::try_new(Arc::clone(&self.saved), columns)?)
    }
}

fn lost() -> Error {
    Error::internal("a slice of a window is not there")
}

fn emit(shape: &Shape, groups: &Groups, (begin, end): (i64, i64), fired: &mut Fired) -> Result<()> {
    let mut ids = groups.all();
    ids.retain(|id| groups.is_present(*id));
    let bounds = (vec![begin; ids.len()], vec![end; ids.len()]);
    fired.add(
        shape,
        &groups.keys(&ids)?,
        groups.accumulators(),
        &ids,
        bounds,
    )
}

fn saved_schema(shape: &Shape) -> SchemaRef {
    let mut columns = shape.key_fields.clone();
    columns.push(Field::new("slice_end", DataType::Int64, false));
    columns.extend(fields(&shape.plan));
    Arc::new(Schema::new(columns))
}

impl Checkpointed for Slices {
    fn name(&self) -> &'static str {
        "slices"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.saved)
    }

    fn key_columns(&self) -> usize {
        self.shape.key_fields.len() + 3
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        for (slice, rows) in std::mem::take(&mut self.gone) {
            out.push(Delta::retractions(self.batch(slice, rows)?));
        }
        let mut changes = Vec::new();
        for (slice, groups) in &mut self.open {
            let (gone, kept) = groups.changes()?;
            let mark = |present: bool| move |rows| (*slice, rows, present);
            changes.extend(gone.into_iter().map(mark(false)));
            changes.extend(kept.into_iter().map(mark(true)));
        }
        for (slice, rows, present) in changes {
            let batch = self.batch(slice, rows)?;
            out.push(if present {
                Delta::inserts(batch)
            } else {
                Delta::retractions(batch)
            });
        }
        Ok(())
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        let keys = self.shape.key_fields.len();
        for (rows, present) in runs(change) {
            let ends = rows.columns[keys].as_primitive::<Int64Type>();
            let mut slices: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
            for (row, end) in ends.values().iter().enumerate() {
                slices.entry(*end).or_default().push(row as u32);
            }
            for (slice, picks) in slices {
                let picks = UInt32Array::from(picks);
                let mut columns = if picks.len() == rows.rows {
                    rows.columns.clone()
                } else {
                    compute::take_arrays(&rows.columns, &picks, None)?
                };
                columns.remove(keys);
                let rows = picks.len();
                let groups = self.slice(slice)?;
                groups.restore(&SavedRows { columns, rows }, present)?;
                if groups.is_empty() {
                    self.open.remove(&slice);
                }
            }
        }
        Ok(())
    }

    fn track(&mut self) -> Result<()> {
        self.gone.clear();
        self.open.values_mut().for_each(Groups::track);
        Ok(())
    }
}
