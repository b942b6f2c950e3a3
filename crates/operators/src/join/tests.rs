//! Joins against loops over the accumulated inputs.

use super::*;
use crate::testing::compare_two;
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use millstream_dataflow::testing::{Random, Script, check, delta, schema};
use std::collections::BTreeMap;

const LEFT: &str = "k bigint, t text, a bigint";
const RIGHT: &str = "k bigint, b bigint, u text";

type Row = (Option<i64>, Option<i64>, String);
type Table = BTreeMap<Row, i64>;

const KINDS: [Kind; 8] = [
    Kind::Inner,
    Kind::Left,
    Kind::Right,
    Kind::Full,
    Kind::LeftSemi,
    Kind::LeftAnti,
    Kind::RightSemi,
    Kind::RightAnti,
];

fn show(value: Option<i64>) -> String {
    value.map_or("NULL".to_owned(), |value| value.to_string())
}

fn line(side: usize, row: Option<&Row>) -> String {
    match (row, side) {
        (None, _) => "NULL NULL NULL".to_owned(),
        (Some((key, number, text)), 0) => format!("{} {text} {}", show(*key), show(*number)),
        (Some((key, number, text)), _) => format!("{} {} {text}", show(*key), show(*number)),
    }
}

/// Random changes of a side that never take back what is not there at the end of a step.
fn changes(
    side: usize,
    table: &mut Table,
    random: &mut Random,
    keys: usize,
    retract: bool,
) -> String {
    let mut rows = Vec::new();
    for _ in 0..random.below(8) {
        if retract && random.below(3) == 0 && !table.is_empty() {
            let victim = table.keys().nth(random.below(table.len())).unwrap().clone();
            let weight = table.get_mut(&victim).unwrap();
            *weight -= 1;
            rows.push(format!("-1 {}", line(side, Some(&victim))));
            if *weight == 0 {
                table.remove(&victim);
            }
            continue;
        }
        let null = |random: &mut Random, limit: usize| {
            (random.below(8) != 0).then(|| random.below(limit) as i64)
        };
        let (key, number) = (null(random, keys), null(random, 4));
        let row = (
            key,
            number,
            format!("text-{}-that-is-long", random.below(2)),
        );
        let weight = if random.below(6) == 0 { 2 } else { 1 };
        rows.push(format!("{weight:+} {}", line(side, Some(&row))));
        *table.entry(row).or_default() += weight;
    }
    rows.join(" / ")
}

struct Case {
    kind: Kind,
    null_equal: bool,
    residual: bool,
    keys: bool,
}

impl Case {
    fn join(&self) -> Join {
        let key = Key {
            left: 0,
            right: 0,
            null_equal: self.null_equal,
        };
        let keys = if self.keys { vec![key] } else { Vec::new() };
        let join = Join::new(schema(LEFT), schema(RIGHT), self.kind, keys);
        if !self.residual {
            return join;
        }
        join.residual(Residual {
            columns: vec![4, 2],
            predicate: compare_two([0, 1], |b, a| a <= b),
        })
    }

    fn fits(&self, left: &Row, right: &Row) -> bool {
        let keys = !self.keys || left.0 == right.0 && (self.null_equal || left.0.is_some());
        let residual = !self.residual || matches!((left.1, right.1), (Some(a), Some(b)) if a <= b);
        keys && residual
    }

