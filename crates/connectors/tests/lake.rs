//! Tables of files as a job with checkpoints writes them while it is killed again and again, in a folder or in an object
//! store, and read back. Run by `tests/object-store/run`, which then asks other readers for the same tables.
//!
//! `MILLSTREAM_LAKE` says where: a folder or a URL. What an object store needs is in `AWS_*`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, TimeUnit};
use millstream_connectors::{sink, source};
use millstream_dataflow::sink::Writer;
use millstream_dataflow::source::{Offset, State};
use millstream_dataflow::{Column, Delta, Kind, Step, Table, TableColumn};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const ROWS: i64 = 30_000;

/// Values whose directories need escapes, and one for NULL.
const COUNTRIES: [Option<&str>; 6] = [
    Some("FR"),
    Some("Côte d'Ivoire"),
    Some("a/b=c%:d e"),
    Some("x|z`<w>+&,@!$();"),
    None,
    Some("100%"),
];

fn lake() -> String {
    std::env::var("MILLSTREAM_LAKE").expect("MILLSTREAM_LAKE says where to write")
}

fn columns() -> Vec<Field> {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let sizes = DataType::List(Arc::new(field("item", DataType::Int32)));
    let item = Fields::from(vec![
        field("sku", DataType::Utf8View),
        field("sizes", sizes),
    ]);
    let entry = Fields::from(vec![
        Field::new("key", DataType::Utf8View, false),
        field("value", DataType::Int32),
    ]);
    let entries = Field::new("entries", DataType::Struct(entry), false);
    let tags = DataType::List(Arc::new(field("item", DataType::Utf8View)));
    let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    vec![
        Field::new("id", DataType::Int64, false),
        field("country", DataType::Utf8View),
        field("day", DataType::Date32),
        field("at", milliseconds),
        field(
            "shop_time",
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
        field("price", DataType::Decimal128(10, 2)),
        field("units", DataType::Int32),
        field("tiny", DataType::Int8),
        field("small", DataType::Int16),
        field("paid", DataType::Boolean),
        field("ratio", DataType::Float32),
        field("weight", DataType::Float64),
        field("tags", tags),
        field("counts", DataType::Map(Arc::new(entries), false)),
        field("item", DataType::Struct(item)),
        field("nothing", DataType::Utf8View),
    ]
}

/// The rows of these ids: a function of the id that other readers know as well.
fn rows(ids: std::ops::Range<i64>) -> Delta {
    let quoted = |text: Option<&str>| text.map_or("null".to_owned(), |text| format!("\"{text}\""));
    let lines: String = ids
        .map(|id| {
            format!(
                r#"{{"id":{id},"country":{country},"day":"2026-01-{day:02}","at":"2026-01-05T10:00:00.{ms:03}Z","shop_time":"2026-01-05T11:00:00.{ms:03}123","price":{units}.25,"units":{units},"tiny":{tiny},"small":{small},"paid":{paid},"ratio":0.5,"weight":{id}.125,"tags":["t{tiny}",null],"counts":{{"k{tiny}":{units}}},"item":{{"sku":"sku-{units}","sizes":[{tiny},{units}]}}}}
"#,
                country = quoted(COUNTRIES[id as usize % COUNTRIES.len()]),
                day = id / (ROWS / 3) + 1,
                ms = id % 1000,
                units = id % 777,
                tiny = id % 100,
                small = id % 30_000,
                paid = id % 3 == 0,
            )
        })
        .collect();
    // Time zones by name are for whoever has the list of them.
    let decoded = |field: Field| match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            let offset = DataType::Timestamp(*unit, Some("+00:00".into()));
            field.with_data_type(offset)
        }
        _ => field,
    };
    let decoded: Vec<Field> = columns().into_iter().map(decoded).collect();
    let mut decoder = arrow::json::ReaderBuilder::new(Arc::new(Schema::new(decoded)))
        .with_batch_size(ROWS as usize)
        .build_decoder()
        .unwrap();
    assert_eq!(decoder.decode(lines.as_bytes()).unwrap(), lines.len());
    let batch = decoder.flush().unwrap().unwrap();
    let schema = Arc::new(Schema::new(columns()));
    let cast = |(array, field): (&ArrayRef, &Arc<Field>)| {
        arrow::compute::cast(array, field.data_type()).unwrap()
    };
    let arrays = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(cast)
        .collect();
    Delta::inserts(RecordBatch::try_new(schema, arrays).unwrap())
}

