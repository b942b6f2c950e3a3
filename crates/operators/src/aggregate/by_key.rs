//! GROUP BY: one row a group, kept up to date.
//!
//! ```text
//! step:     rows --> groups; results of groups seen first in this step are put aside --> rows are folded
//! advance:  -1 the result put aside, +1 the result now, where they differ; empty and expired groups go
//! ```
//!
//! Invariant: between steps, a group is shown downstream exactly when it has rows.

use super::accumulator::Arrival;
use super::groups::Groups;
use super::plan::{Call, Plan, show};
use super::saved::{SavedRows, fields};
use crate::window::Zone;
use arrow::array::{Array, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use millstream_dataflow::operator::{Bound, Checkpointed};
use millstream_dataflow::{
    Delta, Error, Operator, Output, Partitioning, Result, Spec, StepTime, Watermark,
};
use millstream_state::{Cells, Codec, Lane};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// GROUP BY over a stream of changes: for each group its keys and the results of the calls.
#[derive(Clone, Debug)]
pub struct Aggregate {
    input: SchemaRef,
    calls: Vec<Call>,
    plan: Arc<Plan>,
    schema: SchemaRef,
    expiry: Option<Expiry>,
}

/// The key column that says when a group is over.
#[derive(Clone, Copy, Debug)]
struct Expiry {
    /// Its place among the keys.
    key: usize,
    unit: TimeUnit,
    /// Whose local time it is.
    zone: Zone,
}

impl Aggregate {
    /// An aggregation of `input` by `keys` (columns of the input; none: one group, which is there while it has rows).
    /// The output is the keys, then the results of `calls`.
    ///
    /// `append_only_input` says that no row is ever retracted: less state is kept. `expiry` is a column of the input,
    /// one of the keys, of type TIMESTAMP: a group whose value there the watermark has reached is over. Its state goes,
    /// in silence, and rows that still come for it are late.
    ///
    /// # Errors
    /// `User` when a call does not fit its arguments, or `expiry` is no such key.
    pub fn new(
        input: SchemaRef,
        keys: Vec<usize>,
        calls: Vec<Call>,
        append_only_input: bool,
        expiry: Option<usize>,
    ) -> Result<Self> {
        let expiry = expiry
            .map(|column| Expiry::new(&input, &keys, column))
            .transpose()?;
        let key_fields = keys.iter().map(|key| input.field(*key).clone());
        let outputs = calls.iter().map(|call| call.output.clone());
        let schema = Schema::new(key_fields.chain(outputs).collect::<Vec<_>>());
        let plan = Plan::new(&input, keys, &calls, append_only_input)?;
        Ok(Self {
            input,
            calls,
            plan: Arc::new(plan),
            schema: Arc::new(schema),
            expiry,
        })
    }

    /// Says that `expiry` is a local time of this zone, as window_start and window_end of TIMESTAMP_LTZ windows are.
    ///
    /// # Errors
    /// `User` for an unknown zone.
    pub fn expiring_in(mut self, zone: &str) -> Result<Self> {
        let zone = Zone::parse(zone)?;
        if let Some(expiry) = &mut self.expiry {
            expiry.zone = zone;
        }
        Ok(self)
    }
}

impl Expiry {
    fn new(input: &SchemaRef, keys: &[usize], column: usize) -> Result<Self> {
        let field = input.field(column);
        let key = keys.iter().position(|key| *key == column);
        match (key, field.data_type()) {
            (Some(key), DataType::Timestamp(unit, _)) => Ok(Self {
                key,
                unit: *unit,
                zone: Zone::UTC,
            }),
            _ => Err(Error::user(format!(
                "{} cannot say when a group is over: it is no key of type TIMESTAMP",
                field.name()
            ))),
        }
    }

    /// Whether a group of this value is over. A value may be a window's end or a row's own time: at a watermark that
    /// has reached it both are over.
    fn is_over(self, value: i64, watermark: Watermark) -> bool {
        self.ms(value) <= watermark.0
    }

    fn ms(self, value: i64) -> i64 {
        let local = match self.unit {
            TimeUnit::Second => value.saturating_mul(1000),
            TimeUnit::Millisecond => value,
            TimeUnit::Microsecond => value.div_euclid(1000),
            TimeUnit::Nanosecond => value.div_euclid(1_000_000),
        };
        self.zone.due(local)
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aggregate ")?;
        show(f, &self.input, &self.plan.keys, &self.calls)?;
        if let Some(expiry) = self.expiry {
            write!(f, " until={}", self.schema.field(expiry.key).name())?;
        }
        Ok(())
    }
}

impl Spec for Aggregate {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, _: usize) -> Partitioning {
        if self.plan.keys.is_empty() {
            Partitioning::Single
        } else {
            Partitioning::Keys(self.plan.keys.clone())
        }
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        match inputs.first() {
            Some(Partitioning::Single) => Partitioning::Single,
            Some(Partitioning::Keys(columns)) => {
                // The keys come first in the output, in their order.
                let moved: Option<Vec<usize>> = columns
                    .iter()
                    .map(|column| self.plan.keys.iter().position(|key| key == column))
                    .collect();
                moved.map_or(Partitioning::Any, Partitioning::Keys)
            }
            Some(Partitioning::Any) | None => Partitioning::Any,
        }
    }

    fn bound(&self) -> Bound {
        if self.expiry.is_some() {
            return Bound::Watermark;
        }
        let names: Vec<&str> = (0..self.plan.keys.len())
            .map(|key| self.schema.field(key).name().as_str())
            .collect();
        Bound::Keys(names.join(", "))
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let groups = Groups::new(&self.plan)?;
        Ok(Box::new(Running {
            state: State {
                saved: saved_schema(&self.schema, &self.plan),
                keys: self.plan.keys.len(),
                shown: Vec::new(),
                unsettled: false,
                over: BTreeMap::new(),
                expiry: self.expiry,
                groups,
            },
            schema: Arc::clone(&self.schema),
            watermark: Watermark::MIN,
            touched: Touched::default(),
            cells: None,
        }))
    }
}

