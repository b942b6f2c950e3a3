use std::collections::HashMap;

use arrow::array::{
    BooleanArray, Decimal128Array, Float64Array, Int32Array, ListArray, StringArray,
    StringViewArray, StructArray, TimestampMillisecondArray,
};
use arrow::datatypes::{Field, Int32Type, TimeUnit};
use datafusion_common::config::ConfigOptions;

use super::*;

fn run(array: ArrayRef, target: impl Into<Target>, mode: Mode, zone: &str) -> Result<ArrayRef> {
    let field = Field::new("x", array.data_type().clone(), true);
    run_field(array, field, target, mode, zone)
}

fn run_field(
    array: ArrayRef,
    field: Field,
    target: impl Into<Target>,
    mode: Mode,
    zone: &str,
) -> Result<ArrayRef> {
    let target = target.into();
    let return_field = Arc::new(Field::new("y", canonical(&target.data_type), true));
    let udf = udf(
        target,
        mode,
        &Options {
            time_zone: zone.into(),
        },
    );
    let rows = array.len();
    let args = ScalarFunctionArgs {
        args: vec![ColumnarValue::Array(array)],
        arg_fields: vec![Arc::new(field)],
        number_rows: rows,
        return_field,
        config_options: Arc::new(ConfigOptions::default()),
    };
    udf.invoke_with_args(args)?.to_array(rows)
}

/// Every value as CAST AS STRING prints it.
fn printed(array: &ArrayRef) -> Vec<String> {
    let texts = to_text::to_text(array, None, Zone::UTC).unwrap();
    let texts: StringViewArray = crate::call::downcast("test", &texts).unwrap();
    texts
        .iter()
        .map(|t| t.unwrap_or("\\N").to_string())
        .collect()
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn tried(values: &[&str], target: impl Into<Target>) -> Vec<String> {
    printed(&run(texts(values), target, Mode::Try, "UTC").unwrap())
}

const TEXTS: [&str; 12] = [
    "12",
    " 12 ",
    "12.6",
    "abc",
    "",
    "true",
    "1e3",
    "99999999999",
    "9999.994",
    "+5",
    "-7",
    "2024-02-29",
];

#[test]
fn numbers_from_text() {
    let n = "\\N";
    assert_eq!(
        tried(&TEXTS, DataType::Int32),
        ["12", "12", "12", n, n, n, n, n, "9999", "5", "-7", n]
    );
    assert_eq!(
        tried(&TEXTS, DataType::Int64),
        [
            "12",
            "12",
            "12",
            n,
            n,
            n,
            n,
            "99999999999",
            "9999",
            "5",
            "-7",
            n
        ]
    );
    assert_eq!(
        tried(&TEXTS, DataType::Decimal128(6, 2)),
        [
            "12.00", "12.00", "12.60", n, n, n, "1000.00", n, "9999.99", "5.00", "-7.00", n
        ]
    );
    assert_eq!(
        tried(&["1e3", "x", "NaN"], DataType::Float64),
        ["1000.0", n, "NaN"]
    );
    assert_eq!(tried(&["9999.995"], DataType::Decimal128(6, 2)), [n]);
}

#[test]
fn booleans_from_text() {
    assert_eq!(
        tried(&["yes", "FALSE", "1", "0", "T", "2"], DataType::Boolean),
        ["TRUE", "FALSE", "TRUE", "FALSE", "TRUE", "\\N"]
    );
}

#[test]
fn dates_and_times_from_text() {
    let n = "\\N";
    let values = [
        "2024-02-29",
        "2023-13-01",
        "2024-02-29 12:34:56.789",
        "12:34:56",
        "2024-2-9",
        "2024-02-29T12:34:56",
        "99999999999",
    ];
    assert_eq!(
        tried(&values, DataType::Date32),
        ["2024-02-29", n, "2024-02-29", n, "2024-02-09", n, n]
    );
    assert_eq!(
        tried(&values, DataType::Time32(TimeUnit::Millisecond)),
        [n, n, n, "12:34:56", n, n, n]
    );
    assert_eq!(
        tried(&values, DataType::Timestamp(TimeUnit::Millisecond, None)),
        [
            "2024-02-29 00:00:00.000",
            n,
            "2024-02-29 12:34:56.789",
            n,
            "2024-02-09 00:00:00.000",
            n,
            n
        ]
    );
}

#[test]
fn a_failing_cast_names_value_and_type() {
    let error = run(texts(&["1", "abc"]), DataType::Int32, Mode::Strict, "UTC")
        .unwrap_err()
        .to_string();
    assert!(error.contains("'abc'") && error.contains("INT"), "{error}");
    let to = DataType::Timestamp(TimeUnit::Millisecond, None);
    let error = run(texts(&["2024-13-01"]), to, Mode::Strict, "UTC")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("'2024-13-01'") && error.contains("TIMESTAMP(3)"),
        "{error}"
    );
}

#[test]
fn doubles_saturate_and_integers_wrap() {
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![
        Some(1e10),
        Some(-1.5),
        Some(f64::NAN),
        None,
    ]));
    let strict =
        |array: &ArrayRef, to| printed(&run(Arc::clone(array), to, Mode::Strict, "UTC").unwrap());
    assert_eq!(
        strict(&doubles, DataType::Int32),
        ["2147483647", "-1", "0", "\\N"]
    );
    assert_eq!(strict(&doubles, DataType::Int8), ["-1", "-1", "0", "\\N"]);
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![200, -129, i32::MAX]));
    assert_eq!(strict(&ints, DataType::Int8), ["-56", "127", "-1"]);
    assert_eq!(strict(&ints, DataType::Boolean), ["TRUE", "TRUE", "TRUE"]);
}

