use crate::testing::{column, decode, decode_file, encode, open, options, records};

#[test]
fn fields_are_taken_by_position() {
    let columns = [
        column("a", "text"),
        column("b", "int"),
        column("c", "double"),
    ];
    let got = decode(
        "csv",
        &[],
        &columns,
        &["x,1,1.5\r\n", "\"q \"\"y\"\"\",,\n", "\"a\nb,\", 2 ,3\n"],
    );
    assert_eq!(
        got.rows,
        "+1 x 1 1.5 / +1 q_\"y\" NULL NULL / +1 a\nb, 2 3.0"
    );
    assert_eq!(got.bad, Vec::<(u32, String)>::new());
}

#[test]
fn bad_records_are_reported_and_change_nothing_else() {
    let columns = [column("a", "text"), column("b", "int")];
    let got = decode(
        "csv",
        &[],
        &columns,
        &["x,1", "y,12x", "y", "\"y,1", "\"y\"z,1", "", "z,3"],
    );
    assert_eq!(got.rows, "+1 x 1 / +1 z 3");
    assert_eq!(got.origin, Some(vec![0, 6]));
    let reasons: Vec<_> = got
        .bad
        .iter()
        .map(|(record, why)| format!("{record} {why}"))
        .collect();
    assert_eq!(
        reasons,
        [
            "1 column `b`: 12x is no INT",
            "2 the record has 1 fields, but must have 2",
            "3 not CSV: a quote is not closed",
            "4 not CSV: text behind the closing quote at byte 3",
        ]
    );
    let got = decode(
        "csv",
        &[("csv.ignore-parse-errors", "true")],
        &columns,
        &["y,12x", "y"],
    );
    assert_eq!(got.rows, "+1 y NULL / +1 y NULL");
}

#[test]
fn the_null_literal_applies_even_when_quoted() {
    let columns = [column("a", "text"), column("b", "int")];
    let settings = [("csv.null-literal", "n/a"), ("csv.field-delimiter", ";")];
    let got = decode("csv", &settings, &columns, &["\"n/a\";n/a", ";"]);
    assert_eq!(got.rows, "+1 NULL NULL / +1 '' NULL");
}

#[test]
fn escapes_comments_and_other_quotes() {
    let columns = [column("a", "text"), column("b", "text")];
    let settings = [
        ("csv.escape-character", "\\"),
        ("csv.quote-character", "'"),
        ("csv.allow-comments", "true"),
    ];
    let got = decode("csv", &settings, &columns, &["# no row", "'a\\'b',c\\,d"]);
    assert_eq!(got.rows, "+1 a'b c,d");
    let got = decode(
        "csv",
        &[("csv.disable-quote-character", "true")],
        &columns,
        &["\"a\",b"],
    );
    assert_eq!(got.rows, "+1 \"a\" b");
}

#[test]
fn a_header_maps_columns_by_name() {
    let columns = [column("b", "int"), column("a", "text")];
    let got = decode_file(
        "csv",
        &[("csv.header", "true")],
        &columns,
        "a,x,b\nk,1,2\n\"m\nn\",3,4",
    );
    assert_eq!(got.rows, "+1 2 k / +1 4 m\nn");
}

#[test]
fn arrays_and_rows_have_a_delimiter_of_their_own() {
    let columns = [column("a", "[int]"), column("r", "{x int, y text}")];
    let got = decode("csv", &[], &columns, &["1;2,3;z", ",4;"]);
    assert_eq!(
        got.rows,
        "+1 [1,_2] {x:_3,_y:_z} / +1 NULL {x:_4,_y:_}".replace("+1 NULL", "+1 []")
    );
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for (name, value) in [("csv.field-delimiter", "||"), ("csv.quote-character", "é")] {
        assert!(
            super::Settings::take(&mut options(&[(name, value)])).is_err(),
            "{name}"
        );
    }
}

#[test]
fn what_is_written_reads_back() {
    let columns = [
        column("a", "text"),
        column("n", "int"),
        column("t", "timestamp"),
        column("l", "[int]"),
    ];
    let texts = [
        "\"a,\"\"b\nc\",-1,2024-03-01 08:00:00.25,1;2",
        "x,n/a,2024-03-01 08:00:01.125,n/a",
        "n/a,7,2024-03-01 08:00:59,3",
        "y,7,2024-03-01 08:01:00.5,",
    ];
    let settings = [("csv.null-literal", "n/a")];
    let decoded = open("csv", &settings, &columns)
        .decode(&records(&texts))
        .unwrap();
    assert_eq!(decoded.bad, Vec::new());
    assert_eq!(encode("csv", &settings, &decoded.delta), texts);
}

#[test]
fn a_file_that_is_written_can_begin_with_a_header() {
    let named = millstream_dataflow::testing::schema("a int, b text");
    let mut given = options(&[("csv.header", "true"), ("csv.field-delimiter", ";")]);
    let format = crate::encoder("csv", &mut given, &named).unwrap();
    assert_eq!(format.header().unwrap(), b"a;b");
    assert_eq!(format.to_string(), "csv delimiter=';' header");
}
