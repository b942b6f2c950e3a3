use super::*;

#[test]
fn records_are_read_from_every_partition_and_resume_at_an_offset() {
    let broker = broker(2);
    let values = numbered(5000);
    let records: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(n, v)| ((n % 2) as i32, None, Some(v.as_str())))
        .collect();
    produce(&broker, "orders", &records);
    let table = plain(&broker, &bounded(&[]));
    let polls = read(&table, &columns::all(&table, &[]), 100).unwrap();
    let found: Vec<i64> = rows(&polls)
        .iter()
        .map(|(_, row)| row[0].unwrap())
        .collect();
    let expected: Vec<i64> = (0..5000).step_by(2).chain((1..5000).step_by(2)).collect();
    assert_eq!(found, expected);

    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let partitions = source.partitions().unwrap();
    assert_eq!(partitions[1].name, "orders/1");
    assert_eq!(partitions[1].end, Some(Offset(2500)));
    let mut reader = source.open(&partitions[1], Offset(2499)).unwrap();
    let mut polled = reader.poll(10, WAIT).unwrap();
    if polled.delta.is_empty() {
        polled = reader.poll(10, WAIT).unwrap();
    }
    assert_eq!(
        rows(std::slice::from_ref(&polled)),
        [(1, vec![Some(4999), Some(9998)])]
    );
    assert_eq!((polled.position, polled.state), (Offset(2500), State::End));
    assert_eq!(reader.end(), Some(Offset(2500)));
}

