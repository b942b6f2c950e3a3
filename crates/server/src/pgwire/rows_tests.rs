//! Rows in both formats, read back with the decoders of postgres-types where they have one.

use super::*;
use arrow::array::types::{Int32Type, IntervalMonthDayNano};
use arrow::datatypes::Schema;

fn rows(columns: Vec<(&str, ArrayRef)>, formats: &[i16], zone: &str) -> Vec<Vec<Option<Vec<u8>>>> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        columns.into_iter().map(|(_, array)| array).collect(),
    )
    .unwrap();
    let layout = Layout::new(schema, formats, zone);
    let typed = layout.batch(&batch).unwrap();
    (0..batch.num_rows())
        .map(|row| {
            let mut out = BytesMut::new();
            typed.write(row, &mut out).unwrap();
            split(&out)
        })
        .collect()
}

fn split(message: &[u8]) -> Vec<Option<Vec<u8>>> {
    let int = |at: usize| i32::from_be_bytes(message[at..at + 4].try_into().unwrap());
    assert_eq!((message[0], int(1) as usize), (b'D', message.len() - 1));
    let count = u16::from_be_bytes([message[5], message[6]]);
    let mut at = 7;
    let values = (0..count)
        .map(|_| {
            let length = int(at);
            at += 4;
            (length >= 0).then(|| {
                at += length as usize;
                message[at - length as usize..at].to_vec()
            })
        })
        .collect();
    assert_eq!(at, message.len());
    values
}

fn texts(columns: Vec<(&str, ArrayRef)>) -> Vec<Vec<String>> {
    let text = |value: Option<Vec<u8>>| {
        value.map_or_else(
            || "NULL".to_owned(),
            |bytes| String::from_utf8(bytes).unwrap(),
        )
    };
    rows(columns, &[], "UTC")
        .into_iter()
        .map(|row| row.into_iter().map(text).collect())
        .collect()
}

#[test]
fn scalars_as_text() {
    let found = texts(vec![
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("i", Arc::new(Int8Array::from(vec![-1, 2]))),
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        (
            "d",
            Arc::new(
                Decimal128Array::from(vec![i128::from(-5), 10_i128.pow(37)])
                    .with_precision_and_scale(38, 2)
                    .unwrap(),
            ),
        ),
        (
            "t",
            Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_123, 0])),
        ),
        (
            "n",
            Arc::new(TimestampNanosecondArray::from(vec![
                1_700_000_000_123_456_789,
                0,
            ])),
        ),
        ("s", Arc::new(LargeStringArray::from(vec!["é", ""]))),
        (
            "x",
            Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice(), b""])),
        ),
        (
            "v",
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                IntervalMonthDayNano::new(0, 1, 0),
                IntervalMonthDayNano::new(0, 0, 0),
            ])),
        ),
    ]);
    assert_eq!(
        found[0],
        [
            "t",
            "-1",
            "18446744073709551615",
            "-0.05",
            "2023-11-14 22:13:20.123",
            "2023-11-14 22:13:20.123456",
            "é",
            "\\x00ff",
            "1 day"
        ]
    );
    assert_eq!(
        found[1],
        [
            "NULL",
            "2",
            "0",
            "100000000000000000000000000000000000.00",
            "1970-01-01 00:00:00",
            "1970-01-01 00:00:00",
            "",
            "\\x",
            "00:00:00"
        ]
    );
}

#[test]
fn scalars_as_bytes() {
    let found = rows(
        vec![
            ("i", Arc::new(Int32Array::from(vec![7]))),
            ("f", Arc::new(Float64Array::from(vec![1.5]))),
            ("d", Arc::new(Date32Array::from(vec![EPOCH_DAYS + 1]))),
            (
                "t",
                Arc::new(TimestampSecondArray::from(vec![946_684_801]).with_timezone("UTC")),
            ),
            ("b", Arc::new(BooleanArray::from(vec![true]))),
        ],
        &[1],
        "Europe/Rome",
    );
    let want: Vec<Option<Vec<u8>>> = vec![
        Some(7_i32.to_be_bytes().to_vec()),
        Some(1.5_f64.to_be_bytes().to_vec()),
        Some(1_i32.to_be_bytes().to_vec()),
        Some(1_000_000_i64.to_be_bytes().to_vec()),
        Some(vec![1]),
    ];
    assert_eq!(found, [want]);
}

#[test]
fn lists_in_both_formats() {
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        Some(vec![]),
        None,
    ]));
    assert_eq!(
        texts(vec![("l", ArrayRef::clone(&list))]),
        [["{1,NULL}"], ["{}"], ["NULL"]]
    );
    let found = rows(vec![("l", list)], &[1], "UTC");
    let mut want = Vec::new();
    for int in [1, 1, 23, 2, 1, 4, 1, -1] {
        want.extend_from_slice(&i32::to_be_bytes(int));
    }
    assert_eq!(found[0], [Some(want)]);
    assert_eq!(
        found[1],
        [Some(
            [0, 0, 23]
                .into_iter()
                .flat_map(i32::to_be_bytes)
                .collect::<Vec<u8>>()
        )]
    );
}

#[test]
fn what_nests_is_json() {
    let row: ArrayRef = Arc::new(StructArray::from(vec![
        (
            Arc::new(Field::new("a", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("s", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec!["q\"\n", "x"])) as ArrayRef,
        ),
    ]));
    let mut map = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(0.5);
    map.append(true).unwrap();
    map.append(true).unwrap();
    let found = texts(vec![("r", row), ("m", Arc::new(map.finish()))]);
    assert_eq!(
        found,
        [
            [r#"{"a":1,"s":"q\"\n"}"#, r#"{"k":0.5}"#],
            [r#"{"a":null,"s":"x"}"#, "{}"]
        ]
    );
    for row in found {
        row.iter()
            .for_each(|text| drop(serde_json::from_str::<serde_json::Value>(text).unwrap()));
    }
}

#[test]
fn a_zone_moves_the_clock_not_the_bytes() {
    let array =
        || -> ArrayRef { Arc::new(TimestampMillisecondArray::from(vec![0]).with_timezone("UTC")) };
    assert_eq!(
        rows(vec![("t", array())], &[], "Europe/Rome"),
        [[Some(b"1970-01-01 01:00:00+01".to_vec())]]
    );
    assert_eq!(
        rows(vec![("t", array())], &[1], "Europe/Rome"),
        rows(vec![("t", array())], &[1], "UTC")
    );
}