#[test]
fn decimals_round_half_up_and_overflow_to_null() {
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![2.675, 1e10, 1e-7, 100.0, -1.005]));
    let to = DataType::Decimal128(8, 2);
    assert_eq!(
        printed(&run(doubles, to, Mode::Strict, "UTC").unwrap()),
        ["2.68", "\\N", "0.00", "100.00", "-1.01"]
    );
    let values = Decimal128Array::from(vec![999_500, -33_333])
        .with_precision_and_scale(12, 4)
        .unwrap();
    let values: ArrayRef = Arc::new(values);
    let to = |p, s| {
        printed(
            &run(
                Arc::clone(&values),
                DataType::Decimal128(p, s),
                Mode::Strict,
                "UTC",
            )
            .unwrap(),
        )
    };
    assert_eq!(to(10, 1), ["100.0", "-3.3"]);
    assert_eq!(to(3, 1), ["\\N", "-3.3"]);
    assert_eq!(
        printed(&run(Arc::clone(&values), DataType::Int32, Mode::Strict, "UTC").unwrap()),
        ["99", "-3"]
    );
    assert_eq!(
        printed(&run(values, DataType::Float64, Mode::Strict, "UTC").unwrap()),
        ["99.95", "-3.3333"]
    );
}

#[test]
fn char_pads_and_varchar_cuts() {
    let target = |char_len| Target {
        data_type: DataType::Utf8View,
        char_len: Some(char_len),
        fraction: None,
    };
    assert_eq!(
        tried(&["12", "日本茶です", ""], target(CharLen::Char(4))),
        ["12  ", "日本茶で", "    "]
    );
    assert_eq!(
        tried(&["12.6", "日本茶です"], target(CharLen::VarChar(3))),
        ["12.", "日本茶"]
    );
    let booleans: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    assert_eq!(
        printed(&run(booleans, target(CharLen::VarChar(2)), Mode::Strict, "UTC").unwrap()),
        ["TR"]
    );
}

#[test]
fn timestamps_print_their_digits() {
    let array: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_709_251_199_900]));
    assert_eq!(printed(&array), ["2024-02-29 23:59:59.900"]);
    let field = Field::new("x", array.data_type().clone(), true)
        .with_metadata(HashMap::from([(FRACTION_KEY.to_string(), "1".to_string())]));
    let one = run_field(
        Arc::clone(&array),
        field,
        DataType::Utf8View,
        Mode::Strict,
        "UTC",
    )
    .unwrap();
    assert_eq!(printed(&one), ["2024-02-29 23:59:59.9"]);
    let time = run(
        Arc::clone(&array),
        DataType::Time32(TimeUnit::Millisecond),
        Mode::Strict,
        "UTC",
    )
    .unwrap();
    assert_eq!(printed(&time), ["23:59:59"]);
    let target = Target {
        fraction: Some(0),
        ..array.data_type().clone().into()
    };
    assert_eq!(
        printed(&run(array, target, Mode::Strict, "UTC").unwrap()),
        ["2024-02-29 23:59:59.000"]
    );
}

#[test]
fn instants_are_seen_in_the_session_zone() {
    let zone = "America/New_York";
    let ltz = DataType::Timestamp(TimeUnit::Millisecond, Some(zone.into()));
    let instants: ArrayRef = run(
        texts(&["2024-03-10 03:30:00"]),
        ltz.clone(),
        Mode::Strict,
        zone,
    )
    .unwrap();
    assert_eq!(printed(&instants), ["2024-03-10 07:30:00.000"]);
    let local = run(
        Arc::clone(&instants),
        DataType::Timestamp(TimeUnit::Millisecond, None),
        Mode::Strict,
        zone,
    )
    .unwrap();
    assert_eq!(printed(&local), ["2024-03-10 03:30:00.000"]);
    assert_eq!(
        printed(&run(local, ltz, Mode::Strict, zone).unwrap()),
        printed(&instants)
    );
    assert_eq!(
        printed(&run(instants, DataType::Date32, Mode::Strict, zone).unwrap()),
        ["2024-03-10"]
    );
}

#[test]
fn nested_values_print_and_convert() {
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        Some(vec![]),
        None,
    ]));
    assert_eq!(printed(&list), ["[1, NULL]", "[]", "\\N"]);
    let doubles = run(
        Arc::clone(&list),
        crate::types::list_of(DataType::Float64),
        Mode::Strict,
        "UTC",
    )
    .unwrap();
    assert_eq!(printed(&doubles), ["[1.0, NULL]", "[]", "\\N"]);
    let row: ArrayRef = Arc::new(StructArray::from(vec![
        (
            Arc::new(Field::new("a", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("x"), None, None])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("b", list.data_type().clone(), true)),
            list,
        ),
    ]));
    assert_eq!(
        printed(&row),
        ["(x, [1, NULL])", "(NULL, [])", "(NULL, NULL)"]
    );
}

#[test]
fn only_differing_casts_are_ours() {
    use DataType as T;
    assert!(!needs_flink(&T::Int32, &T::Int64));
    assert!(!needs_flink(&T::Int32, &T::Float64));
    assert!(!needs_flink(&T::Utf8, &T::Utf8View));
    for (from, to) in [
        (T::Int32, T::Int8),
        (T::Float64, T::Int32),
        (T::Utf8View, T::Int32),
        (T::Boolean, T::Utf8View),
    ] {
        assert!(needs_flink(&from, &to));
    }
}

#[test]
fn what_has_no_cast_is_refused() {
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let error = run(ints, DataType::Date32, Mode::Try, "UTC")
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot cast INT to DATE"), "{error}");
}
