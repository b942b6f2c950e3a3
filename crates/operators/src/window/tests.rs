//! Windows against an oracle that keeps every row of every window.

use super::*;
use crate::aggregate::Call;
use crate::aggregate::tests::{call, oracle};
use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream_dataflow::testing::{Random, Script, check, delta_of, run, schema};
use millstream_dataflow::{Delta, Output, Spec, Step, StepTime, Watermark};
use std::collections::BTreeMap;
use std::sync::Arc;

const COLUMNS: &str = "ts timestamp, k text, a bigint, b text, f boolean";
const CALLS: [&str; 8] = [
    "COUNT(*)",
    "SUM(a)",
    "AVG(a)",
    "MIN(a)",
    "MAX(b)",
    "COUNT(DISTINCT b)",
    "COUNT(*) FILTER f",
    "SUM(DISTINCT a) FILTER f",
];

fn calls(input: &SchemaRef) -> Vec<Call> {
    CALLS.iter().map(|text| call(input, text)).collect()
}

fn spec(window: Window, keys: &[usize], append_only: bool) -> WindowAggregate {
    let input = schema(COLUMNS);
    let calls = calls(&input);
    let mut columns = vec![
        WindowColumn::Start("window_start".into()),
        WindowColumn::End("window_end".into()),
    ];
    columns.extend((0..keys.len()).map(WindowColumn::Key));
    columns.extend((0..calls.len()).map(WindowColumn::Call));
    WindowAggregate::new(input, window, 0, keys.to_vec(), calls, columns, append_only).unwrap()
}

/// A step: rows (weight, time, all columns as words), and the watermark after it.
type Steps = Vec<(Vec<(i64, i64, String)>, i64)>;

/// Rows around a time that moves on, some of them late.
fn steps(seed: u64, append_only: bool) -> Steps {
    let input = schema(COLUMNS);
    let mut random = Random(seed);
    let mut there: Vec<(i64, String)> = Vec::new();
    let mut steps = Steps::new();
    for step in 0..10_i64 {
        let mut rows = Vec::new();
        for _ in 0..random.below(9) {
            if !append_only && !there.is_empty() && random.below(4) == 0 {
                let (ms, row) = there.swap_remove(random.below(there.len()));
                rows.push((-1, ms, row));
                continue;
            }
            let ms = step * 3000 + random.below(9000) as i64 - 5000;
            let rest = oracle::random_row(&input, &mut random);
            let rest = rest.split_once(' ').unwrap().1;
            let row = format!("{} {rest}", time(ms));
            there.push((ms, row.clone()));
            rows.push((1, ms, row));
        }
        steps.push((rows, step * 3000 - 2000));
    }
    steps.push((Vec::new(), i64::MAX));
    steps
}

fn script(steps: &Steps) -> Script {
    let input = schema(COLUMNS);
    steps
        .iter()
        .fold(Script::new(), |script, (rows, watermark)| {
            let lines: Vec<String> = rows
                .iter()
                .map(|(weight, _, row)| format!("{weight:+} {row}"))
                .collect();
            script.step(vec![(0, delta_of(&input, &lines.join(" / ")))], *watermark)
        })
}

fn time(ms: i64) -> String {
    let array = TimestampMillisecondArray::from(vec![ms]);
    let options = FormatOptions::default();
    ArrayFormatter::try_new(&array, &options)
        .unwrap()
        .value(0)
        .to_string()
}

type Held = BTreeMap<(i64, i64, Vec<String>), Vec<Vec<String>>>;

/// What the windows hold that the end of the script has fired.
fn sliced_oracle(window: Window, keys: &[usize], steps: &Steps) -> String {
    let mut held = Held::new();
    let mut before = i64::MIN;
    for (rows, watermark) in steps {
        for (weight, ms, row) in rows {
            let words: Vec<String> = row.split(' ').map(str::to_owned).collect();
            let key: Vec<String> = keys.iter().map(|key| words[*key].clone()).collect();
            naive_windows(window, *ms, |begin, end| {
                if before >= end - 1 {
                    return;
                }
                let rows = held.entry((begin, end, key.clone())).or_default();
                if *weight > 0 {
                    rows.push(words.clone());
                } else {
                    let at = rows.iter().position(|held| *held == words).unwrap();
                    rows.remove(at);
                }
            });
        }
        before = *watermark;
    }
    expected(held)
}

