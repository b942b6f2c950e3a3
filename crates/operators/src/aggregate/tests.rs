//! GROUP BY against an oracle that recomputes every group from all its rows.

use super::*;
use arrow::datatypes::{DataType, Field, SchemaRef};
use millstream_dataflow::testing::{Random, Script, check, delta_of, run, schema};
use millstream_dataflow::{Delta, Spec, StepTime, Watermark};

pub(crate) mod oracle;
mod restored;

/// `"SUM(b) FILTER c"`, `"COUNT(DISTINCT a)"`, `"COUNT(*)"` over named columns.
pub(crate) fn call(input: &SchemaRef, text: &str) -> Call {
    let (call, filter) = match text.split_once(" FILTER ") {
        Some((call, filter)) => (call, Some(input.index_of(filter).unwrap())),
        None => (text, None),
    };
    let (name, args) = call.strip_suffix(')').unwrap().split_once('(').unwrap();
    let function = Function::parse(name).unwrap();
    let (distinct, args) = match args.strip_prefix("DISTINCT ") {
        Some(args) => (true, args),
        None => (false, args),
    };
    let args: Vec<usize> = args
        .split(", ")
        .filter(|arg| *arg != "*")
        .map(|arg| input.index_of(arg).unwrap())
        .collect();
    let types: Vec<DataType> = args
        .iter()
        .map(|arg| input.field(*arg).data_type().clone())
        .collect();
    let output = Field::new(text, function.return_type(&types).unwrap(), true);
    Call {
        function,
        args,
        filter,
        distinct,
        output,
    }
}

fn aggregate(columns: &str, keys: &[usize], calls: &[&str], append_only: bool) -> Aggregate {
    let input = schema(columns);
    let calls = calls.iter().map(|text| call(&input, text)).collect();
    Aggregate::new(input, keys.to_vec(), calls, append_only, None).unwrap()
}

/// Random steps over the columns. Without `append_only` some rows that are there are retracted.
pub(crate) fn script(columns: &str, seed: u64, append_only: bool) -> Script {
    let input = schema(columns);
    let mut random = Random(seed);
    let mut there: Vec<String> = Vec::new();
    let mut script = Script::new();
    for step in 0..8 {
        let mut lines = Vec::new();
        for _ in 0..random.below(14) {
            if !append_only && !there.is_empty() && random.below(5) < 2 {
                let row = there.swap_remove(random.below(there.len()));
                lines.push(format!("-1 {row}"));
            } else {
                let row = oracle::random_row(&input, &mut random);
                if !append_only {
                    there.push(row.clone());
                }
                lines.push(format!("+1 {row}"));
            }
        }
        script = script.step(vec![(0, delta_of(&input, &lines.join(" / ")))], step);
    }
    script
}

fn check_random(columns: &str, keys: &[usize], calls: &[&str]) {
    for append_only in [true, false] {
        let spec = aggregate(columns, keys, calls, append_only);
        for seed in 1..=4 {
            let script = script(columns, seed, append_only);
            let expected = oracle::aggregate(keys, &script.port(0), &spec_calls(columns, calls));
            assert_eq!(
                check(&spec, &script),
                expected,
                "{calls:?} append_only={append_only} seed {seed}"
            );
        }
    }
}

fn spec_calls(columns: &str, calls: &[&str]) -> Vec<Call> {
    let input = schema(columns);
    calls.iter().map(|text| call(&input, text)).collect()
}

#[test]
fn counts_and_sums_of_all_types() {
    check_random(
        "k int, a bigint, b int, f boolean",
        &[0],
        &[
            "COUNT(*)",
            "COUNT(a)",
            "SUM(a)",
            "AVG(a)",
            "SUM0(b)",
            "AVG(b)",
            "SUM(b) FILTER f",
            "COUNT(*) FILTER f",
        ],
    );
    check_random(
        "k text, a decimal(10,2), b double",
        &[0],
        &[
            "SUM(a)", "AVG(a)", "SUM(b)", "AVG(b)", "SUM0(b)", "COUNT(b)",
        ],
    );
}

#[test]
fn extremes_of_all_types() {
    check_random(
        "k text, a bigint, b text, c decimal(10,2), d double, f boolean",
        &[0],
        &[
            "MIN(a)",
            "MAX(a)",
            "MIN(b)",
            "MAX(b)",
            "MIN(c)",
            "MAX(c)",
            "MAX(d)",
            "MIN(d)",
            "MAX(b) FILTER f",
        ],
    );
}

