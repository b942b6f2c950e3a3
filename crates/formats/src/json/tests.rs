use crate::testing::{column, decode, encode, reasons};
use arrow::array::Float64Array;
use arrow::util::display::array_value_to_string;
use millstream_dataflow::testing::{self, Random};
use millstream_dataflow::{Column, Delta};
use proptest::prelude::*;
use serde_json::{Map, Value};

#[test]
fn scalars_of_every_type() {
    let columns = [
        column("b", "boolean"),
        column("i8", "tinyint"),
        column("i16", "smallint"),
        column("i32", "int"),
        column("i64", "bigint"),
        column("f", "float"),
        column("d", "double"),
        column("m", "decimal(10,2)"),
        column("s", "text"),
        column("day", "date"),
        column("t", "time"),
        column("ts", "timestamp"),
        column("ltz", "ltz"),
        column("raw", "bytes"),
    ];
    let full = r#"{"b":true,"i8":-128,"i16":32767,"i32":-2147483648,"i64":9223372036854775807,"f":0.1,"d":1e-7,"m":12.345,"s":"é long enough to be no inline view","day":"2024-02-29","t":"12:34:56.789","ts":"2024-02-29 23:59:59.999","ltz":"2024-02-29 23:59:59Z","raw":"AAEC"}"#;
    let texts = r#"{"b":" TRUE ","i8":"1","i16":" 2 ","i32":"3","i64":"4","f":"5","d":"NaN","m":"6.005","s":7.50,"day":null}"#;
    let other = "{\"s\":false,\"i32\":1.9,\"i64\":1e3}";
    let got = decode("json", &[], &columns, &[full, texts, " {} ", other]);
    assert_eq!(got.bad, Vec::new());
    assert_eq!(
        got.rows.split(" / ").collect::<Vec<_>>(),
        [
            "+1 true -128 32767 -2147483648 9223372036854775807 0.1 1e-7 12.35 é_long_enough_to_be_no_inline_view 2024-02-29 12:34:56.789 2024-02-29T23:59:59.999 2024-02-29T23:59:59Z 000102",
            "+1 true 1 2 3 4 5.0 NaN 6.01 7.50 NULL NULL NULL NULL NULL",
            "+1 NULL NULL NULL NULL NULL NULL NULL NULL NULL NULL NULL NULL NULL NULL",
            "+1 NULL NULL NULL 1 1000 NULL NULL NULL false NULL NULL NULL NULL NULL",
        ]
    );
}

