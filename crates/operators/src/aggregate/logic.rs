//! BOOL_AND and BOOL_OR: how many values are false, and how many true.

use super::accumulator::{Accumulator, Args, Exported, Finish, Rows, Shape};
use super::function::Function;
use millstream_dataflow::{Error, Result};
use millstream_state::{Cells, Form, Lane};

/// The counts of false and true, a group each.
#[derive(Debug, Default)]
pub(crate) struct Logic {
    counts: Vec<[i64; 2]>,
}

impl Accumulator for Logic {
    fn grow(&mut self, groups: usize) {
        if self.counts.len() < groups {
            self.counts.resize(groups, [0, 0]);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let Lane::Long { values, .. } = args.lane(0) else {
            return Err(Error::internal("a boolean of another form"));
        };
        let counts = self.counts.as_mut_slice();
        rows.each(args.lane(0).nulls(), |id, row, weight| {
            counts[id][usize::from(values[row] != 0)] += weight;
        });
        Ok(())
    }

    fn finish(&self, how: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        let all = how.function == Function::BoolAnd;
        out.extend_longs_or_null(ids.iter().map(|id| match self.counts[*id as usize] {
            [0, 0] => None,
            [falses, trues] => Some(i64::from(if all { falses == 0 } else { trues > 0 })),
        }));
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        ids.iter().for_each(|id| self.counts[*id as usize] = [0, 0]);
    }

    fn shape(&self) -> Shape {
        Shape::scalar(vec![Form::Long, Form::Long])
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        out.ids.extend_from_slice(ids);
        for (at, body) in out.body.iter_mut().enumerate() {
            body.extend_longs(ids.iter().map(|id| self.counts[*id as usize][at]));
        }
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (row, id) in from.ids.iter().enumerate() {
            let counts = &mut self.counts[*id as usize];
            counts[0] += from.body[0].long(row);
            counts[1] += from.body[1].long(row);
        }
        Ok(())
    }
}