#[test]
fn a_poll_returns_as_soon_as_a_record_is_there() {
    let broker = broker(1);
    produce(&broker, "orders", &[(0, None, Some("{\"id\":0}"))]);
    let table = plain(&broker, &[]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let partition = &source.partitions().unwrap()[0];
    let mut reader = source.open(partition, Offset(0)).unwrap();
    while reader
        .poll(100, Duration::from_millis(100))
        .unwrap()
        .position
        < Offset(1)
    {}
    let caught_up = reader.poll(100, Duration::from_millis(10)).unwrap();
    assert_eq!(caught_up.state, State::CaughtUp);
    let producer = producer(&broker, &[("linger.ms", "0")]);
    for n in 1..20 {
        let value = format!("{{\"id\":{n}}}");
        producer
            .send(BaseRecord::<str, str>::to("orders").payload(&value))
            .unwrap();
        let polled = loop {
            let polled = reader.poll(100, WAIT).unwrap();
            if !polled.delta.is_empty() {
                break polled;
            }
        };
        assert_eq!(polled.position, Offset(n + 1));
    }
}

#[test]
fn the_ends_of_the_partition_between_records_hide_none() {
    let broker = broker(1);
    produce(&broker, "orders", &[(0, None, Some("{\"id\":0}"))]);
    let table = plain(&broker, &[]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let partition = &source.partitions().unwrap()[0];
    let mut reader = source.open(partition, Offset(0)).unwrap();
    // The reader fetches while nobody polls, and comes to the end again and again.
    let producer = producer(&broker, &[]);
    for n in 1..40 {
        let value = format!("{{\"id\":{n}}}");
        producer
            .send(BaseRecord::<str, str>::to("orders").payload(&value))
            .unwrap();
        producer.flush(WAIT).unwrap();
    }
    let mut found = Vec::new();
    let mut position = 0;
    while found.len() < 40 {
        let polled = reader
            .poll(if found.is_empty() { 7 } else { 1000 }, WAIT)
            .unwrap();
        assert!(polled.position.0 >= position);
        position = polled.position.0;
        found.extend(rows(&[polled]).iter().map(|(_, row)| row[0].unwrap()));
        assert_eq!(found.len() as i64, position);
    }
    assert_eq!(found, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_partition_can_be_opened_again_anywhere() {
    let broker = broker(1);
    let values = numbered(3000);
    let records: Vec<_> = values.iter().map(|v| (0, None, Some(v.as_str()))).collect();
    produce(&broker, "orders", &records);
    let table = plain(&broker, &[]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let partition = &source.partitions().unwrap()[0];
    for from in [0, 2500, 7, 2999, 1000] {
        let mut reader = source.open(partition, Offset(from)).unwrap();
        let polled = loop {
            let polled = reader.poll(5, WAIT).unwrap();
            if !polled.delta.is_empty() {
                break polled;
            }
        };
        assert_eq!(rows(&[polled])[0].1[0], Some(from));
    }
}

#[test]
fn two_readers_of_one_partition_both_read_all_of_it() {
    let broker = broker(1);
    let values = numbered(2000);
    let records: Vec<_> = values.iter().map(|v| (0, None, Some(v.as_str()))).collect();
    produce(&broker, "orders", &records);
    let table = plain(&broker, &bounded(&[]));
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let partition = &source.partitions().unwrap()[0];
    let mut readers: Vec<_> = (0..3)
        .map(|_| (source.open(partition, Offset(0)).unwrap(), 0, false))
        .collect();
    while readers.iter().any(|(_, _, ended)| !ended) {
        for (reader, rows, ended) in &mut readers {
            let polled = reader.poll(300, Duration::from_millis(20)).unwrap();
            *rows += polled.delta.rows();
            *ended = polled.state == State::End;
        }
    }
    assert!(readers.iter().all(|(_, rows, _)| *rows == 2000));
}

#[test]
fn a_broker_that_goes_and_comes_back_is_retryable_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let start = |port: u16| {
        Broker::start_blocking(Config {
            dir: Some(directory.path().to_path_buf()),
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], port)),
            ..Config::default()
        })
        .unwrap()
    };
    let broker = start(0);
    let port = broker.address().port();
    produce(&broker, "orders", &[(0, None, Some("{\"id\":1}"))]);
    let table = plain(&broker, &[("properties.reconnect.backoff.max.ms", "200")]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let partition = &source.partitions().unwrap()[0];
    let mut reader = source.open(partition, Offset(0)).unwrap();
    while reader.poll(10, WAIT).unwrap().position < Offset(1) {}
    drop(broker);
    let started = crate::clock::now();
    let error = loop {
        match reader.poll(10, Duration::from_millis(50)) {
            Ok(polled) => assert!(polled.delta.is_empty()),
            Err(error) => break error,
        }
        assert!(
            started.elapsed() < 3 * WAIT,
            "nobody said that the broker is gone"
        );
    };
    assert_eq!(error.kind, Kind::Retryable, "{error}");
    let broker = start(port);
    produce(&broker, "orders", &[(0, None, Some("{\"id\":2}"))]);
    let started = crate::clock::now();
    let polled = loop {
        match reader.poll(10, Duration::from_millis(50)) {
            Ok(polled) if !polled.delta.is_empty() => break polled,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind, Kind::Retryable, "{error}"),
        }
        assert!(
            started.elapsed() < 3 * WAIT,
            "the broker is back and nothing is read"
        );
    };
    assert_eq!(rows(&[polled]), [(1, vec![Some(2), None])]);
}

#[test]
fn startup_and_end_by_time_offsets_and_group() {
    let broker = broker(1);
    let producer = producer(&broker, &[]);
    for n in 0..10_i64 {
        let value = format!("{{\"id\":{n}}}");
        producer
            .send(
                BaseRecord::<str, str>::to("orders")
                    .payload(&value)
                    .timestamp(1000 * n + 500),
            )
            .unwrap();
        producer.flush(WAIT).unwrap();
    }
    let time = |ms: &str| {
        let given = [
            ("scan.startup.mode", "timestamp"),
            ("scan.startup.timestamp-millis", ms),
        ];
        ids(&plain(&broker, &bounded(&given)))
    };
    assert_eq!(time("6501"), [7, 8, 9]);
    assert_eq!(time("99000"), [0; 0]);
    let given = [
        ("scan.startup.mode", "specific-offsets"),
        ("scan.startup.specific-offsets", "partition:0,offset:3"),
        ("scan.bounded.mode", "specific-offsets"),
        ("scan.bounded.specific-offsets", "partition:0,offset:5"),
    ];
    assert_eq!(ids(&plain(&broker, &given)), [3, 4]);
    let given = [
        ("scan.bounded.mode", "timestamp"),
        ("scan.bounded.timestamp-millis", "2000"),
    ];
    assert_eq!(ids(&plain(&broker, &given)), [0, 1]);
    let group = [
        ("scan.startup.mode", "group-offsets"),
        ("properties.group.id", "g"),
    ];
    let given = bounded(&[&group[..], &[("properties.auto.offset.reset", "latest")]].concat());
    assert_eq!(ids(&plain(&broker, &given)), [0; 0]);
    let table = plain(&broker, &bounded(&group));
    let error = read(&table, &columns::all(&table, &[]), 10).unwrap_err();
    assert!(
        error
            .message
            .contains("'g' has committed no offset of 'orders/0'"),
        "{error}"
    );
}

#[test]
fn positions_are_committed_for_the_group_and_group_offsets_begin_there() {
    let broker = broker(1);
    produce(
        &broker,
        "orders",
        &[
            (0, None, Some("{\"id\":0}")),
            (0, None, Some("{\"id\":1}")),
            (0, None, Some("{\"id\":2}")),
        ],
    );
    let group = [
        ("properties.group.id", "g"),
        ("properties.auto.commit.interval.ms", "10"),
    ];
    let first = plain(&broker, &group);
    let source = crate::source(&first, &columns::all(&first, &[])).unwrap();
    let mut reader = source
        .open(&source.partitions().unwrap()[0], Offset(0))
        .unwrap();
    while reader.poll(2, Duration::from_millis(20)).unwrap().position < Offset(2) {}
    // Asking again says that two records were taken; the third is not.
    reader.poll(0, Duration::ZERO).unwrap();
    let more = [
        ("scan.startup.mode", "group-offsets"),
        ("properties.auto.offset.reset", "earliest"),
    ];
    let given = bounded(&[&group[..], &more].concat());
    let started = crate::clock::now();
    while ids(&plain(&broker, &given)) != [2] {
        assert!(
            started.elapsed() < WAIT,
            "the group's offsets were not committed"
        );
    }
}

#[test]
fn metadata_and_keys_are_columns() {
    let broker = broker(3);
    let producer = producer(&broker, &[]);
    let headers = OwnedHeaders::new().insert(Header {
        key: "trace",
        value: Some("abc"),
    });
    let record = BaseRecord::to("orders")
        .partition(2)
        .key("{\"id\":5}")
        .payload("{\"qty\":7}")
        .timestamp(1_700_000_000_123)
        .headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(WAIT).unwrap();
    let given = [
        ("key.format", "json"),
        ("key.fields", "id"),
        ("value.fields-include", "EXCEPT_KEY"),
    ];
    let table = plain(&broker, &bounded(&given));
    let metadata = |key: &str| {
        let offers = crate::check(&table).unwrap().metadata;
        let offer = offers.into_iter().find(|offer| offer.key == key).unwrap();
        Column {
            field: Field::new(key, offer.data_type, true),
            place: Place::Metadata(key.into()),
        }
    };
    let mut wanted = columns::all(&table, &[]);
    let keys = [
        "topic",
        "partition",
        "offset",
        "timestamp",
        "timestamp-type",
        "headers",
        "leader-epoch",
    ];
    wanted.extend(keys.map(metadata));
    let polls = read(&table, &wanted, 10).unwrap();
    let batch = polls
        .iter()
        .map(|p| p.delta.batch())
        .find(|b| b.num_rows() == 1)
        .unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 5);
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 7);
    assert_eq!(batch.column(2).as_string_view().value(0), "orders");
    assert_eq!(batch.column(3).as_primitive::<Int32Type>().value(0), 2);
    assert_eq!(batch.column(4).as_primitive::<Int64Type>().value(0), 0);
    assert_eq!(
        batch
            .column(5)
            .as_primitive::<TimestampMillisecondType>()
            .value(0),
        1_700_000_000_123
    );
    assert_eq!(
        batch.column(5).data_type(),
        &DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
    );
    assert_eq!(batch.column(6).as_string_view().value(0), "CreateTime");
    let entries = batch.column(7).as_map().value(0);
    assert_eq!(entries.column(0).as_string_view().value(0), "trace");
    assert_eq!(entries.column(1).as_binary_view().value(0), b"abc");
}

