//! Shows rows while the wall clock is within their bounds: `valid_from <= NOW() AND NOW() < valid_to`.
//!
//! ```text
//!            enters            leaves
//! ---kept------|-----kept--------|  forgotten
//! ```
//!
//! Whether a row shows follows from the row and the step's clock reading alone, so only rows that have yet to enter or
//! leave are kept; all others pass through, or never show.

use crate::deadline;
use crate::project;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millstream_dataflow::operator::{Bound, Checkpointed};
use millstream_dataflow::{Delta, Operator, Output, Partitioning, Result, Spec, StepTime, hash};
use millstream_state::{Arrangement, NONE, Retention};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A bound on the clock: a column with a time (NULL: the row never shows).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The column.
    pub column: usize,
    /// Whether the time itself is within.
    pub inclusive: bool,
}

/// Shows rows from `lower` on and until `upper`.
#[derive(Clone, Debug)]
pub struct TemporalFilter {
    input: SchemaRef,
    lower: Option<Limit>,
    upper: Option<Limit>,
    output: Vec<usize>,
    schema: SchemaRef,
}

impl TemporalFilter {
    /// A filter of rows with these columns: `lower <= NOW()` (`<` unless inclusive) and `NOW() < upper` (`<=` if inclusive).
    pub fn new(input: SchemaRef, lower: Option<Limit>, upper: Option<Limit>) -> Self {
        Self {
            output: (0..input.fields().len()).collect(),
            schema: Arc::clone(&input),
            input,
            lower,
            upper,
        }
    }

    /// Puts out only these columns of the input.
    ///
    /// # Errors
    /// `Internal` when there is no such column.
    pub fn output(self, columns: Vec<usize>) -> Result<Self> {
        Ok(Self {
            schema: Arc::new(self.input.project(&columns)?),
            output: columns,
            ..self
        })
    }
}

impl fmt::Display for TemporalFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |limit: &Limit| self.input.field(limit.column).name().clone();
        let sign = |inclusive: bool| if inclusive { "<=" } else { "<" };
        let lower = self
            .lower
            .map(|limit| format!("{} {} NOW()", name(&limit), sign(limit.inclusive)));
        let upper = self
            .upper
            .map(|limit| format!("NOW() {} {}", sign(limit.inclusive), name(&limit)));
        let both: Vec<String> = lower.into_iter().chain(upper).collect();
        write!(f, "TemporalFilter: {}", both.join(" AND "))
    }
}

impl Spec for TemporalFilter {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Equal rows are on one worker if and only if the input sees to that; retractions follow their rows.
    fn keys(&self, _port: usize) -> Partitioning {
        Partitioning::Any
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        project::remap(inputs.first(), |input| {
            self.output.iter().position(|column| *column == input)
        })
    }

    fn bound(&self) -> Bound {
        Bound::Clock
    }

    fn clocked(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let bounds = self.lower.iter().chain(&self.upper);
        let mut stored: Vec<usize> = bounds.map(|limit| limit.column).collect();
        stored.extend(&self.output);
        stored.sort_unstable();
        stored.dedup();
        let kept = self.input.project(&stored)?;
        let mut fields: Vec<Arc<Field>> = kept.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("entered", DataType::Int64, false)));
        let all: Vec<usize> = (0..stored.len()).collect();
        let schema = Schema::new(fields);
        Ok(Box::new(Running {
            rows: Arrangement::new("rows", &schema, &all, 1, Retention::Removable)?,
            spec: self.clone(),
            stored,
            pending: Vec::new(),
            enters: BTreeMap::new(),
            leaves: BTreeMap::new(),
            restored: false,
            now_ms: i64::MIN,
        }))
    }
}

#[derive(Debug)]
struct Running {
    spec: TemporalFilter,
    rows: Arrangement,
    stored: Vec<usize>,
    pending: Vec<Delta>,
    enters: BTreeMap<i64, Vec<u32>>,
    leaves: BTreeMap<i64, Vec<u32>>,
    restored: bool,
    now_ms: i64,
}

