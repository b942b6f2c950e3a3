//! A running OVER.

use super::rows::{Rows, number_of};
use super::{Frame, Over};
use crate::aggregate::{Arrival, Groups, SavedRows, fields};
use crate::project;
use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Operator, Output, Result, StepTime, Watermark};
use millstream_state::{Cells, GroupIndex, NONE};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The running operator.
pub(super) struct Running {
    spec: Over,
    rows: Rows,
    totals: Totals,
    partitions: GroupIndex,
    /// By partition, the rows that are in its frame.
    frames: Vec<VecDeque<Framed>>,
    pending: Vec<Delta>,
    /// Partitions by when a row leaves their frame for good (RANGE).
    leaving: BTreeMap<i64, Vec<u32>>,
    cells: Vec<Cells>,
    /// For each LAG the rows that it looks at, one a result.
    lagged: Vec<Vec<u32>>,
    watermark: Watermark,
    /// The number of the next row that is folded, in the order of folding.
    folded: u64,
}

/// The accumulators of each partition. Those of a frame that moves are no part of a checkpoint if they can be folded again
/// from its rows.
struct Totals {
    groups: Groups,
    saved: SchemaRef,
    keys: usize,
}

/// A row in a frame.
#[derive(Clone, Copy, Debug)]
struct Framed {
    time: i64,
    id: u32,
}

/// Rows that share their results: one row, or the rows of one time.
struct Unit {
    partition: u32,
    time: i64,
    ids: Vec<u32>,
    /// Where the rows are in the output.
    places: Vec<u32>,
}

impl Running {
    pub(super) fn new(spec: &Over) -> Result<Self> {
        let keys = spec.partition.iter();
        let keys: Vec<Field> = keys.map(|key| spec.input.field(*key).clone()).collect();
        let types: Vec<DataType> = keys.iter().map(|key| key.data_type().clone()).collect();
        let groups = Groups::new(&spec.plan)?;
        Ok(Self {
            spec: spec.clone(),
            rows: Rows::new(&spec.input, spec.time)?,
            cells: groups.cells(),
            totals: Totals {
                groups,
                keys: keys.len(),
                saved: Arc::new(Schema::new(
                    keys.into_iter()
                        .chain(fields(&spec.plan))
                        .collect::<Vec<_>>(),
                )),
            },
            partitions: GroupIndex::new(&types)?,
            frames: Vec::new(),
            pending: Vec::new(),
            leaving: BTreeMap::new(),
            lagged: vec![Vec::new(); spec.lags.len()],
            watermark: Watermark::MIN,
            folded: 0,
        })
    }

    /// Puts out the rows that the watermark has passed.
    fn release(&mut self, out: &mut Output) -> Result<()> {
        let due = self.rows.take_due(self.watermark);
        if due.is_empty() {
            return Ok(());
        }
        let ids: Vec<u32> = due.iter().map(|(_, id)| *id).collect();
        let mut picks = vec![0; ids.len()];
        let (mut results, mut gone) = (0, Vec::new());
        for round in self.rounds(&due, &ids)? {
            self.fold(&round, &mut gone)?;
            for unit in &round {
                unit.places
                    .iter()
                    .for_each(|place| picks[*place as usize] = results);
                results += 1;
            }
        }
        let input =
            (0..self.spec.input.fields().len()).map(|column| self.rows.gather(column, &ids));
        let mut columns = input.collect::<Result<Vec<ArrayRef>>>()?;
        columns.extend(self.totals.groups.decode(&self.cells, Some(&picks))?);
        self.cells.iter_mut().for_each(Cells::clear);
        for (lag, lagged) in self.spec.lags.iter().zip(&mut self.lagged) {
            let looked_at: Vec<u32> = picks.iter().map(|pick| lagged[*pick as usize]).collect();
            columns.push(self.rows.gather_or_null(lag.column, &looked_at)?);
            lagged.clear();
        }
        let batch = project::batch(&self.spec.schema, columns, ids.len())?;
        out.push(Delta::inserts(batch));
        if self.spec.is_bounded() {
            self.rows.frame(&ids);
            self.rows.remove(&gone);
        } else {
            self.rows.remove(&ids);
        }
        Ok(())
    }

