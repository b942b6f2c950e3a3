use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;

use crate::testing::{b, d, error, eval, i, l, list, null, result_type, t};
use crate::types::{list_of, map_of};

fn ints(values: &[Option<i32>]) -> ScalarValue {
    let values: Vec<_> = values.iter().map(|v| ScalarValue::Int32(*v)).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Int32))
}

fn texts(values: &[&str]) -> ScalarValue {
    list(&values.iter().map(|text| t(text)).collect::<Vec<_>>())
}

fn map(text: &str) -> ScalarValue {
    let udf = crate::testing::function("str_to_map", "UTC");
    let array = udf
        .invoke_with_args(datafusion_expr::ScalarFunctionArgs {
            args: vec![datafusion_expr::ColumnarValue::Scalar(
                ScalarValue::Utf8View(Some(text.into())),
            )],
            arg_fields: vec![],
            number_rows: 1,
            return_field: std::sync::Arc::new(arrow::datatypes::Field::new(
                "m",
                map_of(DataType::Utf8View, DataType::Utf8View),
                true,
            )),
            config_options: std::sync::Arc::default(),
        })
        .unwrap();
    let datafusion_expr::ColumnarValue::Scalar(value) = array else {
        panic!("a literal")
    };
    value
}

#[test]
fn constructors() {
    assert_eq!(
        eval("row", &[i(1), t("x"), null(), b(true)]),
        "(1, x, NULL, TRUE)"
    );
    assert_eq!(eval("array", &[d(1.5), d(2e10)]), "[1.5, 2.0E10]");
    assert_eq!(eval("array", &[i(1), null(), l(3)]), "[1, NULL, 3]");
    assert_eq!(
        result_type("array", &[i(1), l(3)]),
        list_of(DataType::Int64)
    );
    assert_eq!(
        eval("map", &[t("k"), i(1), t("j"), i(2), t("k"), i(3)]),
        "{k=3, j=2}"
    );
    assert_eq!(
        result_type("map", &[t("k"), i(1)]),
        map_of(DataType::Utf8View, DataType::Int32)
    );
    assert!(error("map", &[t("k"), i(1), t("j")]).contains("every key"));
    assert!(error("map", &[ScalarValue::Utf8(None), i(1)]).contains("key is NULL"));
    assert!(error("array", &[i(1), t("x")]).contains("one type"));
}

#[test]
fn access_by_position_and_key() {
    let array = || ints(&[Some(5), None, Some(7)]);
    assert_eq!(eval("item", &[array(), i(1)]), "5");
    assert_eq!(eval("item", &[array(), i(2)]), "\\N");
    for outside in [0, 4, -1] {
        assert_eq!(eval("item", &[array(), i(outside)]), "\\N");
    }
    assert_eq!(eval("item", &[array(), l(i64::MIN)]), "\\N");
    assert_eq!(eval("item", &[map("a=1,b=2"), t("b")]), "2");
    assert_eq!(eval("item", &[map("a=1,b=2"), t("c")]), "\\N");
    assert_eq!(eval("item", &[map("a=1,b=2"), null()]), "\\N");
    assert_eq!(eval("cardinality", &[array()]), "3");
    assert_eq!(eval("cardinality", &[map("a=1,b=2")]), "2");
    assert_eq!(eval("cardinality", &[null()]), "\\N");
    assert_eq!(eval("element", &[ints(&[Some(9)])]), "9");
    assert_eq!(eval("element", &[ints(&[])]), "\\N");
    assert!(error("element", &[array()]).contains("3 elements"));
    assert!(error("item", &[i(1), i(1)]).contains("cannot be INT"));
}

#[test]
fn searching() {
    let array = || ints(&[Some(1), None, Some(3), Some(1)]);
    assert_eq!(eval("array_contains", &[array(), i(3)]), "TRUE");
    assert_eq!(eval("array_contains", &[array(), l(4)]), "FALSE");
    assert_eq!(eval("array_contains", &[array(), null()]), "TRUE");
    assert_eq!(eval("array_contains", &[null(), i(1)]), "\\N");
    assert_eq!(eval("array_position", &[array(), i(3)]), "3");
    assert_eq!(eval("array_position", &[array(), i(9)]), "0");
    assert_eq!(eval("array_position", &[array(), null()]), "\\N");
    assert_eq!(
        eval("array_contains", &[texts(&["é", "x"]), t("é")]),
        "TRUE"
    );
}