/// From when until when (exclusively) a row shows.
type Stay = (i64, i64);

impl Running {
    /// When each row shows; `None`: never.
    fn stays(
        &self,
        rows: usize,
        column: impl Fn(usize) -> Result<ArrayRef>,
    ) -> Result<Vec<Option<Stay>>> {
        let mut stays = vec![Some((i64::MIN, i64::MAX)); rows];
        if let Some(lower) = self.spec.lower {
            let from = deadline::from(&column(lower.column)?, lower.inclusive)?;
            for (stay, from) in stays.iter_mut().zip(from) {
                *stay = from.map(|from| (from, i64::MAX));
            }
        }
        if let Some(upper) = self.spec.upper {
            let to = deadline::from(&column(upper.column)?, !upper.inclusive)?;
            for (stay, to) in stays.iter_mut().zip(to) {
                *stay = stay.zip(to).map(|((from, _), to)| (from, to));
            }
        }
        Ok(stays
            .into_iter()
            .map(|stay| stay.filter(|(from, to)| from < to))
            .collect())
    }

    fn place(&self, column: usize) -> usize {
        self.stored.partition_point(|stored| *stored < column)
    }

    /// Takes a step's rows: shows those within their bounds, keeps those that have yet to enter or leave.
    fn arrive(&mut self, delta: &Delta, out: &mut Output) -> Result<()> {
        let now = self.now_ms;
        let stays = self.stays(delta.rows(), |column| Ok(Arc::clone(delta.column(column))))?;
        let shows = |stay: &Option<Stay>| stay.is_some_and(|(from, to)| from <= now && now < to);
        let shown = delta.filter(&stays.iter().map(|stay| Some(shows(stay))).collect())?;
        let columns: Vec<ArrayRef> = self
            .spec
            .output
            .iter()
            .map(|column| Arc::clone(shown.column(*column)))
            .collect();
        out.push(shown.with_batch(project::batch(&self.spec.schema, columns, shown.rows())?)?);
        let waits = |stay: &Option<Stay>| {
            stay.is_some_and(|(from, to)| now < to && (now < from || to != i64::MAX))
        };
        let kept = delta.filter(&stays.iter().map(|stay| Some(waits(stay))).collect())?;
        let stays: Vec<Stay> = stays.into_iter().filter(waits).flatten().collect();
        self.keep(&kept, &stays)
    }

    fn keep(&mut self, kept: &Delta, stays: &[Stay]) -> Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        let mut columns: Vec<ArrayRef> = self
            .stored
            .iter()
            .map(|column| Arc::clone(kept.column(*column)))
            .collect();
        let mut hashes = Vec::new();
        hash::rows(&columns, kept.rows(), &mut hashes)?;
        let entered = stays
            .iter()
            .map(|(from, _)| i64::from(*from <= self.now_ms));
        columns.push(Arc::new(Int64Array::from_iter_values(entered)));
        let weights = kept.weight_array();
        let mut ids = Vec::new();
        self.rows
            .apply(&columns, &hashes, weights.values(), &mut ids)?;
        for (id, stay) in ids.into_iter().zip(stays).filter(|(id, _)| *id != NONE) {
            self.set_timers(id, *stay);
        }
        Ok(())
    }

    fn set_timers(&mut self, id: u32, (from, to): Stay) {
        if self.now_ms < from {
            self.enters.entry(from).or_default().push(id);
        }
        if to != i64::MAX {
            self.leaves.entry(to).or_default().push(id);
        }
    }

    /// Lets kept rows enter and leave as the clock has moved.
    fn tick(&mut self, out: &mut Output) -> Result<()> {
        let now = self.now_ms;
        let mut due = take_due(&mut self.enters, now);
        due.extend(take_due(&mut self.leaves, now));
        due.sort_unstable();
        due.dedup();
        due.retain(|id| self.rows.log().contains(*id));
        if due.is_empty() {
            return Ok(());
        }
        let log = self.rows.log();
        let stays = self.stays(due.len(), |column| log.gather(self.place(column), &due))?;
        let entered = self.stored.len();
        let (mut turned, mut weights) = (Vec::new(), Vec::new());
        let (mut gone, mut came) = (Vec::new(), Vec::new());
        for (id, stay) in due.into_iter().zip(stays) {
            // An id may have been given to another row since its timer was set.
            let Some((from, to)) = stay else { continue };
            let (was, is) = (log.integer(entered, id) != 0, from <= now && now < to);
            if was != is {
                turned.push(id);
                weights.push(log.weight(id) * if is { 1 } else { -1 });
            }
            if to <= now || is && to == i64::MAX {
                gone.push(id);
            } else if is && !was {
                came.push(id);
            }
        }
        let columns = self
            .spec
            .output
            .iter()
            .map(|column| log.gather(self.place(*column), &turned))
            .collect::<Result<_>>()?;
        let batch = project::batch(&self.spec.schema, columns, turned.len())?;
        out.push(Delta::new(batch, weights.into())?);
        came.into_iter()
            .for_each(|id| self.rows.set_own(entered, id, 1));
        self.rows.remove(&gone)
    }

    /// Sets the timers of restored rows.
    fn refresh(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.restored) {
            return Ok(());
        }
        let ids: Vec<u32> = self.rows.log().ids().collect();
        let log = self.rows.log();
        let stays = self.stays(ids.len(), |column| log.gather(self.place(column), &ids))?;
        for (id, stay) in ids.into_iter().zip(stays) {
            if let Some(stay) = stay {
                self.set_timers(id, stay);
            }
        }
        Ok(())
    }
}

