use super::*;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type};
use millstream_dataflow::source::{BadRecord, Offset, Partition, Polled, State};
use millstream_dataflow::{Kind, Place, Step, TableColumn};
use std::fs;
use std::io::Write;
use std::path::Path;

fn table(path: &Path, columns: &[(&str, DataType)], options: &[(&str, &str)]) -> Table {
    let column = |(name, data_type): &(&str, DataType)| TableColumn {
        field: Field::new(*name, data_type.clone(), true),
        metadata: None,
        is_virtual: false,
    };
    let path = path.display().to_string();
    let options = [("connector", "filesystem"), ("path", path.as_str())]
        .iter()
        .chain(options)
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Table {
        name: "orders".into(),
        columns: columns.iter().map(column).collect(),
        options,
        ..Table::default()
    }
}

fn orders(path: &Path, options: &[(&str, &str)]) -> Table {
    let columns = [("id", DataType::Int64), ("sku", DataType::Utf8View)];
    table(path, &columns, &[&[("format", "json")], options].concat())
}

fn read_from(
    source: &dyn Source,
    partition: &Partition,
    from: i64,
    rows_max: usize,
) -> Result<Vec<Polled>> {
    let mut reader = source.open(partition, Offset(from))?;
    let mut polls = Vec::new();
    loop {
        let polled = reader.poll(rows_max, Duration::ZERO)?;
        let ended = polled.state == State::End;
        polls.push(polled);
        if ended {
            return Ok(polls);
        }
    }
}

fn rows(source: &dyn Source, polls: &[Polled]) -> RecordBatch {
    let batches: Vec<_> = polls
        .iter()
        .map(|polled| polled.delta.batch().clone())
        .collect();
    arrow::compute::concat_batches(&source.schema(), &batches).unwrap()
}

fn read(table: &Table, wanted: &[Column]) -> Result<RecordBatch> {
    let source = crate::source(table, wanted)?;
    let mut polls = Vec::new();
    for partition in source.partitions()? {
        polls.extend(read_from(&*source, &partition, 0, 10_000)?);
    }
    Ok(rows(&*source, &polls))
}

fn json_lines(count: usize) -> String {
    (0..count)
        .map(|n| format!("{{\"id\":{n},\"sku\":\"sku-{}\"}}\n", "x".repeat(n % 40)))
        .collect()
}

#[test]
fn rows_are_the_same_however_they_are_polled_and_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.json");
    fs::write(&file, json_lines(30_000).trim_end()).unwrap();
    let table = orders(&file, &[]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let partition = &source.partitions().unwrap()[0];
    assert_eq!(
        partition.end,
        Some(Offset(fs::metadata(&file).unwrap().len() as i64))
    );
    let whole = rows(
        &*source,
        &read_from(&*source, partition, 0, 100_000).unwrap(),
    );
    assert_eq!(whole.num_rows(), 30_000);
    assert_eq!(
        whole.column(0).as_primitive::<Int64Type>().value(29_999),
        29_999
    );
    for rows_max in [7, 333] {
        let polls = read_from(&*source, partition, 0, rows_max).unwrap();
        assert!(polls.iter().all(|polled| polled.delta.rows() <= rows_max));
        assert_eq!(rows(&*source, &polls), whole);
        let half = polls.len() / 2;
        let read: usize = polls[..half].iter().map(|p| p.delta.rows()).sum();
        let at = polls[half - 1].position;
        let rest = rows(
            &*source,
            &read_from(&*source, partition, at.0, 7777).unwrap(),
        );
        assert_eq!(rest, whole.slice(read, 30_000 - read));
    }
}