    /// The join of two tables, by the definition.
    fn oracle(&self, left: &Table, right: &Table) -> Vec<String> {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        let mut add = |row: String, weight: i64| *sums.entry(row).or_default() += weight;
        let pairs = matches!(
            self.kind,
            Kind::Inner | Kind::Left | Kind::Right | Kind::Full
        );
        for (l, n) in left {
            for (r, m) in right.iter().filter(|(r, _)| pairs && self.fits(l, r)) {
                add(format!("{} {}", line(0, Some(l)), line(1, Some(r))), n * m);
            }
            let matched = right.keys().any(|r| self.fits(l, r));
            match self.kind {
                Kind::Left | Kind::Full if !matched => {
                    add(format!("{} {}", line(0, Some(l)), line(1, None)), *n);
                }
                Kind::LeftSemi if matched => add(line(0, Some(l)), *n),
                Kind::LeftAnti if !matched => add(line(0, Some(l)), *n),
                _ => {}
            }
        }
        for (r, m) in right {
            let matched = left.keys().any(|l| self.fits(l, r));
            match self.kind {
                Kind::Right | Kind::Full if !matched => {
                    add(format!("{} {}", line(0, None), line(1, Some(r))), *m);
                }
                Kind::RightSemi if matched => add(line(1, Some(r)), *m),
                Kind::RightAnti if !matched => add(line(1, Some(r)), *m),
                _ => {}
            }
        }
        let mut lines: Vec<String> = sums
            .into_iter()
            .map(|(row, weight)| format!("{weight:+} {row}"))
            .collect();
        lines.sort();
        lines
    }
}

fn run_case(case: &Case, seed: u64, key_values: usize, retract: bool) {
    let mut random = Random(seed);
    let mut tables = [Table::new(), Table::new()];
    let mut script = Script::new();
    for _ in 0..9 {
        let mut deltas = Vec::new();
        for _ in 0..2 {
            let side = random.below(2);
            let text = changes(side, &mut tables[side], &mut random, key_values, retract);
            deltas.push((side, delta([LEFT, RIGHT][side], &text)));
        }
        script = script.step(deltas, 0);
    }
    let join = case.join().append_only(!retract, !retract);
    let expected = case.oracle(&tables[0], &tables[1]).join(" / ");
    assert_eq!(check(&join, &script), expected, "{join}, seed {seed}");
}

#[test]
fn every_kind_equals_the_definition() {
    for kind in KINDS {
        for seed in 1..=3 {
            for residual in [false, true] {
                let null_equal = seed % 3 == 0;
                let case = Case {
                    kind,
                    null_equal,
                    residual,
                    keys: true,
                };
                run_case(&case, seed, 3, seed % 2 == 0);
            }
        }
    }
}

#[test]
fn joins_without_keys_meet_every_row() {
    for kind in KINDS {
        for residual in [false, true] {
            let case = Case {
                kind,
                null_equal: false,
                residual,
                keys: false,
            };
            run_case(&case, 11, 3, true);
        }
    }
}

#[test]
fn a_hot_key_with_many_rows_is_taken_back() {
    let rows = |weight: i64, numbers: std::ops::Range<i64>| {
        let rows = numbers.map(|number| format!("{weight:+} 1 x {number}"));
        delta(LEFT, &rows.collect::<Vec<_>>().join(" / "))
    };
    let right = delta(RIGHT, "+1 1 0 y");
    let script = Script::new()
        .step(vec![(0, rows(1, 0..300)), (1, right)], 0)
        .step(vec![(0, rows(-1, 0..150))], 0)
        .step(vec![(0, rows(1, 0..10)), (0, rows(-1, 5..299))], 0);
    let key = Key {
        left: 0,
        right: 0,
        null_equal: false,
    };
    let join = Join::new(schema(LEFT), schema(RIGHT), Kind::Left, vec![key])
        .output(vec![2, 5])
        .unwrap();
    // Rows 150..300 and 0..10, less 5..10 and 150..299; 10..150 were taken back twice.
    let mut expected: Vec<String> = (10..150).map(|n| format!("-1 {n} y")).collect();
    expected.extend((0..5).chain([299]).map(|n| format!("+1 {n} y")));
    expected.sort();
    assert_eq!(check(&join, &script), expected.join(" / "));
}

fn timed(keys: usize, expiry: Expiry) -> Join {
    let columns = schema("k bigint, t timestamp");
    let keys = (0..keys).map(|column| Key {
        left: column,
        right: column,
        null_equal: false,
    });
    Join::new(Arc::clone(&columns), columns, Kind::Left, keys.collect()).expiry(expiry)
}