fn table(name: &str, options: &[(&str, &str)]) -> Table {
    let column = |field: Field| TableColumn {
        field,
        metadata: None,
        is_virtual: false,
    };
    let path = format!("{}/{name}", lake());
    let given = [("connector", "filesystem"), ("path", path.as_str())];
    Table {
        name: name.into(),
        columns: columns().into_iter().map(column).collect(),
        partitioned_by: vec![1, 2],
        options: given
            .iter()
            .chain(options)
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        ..Table::default()
    }
}

fn read(table: &Table, wanted: &[&str]) -> Vec<RecordBatch> {
    let wanted: Vec<Column> = columns()
        .into_iter()
        .filter(|field| wanted.contains(&field.name().as_str()))
        .map(|field| Column::whole(field.name(), field.data_type().clone()))
        .collect();
    let source = source(table, &wanted).unwrap();
    let mut batches = Vec::new();
    for partition in source.partitions().unwrap() {
        let mut reader = source.open(&partition, Offset(0)).unwrap();
        loop {
            let polled = reader.poll(8192, Duration::ZERO).unwrap();
            assert!(polled.bad.is_empty(), "{:?}", polled.bad[0].reason);
            batches.push(polled.delta.batch().clone());
            if polled.state == State::End {
                break;
            }
        }
    }
    batches
}

fn assert_holds(table: &Table, ids: i64) {
    let (mut seen, mut countries) = (Vec::new(), BTreeSet::new());
    for batch in read(table, &["id", "country"]) {
        seen.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
        countries.extend(
            batch
                .column(1)
                .as_string_view()
                .iter()
                .map(|c| c.map(str::to_owned)),
        );
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..ids).collect::<Vec<_>>());
    let all = COUNTRIES.iter().map(|c| c.map(str::to_owned)).collect();
    assert!(ids == 0 || countries == all, "{countries:?}");
}

/// Writes all rows in six checkpoints; after each the process is killed, at another point, and goes on.
fn write_with_kills(table: &Table) {
    let sink = sink(table).unwrap();
    let mut writer = sink.open().unwrap();
    let share = ROWS / 6;
    for (point, from) in (0..6).zip((0..ROWS).step_by(share as usize)) {
        for at in (from..from + share).step_by(1000) {
            writer.write(Step(0), &rows(at..at + 1000)).unwrap();
        }
        let prepared = writer.prepare(Step(0)).unwrap();
        match point {
            0 => writer.publish(&prepared).unwrap(),
            1 => {}
            2 => writer.write(Step(0), &rows(0..500)).unwrap(),
            3 => {
                writer.publish(&prepared).unwrap();
                writer.write(Step(0), &rows(0..500)).unwrap();
                writer.prepare(Step(0)).unwrap();
            }
            4 => {
                // Published, but of a checkpoint that is lost.
                writer.publish(&prepared).unwrap();
                writer.write(Step(0), &rows(0..500)).unwrap();
                let lost = writer.prepare(Step(0)).unwrap();
                if !table.options.contains_key("sink.commit-format") {
                    writer.publish(&lost).unwrap();
                }
            }
            _ => writer.publish(&prepared).unwrap(),
        }
        std::mem::forget(writer);
        writer = sink.open().unwrap();
        writer.recover(Some(&prepared)).unwrap();
        if point == 1 || point == 4 {
            assert_holds(table, from + share);
        }
    }
    assert_holds(table, ROWS);
}

