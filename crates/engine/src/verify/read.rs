//! Reads parts of a source's partitions again, as the job did: decoded, prepared, bad records apart.

use arrow::array::AsArray;
use arrow::compute;
use arrow::datatypes::{DataType, FieldRef, Int64Type, TimeUnit};
use millstream_dataflow::graph::SourceNode;
use millstream_dataflow::source::{BadRecord, Offset, Partition, Prepare, Prepared, Reader, State};
use millstream_dataflow::{Delta, Error, Kind, Result};
use millstream_planner::logical;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::facts::Range;

/// Rows of a poll.
const POLL_ROWS: usize = 8_192;
const POLL_WAIT: Duration = Duration::from_millis(50);
/// How long rows that were there before are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a part of a partition holds.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) range: Range,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) bad: Vec<BadRecord>,
}

/// Rows that were polled together, and the offset of each.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) delta: Delta,
    pub(crate) offsets: Vec<i64>,
}

/// Reads ranges of a source, some at the same time; gives them in their order.
///
/// # Errors
/// When a range cannot be read to its end any more.
pub(crate) fn ranges(source: &SourceNode, ranges: &[Range]) -> Result<Vec<Part>> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicUsize::new(0);
    let (done_in, done) = mpsc::sync_channel(ranges.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..cores.min(ranges.len()) {
            let (next, done_in) = (&next, done_in.clone());
            scope.spawn(move || {
                while let Some((at, range)) = pick(ranges, next) {
                    // The channel has room for all.
                    let _ = done_in.send((at, self::range(source, range)));
                }
            });
        }
    });
    drop(done_in);
    let mut parts: Vec<(usize, Result<Part>)> = done.iter().collect();
    parts.sort_by_key(|(at, _)| *at);
    if parts.len() < ranges.len() {
        return Err(Error::internal("a reader has panicked"));
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

fn pick<'a>(ranges: &'a [Range], next: &AtomicUsize) -> Option<(usize, &'a Range)> {
    let at = next.fetch_add(1, SeqCst);
    Some((at, ranges.get(at)?))
}

fn range(source: &SourceNode, range: &Range) -> Result<Part> {
    let mut part = Part {
        range: range.clone(),
        pieces: Vec::new(),
        bad: Vec::new(),
    };
    each_poll(source, range, |piece, bad| {
        part.take(piece, bad, source.prepare.as_ref())
    })?;
    Ok(part)
}

