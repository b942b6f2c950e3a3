use super::*;

fn write(table: &Table, deltas: &[&str]) -> Result<()> {
    let mut writer = crate::sink(table)?.open()?;
    for (step, rows) in deltas.iter().enumerate() {
        let delta = millstream_dataflow::testing::delta("id bigint, qty bigint", rows);
        writer.write(Step(step as u64), &delta)?;
        writer.commit(Step(step as u64))?;
    }
    writer.finish(Step(deltas.len() as u64))
}

#[test]
fn what_is_written_is_read_back() {
    let broker = broker(1);
    let table = plain(&broker, &bounded(&[]));
    assert_eq!(
        crate::check(&table).unwrap().sink,
        Some(Changes::AppendOnly)
    );
    write(&table, &["+1 1 10 / +2 2 20", "+1 3 NULL"]).unwrap();
    let polls = read(&table, &columns::all(&table, &[]), 100).unwrap();
    let expected = [
        (1, vec![Some(1), Some(10)]),
        (1, vec![Some(2), Some(20)]),
        (1, vec![Some(2), Some(20)]),
        (1, vec![Some(3), None]),
    ];
    assert_eq!(rows(&polls), expected);
    let error = write(&table, &["-1 1 10"]).unwrap_err();
    assert_eq!(error.kind, Kind::User);
}

#[test]
fn a_changelog_is_written_and_read_back() {
    let broker = broker(1);
    let table = plain(&broker, &bounded(&[("format", "debezium-json")]));
    assert_eq!(crate::check(&table).unwrap().sink, Some(Changes::All));
    write(&table, &["+1 1 10 / +1 2 20", "-1 1 10 / +1 1 11"]).unwrap();
    let polls = read(&table, &columns::all(&table, &[]), 100).unwrap();
    let sum: i64 = rows(&polls)
        .iter()
        .map(|(weight, row)| weight * row[1].unwrap())
        .sum();
    assert_eq!((rows(&polls).len(), sum), (4, 31));
}

#[test]
fn upserts_are_written_with_tombstones() {
    let broker = broker(1);
    let options = [("value.fields-include", "EXCEPT_KEY")];
    let table = upserted(&broker, &bounded(&options));
    assert_eq!(
        crate::check(&table).unwrap().sink,
        Some(Changes::Upsert(vec![0]))
    );
    write(
        &table,
        &["+1 1 10 / +1 2 20", "-1 1 10 / +1 1 11 / -1 2 20"],
    )
    .unwrap();
    let polls = read(&table, &columns::all(&table, &[]), 100).unwrap();
    let expected = [
        (1, vec![Some(1), Some(10)]),
        (1, vec![Some(2), Some(20)]),
        (1, vec![Some(1), Some(11)]),
        (-1, vec![Some(2), None]),
    ];
    assert_eq!(rows(&polls), expected);
}

#[test]
fn records_go_to_the_partitions_that_are_asked_for() {
    let broker = broker(3);
    let many: Vec<String> = (0..30).map(|n| format!("+1 {n} {n}")).collect();
    let many = many.join(" / ");
    let counts = |topic: &str, options: &[(&str, &str)]| -> Vec<i64> {
        let table = plain(&broker, &bounded(&[&[("topic", topic)], options].concat()));
        write(&table, &[&many]).unwrap();
        let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
        source
            .partitions()
            .unwrap()
            .iter()
            .map(|p| p.end.unwrap().0)
            .collect()
    };
    assert_eq!(
        counts("fixed", &[("sink.partitioner", "fixed")]),
        [30, 0, 0]
    );
    assert_eq!(
        counts("turns", &[("sink.partitioner", "round-robin")]),
        [10, 10, 10]
    );
    let keyed = counts("keyed", &[("key.format", "json"), ("key.fields", "id")]);
    assert_eq!(keyed.iter().sum::<i64>(), 30);
    assert!(keyed.iter().all(|count| *count > 0), "{keyed:?}");
}