#[test]
fn upserts_and_tombstones_keep_their_order() {
    let broker = broker(1);
    let records = [
        (0, Some("{\"id\":1}"), Some("{\"id\":1,\"qty\":10}")),
        (0, Some("{\"id\":2}"), Some("{\"id\":2,\"qty\":20}")),
        (0, Some("{\"id\":1}"), None),
        (0, Some("{\"id\":2}"), Some("{\"id\":2,\"qty\":oops}")),
        (0, None, Some("{\"id\":9,\"qty\":9}")),
        (0, Some("{\"id\":2}"), Some("{\"id\":2,\"qty\":21}")),
    ];
    produce(&broker, "orders", &records);
    let table = upserted(&broker, &bounded(&[]));
    assert_eq!(
        crate::check(&table).unwrap().source.unwrap().changes,
        Changes::Upsert(vec![0])
    );
    for rows_max in [1, 1000] {
        let polls = read(&table, &columns::all(&table, &[]), rows_max).unwrap();
        let expected = [
            (1, vec![Some(1), Some(10)]),
            (1, vec![Some(2), Some(20)]),
            (-1, vec![Some(1), None]),
            (1, vec![Some(2), Some(21)]),
        ];
        assert_eq!(rows(&polls), expected);
        let bad: Vec<_> = polls.iter().flat_map(|polled| &polled.bad).collect();
        assert_eq!(
            bad.iter().map(|bad| bad.offset.0).collect::<Vec<_>>(),
            [3, 4]
        );
        assert!(bad[1].reason.contains("no key"), "{}", bad[1].reason);
    }
}