/// Every window by trying all begins.
fn naive_windows(window: Window, ms: i64, mut each: impl FnMut(i64, i64)) {
    let (every, lengths, offset) = match window {
        Window::Tumble { size_ms, offset_ms } => (size_ms, vec![size_ms], offset_ms),
        Window::Hop {
            slide_ms,
            size_ms,
            offset_ms,
        } => (slide_ms, vec![size_ms], offset_ms),
        Window::Cumulate {
            step_ms,
            max_ms,
            offset_ms,
        } => (
            max_ms,
            (1..=max_ms / step_ms).map(|n| n * step_ms).collect(),
            offset_ms,
        ),
        Window::Session { .. } => unreachable!(),
    };
    for begin in (-200..200).map(|n| n * every + offset) {
        for length in &lengths {
            if begin <= ms && ms < begin + length {
                each(begin, begin + length);
            }
        }
    }
}

fn expected(held: Held) -> String {
    let calls = calls(&schema(COLUMNS));
    let mut lines: Vec<String> = held
        .into_iter()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|((begin, end, key), rows)| {
            let mut words = vec![time(begin), time(end)];
            words.extend(key);
            words.extend(calls.iter().map(|call| oracle::result(call, &rows)));
            let words: Vec<String> = words.iter().map(|word| oracle::printed(word)).collect();
            format!("+1 {}", words.join(" "))
        })
        .collect();
    lines.sort();
    lines.join(" / ")
}

#[test]
fn windows_hold_what_they_should() {
    for window in [
        Window::Tumble {
            size_ms: 4000,
            offset_ms: 0,
        },
        Window::Tumble {
            size_ms: 5000,
            offset_ms: 1500,
        },
        Window::Hop {
            slide_ms: 2000,
            size_ms: 6000,
            offset_ms: 0,
        },
        Window::Hop {
            slide_ms: 500,
            size_ms: 20_000,
            offset_ms: 200,
        },
        Window::Hop {
            slide_ms: 3000,
            size_ms: 5000,
            offset_ms: -500,
        },
        Window::Hop {
            slide_ms: 6000,
            size_ms: 4000,
            offset_ms: 0,
        },
        Window::Cumulate {
            step_ms: 2000,
            max_ms: 8000,
            offset_ms: 0,
        },
        Window::Cumulate {
            step_ms: 1000,
            max_ms: 3000,
            offset_ms: 500,
        },
    ] {
        for (append_only, keys) in [
            (true, vec![1]),
            (false, vec![1]),
            (true, vec![]),
            (false, vec![4, 1]),
        ] {
            let spec = spec(window, &keys, append_only);
            for seed in 1..=2 {
                let steps = steps(seed, append_only);
                assert_eq!(
                    check(&spec, &script(&steps)),
                    sliced_oracle(window, &keys, &steps),
                    "{window} append_only={append_only} seed {seed}"
                );
            }
        }
    }
}

/// Begin, end, key and rows.
type OpenSession = (i64, i64, Vec<String>, Vec<Vec<String>>);

/// Sessions, one row after the other.
fn session_oracle(gap: i64, keys: &[usize], steps: &Steps) -> String {
    let mut open: Vec<OpenSession> = Vec::new();
    let mut held = Held::new();
    let mut before = i64::MIN;
    for (rows, watermark) in steps {
        for (_, ms, row) in rows {
            let words: Vec<String> = row.split(' ').map(str::to_owned).collect();
            let key: Vec<String> = keys.iter().map(|key| words[*key].clone()).collect();
            let mut merged = (*ms, *ms + gap, key, vec![words]);
            open.retain(|(begin, end, key, rows)| {
                let touches = *key == merged.2 && *begin <= ms + gap && *end >= *ms;
                if touches {
                    merged.0 = merged.0.min(*begin);
                    merged.1 = merged.1.max(*end);
                    merged.3.extend(rows.clone());
                }
                !touches
            });
            if before < merged.1 - 1 {
                open.push(merged);
            }
        }
        before = *watermark;
        open.retain(|(begin, end, key, rows)| {
            let fires = *watermark >= end - 1;
            if fires {
                held.insert((*begin, *end, key.clone()), rows.clone());
            }
            !fires
        });
    }
    expected(held)
}

