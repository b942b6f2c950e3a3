use crate::testing::{column, decode, encode, options, reasons};
use crate::{decoder, encoder};
use millstream_dataflow::testing;

const STOCK: [(&str, &str); 3] = [("sku", "text"), ("wh", "text"), ("qty", "int")];

fn stock() -> Vec<millstream_dataflow::Column> {
    STOCK
        .iter()
        .map(|(name, kind)| column(name, kind))
        .collect()
}

#[test]
fn debezium_operations_become_weights() {
    let records = [
        r#"{"before": null, "after": {"sku": "SKU-3", "wh": "W1", "qty": 22}, "op": "c"}"#,
        r#"{"before": {"sku": "SKU-3", "wh": "W1", "qty": 22}, "after": {"sku": "SKU-3", "wh": "Wü", "qty": null}, "op": "u"}"#,
        "",
        r#"{"before": {"sku": "SKU-3", "wh": "Wü", "qty": null}, "after": null, "op": "d"}"#,
        r#"{"op":"r","after":{"qty":1,"sku":"x"},"before":null}"#,
    ];
    let got = decode("debezium-json", &[], &stock(), &records);
    assert_eq!(
        got.rows,
        "+1 SKU-3 W1 22 / -1 SKU-3 W1 22 / +1 SKU-3 Wü NULL / -1 SKU-3 Wü NULL / +1 x NULL 1"
    );
    assert_eq!(got.origin, Some(vec![0, 1, 1, 3, 4]));
    assert_eq!(got.bad, Vec::new());
}

#[test]
fn a_debezium_envelope_may_come_with_its_schema() {
    let record = r#"{"schema":{"type": "struct"},"payload":{"before":null,"after":{"sku":"a","qty":1},"source":{"db":"shop","table":"stock","ts_ms":1700000000123,"x":null},"op":"c","ts_ms":1700000000456}}"#;
    let columns = [
        column("qty", "int"),
        column("@schema", "text"),
        column("@ingestion-timestamp", "ltz"),
        column("@source.timestamp", "ltz"),
        column("@source.database", "text"),
        column("@source.properties", "<text>"),
    ];
    let included = [("debezium-json.schema-include", "true")];
    let got = decode("debezium-json", &included, &columns, &[record]);
    assert_eq!(
        got.rows,
        "+1 1 {\"type\":\"struct\"} 2023-11-14T22:13:20.456Z 2023-11-14T22:13:20.123Z shop {db:_shop,_table:_stock,_ts_ms:_1700000000123,_x:_NULL}"
    );
    let flat = r#"{"after":{"qty":1},"op":"c","ts_ms":1700000000456}"#;
    let got = decode("debezium-json", &[], &columns[..3], &[flat]);
    assert_eq!(got.rows, "+1 1 NULL 2023-11-14T22:13:20.456Z");
}

#[test]
fn bad_envelopes_are_reported_and_change_nothing_else() {
    let records = [
        r#"{"before":null,"after":{"qty":1},"op":"u"}"#,
        r#"{"before":null,"after":null,"op":"d"}"#,
        r#"{"before":null,"after":null,"op":"c"}"#,
        r#"{"before":null,"after":{"qty":1},"op":"x"}"#,
        r#"{"before":null,"after":{"qty":1}}"#,
        r#"{"before":null,"after":{"qty":"many"},"op":"c"}"#,
        r#"{"before":null,"after":{"qty":7},"op":"c"}"#,
    ];
    let got = decode("debezium-json", &[], &stock(), &records);
    assert_eq!(got.rows, "+1 NULL NULL 7");
    assert_eq!(
        reasons(&got),
        [
            "0 `before` is missing in an update (a Postgres table needs REPLICA IDENTITY FULL)",
            "1 `before` is missing in a delete (a Postgres table needs REPLICA IDENTITY FULL)",
            "2 `after` is missing in an operation 'c'",
            "3 `op` is 'x', which is no operation",
            "4 `op` is missing",
            "5 column `qty`: \"many\" is no INT",
        ]
    );
}

#[test]
fn canal_rows_come_in_lists_and_old_ones_are_partial() {
    let records = [
        r#"{"data": [{"sku": "a", "wh": "W2", "qty": null}, {"sku": "b", "wh": "W2", "qty": "5"}], "old": null, "type": "INSERT"}"#,
        r#"{"data": [{"sku": "a", "wh": "W2", "qty": 3}, {"sku": "b", "wh": "W1", "qty": 5}], "old": [{"qty": null}, {"wh": "W2"}], "type": "UPDATE"}"#,
        r#"{"data": null, "type": "CREATE", "isDdl": true}"#,
        r#"{"data": [{"sku": "a", "wh": "W2", "qty": 3}], "type": "DELETE"}"#,
        r#"{"data": [{"sku": "a"}], "old": [], "type": "UPDATE"}"#,
        r#"{"data": [null], "type": "INSERT"}"#,
    ];
    let got = decode("canal-json", &[], &stock(), &records);
    assert_eq!(
        got.rows,
        "+1 a W2 NULL / +1 b W2 5 / -1 a W2 NULL / +1 a W2 3 / -1 b W2 5 / +1 b W1 5 / -1 a W2 3"
    );
    assert_eq!(got.origin, Some(vec![0, 0, 1, 1, 1, 1, 3]));
    assert_eq!(
        reasons(&got),
        [
            "4 `old` is missing in an update (a Postgres table needs REPLICA IDENTITY FULL)",
            "5 `data` is missing in an operation 'INSERT'",
        ]
    );
}