#[test]
fn distinct_arguments_count_once() {
    check_random(
        "k int, a bigint, b text, f boolean, g boolean",
        &[0],
        &[
            "COUNT(DISTINCT a)",
            "COUNT(DISTINCT a) FILTER f",
            "COUNT(DISTINCT a) FILTER g",
            "SUM(DISTINCT a)",
            "COUNT(DISTINCT b)",
            "COUNT(DISTINCT a, b)",
            "AVG(DISTINCT a) FILTER f",
            "APPROX_COUNT_DISTINCT(b)",
        ],
    );
}

#[test]
fn values_in_the_order_of_arrival() {
    check_random(
        "k int, a bigint, b text, c decimal(10,2), f boolean",
        &[0],
        &[
            "FIRST_VALUE(a)",
            "LAST_VALUE(a)",
            "FIRST_VALUE(b)",
            "LAST_VALUE(b) FILTER f",
            "LAST_VALUE(c)",
        ],
    );
    check_random(
        "k int, a bigint, b text, c decimal(10,2), f boolean",
        &[0],
        &[
            "LISTAGG(b)",
            "ARRAY_AGG(a)",
            "ARRAY_AGG(b) FILTER f",
            "COLLECT(a)",
            "BOOL_AND(f)",
            "BOOL_OR(f)",
        ],
    );
}

#[test]
fn the_last_of_many_values_is_kept() {
    let spec = aggregate(
        "k bigint, a text",
        &[0],
        &["LAST_VALUE(a)", "FIRST_VALUE(a)"],
        true,
    );
    let line = |n: usize| format!("+1 {} value_number_{n}", n % 3);
    let script = (0..5).fold(Script::new(), |script, step| {
        let lines: Vec<String> = (step * 3000..(step + 1) * 3000).map(line).collect();
        script.step(
            vec![(0, delta_of(&schema("k bigint, a text"), &lines.join(" / ")))],
            0,
        )
    });
    let whole = millstream_dataflow::testing::show_sum(&run(&spec, &script, 1, None));
    let expected: Vec<String> = (0..3)
        .map(|k| format!("+1 {k} value_number_{} value_number_{k}", 14_997 + k))
        .collect();
    // An underscore reads as a space, and prints as one again.
    assert_eq!(whole, expected.join(" / "));
}

#[test]
fn deviations_are_exact_under_retractions() {
    check_random(
        "k int, a bigint, c decimal(10,2)",
        &[0],
        &[
            "VAR_POP(a)",
            "VAR_SAMP(a)",
            "STDDEV_POP(a)",
            "STDDEV_SAMP(a)",
            "VAR_POP(c)",
            "STDDEV_POP(c)",
            "VARIANCE(c)",
        ],
    );
    // Floats round: the ways to run must agree, and come back to nothing.
    let spec = aggregate(
        "k int, a double",
        &[0],
        &["VAR_SAMP(a)", "STDDEV_POP(a)"],
        false,
    );
    (1..=4).for_each(|seed| {
        assert!(!check(&spec, &script("k int, a double", seed, false)).is_empty())
    });
}

#[test]
fn a_percentile_lies_between_its_neighbours() {
    for append_only in [true, false] {
        let columns = "k int, a double, p double";
        let spec = aggregate(columns, &[0], &["PERCENTILE(a, p)"], append_only);
        for seed in 1..=4 {
            let script = with_fraction(&script(columns, seed, append_only));
            let expected = oracle::aggregate(
                &[0],
                &script.port(0),
                &spec_calls(columns, &["PERCENTILE(a, p)"]),
            );
            assert_eq!(
                check(&spec, &script),
                expected,
                "append_only={append_only} seed {seed}"
            );
        }
    }
}

/// The same script with 0.3 in the third column.
fn with_fraction(script: &Script) -> Script {
    use arrow::array::{ArrayRef, Float64Array, RecordBatch};
    script
        .port(0)
        .iter()
        .enumerate()
        .fold(Script::new(), |script, (at, delta)| {
            let mut columns = delta.batch().columns().to_vec();
            let fractions: ArrayRef =
                std::sync::Arc::new(Float64Array::from(vec![0.3; delta.rows()]));
            columns[2] = fractions;
            let batch = RecordBatch::try_new(delta.schema(), columns).unwrap();
            script.step(vec![(0, delta.with_batch(batch).unwrap())], at as i64)
        })
}

#[test]
fn a_scalar_subquery_gives_one_row() {
    let spec = aggregate("a bigint", &[], &["SINGLE_VALUE(a)"], false);
    let rows = |text| vec![(0, delta_of(&schema("a bigint"), text))];
    let script = Script::new()
        .step(rows("+1 4"), 0)
        .step(rows("-1 4 / +1 NULL"), 1)
        .step(rows("+1 7 / -1 NULL"), 2);
    assert_eq!(
        shown(&run(&spec, &script, 1, None)),
        ["+1 4", "-1 4 / +1 NULL", "-1 NULL / +1 7"]
    );
    let mut operator = spec.build().unwrap();
    let mut out = millstream_dataflow::Output::default();
    operator
        .step(0, delta_of(&schema("a bigint"), "+1 1 / +1 2"), &mut out)
        .unwrap();
    let time = StepTime {
        step: millstream_dataflow::Step(1),
        watermark: Watermark::MIN,
        now_ms: 0,
    };
    let error = operator.advance(time, &mut out).unwrap_err();
    assert!(error.message.contains("more than one row"), "{error}");
}