    /// The partition of each row.
    fn partitions(&mut self, ids: &[u32]) -> Result<Vec<u32>> {
        let keys = self.spec.partition.iter();
        let keys = keys.map(|key| self.rows.gather(*key, ids));
        let keys = keys.collect::<Result<Vec<ArrayRef>>>()?;
        let (mut partitions, mut fresh) = (Vec::new(), Vec::new());
        self.partitions
            .resolve(&keys, ids.len(), &mut partitions, &mut fresh)?;
        self.frames
            .resize_with(self.partitions.id_limit(), VecDeque::new);
        Ok(partitions)
    }

    /// Cuts rows in their order into units; in a round there is one a partition at most.
    fn rounds(&mut self, due: &[(i64, u32)], ids: &[u32]) -> Result<Vec<Vec<Unit>>> {
        let partitions = self.partitions(ids)?;
        let peers = matches!(self.spec.frame, Frame::Range(_));
        let mut rounds: Vec<Vec<Unit>> = Vec::new();
        // By partition, how many units it has, and the place of the last in its round.
        let mut last: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for (row, (partition, (time, id))) in partitions.into_iter().zip(due).enumerate() {
            let (units, at) = last.entry(partition).or_default();
            if peers && *units > 0 && rounds[*units - 1][*at].time == *time {
                let unit = &mut rounds[*units - 1][*at];
                unit.ids.push(*id);
                unit.places.push(row as u32);
                continue;
            }
            if *units == rounds.len() {
                rounds.push(Vec::new());
            }
            *at = rounds[*units].len();
            rounds[*units].push(Unit {
                partition,
                time: *time,
                ids: vec![*id],
                places: vec![row as u32],
            });
            *units += 1;
        }
        Ok(rounds)
    }