#[test]
fn editing() {
    let array = || ints(&[Some(1), None, Some(3)]);
    assert_eq!(eval("array_append", &[array(), i(4)]), "[1, NULL, 3, 4]");
    assert_eq!(
        eval("array_prepend", &[array(), null()]),
        "[NULL, 1, NULL, 3]"
    );
    assert_eq!(eval("array_append", &[null(), i(4)]), "\\N");
    assert_eq!(eval("array_remove", &[array(), null()]), "[1, 3]");
    assert_eq!(eval("array_remove", &[array(), i(1)]), "[NULL, 3]");
    assert_eq!(eval("array_reverse", &[array()]), "[3, NULL, 1]");
    assert_eq!(
        eval("array_concat", &[array(), ints(&[Some(9)])]),
        "[1, NULL, 3, 9]"
    );
    assert_eq!(eval("array_concat", &[array(), null()]), "\\N");
    let letters = || texts(&["a", "b", "c", "d"]);
    for (from, to, expected) in [
        (2, 3, "[b, c]"),
        (0, 1, "[a]"),
        (-2, -1, "[c, d]"),
        (3, 2, "[]"),
        (5, 9, "[]"),
        (-9, 2, "[a, b]"),
        (1, -9, "[]"),
    ] {
        assert_eq!(
            eval("array_slice", &[letters(), i(from), i(to)]),
            expected,
            "{from} to {to}"
        );
    }
    assert_eq!(eval("array_slice", &[letters(), i(3)]), "[c, d]");
    assert_eq!(
        eval("array_slice", &[letters(), l(i64::MIN), l(i64::MAX)]),
        "[a, b, c, d]"
    );
}

#[test]
fn sets() {
    let left = || ints(&[Some(1), None, Some(2), Some(1), None]);
    assert_eq!(eval("array_distinct", &[left()]), "[1, NULL, 2]");
    assert_eq!(
        eval("array_union", &[left(), ints(&[Some(3), Some(2)])]),
        "[1, NULL, 2, 3]"
    );
    assert_eq!(
        eval("array_except", &[left(), ints(&[Some(2)])]),
        "[1, NULL]"
    );
    assert_eq!(
        eval(
            "array_intersect",
            &[left(), ints(&[Some(1), None, Some(9)])]
        ),
        "[1, NULL]"
    );
    assert_eq!(eval("array_union", &[left(), null()]), "\\N");
}

#[test]
fn ordering() {
    let array = || ints(&[Some(3), None, Some(-1)]);
    assert_eq!(eval("array_sort", &[array()]), "[NULL, -1, 3]");
    assert_eq!(eval("array_sort", &[array(), b(false)]), "[3, -1, NULL]");
    assert_eq!(
        eval("array_sort", &[array(), b(false), b(true)]),
        "[NULL, 3, -1]"
    );
    assert_eq!(eval("array_max", &[array()]), "3");
    assert_eq!(eval("array_min", &[array()]), "-1");
    assert_eq!(eval("array_max", &[ints(&[None])]), "\\N");
    assert_eq!(eval("array_max", &[texts(&["a", "é", "z"])]), "é");
}

#[test]
fn joining() {
    assert_eq!(
        eval("array_join", &[ints(&[Some(1), None, Some(2)]), t("+")]),
        "1+2"
    );
    assert_eq!(
        eval(
            "array_join",
            &[ints(&[Some(1), None, Some(2)]), t("+"), t("x")]
        ),
        "1+x+2"
    );
    assert_eq!(eval("array_join", &[texts(&["a"]), null()]), "\\N");
}

#[test]
fn maps() {
    assert_eq!(eval("map_keys", &[map("a=1,b")]), "[a, b]");
    assert_eq!(eval("map_values", &[map("a=1,b")]), "[1, NULL]");
    assert_eq!(eval("map_entries", &[map("a=1,b")]), "[(a, 1), (b, NULL)]");
    assert_eq!(
        eval(
            "map_from_arrays",
            &[texts(&["a", "b", "a"]), ints(&[Some(1), None, Some(3)])]
        ),
        "{a=3, b=NULL}"
    );
    assert!(error("map_from_arrays", &[texts(&["a"]), ints(&[])]).contains("1 keys and 0 values"));
    assert_eq!(eval("map_from_arrays", &[null(), ints(&[])]), "\\N");
    assert_eq!(
        eval("map_union", &[map("a=1,b=2"), map("b=3,c=4")]),
        "{a=1, b=3, c=4}"
    );
    assert_eq!(eval("map_keys", &[null()]), "\\N");
    assert!(error("map_keys", &[i(1)]).contains("a MAP"));
}
