//! TUMBLE, HOP and CUMULATE: each row once for each of its windows. Where a GROUP BY is above: the windows that have closed, without
//! the rows that came after that.

use arrow::array::{ArrayRef, TimestampMillisecondArray, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan};
use millstream_dataflow::{Error, Result, Watermark};
use millstream_planner::logical::{Role, Window};
use std::sync::Arc;

use super::{Arrivals, Part, Promise, Walk, Wish, role_of};
use crate::verify::marks::Marks;
use crate::verify::zone::Zone;

/// A window function over rows.
pub(super) struct Windows<'a> {
    pub(super) input: &'a LogicalPlan,
    pub(super) time: &'a Expr,
    pub(super) partition: &'a [Expr],
    pub(super) kind: Window,
    /// The columns: the rows' own, then the window's begin, end and last millisecond.
    pub(super) names: &'a DFSchemaRef,
}

/// A row in a window: of which batch, which, from when, until when.
pub(super) type Assigned = (usize, u32, i64, i64);

/// Which windows show, and which rows came too late for them.
pub(super) struct Closing {
    zone: Zone,
    watermark: Watermark,
    /// Before each step.
    before: Option<Vec<i64>>,
}

impl Closing {
    /// Whether a window that ends at this local time has closed.
    pub(super) fn has_closed(&self, end: i64) -> bool {
        self.instant(end) <= self.watermark.0
    }

    /// Whether it had closed before the step at this place.
    pub(super) fn had_closed(&self, end: i64, step: i64) -> bool {
        let before = self
            .before
            .as_ref()
            .and_then(|before| before.get(step as usize));
        before.is_some_and(|before| self.instant(end) <= *before)
    }

    /// The last moment of a window that ends at this local time.
    fn instant(&self, end: i64) -> i64 {
        self.zone.instant(end.saturating_sub(1))
    }
}

impl Walk<'_, '_> {
    pub(super) async fn windows(&mut self, windows: Windows<'_>, closed: bool) -> Result<Part> {
        let part = self.part(windows.input, Wish::default()).await?;
        let mut marks = part.marks.clone();
        marks.decide_by([windows.time], windows.input.schema());
        marks.decide_by(windows.partition, windows.input.schema());
        let is_session = matches!(windows.kind, Window::Session { .. });
        if !closed {
            if is_session {
                return Err(super::no_batch("SESSION without GROUP BY"));
            }
            let names = windows.names;
            let plan = self
                .assigned(part.plan, windows.time, windows.kind, names)
                .await?;
            let all: Vec<usize> = (0..names.fields().len()).collect();
            return Ok(Part {
                plan: super::as_named(plan, names, &all)?,
                promise: part.promise,
                marks,
            });
        }
        let by_clock = role_of(windows.time, windows.input.schema()) == Some(Role::Proctime);
        if by_clock && self.batch.facts.history.is_none() {
            return Ok(unknown(&windows, part.promise));
        }
        let mut exprs = vec![windows.time.clone()];
        exprs.extend(windows.partition.iter().cloned());
        let arrivals = self.arrivals(windows.input, &part, &exprs).await?;
        let closing = self.closing(&windows, &part.promise, by_clock)?;
        let times = local_times(&arrivals, closing.zone)?;
        let rows = match windows.kind {
            Window::Session { gap_ms } => {
                super::sessions::assign(&arrivals, &times, gap_ms, &closing)?
            }
            kind => assign_open(&arrivals, &times, kind, &closing),
        };
        let batches = batches(&arrivals, &rows, closing.zone, windows.names)?;
        Ok(Part {
            plan: self.held(windows.names, batches)?,
            promise: Promise {
                ordered: arrivals.ordered,
                may_lack_late: part.promise.may_lack_late || !arrivals.has_steps,
                ..part.promise
            },
            marks,
        })
    }

    fn closing(&self, windows: &Windows<'_>, promise: &Promise, by_clock: bool) -> Result<Closing> {
        let (_, time) = datafusion::logical_expr::ExprSchemable::to_field(
            windows.time,
            windows.input.schema().as_ref(),
        )
        .map_err(millstream_planner::from_datafusion)?;
        let zone = Zone::of(time.data_type())?;
        if by_clock {
            let now_ms = self.batch.facts.now_ms.unwrap_or(i64::MIN);
            return Ok(Closing {
                zone,
                // Rows of this very millisecond may still come.
                watermark: Watermark(now_ms.saturating_sub(1)),
                before: None,
            });
        }
        Ok(Closing {
            zone,
            watermark: self.watermark(&promise.tables)?,
            before: self.watermarks_before(&promise.tables),
        })
    }

