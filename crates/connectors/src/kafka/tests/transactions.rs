//! Output and progress in one transaction: what is seen, and what becomes of it when something goes wrong.

use super::*;
use millstream_broker::{Action, ApiKey, ErrorCode, Fault};
use millstream_dataflow::sink::{Delivery, Sink, System, Transactions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::sync::Arc;

/// A table whose transactions wait no longer than tests do.
fn quick(broker: &Broker, topic: &str, more: &[(&str, &str)]) -> Table {
    quick_at(&broker.bootstrap_servers(), topic, more)
}

fn quick_at(servers: &str, topic: &str, more: &[(&str, &str)]) -> Table {
    let given = [
        ("topic", topic),
        ("properties.default.api.timeout.ms", "1000"),
        ("properties.reconnect.backoff.max.ms", "100"),
    ];
    plain_at(servers, &bounded(&[&given, more].concat()))
}

fn sink(table: &Table) -> Arc<dyn Sink> {
    crate::sink(table).unwrap()
}

fn system(table: &Table) -> Arc<dyn System> {
    match sink(table).delivery() {
        Delivery::Transaction(system) => system,
        other => panic!("{other:?}"),
    }
}

fn open(table: &Table) -> Box<dyn Transactions> {
    system(table).open(job(table)).unwrap()
}

/// The job of a table is named as its topic.
fn job(table: &Table) -> &str {
    &table.options["topic"]
}

/// The transactions of a table, its sink added.
fn with_sink(table: &Table) -> Box<dyn Transactions> {
    let mut transactions = open(table);
    assert_eq!(transactions.add(&sink(table)).unwrap(), 0);
    transactions
}

fn delta(rows: &str) -> millstream_dataflow::Delta {
    millstream_dataflow::testing::delta("id bigint, qty bigint", rows)
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Writes and commits until it has been done, and gives how often it had to be done again.
fn insist(transactions: &mut dyn Transactions, rows: &str, record: &str) -> usize {
    let mut failures = 0;
    loop {
        let done = transactions
            .write(0, &delta(rows))
            .and_then(|()| transactions.commit(&texts(&[record])));
        match done {
            Ok(()) => return failures,
            Err(error) => assert_eq!(error.kind, Kind::Retryable, "{error}"),
        }
        failures += 1;
        assert!(failures < 100);
    }
}

#[test]
fn several_topics_and_the_records_are_committed_as_a_whole() {
    let broker = broker(2);
    let (orders, stock) = (
        quick(&broker, "orders", &[]),
        quick(&broker, "stock", &[("sink.partitioner", "round-robin")]),
    );
    assert_eq!(system(&orders).name(), system(&stock).name());
    let mut transactions = with_sink(&orders);
    assert_eq!(transactions.add(&sink(&stock)).unwrap(), 1);
    transactions.write(0, &delta("+1 1 10 / +1 2 20")).unwrap();
    transactions.write(1, &delta("+1 3 30 / +1 4 40")).unwrap();
    assert_eq!((ids(&orders), ids(&stock)), (vec![], vec![]));
    transactions.commit(&texts(&["step 1", "step 2"])).unwrap();
    assert_eq!(sorted(&orders), [1, 2]);
    assert_eq!(sorted(&stock), [3, 4]);
    transactions.commit(&texts(&["step 3"])).unwrap();
    transactions.commit(&[]).unwrap();
    assert_eq!(
        transactions.records().unwrap(),
        texts(&["step 1", "step 2", "step 3"])
    );
    drop(transactions);
    let found = open(&orders).records().unwrap();
    assert_eq!(found, texts(&["step 1", "step 2", "step 3"]));
}

fn sorted(table: &Table) -> Vec<i64> {
    let mut ids = ids(table);
    ids.sort_unstable();
    ids
}

#[test]
fn a_transaction_that_is_given_up_is_seen_by_nobody_and_holds_nobody_up() {
    let broker = broker(1);
    let table = quick(&broker, "orders", &[]);
    let mut transactions = with_sink(&table);
    transactions.write(0, &delta("+1 1 10")).unwrap();
    drop(transactions);
    produce(&broker, "orders", &[(0, None, Some("{\"id\":2}"))]);
    assert_eq!(ids(&table), [2]);
}

#[test]
fn a_refused_record_is_written_again_once() {
    let broker = broker(1);
    let table = quick(&broker, "orders", &[]);
    for error in [
        ErrorCode::InvalidProducerEpoch,
        ErrorCode::InvalidTxnState,
        ErrorCode::UnknownProducerId,
        ErrorCode::OutOfOrderSequenceNumber,
    ] {
        let mut transactions = with_sink(&table);
        insist(&mut *transactions, "+1 1 10", "a");
        let fault = Fault::on(ApiKey::Produce, Action::Error(error)).topic("orders");
        let injected = broker.faults().inject(fault);
        insist(&mut *transactions, "+1 2 20", "b");
        assert_eq!(injected.hits(), 1, "{error:?}");
        insist(&mut *transactions, "+1 3 30", "c");
    }
    assert_eq!(ids(&table), [[1, 2, 3]; 4].concat());
    let found = open(&table).records().unwrap();
    assert_eq!(found, texts(&["a", "b", "c"].repeat(4)));
}

#[test]
fn an_instance_that_lost_its_place_commits_nothing_and_says_so() {
    lose_the_place(&broker(1).bootstrap_servers(), "orders");
}

fn lose_the_place(servers: &str, topic: &str) {
    let table = quick_at(servers, topic, &[]);
    let mut first = with_sink(&table);
    insist(&mut *first, "+1 1 10", "first");
    first.write(0, &delta("+1 2 20")).unwrap();
    let mut second = with_sink(&table);
    assert_eq!(second.records().unwrap(), texts(&["first"]));
    second.write(0, &delta("+1 3 30")).unwrap();
    let error = first.commit(&texts(&["lost"])).unwrap_err();
    assert_eq!(error.kind, Kind::Fenced, "{error}");
    assert!(
        error.message.contains(topic) && error.message.contains("Kafka at"),
        "{error}"
    );
    assert!(error.to_string().contains("this same process"), "{error}");
    // It was told without a disturbance of the second.
    second.commit(&texts(&["second"])).unwrap();
    for _ in 0..2 {
        let error = first.write(0, &delta("+1 4 40")).unwrap_err();
        assert_eq!(error.kind, Kind::Fenced, "{error}");
    }
    assert_eq!(insist(&mut *second, "+1 5 50", "third"), 0);
    wait_for_ids(&table, &[1, 3, 5]);
}

#[test]
fn a_crash_leaves_no_transaction_open_once_the_job_is_back() {
    crash(&broker(1).bootstrap_servers(), "orders");
}

fn crash(servers: &str, topic: &str) {
    let table = quick_at(servers, topic, &[]);
    let mut transactions = with_sink(&table);
    insist(&mut *transactions, "+1 1 10", "a");
    transactions.write(0, &delta("+1 2 20")).unwrap();
    wait_for_end(servers, topic, "read_uncommitted", 3);
    std::mem::forget(transactions);
    produce_at(servers, topic, &[(0, None, Some("{\"id\":3}"))]);
    assert_eq!(ids(&table), [1], "an open transaction hides what follows");
    let mut transactions = with_sink(&table);
    wait_for_ids(&table, &[1, 3]);
    assert_eq!(transactions.records().unwrap(), texts(&["a"]));
}

/// Where a topic's partition begins and ends: for all records, or for those that are no part of an open transaction.
fn watermarks(servers: &str, topic: &str, isolation: &str) -> (i64, i64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("isolation.level", isolation)
        .create()
        .unwrap();
    consumer.fetch_watermarks(topic, 0, WAIT).unwrap()
}

fn wait_for_end(servers: &str, topic: &str, isolation: &str, end: i64) {
    let began = crate::clock::now();
    while watermarks(servers, topic, isolation).1 < end {
        assert!(began.elapsed() < WAIT);
    }
}

/// Waits until these are the rows: Apache Kafka says that it has committed before readers see it.
fn wait_for_ids(table: &Table, expected: &[i64]) {
    let began = crate::clock::now();
    loop {
        let found = ids(table);
        if found == expected {
            return;
        }
        assert!(began.elapsed() < WAIT, "{found:?}");
    }
}

#[test]
fn a_commit_whose_answer_is_lost_has_been_done() {
    let broker = broker(1);
    let table = quick(&broker, "orders", &[]);
    let mut transactions = with_sink(&table);
    for (id, action) in [(1, Action::DropAnswer), (2, Action::Silence)] {
        let injected = broker.faults().inject(Fault::on(ApiKey::EndTxn, action));
        transactions
            .write(0, &delta(&format!("+1 {id} 10")))
            .unwrap();
        transactions.commit(&texts(&["a"])).unwrap();
        assert_eq!(injected.hits(), 1);
    }
    // Without records it is decided as well.
    broker
        .faults()
        .inject(Fault::on(ApiKey::EndTxn, Action::Silence));
    transactions.write(0, &delta("+1 3 10")).unwrap();
    transactions.commit(&[]).unwrap();
    assert_eq!(ids(&table), [1, 2, 3]);
    assert_eq!(transactions.records().unwrap(), texts(&["a", "a"]));
}

#[test]
fn a_commit_that_never_arrived_is_done_again() {
    let broker = broker(1);
    let table = quick(&broker, "orders", &[]);
    let mut transactions = with_sink(&table);
    transactions.write(0, &delta("+1 1 10")).unwrap();
    let injected = broker
        .faults()
        .inject(Fault::on(ApiKey::EndTxn, Action::Close).always());
    let heal = std::thread::spawn(move || {
        // Long after the commit has stopped waiting for its answer.
        std::thread::sleep(Duration::from_secs(3));
        injected.remove();
        injected.hits()
    });
    let error = transactions.commit(&texts(&["a"])).unwrap_err();
    assert_eq!(error.kind, Kind::Retryable, "{error}");
    assert!(heal.join().unwrap() > 1);
    assert_eq!(ids(&table), Vec::<i64>::new());
    assert_eq!(insist(&mut *transactions, "+1 1 10", "a"), 0);
    assert_eq!(ids(&table), [1]);
    assert_eq!(transactions.records().unwrap(), texts(&["a"]));
}

#[test]
fn an_instance_that_was_stopped_for_too_long_writes_again_and_is_not_fenced() {
    stop_for_too_long(&broker(1).bootstrap_servers(), "orders");
}

fn stop_for_too_long(servers: &str, topic: &str) {
    let table = quick_at(
        servers,
        topic,
        &[("properties.transaction.timeout.ms", "1000")],
    );
    let mut transactions = with_sink(&table);
    transactions.write(0, &delta("+1 1 10")).unwrap();
    // The mark of the abort comes behind the record.
    wait_for_end(servers, topic, "read_committed", 2);
    let error = transactions.commit(&texts(&["a"])).unwrap_err();
    assert_eq!(error.kind, Kind::Retryable, "{error}");
    assert_eq!(insist(&mut *transactions, "+1 1 10", "a"), 0);
    wait_for_ids(&table, &[1]);
}

#[test]
fn progress_that_is_not_needed_is_let_go() {
    let_go(&broker(1).bootstrap_servers(), "orders");
}

fn let_go(servers: &str, topic: &str) {
    let table = quick_at(servers, topic, &[]);
    let mut transactions = open(&table);
    for step in 0..10 {
        transactions
            .commit(&texts(&[&format!("{step} a"), &format!("{step} b")]))
            .unwrap();
    }
    let low = || {
        let progress = format!("__millstream-{topic}_progress");
        watermarks(servers, &progress, "read_committed").0
    };
    assert_eq!(low(), 0);
    // The record with number 15 is in a transaction with number 16, which is needed.
    forget(&mut *transactions, 15, || low() > 0);
    assert_eq!(
        transactions.records().unwrap(),
        texts(&["7 a", "7 b", "8 a", "8 b", "9 a", "9 b"])
    );
    // They are counted from what was found last.
    let before = low();
    forget(&mut *transactions, 2, || low() > before);
    assert_eq!(transactions.records().unwrap().len(), 4);
    let before = low();
    transactions.commit(&texts(&["10"])).unwrap();
    forget(&mut *transactions, 5, || low() > before);
    let mut again = open(&table);
    assert_eq!(again.records().unwrap(), Vec::<Vec<u8>>::new());
    again.commit(&texts(&["11"])).unwrap();
    assert_eq!(open(&table).records().unwrap(), texts(&["11"]));
}

/// Asks for it until it has happened.
fn forget(transactions: &mut dyn Transactions, count: u64, happened: impl Fn() -> bool) {
    let began = crate::clock::now();
    while !happened() {
        transactions.forget(count).unwrap();
        assert!(began.elapsed() < 6 * WAIT);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn large_records_are_cut_into_messages_that_fit() {
    let broker = broker(1);
    let table = quick(
        &broker,
        "orders",
        &[("properties.message.max.bytes", "1000")],
    );
    let mut transactions = open(&table);
    let records = vec![vec![7; 10_000], vec![], vec![8; 300]];
    transactions.commit(&records).unwrap();
    assert!(transactions.records().unwrap() == records);
}

#[test]
fn a_broker_that_goes_and_comes_back_loses_and_doubles_nothing() {
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
    let table = quick(&broker, "orders", &[]);
    let mut transactions = with_sink(&table);
    insist(&mut *transactions, "+1 1 10", "a");
    transactions.write(0, &delta("+1 2 20")).unwrap();
    drop(broker);
    let error = transactions.commit(&texts(&["b"])).unwrap_err();
    assert_eq!(error.kind, Kind::Retryable, "{error}");
    let error = transactions.write(0, &delta("+1 2 20")).unwrap_err();
    assert_eq!(error.kind, Kind::Retryable, "{error}");
    let _broker = start(port);
    insist(&mut *transactions, "+1 2 20", "b");
    assert_eq!(ids(&table), [1, 2]);
    assert_eq!(transactions.records().unwrap(), texts(&["a", "b"]));
}

#[test]
fn a_coordinator_that_is_not_there_yet_is_retryable() {
    let broker = broker(1);
    let table = quick(&broker, "orders", &[]);
    for (api, error) in [
        (ApiKey::FindCoordinator, ErrorCode::CoordinatorNotAvailable),
        (ApiKey::InitProducerId, ErrorCode::CoordinatorLoadInProgress),
    ] {
        let fault = Fault::on(api, Action::Error(error)).always();
        let injected = broker.faults().inject(fault);
        let error = system(&table).open("orders").err().unwrap();
        assert_eq!(error.kind, Kind::Retryable, "{error}");
        injected.remove();
    }
    insist(&mut *with_sink(&table), "+1 1 10", "a");
    assert_eq!(ids(&table), [1]);
}

#[test]
fn what_is_not_allowed_is_the_users_error_and_leaves_nothing_open() {
    let broker = broker(1);
    let table = quick(&broker, "orders", &[]);
    let mut transactions = with_sink(&table);
    transactions.write(0, &delta("+1 1 10")).unwrap();
    let denied = Action::Error(ErrorCode::TopicAuthorizationFailed);
    broker
        .faults()
        .inject(Fault::on(ApiKey::Produce, denied).topic("orders"));
    let error = transactions
        .write(0, &delta("+1 2 20"))
        .and_then(|()| transactions.commit(&[]))
        .unwrap_err();
    assert_eq!(error.kind, Kind::User, "{error}");
    produce(&broker, "orders", &[(0, None, Some("{\"id\":3}"))]);
    assert_eq!(ids(&table), [3]);

    // When it is said to the transaction, its records only hear that they are not sent.
    let fault = Fault::on(ApiKey::AddPartitionsToTxn, denied).always();
    let injected = broker.faults().inject(fault);
    let error = transactions
        .write(0, &delta("+1 2 20"))
        .and_then(|()| transactions.commit(&[]))
        .unwrap_err();
    assert_eq!(error.kind, Kind::User, "{error}");
    injected.remove();

    let id = ErrorCode::TransactionalIdAuthorizationFailed;
    broker
        .faults()
        .inject(Fault::on(ApiKey::InitProducerId, Action::Error(id)));
    let error = system(&table).open("other").err().unwrap();
    assert_eq!(error.kind, Kind::User, "{error}");
    assert!(error.hint.unwrap().contains("transactional id"));
    let given = [("properties.transaction.timeout.ms", "86400000")];
    let error = system(&quick(&broker, "orders", &given))
        .open("long")
        .err()
        .unwrap();
    assert!(error.hint.unwrap().contains("transaction.timeout.ms"));
}

#[test]
fn properties_that_do_not_go_with_transactions_are_refused() {
    let broker = broker(1);
    for (name, value) in [("acks", "1"), ("enable.idempotence", "false")] {
        let name = format!("properties.{name}");
        let table = quick(&broker, "orders", &[(&name, value)]);
        let error = crate::sink(&table).err().unwrap();
        assert!(error.message.contains(&name), "{error}");
        let given = [
            (name.as_str(), value),
            ("sink.delivery-guarantee", "at-least-once"),
        ];
        assert!(matches!(
            sink(&quick(&broker, "orders", &given)).delivery(),
            Delivery::AtLeastOnce
        ));
    }
    let table = quick(
        &broker,
        "orders",
        &[("properties.transactional.id", "mine")],
    );
    let error = crate::check(&table).unwrap_err();
    assert!(error.hint.unwrap().contains("sink.transactional-id-prefix"));
    let mut transactions = open(&quick(&broker, "orders", &[]));
    let given = [
        ("properties.partitioner", "random"),
        ("properties.fetch.min.bytes", "1"),
    ];
    let error = transactions
        .add(&sink(&quick(&broker, "orders", &given)))
        .unwrap_err();
    assert!(error.message.contains("properties.partitioner"), "{error}");
    let readers = [
        ("properties.group.id", "g"),
        ("properties.linger.ms", "7"),
        ("properties.fetch.min.bytes", "1"),
    ];
    transactions
        .add(&sink(&quick(&broker, "orders", &readers)))
        .unwrap();
}

#[test]
fn jobs_and_prefixes_keep_out_of_each_others_way() {
    let broker = broker(1);
    let table = quick(&broker, "orders", &[]);
    let given = [("sink.transactional-id-prefix", "blue")];
    let blue = quick(&broker, "orders", &given);
    let mut all = [
        with_sink(&table),
        with_sink(&blue),
        system(&table).open("stock watch").unwrap(),
    ];
    all[2].add(&sink(&table)).unwrap();
    for (idx, transactions) in all.iter_mut().enumerate() {
        let text = format!("job {idx}");
        assert_eq!(
            insist(&mut **transactions, &format!("+1 {idx} 1"), &text),
            0
        );
        assert_eq!(transactions.records().unwrap(), texts(&[&text]));
    }
    assert_eq!(ids(&table), [0, 1, 2]);
    // A pattern does not mean the topics that hold progress.
    let mut pattern = plain(&broker, &bounded(&[("topic-pattern", ".*")]));
    pattern.options.remove("topic");
    let source = crate::source(&pattern, &columns::all(&pattern, &[])).unwrap();
    let partitions = source.partitions().unwrap();
    assert_eq!(
        partitions
            .iter()
            .map(|p| p.name.as_str())
            .collect::<Vec<_>>(),
        ["orders/0"]
    );
}

/// Whatever goes wrong with whichever request: what is committed is there once, with its records.
#[test]
fn a_fault_in_any_request_loses_and_doubles_nothing() {
    use ErrorCode as E;
    let coordinator = [
        E::NotCoordinator,
        E::CoordinatorNotAvailable,
        E::CoordinatorLoadInProgress,
        E::ConcurrentTransactions,
        E::ProducerFenced,
        E::InvalidProducerEpoch,
        E::InvalidProducerIdMapping,
        E::InvalidTxnState,
        E::UnknownServerError,
    ];
    let leader = [
        E::NotLeaderOrFollower,
        E::RequestTimedOut,
        E::NotEnoughReplicasAfterAppend,
        E::OutOfOrderSequenceNumber,
        E::UnknownProducerId,
        E::KafkaStorageError,
        E::UnknownServerError,
    ];
    let requests: [(ApiKey, &[ErrorCode]); 7] = [
        (ApiKey::FindCoordinator, &coordinator[..3]),
        (ApiKey::InitProducerId, &coordinator[..4]),
        (ApiKey::AddPartitionsToTxn, &coordinator),
        (ApiKey::Produce, &leader),
        (ApiKey::EndTxn, &coordinator),
        (ApiKey::Fetch, &leader[..1]),
        (ApiKey::Metadata, &leader[..0]),
    ];
    let cases = requests.into_iter().flat_map(|(api, errors)| {
        let errors = errors.iter().map(|error| Action::Error(*error));
        let cut = [Action::Close, Action::DropAnswer, Action::Silence];
        errors.chain(cut).map(move |action| (api, action))
    });
    let cases = std::sync::Mutex::new(cases);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let broker = broker(1);
                loop {
                    let Some((api, action)) = cases.lock().unwrap().next() else {
                        break;
                    };
                    strike(&broker, api, action);
                }
            });
        }
    });
}