#[test]
fn compressed_files_are_read_by_their_names_and_resume() {
    let directory = tempfile::tempdir().unwrap();
    let text = json_lines(20_000);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(text.as_bytes()).unwrap();
    fs::write(directory.path().join("a.json"), &text).unwrap();
    fs::write(directory.path().join("b.json.gz"), gz.finish().unwrap()).unwrap();
    fs::write(
        directory.path().join("c.json.zst"),
        zstd::encode_all(text.as_bytes(), 1).unwrap(),
    )
    .unwrap();
    let table = orders(directory.path(), &[]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let partitions = source.partitions().unwrap();
    let read = |idx: usize, from: i64| {
        rows(
            &*source,
            &read_from(&*source, &partitions[idx], from, 5000).unwrap(),
        )
    };
    let plain = read(0, 0);
    let polls = read_from(&*source, &partitions[0], 0, 5000).unwrap();
    for idx in [1, 2] {
        assert_eq!(partitions[idx].end, None);
        assert_eq!(read(idx, 0), plain);
        assert_eq!(read(idx, polls[0].position.0), plain.slice(5000, 15_000));
    }
}

#[test]
fn bad_records_are_reported_with_their_place_and_change_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.json");
    fs::write(&file, "{\"id\":1}\n{\"id\":oops}\n{\"id\":3}\n").unwrap();
    let table = orders(&file, &[]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let polls = read_from(&*source, &source.partitions().unwrap()[0], 0, 10).unwrap();
    let batch = rows(&*source, &polls);
    assert_eq!(
        batch.column(0).as_primitive::<Int64Type>().values(),
        &[1, 3]
    );
    let bad: Vec<&BadRecord> = polls.iter().flat_map(|polled| &polled.bad).collect();
    assert_eq!(bad.len(), 1);
    assert_eq!(
        (bad[0].bytes.as_slice(), bad[0].offset),
        (b"{\"id\":oops}".as_slice(), Offset(9))
    );
}

#[test]
fn a_file_says_its_name_size_and_directories() {
    let directory = tempfile::tempdir().unwrap();
    let sub = directory.path().join("sku=red%20hat");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("part-0.json"), "{\"id\":1}\n{\"id\":2}\n").unwrap();
    let mut table = orders(directory.path(), &[]);
    table.partitioned_by = vec![1];
    let metadata = |key: &str, data_type| Column {
        field: Field::new(key, data_type, true),
        place: Place::Metadata(key.into()),
    };
    let wanted = [
        metadata("file.name", DataType::Utf8View),
        Column::whole("sku", DataType::Utf8View),
        metadata("file.size", DataType::Int64),
        Column::whole("id", DataType::Int64),
    ];
    let batch = read(&table, &wanted).unwrap();
    assert_eq!(batch.column(0).as_string_view().value(1), "part-0.json");
    assert_eq!(batch.column(1).as_string_view().value(1), "red hat");
    assert_eq!(batch.column(2).as_primitive::<Int64Type>().value(0), 18);
    assert_eq!(
        batch.column(3).as_primitive::<Int64Type>().values(),
        &[1, 2]
    );
}

#[test]
fn a_path_that_matches_nothing_is_the_users_error_and_names_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.json");
    let table = orders(&missing, &[]);
    let error = read(&table, &columns::all(&table, &[])).unwrap_err();
    assert_eq!(error.kind, Kind::User);
    assert!(error.message.contains("none.json"), "{error}");
}

#[test]
fn a_file_that_is_cut_off_while_it_is_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.json");
    fs::write(&file, json_lines(100_000)).unwrap();
    let table = orders(&file, &[]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let partition = source.partitions().unwrap().remove(0);
    let mut reader = source.open(&partition, Offset(0)).unwrap();
    assert_eq!(reader.poll(10, Duration::ZERO).unwrap().delta.rows(), 10);
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(2_000_000)
        .unwrap();
    let error = loop {
        match reader.poll(8192, Duration::ZERO) {
            Ok(polled) => assert_ne!(polled.state, State::End),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, Kind::User);
    assert!(error.message.contains("cut off"), "{error}");
    let error = source.open(&partition, Offset(0)).err().unwrap();
    assert!(error.message.contains("ends at byte 2000000"), "{error}");
}

#[test]
fn a_damaged_archive_is_an_error_that_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.json.gz");
    fs::write(&file, "this is no gzip").unwrap();
    let table = orders(&file, &[]);
    let error = read(&table, &columns::all(&table, &[])).unwrap_err();
    assert!(error.message.contains("orders.json.gz"), "{error}");
}

