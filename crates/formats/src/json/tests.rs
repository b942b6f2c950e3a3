use crate::testing::{column, decode};

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
    let got = decode(
        "json",
        &[],
        &columns,
        &[full, texts, " {} ", "{\"s\":false,\"i32\":1.9,\"i64\":1e3}"],
    );
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
