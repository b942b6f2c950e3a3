//! A running join: a delta of one side meets the rows of the other, then joins those of its own.

use super::plan::Plan;
use super::side::{Arrivals, Side};
use crate::{filter, project};
use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt32Array};
use arrow::compute;
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Delta, Operator, Output, Result, StepTime, Watermark, Weights};
use millstream_state::{Matches, NONE};

/// Pairs that are put out together, more or less.
const PAIRS_MAX: usize = 1 << 15;

/// The running join.
#[derive(Debug)]
pub(super) struct Running {
    plan: Plan,
    sides: [Side; 2],
    watermark: Watermark,
    pairs: Matches,
}

impl Running {
    pub(super) fn new(plan: Plan) -> Result<Self> {
        Ok(Self {
            sides: [
                Side::new("left", &plan.inputs[0])?,
                Side::new("right", &plan.inputs[1])?,
            ],
            plan,
            watermark: Watermark::MIN,
            pairs: Matches::default(),
        })
    }

    /// Finds the partners of all arrivals, puts out what follows, and gives the weight of the partners of each.
    fn meet(&mut self, port: usize, arrivals: &Arrivals, out: &mut Output) -> Result<Vec<i64>> {
        let rows = arrivals.delta.rows();
        let counts = self.plan.inputs[port].counts;
        let mut matches = vec![0; if counts { rows } else { 0 }];
        let mut pairs = std::mem::take(&mut self.pairs);
        let mut from = 0;
        while from < rows {
            pairs.clear();
            let to = self.sides[1 - port].rows.probe(
                &arrivals.keys,
                &arrivals.hashes,
                |row| arrivals.matches_nothing(row),
                from,
                PAIRS_MAX,
                &mut pairs,
            )?;
            self.decide(port, arrivals, &mut pairs)?;
            if counts {
                let log = self.sides[1 - port].rows.log();
                for (row, id) in pairs.rows.iter().zip(&pairs.ids) {
                    matches[*row as usize] += log.weight(*id);
                }
            }
            match self.plan.kept {
                Some(kept) if kept.side == port => {
                    let late = kept.anti && self.plan.padding_at_expiry;
                    let shows = |row: &u32| {
                        let row = *row as usize;
                        (matches[row] > 0) != kept.anti && !(late && self.stays(arrivals, row))
                    };
                    let rows: Vec<u32> = (from as u32..to as u32).filter(shows).collect();
                    let ids = vec![NONE; rows.len()];
                    self.put_out(port, arrivals, &Matches { rows, ids }, out)?;
                }
                Some(_) => {}
                None => {
                    self.pad(port, arrivals, &matches, from..to, &mut pairs);
                    self.put_out(port, arrivals, &pairs, out)?;
                    pairs_without_padding(&mut pairs);
                }
            }
            self.count(1 - port, &arrivals.delta, &pairs, out)?;
            from = to;
        }
        self.pairs = pairs;
        Ok(matches)
    }

    /// Whether an arrival will be kept (and can show, unmatched, when it expires).
    fn stays(&self, arrivals: &Arrivals, row: usize) -> bool {
        let alive = |deadline: i64| self.watermark.0 < deadline;
        !arrivals.matches_nothing(row)
            && arrivals
                .deadlines
                .as_ref()
                .is_none_or(|deadlines| deadlines[row].is_some_and(alive))
    }

    /// Leaves the pairs for which the residual is true.
    fn decide(&self, port: usize, arrivals: &Arrivals, pairs: &mut Matches) -> Result<()> {
        let (Some(residual), false) = (&self.plan.residual, pairs.is_empty()) else {
            return Ok(());
        };
        let columns = self.columns(&residual.columns, port, arrivals, pairs, false)?;
        let batch = project::batch(&self.plan.residual_schema, columns, pairs.len())?;
        let keep: BooleanArray = filter::holds(residual.predicate.as_ref(), &batch)?;
        let keep = keep.values();
        for column in [&mut pairs.rows, &mut pairs.ids] {
            let mut at = 0;
            column.retain(|_| {
                at += 1;
                keep.value(at - 1)
            });
        }
        Ok(())
    }