#[test]
fn sessions_grow_merge_and_end() {
    for gap_ms in [700, 1500, 4000] {
        for keys in [vec![1], vec![], vec![4, 1]] {
            let spec = spec(Window::Session { gap_ms }, &keys, true);
            for seed in 1..=3 {
                let steps = steps(seed, true);
                assert_eq!(
                    check(&spec, &script(&steps)),
                    session_oracle(gap_ms, &keys, &steps),
                    "gap {gap_ms} seed {seed}"
                );
            }
        }
    }
}

#[test]
fn a_row_exactly_at_the_gap_belongs_to_the_session() {
    let spec = spec(Window::Session { gap_ms: 1000 }, &[], true);
    let row = |ms: i64| (1, ms, format!("{} x 1 y true", time(ms)));
    let held = |rows: Vec<(i64, i64, String)>| {
        let all = run(
            &spec,
            &script(&vec![(rows, 0), (vec![], i64::MAX)]),
            1,
            None,
        );
        all[0].rows()
    };
    assert_eq!(held(vec![row(0), row(1000)]), 1);
    assert_eq!(held(vec![row(0), row(1001)]), 2);
    assert_eq!(held(vec![row(0), row(1900), row(950)]), 1);
}

#[test]
fn a_window_fires_once_in_order_and_late_rows_are_counted() {
    let spec = spec(
        Window::Tumble {
            size_ms: 1000,
            offset_ms: 0,
        },
        &[],
        true,
    );
    let mut operator = spec.build().unwrap();
    let mut out = Output::default();
    let rows = |times: &[i64]| {
        let lines: Vec<String> = times
            .iter()
            .map(|ms| format!("+1 {} x 1 y true", time(*ms)))
            .collect();
        delta_of(&schema(COLUMNS), &lines.join(" / "))
    };
    let at = |ms| StepTime {
        step: Step(1),
        watermark: Watermark(ms),
        now_ms: 0,
    };
    operator
        .step(0, rows(&[2500, 100, 1500]), &mut out)
        .unwrap();
    operator.advance(at(1998), &mut out).unwrap();
    let first = out.take();
    assert_eq!((first.len(), first[0].rows()), (1, 1));
    // Window [1000, 2000) is open up to the watermark 1999; [0, 1000) is closed.
    operator.step(0, rows(&[1200, 300]), &mut out).unwrap();
    assert_eq!(out.take_late(), 1);
    operator.advance(at(2999), &mut out).unwrap();
    let fired = out.take();
    assert_eq!(fired.len(), 1);
    let starts = fired[0]
        .column(0)
        .as_primitive::<TimestampMillisecondType>()
        .values()
        .to_vec();
    assert_eq!(starts, [1000, 2000]);
    operator.advance(at(9999), &mut out).unwrap();
    assert!(out.take().is_empty());
}

#[test]
fn a_row_without_a_time_is_bad_data() {
    for window in [
        Window::Tumble {
            size_ms: 1000,
            offset_ms: 0,
        },
        Window::Session { gap_ms: 10 },
    ] {
        let mut operator = spec(window, &[], true).build().unwrap();
        let rows = delta_of(&schema(COLUMNS), "+1 NULL x 1 y true");
        let error = operator.step(0, rows, &mut Output::default()).unwrap_err();
        assert_eq!(error.kind, millstream_dataflow::Kind::BadData);
    }
}

fn zoned(zone: &str, instants: &[&str]) -> Delta {
    let field = Field::new(
        "ts",
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone.into())),
        true,
    );
    let times: Vec<i64> = instants
        .iter()
        .map(|text| {
            text.parse::<chrono::NaiveDateTime>()
                .unwrap()
                .and_utc()
                .timestamp_millis()
        })
        .collect();
    let column: ArrayRef = Arc::new(TimestampMillisecondArray::from(times).with_timezone(zone));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap();
    Delta::inserts(batch)
}

