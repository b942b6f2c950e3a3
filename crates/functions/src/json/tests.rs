use arrow::datatypes::DataType;

use super::path::Path;
use super::value::Json;
use crate::testing::{b, d, date, dec, error, eval, i, list, null, of, result_type, t, ts};

fn value(json: &str, path: &str) -> String {
    eval("json_value", &[t(json), t(path)])
}

#[test]
fn numbers_keep_their_digits() {
    let written = |text: &str| {
        let mut out = String::new();
        Json::parse(text).unwrap().write(&mut out);
        out
    };
    assert_eq!(
        written(" [1.50, 1e10, -0, 0.0000001, 12345678901234567890123, 1.0E-2] "),
        "[1.50,1E+10,0,1E-7,12345678901234567890123,0.010]"
    );
    assert_eq!(
        written("{\"b\":1,\"a\":{\"d\":null,\"c\":\"\\u00e9\\n\"},\"b\":2}"),
        "{\"a\":{\"c\":\"é\\n\",\"d\":null},\"b\":2}"
    );
    for bad in [
        "", "abc", "01", "1.", "[1,]", "{a:1}", "\"\n\"", "1 2", "nul", "-", "\"\\x\"", "[",
        "{\"a\"}",
    ] {
        assert_eq!(Json::parse(bad), None, "{bad}");
    }
    assert_eq!(Json::parse(&"[".repeat(100_000)), None);
    assert_eq!(
        Json::parse("\"\\ud83d\\uded2 \\ud83d\""),
        Some(Json::Text("🛒 \u{fffd}".into()))
    );
}

#[test]
fn paths_are_strict_unless_lax() {
    let json = "{\"a\": true, \"n\": null, \"o\": {\"x y\": [0.998, \"s\"]}, \"l\": [{\"c\": \"c1\"}, {\"c\": \"c2\"}]}";
    assert_eq!(value(json, "$.a"), "true");
    assert_eq!(value(json, "$.o['x y'][0]"), "0.998");
    assert_eq!(value(json, "$.o.[\"x y\"][-1]"), "s");
    assert_eq!(value(json, "lax $.b"), "\\N");
    let with = |path: &str| {
        eval(
            "json_value",
            &[
                t(json),
                t(path),
                t("STRING"),
                t("DEFAULT"),
                t("empty"),
                t("DEFAULT"),
                t("error"),
            ],
        )
    };
    assert_eq!(with("lax $.b"), "empty");
    assert_eq!(with("strict $.b"), "error");
    assert_eq!(with("$.b"), "error");
    assert_eq!(with("$.n"), "empty");
    assert_eq!(with("$.o"), "error");
    assert_eq!(with("lax $.o"), "empty");
    assert_eq!(with("$.l[*].c"), "error");
    assert_eq!(with("$.l[9].c"), "error");
    assert!(error("json_value", &[t("{}"), t("a.b")]).contains("does not start with $"));
    assert!(error("json_value", &[t("{}"), t("$.a[x]")]).contains("[x]"));
}

#[test]
fn json_value_returns_types() {
    let returning =
        |json: &str, path: &str, kind: &str| eval("json_value", &[t(json), t(path), t(kind)]);
    assert_eq!(returning("{\"a\": true}", "$.a", "BOOLEAN"), "TRUE");
    assert_eq!(returning("{\"a\": 42}", "$.a", "INTEGER"), "42");
    assert_eq!(returning("{\"a\": 0.998}", "$.a", "DOUBLE"), "0.998");
    assert_eq!(returning("{\"a\": \"x\"}", "$.a", "INTEGER"), "\\N");
    assert_eq!(returning("{\"a\": \"42\"}", "$.a", "INTEGER"), "42");
    assert_eq!(returning("{\"a\": -13.89}", "$.a", "INTEGER"), "-13");
    assert_eq!(returning("{\"a\": 9999999999}", "$.a", "INTEGER"), "\\N");
    assert_eq!(
        returning("{\"a\": 13.375}", "$.a", "DECIMAL(4, 2)"),
        "13.38"
    );
    assert_eq!(returning("{\"a\": true}", "$.a", "DOUBLE"), "\\N");
    assert_eq!(
        eval(
            "json_value",
            &[t("{}"), t("lax $.b"), t("STRING"), t("DEFAULT"), b(false)]
        ),
        "false"
    );
    let args = [t("{}"), t("lax $.a"), t("INTEGER"), t("DEFAULT"), i(7)];
    assert_eq!(eval("json_value", &args), "7");
    assert_eq!(result_type("json_value", &args), DataType::Int32);
    assert!(
        error(
            "json_value",
            &[t("{"), t("$.a"), t("STRING"), t("NULL"), null(), t("ERROR")]
        )
        .contains("no JSON")
    );
    assert_eq!(
        eval(
            "json_value",
            &[t("{"), t("lax $.a"), t("STRING"), t("DEFAULT"), t("e")]
        ),
        "e"
    );
    assert_eq!(eval("json_value", &[null(), t("$.a")]), "\\N");
    assert!(error("json_value", &[t("{}"), t("$"), t("DATE")]).contains("DATE"));
}

