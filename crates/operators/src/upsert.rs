//! Turns upserts into a changelog with retractions: each key's last row stays known, and goes when another comes.

use crate::project;
use crate::top_k::{LatestRows, Winner};
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::operator::{Bound, Checkpointed};
use millstream_dataflow::{Delta, Operator, Output, Partitioning, Result, Spec, StepTime};
use millstream_state::NONE;
use std::fmt;
use std::sync::Arc;

/// A changelog out of upserts: a row of positive weight is its key's new row; one of negative weight takes the key's
/// row away, whatever its other columns hold.
#[derive(Clone, Debug)]
pub struct Upsert {
    schema: SchemaRef,
    keys: Vec<usize>,
}

impl Upsert {
    /// Upserts of rows with these columns, by these key columns.
    pub fn new(schema: SchemaRef, keys: Vec<usize>) -> Self {
        Self { schema, keys }
    }
}

impl fmt::Display for Upsert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self
            .keys
            .iter()
            .map(|key| self.schema.field(*key).name().as_str())
            .collect();
        write!(f, "Upsert: by {}", names.join(", "))
    }
}

impl Spec for Upsert {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, _port: usize) -> Partitioning {
        if self.keys.is_empty() {
            Partitioning::Single
        } else {
            Partitioning::Keys(self.keys.clone())
        }
    }

    fn partitioning(&self, _inputs: &[Partitioning]) -> Partitioning {
        project::remap(Some(&self.keys(0)), Some)
    }

    fn bound(&self) -> Bound {
        let names: Vec<&str> = self
            .keys
            .iter()
            .map(|key| self.schema.field(*key).name().as_str())
            .collect();
        Bound::Keys(names.join(", "))
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        Ok(Box::new(Running {
            rows: LatestRows::new("rows", &self.schema, columns.clone(), &self.keys)?,
            schema: Arc::clone(&self.schema),
            columns,
            pending: Vec::new(),
            last: Vec::new(),
        }))
    }
}

#[derive(Debug)]
struct Running {
    schema: SchemaRef,
    columns: Vec<usize>,
    rows: LatestRows,
    pending: Vec<Delta>,
    /// The last row of the step of each group that the step touches; else [`NONE`].
    last: Vec<u32>,
}

impl Running {
    fn settle(&mut self, delta: &Delta, out: &mut Output) -> Result<()> {
        let mut groups = Vec::new();
        self.rows.resolve(delta.batch(), &mut groups)?;
        self.last.resize(self.rows.group_limit(), NONE);
        let mut touched = Vec::new();
        for (row, group) in groups.iter().enumerate() {
            if std::mem::replace(&mut self.last[*group as usize], row as u32) == NONE {
                touched.push(*group);
            }
        }
        let winners = self.winners(delta, &touched)?;
        let batch = delta.batch();
        self.rows
            .announce(batch, &winners, &self.columns, &self.schema, out)?;
        self.rows.write(batch, &winners)
    }

    /// The keys whose rows really change.
    fn winners(&mut self, delta: &Delta, touched: &[u32]) -> Result<Vec<Winner>> {
        let columns: Vec<ArrayRef> = delta.batch().columns().to_vec();
        let same = self.rows.log().compare(&self.columns, &columns)?;
        let mut winners = Vec::with_capacity(touched.len());
        for group in touched.iter().copied() {
            let row = std::mem::replace(&mut self.last[group as usize], NONE);
            let old = self.rows.row(group);
            if delta.weight(row as usize) < 0 {
                winners.push(Winner { group, row: NONE });
            } else if old == NONE || !same.equal(row as usize, old) {
                winners.push(Winner { group, row });
            }
        }
        Ok(winners)
    }
}

impl Operator for Running {
    fn step(&mut self, _port: usize, delta: Delta, _out: &mut Output) -> Result<()> {
        self.pending.push(delta);
        Ok(())
    }

    fn advance(&mut self, _time: StepTime, out: &mut Output) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let all = Delta::concat(&self.schema, &self.pending)?;
        self.pending.clear();
        if all.is_empty() {
            return Ok(());
        }
        self.settle(&all, out)
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        vec![&mut self.rows]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::{Random, Script, check, delta, schema};
    use std::collections::BTreeMap;

    #[test]
    fn the_last_row_of_each_key_stays() {
        for seed in 1..=5 {
            let columns = "k bigint, b text, v bigint";
            let mut random = Random(seed);
            let mut model: BTreeMap<String, String> = BTreeMap::new();
            let mut script = Script::new();
            for _ in 0..12 {
                let mut rows = Vec::new();
                for _ in 0..random.below(10) {
                    let number = random.below(9);
                    let key = if number == 0 {
                        "NULL".to_owned()
                    } else {
                        number.to_string()
                    };
                    if random.below(3) == 0 {
                        rows.push(format!("-1 {key} NULL NULL"));
                        model.remove(&key);
                    } else {
                        let row = format!(
                            "{key} some-text-of-length-{} {}",
                            random.below(3),
                            random.below(3)
                        );
                        rows.push(format!("+1 {row}"));
                        model.insert(key, row);
                    }
                }
                script = script.step(vec![(0, delta(columns, &rows.join(" / ")))], 0);
            }
            let mut expected: Vec<String> = model.values().map(|row| format!("+1 {row}")).collect();
            expected.sort();
            let upsert = Upsert::new(schema(columns), vec![0]);
            assert_eq!(check(&upsert, &script), expected.join(" / "), "seed {seed}");
        }
    }

    #[test]
    fn a_row_that_does_not_change_and_a_key_that_is_not_there_are_nothing() {
        let upsert = Upsert::new(schema("k bigint, v text"), vec![0]);
        let mut operator = upsert.build().unwrap();
        let mut step = |rows: &str| {
            let mut out = Output::default();
            operator
                .step(0, delta("k bigint, v text", rows), &mut out)
                .unwrap();
            let time = StepTime {
                step: millstream_dataflow::Step(1),
                watermark: millstream_dataflow::Watermark::MIN,
                now_ms: 0,
            };
            operator.advance(time, &mut out).unwrap();
            out.take()
                .iter()
                .map(millstream_dataflow::testing::show)
                .collect::<Vec<_>>()
        };
        assert_eq!(step("+1 1 a / +1 2 b / -1 3 NULL"), ["+1 1 a / +1 2 b"]);
        assert!(step("+1 1 a / +1 3 c / -1 3 NULL").is_empty());
        assert_eq!(
            step("+1 1 x / -1 2 NULL / +1 1 y"),
            ["-1 1 a / -1 2 b", "+1 1 y"]
        );
        assert_eq!(upsert.to_string(), "Upsert: by k");
    }
}