    /// Adds a pair with no row for each arrival without a partner, if those show now. Pairs stay sorted by row.
    fn pad(
        &self,
        port: usize,
        arrivals: &Arrivals,
        matches: &[i64],
        rows: std::ops::Range<usize>,
        pairs: &mut Matches,
    ) {
        if !self.plan.inputs[port].pads {
            return;
        }
        let late = self.plan.padding_at_expiry;
        let shows = |row: usize| matches[row] <= 0 && !(late && self.stays(arrivals, row));
        if !rows.clone().any(shows) {
            return;
        }
        let mut all = Matches::default();
        let mut at = 0;
        for row in rows {
            while at < pairs.len() && pairs.rows[at] as usize == row {
                all.rows.push(row as u32);
                all.ids.push(pairs.ids[at]);
                at += 1;
            }
            if shows(row) {
                all.rows.push(row as u32);
                all.ids.push(NONE);
            }
        }
        *pairs = all;
    }

    fn put_out(
        &self,
        port: usize,
        arrivals: &Arrivals,
        pairs: &Matches,
        out: &mut Output,
    ) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let missing = self.plan.kept.is_some() || self.plan.inputs[port].pads;
        let columns = self.columns(&self.plan.output, port, arrivals, pairs, missing)?;
        let batch = project::batch(&self.plan.schema, columns, pairs.len())?;
        let log = self.sides[1 - port].rows.log();
        let delta = &arrivals.delta;
        if matches!(delta.weights(), Weights::AllOne) && log.all_one() {
            out.push(Delta::inserts(batch));
            return Ok(());
        }
        let weight = |(row, id): (&u32, &u32)| {
            let other = if *id == NONE { 1 } else { log.weight(*id) };
            delta.weight(*row as usize) * other
        };
        let weights: Int64Array = pairs.rows.iter().zip(&pairs.ids).map(weight).collect();
        out.push(Delta::new(batch, weights)?);
        Ok(())
    }

    /// Columns, of left and right inputs counted through, of pairs of arrivals at `port` and rows of the other side.
    fn columns(
        &self,
        which: &[usize],
        port: usize,
        arrivals: &Arrivals,
        pairs: &Matches,
        missing: bool,
    ) -> Result<Vec<ArrayRef>> {
        let delta = &arrivals.delta;
        let every = pairs.len() == delta.rows();
        let as_is = every && (0..).zip(&pairs.rows).all(|(at, row)| at == *row);
        let take = (!as_is).then(|| UInt32Array::from(pairs.rows.clone()));
        let other = &self.sides[1 - port];
        let column = |column: &usize| -> Result<ArrayRef> {
            let (side, column) = self.plan.side_of(*column);
            match &take {
                None if side == port => Ok(ArrayRef::clone(delta.column(column))),
                Some(rows) if side == port => Ok(compute::take(delta.column(column), rows, None)?),
                _ if missing => other
                    .rows
                    .log()
                    .gather_or_null(other.place(column), &pairs.ids),
                _ => other.rows.log().gather(other.place(column), &pairs.ids),
            }
        };
        which.iter().map(column).collect()
    }

    /// Rows of a side gain or lose partners; those whose count leaves or reaches zero change their face.
    fn count(
        &mut self,
        side: usize,
        delta: &Delta,
        pairs: &Matches,
        out: &mut Output,
    ) -> Result<()> {
        if !self.plan.inputs[side].counts || pairs.is_empty() {
            return Ok(());
        }
        let mut turned: Vec<u32> = Vec::new();
        for (row, id) in pairs.rows.iter().zip(&pairs.ids) {
            let old = self.sides[side].matches(*id);
            let new = old + delta.weight(*row as usize);
            self.sides[side].set_matches(*id, new);
            if (old > 0) != (new > 0) {
                turned.push(*id);
            }
        }
        // A row that turned twice is where it was.
        turned.sort_unstable();
        let turned: Vec<u32> = turned
            .chunk_by(|a, b| a == b)
            .filter(|turns| turns.len() % 2 == 1)
            .map(|turns| turns[0])
            .collect();
        let anti = self.plan.kept.is_none_or(|kept| kept.anti);
        if anti && self.plan.padding_at_expiry {
            return Ok(());
        }
        let sign = |id: u32| {
            let shows = (self.sides[side].matches(id) > 0) != anti;
            if shows { 1 } else { -1 }
        };
        let weights: Vec<i64> = turned.iter().map(|id| sign(*id)).collect();
        self.show_alone(side, &turned, &weights, out)
    }

    /// Puts out rows of a side alone: padded, or as they are in a semi or anti join.
    fn show_alone(&self, side: usize, ids: &[u32], signs: &[i64], out: &mut Output) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let rows = &self.sides[side];
        let batch = rows.show(&self.plan, ids)?;
        let weights: Int64Array = ids
            .iter()
            .zip(signs)
            .map(|(id, sign)| rows.rows.log().weight(*id) * sign)
            .collect();
        out.push(Delta::new(batch, weights)?);
        Ok(())
    }

    /// Drops the rows that the watermark has passed; those that waited for it without a partner show.
    fn expire(&mut self, side: usize, out: &mut Output) -> Result<()> {
        let ids = self.sides[side].expired(self.watermark.0)?;
        let alone = self.plan.inputs[side].pads
            || self
                .plan
                .kept
                .is_some_and(|kept| kept.anti && kept.side == side);
        if self.plan.padding_at_expiry && alone {
            let unmatched = |id: &u32| self.sides[side].matches(*id) <= 0;
            let ids: Vec<u32> = ids.iter().copied().filter(unmatched).collect();
            self.show_alone(side, &ids, &vec![1; ids.len()], out)?;
        }
        self.sides[side].rows.remove(&ids)
    }
}