fn strike(broker: &Broker, api: ApiKey, action: Action) {
    let topic = format!("{api:?}-{action:?}").replace(['(', ')'], "-");
    let table = quick(broker, &topic, &[("properties.socket.timeout.ms", "1500")]);
    let mut transactions = with_sink(&table);
    insist(&mut *transactions, "+1 0 0", "0");
    let mut hits = 0;
    for round in 1..=6 {
        // First one request, then several in a row; from an open producer, and from a new one.
        let injected = broker
            .faults()
            .inject(Fault::on(api, action).times(round % 3 + 1));
        if round > 3 {
            drop(transactions);
            transactions = loop {
                match system(&table).open(&topic) {
                    Ok(transactions) => break transactions,
                    Err(error) => assert_eq!(error.kind, Kind::Retryable, "{topic} {error}"),
                }
            };
            while let Err(error) = transactions.add(&sink(&table)) {
                assert_eq!(error.kind, Kind::Retryable, "{topic} {error}");
            }
            while let Err(error) = transactions.records() {
                assert_eq!(error.kind, Kind::Retryable, "{topic} {error}");
            }
        }
        insist(
            &mut *transactions,
            &format!("+1 {round} 0"),
            &round.to_string(),
        );
        injected.remove();
        hits += injected.hits();
    }
    assert!(hits > 0, "{topic}");
    assert_eq!(ids(&table), [0, 1, 2, 3, 4, 5, 6], "{topic}");
    let records = transactions.records().unwrap();
    assert_eq!(
        records,
        texts(&["0", "1", "2", "3", "4", "5", "6"]),
        "{topic}"
    );
}

/// The same against Apache Kafka, as it is where the embedded broker may be mistaken.
#[test]
#[ignore = "needs Apache Kafka, at the address that MILLSTREAM_TEST_KAFKA says"]
fn apache_kafka_does_what_the_embedded_broker_does() {
    let servers = std::env::var("MILLSTREAM_TEST_KAFKA").unwrap();
    let name = |what: &str| format!("{what}-{}", std::process::id());
    lose_the_place(&servers, &name("place"));
    crash(&servers, &name("crash"));
    stop_for_too_long(&servers, &name("stop"));
    let_go(&servers, &name("let-go"));
}
