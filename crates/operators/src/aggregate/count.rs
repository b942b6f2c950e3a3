//! COUNT: rows, or rows in which no argument is NULL.

use super::accumulator::{Accumulator, Args, Exported, Finish, Rows, Shape};
use millstream_dataflow::Result;
use millstream_state::{Cells, Form};

/// A count a group.
#[derive(Debug, Default)]
pub(crate) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn grow(&mut self, groups: usize) {
        if self.counts.len() < groups {
            self.counts.resize(groups, 0);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, args: &Args<'_>) -> Result<()> {
        let counts = self.counts.as_mut_slice();
        rows.each(args.nulls().as_ref(), |id, _, weight| counts[id] += weight);
        Ok(())
    }

    fn finish(&self, _: &Finish, ids: &[u32], out: &mut Cells) -> Result<()> {
        out.extend_longs(ids.iter().map(|id| self.counts[*id as usize]));
        Ok(())
    }

    fn clear(&mut self, ids: &[u32]) {
        ids.iter().for_each(|id| self.counts[*id as usize] = 0);
    }

    fn shape(&self) -> Shape {
        Shape::scalar(vec![Form::Long])
    }

    fn export(&self, ids: &[u32], out: &mut Exported) {
        out.ids.extend_from_slice(ids);
        out.body[0].extend_longs(ids.iter().map(|id| self.counts[*id as usize]));
    }

    fn merge(&mut self, from: &Exported) -> Result<()> {
        for (at, id) in from.ids.iter().enumerate() {
            self.counts[*id as usize] += from.body[0].long(at);
        }
        Ok(())
    }
}
