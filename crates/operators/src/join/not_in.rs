//! `left.key NOT IN (SELECT key FROM right)`, as SQL means it.
//!
//! | right side | a row shows |
//! |---|---|
//! | has no rows | always, a NULL key too |
//! | has a NULL | never |
//! | else | if its key is not NULL and not among them |
//!
//! One worker sees all rows, since a single NULL anywhere decides for all.

use super::Key;
use super::counts::{KeyCounts, rows_of};
use super::side::Side;
use super::{Join, Kind, plan::Plan};
use crate::project;
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::SchemaRef;
use millstream_dataflow::operator::{Bound, Checkpointed};
use millstream_dataflow::{Delta, Operator, Output, Partitioning, Result, Spec, hash};
use millstream_state::{ABSENT, GroupIndex, Matches};
use std::fmt;
use std::sync::Arc;

/// Left rows whose key is not in the right input.
#[derive(Clone, Debug)]
pub struct NotIn {
    join: Join,
}

impl NotIn {
    /// Left rows whose column `left_key` is not in the right input's column `right_key`.
    pub fn new(left: SchemaRef, left_key: usize, right: SchemaRef, right_key: usize) -> Self {
        // A NULL is a key like any other here: it is counted, and found.
        let key = Key {
            left: left_key,
            right: right_key,
            null_equal: true,
        };
        Self {
            join: Join::new(left, right, Kind::LeftAnti, vec![key]),
        }
    }

    /// Puts out only these columns of the left input.
    ///
    /// # Errors
    /// `Internal` when there is no such column.
    pub fn output(self, columns: Vec<usize>) -> Result<Self> {
        Ok(Self {
            join: self.join.output(columns)?,
        })
    }

    /// Promises that the left input never retracts.
    #[must_use]
    pub fn append_only_left(self) -> Self {
        Self {
            join: self.join.append_only(true, false),
        }
    }
}

impl fmt::Display for NotIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.join.keys[0];
        let left = self.join.left.field(key.left).name();
        write!(
            f,
            "NotIn: {left} not in {}",
            self.join.right.field(key.right).name()
        )
    }
}

impl Spec for NotIn {
    fn schema(&self) -> SchemaRef {
        self.join.schema()
    }

    fn keys(&self, _port: usize) -> Partitioning {
        Partitioning::Single
    }

    fn partitioning(&self, _inputs: &[Partitioning]) -> Partitioning {
        Partitioning::Single
    }

    fn bound(&self) -> Bound {
        Bound::Rows("the left input".to_owned())
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let mut plan = Plan::new(&self.join)?;
        plan.inputs[0].counts = false;
        let right = &plan.inputs[1];
        Ok(Box::new(Running {
            rows: Side::new("rows", &plan.inputs[0])?,
            counts: KeyCounts::new("keys", &right.schema, &right.keys)?,
            plan,
        }))
    }
}

#[derive(Debug)]
struct Running {
    plan: Plan,
    rows: Side,
    counts: KeyCounts,
}

/// What the right side is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Empty,
    HasNull,
    Whole,
}

impl Mode {
    fn of((whole, null): (i64, i64)) -> Self {
        match (whole > 0, null > 0) {
            (_, true) => Self::HasNull,
            (true, false) => Self::Whole,
            (false, false) => Self::Empty,
        }
    }

    fn shows(self, key_is_null: bool, there: bool) -> bool {
        match self {
            Self::Empty => true,
            Self::HasNull => false,
            Self::Whole => !key_is_null && !there,
        }
    }
}

impl Running {
    fn left(&mut self, delta: Delta, out: &mut Output) -> Result<()> {
        let mode = Mode::of(self.counts.totals()?);
        let arrivals = self.rows.arrive(delta)?;
        let rows = arrivals.delta.rows();
        let there = self.counts.there(&arrivals.keys, rows)?;
        let key = &arrivals.keys[0];
        let shown: BooleanArray = (0..rows)
            .map(|row| Some(mode.shows(key.is_null(row), there[row])))
            .collect();
        let shown = arrivals.delta.filter(&shown)?;
        let columns = self
            .plan
            .output
            .iter()
            .map(|column| ArrayRef::clone(shown.column(*column)));
        let batch = project::batch(&self.plan.schema, columns.collect(), shown.rows())?;
        out.push(shown.with_batch(batch)?);
        self.rows.keep(&arrivals, Vec::new())
    }

    fn right(&mut self, delta: &Delta, out: &mut Output) -> Result<()> {
        let before = Mode::of(self.counts.totals()?);
        let turns = self.counts.add(delta)?;
        let after = Mode::of(self.counts.totals()?);
        let turned = rows_of(delta.batch(), turns.iter().map(|turn| turn.row).collect())?;
        let turned = Arc::clone(turned.column(self.plan.inputs[1].keys[0]));
        let all = (before == Mode::HasNull) != (after == Mode::HasNull);
        let ids = if all {
            self.rows.rows.log().ids().collect()
        } else {
            self.touched(&turned, before != after)?
        };
        self.turn(&ids, [before, after], &turned, out)
    }