#[test]
fn tombstones_are_nothing_to_a_plain_topic_and_bad_records_are_reported() {
    let broker = broker(1);
    let records = [
        (0, None, Some("{\"id\":1,\"qty\":1}")),
        (0, Some("k"), None),
        (0, None, Some("not json")),
        (0, None, Some("{\"id\":2,\"qty\":2}")),
        (0, Some("k"), None),
    ];
    produce(&broker, "orders", &records);
    let table = plain(&broker, &bounded(&[]));
    let polls = read(&table, &columns::all(&table, &[]), 1000).unwrap();
    assert_eq!(
        rows(&polls),
        [(1, vec![Some(1), Some(1)]), (1, vec![Some(2), Some(2)])]
    );
    let bad: Vec<_> = polls.iter().flat_map(|polled| &polled.bad).collect();
    assert_eq!(
        (bad.len(), bad[0].offset, bad[0].bytes.as_slice()),
        (1, Offset(2), b"not json".as_slice())
    );
    assert_eq!(polls.last().unwrap().position, Offset(5));
}

#[test]
fn aborted_records_are_not_read_and_do_not_hide_the_end() {
    let broker = broker(1);
    produce(&broker, "orders", &[(0, None, Some("{\"id\":1}"))]);
    let producer = producer(&broker, &[("transactional.id", "t")]);
    producer.init_transactions(WAIT).unwrap();
    let write = |id: i64, commit: bool| {
        producer.begin_transaction().unwrap();
        let value = format!("{{\"id\":{id}}}");
        producer
            .send(
                BaseRecord::<str, str>::to("orders")
                    .partition(0)
                    .payload(&value),
            )
            .unwrap();
        match commit {
            true => producer.commit_transaction(WAIT).unwrap(),
            false => {
                producer.flush(WAIT).unwrap();
                producer.abort_transaction(WAIT).unwrap();
            }
        }
    };
    write(2, true);
    write(3, false);
    assert_eq!(ids(&plain(&broker, &bounded(&[]))), [1, 2]);
    let given = bounded(&[("properties.isolation.level", "read_uncommitted")]);
    assert_eq!(ids(&plain(&broker, &given)), [1, 2, 3]);
}

