use super::*;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type};
use millstream_dataflow::source::{BadRecord, Offset, Partition, Polled, State};
use millstream_dataflow::{Kind, Place, TableColumn};
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
    let source = crate::source(&table, &columns::physical(&table)).unwrap();
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
        let (read, at) = (
            polls[..100].iter().map(|p| p.delta.rows()).sum::<usize>(),
            polls[99].position,
        );
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
    let source = crate::source(&table, &columns::physical(&table)).unwrap();
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
    let source = crate::source(&table, &columns::physical(&table)).unwrap();
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
    let error = read(&table, &columns::physical(&table)).unwrap_err();
    assert_eq!(error.kind, Kind::User);
    assert!(error.message.contains("none.json"), "{error}");
}

#[test]
fn a_file_that_is_cut_off_while_it_is_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.json");
    fs::write(&file, json_lines(100_000)).unwrap();
    let table = orders(&file, &[]);
    let source = crate::source(&table, &columns::physical(&table)).unwrap();
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
    let error = read(&table, &columns::physical(&table)).unwrap_err();
    assert!(error.message.contains("orders.json.gz"), "{error}");
}

#[test]
fn watched_directories_are_unbounded_and_show_new_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.json"), "{\"id\":1}\n").unwrap();
    let table = orders(directory.path(), &[("source.monitor-interval", "1 ns")]);
    assert!(!crate::check(&table).unwrap().source.unwrap().bounded);
    let source = crate::source(&table, &columns::physical(&table)).unwrap();
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
