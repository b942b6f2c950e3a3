//! OVER against loops over all rows.

use super::*;
use arrow::datatypes::{DataType, Field};
use millstream_dataflow::testing::{Random, Script, check, delta, schema};
use std::collections::BTreeMap;

const COLUMNS: &str = "p text, t timestamp, v bigint";

#[derive(Clone, Debug)]
struct Row {
    partition: usize,
    second: usize,
    value: Option<i64>,
}

impl Row {
    fn text(&self) -> String {
        let value = self
            .value
            .map_or("NULL".to_owned(), |value| value.to_string());
        format!(
            "p{} 1970-01-01T00:00:{:02} {value}",
            self.partition, self.second
        )
    }
}

fn calls() -> Vec<Call> {
    let call = |function: Function, args: &[usize], name: &str| Call {
        function,
        args: args.to_vec(),
        filter: None,
        distinct: false,
        output: Field::new(name, DataType::Int64, true),
    };
    vec![
        call(Function::Count, &[], "n"),
        call(Function::Sum, &[2], "total"),
        call(Function::Max, &[2], "most"),
    ]
}

fn in_order_calls() -> Vec<Call> {
    let mut calls = calls();
    for function in [Function::FirstValue, Function::LastValue] {
        calls.push(Call {
            function,
            output: Field::new(function.name(), DataType::Int64, true),
            ..calls[1].clone()
        });
    }
    calls
}

fn oracle(rows: &[Row], frame: Frame, by_arrival: bool, first_last: bool) -> String {
    let mut rows = rows.to_vec();
    if !by_arrival {
        rows.sort_by_key(|row| row.second);
    }
    let mut lines: BTreeMap<String, i64> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        let mine: Vec<&Row> = rows
            .iter()
            .enumerate()
            .filter(|(other, r)| {
                let peer = matches!(frame, Frame::Range(_)) && r.second == row.second;
                r.partition == row.partition && (*other <= at || peer)
            })
            .map(|(_, row)| row)
            .collect();
        let mine: Vec<&Row> = match frame {
            Frame::Rows(Some(n)) => mine[mine.len().saturating_sub(n as usize + 1)..].to_vec(),
            Frame::Range(Some(ms)) => {
                let from = row.second as i64 - ms / 1000;
                mine.into_iter()
                    .filter(|r| r.second as i64 >= from)
                    .collect()
            }
            Frame::Rows(None) | Frame::Range(None) => mine,
        };
        let values: Vec<i64> = mine.iter().filter_map(|row| row.value).collect();
        let show = |value: Option<i64>| value.map_or("NULL".to_owned(), |value| value.to_string());
        let sum = (!values.is_empty()).then(|| values.iter().sum());
        let mut line = format!(
            "{} {} {} {}",
            row.text(),
            mine.len(),
            show(sum),
            show(values.iter().max().copied())
        );
        if first_last {
            line = format!(
                "{line} {} {}",
                show(values.first().copied()),
                show(values.last().copied())
            );
        }
        *lines.entry(line).or_default() += 1;
    }
    let mut lines: Vec<String> = lines
        .iter()
        .map(|(row, n)| format!("{n:+} {row}"))
        .collect();
    lines.sort();
    lines.join(" / ")
}

/// Rows out of order, but never late.
fn script(seed: u64) -> (Script, Vec<Row>) {
    let mut random = Random(seed);
    let (mut script, mut rows) = (Script::new(), Vec::new());
    for step in 0..14_usize {
        let mut lines = Vec::new();
        for _ in 0..random.below(8) {
            let row = Row {
                partition: random.below(3),
                second: step * 3 + 1 + random.below(7),
                value: (random.below(5) > 0).then(|| random.below(20) as i64),
            };
            lines.push(format!("+1 {}", row.text()));
            rows.push(row);
        }
        script = script.step(
            vec![(0, delta(COLUMNS, &lines.join(" / ")))],
            step as i64 * 3000 + 3000,
        );
    }
    (script.step(Vec::new(), i64::MAX), rows)
}