#[test]
#[ignore = "run by tests/object-store/run"]
fn killed_jobs_write_every_row_once_in_every_format() {
    let formats: [(&str, &[(&str, &str)]); 6] = [
        ("json", &[("format", "json")]),
        ("json_gz", &[("format", "json"), ("compression", "gzip")]),
        ("csv_zst", &[("format", "json"), ("compression", "zstd")]),
        ("parquet", &[("format", "parquet")]),
        (
            "parquet_zstd",
            &[("format", "parquet"), ("parquet.compression", "zstd")],
        ),
        (
            "delta",
            &[("format", "parquet"), ("sink.commit-format", "delta")],
        ),
    ];
    for (name, options) in formats {
        write_with_kills(&table(name, options));
    }
}

/// A process of a job: goes on from the checkpoint in a file, if there is one, writes a hundred rows in each of some
/// checkpoints, keeps the last in the file, and is killed. `MILLSTREAM_CHECKPOINT` is the file, `MILLSTREAM_CHECKPOINTS`
/// how many, `MILLSTREAM_PUBLISH` whether the last is published.
#[test]
#[ignore = "run by tests/object-store/run"]
fn some_checkpoints_more() {
    let setting = |name: &str| std::env::var(name).unwrap();
    let file = setting("MILLSTREAM_CHECKPOINT");
    let checkpoints: i64 = setting("MILLSTREAM_CHECKPOINTS").parse().unwrap();
    let options = [("format", "parquet"), ("sink.commit-format", "delta")];
    let mut writer = sink(&table("shared", &options)).unwrap().open().unwrap();
    let mut next = 0;
    if let Ok(text) = std::fs::read_to_string(&file) {
        let (rows, prepared) = text.split_once('\n').unwrap();
        next = rows.parse().unwrap();
        if let Err(error) = writer.recover(Some(prepared.as_bytes())) {
            println!("cannot go on: {error}");
            return;
        }
    }
    for checkpoint in 1..=checkpoints {
        writer.write(Step(0), &rows(next..next + 100)).unwrap();
        next += 100;
        let prepared = writer.prepare(Step(0)).unwrap();
        let kept = format!("{next}\n{}", String::from_utf8(prepared.clone()).unwrap());
        std::fs::write(&file, kept).unwrap();
        if checkpoint < checkpoints || setting("MILLSTREAM_PUBLISH") == "yes" {
            writer.publish(&prepared).unwrap();
        }
    }
    std::mem::forget(writer);
}

#[test]
#[ignore = "run by tests/object-store/run"]
fn a_file_of_many_parts_is_whole() {
    let mut table = table("big", &[("format", "json")]);
    table.partitioned_by.clear();
    let mut writer: Box<dyn Writer> = sink(&table).unwrap().open().unwrap();
    // About 36 MB: five parts.
    for _ in 0..4 {
        for at in (0..ROWS).step_by(10_000) {
            writer.write(Step(0), &rows(at..at + 10_000)).unwrap();
        }
    }
    let prepared = writer.prepare(Step(0)).unwrap();
    writer.publish(&prepared).unwrap();
    let batches = read(&table, &["id"]);
    let ids: i64 = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().iter())
        .sum();
    assert_eq!(ids, 4 * ROWS * (ROWS - 1) / 2);
}

#[test]
#[ignore = "run by tests/object-store/run"]
fn what_is_not_there_or_does_not_answer_is_said() {
    if !lake().starts_with("s3://") {
        return;
    }
    let elsewhere = |path: &str, options: &[(&str, &str)]| {
        let mut table = table("x", &[&[("format", "parquet")], options].concat());
        table.options.insert("path".into(), path.into());
        table
    };
    let no_bucket = elsewhere("s3://no-such-bucket/x", &[]);
    let mut writer = sink(&no_bucket).unwrap().open().unwrap();
    let error = writer.write(Step(0), &rows(0..10)).unwrap_err();
    assert_eq!(error.kind, Kind::User, "{error}");
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    let silent = elsewhere("s3://lake/x", &[("s3.endpoint", "http://127.0.0.1:9")]);
    let mut writer = sink(&silent).unwrap().open().unwrap();
    let error = writer.write(Step(0), &rows(0..10)).unwrap_err();
    assert_eq!(error.kind, Kind::Retryable, "{error}");
}