    /// The rows of `input` in their windows: its columns, then the window's.
    pub(super) async fn assigned(
        &self,
        input: LogicalPlan,
        time: &Expr,
        kind: Window,
        names: &DFSchemaRef,
    ) -> Result<LogicalPlan> {
        let added = names.fields()[names.fields().len() - 3..].iter();
        let added = added.map(|field| field.as_ref().clone()).collect();
        let all = super::with_fields(input.schema(), added)?;
        let arrivals = self.timed(input, time).await?;
        let zone = match arrivals.added.first() {
            Some(added) => Zone::of(added[0].data_type())?,
            None => Zone::of(&DataType::Null)?,
        };
        let times = local_times(&arrivals, zone)?;
        let mut rows = Vec::new();
        for (at, times) in times.iter().enumerate() {
            for (row, time) in times.iter().enumerate() {
                each_window(kind, *time, |begin, end| {
                    rows.push((at, row as u32, begin, end))
                });
            }
        }
        let batches = batches(&arrivals, &rows, zone, &all)?;
        self.held(&all, batches)
    }

    /// Rows with their time.
    async fn timed(&self, input: LogicalPlan, time: &Expr) -> Result<Arrivals> {
        let names = Arc::clone(input.schema());
        let schema = Arc::new(names.as_arrow().clone());
        let width = names.fields().len();
        let timed = self.with_columns(input, std::slice::from_ref(time))?;
        let (mut batches, mut added) = (Vec::new(), Vec::new());
        for batch in self.collect(&timed).await? {
            let mut columns = batch.columns().to_vec();
            added.push(columns.split_off(width));
            batches.push(super::rebuilt(&schema, columns, batch.num_rows())?);
        }
        Ok(Arrivals {
            names,
            batches,
            added,
            steps: Vec::new(),
            has_steps: false,
            ordered: false,
        })
    }
}

/// Windows of the clock, when nobody knows when rows arrived.
fn unknown(windows: &Windows<'_>, promise: Promise) -> Part {
    let why = "windows over PROCTIME(): when a row arrived is known to the job alone";
    Part {
        plan: LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: false,
            schema: Arc::clone(windows.names),
        }),
        promise,
        marks: Marks::doubted(why),
    }
}

/// The local times of rows, in milliseconds (rounded down).
fn local_times(arrivals: &Arrivals, zone: Zone) -> Result<Vec<Vec<i64>>> {
    let of = |added: &Vec<ArrayRef>| {
        let times = &added[0];
        if times.null_count() > 0 {
            return Err(Error::bad_data("the time of a row in a window is NULL"));
        }
        let DataType::Timestamp(unit, _) = times.data_type() else {
            return Err(Error::internal(format!(
                "a time of type {}",
                times.data_type()
            )));
        };
        let (factor, per_ms) = match unit {
            TimeUnit::Second => (1_000, 1),
            TimeUnit::Millisecond => (1, 1),
            TimeUnit::Microsecond => (1, 1_000),
            TimeUnit::Nanosecond => (1, 1_000_000),
        };
        let numbers = compute::cast(times, &DataType::Int64)?;
        let numbers = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&numbers);
        let ms = numbers.values().iter();
        let ms = ms.map(|value| value.saturating_mul(factor).div_euclid(per_ms));
        Ok(ms.map(|ms| zone.local(ms)).collect())
    };
    arrivals.added.iter().map(of).collect()
}

/// The rows in their windows that show.
fn assign_open(
    arrivals: &Arrivals,
    times: &[Vec<i64>],
    kind: Window,
    closing: &Closing,
) -> Vec<Assigned> {
    let mut rows = Vec::new();
    // Most rows' windows are the last row's.
    let mut known: Option<(i64, bool)> = None;
    for (at, row) in arrivals.places() {
        let step = arrivals.steps.get(at).map(|steps| steps[row]);
        each_window(kind, times[at][row], |begin, end| {
            let has_closed = match known {
                Some((known, has_closed)) if known == end => has_closed,
                _ => closing.has_closed(end),
            };
            known = Some((end, has_closed));
            let is_late = step.is_some_and(|step| closing.had_closed(end, step));
            if has_closed && !is_late {
                rows.push((at, row as u32, begin, end));
            }
        });
    }
    rows
}