#[test]
fn timestamps_and_headers_are_written() {
    let broker = broker(1);
    let mut table = plain(&broker, &bounded(&[]));
    table.columns.remove(1);
    let metadata = source::metadata();
    let metadata = metadata.iter().filter(|offer| offer.writable);
    table.columns.extend(metadata.map(|offer| TableColumn {
        field: Field::new(&offer.key, offer.data_type.clone(), true),
        metadata: Some(offer.key.clone()),
        is_virtual: false,
    }));
    let all = columns::all(&table, &source::metadata());
    let sink = crate::sink(&table).unwrap();
    let headers = broker_headers(&broker);
    let batch = arrow::array::RecordBatch::try_new(
        columns::schema(&all),
        vec![
            std::sync::Arc::new(arrow::array::Int64Array::from(vec![7])),
            headers,
            std::sync::Arc::new(
                arrow::array::TimestampMillisecondArray::from(vec![1_700_000_000_042])
                    .with_timezone("UTC"),
            ),
        ],
    )
    .unwrap();
    let mut writer = sink.open().unwrap();
    writer
        .write(Step(1), &millstream_dataflow::Delta::inserts(batch.clone()))
        .unwrap();
    writer.finish(Step(1)).unwrap();
    let polls = read(&table, &all, 10).unwrap();
    let found = polls
        .iter()
        .map(|p| p.delta.batch())
        .find(|b| b.num_rows() == 1)
        .unwrap();
    assert_eq!(found, &batch);
}

/// One MAP of headers, as the source reads it.
fn broker_headers(broker: &Broker) -> arrow::array::ArrayRef {
    let producer = producer(broker, &[]);
    let headers = OwnedHeaders::new().insert(Header {
        key: "trace",
        value: Some("abc"),
    });
    let record = BaseRecord::<str, str>::to("headers")
        .payload("{}")
        .headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(WAIT).unwrap();
    let table = plain(broker, &bounded(&[("topic", "headers")]));
    let wanted = Column {
        field: Field::new("headers", rows::headers_type(), true),
        place: Place::Metadata("headers".into()),
    };
    let polls = read(&table, &[wanted], 10).unwrap();
    let batch = polls
        .iter()
        .map(|p| p.delta.batch())
        .find(|b| b.num_rows() == 1)
        .unwrap();
    std::sync::Arc::clone(batch.column(0))
}

#[test]
fn a_record_that_is_refused_for_good_ends_the_sink() {
    let broker = broker(1);
    let given = [("properties.message.max.bytes", "1000")];
    let table = plain(&broker, &given);
    let wide = DataType::Utf8View;
    let mut texts = table.clone();
    texts.columns = vec![TableColumn {
        field: Field::new("text", wide, true),
        metadata: None,
        is_virtual: false,
    }];
    let mut writer = crate::sink(&texts).unwrap().open().unwrap();
    let delta =
        millstream_dataflow::testing::delta("text text", &format!("+1 {}", "x".repeat(5000)));
    let error = writer.write(Step(1), &delta).unwrap_err();
    assert_ne!(error.kind, Kind::Retryable, "{error}");
}

#[test]
fn unreachable_brokers_are_said_clearly() {
    let broker = broker(1);
    let mut table = plain(&broker, &[("properties.default.api.timeout.ms", "300")]);
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    table
        .options
        .insert("properties.bootstrap.servers".into(), free.to_string());
    let error = crate::sink(&table).unwrap().open().err().unwrap();
    assert_eq!(error.kind, Kind::Retryable);
}

#[test]
fn a_commit_while_the_brokers_are_away_is_retryable_and_loses_nothing() {
    let broker = broker(1);
    let table = plain(
        &broker,
        &bounded(&[("properties.default.api.timeout.ms", "400")]),
    );
    let mut writer = crate::sink(&table).unwrap().open().unwrap();
    let fault = millstream_broker::Fault::on(
        millstream_broker::ApiKey::Produce,
        millstream_broker::Action::Close,
    );
    broker.faults().inject(fault.times(3));
    let delta = millstream_dataflow::testing::delta("id bigint, qty bigint", "+1 1 10");
    writer.write(Step(1), &delta).unwrap();
    let mut failures = 0;
    while let Err(error) = writer.commit(Step(1)) {
        assert_eq!(error.kind, Kind::Retryable, "{error}");
        failures += 1;
        assert!(failures < 50);
    }
    assert_eq!(ids(&table), [1]);
}

#[test]
fn a_topic_that_is_not_there_cannot_be_written() {
    let broker = Broker::start_blocking(Config {
        auto_create_topics: false,
        ..Config::default()
    })
    .unwrap();
    let table = plain(&broker, &[]);
    let error = crate::sink(&table).unwrap().open().err().unwrap();
    assert_eq!(error.kind, Kind::User, "{error}");
    assert!(error.message.contains("'orders'"), "{error}");
}