fn saved_schema(schema: &SchemaRef, plan: &Plan) -> SchemaRef {
    let keys = (0..plan.keys.len()).map(|key| schema.field(key).clone());
    let all: Vec<Field> = keys.chain(fields(plan)).collect();
    Arc::new(Schema::new(all))
}

/// The running aggregation.
struct Running {
    state: State,
    schema: SchemaRef,
    watermark: Watermark,
    touched: Touched,
    /// The results put aside, one column a call, in the order of `touched`.
    cells: Option<Vec<Cells>>,
}

/// What a checkpoint holds.
struct State {
    groups: Groups,
    /// Which groups have a row downstream.
    shown: Vec<bool>,
    /// Whether groups were restored that `shown` and `over` do not know yet.
    unsettled: bool,
    /// Groups by the time at which they are over. A group that went before its time, or came again, may be there twice.
    over: BTreeMap<i64, Vec<u32>>,
    expiry: Option<Expiry>,
    keys: usize,
    saved: SchemaRef,
}

/// The groups that a step touches, in the order in which they were first seen.
#[derive(Debug, Default)]
struct Touched {
    ids: Vec<u32>,
    marks: Vec<u32>,
    step: u32,
}

impl Touched {
    /// Notes the groups of some rows and gives those not seen before in this step.
    fn note(&mut self, ids: &[u32], limit: usize) -> &[u32] {
        let before = self.ids.len();
        if self.step == 0 {
            self.step = 1;
        }
        if self.marks.len() < limit {
            self.marks.resize(limit, 0);
        }
        for id in ids {
            let mark = &mut self.marks[*id as usize];
            if *mark != self.step {
                *mark = self.step;
                self.ids.push(*id);
            }
        }
        &self.ids[before..]
    }

    /// The step is over.
    fn close(&mut self) {
        self.ids.clear();
        self.step = self.step.wrapping_add(1);
        if self.step == 0 {
            self.marks.fill(0);
        }
    }
}

impl Operator for Running {
    fn step(&mut self, _: usize, delta: Delta, out: &mut Output) -> Result<()> {
        self.state.settle();
        let delta = self.state.without_late(delta, self.watermark, out)?;
        if delta.is_empty() {
            return Ok(());
        }
        let groups = &mut self.state.groups;
        groups.resolve(&delta)?;
        let new = self.touched.note(groups.ids(), groups.id_limit());
        let cells = self.cells.get_or_insert_with(|| groups.cells());
        groups.finish(new, cells)?;
        self.state.note_expiry();
        self.state.groups.update(&delta, Arrival::from(0))
    }

    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        self.state.settle();
        if !self.touched.ids.is_empty() {
            self.emit(out)?;
            self.touched.close();
        }
        self.watermark = self.watermark.max(time.watermark);
        self.state.expire(self.watermark);
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        vec![&mut self.state]
    }
}

