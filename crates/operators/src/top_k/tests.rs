//! Top-N against sorting all rows.

use super::*;
use millstream_dataflow::testing::{Random, Script, check, delta, schema};
use millstream_dataflow::{Delta, Output, Step, StepTime, Watermark};

const COLUMNS: &str = "p text, v bigint, note text";

/// A row, in the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    partition: String,
    value: Option<i64>,
    note: String,
}

impl Row {
    fn text(&self) -> String {
        let value = self
            .value
            .map_or("NULL".to_owned(), |value| value.to_string());
        format!("{} {value} {}", self.partition, self.note)
    }
}

fn random_row(random: &mut Random) -> Row {
    Row {
        partition: ["a", "b", "NULL", "a-partition-with-a-long-name"][random.below(4)].to_owned(),
        value: (random.below(6) != 0).then(|| random.below(6) as i64),
        note: format!("note-{}-that-is-long", random.below(3)),
    }
}

fn script(random: &mut Random, retract: bool) -> (Script, Vec<Row>) {
    let (mut script, mut rows) = (Script::new(), Vec::<Row>::new());
    for _ in 0..12 {
        let mut lines = Vec::new();
        for _ in 0..random.below(9) {
            if retract && random.below(3) == 0 && !rows.is_empty() {
                let row = rows[random.below(rows.len())].clone();
                // Of equal rows the latest goes.
                let at = rows.iter().rposition(|other| *other == row).unwrap();
                rows.remove(at);
                lines.push(format!("-1 {}", row.text()));
            } else {
                let row = random_row(random);
                let copies = 1 + random.below(6) / 5;
                lines.push(format!("+{copies} {}", row.text()));
                rows.extend(std::iter::repeat_n(row, copies));
            }
        }
        script = script.step(vec![(0, delta(COLUMNS, &lines.join(" / ")))], 0);
    }
    (script, rows)
}

/// What shows of all rows, by the definition.
fn oracle(spec: &TopK, rows: &[Row]) -> String {
    let mut rows: Vec<Row> = rows.to_vec();
    if spec.later_first {
        rows.reverse();
    }
    if let [order] = spec.order.as_slice() {
        rows.sort_by(|a, b| {
            let nulls = if order.nulls_first {
                b.value.is_none().cmp(&a.value.is_none())
            } else {
                a.value.is_none().cmp(&b.value.is_none())
            };
            let values = a.value.cmp(&b.value);
            nulls.then(if order.descending {
                values.reverse()
            } else {
                values
            })
        });
    }
    let mut shown: std::collections::BTreeMap<String, i64> = Default::default();
    let partitions: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row.partition.as_str()).collect();
    let all = [""];
    let partitions: Vec<&str> = if spec.partition.is_empty() {
        all.to_vec()
    } else {
        partitions.into_iter().collect()
    };
    for partition in partitions {
        let mine: Vec<&Row> = rows
            .iter()
            .filter(|row| spec.partition.is_empty() || row.partition == partition)
            .collect();
        let mut rank = 0;
        for (number, row) in mine.iter().enumerate() {
            let tie = number > 0 && (spec.order.is_empty() || mine[number - 1].value == row.value);
            rank = match spec.rank {
                Rank::RowNumber => number as u64 + 1,
                Rank::Rank => {
                    if tie {
                        rank
                    } else {
                        number as u64 + 1
                    }
                }
                Rank::DenseRank => {
                    if tie {
                        rank
                    } else {
                        rank + 1
                    }
                }
            };
            if rank > spec.offset && rank <= spec.offset + spec.limit {
                let rank = if spec.shown.is_some() {
                    format!(" {rank}")
                } else {
                    String::new()
                };
                *shown.entry(format!("{}{rank}", row.text())).or_default() += 1;
            }
        }
    }
    let mut lines: Vec<String> = shown
        .iter()
        .map(|(row, n)| format!("{n:+} {row}"))
        .collect();
    lines.sort();
    lines.join(" / ")
}

fn by_value(descending: bool, nulls_first: bool) -> Vec<Order> {
    vec![Order {
        column: 1,
        descending,
        nulls_first,
    }]
}

#[test]
fn the_first_rows_of_each_partition_in_every_variant() {
    for seed in 1..=6_u64 {
        for (number, rank) in [Rank::RowNumber, Rank::Rank, Rank::DenseRank]
            .into_iter()
            .enumerate()
        {
            for shown in [false, true] {
                let mut random = Random(seed * 10 + number as u64);
                let retract = seed % 2 == 0;
                let (script, rows) = script(&mut random, retract);
                let partition = if seed % 3 == 0 { vec![] } else { vec![0] };
                let order = by_value(seed % 4 < 2, seed % 5 < 2);
                let mut spec =
                    TopK::new(schema(COLUMNS), partition, order, 1 + seed % 3).rank(rank);
                if shown {
                    spec = spec.show_rank("rank");
                }
                if seed % 3 == 1 {
                    spec = spec.offset(1);
                }
                if !retract {
                    spec = spec.append_only();
                }
                assert_eq!(
                    check(&spec, &script),
                    oracle(&spec, &rows),
                    "{spec} seed {seed}"
                );
            }
        }
    }
}

#[test]
fn deduplication_keeps_the_first_or_the_last() {
    for seed in 1..=4 {
        for (order, later_first) in [
            (vec![], false),
            (vec![], true),
            (by_value(false, true), false),
            (by_value(true, false), true),
        ] {
            let mut random = Random(seed);
            let (script, rows) = script(&mut random, false);
            let mut spec = TopK::new(schema(COLUMNS), vec![0], order, 1).append_only();
            if later_first {
                spec = spec.later_first();
            }
            assert!(spec.is_first());
            assert_eq!(
                check(&spec, &script),
                oracle(&spec, &rows),
                "{spec} seed {seed}"
            );
        }
    }
}

