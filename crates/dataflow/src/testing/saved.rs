//! What a table has saved, and what a store may make of it: a plain reading of the contract of [`Checkpointed`].

use super::Random;
use crate::operator::Checkpointed;
use crate::{Delta, Result};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::row::{RowConverter, SortField};
use std::collections::BTreeMap;

/// The changes of a table, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    key_columns: usize,
    changes: Vec<Delta>,
}

/// Rows by key, both as bytes that are equal where the values are.
pub(super) type Relation = BTreeMap<Vec<u8>, Vec<u8>>;

impl Saved {
    /// Takes what has changed since the last time; gives how many rows that are.
    ///
    /// # Panics
    /// When the table fails, or gives a change twice.
    pub fn save(&mut self, table: &mut dyn Checkpointed) -> usize {
        let mut changes = Vec::new();
        table.changes(&mut changes).expect("the table saves");
        for change in &changes {
            assert_eq!(
                change.schema().fields(),
                table.schema().fields(),
                "the changes of {} have the columns of the table",
                table.name()
            );
        }
        let rows = changes.iter().map(Delta::rows).sum();
        self.add(table.key_columns(), changes);
        let mut again = Vec::new();
        table.changes(&mut again).expect("the table saves");
        assert!(
            again.iter().all(Delta::is_empty),
            "{} has not changed since it was saved",
            table.name()
        );
        rows
    }

    /// Adds changes, whose first columns are the key.
    pub fn add(&mut self, key_columns: usize, changes: Vec<Delta>) {
        self.key_columns = key_columns;
        self.changes.extend(changes);
    }

    /// Restores a table from what is left after compactions at random.
    ///
    /// # Panics
    /// When the table fails.
    pub fn restore(&self, table: &mut dyn Checkpointed, random: &mut Random) {
        for change in self.compacted(random) {
            table.restore(&change).expect("the table restores");
        }
    }

    /// What the changes leave: the last of each key.
    pub(super) fn relation(&self) -> Relation {
        let mut relation = Relation::new();
        for change in &self.changes {
            let columns = change.batch().columns();
            let keys = bytes(&columns[..self.key_columns], change.rows());
            let rows = bytes(columns, change.rows());
            for (row, (key, values)) in keys.into_iter().zip(rows).enumerate() {
                if change.weight(row) > 0 {
                    relation.insert(key, values);
                } else {
                    relation.remove(&key);
                }
            }
        }
        relation
    }

    /// The changes after some compactions of runs of rows, cut in another way than they came in.
    fn compacted(&self, random: &mut Random) -> Vec<Delta> {
        let Some(first) = self.changes.first() else {
            return Vec::new();
        };
        let all = Delta::concat(&first.schema(), &self.changes).expect("changes of one table");
        let keys = bytes(&all.batch().columns()[..self.key_columns], all.rows());
        let mut left: Vec<u32> = (0..all.rows() as u32).collect();
        for _ in 0..random.below(4) {
            let (one, other) = (random.below(left.len() + 1), random.below(left.len() + 1));
            // Many runs of a store go back to the first change.
            let start = if random.below(2) == 0 {
                0
            } else {
                one.min(other)
            };
            compact(&mut left, (start, one.max(other)), &keys, &all);
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < left.len() {
            let most = [12, 4 * left.len()][random.below(2)];
            let rows = (random.below(most) + 1).min(left.len() - at);
            let rows = UInt32Array::from(left[at..at + rows].to_vec());
            at += rows.len();
            pieces.push(all.take(&rows).expect("rows of the changes"));
        }
        pieces
    }
}

/// Leaves, of the changes from `start` to `end`, the last of each key; no removal if the run goes back to the first.
fn compact(left: &mut Vec<u32>, (start, end): (usize, usize), keys: &[Vec<u8>], all: &Delta) {
    let mut last: BTreeMap<&[u8], u32> = BTreeMap::new();
    for row in &left[start..end] {
        last.insert(&keys[*row as usize], *row);
    }
    let stays = |row: &u32| {
        let removal = all.weight(*row as usize) < 0;
        last[keys[*row as usize].as_slice()] == *row && !(removal && start == 0)
    };
    let run: Vec<u32> = left[start..end].iter().copied().filter(stays).collect();
    left.splice(start..end, run);
}

/// Each row of some columns as bytes that are equal where the values are.
fn bytes(columns: &[ArrayRef], rows: usize) -> Vec<Vec<u8>> {
    let convert = || -> Result<Vec<Vec<u8>>> {
        let fields = columns
            .iter()
            .map(|column| SortField::new(column.data_type().clone()))
            .collect();
        let converted = RowConverter::new(fields)?.convert_columns(columns)?;
        Ok(converted.iter().map(|row| row.data().to_vec()).collect())
    };
    if columns.is_empty() {
        return vec![Vec::new(); rows];
    }
    convert().expect("columns that can be compared")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{delta, show};

    fn compacted(run: (usize, usize)) -> String {
        let changes = delta(
            "k text, v bigint",
            "+1 a 1 / +1 b 2 / -1 a NULL / +1 b 3 / +1 a 4 / -1 b NULL",
        );
        let keys = bytes(&changes.batch().columns()[..1], 6);
        let mut left = (0..6).collect();
        compact(&mut left, run, &keys, &changes);
        show(&changes.take(&left.into()).unwrap())
    }

    #[test]
    fn the_last_change_of_each_key_of_a_run_is_left() {
        assert_eq!(compacted((0, 6)), "+1 a 4");
        assert_eq!(compacted((0, 4)), "+1 b 3 / +1 a 4 / -1 b NULL");
        assert_eq!(
            compacted((1, 4)),
            "+1 a 1 / -1 a NULL / +1 b 3 / +1 a 4 / -1 b NULL"
        );
        assert_eq!(compacted((1, 6)), "+1 a 1 / +1 a 4 / -1 b NULL");
        assert_eq!(compacted((2, 2)).matches('/').count(), 5);
    }
}