/// Calls `each` with begin and end of the windows that a time is in.
fn each_window(kind: Window, time: i64, mut each: impl FnMut(i64, i64)) {
    // The last multiple of a length, counted from an offset, that is not after the time.
    let before = |length: i64, offset: i64| time - (time - offset).rem_euclid(length);
    match kind {
        Window::Tumble { size_ms, offset_ms } => {
            let begin = before(size_ms, offset_ms);
            each(begin, begin + size_ms);
        }
        Window::Hop {
            slide_ms,
            size_ms,
            offset_ms,
        } => {
            let mut begins = Vec::new();
            let mut begin = before(slide_ms, offset_ms);
            while begin + size_ms > time {
                begins.push(begin);
                begin -= slide_ms;
            }
            begins
                .into_iter()
                .rev()
                .for_each(|begin| each(begin, begin + size_ms));
        }
        Window::Cumulate {
            step_ms,
            max_ms,
            offset_ms,
        } => {
            let begin = before(max_ms, offset_ms);
            let first = begin + ((time - begin) / step_ms + 1) * step_ms;
            let mut end = first;
            while end <= begin + max_ms {
                each(begin, end);
                end += step_ms;
            }
        }
        Window::Session { .. } => {}
    }
}

/// Rows with the bounds of their windows as last columns.
fn batches(
    arrivals: &Arrivals,
    rows: &[Assigned],
    zone: Zone,
    names: &DFSchemaRef,
) -> Result<Vec<arrow::array::RecordBatch>> {
    let schema = Arc::new(names.as_arrow().clone());
    let mut batches = Vec::new();
    let width = schema.fields().len() - 3;
    for run in rows.chunk_by(|one, other| one.0 == other.0) {
        let picks = UInt32Array::from_iter_values(run.iter().map(|(_, row, _, _)| *row));
        let columns = &arrivals.batches[run[0].0].columns()[..width];
        let mut columns = compute::take_arrays(columns, &picks, None)?;
        let mut last: Option<(i64, i64)> = None;
        let mut window_time = |end: i64| match last {
            Some((known, time)) if known == end => time,
            _ => {
                let time = zone.instant(end - 1);
                last = Some((end, time));
                time
            }
        };
        let begins = run.iter().map(|(_, _, begin, _)| *begin);
        let ends = run.iter().map(|(_, _, _, end)| *end);
        let times = run.iter().map(|(_, _, _, end)| window_time(*end));
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(times));
        let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let kind = schema.field(width + 2).data_type();
        let times = match kind {
            DataType::Timestamp(_, Some(_)) => {
                compute::cast(&compute::cast(&times, &DataType::Int64)?, &utc)?
            }
            _ => times,
        };
        columns.push(Arc::new(TimestampMillisecondArray::from_iter_values(
            begins,
        )));
        columns.push(Arc::new(TimestampMillisecondArray::from_iter_values(ends)));
        columns.push(compute::cast(&times, kind)?);
        batches.push(super::rebuilt(&schema, columns, run.len())?);
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(kind: Window, time: i64) -> Vec<(i64, i64)> {
        let mut all = Vec::new();
        each_window(kind, time, |begin, end| all.push((begin, end)));
        all
    }

    #[test]
    fn a_time_is_in_these_windows() {
        let tumble = Window::Tumble {
            size_ms: 10,
            offset_ms: 3,
        };
        assert_eq!(windows(tumble, 2), [(-7, 3)]);
        assert_eq!(windows(tumble, 3), [(3, 13)]);
        let hop = Window::Hop {
            slide_ms: 5,
            size_ms: 15,
            offset_ms: 0,
        };
        assert_eq!(windows(hop, -1), [(-15, 0), (-10, 5), (-5, 10)]);
        let sparse = Window::Hop {
            slide_ms: 10,
            size_ms: 5,
            offset_ms: 0,
        };
        assert_eq!(
            (windows(sparse, 4), windows(sparse, 5)),
            (vec![(0, 5)], vec![])
        );
        let cumulate = Window::Cumulate {
            step_ms: 5,
            max_ms: 15,
            offset_ms: 0,
        };
        assert_eq!(windows(cumulate, 7), [(0, 10), (0, 15)]);
        assert_eq!(windows(cumulate, 14), [(0, 15)]);
    }
}