#[test]
fn json_query_wraps() {
    let query = |json: &str, path: &str, more: &[&str]| {
        let mut args = vec![t(json), t(path)];
        args.extend(more.iter().map(|text| t(text)));
        eval("json_query", &args)
    };
    assert_eq!(query("{ \"a\": { \"b\": 1 } }", "$.a", &[]), "{\"b\":1}");
    assert_eq!(query("[1, 2]", "$", &[]), "[1,2]");
    assert_eq!(
        query(
            "{\"a\":[{\"c\":\"c1\"},{\"c\":\"c2\"}]}",
            "lax $.a[*].c",
            &[]
        ),
        "[\"c1\",\"c2\"]"
    );
    assert_eq!(query("{}", "$", &["CONDITIONAL"]), "[{}]");
    assert_eq!(query("[1, 2]", "$", &["CONDITIONAL"]), "[1,2]");
    assert_eq!(query("[1, 2]", "$", &["UNCONDITIONAL"]), "[[1,2]]");
    assert_eq!(query("1", "$", &[]), "\\N");
    assert_eq!(query("1", "$", &["CONDITIONAL"]), "[1]");
    assert_eq!(
        query("{}", "lax $.invalid", &["WITHOUT", "EMPTY OBJECT"]),
        "{}"
    );
    assert_eq!(
        query(
            "{}",
            "strict $.invalid",
            &["WITHOUT", "NULL", "EMPTY ARRAY"]
        ),
        "[]"
    );
    assert_eq!(
        query(
            "{\"a\":[1,\"x\",null,{\"b\":2}]}",
            "$.a",
            &["WITHOUT", "NULL", "NULL", "ARRAY<STRING>"]
        ),
        "[1, x, NULL, {\"b\":2}]"
    );
    assert_eq!(eval("json_query", &[null(), t("$")]), "\\N");
    assert_eq!(query("{\"b\":1,\"a\":2}", "$", &[]), "{\"a\":2,\"b\":1}");
}

#[test]
fn paths_select_many() {
    let json = "{\"s\": [{\"p\": 5, \"t\": \"a\"}, {\"p\": 20, \"t\": \"b\"}, {\"p\": 9}], \"x\": {\"p\": 1}}";
    let query = |path: &str| eval("json_query", &[t(json), t(path)]);
    assert_eq!(query("$..p"), "[5,20,9,1]");
    assert_eq!(query("$.s[0,2].p"), "[5,9]");
    assert_eq!(query("$.s[1:].p"), "[20,9]");
    assert_eq!(query("$.s[-2:].p"), "[20,9]");
    assert_eq!(query("$.s[?(@.p > 6 && @.t)].p"), "[20]");
    assert_eq!(query("$.s[?(@.t == 'a' || @.p == 9)].p"), "[5,9]");
    assert_eq!(query("$.x.*"), "[1]");
    assert_eq!(query("$.s[0]['p','t']"), "[5,\"a\"]");
    assert_eq!(query("$.nothing[*].p"), "\\N");
    assert!(Path::compile("$.a.length()").is_err());
}

#[test]
fn json_exists_answers() {
    let exists = |json: &str, path: &str| eval("json_exists", &[t(json), t(path)]);
    assert_eq!(exists("{\"a\": true}", "$.a"), "TRUE");
    assert_eq!(exists("{\"a\": true}", "$.b"), "FALSE");
    assert_eq!(exists("{\"a\": [{ \"b\": 1 }]}", "$.a[0].b"), "TRUE");
    assert_eq!(
        eval(
            "json_exists",
            &[t("{\"a\": true}"), t("strict $.b"), t("TRUE")]
        ),
        "TRUE"
    );
    assert_eq!(
        eval(
            "json_exists",
            &[t("{\"a\": true}"), t("lax $.b"), t("TRUE")]
        ),
        "FALSE"
    );
    assert_eq!(
        eval("json_exists", &[t("{"), t("$.b"), t("UNKNOWN")]),
        "\\N"
    );
    assert!(error("json_exists", &[t("{"), t("$.b"), t("ERROR")]).contains("no JSON"));
}