#[test]
fn topics_are_found_by_pattern_and_new_ones_are_read_from_their_start() {
    let broker = broker(1);
    let one = [(0, None, Some("{\"id\":1}"))];
    produce(&broker, "orders-eu", &one);
    produce(&broker, "orders-us", &one);
    produce(&broker, "xorders-us", &one);
    let mut table = plain(
        &broker,
        &[
            ("topic-pattern", "orders-.*"),
            ("scan.topic-partition-discovery.interval", "1 ns"),
        ],
    );
    table.options.remove("topic");
    table
        .options
        .insert("scan.startup.mode".into(), "latest-offset".into());
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let found = |source: &dyn Source| -> Vec<(String, i64)> {
        let partitions = source.partitions().unwrap();
        partitions
            .into_iter()
            .map(|p| (p.name, p.start.0))
            .collect()
    };
    assert_eq!(
        found(&*source),
        [("orders-eu/0".into(), 1), ("orders-us/0".into(), 1)]
    );
    produce(&broker, "orders-asia", &one);
    let again = found(&*source);
    assert_eq!(again[2], ("orders-asia/0".into(), 0));
    assert_eq!(again[0], ("orders-eu/0".into(), 1));
}

#[test]
fn an_unreachable_broker_is_retryable_within_a_bounded_time() {
    let broker = broker(1);
    let mut table = plain(&broker, &[("properties.default.api.timeout.ms", "300")]);
    // A port that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    table
        .options
        .insert("properties.bootstrap.servers".into(), free.to_string());
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let started = crate::clock::now();
    let error = source.partitions().unwrap_err();
    assert!(started.elapsed() < WAIT);
    assert_eq!(error.kind, Kind::Retryable);
    assert!(error.message.contains(&free.to_string()), "{error}");
}

#[test]
fn a_missing_topic_and_a_missing_offset_are_loud() {
    let broker = Broker::start_blocking(Config {
        auto_create_topics: false,
        ..Config::default()
    })
    .unwrap();
    let table = plain(&broker, &[]);
    let error = read(&table, &columns::all(&table, &[]), 10).unwrap_err();
    assert_eq!(error.kind, Kind::User);
    assert!(error.message.contains("'orders'"), "{error}");
}

#[test]
fn an_offset_that_is_gone_is_an_error_unless_the_table_says_what_then() {
    let broker = broker(1);
    produce(&broker, "orders", &[(0, None, Some("{\"id\":1}"))]);
    let poll = |options: &[(&str, &str)]| -> Result<Vec<(i64, Vec<Option<i64>>)>> {
        let table = plain(&broker, options);
        let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
        let partition = &source.partitions().unwrap()[0];
        let mut reader = source.open(partition, Offset(77)).unwrap();
        let started = crate::clock::now();
        loop {
            let polled = reader.poll(10, Duration::from_millis(100))?;
            if !polled.delta.is_empty() {
                return Ok(rows(&[polled]));
            }
            assert!(started.elapsed() < WAIT, "nothing happened");
        }
    };
    let error = poll(&[]).unwrap_err();
    assert_eq!(error.kind, Kind::User);
    assert!(error.hint.unwrap().contains("auto.offset.reset"));
    let given = [("properties.auto.offset.reset", "earliest")];
    assert_eq!(poll(&given).unwrap(), [(1, vec![Some(1), None])]);
}

#[test]
fn options_are_checked_without_a_broker() {
    let broker = broker(1);
    let refused = |options: &[(&str, &str)], without: &str| {
        let mut table = plain(&broker, options);
        table.options.remove(without);
        crate::check(&table).unwrap_err().to_string()
    };
    let mut groupless = plain(&broker, &[]);
    groupless.options.remove("scan.startup.mode");
    assert!(crate::check(&groupless).is_ok(), "it can be written");
    let error = crate::source(&groupless, &[]).unwrap_err();
    assert!(error.message.contains("properties.group.id"), "{error}");
    assert!(refused(&[], "topic").contains("'topic'"));
    assert!(refused(&[("topic-pattern", "x")], "").contains("both"));
    assert!(refused(&[("scan.startup.mod", "x")], "").contains("did you mean 'scan.startup.mode'"));
    assert!(refused(&[("properties.fetch.mim.bytes", "1")], "").contains("fetch.mim.bytes"));
    assert!(
        refused(&[("json.ignore-parse-error", "true")], "").contains("json.ignore-parse-error")
    );
    let mut keyless = upserted(&broker, &[]);
    keyless.primary_key.clear();
    assert!(
        crate::check(&keyless)
            .unwrap_err()
            .message
            .contains("no primary key")
    );
}