#[test]
fn watched_directories_are_unbounded_and_show_new_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.json"), "{\"id\":1}\n").unwrap();
    let table = orders(directory.path(), &[("source.monitor-interval", "1 ns")]);
    assert!(!crate::check(&table).unwrap().source.unwrap().bounded);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    assert_eq!(source.partitions().unwrap().len(), 1);
    fs::write(directory.path().join("b.json"), "{\"id\":2}\n").unwrap();
    assert_eq!(source.partitions().unwrap().len(), 2);
}

#[test]
fn unknown_options_and_formats_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = crate::check(&orders(directory.path(), &[("compresion", "gzip")])).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean 'compression'?"));
    let wrong = table(directory.path(), &[], &[("format", "xml")]);
    assert_eq!(crate::check(&wrong).unwrap_err().kind, Kind::User);
}

fn sink_table(directory: &Path, options: &[(&str, &str)]) -> Table {
    let columns = [
        ("country", DataType::Utf8View),
        ("id", DataType::Int64),
        ("sku", DataType::Utf8View),
    ];
    table(directory, &columns, options)
}

const SOLD: &str = "country text, id bigint, sku text";

fn sold(from: i64, count: i64) -> millstream_dataflow::Delta {
    let rows: Vec<String> = (from..from + count)
        .map(|n| format!("+1 {} {n} sku-{n}", if n % 2 == 0 { "FR" } else { "DE" }))
        .collect();
    millstream_dataflow::testing::delta(SOLD, &rows.join(" / "))
}

/// The visible files below a directory, by name.
fn visible(directory: &Path) -> Vec<String> {
    let location = location::Location::Local(directory.to_path_buf());
    location
        .files()
        .unwrap()
        .into_iter()
        .map(|file| file.name)
        .collect()
}

#[test]
fn written_files_are_read_back_in_every_format() {
    let formats = [
        ("json", "auto", ".json"),
        ("json", "gzip", ".json.gz"),
        ("csv", "zstd", ".csv.zst"),
        ("parquet", "auto", ".parquet"),
    ];
    for (format, compression, extension) in formats {
        let directory = tempfile::tempdir().unwrap();
        let options = [("format", format), ("compression", compression)];
        let table = sink_table(directory.path(), &options);
        let mut writer = crate::sink(&table).unwrap().open().unwrap();
        writer.write(Step(1), &sold(0, 100)).unwrap();
        writer.write(Step(2), &sold(100, 3)).unwrap();
        writer.commit(Step(2)).unwrap();
        assert_eq!(
            visible(directory.path()).len(),
            0,
            "a growing file is not seen"
        );
        writer.finish(Step(3)).unwrap();
        let files = visible(directory.path());
        assert_eq!(files.len(), 1);
        assert!(files[0].ends_with(extension), "{files:?}");
        let batch = read(&table, &columns::all(&table, &[])).unwrap();
        assert_eq!(batch.num_rows(), 103);
        assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(102), 102);
        assert_eq!(batch.column(2).as_string_view().value(7), "sku-7");
    }
}

#[test]
fn a_csv_header_is_written_once_a_file_and_read_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let options = [("format", "csv"), ("csv.header", "true")];
    let table = sink_table(directory.path(), &options);
    let mut writer = crate::sink(&table).unwrap().open().unwrap();
    writer.write(Step(1), &sold(0, 2)).unwrap();
    writer.write(Step(2), &sold(2, 2)).unwrap();
    writer.finish(Step(2)).unwrap();
    let text = fs::read_to_string(&visible(directory.path())[0]).unwrap();
    assert_eq!(text.lines().next(), Some("country,id,sku"));
    assert_eq!(text.lines().count(), 5);
    // The file's columns are found by name; offsets behind the header resume.
    let columns = [("sku", DataType::Utf8View), ("id", DataType::Int64)];
    let turned = self::table(directory.path(), &columns, &options);
    let source = crate::source(&turned, &columns::all(&turned, &[])).unwrap();
    let partition = &source.partitions().unwrap()[0];
    let polls = read_from(&*source, partition, 0, 1).unwrap();
    let whole = rows(&*source, &polls);
    assert_eq!(
        whole.column(1).as_primitive::<Int64Type>().values(),
        &[0, 1, 2, 3]
    );
    let rest = read_from(&*source, partition, polls[0].position.0, 10).unwrap();
    assert_eq!(rows(&*source, &rest), whole.slice(1, 3));
}