#[test]
fn is_json_knows_kinds() {
    let is = |json: &str, kind: &str| eval("is_json", &[t(json), t(kind)]);
    assert_eq!(is("1", "VALUE"), "TRUE");
    assert_eq!(is("abc", "VALUE"), "FALSE");
    assert_eq!(is("\"abc\"", "SCALAR"), "TRUE");
    assert_eq!(is("1", "ARRAY"), "FALSE");
    assert_eq!(is("{}", "OBJECT"), "TRUE");
    assert_eq!(is("{}", "SCALAR"), "FALSE");
    assert_eq!(eval("is_json", &[null()]), "FALSE");
}

#[test]
fn objects_sort_their_keys() {
    let args = [
        t("NULL"),
        t("vvv"),
        t("b"),
        i(1),
        t("a"),
        t("x\"y"),
        t("c"),
        null(),
    ];
    assert_eq!(
        eval("json_object", &args),
        "{\"a\":\"x\\\"y\",\"b\":1,\"c\":null}"
    );
    let absent = [t("ABSENT"), t("v"), t("K1"), null()];
    assert_eq!(eval("json_object", &absent), "{}");
    let nested = [
        t("NULL"),
        t("jv"),
        t("k"),
        t("{\"x\":1}"),
        t("t"),
        t("{\"x\":1}"),
    ];
    assert_eq!(
        eval("json_object", &nested),
        "{\"k\":{\"x\":1},\"t\":\"{\\\"x\\\":1}\"}"
    );
    assert_eq!(eval("json_object", &[t("NULL"), t("")]), "{}");
    assert!(error("json_object", &[t("NULL"), t("v"), t("k")]).contains("every key"));
}

#[test]
fn arrays_leave_nulls_out() {
    assert_eq!(
        eval("json_array", &[t("ABSENT"), t("vvv"), i(1), t("2"), null()]),
        "[1,\"2\"]"
    );
    assert_eq!(eval("json_array", &[t("NULL"), t("v"), null()]), "[null]");
    assert_eq!(eval("json_array", &[t("ABSENT"), t("")]), "[]");
    assert_eq!(
        eval("json_array", &[t("ABSENT"), t("j"), t("[1]")]),
        "[[1]]"
    );
}

#[test]
fn values_as_json() {
    let json = |value| eval("json_string", &[value]);
    assert_eq!(json(i(1)), "1");
    assert_eq!(json(b(true)), "true");
    assert_eq!(json(t("Hello, \"é\"\n")), "\"Hello, \\\"é\\\"\\n\"");
    assert_eq!(json(list(&[i(1), null(), i(2)])), "[1,null,2]");
    assert_eq!(json(dec("10.50", 10, 2)), "10.50");
    assert_eq!(json(d(1e10)), "1.0E10");
    assert_eq!(json(date("2024-02-29")), "\"2024-02-29\"");
    assert_eq!(
        json(ts("2024-02-29 23:59:59.900")),
        "\"2024-02-29T23:59:59.9\""
    );
    assert_eq!(json(of("Flink", &DataType::BinaryView)), "\"Rmxpbms=\"");
    assert_eq!(json(null()), "\\N");
    assert_eq!(
        eval("json", &[t("{ \"b\" : 1, \"a\" : [ ] }")]),
        "{\"a\":[],\"b\":1}"
    );
}

#[test]
fn quoting() {
    assert_eq!(eval("json_quote", &[t("\"null\"")]), "\"\\\"null\\\"\"");
    assert_eq!(eval("json_quote", &[t("a/b\t≠")]), "\"a\\/b\\t\\u2260\"");
    assert_eq!(eval("json_unquote", &[t("\"a\\u00e9\"")]), "aé");
    assert_eq!(eval("json_unquote", &[t("\"a\\x\"")]), "\"a\\x\"");
    assert_eq!(eval("json_unquote", &[t("[1]")]), "[1]");
}