fn take_due(timers: &mut BTreeMap<i64, Vec<u32>>, now_ms: i64) -> Vec<u32> {
    let Some(later) = now_ms.checked_add(1) else {
        return std::mem::take(timers).into_values().flatten().collect();
    };
    let later = timers.split_off(&later);
    std::mem::replace(timers, later)
        .into_values()
        .flatten()
        .collect()
}

impl Operator for Running {
    fn step(&mut self, _port: usize, delta: Delta, _out: &mut Output) -> Result<()> {
        self.pending.push(delta);
        Ok(())
    }

    fn advance(&mut self, time: StepTime, out: &mut Output) -> Result<()> {
        self.refresh()?;
        // A clock that was set back shows nothing again that has left.
        self.now_ms = self.now_ms.max(time.now_ms);
        self.tick(out)?;
        for delta in std::mem::take(&mut self.pending) {
            self.arrive(&delta, out)?;
        }
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        vec![self]
    }
}

impl Checkpointed for Running {
    fn name(&self) -> &str {
        self.rows.name()
    }

    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn key_columns(&self) -> usize {
        self.rows.key_columns()
    }

    fn changes(&mut self, out: &mut Vec<Delta>) -> Result<()> {
        self.rows.changes(out)
    }

    fn restore(&mut self, change: &Delta) -> Result<()> {
        self.restored = true;
        self.rows.restore(change)
    }