#[test]
fn texts_are_ordered_too() {
    let order = [2, 1].map(|column| Order {
        column,
        descending: true,
        nulls_first: false,
    });
    let spec = TopK::new(schema(COLUMNS), vec![0], order.to_vec(), 1);
    let rows = delta(
        COLUMNS,
        "+1 a 1 x / +1 a 2 yy / +1 a 3 yy / +1 a 9 NULL / +1 b 1 ''",
    );
    let script = Script::new()
        .step(vec![(0, rows)], 0)
        .step(vec![(0, delta(COLUMNS, "-1 a 3 yy"))], 0);
    assert_eq!(check(&spec, &script), "+1 a 2 yy / +1 b 1 ''");
    assert_eq!(check(&spec.output(vec![1]), &script), "+1 1 / +1 2");
}

#[test]
fn a_long_partition_is_taken_back() {
    let rows = |weight: i64, values: std::ops::Range<i64>| {
        let rows = values.map(|value| format!("{weight:+} a {} n", value % 97));
        delta(COLUMNS, &rows.collect::<Vec<_>>().join(" / "))
    };
    let spec = TopK::new(schema(COLUMNS), vec![0], by_value(false, true), 2).show_rank("n");
    let script = Script::new()
        .step(vec![(0, rows(1, 0..970))], 0)
        .step(vec![(0, rows(-1, 0..970 - 97)), (0, rows(-1, 0..1))], 0);
    assert_eq!(check(&spec, &script), "+1 a 1 n 1 / +1 a 2 n 2");
}

#[test]
fn a_retraction_of_nothing_is_an_error() {
    let spec = TopK::new(schema(COLUMNS), vec![0], by_value(false, true), 2);
    let mut operator = spec.build().unwrap();
    let mut out = Output::default();
    operator
        .step(0, delta(COLUMNS, "-1 a 1 n"), &mut out)
        .unwrap();
    let failed = operator.advance(at(0), &mut out).unwrap_err();
    assert!(failed.message.contains("not there"), "{failed}");
}

#[test]
fn an_input_that_was_to_append_only_is_held_to_it() {
    for limit in [1, 2] {
        let spec = TopK::new(schema(COLUMNS), vec![0], by_value(false, true), limit).append_only();
        let mut operator = spec.build().unwrap();
        let mut out = Output::default();
        operator
            .step(0, delta(COLUMNS, "+1 a 1 n / -1 a 1 n"), &mut out)
            .unwrap();
        let failed = operator.advance(at(0), &mut out).unwrap_err();
        assert!(failed.message.contains("append-only"), "{failed}");
    }
}

fn at(watermark: i64) -> StepTime {
    StepTime {
        step: Step(1),
        watermark: Watermark(watermark),
        now_ms: 0,
    }
}

#[test]
fn windows_close() {
    let columns = "p text, e timestamp, v bigint";
    let rows = |text: &str| -> Delta { delta(columns, &text.replace('@', "1970-01-01T00:00:0")) };
    for limit in [1, 2] {
        for at_expiry in [false, true] {
            let order = vec![Order {
                column: 2,
                descending: true,
                nulls_first: false,
            }];
            let mut spec = TopK::new(schema(columns), vec![0, 1], order, limit)
                .append_only()
                .window_end(1);
            if at_expiry {
                spec = spec.at_expiry();
            }
            let script = Script::new()
                .step(
                    vec![(0, rows("+1 a @1 1 / +1 b @1 5 / +1 a @1 2 / +1 a @2 9"))],
                    998,
                )
                .step(vec![(0, rows("+1 a @1 3"))], 999)
                // Late for the first window.
                .step(vec![(0, rows("+1 a @1 7 / +1 b @2 4 / +1 b @2 4"))], 1000)
                .step(Vec::new(), 5000);
            let second = if limit == 2 {
                " / +1 a 1970-01-01T00:00:01 2"
            } else {
                ""
            };
            let times = if limit == 2 { 2 } else { 1 };
            let mut lines: Vec<String> =
                format!("+1 a @1 3{second} / +1 a @2 9 / +1 b @1 5 / +{times} b @2 4")
                    .replace('@', "1970-01-01T00:00:0")
                    .split(" / ")
                    .map(str::to_owned)
                    .collect();
            lines.sort();
            assert_eq!(check(&spec, &script), lines.join(" / "), "{spec}");
            let mut operator = spec.build().unwrap();
            let mut out = Output::default();
            operator.step(0, rows("+1 a @1 1"), &mut out).unwrap();
            operator.advance(at(999), &mut out).unwrap();
            assert_eq!(out.take().len(), 1);
            operator.step(0, rows("+1 a @1 1"), &mut out).unwrap();
            operator.advance(at(1000), &mut out).unwrap();
            assert_eq!((out.take_late(), out.take().len()), (1, 0));
            let mut saved = Vec::new();
            operator.tables()[0].changes(&mut saved).unwrap();
            assert!(saved.iter().all(Delta::is_empty));
        }
    }
}

#[test]
fn it_says_what_it_does() {
    let spec = TopK::new(schema(COLUMNS), vec![0], by_value(true, true), 3)
        .offset(2)
        .show_rank("place")
        .append_only();
    assert_eq!(
        spec.to_string(),
        "TopK: first 3 after 2 of each p in order of v DESC NULLS FIRST, append-only"
    );
    assert_eq!(spec.schema().field(3).name(), "place");
    assert_eq!(
        spec.output(vec![2, 0]).partitioning(&[]),
        Partitioning::Keys(vec![1])
    );
}