/// Calls `take` with what a range holds, poll by poll.
fn each_poll(
    source: &SourceNode,
    range: &Range,
    take: impl FnMut(Piece, Vec<BadRecord>) -> Result<()>,
) -> Result<()> {
    if range.end <= range.start {
        return Ok(());
    }
    poll_all(source, range, take).map_err(|error| {
        let place = format!("table {}, partition {}", range.table, range.partition);
        error.context(place)
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long the outside is waited for is no part of any result"
)]
fn poll_all(
    source: &SourceNode,
    range: &Range,
    mut take: impl FnMut(Piece, Vec<BadRecord>) -> Result<()>,
) -> Result<()> {
    let partition = Partition {
        name: range.partition.clone(),
        start: range.start,
        end: Some(range.end),
    };
    let mut reader: Option<Box<dyn Reader>> = None;
    let (mut position, mut moved) = (range.start, Instant::now());
    while position < range.end {
        let before = position;
        match poll(source, &partition, &mut reader, position) {
            Ok((piece, bad, to, state)) => {
                position = to;
                let (piece, bad) = piece.before(range.end, bad);
                take(piece, bad)?;
                if state == State::End {
                    break;
                }
            }
            Err(error) if error.kind == Kind::Retryable && moved.elapsed() < PATIENCE => {
                std::thread::park_timeout(POLL_WAIT);
            }
            Err(error) => return Err(error),
        }
        if position > before {
            moved = Instant::now();
        } else if moved.elapsed() >= PATIENCE {
            break;
        }
    }
    if position < range.end {
        return Err(Error::user(format!(
            "it ends at offset {} now, but the views were computed from it up to {}",
            position.0, range.end.0
        ))
        .hint("what was read must still be there: mind a topic's retention, and files that are written anew"));
    }
    Ok(())
}

type Polled = (Piece, Vec<BadRecord>, Offset, State);

fn poll(
    source: &SourceNode,
    partition: &Partition,
    reader: &mut Option<Box<dyn Reader>>,
    from: Offset,
) -> Result<Polled> {
    let reader = match reader {
        Some(reader) => reader,
        None => reader.insert(source.source.open(partition, from)?),
    };
    let polled = reader.poll(POLL_ROWS, POLL_WAIT)?;
    let offsets = (0..polled.delta.rows()).map(|row| polled.offsets.get(row).0);
    let piece = Piece {
        offsets: offsets.collect(),
        delta: polled.delta,
    };
    Ok((piece, polled.bad, polled.position, polled.state))
}

impl Piece {
    /// What stands before an offset.
    fn before(mut self, end: Offset, mut bad: Vec<BadRecord>) -> (Self, Vec<BadRecord>) {
        let rows = self.offsets.partition_point(|offset| *offset < end.0);
        self.offsets.truncate(rows);
        bad.retain(|record| record.offset < end);
        let delta = self.delta.slice(0, rows);
        (Self { delta, ..self }, bad)
    }
}

impl Part {
    /// Adds what was polled, prepared.
    fn take(&mut self, polled: Piece, bad: Vec<BadRecord>, prepare: &dyn Prepare) -> Result<()> {
        self.bad.extend(bad);
        if polled.delta.is_empty() {
            return Ok(());
        }
        let prepared = prepared(prepare, &polled.delta)?;
        let mut offsets = polled.offsets;
        let mut refused = prepared.refused.into_iter().peekable();
        let mut row = 0;
        offsets.retain(|offset| {
            let why = refused.next_if(|(refused, _)| *refused == row);
            row += 1;
            let is_kept = why.is_none();
            self.bad.extend(why.map(|(_, reason)| BadRecord {
                bytes: Vec::new(),
                offset: Offset(*offset),
                reason,
            }));
            is_kept
        });
        self.pieces.push(Piece {
            delta: prepared.delta,
            offsets,
        });
        Ok(())
    }
}

/// The rows that stand behind the watermark of their own partition: no others can have been late, unless a partition was idle.
///
/// # Errors
/// When a range cannot be read again.
pub(crate) fn behind(source: &SourceNode, ranges: &[Range]) -> Result<u64> {
    let schema = source.prepare.schema();
    let is_time = |field: &FieldRef| logical::role(field) == Some(logical::Role::Rowtime);
    let Some(time) = schema.fields().iter().position(is_time) else {
        return Ok(0);
    };
    let per_ms = match schema.field(time).data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000,
        _ => 1,
    };
    let mut behind = 0;
    for range in ranges {
        let mut watermark = i64::MIN;
        each_poll(source, range, |piece, _| {
            for row in 0..piece.delta.rows() {
                let row = prepared(source.prepare.as_ref(), &piece.delta.slice(row, 1))?;
                let times = compute::cast(row.delta.column(time), &DataType::Int64)?;
                let times = times.as_primitive::<Int64Type>();
                let is_behind = |time: i64| time <= watermark.saturating_mul(per_ms);
                behind += times
                    .iter()
                    .flatten()
                    .filter(|time| is_behind(*time))
                    .count() as u64;
                watermark = watermark.max(row.watermark_ms.unwrap_or(i64::MIN));
            }
            Ok(())
        })?;
    }
    Ok(behind)
}

/// Prepares rows; when a value fails all of them, each half by itself, down to the row that is at fault.
fn prepared(prepare: &dyn Prepare, delta: &Delta) -> Result<Prepared> {
    let rows = delta.rows();
    let error = match prepare.prepare(delta.clone()) {
        Err(error) if error.kind == Kind::BadData => error,
        outcome => return outcome,
    };
    if rows <= 1 {
        return Ok(Prepared {
            delta: Delta::empty(prepare.schema()),
            watermark_ms: None,
            refused: vec![(0, error.to_string())],
        });
    }
    let left = prepared(prepare, &delta.slice(0, rows / 2))?;
    let right = prepared(prepare, &delta.slice(rows / 2, rows - rows / 2))?;
    let moved = right
        .refused
        .into_iter()
        .map(|(row, why)| (row + rows / 2, why));
    Ok(Prepared {
        delta: Delta::concat(&prepare.schema(), &[left.delta, right.delta])?,
        watermark_ms: left.watermark_ms.max(right.watermark_ms),
        refused: left.refused.into_iter().chain(moved).collect(),
    })
}