    fn track(&mut self) -> Result<()> {
        self.rows.track()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::{Random, Script, check, delta, run, schema, show_sum};
    use std::collections::BTreeMap;

    const COLUMNS: &str = "a text, starts bigint, ends bigint";

    fn limit(column: usize, inclusive: bool) -> Option<Limit> {
        Some(Limit { column, inclusive })
    }

    /// Rows that come, go and are there twice, under a clock that jumps; checked after every step.
    #[test]
    fn rows_show_while_the_clock_is_within_their_bounds() {
        for (seed, lower, upper) in [
            (1, limit(1, true), limit(2, false)),
            (2, limit(1, false), limit(2, true)),
            (3, None, limit(2, false)),
            (4, limit(1, true), None),
            (5, limit(2, true), limit(1, true)),
        ] {
            let spec = TemporalFilter::new(schema(COLUMNS), lower, upper);
            let mut random = Random(seed);
            let mut rows: BTreeMap<(u64, Option<i64>, Option<i64>), i64> = BTreeMap::new();
            let (mut script, mut now) = (Script::new(), 0);
            for _ in 0..25 {
                now += random.below(6) as i64;
                let mut lines = Vec::new();
                for _ in 0..random.below(6) {
                    let number = |random: &mut Random| {
                        let near = now + random.below(14) as i64 - 4;
                        (random.below(9) != 0).then_some(near)
                    };
                    let row = (
                        random.below(2) as u64,
                        number(&mut random),
                        number(&mut random),
                    );
                    let old = rows.keys().nth(random.below(rows.len().max(1))).copied();
                    let (row, weight) = match old {
                        Some(old) if random.below(3) == 0 => (old, -1),
                        _ => (row, 1 + random.below(2) as i64),
                    };
                    let sum = rows.entry(row).or_default();
                    *sum += weight;
                    if *sum == 0 {
                        rows.remove(&row);
                    }
                    lines.push(format!("{weight:+} {}", text(&row)));
                }
                script = script.step_at(vec![(0, delta(COLUMNS, &lines.join(" / ")))], 0, now);
                let shows = |row: &(u64, Option<i64>, Option<i64>)| {
                    let value = |column: usize| if column == 1 { row.1 } else { row.2 };
                    let after = lower.is_none_or(|l| {
                        value(l.column).is_some_and(|at| at < now || l.inclusive && at == now)
                    });
                    after
                        && upper.is_none_or(|u| {
                            value(u.column).is_some_and(|at| now < at || u.inclusive && at == now)
                        })
                };
                let mut expected: Vec<String> = rows
                    .iter()
                    .filter(|(row, _)| shows(row))
                    .map(|(row, weight)| format!("{weight:+} {}", text(row)))
                    .collect();
                expected.sort();
                let shown = show_sum(&run(&spec, &script, 1, None));
                assert_eq!(shown, expected.join(" / "), "{spec} seed {seed} at {now}");
            }
            check(&spec, &script);
        }
    }

    fn text(row: &(u64, Option<i64>, Option<i64>)) -> String {
        let number = |n: Option<i64>| n.map_or("NULL".to_owned(), |n| n.to_string());
        format!(
            "name-{}-of-some-length {} {}",
            row.0,
            number(row.1),
            number(row.2)
        )
    }

    #[test]
    fn what_has_left_or_will_stay_is_not_kept() {
        let spec = TemporalFilter::new(schema(COLUMNS), limit(1, true), None);
        let mut operator = spec.output(vec![0]).unwrap().build().unwrap();
        let mut out = Output::default();
        let rows = delta(COLUMNS, "+1 soon 5 0 / +1 now 1 0 / +1 later 9 0");
        operator.step(0, rows, &mut out).unwrap();
        for (now, expected) in [(1, "+1 now"), (5, "+1 soon"), (8, ""), (9, "+1 later")] {
            let time = StepTime {
                step: millstream_dataflow::Step(1),
                watermark: millstream_dataflow::Watermark::MIN,
                now_ms: now,
            };
            operator.advance(time, &mut out).unwrap();
            assert_eq!(show_sum(&out.take()), expected);
        }
        let mut saved = Vec::new();
        operator.tables()[0].changes(&mut saved).unwrap();
        assert!(saved.iter().all(Delta::is_empty));
    }

    #[test]
    fn finer_units_enter_and_leave_at_whole_milliseconds() {
        let times: ArrayRef = Arc::new(arrow::array::TimestampNanosecondArray::from(vec![
            2_000_000, 2_000_001, -1,
        ]));
        let from = |reached| deadline::from(&times, reached).unwrap();
        assert_eq!(from(true), [Some(2), Some(3), Some(0)]);
        assert_eq!(from(false), [Some(3), Some(3), Some(0)]);
        let spec = TemporalFilter::new(schema(COLUMNS), limit(1, true), limit(2, false));
        assert_eq!(
            spec.to_string(),
            "TemporalFilter: starts <= NOW() AND NOW() < ends"
        );
    }
}