#[test]
fn every_frame_equals_the_definition() {
    for (seed, frame) in (1..).zip([
        Frame::Rows(None),
        Frame::Rows(Some(0)),
        Frame::Rows(Some(3)),
        Frame::Range(None),
        Frame::Range(Some(0)),
        Frame::Range(Some(5000)),
    ]) {
        for first_last in [false, true] {
            let (script, rows) = script(seed);
            let calls = if first_last {
                in_order_calls()
            } else {
                calls()
            };
            let over = Over::new(schema(COLUMNS), vec![0], Some(1), frame, calls).unwrap();
            let expected = oracle(&rows, frame, false, first_last);
            assert_eq!(check(&over, &script), expected, "{over}");
        }
    }
}

#[test]
fn without_a_time_rows_are_taken_as_they_arrive() {
    for frame in [Frame::Rows(None), Frame::Rows(Some(2))] {
        let (script, rows) = script(9);
        let over = Over::new(schema(COLUMNS), vec![0], None, frame, in_order_calls()).unwrap();
        assert_eq!(
            check(&over, &script),
            oracle(&rows, frame, true, true),
            "{over}"
        );
    }
}

#[test]
fn lag_looks_at_rows_before() {
    let script = |rows: &str, watermark: i64| {
        let rows = rows.replace('@', "1970-01-01T00:00:0");
        Script::new().step(vec![(0, delta(COLUMNS, &rows))], watermark)
    };
    let script = script(
        "+1 a @3 3 / +1 a @1 1 / +1 b @1 9 / +1 a @2 NULL / +1 a @4 4",
        9000,
    );
    let over = Over::new(
        schema(COLUMNS),
        vec![0],
        Some(1),
        Frame::Rows(Some(2)),
        vec![],
    )
    .unwrap();
    assert!(over.clone().lag(2, 3, "far").is_err());
    let over = over.lag(2, 1, "one").unwrap().lag(2, 2, "two").unwrap();
    let expected = "+1 a @1 1 NULL NULL / +1 a @2 NULL 1 NULL / +1 a @3 3 NULL 1 / +1 a @4 4 3 NULL / +1 b @1 9 NULL NULL";
    assert_eq!(
        check(&over, &script),
        expected.replace('@', "1970-01-01T00:00:0")
    );
    assert_eq!(over.schema().field(4).name(), "two");
}

#[test]
fn late_rows_are_counted_and_old_ones_dropped() {
    let frame = Frame::Range(Some(2000));
    for calls in [calls(), in_order_calls()] {
        let over = Over::new(schema(COLUMNS), vec![0], Some(1), frame, calls).unwrap();
        let mut operator = over.build().unwrap();
        let mut out = millstream_dataflow::Output::default();
        let mut at = |rows: &str, watermark: i64| {
            let rows = rows.replace('@', "1970-01-01T00:00:0");
            operator.step(0, delta(COLUMNS, &rows), &mut out).unwrap();
            let time = millstream_dataflow::StepTime {
                step: millstream_dataflow::Step(1),
                watermark: millstream_dataflow::Watermark(watermark),
                now_ms: 0,
            };
            operator.advance(time, &mut out).unwrap();
            let rows: usize = out
                .take()
                .iter()
                .map(millstream_dataflow::Delta::rows)
                .sum();
            let mut saved = Vec::new();
            let mut fresh = Vec::new();
            operator.tables()[0].changes(&mut saved).unwrap();
            for change in &saved {
                fresh.push((change.rows() as i64) * change.weight(0));
            }
            (rows, out.take_late(), fresh.iter().sum::<i64>())
        };
        assert_eq!(at("+1 a @1 1 / +1 b @2 1", 1000), (1, 0, 2));
        // Row b enters its frame: it is saved again.
        assert_eq!(at("+1 a @1 1 / +1 a NULL 1", 2000), (1, 2, 1));
        assert_eq!(at("", 3000), (0, 0, -1));
        assert_eq!(at("", 4000), (0, 0, -1));
    }
}

#[test]
fn it_says_what_it_does() {
    let over = Over::new(
        schema(COLUMNS),
        vec![0],
        Some(1),
        Frame::Rows(Some(3)),
        calls(),
    )
    .unwrap();
    assert_eq!(
        over.to_string(),
        "Over: keys=[p] [COUNT(*), SUM(v), MAX(v)] in order of t, ROWS 3 PRECEDING"
    );
    let refused = Over::new(
        schema(COLUMNS),
        vec![0],
        None,
        Frame::Range(Some(1)),
        calls(),
    );
    assert!(refused.unwrap_err().message.contains("event time"));
}