#[test]
fn averages_of_small_types_are_truncated_and_of_decimals_rounded() {
    let columns = "t tinyint, i int, d decimal(6,2)";
    let spec = aggregate(
        columns,
        &[],
        &["AVG(t)", "AVG(i)", "AVG(d)", "SUM(d)", "VAR_SAMP(i)"],
        true,
    );
    let rows = delta_of(&schema(columns), "+1 -3 -7 -0.05 / +1 -4 -8 -0.10");
    let script = Script::new().step(vec![(0, rows)], 0);
    // As Flink has it (conformance case agg_avg_types, group neg).
    assert_eq!(
        shown(&run(&spec, &script, 1, None)),
        ["+1 -3 -7 -0.075000 -0.15 0"]
    );
}

#[test]
fn without_keys_there_is_one_group_that_goes_with_its_last_row() {
    check_random(
        "a bigint, b text",
        &[],
        &["COUNT(*)", "SUM(a)", "MAX(b)", "COUNT(DISTINCT b)"],
    );
    let spec = aggregate("a bigint", &[], &["COUNT(*)", "SUM(a)"], false);
    let row = |text| vec![(0, delta_of(&schema("a bigint"), text))];
    let script = Script::new()
        .step(vec![], 0)
        .step(row("+1 4"), 1)
        .step(row("-1 4"), 2);
    assert_eq!(shown(&run(&spec, &script, 1, None)), ["+1 1 4", "-1 1 4"]);
}

#[test]
fn many_keys_and_no_calls_are_distinct_rows() {
    check_random(
        "a text, b decimal(10,2), c boolean, d double",
        &[0, 1, 2, 3],
        &[],
    );
    check_random("a text, b int, c bigint", &[2, 0], &["SUM(b)"]);
}

fn shown(deltas: &[Delta]) -> Vec<String> {
    deltas
        .iter()
        .map(millstream_dataflow::testing::show)
        .collect()
}

#[test]
fn a_step_gives_one_update_a_group_and_nothing_where_nothing_changed() {
    let spec = aggregate("k text, a bigint", &[0], &["SUM(a)"], false);
    let rows = |text| delta_of(&schema("k text, a bigint"), text);
    let script = Script::new()
        .step(vec![(0, rows("+1 x 1 / +1 y 1")), (0, rows("+1 x 2"))], 0)
        .step(
            vec![
                (0, rows("+1 x 4 / +1 y 5 / -1 y 5")),
                (0, rows("+1 z 1 / -1 z 1")),
            ],
            1,
        )
        .step(vec![(0, rows("-1 x 1 / -1 x 2 / -1 x 4"))], 2);
    assert_eq!(
        shown(&run(&spec, &script, 1, None)),
        ["+1 x 3 / +1 y 1", "-1 x 3 / +1 x 7", "-1 x 7"]
    );
}

#[test]
fn a_sum_that_overflows_its_type_is_an_error_with_a_way_out() {
    let spec = aggregate("a tinyint", &[], &["SUM(a)"], true);
    let mut operator = spec.build().unwrap();
    let mut out = millstream_dataflow::Output::default();
    operator
        .step(
            0,
            delta_of(&schema("a tinyint"), "+1 100 / +1 100"),
            &mut out,
        )
        .unwrap();
    let time = StepTime {
        step: millstream_dataflow::Step(1),
        watermark: Watermark::MIN,
        now_ms: 0,
    };
    let error = operator.advance(time, &mut out).unwrap_err();
    assert_eq!(error.kind, millstream_dataflow::Kind::BadData);
    assert_eq!(error.message, "SUM(a): SUM overflows TINYINT: 200");
    assert!(error.hint.unwrap().contains("CAST"));
    // A step that comes back into the range is none.
    let script = Script::new().step(
        vec![(
            0,
            delta_of(&schema("a tinyint"), "+1 100 / +1 100 / +1 -100"),
        )],
        0,
    );
    assert_eq!(shown(&run(&spec, &script, 1, None)), ["+1 100"]);
}