#[test]
fn a_day_follows_the_clock_of_its_zone() {
    let rows = zoned(
        "Europe/Berlin",
        &[
            "2024-03-30T23:00:00",
            "2024-03-31T21:59:59",
            "2024-03-31T22:00:00",
        ],
    );
    let input = rows.schema();
    let day = Window::Tumble {
        size_ms: 86_400_000,
        offset_ms: 0,
    };
    let columns = vec![
        WindowColumn::Start("s".into()),
        WindowColumn::Call(0),
        WindowColumn::Time("t".into()),
    ];
    let calls = vec![call(&input, "COUNT(*)")];
    let spec = WindowAggregate::new(input, day, 0, vec![], calls, columns, true).unwrap();
    assert_eq!(
        spec.schema().field(2).data_type(),
        rows.schema().field(0).data_type()
    );
    let mut operator = spec.build().unwrap();
    let mut out = Output::default();
    operator.step(0, rows, &mut out).unwrap();
    // The day of 23 hours ends at 22:00 UTC.
    let end = "2024-03-31T22:00:00"
        .parse::<chrono::NaiveDateTime>()
        .unwrap();
    let end = end.and_utc().timestamp_millis();
    let at = |ms| StepTime {
        step: Step(1),
        watermark: Watermark(ms),
        now_ms: 0,
    };
    operator.advance(at(end - 2), &mut out).unwrap();
    assert!(out.take().is_empty());
    operator.advance(at(end - 1), &mut out).unwrap();
    let fired = out.take();
    let longs = |at: usize| {
        fired[0]
            .column(at)
            .as_primitive::<TimestampMillisecondType>()
            .value(0)
    };
    let count = fired[0]
        .column(1)
        .as_primitive::<arrow::datatypes::Int64Type>()
        .value(0);
    assert_eq!((time(longs(0)).as_str(), count), ("2024-03-31T00:00:00", 2));
    assert_eq!(longs(2), end - 1);
}

#[test]
fn rows_get_the_bounds_of_their_windows() {
    let rows = delta_of(
        &schema("ts timestamp, a int"),
        "+1 1970-01-01T00:00:05 1 / -1 1970-01-01T00:00:11 2",
    );
    let assign = |window| Assign::new(schema("ts timestamp, a int"), window, 0).unwrap();
    let script = Script::new().step(vec![(0, rows)], 0);
    let hop = assign(Window::Hop {
        slide_ms: 5000,
        size_ms: 10_000,
        offset_ms: 0,
    });
    let day = "1970-01-01T00:00:";
    let expected = [
        format!("+1 {day}05 1 {day}00 {day}10 {day}09.999"),
        format!("+1 {day}05 1 {day}05 {day}15 {day}14.999"),
        format!("-1 {day}11 2 {day}05 {day}15 {day}14.999"),
        format!("-1 {day}11 2 {day}10 {day}20 {day}19.999"),
    ];
    assert_eq!(check(&hop, &script), expected.join(" / "));
    let tumble = assign(Window::Tumble {
        size_ms: 10_000,
        offset_ms: 0,
    });
    assert_eq!(
        check(&tumble, &script),
        format!("{} / {}", expected[0], expected[3])
    );
    assert_eq!(tumble.to_string(), "Window TUMBLE size=10000ms on ts");
    assert!(
        Assign::new(
            schema("a int"),
            Window::Tumble {
                size_ms: 1,
                offset_ms: 0
            },
            0
        )
        .is_err()
    );
}

#[test]
fn it_prints_what_it_does() {
    let hop = Window::Hop {
        slide_ms: 2000,
        size_ms: 6000,
        offset_ms: 500,
    };
    let text = spec(hop, &[1], true).to_string();
    assert!(
        text.starts_with("WindowAggregate HOP slide=2000ms size=6000ms offset=500ms on ts keys=[k] [COUNT(*), SUM(a)"),
        "{text}"
    );
}