#[test]
fn a_table_can_be_of_several_topics() {
    let broker = broker(1);
    produce(&broker, "orders-eu", &[(0, None, Some("{\"id\":1}"))]);
    produce(&broker, "orders-us", &[(0, None, Some("{\"id\":2}"))]);
    let table = plain(&broker, &bounded(&[("topic", "orders-us; orders-eu")]));
    assert_eq!(ids(&table), [2, 1]);
    assert_eq!(crate::check(&table).unwrap().sink, None);
    let error = crate::sink(&table).unwrap_err();
    assert!(error.message.contains("several topics"), "{error}");
}

#[test]
fn metadata_of_the_format_is_offered_and_read() {
    let broker = broker(1);
    let value = "{\"before\":null,\"after\":{\"id\":1,\"qty\":2},\"op\":\"c\",\"ts_ms\":1700000000123,\
                 \"source\":{\"table\":\"orders\",\"ts_ms\":1700000000000}}";
    produce(&broker, "orders", &[(0, None, Some(value))]);
    let mut table = plain(&broker, &bounded(&[("format", "debezium-json")]));
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    table.columns.push(TableColumn {
        field: Field::new("at", time, true),
        metadata: Some("value.ingestion-timestamp".into()),
        is_virtual: true,
    });
    let capabilities = crate::check(&table).unwrap();
    assert_eq!(capabilities.source.unwrap().changes, Changes::All);
    let wanted = columns::all(&table, &capabilities.metadata);
    assert_eq!(wanted.len(), 3);
    let polls = read(&table, &wanted, 10).unwrap();
    let batch = polls
        .iter()
        .map(|p| p.delta.batch())
        .find(|b| b.num_rows() == 1)
        .unwrap();
    let at = batch.column(2).as_primitive::<TimestampMillisecondType>();
    assert_eq!(at.value(0), 1_700_000_000_123);
}

#[test]
fn options_of_the_keys_format_are_named_as_they_were_given() {
    let broker = broker(1);
    let given = [
        ("key.format", "json"),
        ("key.fields", "id"),
        ("key.json.ignore-parse-error", "true"),
    ];
    let error = crate::check(&plain(&broker, &given)).unwrap_err();
    assert!(
        error.message.contains("'key.json.ignore-parse-error'"),
        "{error}"
    );
    assert_eq!(
        error.hint.as_deref(),
        Some("did you mean 'key.json.ignore-parse-errors'?")
    );
    let given = [
        ("key.format", "json"),
        ("key.fields", "id"),
        ("key.json.ignore-parse-errors", "true"),
    ];
    let reads = crate::check(&plain(&broker, &given))
        .unwrap()
        .source
        .unwrap();
    assert!(!reads.skips_bad, "the value's format has the key's columns");
    let given = [("json.ignore-parse-errors", "true")];
    let reads = crate::check(&plain(&broker, &given))
        .unwrap()
        .source
        .unwrap();
    assert!(reads.skips_bad);
}