#[test]
fn nested_values() {
    let columns = [
        column("r", "{name text, n int}"),
        column("l", "[text]"),
        column("m", "<int>"),
        column("t", "text"),
        column("r.n", "int"),
    ];
    let records = [
        r#"{"r":{"n":1,"name":"A"},"l":["x",null,"\u00e9"],"m":{"k":1,"\"":null},"t":{"a": [1, "\u00e9\n"]}}"#,
        r#"{"r":null,"l":[],"m":{},"t":[]}"#,
        r#"{"r":{},"l":[[1, 2]],"t":"a\tb"}"#,
    ];
    let got = decode("json", &[], &columns, &records);
    assert_eq!(got.bad, Vec::new());
    assert_eq!(
        got.rows.split(" / ").collect::<Vec<_>>(),
        [
            r#"+1 {name:_A,_n:_1} [x,_NULL,_é] {k:_1,_":_NULL} {"a":[1,"é\n"]} 1"#,
            "+1 NULL [] {} [] NULL",
            "+1 {name:_NULL,_n:_NULL} [[1,2]] NULL a\tb NULL",
        ]
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn bad_records_are_reported_with_column_and_value() {
    let columns = [
        column("i", "int"),
        column("d", "double"),
        column("day", "date"),
        column("s", "text"),
        column("r.x", "bigint"),
        column("l", "[tinyint]"),
    ];
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: [(&str, &str); 30] = [
        (r#"{"i":1"#, "not JSON: it is cut short"),
        (r#"{"s":"abc"#, "not JSON: it is cut short"),
        (r#"{"s":"#, "not JSON: it is cut short"),
        ("{", "not JSON: it is cut short"),
        (
            r#"{"i":NaN}"#,
            "not JSON: a value is wanted, but 'N' stands there at byte 5",
        ),
        (
            r#"{"x":nul}"#,
            "not JSON: a value is wanted, but 'n' stands there at byte 5",
        ),
        (
            r#"{"i":01}"#,
            "not JSON: ',' or '}' is wanted, but '1' stands there at byte 6",
        ),
        (
            r#"{"i":1}}"#,
            "not JSON: nothing more is wanted, but '}' stands there at byte 7",
        ),
        (
            r#"{"i":1,}"#,
            "not JSON: a field name in quotes is wanted, but '}' stands there at byte 7",
        ),
        (
            r#"{"i":1{"d":2}"#,
            "not JSON: ',' or '}' is wanted, but '{' stands there at byte 6",
        ),
        (
            r#"{i:1}"#,
            "not JSON: a field name in quotes is wanted, but 'i' stands there at byte 1",
        ),
        (
            r#"{"x":[1,]}"#,
            "not JSON: a value is wanted, but ']' stands there at byte 8",
        ),
        (
            r#"{"x":{"a":1]}"#,
            "not JSON: ',' or '}' is wanted, but ']' stands there at byte 11",
        ),
        (
            r#"{"x":"\q"}"#,
            "not JSON: an escape that JSON does not have at byte 6",
        ),
        (
            &deep,
            "not JSON: nested deeper than 1000 levels at byte 1005",
        ),
        (
            r#"{"i":2147483648}"#,
            "column `i`: 2147483648 is no INT: it is out of range",
        ),
        (
            r#"{"i":99999999999999999999999}"#,
            "column `i`: 99999999999999999999999 is no INT: it is out of range",
        ),
        (r#"{"i":"12x"}"#, r#"column `i`: "12x" is no INT"#),
        (r#"{"i":true}"#, "column `i`: true is no INT"),
        (r#"{"i":[1]}"#, "column `i`: [1] is no INT"),
        (
            r#"{"d":1e400}"#,
            "column `d`: 1e400 is no DOUBLE: it is out of range",
        ),
        (r#"{"d":"x"}"#, r#"column `d`: "x" is no DOUBLE"#),
        (
            r#"{"day":"2026-02-30"}"#,
            r#"column `day`: "2026-02-30" is no DATE"#,
        ),
        (
            r#"{"s":"a\u0000b"}"#,
            r#"column `s`: "a\u0000b" is no STRING: it holds a NUL character"#,
        ),
        (
            r#"{"s":"\ud83d"}"#,
            r#"column `s`: "\ud83d" is no STRING: half a surrogate pair"#,
        ),
        (r#"{"r":5}"#, "column `r`: 5 is no ROW"),
        (r#"{"r":{"x":"y"}}"#, r#"column `r.x`: "y" is no BIGINT"#),
        (
            r#"{"l":[1,2,300]}"#,
            "column `l`: 300 is no TINYINT: it is out of range",
        ),
        ("5", "the record is no JSON object"),
        (r#"[{"i":5},6]"#, "an item of the record is no JSON object"),
    ];
    let good = r#"{"i":1,"s":"a text that is quite long","l":[1,2],"r":{"x":7}}"#;
    let row = "+1 1 NULL NULL a_text_that_is_quite_long 7 [1,_2]";
    for (bad, why) in cases {
        let got = decode("json", &[], &columns, &[good, bad, good]);
        assert_eq!(reasons(&got), [format!("1 {why}")], "{bad:.60}");
        assert_eq!(got.rows, format!("{row} / {row}"), "{bad:.60}");
        assert_eq!(got.origin, Some(vec![0, 2]));
    }
}

#[test]
fn invalid_utf8_spoils_its_own_record_only() {
    let columns = [column("s", "text")];
    let records: [&[u8]; 4] = [
        b"{\"s\":\"a\"}",
        b"{\"s\":\"\xff\"}",
        b"{\"s\":\"b\"}\xc3",
        b"\xa9{\"s\":\"c\"}",
    ];
    let got = decode("json", &[], &columns, &records);
    assert_eq!(got.rows, "+1 a");
    // Also where nothing good follows, rows are no longer the records.
    assert_eq!(got.origin, Some(vec![0]));
    assert_eq!(
        reasons(&got),
        [
            "1 not UTF-8 at byte 6",
            "2 not UTF-8 at byte 9",
            "3 not UTF-8 at byte 0"
        ]
    );
    let got = decode(
        "json",
        &[],
        &columns,
        &[&b"{\"s\":\"a\0b\"}"[..], b"{\"s\":\"c\"}"],
    );
    assert_eq!(got.rows, "+1 c");
    assert_eq!(
        reasons(&got),
        ["0 column `s`: \"a\0b\" is no STRING: it holds a NUL character"]
    );
}

#[test]
fn a_cut_text_takes_nothing_of_the_next_record() {
    let columns = [column("s", "text"), column("l", "[text]")];
    let records: [&[u8]; 3] = [
        b"{\"l\":[\"abc",
        b"{\"\xff and so on for more than twelve bytes",
        "{\"s\":\"ünï, and long enough for a view\",\"l\":[\"é\"]}".as_bytes(),
    ];
    let got = decode("json", &[], &columns, &records);
    assert_eq!(got.rows, "+1 ünï,_and_long_enough_for_a_view [é]");
    assert_eq!(reasons(&got)[0], "0 not JSON: it is cut short");
}

#[test]
fn parse_errors_can_be_ignored() {
    let columns = [
        column("i", "int"),
        column("l", "[int]"),
        column("r.x", "int"),
    ];
    let lenient = [("json.ignore-parse-errors", "true")];
    let records = [r#"{"i":"x","l":[1,"y",3],"r":7}"#, "{", r#"{"i":1}"#];
    let got = decode("json", &lenient, &columns, &records);
    assert_eq!(got.rows, "+1 NULL [1,_NULL,_3] NULL / +1 1 NULL NULL");
    assert_eq!(reasons(&got), ["1 not JSON: it is cut short"]);
}

#[test]
fn a_missing_field_can_be_bad() {
    let columns = [column("i", "int"), column("r.x", "int")];
    let strict = [("json.fail-on-missing-field", "true")];
    let records = [r#"{"i":null,"r":null}"#, r#"{"i":1}"#, r#"{"i":1,"r":{}}"#];
    let got = decode("json", &strict, &columns, &records);
    assert_eq!(got.rows, "+1 NULL NULL");
    assert_eq!(
        reasons(&got),
        [
            "1 column `r`: the field is missing",
            "2 column `r.x`: the field is missing"
        ]
    );
}

#[test]
fn arrays_of_objects_are_rows_and_nothing_is_none() {
    let columns = [column("i", "int")];
    let records = [
        "",
        "null",
        " \n",
        r#"[{"i":1},{"i":2}]"#,
        "[]",
        r#"[{"i":3},{"i":"x"}]"#,
        r#"{"i":4}"#,
    ];
    let got = decode("json", &[], &columns, &records);
    assert_eq!(got.rows, "+1 1 / +1 2 / +1 4");
    assert_eq!(got.origin, Some(vec![3, 3, 6]));
    assert_eq!(reasons(&got), ["5 column `i`: \"x\" is no INT"]);
    let many = format!("[{}]", vec![r#"{"i":1}"#; 300].join(","));
    assert_eq!(
        decode("json", &[], &columns, &[many])
            .rows
            .split('/')
            .count(),
        300
    );
}

#[test]
fn timestamps_follow_the_standard_asked_for() {
    let columns = [column("a", "timestamp"), column("b", "ltz")];
    let iso = [("json.timestamp-format.standard", "ISO-8601")];
    let records = [
        r#"{"a":"2024-03-01T08:00:00.123","b":"2024-03-01T08:00:00.123Z"}"#,
        r#"{"a":"2024-03-01T08:00:01.5","b":"2024-03-01T08:00:01+02:00"}"#,
        r#"{"a":"2024-03-01T08:00:02","b":"2024-03-01T08:00:59Z"}"#,
        r#"{"a":"2024-03-01T08:00:60"}"#,
        r#"{"a":"2024-03-01 08:00:00"}"#,
        r#"{"a":"2024-03-01T08:00:00Z"}"#,
        r#"{"b":"2024-03-01T08:00:00"}"#,
    ];
    let got = decode("json", &iso, &columns, &records);
    assert_eq!(
        got.rows,
        "+1 2024-03-01T08:00:00.123 2024-03-01T08:00:00.123Z / +1 2024-03-01T08:00:01.500 2024-03-01T06:00:01Z / +1 2024-03-01T08:00:02 2024-03-01T08:00:59Z"
    );
    assert_eq!(got.bad.len(), 4);
}

#[test]
fn a_message_of_ten_megabytes_is_one_row() {
    let text = "x".repeat(10 << 20);
    let got = decode(
        "json",
        &[],
        &[column("s", "text")],
        &[format!("{{\"s\":\"{text}\"}}")],
    );
    assert_eq!(got.rows.len(), (10 << 20) + 3);
}

#[test]
fn rows_are_written_as_objects() {
    let delta = testing::delta(
        "s text, n int, d double, m decimal(10,2), m0 decimal(10,2), ts timestamp, b boolean",
        "+1 a\"b 1 1.5 1.50 100 2024-03-01T08:00:00.120 true / +2 NULL NULL NULL NULL 0.00 NULL NULL",
    );
    assert_eq!(
        encode("json", &[], &delta),
        [
            r#"{"s":"a\"b","n":1,"d":1.5,"m":1.5,"m0":1E+2,"ts":"2024-03-01 08:00:00.12","b":true}"#,
            r#"{"s":null,"n":null,"d":null,"m":null,"m0":0,"ts":null,"b":null}"#,
            r#"{"s":null,"n":null,"d":null,"m":null,"m0":0,"ts":null,"b":null}"#,
        ]
    );
    let settings = [
        ("json.encode.decimal-as-plain-number", "true"),
        ("json.encode.ignore-null-fields", "true"),
        ("json.timestamp-format.standard", "ISO-8601"),
    ];
    assert_eq!(
        encode("json", &settings, &delta)[..2],
        [
            r#"{"s":"a\"b","n":1,"d":1.5,"m":1.50,"m0":100.00,"ts":"2024-03-01T08:00:00.12","b":true}"#,
            r#"{"m0":0.00}"#,
        ]
    );
    let retraction = testing::delta("n int", "-1 1");
    let format = crate::encoder(
        "json",
        &mut crate::testing::options(&[]),
        &retraction.schema(),
    )
    .unwrap();
    let error = format
        .open()
        .encode(&retraction, &mut Vec::new(), &mut Vec::new())
        .unwrap_err();
    assert!(error.hint.unwrap().contains("debezium-json"));
}

// The oracle: the same records through serde_json, which knows nothing of guesses, words of bytes or views.

const COLUMNS: [(&str, &str); 9] = [
    ("a", "bigint"),
    ("b", "text"),
    ("c.x", "int"),
    ("c.deep.y", "text"),
    ("d", "double"),
    ("t", "timestamp"),
    ("m", "decimal(12,3)"),
    ("l", "[bigint]"),
    ("ok", "boolean"),
];

fn oracle(records: &[String]) -> String {
    let rows = records
        .iter()
        .filter_map(|record| serde_json::from_str::<Map<String, Value>>(record).ok());
    let rows: Vec<String> = rows
        .map(|object| {
            let values: Vec<String> = COLUMNS
                .iter()
                .map(|(path, kind)| expected(&object, path, kind))
                .collect();
            format!("+1 {}", values.join(" "))
        })
        .collect();
    rows.join(" / ")
}

fn expected(object: &Map<String, Value>, path: &str, kind: &str) -> String {
    let mut value = object
        .get(path.split('.').next().unwrap())
        .unwrap_or(&Value::Null);
    for key in path.split('.').skip(1) {
        value = value.get(key).unwrap_or(&Value::Null);
    }
    match (kind, value) {
        (_, Value::Null) => "NULL".to_owned(),
        ("text", Value::String(text)) if text.is_empty() => "''".to_owned(),
        ("text", Value::String(text)) => text.replace(' ', "_"),
        ("double", number) => {
            let array = Float64Array::from(vec![number.as_f64().unwrap()]);
            array_value_to_string(&array, 0).unwrap()
        }
        ("timestamp", Value::String(text)) => text.replace(' ', "T").replace(".000", ""),
        ("decimal(12,3)", number) => {
            let thousandths = number.as_i64().unwrap();
            format!("{thousandths}.000")
        }
        ("[bigint]", Value::Array(items)) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| {
                    if item.is_null() {
                        "NULL".to_owned()
                    } else {
                        item.to_string()
                    }
                })
                .collect();
            format!("[{}]", items.join(",_"))
        }
        (_, other) => other.to_string(),
    }
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[a-z \"\\\\/\n\u{1}é😀]{0,40}".prop_map(Value::from),
        "[a-z]{0,40}".prop_map(Value::from),
        Just(Value::Null),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        (0_i64..1000).prop_map(Value::from),
        Just(Value::Null)
    ]
}

fn timestamp() -> impl Strategy<Value = Value> {
    (0..3_u32, 0..60_u32, 0..60_u32, 0..1000_u32).prop_map(|(hour, minute, second, ms)| {
        Value::from(format!(
            "2024-02-29 {hour:02}:{minute:02}:{second:02}.{ms:03}"
        ))
    })
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text(),
        number(),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z\"]{0,20}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A field of a record: mostly wanted ones, now and then one more that nobody knows.
fn field() -> impl Strategy<Value = (String, Value)> {
    let named = |name: &'static str, value: BoxedStrategy<Value>| {
        value.prop_map(move |value| (name.to_owned(), value))
    };
    let deep = prop_oneof![
        (number_i32(), text(), anything()).prop_map(|(x, y, z)| {
            serde_json::json!({"x": x, "other": z, "deep": {"y": y, "z": 1}})
        }),
        Just(serde_json::json!({"deep": null})),
        Just(Value::Null),
    ];
    let items = prop::collection::vec(number(), 0..4).prop_map(Value::from);
    prop_oneof![
        named("a", number().boxed()),
        named("b", text().boxed()),
        named("c", deep.boxed()),
        named("d", any::<f64>().prop_map(Value::from).boxed()),
        named(
            "d",
            (-99_999..99_999_i64)
                .prop_map(|cents| Value::from(cents as f64 / 100.0))
                .boxed()
        ),
        named("t", timestamp().boxed()),
        named("m", (-1000..1000_i64).prop_map(Value::from).boxed()),
        named("l", prop_oneof![items, Just(Value::Null)].boxed()),
        named("ok", any::<bool>().prop_map(Value::from).boxed()),
        ("[a-z]{1,24}", anything()).prop_filter("unknown", |(name, _)| ![
            "a", "b", "c", "d", "t", "m", "l", "ok"
        ]
        .contains(&name.as_str())),
    ]
}

fn number_i32() -> impl Strategy<Value = Value> {
    any::<i32>().prop_map(Value::from)
}

/// A record with its fields in any order, some of them twice, and white space anywhere.
fn record() -> impl Strategy<Value = String> {
    (prop::collection::vec(field(), 0..12), 0..4_u64).prop_map(|(fields, space)| {
        let mut random = Random(fields.len() as u64 * 7 + space);
        let mut gap = || {
            if space == 0 {
                ""
            } else {
                ["", " ", "\n", " \t\r\n "][random.below(4)]
            }
        };
        let mut text = format!("{}{{{}", gap(), gap());
        for (at, (name, value)) in fields.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let key = Value::from(name.as_str());
            text += &format!("{comma}{}{key}{}:{}{value}{}", gap(), gap(), gap(), gap());
        }
        text + "}" + gap()
    })
}

fn columns() -> Vec<Column> {
    COLUMNS
        .iter()
        .map(|(path, kind)| column(path, kind))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_same_rows_as_serde_json(records in prop::collection::vec(record(), 1..20)) {
        let got = decode("json", &[], &columns(), &records);
        prop_assert_eq!(got.bad, Vec::new());
        prop_assert_eq!(got.rows, oracle(&records));
    }

    #[test]
    fn broken_records_are_bad_exactly_when_serde_json_says_so(
        records in prop::collection::vec(record(), 1..6),
        spoil in prop::collection::vec((any::<usize>(), 0..3_usize, prop::sample::select(b"{}[],:\"\\0-e.ntx \n".to_vec())), 1..4),
    ) {
        let mut bytes: Vec<Vec<u8>> = records.into_iter().map(String::into_bytes).collect();
        for (place, how, byte) in spoil {
            let record = place % bytes.len();
            let text = &mut bytes[record];
            let at = place / 7 % (text.len() + 1);
            match how {
                0 => text.truncate(at),
                1 => text.insert(at, byte),
                _ => if let Some(old) = text.get_mut(at) { *old = byte },
            }
        }
        let wanted = [column("nobody", "text")];
        let got = decode("json", &[], &wanted, &bytes);
        let bad: Vec<u32> = got.bad.iter().map(|(record, _)| *record).collect();
        let expected: Vec<u32> = (0..bytes.len() as u32)
            .filter(|record| !fine(&bytes[*record as usize]))
            .collect();
        prop_assert_eq!(bad, expected, "{:?}", reasons(&got));
    }

    #[test]
    fn what_is_written_reads_back(records in prop::collection::vec(record(), 1..20)) {
        let wanted = columns();
        let mut decoder = crate::testing::open("json", &[], &wanted);
        let delta: Delta = decoder.decode(&crate::testing::records(&records)).unwrap().delta;
        let texts = encode("json", &[], &delta);
        let flat: Vec<Column> = COLUMNS.iter().map(|(path, kind)| Column {
            place: millstream_dataflow::Place::Field(vec![(*path).to_owned()]),
            ..column(path, kind)
        }).collect();
        let again = decode("json", &[], &flat, &texts);
        prop_assert_eq!(again.rows, testing::show(&delta));
    }
}

/// What is no bad record: JSON whose root is an object, an array of objects, null, or nothing. (Raw control characters
/// in texts are allowed, as in Flink: the oracle sees a space instead.)
fn fine(bytes: &[u8]) -> bool {
    let mut quoted = false;
    let mut escaped = false;
    let text: Vec<u8> = bytes
        .iter()
        .map(|byte| {
            if *byte == b'"' && !escaped {
                quoted = !quoted;
            }
            escaped = quoted && *byte == b'\\' && !escaped;
            if quoted && *byte < 0x20 { b' ' } else { *byte }
        })
        .collect();
    if text.trim_ascii().is_empty() {
        return true;
    }
    match serde_json::from_slice::<Box<serde_json::value::RawValue>>(&text).map(|_| ()) {
        Err(_) => false,
        Ok(()) => match text.trim_ascii()[0] {
            b'{' => true,
            b'n' => true,
            b'[' => serde_json::from_slice::<Vec<Map<String, Value>>>(&text).is_ok(),
            _ => false,
        },
    }
}