/// What is kept after the last of some steps, and the output of each.
fn stored(join: &Join) -> (usize, Vec<String>) {
    let mut operator = join.build().unwrap();
    let mut outputs = Vec::new();
    for (number, (deltas, watermark)) in steps().into_iter().enumerate() {
        let mut out = millstream_dataflow::Output::default();
        for (port, delta) in deltas {
            operator.step(port, delta, &mut out).unwrap();
        }
        let time = millstream_dataflow::StepTime {
            step: millstream_dataflow::Step(number as u64),
            watermark: millstream_dataflow::Watermark(watermark),
            now_ms: 0,
        };
        operator.advance(time, &mut out).unwrap();
        let late = out.take_late();
        let mut shown = millstream_dataflow::testing::show_sum(&out.take());
        if late > 0 {
            shown = format!("{shown} late {late}");
        }
        outputs.push(shown);
    }
    let mut saved = Vec::new();
    for table in operator.tables() {
        table.changes(&mut saved).unwrap();
    }
    (
        saved.iter().map(millstream_dataflow::Delta::rows).sum(),
        outputs,
    )
}

type Steps = Vec<(Vec<(usize, millstream_dataflow::Delta)>, i64)>;

fn steps() -> Steps {
    let columns = "k bigint, t timestamp";
    let at = |rows: &str| delta(columns, &rows.replace('@', "1970-01-01T00:00:"));
    vec![
        (
            vec![(0, at("+1 1 @10 / +1 2 @10")), (1, at("+1 1 @10"))],
            5_000,
        ),
        (vec![(1, at("+1 2 @20"))], 11_000),
        (vec![(0, at("+1 1 @10 / +1 3 @30"))], 15_000),
        (Vec::new(), 40_000),
    ]
}

#[test]
fn windows_expire_and_late_rows_are_counted() {
    let join = timed(2, Expiry::Windows { left: 1, right: 1 }).padding_at_expiry();
    let (rows, outputs) = stored(&join);
    assert_eq!(
        outputs,
        [
            "+1 1 1970-01-01T00:00:10 1 1970-01-01T00:00:10",
            "+1 2 1970-01-01T00:00:10 NULL NULL",
            " late 1",
            "+1 3 1970-01-01T00:00:30 NULL NULL",
        ]
    );
    assert_eq!(rows, 0);
}

#[test]
fn intervals_expire_when_no_partner_can_come() {
    let expiry = Expiry::Interval {
        left: 1,
        right: 1,
        lower_ms: 0,
        upper_ms: 20_000,
    };
    let join = timed(1, expiry);
    let (rows, outputs) = stored(&join);
    assert_eq!(
        outputs,
        [
            "+1 1 1970-01-01T00:00:10 1 1970-01-01T00:00:10 / +1 2 1970-01-01T00:00:10 NULL NULL",
            "+1 2 1970-01-01T00:00:10 2 1970-01-01T00:00:20 / -1 2 1970-01-01T00:00:10 NULL NULL",
            // The right row of 00:10 is past use at 10 s: a left row of 00:10 is late and finds no partner.
            "+1 1 1970-01-01T00:00:10 NULL NULL / +1 3 1970-01-01T00:00:30 NULL NULL",
            "",
        ]
    );
    // The left row of 00:30 waits until 50 s.
    assert_eq!(rows, 1);
}