#[test]
fn canal_leaves_other_tables_alone() {
    let records = [
        r#"{"data":[{"qty":1}],"type":"INSERT","database":"shop","table":"stock"}"#,
        r#"{"data":[{"qty":"no number"}],"type":"INSERT","database":"shop","table":"stocks"}"#,
        r#"{"data":[{"qty":2}],"type":"INSERT","database":"other","table":"stock"}"#,
    ];
    let settings = [
        ("canal-json.database.include", "sh.p"),
        ("canal-json.table.include", "stock"),
    ];
    let columns = [column("qty", "int"), column("@table", "text")];
    let got = decode("canal-json", &settings, &columns, &records);
    assert_eq!(got.rows, "+1 1 stock");
    assert_eq!(got.bad, Vec::new());
    let wrong = decoder(
        "canal-json",
        &mut options(&[("canal-json.table.include", "(")]),
        &crate::testing::table(&columns),
        &columns,
    );
    assert!(wrong.is_err());
}

#[test]
fn maxwell_and_ogg() {
    let records = [
        r#"{"database":"d","table":"t","type":"insert","ts":1700000000,"data":{"sku":"a","qty":1}}"#,
        r#"{"type":"update","ts":1700000001,"data":{"sku":"a","qty":2},"old":{"qty":1}}"#,
        r#"{"type":"delete","ts":1700000002,"data":{"sku":"a","qty":2}}"#,
    ];
    let columns = [
        column("sku", "text"),
        column("qty", "int"),
        column("@ingestion-timestamp", "ltz"),
    ];
    let got = decode("maxwell-json", &[], &columns, &records);
    assert_eq!(
        got.rows,
        "+1 a 1 2023-11-14T22:13:20Z / -1 a 1 2023-11-14T22:13:21Z / +1 a 2 2023-11-14T22:13:21Z / -1 a 2 2023-11-14T22:13:22Z"
    );
    let records = [
        r#"{"table":"T","op_type":"I","op_ts":"2020-05-13 15:40:06.000000","after":{"sku":"a","qty":1}}"#,
        r#"{"table":"T","op_type":"D","before":{"sku":"a","qty":1},"after":null}"#,
    ];
    let columns = [
        column("qty", "int"),
        column("@event-timestamp", "ltz"),
        column("@table", "text"),
    ];
    let got = decode("ogg-json", &[], &columns, &records);
    assert_eq!(got.rows, "+1 1 2020-05-13T15:40:06Z T / -1 1 NULL T");
}

#[test]
fn fields_inside_rows_are_found_on_both_sides() {
    let columns = [column("r.x", "int"), column("r.y", "int")];
    let canal = r#"{"data":[{"r":{"x":1,"y":2}}],"old":[{"r":{"x":5}}],"type":"UPDATE"}"#;
    let got = decode("canal-json", &[], &columns, &[canal]);
    assert_eq!(got.rows, "-1 5 NULL / +1 1 2");
}

#[test]
fn what_is_written_reads_back() {
    let delta = testing::delta(
        "sku text, wh text, qty int",
        "+1 a W1 1 / -2 a W1 NULL / +1 b 'x' 2",
    );
    for format in ["debezium-json", "canal-json", "maxwell-json", "ogg-json"] {
        let texts = encode(format, &[], &delta);
        assert_eq!(texts.len(), 4, "{format}");
        let got = decode(format, &[], &stock(), &texts);
        assert_eq!(got.bad, Vec::new());
        assert_eq!(
            got.rows, "+1 a W1 1 / -1 a W1 NULL / -1 a W1 NULL / +1 b 'x' 2",
            "{format}"
        );
    }
    assert_eq!(
        encode("debezium-json", &[], &delta)[..2],
        [
            r#"{"before":null,"after":{"sku":"a","wh":"W1","qty":1},"op":"c"}"#,
            r#"{"before":{"sku":"a","wh":"W1","qty":null},"after":null,"op":"d"}"#,
        ]
    );
    assert_eq!(
        encode(
            "canal-json",
            &[("canal-json.encode.ignore-null-fields", "true")],
            &delta
        )[1],
        r#"{"data":[{"sku":"a","wh":"W1"}],"type":"DELETE"}"#
    );
}

#[test]
fn settings_print_for_explain() {
    let mut given = options(&[
        ("debezium-json.ignore-parse-errors", "true"),
        ("debezium-json.timestamp-format.standard", "ISO-8601"),
    ]);
    let format = encoder("debezium-json", &mut given, &testing::schema("a int")).unwrap();
    given.finish().unwrap();
    assert_eq!(
        format.to_string(),
        "debezium-json ignore-parse-errors timestamps=ISO-8601"
    );
}

#[test]
fn unknown_metadata_is_refused_with_what_there_is() {
    let columns = [column("@source.tabel", "text")];
    let table = crate::testing::table(&columns);
    let error = decoder("debezium-json", &mut options(&[]), &table, &columns).unwrap_err();
    assert!(error.hint.unwrap().contains("source.table"));
}