/// Takes the pairs without a second row out again.
fn pairs_without_padding(pairs: &mut Matches) {
    if !pairs.ids.contains(&NONE) {
        return;
    }
    let keep: Vec<bool> = pairs.ids.iter().map(|id| *id != NONE).collect();
    for column in [&mut pairs.rows, &mut pairs.ids] {
        let mut at = 0;
        column.retain(|_| {
            at += 1;
            keep[at - 1]
        });
    }
}

impl Operator for Running {
    fn step(&mut self, port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let mut arrivals = self.sides[port].arrive(delta)?;
        if self.plan.late {
            let watermark = self.watermark.0;
            let late = |deadline: &Option<i64>| deadline.is_some_and(|ms| ms <= watermark);
            let deadlines = arrivals.deadlines.iter().flatten();
            let on_time: BooleanArray = deadlines.map(|at| Some(!late(at))).collect();
            let rows = on_time.values().count_set_bits();
            if rows < arrivals.delta.rows() {
                out.late((arrivals.delta.rows() - rows) as u64);
                arrivals = self.sides[port].arrive(arrivals.delta.filter(&on_time)?)?;
            }
        }
        let mut matches = self.meet(port, &arrivals, out)?;
        let rows = arrivals.delta.rows();
        if !(0..rows).all(|row| self.stays(&arrivals, row)) {
            let stay: Vec<u32> = (0..rows as u32)
                .filter(|row| self.stays(&arrivals, *row as usize))
                .collect();
            if !matches.is_empty() {
                matches = stay.iter().map(|row| matches[*row as usize]).collect();
            }
            arrivals = self.sides[port].arrive(arrivals.delta.take(&stay.into())?)?;
        }
        if arrivals.delta.is_empty() {
            return Ok(());
        }
        self.sides[port].keep(&arrivals, matches)
    }

    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        if time.watermark <= self.watermark {
            return Ok(());
        }
        self.watermark = time.watermark;
        self.expire(0, out)?;
        self.expire(1, out)
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        let [left, right] = &mut self.sides;
        vec![left, right]
    }
}