    /// The left rows with these keys, and with a NULL if the right side became empty or was.
    fn touched(&mut self, turned: &ArrayRef, nulls: bool) -> Result<Vec<u32>> {
        let null = arrow::array::new_null_array(turned.data_type(), usize::from(nulls));
        let keys: [ArrayRef; 1] = [arrow::compute::concat(&[turned, &null])?];
        let mut hashes = Vec::new();
        hash::rows(&keys, keys[0].len(), &mut hashes)?;
        let mut pairs = Matches::default();
        self.rows
            .rows
            .probe(&keys, &hashes, |_| false, 0, usize::MAX, &mut pairs)?;
        pairs.ids.sort_unstable();
        pairs.ids.dedup();
        Ok(pairs.ids)
    }

    /// Puts out the rows, of these, that show and did not, or the other way round.
    fn turn(
        &mut self,
        ids: &[u32],
        [before, after]: [Mode; 2],
        turned: &ArrayRef,
        out: &mut Output,
    ) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let log = self.rows.rows.log();
        let key = log.gather(self.rows.place(self.plan.inputs[0].keys[0]), ids)?;
        let there = self.counts.there(std::slice::from_ref(&key), ids.len())?;
        let has_turned = among(turned, &key)?;
        let (mut shown, mut weights) = (Vec::new(), Vec::new());
        for (row, id) in ids.iter().enumerate() {
            let null = key.is_null(row);
            let was = before.shows(null, there[row] != has_turned[row]);
            let is = after.shows(null, there[row]);
            if was != is {
                shown.push(*id);
                weights.push(log.weight(*id) * if is { 1 } else { -1 });
            }
        }
        let batch = self.rows.show(&self.plan, &shown)?;
        out.push(Delta::new(batch, Int64Array::from(weights))?);
        Ok(())
    }
}

/// For each row whether it is among these.
fn among(these: &ArrayRef, rows: &ArrayRef) -> Result<Vec<bool>> {
    let mut index = GroupIndex::new(&[rows.data_type().clone()])?;
    let (mut ids, mut fresh) = (Vec::new(), Vec::new());
    index.resolve(
        std::slice::from_ref(these),
        these.len(),
        &mut ids,
        &mut fresh,
    )?;
    index.find(std::slice::from_ref(rows), rows.len(), &mut ids)?;
    Ok(ids.into_iter().map(|id| id != ABSENT).collect())
}

impl Operator for Running {
    fn step(&mut self, port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        if port == 0 {
            self.left(delta, out)
        } else {
            self.right(&delta, out)
        }
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        vec![&mut self.rows, &mut self.counts]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::{Random, Script, check, delta, schema};
    use std::collections::BTreeMap;

    #[test]
    fn it_is_what_sql_says() {
        let (left, right) = ("a text, k bigint", "x text, k bigint");
        for seed in 1..=12 {
            let mut random = Random(seed);
            let mut tables: [BTreeMap<String, i64>; 2] = Default::default();
            let mut script = Script::new();
            for step in 0..14 {
                let mut deltas = Vec::new();
                for side in [0, 1] {
                    let mut lines = Vec::new();
                    for _ in 0..random.below(4) {
                        let old = tables[side]
                            .keys()
                            .nth(random.below(tables[side].len().max(1)));
                        let (row, weight) = match old.cloned() {
                            // The right side empties now and then.
                            Some(old)
                                if random.below(3) < 1 + usize::from(side == 1 && step % 5 > 2) =>
                            {
                                (old, -1)
                            }
                            _ => {
                                let nulls = if side == 0 { 4 } else { 9 };
                                let key = (random.below(nulls) != 0).then(|| random.below(4));
                                let key = key.map_or("NULL".to_owned(), |key| key.to_string());
                                (format!("text-{} {key}", random.below(2)), 1)
                            }
                        };
                        let sum = tables[side].entry(row.clone()).or_default();
                        *sum += weight;
                        if *sum == 0 {
                            tables[side].remove(&row);
                        }
                        lines.push(format!("{weight:+} {row}"));
                    }
                    deltas.push((side, delta([left, right][side], &lines.join(" / "))));
                }
                script = script.step(deltas, 0);
            }
            let key = |row: &str| row.split_once(' ').unwrap().1.to_owned();
            let keys: Vec<String> = tables[1].keys().map(|row| key(row)).collect();
            let shows = |row: &str| {
                let key = key(row);
                keys.is_empty()
                    || !keys.contains(&"NULL".to_owned()) && key != "NULL" && !keys.contains(&key)
            };
            let mut expected: Vec<String> = tables[0]
                .iter()
                .filter(|(row, _)| shows(row))
                .map(|(row, weight)| format!("{weight:+} {row}"))
                .collect();
            expected.sort();
            let spec = NotIn::new(schema(left), 1, schema(right), 1);
            assert_eq!(spec.to_string(), "NotIn: k not in k");
            assert_eq!(check(&spec, &script), expected.join(" / "), "seed {seed}");
        }
    }
}