    /// Folds the rows of a round and adds its results, one a unit. `gone` gets the rows that leave a frame.
    fn fold(&mut self, round: &[Unit], gone: &mut Vec<u32>) -> Result<()> {
        let (mut came, mut left, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for unit in round {
            if self.spec.is_bounded() {
                self.slide(unit, &mut left);
                let frame = &self.frames[unit.partition as usize];
                for (lag, lagged) in self.spec.lags.iter().zip(&mut self.lagged) {
                    let at = frame.len().checked_sub(lag.rows as usize + 1);
                    lagged.push(at.map_or(NONE, |at| frame[at].id));
                }
            }
            if self.spec.refolds {
                let frame = &self.frames[unit.partition as usize];
                came.extend(frame.iter().map(|framed| framed.id));
            } else {
                came.extend(&unit.ids);
            }
            ends.push(came.len() - 1);
        }
        gone.extend(&left);
        if self.spec.refolds {
            let heads: Vec<u32> = round.iter().map(|unit| unit.ids[0]).collect();
            self.forget(&heads)?;
            left.clear();
        }
        self.update(&came, &left)?;
        let groups = &mut self.totals.groups;
        let units: Vec<u32> = ends.into_iter().map(|end| groups.ids()[end]).collect();
        groups.finish(&units, &mut self.cells)?;
        if self.spec.saves_totals() {
            groups.touch(&units);
        }
        Ok(())
    }

    /// Lets a unit into its frame and the rows out that are no longer in it.
    fn slide(&mut self, unit: &Unit, left: &mut Vec<u32>) {
        let frame = &mut self.frames[unit.partition as usize];
        let time = unit.time;
        frame.extend(unit.ids.iter().map(|id| Framed { time, id: *id }));
        match self.spec.frame {
            Frame::Rows(Some(rows)) => {
                let rows = usize::try_from(rows)
                    .unwrap_or(usize::MAX)
                    .saturating_add(1);
                let over = frame.len().saturating_sub(rows);
                left.extend(frame.drain(..over).map(|framed| framed.id));
            }
            Frame::Range(Some(ms)) => {
                let range = self.rows.span(ms);
                let over = frame.partition_point(|framed| framed.time < time.saturating_sub(range));
                left.extend(frame.drain(..over).map(|framed| framed.id));
                let leaves = time.saturating_add(range);
                self.leaving.entry(leaves).or_default().push(unit.partition);
            }
            Frame::Rows(None) | Frame::Range(None) => {}
        }
    }

    /// Adds rows to the totals of their partitions, and takes others back.
    fn update(&mut self, came: &[u32], left: &[u32]) -> Result<()> {
        let ids = [came, left].concat();
        let delta = self.delta(&ids, came.len())?;
        let groups = &mut self.totals.groups;
        groups.resolve(&delta)?;
        groups.update(&delta, Arrival::from(self.folded))?;
        self.folded += ids.len() as u64;
        Ok(())
    }

    /// The columns that the totals use of some rows, of which those after the first `came` are retracted.
    fn delta(&self, ids: &[u32], came: usize) -> Result<Delta> {
        let used = self.spec.used.iter();
        let columns = used.map(|column| self.rows.gather(*column, ids));
        let schema = Arc::new(self.spec.input.project(&self.spec.used)?);
        let batch = project::batch(&schema, columns.collect::<Result<_>>()?, ids.len())?;
        if came == ids.len() {
            return Ok(Delta::inserts(batch));
        }
        let weights = (0..ids.len()).map(|row| if row < came { 1 } else { -1 });
        Delta::new(batch, Int64Array::from_iter_values(weights))
    }

    /// Drops the totals of the partitions of these rows.
    fn forget(&mut self, ids: &[u32]) -> Result<()> {
        let delta = self.delta(ids, ids.len())?;
        let groups = &mut self.totals.groups;
        groups.resolve(&delta)?;
        let mut found = groups.ids().to_vec();
        found.sort_unstable();
        found.dedup();
        groups.remove(&found);
        Ok(())
    }

    /// Lets rows out of their frames that no later row can have in its own (RANGE).
    fn let_go(&mut self) -> Result<()> {
        let Frame::Range(Some(ms)) = self.spec.frame else {
            return Ok(());
        };
        let (range, now) = (self.rows.span(ms), self.rows.time_of(self.watermark));
        let mut partitions = Vec::new();
        while let Some(entry) = self.leaving.first_entry()
            && *entry.key() <= now
        {
            partitions.extend(entry.remove());
        }
        partitions.sort_unstable();
        partitions.dedup();
        let (mut left, mut over) = (Vec::new(), Vec::new());
        for partition in partitions {
            let frame = &mut self.frames[partition as usize];
            let out = frame.partition_point(|framed| framed.time.saturating_add(range) <= now);
            left.extend(frame.drain(..out).map(|framed| framed.id));
            if frame.is_empty() {
                over.extend(left.last());
                self.partitions.remove(partition);
                self.partitions.release(partition);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if !self.spec.refolds {
            self.update(&[], &left)?;
            self.totals.groups.touch_resolved();
        }
        self.forget(&over)?;
        self.rows.remove(&left);
        Ok(())
    }

    /// Finds the frames of restored rows.
    fn refresh(&mut self) -> Result<()> {
        let framed = self.rows.refresh()?;
        if framed.is_empty() {
            return Ok(());
        }
        let ids: Vec<u32> = framed.iter().map(|(_, id)| *id).collect();
        for (partition, (time, id)) in self.partitions(&ids)?.into_iter().zip(framed) {
            self.frames[partition as usize].push_back(Framed { time, id });
            if let Frame::Range(Some(ms)) = self.spec.frame {
                let leaves = time.saturating_add(self.rows.span(ms));
                self.leaving.entry(leaves).or_default().push(partition);
            }
        }
        if self.spec.refolds || self.spec.saves_totals() {
            return Ok(());
        }
        self.update(&ids, &[])
    }
}

impl Operator for Running {
    fn step(&mut self, _port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let on_time: BooleanArray = self.rows.on_time(&delta, self.watermark)?;
        let late = delta.rows() - on_time.true_count();
        if late == 0 {
            self.pending.push(delta);
            return Ok(());
        }
        out.late(late as u64);
        let delta = delta.filter(&on_time)?;
        if !delta.is_empty() {
            self.pending.push(delta);
        }
        Ok(())
    }

    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        self.refresh()?;
        let number = number_of(time.step);
        self.folded = self.folded.max(number as u64);
        if !self.pending.is_empty() {
            let all = Delta::concat(&self.spec.input, &self.pending)?;
            self.pending.clear();
            self.rows.insert(&all, number)?;
        }
        self.watermark = self.watermark.max(time.watermark);
        self.release(out)?;
        self.let_go()
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        if self.spec.saves_totals() {
            vec![&mut self.rows, &mut self.totals]
        } else {
            vec![&mut self.rows]
        }
    }
}

impl Checkpointed for Totals {
    fn name(&self) -> &'static str {
        "totals"
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
        self.groups.restore_delta(change)
    }

    fn track(&mut self) -> Result<()> {
        self.groups.track();
        Ok(())
    }
}