impl Running {
    fn emit(&mut self, out: &mut Output) -> Result<()> {
        let Some(cells) = &mut self.cells else {
            return Ok(());
        };
        let ids = &self.touched.ids;
        let state = &mut self.state;
        state.groups.finish(ids, cells)?;
        state.shown.resize(state.groups.id_limit(), false);
        let mut differs = vec![false; ids.len()];
        cells.iter().for_each(|cells| cells.diff(&mut differs));
        let (mut rows, mut picks) = (Vec::new(), Vec::new());
        for (at, id) in ids.iter().enumerate() {
            let shown = state.shown[*id as usize];
            if shown && (differs[at] || !state.groups.is_present(*id)) {
                rows.push(*id);
                picks.push(at as u32);
            }
        }
        let retracted = rows.len();
        for (at, id) in ids.iter().enumerate() {
            let (shown, present) = (state.shown[*id as usize], state.groups.is_present(*id));
            if present && (differs[at] || !shown) {
                rows.push(*id);
                picks.push((ids.len() + at) as u32);
            }
            state.shown[*id as usize] = present;
        }
        if !rows.is_empty() {
            let mut columns = state.groups.keys(&rows)?;
            columns.extend(state.groups.decode(cells, Some(&picks))?);
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
            let weights = (0..rows.len()).map(|at| if at < retracted { -1 } else { 1 });
            out.push(if retracted == 0 {
                Delta::inserts(batch)
            } else {
                Delta::new(batch, Int64Array::from_iter_values(weights))?
            });
        }
        cells.iter_mut().for_each(Cells::clear);
        state.groups.touch(ids);
        let void: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|id| state.groups.is_void(*id))
            .collect();
        state.groups.remove(&void);
        Ok(())
    }
}

impl State {
    /// After a restore, every group that has rows is shown.
    fn settle(&mut self) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        self.shown = vec![false; self.groups.id_limit()];
        self.over.clear();
        for id in self.groups.all() {
            self.shown[id as usize] = self.groups.is_present(id);
            if let Some(expiry) = self.expiry
                && let Some(value) = self.groups.key(expiry.key, id)
            {
                self.over.entry(expiry.ms(value)).or_default().push(id);
            }
        }
    }

    /// The delta without the rows of groups that are over.
    fn without_late(&self, delta: Delta, watermark: Watermark, out: &mut Output) -> Result<Delta> {
        let Some(expiry) = self.expiry else {
            return Ok(delta);
        };
        let column = delta.column(self.groups.plan().keys[expiry.key]);
        let Lane::Long { values, nulls } = Codec::new(column.data_type())?.encode(column)? else {
            return Err(Error::internal("a time of another form"));
        };
        let late = |row: usize| {
            nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
                && expiry.is_over(values[row], watermark)
        };
        if !(0..delta.rows()).any(late) {
            return Ok(delta);
        }
        let keep: UInt32Array = (0..delta.rows())
            .filter(|row| !late(*row))
            .map(|row| row as u32)
            .collect::<Vec<_>>()
            .into();
        out.late((delta.rows() - keep.len()) as u64);
        delta.take(&keep)
    }

    /// Notes when the groups that are new will be over.
    fn note_expiry(&mut self) {
        let Some(expiry) = self.expiry else {
            return;
        };
        for id in self.groups.fresh() {
            if let Some(value) = self.groups.key(expiry.key, *id) {
                self.over.entry(expiry.ms(value)).or_default().push(*id);
            }
        }
    }

    /// Drops the groups that are over.
    fn expire(&mut self, watermark: Watermark) {
        let Some(expiry) = self.expiry else {
            return;
        };
        while let Some(entry) = self.over.first_entry()
            && *entry.key() <= watermark.0
        {
            let ms = *entry.key();
            let mut ids = entry.remove();
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| {
                self.shown.get(*id as usize).copied().unwrap_or_default()
                    && self
                        .groups
                        .key(expiry.key, *id)
                        .map(|value| expiry.ms(value))
                        == Some(ms)
            });
            ids.iter().for_each(|id| self.shown[*id as usize] = false);
            self.groups.remove(&ids);
        }
    }
}

impl Checkpointed for State {
    fn name(&self) -> &'static str {
        "groups"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.saved)
    }

    fn key_columns(&self) -> usize {
        self.keys + 2
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        let (gone, kept) = self.groups.changes()?;
        let batch = |saved: SavedRows| RecordBatch::try_new(Arc::clone(&self.saved), saved.columns);
        for saved in gone {
            out.push(Delta::retractions(batch(saved)?));
        }
        for saved in kept {
            out.push(Delta::inserts(batch(saved)?));
        }
        Ok(())
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        self.unsettled = true;
        self.groups.restore_delta(change)
    }

    fn track(&mut self) -> Result<()> {
        self.groups.track();
        Ok(())
    }
}