#[test]
fn partitioned_files_are_in_directories_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = sink_table(
        directory.path(),
        &[("format", "parquet"), ("parquet.compression", "zstd")],
    );
    table.partitioned_by = vec![0];
    let mut writer = crate::sink(&table).unwrap().open().unwrap();
    writer.write(Step(1), &sold(0, 10)).unwrap();
    writer.finish(Step(1)).unwrap();
    let files = visible(directory.path());
    assert!(
        files[0].contains("/country=DE/part-") && files[1].contains("/country=FR/part-"),
        "{files:?}"
    );
    let batch = read(&table, &columns::all(&table, &[])).unwrap();
    assert_eq!(batch.column(0).as_string_view().value(0), "DE");
    assert_eq!(
        batch.column(1).as_primitive::<Int64Type>().values(),
        &[1, 3, 5, 7, 9, 0, 2, 4, 6, 8]
    );
}

#[test]
fn files_roll_by_size_and_are_whole() {
    let directory = tempfile::tempdir().unwrap();
    let options = [("format", "json"), ("sink.rolling-policy.file-size", "2kb")];
    let table = sink_table(directory.path(), &options);
    let mut writer = crate::sink(&table).unwrap().open().unwrap();
    for step in 0..30 {
        writer.write(Step(1), &sold(step * 10, 10)).unwrap();
    }
    writer.commit(Step(1)).unwrap();
    let complete = visible(directory.path()).len();
    assert!(complete > 3, "{complete}");
    writer.finish(Step(1)).unwrap();
    let batch = read(&table, &columns::all(&table, &[])).unwrap();
    assert_eq!(batch.num_rows(), 300);
}

#[test]
fn a_writer_that_is_dropped_publishes_what_was_written() {
    for format in ["json", "parquet"] {
        let directory = tempfile::tempdir().unwrap();
        let table = sink_table(directory.path(), &[("format", format)]);
        let mut writer = crate::sink(&table).unwrap().open().unwrap();
        writer.write(Step(1), &sold(0, 10)).unwrap();
        writer.commit(Step(1)).unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let batch = read(&table, &columns::all(&table, &[])).unwrap();
        assert_eq!(batch.num_rows(), 10);
    }
}

#[test]
fn a_path_that_is_a_file_is_the_users_error() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("file");
    fs::write(&blocked, "x").unwrap();
    let table = sink_table(&blocked, &[("format", "json")]);
    let mut writer = crate::sink(&table).unwrap().open().unwrap();
    let error = writer.write(Step(1), &sold(0, 1)).unwrap_err();
    assert_eq!(error.kind, Kind::User);
    assert!(error.message.contains("/file/"), "{error}");
}

#[test]
fn a_file_can_be_read_up_to_an_offset() {
    let directory = tempfile::tempdir().unwrap();
    for format in ["json", "parquet"] {
        let place = directory.path().join(format);
        let table = sink_table(&place, &[("format", format)]);
        let mut writer = crate::sink(&table).unwrap().open().unwrap();
        writer.write(Step(1), &sold(0, 100)).unwrap();
        writer.finish(Step(1)).unwrap();
        let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
        let mut partition = source.partitions().unwrap().remove(0);
        let polls = read_from(&*source, &partition, 0, 10).unwrap();
        partition.end = Some(polls[3].position);
        let some = read_from(&*source, &partition, polls[1].position.0, 1000).unwrap();
        let ids: Vec<i64> = (20..40).collect();
        let batch = rows(&*source, &some);
        assert_eq!(
            batch.column(1).as_primitive::<Int64Type>().values(),
            &ids[..]
        );
    }
}