#[test]
fn a_topic_that_is_deleted_while_it_is_read_is_loud() {
    let broker = broker(1);
    produce(&broker, "orders", &[(0, None, Some("{\"id\":1}"))]);
    let given = [
        ("properties.topic.metadata.refresh.interval.ms", "200"),
        // How long librdkafka takes a missing topic for one that is being made.
        ("properties.topic.metadata.propagation.max.ms", "100"),
    ];
    let table = plain(&broker, &given);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let partition = &source.partitions().unwrap()[0];
    let mut reader = source.open(partition, Offset(0)).unwrap();
    while reader.poll(10, WAIT).unwrap().position < Offset(1) {}
    delete_topic(&broker, "orders");
    let started = crate::clock::now();
    let error = loop {
        match reader.poll(10, Duration::from_millis(50)) {
            Err(error) if error.kind != Kind::Retryable => break error,
            _ => assert!(
                started.elapsed() < 3 * WAIT,
                "nobody said that the topic is gone"
            ),
        }
    };
    assert_eq!(error.kind, Kind::User);
    assert!(error.message.contains("orders"), "{error}");
}

fn delete_topic(broker: &Broker, topic: &str) {
    use rdkafka::admin::{AdminClient, AdminOptions};
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers());
    let admin: AdminClient<_> = config.create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let deleted = runtime.block_on(admin.delete_topics(&[topic], &AdminOptions::new()));
    deleted.unwrap().remove(0).unwrap();
}

/// A partition that is opened again waits for the answer to what was asked before.
const QUICK: (&str, &str) = ("properties.fetch.wait.max.ms", "10");

#[test]
fn a_partition_can_be_cut_at_every_record() {
    let broker = broker(2);
    let values = numbered(20);
    let records: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(n, v)| ((n % 2) as i32, None, Some(v.as_str())))
        .collect();
    produce(&broker, "orders", &records);
    // Marks of transactions and records that were given up take offsets too.
    let producer = producer(&broker, &[("transactional.id", "t")]);
    producer.init_transactions(WAIT).unwrap();
    for n in 0..4 {
        producer.begin_transaction().unwrap();
        let value = format!("{{\"id\":{n}}}");
        producer
            .send(
                BaseRecord::<str, str>::to("orders")
                    .partition(0)
                    .payload(&value),
            )
            .unwrap();
        producer.flush(WAIT).unwrap();
        match n % 2 {
            0 => producer.abort_transaction(WAIT).unwrap(),
            _ => producer.commit_transaction(WAIT).unwrap(),
        }
    }
    produce(
        &broker,
        "orders",
        &[(0, None, Some("oops")), (0, None, Some("{\"id\":9}"))],
    );
    let table = plain(&broker, &bounded(&[QUICK]));
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    assert_eq!(crate::tests::cuts_change_nothing(&*source, 3), 23);
}

#[test]
fn changes_and_tombstones_can_be_cut_at_every_record() {
    let broker = broker(1);
    let change = "{\"op\":\"u\",\"before\":{\"id\":1,\"qty\":2},\"after\":{\"id\":1,\"qty\":3}}";
    produce(&broker, "changes", &[(0, None, Some(change)); 5]);
    let options = [("topic", "changes"), ("format", "debezium-json"), QUICK];
    let table = plain(&broker, &bounded(&options));
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    assert_eq!(crate::tests::cuts_change_nothing(&*source, 3), 10);

    let (key, value) = (Some("{\"id\":1}"), Some("{\"id\":1,\"qty\":2}"));
    let records = [
        (0, key, value),
        (0, key, None),
        (0, None, value),
        (0, key, value),
    ];
    produce(&broker, "orders", &records);
    let table = upserted(&broker, &bounded(&[QUICK]));
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    assert_eq!(crate::tests::cuts_change_nothing(&*source, 2), 3);
}

#[test]
fn a_job_that_goes_on_reads_what_was_added_since_from_its_start() {
    let broker = broker(2);
    produce(&broker, "orders", &[(1, None, Some("{\"id\":1}"))]);
    let table = plain(&broker, &[("scan.startup.mode", "latest-offset")]);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    let known = source.partitions().unwrap().remove(0);
    let source = crate::source(&table, &columns::all(&table, &[])).unwrap();
    source.resume(std::slice::from_ref(&known));
    let partitions = source.partitions().unwrap();
    assert_eq!(partitions[0], known);
    assert_eq!(
        (partitions[1].name.as_str(), partitions[1].start),
        ("orders/1", Offset(0))
    );
}