#[test]
fn retractions_from_an_input_planned_without_are_refused() {
    let spec = aggregate("a bigint", &[], &["MAX(a)"], true);
    let mut out = millstream_dataflow::Output::default();
    let refused = spec
        .build()
        .unwrap()
        .step(0, delta_of(&schema("a bigint"), "-1 1"), &mut out);
    assert_eq!(
        refused.unwrap_err().kind,
        millstream_dataflow::Kind::Internal
    );
}

#[test]
fn expired_groups_go_in_silence_and_their_rows_are_late() {
    let columns = "w timestamp, k text, a bigint";
    let input = schema(columns);
    let calls = ["SUM(a)", "COUNT(DISTINCT k)"]
        .map(|text| call(&input, text))
        .to_vec();
    for append_only in [true, false] {
        let spec = Aggregate::new(
            schema(columns),
            vec![1, 0],
            calls.clone(),
            append_only,
            Some(0),
        )
        .unwrap();
        assert_eq!(
            spec.to_string(),
            "Aggregate keys=[k, w] [SUM(a), COUNT(DISTINCT k)] until=w"
        );
        let rows = |text| vec![(0, delta_of(&schema(columns), text))];
        let t1 = "1970-01-01T00:00:01";
        let t2 = "1970-01-01T00:00:02";
        let script = Script::new()
            .step(rows(&format!("+1 {t1} x 1 / +1 {t2} x 2")), 500)
            .step(rows(&format!("+1 {t1} x 5")), 1000)
            .step(rows(&format!("+1 {t1} x 9 / +1 {t2} x 9")), 1500)
            .step(rows(&format!("+1 {t2} y 9")), 3000)
            .step(rows(&format!("+1 {t2} y 9")), 3000);
        assert_eq!(
            check(&spec, &script),
            format!("+1 x {t1} 6 1 / +1 x {t2} 11 1 / +1 y {t2} 9 1")
        );
        let mut operator = spec.build().unwrap();
        let mut out = millstream_dataflow::Output::default();
        for (at, ms) in [(0, 500), (1, 1000), (2, 1500)] {
            operator
                .step(0, script.port(0)[at].clone(), &mut out)
                .unwrap();
            let time = StepTime {
                step: millstream_dataflow::Step(1),
                watermark: Watermark(ms),
                now_ms: 0,
            };
            operator.advance(time, &mut out).unwrap();
        }
        assert_eq!(out.take_late(), 1);
    }
}

#[test]
fn a_group_expires_by_the_clock_of_its_zone() {
    let columns = "w timestamp, a bigint";
    let input = schema(columns);
    let calls = vec![call(&input, "COUNT(*)")];
    let spec = Aggregate::new(schema(columns), vec![0], calls, true, Some(0)).unwrap();
    let spec = spec.expiring_in("Europe/Berlin").unwrap();
    let rows = |text| vec![(0, delta_of(&schema(columns), text))];
    // 02:00 in Berlin is 01:00 UTC.
    let hour = 3_600_000;
    let script = Script::new()
        .step(rows("+1 1970-01-01T02:00:00 1"), hour - 1)
        .step(rows("+1 1970-01-01T02:00:00 1"), hour)
        .step(rows("+1 1970-01-01T02:00:00 1"), hour);
    assert_eq!(check(&spec, &script), "+1 1970-01-01T02:00:00 2");
    assert!(spec.expiring_in("Nowhere").is_err());
}

#[test]
fn nothing_more_is_saved_than_what_changed() {
    let spec = aggregate(
        "k bigint, a bigint",
        &[0],
        &["SUM(a)", "COUNT(DISTINCT a)"],
        false,
    );
    let mut operator = spec.build().unwrap();
    let mut out = millstream_dataflow::Output::default();
    let mut step = |operator: &mut Box<dyn millstream_dataflow::Operator>, rows: &str| {
        operator
            .step(0, delta_of(&schema("k bigint, a bigint"), rows), &mut out)
            .unwrap();
        let time = StepTime {
            step: millstream_dataflow::Step(1),
            watermark: Watermark::MIN,
            now_ms: 0,
        };
        operator.advance(time, &mut out).unwrap();
        let mut saved = Vec::new();
        operator.tables()[0].changes(&mut saved).unwrap();
        saved.iter().map(Delta::rows).sum::<usize>()
    };
    assert_eq!(step(&mut operator, "+1 1 1 / +1 2 1 / +1 3 1"), 6);
    assert_eq!(step(&mut operator, "+1 2 1"), 2);
    assert_eq!(step(&mut operator, "-1 1 1"), 2);
    assert_eq!(step(&mut operator, ""), 0);
}

#[test]
fn it_prints_what_it_does() {
    let spec = aggregate("sku text, qty int", &[0], &["SUM(qty)", "COUNT(*)"], true);
    assert_eq!(
        spec.to_string(),
        "Aggregate keys=[sku] [SUM(qty), COUNT(*)]"
    );
}