#[test]
fn retractions_need_a_format_that_can_express_them() {
    let directory = tempfile::tempdir().unwrap();
    for format in ["json", "parquet"] {
        let table = sink_table(directory.path(), &[("format", format)]);
        assert_eq!(
            crate::check(&table).unwrap().sink,
            Some(Changes::AppendOnly)
        );
        let mut writer = crate::sink(&table).unwrap().open().unwrap();
        let retraction = millstream_dataflow::testing::delta(SOLD, "-1 FR 1 x");
        assert_eq!(
            writer.write(Step(1), &retraction).unwrap_err().kind,
            Kind::User
        );
    }
    let table = sink_table(directory.path(), &[("format", "debezium-json")]);
    assert_eq!(crate::check(&table).unwrap().sink, Some(Changes::All));
}

#[test]
fn parquet_gives_wanted_leaves_from_any_row() {
    let directory = tempfile::tempdir().unwrap();
    let bid = DataType::Struct(
        vec![
            Field::new("price", DataType::Int64, true),
            Field::new("url", DataType::Utf8View, true),
        ]
        .into(),
    );
    let columns = [("id", DataType::Int64), ("bid", bid)];
    let table = table(directory.path(), &columns, &[("format", "parquet")]);
    let json = directory.path().join("in.json");
    let lines: String = (0..20_000)
        .map(|n| {
            format!(
                "{{\"id\":{n},\"bid\":{{\"price\":{},\"url\":\"u{n}\"}}}}\n",
                n * 2
            )
        })
        .collect();
    fs::write(&json, lines).unwrap();
    let mut from = table.clone();
    from.options
        .insert("path".into(), json.display().to_string());
    from.options.insert("format".into(), "json".into());
    let source = crate::source(&from, &columns::all(&from, &[])).unwrap();
    let mut writer = crate::sink(&table).unwrap().open().unwrap();
    for polled in read_from(&*source, &source.partitions().unwrap()[0], 0, 5000).unwrap() {
        writer.write(Step(1), &polled.delta).unwrap();
    }
    writer.finish(Step(1)).unwrap();
    fs::remove_file(&json).unwrap();

    let price = Column {
        field: Field::new("price", DataType::Int64, true),
        place: Place::Field(vec!["bid".into(), "price".into()]),
    };
    let source = crate::source(&table, std::slice::from_ref(&price)).unwrap();
    let partition = &source.partitions().unwrap()[0];
    let whole = rows(&*source, &read_from(&*source, partition, 0, 999).unwrap());
    let prices: Vec<i64> = (0..20_000).map(|n| n * 2).collect();
    assert_eq!(
        whole.column(0).as_primitive::<Int64Type>().values(),
        &prices[..]
    );
    let rest = rows(
        &*source,
        &read_from(&*source, partition, 12_345, 100_000).unwrap(),
    );
    assert_eq!(rest, whole.slice(12_345, 20_000 - 12_345));

    let missing = Column::whole("discount", DataType::Int64);
    let error = read(&table, std::slice::from_ref(&missing)).unwrap_err();
    assert!(error.message.contains("no column `discount`"), "{error}");
    let mut lenient = table;
    lenient
        .options
        .insert("parquet.missing-columns".into(), "null".into());
    let batch = read(&lenient, &[missing]).unwrap();
    assert_eq!(
        (batch.num_rows(), batch.column(0).null_count()),
        (20_000, 20_000)
    );
}

#[test]
fn what_is_no_parquet_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.parquet");
    fs::write(&file, "not parquet at all").unwrap();
    let table = orders(&file, &[("format", "parquet")]);
    let error = read(&table, &columns::all(&table, &[])).unwrap_err();
    assert!(error.message.contains("a.parquet"), "{error}");
    assert_eq!(error.kind, Kind::User);
}