#[test]
fn expiry_does_not_change_what_meets_in_time() {
    let key = Key {
        left: 0,
        right: 0,
        null_equal: false,
    };
    let columns = "k bigint, t bigint";
    for kind in KINDS {
        for late_padding in [false, true] {
            let mut random = Random(7);
            let mut script = Script::new();
            for step in 0..20_i64 {
                let mut rows = || {
                    let rows: Vec<String> = (0..random.below(6))
                        .map(|_| {
                            let time = step * 10 + random.below(10) as i64 + 1;
                            format!("+1 {} {time}", random.below(4))
                        })
                        .collect();
                    delta(columns, &rows.join(" / "))
                };
                let deltas = vec![(0, rows()), (1, rows())];
                script = script.step(deltas, step * 10 + 10);
            }
            script = script.step(Vec::new(), i64::MAX);
            let join = |expiry: bool| {
                let join = Join::new(schema(columns), schema(columns), kind, vec![key])
                    .residual(Residual {
                        columns: vec![1, 3],
                        predicate: compare_two([0, 1], |l, r| l - 5 <= r && r <= l + 30),
                    })
                    .append_only(true, true);
                if !expiry {
                    return join;
                }
                let join = join.expiry(Expiry::Interval {
                    left: 1,
                    right: 1,
                    lower_ms: -5,
                    upper_ms: 30,
                });
                if late_padding {
                    join.padding_at_expiry()
                } else {
                    join
                }
            };
            let expected = check(&join(false), &script);
            assert!(expected.len() > 50, "{kind:?} {expected}");
            assert_eq!(
                check(&join(true), &script),
                expected,
                "{kind:?} {late_padding}"
            );
        }
    }
}

#[test]
fn it_says_what_it_does_and_how_rows_are_spread() {
    let keys = vec![Key {
        left: 0,
        right: 0,
        null_equal: false,
    }];
    let join = Join::new(schema(LEFT), schema(RIGHT), Kind::Left, keys)
        .residual(Residual {
            columns: vec![2, 4],
            predicate: compare_two([0, 1], |a, b| a < b),
        })
        .output(vec![5, 0])
        .unwrap();
    assert_eq!(join.to_string(), "Join: left on k = k and #0#1?");
    assert_eq!(join.partitioning(&[]), Partitioning::Keys(vec![1]));
    assert_eq!(join.schema().field(0).name(), "u");
    assert!(join.clone().output(vec![6]).is_err());
    assert!(join.padding_at_expiry().build().is_err());
    let cross = Join::new(schema(LEFT), schema(RIGHT), Kind::Inner, Vec::new());
    assert_eq!(cross.keys(0), Partitioning::Single);
}

#[test]
fn an_input_that_was_to_append_only_is_held_to_it() {
    let keys = vec![Key {
        left: 0,
        right: 0,
        null_equal: false,
    }];
    for kind in [Kind::Inner, Kind::LeftSemi] {
        let join = Join::new(schema(LEFT), schema(RIGHT), kind, keys.clone());
        let mut operator = join.append_only(true, false).build().unwrap();
        let mut out = millstream_dataflow::Output::default();
        let failed = operator.step(0, delta(LEFT, "-1 1 x 2"), &mut out);
        assert!(failed.unwrap_err().message.contains("append-only"));
        operator
            .step(1, delta(RIGHT, "+1 1 2 x"), &mut out)
            .unwrap();
        operator
            .step(1, delta(RIGHT, "-1 1 2 x"), &mut out)
            .unwrap();
    }
}

#[test]
fn texts_in_the_state_do_not_point_into_the_input() {
    let keys = vec![Key {
        left: 0,
        right: 0,
        null_equal: false,
    }];
    let join = Join::new(schema(LEFT), schema(RIGHT), Kind::Inner, keys);
    let mut operator = join.build().unwrap();
    let mut out = millstream_dataflow::Output::default();
    let given = delta(LEFT, "+1 1 a_text_that_is_longer_than_a_view 3");
    let block = given.column(1).as_string_view().data_buffers()[0].clone();
    operator.step(0, given, &mut out).unwrap();
    operator
        .step(1, delta(RIGHT, "+1 1 2 x"), &mut out)
        .unwrap();
    let output = out.take();
    let texts = output[0].column(1).as_string_view();
    assert_eq!(texts.value(0), "a text that is longer than a view");
    assert!(
        texts
            .data_buffers()
            .iter()
            .all(|buffer| buffer.as_ptr() != block.as_ptr())
    );
    assert_eq!(output[0].column(2).as_primitive::<Int64Type>().value(0), 3);
    assert_eq!(output[0].column(2).null_count(), 0);
}
