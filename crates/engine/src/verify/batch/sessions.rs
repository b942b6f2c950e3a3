//! SESSION: the rows of a key with no gap between them. A row exactly at the gap still belongs.

use arrow::array::ArrayRef;
use millstream_dataflow::Result;
use std::collections::HashMap;

use super::Arrivals;
use super::windows::{Assigned, Closing};
use crate::verify::table::row_bytes;

/// A session, or one that has become part of another.
#[derive(Clone, Copy, Debug)]
struct Session {
    begin: i64,
    end: i64,
    /// The session that it has become part of.
    within: Option<usize>,
}

/// All sessions, and those of each key that may still grow.
#[derive(Debug, Default)]
struct Sessions {
    all: Vec<Session>,
    open: HashMap<Box<[u8]>, Vec<usize>>,
}

impl Sessions {
    /// The session of a row; `None`: it came too late.
    fn place(
        &mut self,
        key: Box<[u8]>,
        time: i64,
        gap_ms: i64,
        is_over: impl Fn(i64) -> bool,
    ) -> Option<usize> {
        let (all, end) = (&mut self.all, time.saturating_add(gap_ms));
        let open = self.open.entry(key).or_default();
        open.retain(|session| !is_over(all[*session].end));
        let touches = |session: &usize| all[*session].begin <= end && all[*session].end >= time;
        let touched: Vec<usize> = open.iter().copied().filter(touches).collect();
        if touched.is_empty() && is_over(end) {
            return None;
        }
        let mut one = Session {
            begin: time,
            end,
            within: None,
        };
        open.retain(|session| !touched.contains(session));
        let into = all.len();
        for session in touched {
            one.begin = one.begin.min(all[session].begin);
            one.end = one.end.max(all[session].end);
            all[session].within = Some(into);
        }
        all.push(one);
        open.push(into);
        Some(into)
    }

    fn whole(&self, mut session: usize) -> Session {
        while let Some(within) = self.all[session].within {
            session = within;
        }
        self.all[session]
    }
}

/// The rows in their sessions that show. The first added column is the time, the others are the key.
pub(super) fn assign(
    arrivals: &Arrivals,
    times: &[Vec<i64>],
    gap_ms: i64,
    closing: &Closing,
) -> Result<Vec<Assigned>> {
    let mut keys = Vec::new();
    for (added, batch) in arrivals.added.iter().zip(&arrivals.batches) {
        let columns: Vec<ArrayRef> = added[1..].to_vec();
        keys.push(row_bytes(&columns, batch.num_rows())?);
    }
    let mut places: Vec<(usize, usize)> = arrivals.places().collect();
    if !arrivals.has_steps {
        // No row is late, so the order does not matter: by time, a session that ends before a row is over.
        places.sort_by_key(|(at, row)| times[*at][*row]);
    }
    let mut sessions = Sessions::default();
    let mut placed = Vec::with_capacity(places.len());
    for (at, row) in places {
        let step = arrivals.steps.get(at).map(|steps| steps[row]);
        let time = times[at][row];
        let is_over = |end: i64| match step {
            Some(step) => closing.had_closed(end, step),
            None => end < time,
        };
        let key = std::mem::take(&mut keys[at][row]);
        if let Some(session) = sessions.place(key, time, gap_ms, is_over) {
            placed.push((at, row as u32, session));
        }
    }
    placed.sort_unstable();
    let shown = placed.into_iter().filter_map(|(at, row, session)| {
        let Session { begin, end, .. } = sessions.whole(session);
        closing.has_closed(end).then_some((at, row, begin, end))
    });
    Ok(shown.collect())
}