#[test]
fn object_stores_are_written_and_read_like_directories() {
    let store: Arc<dyn remote::Store> = Arc::new(object_store::memory::InMemory::new());
    for (format, compression) in [("json", "gzip"), ("parquet", "auto")] {
        let at = |path: &str| {
            Location::Remote(remote::Remote::in_store(
                &store,
                &format!("{format}/{path}"),
            ))
        };
        let mut table = sink_table(
            Path::new("unused"),
            &[("format", format), ("compression", compression)],
        );
        table.partitioned_by = vec![0];
        let settings = |path: &str| {
            let mut options = Options::new("t", table.options.clone());
            options.text("connector");
            let mut settings = Settings::new(options).unwrap();
            settings.location = at(path);
            settings
        };
        let mut writer = settings("sales").sink(&table).unwrap().open().unwrap();
        writer.write(Step(1), &sold(0, 1000)).unwrap();
        assert!(
            at("sales").files().is_err(),
            "an upload that is not complete is no object"
        );
        writer.finish(Step(1)).unwrap();
        let wanted = columns::all(&table, &[]);
        for path in ["sales", "sales/country=*/*"] {
            let source = settings(path).source(&table, &wanted).unwrap();
            let partitions = source.partitions().unwrap();
            assert_eq!(partitions.len(), 2);
            let second = rows(
                &*source,
                &read_from(&*source, &partitions[1], 0, 100).unwrap(),
            );
            assert_eq!(second.num_rows(), 500);
            assert_eq!(second.column(0).as_string_view().value(0), "FR");
            assert_eq!(second.column(1).as_primitive::<Int64Type>().value(499), 998);
        }
        assert_eq!(at("none").files().unwrap_err().kind, Kind::User);
    }
}

#[test]
fn options_of_s3_are_understood_without_asking_it() {
    let options = [
        ("format", "parquet"),
        ("path", "s3a://lake/sales"),
        ("s3.endpoint", "http://localhost:9000"),
        ("s3.access-key", "a"),
        ("s3.secret-key", "b"),
        ("s3.path-style-access", "true"),
        ("s3.region", "eu-central-1"),
    ];
    let table = sink_table(Path::new("x"), &options);
    assert!(crate::check(&table).unwrap().sink.is_some());
    let source = crate::source(&table, &[]).unwrap();
    assert_eq!(source.to_string(), "filesystem s3://lake/sales (parquet)");
    let wrong = sink_table(
        Path::new("x"),
        &[&options[..], &[("s3.regoin", "x")]].concat(),
    );
    let error = crate::check(&wrong).unwrap_err();
    assert!(error.to_string().contains("regoin"), "{error}");
}

#[test]
fn lines_can_be_cut_where_they_begin() {
    let directory = tempfile::tempdir().unwrap();
    let mut text = json_lines(40);
    text.insert_str(0, "{\"id\":oops}\n\n");
    text.push_str("{\"id\":oops}\n{\"id\":41}");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(text.as_bytes()).unwrap();
    fs::write(directory.path().join("a.json"), &text).unwrap();
    fs::write(directory.path().join("b.json.gz"), gz.finish().unwrap()).unwrap();
    let table = orders(directory.path(), &[]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    assert_eq!(crate::tests::cuts_change_nothing(&*source, 7), 82);

    let file = directory.path().join("c.csv");
    fs::write(&file, "id,sku\n1,a\n2,\"b\nc\"\n\n3,d\n4,\"e\"\n").unwrap();
    let table = orders(&file, &[("format", "csv"), ("csv.header", "true")]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    assert_eq!(crate::tests::cuts_change_nothing(&*source, 2), 4);
}

#[test]
fn a_changelog_is_never_cut_inside_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("changes.json");
    let text: String = (0..10)
        .map(|n| {
            format!(
                "{{\"op\":\"u\",\"before\":{{\"id\":{n}}},\"after\":{{\"id\":{}}}}}\n",
                n + 1
            )
        })
        .collect();
    fs::write(&file, text).unwrap();
    let table = orders(&file, &[("format", "debezium-json")]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    assert_eq!(crate::tests::cuts_change_nothing(&*source, 4), 20);
}

#[test]
fn parquet_files_can_be_cut_anywhere() {
    let directory = tempfile::tempdir().unwrap();
    let table = sink_table(directory.path(), &[("format", "parquet")]);
    let mut writer = crate::sink(&table).unwrap().open().unwrap();
    writer.write(Step(1), &sold(0, 30)).unwrap();
    writer.finish(Step(1)).unwrap();
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    assert_eq!(crate::tests::cuts_change_nothing(&*source, 7), 30);
}
