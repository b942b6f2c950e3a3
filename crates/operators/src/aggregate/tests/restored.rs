//! What a checkpoint must keep to the last bit: results that depend on what came in which order, and on rounding.

use super::{aggregate, call};
use crate::aggregate::Call;
use crate::over::{Frame, Over};
use crate::window::{Window, WindowAggregate, WindowColumn};
use arrow::datatypes::SchemaRef;
use millstream_dataflow::testing::{Random, Script, check, delta_of, run, schema, show_sum};

const COLUMNS: &str = "ts timestamp, k text, a bigint, b text, d double, f boolean";

/// Rows with floats whose sums round, few values of all else, and some retractions of what is there.
fn script(seed: u64, append_only: bool) -> Script {
    let input = schema(COLUMNS);
    let mut random = Random(seed);
    let mut there: Vec<String> = Vec::new();
    let mut script = Script::new();
    for step in 0..12_i64 {
        let mut lines = Vec::new();
        for _ in 0..random.below(9) {
            if !append_only && !there.is_empty() && random.below(5) < 2 {
                let row = there.swap_remove(random.below(there.len()));
                lines.push(format!("-1 {row}"));
                continue;
            }
            let float = ["0.1", "1e16", "-1e16", "0.7", "3e-9", "NULL", "-0.1", "1e8"];
            let row = format!(
                "1970-01-01T00:00:{:02} k{} {} text_number_{} {} {}",
                20 + step + random.below(7) as i64 - 3,
                random.below(2),
                random.below(4),
                random.below(5),
                float[random.below(float.len())],
                random.below(2) == 0,
            );
            lines.push(format!("+1 {row}"));
            there.push(row);
        }
        let watermark = (20 + step) * 1000 - 5000;
        script = script.step(vec![(0, delta_of(&input, &lines.join(" / ")))], watermark);
    }
    script.step(Vec::new(), i64::MAX)
}

const IN_ORDER: [&str; 8] = [
    "LISTAGG(b)",
    "LISTAGG(DISTINCT b)",
    "LISTAGG(DISTINCT b) FILTER f",
    "FIRST_VALUE(DISTINCT b)",
    "LAST_VALUE(DISTINCT a) FILTER f",
    "FIRST_VALUE(b)",
    "COUNT(DISTINCT a)",
    "ARRAY_AGG(a)",
];

const ROUNDED: [&str; 7] = [
    "SUM(d)",
    "AVG(DISTINCT d)",
    "SUM(DISTINCT d) FILTER f",
    "STDDEV_POP(d)",
    "VAR_SAMP(DISTINCT d)",
    "COUNT(DISTINCT d)",
    "COLLECT(DISTINCT d)",
];

#[test]
fn groups_go_on_as_if_nothing_had_happened() {
    for calls in [&IN_ORDER[..], &ROUNDED[..]] {
        for append_only in [true, false] {
            for keys in [&[1][..], &[]] {
                let spec = aggregate(COLUMNS, keys, calls, append_only);
                for seed in 1..=3 {
                    check(&spec, &script(seed, append_only));
                }
            }
        }
    }
}

fn calls(input: &SchemaRef, calls: &[&str]) -> Vec<Call> {
    calls.iter().map(|text| call(input, text)).collect()
}

#[test]
fn windows_go_on_as_if_nothing_had_happened() {
    let input = schema(COLUMNS);
    let tumble = Window::Tumble {
        size_ms: 3000,
        offset_ms: 0,
    };
    let hop = Window::Hop {
        slide_ms: 1000,
        size_ms: 7000,
        offset_ms: 0,
    };
    let cumulate = Window::Cumulate {
        step_ms: 2000,
        max_ms: 8000,
        offset_ms: 0,
    };
    let session = Window::Session { gap_ms: 900 };
    for window in [tumble, hop, cumulate, session] {
        for texts in [&IN_ORDER[..], &ROUNDED[..]] {
            let calls = calls(&input, texts);
            let mut columns = vec![WindowColumn::End("e".into()), WindowColumn::Key(0)];
            columns.extend((0..calls.len()).map(WindowColumn::Call));
            for append_only in [true, false] {
                if !append_only && matches!(window, Window::Session { .. }) {
                    continue;
                }
                let spec = WindowAggregate::new(
                    schema(COLUMNS),
                    window,
                    0,
                    vec![1],
                    calls.clone(),
                    columns.clone(),
                    append_only,
                )
                .unwrap();
                for seed in 1..=2 {
                    let script = script(seed, append_only);
                    if texts[0] == IN_ORDER[0] {
                        check(&spec, &script);
                        continue;
                    }
                    // How slices are put together, and so how sums round, depends on the workers.
                    for (workers, save) in [(1, 1), (1, 2), (2, 3), (3, 4)] {
                        let through = run(&spec, &script, workers, None);
                        let restored = run(&spec, &script, workers, Some(seed * 10 + save));
                        assert_eq!(
                            show_sum(&through),
                            show_sum(&restored),
                            "{spec} seed {seed}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn frames_go_on_as_if_nothing_had_happened() {
    let input = schema(COLUMNS);
    for frame in [
        Frame::Rows(Some(3)),
        Frame::Rows(None),
        Frame::Range(Some(2000)),
        Frame::Range(None),
    ] {
        for texts in [
            &["SUM(d)", "AVG(d)", "STDDEV_POP(d)"][..],
            &["LISTAGG(b)", "SUM(d)"],
        ] {
            let calls = calls(&input, texts);
            let spec = Over::new(schema(COLUMNS), vec![1], Some(0), frame, calls).unwrap();
            for seed in 1..=2 {
                check(&spec, &script(seed, true));
            }
        }
    }
}
