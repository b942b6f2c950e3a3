//! Both directions against the embedded broker.

mod reading;
mod transactions;
mod writing;

use super::*;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, TimeUnit, TimestampMillisecondType};
use millstream_broker::{Broker, Config};
use millstream_dataflow::source::{Offset, Polled, Source, State};
use millstream_dataflow::{Changes, Kind, Place, Step, TableColumn};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

fn broker(partitions: i32) -> Broker {
    let config = Config {
        default_partitions: partitions,
        ..Config::default()
    };
    Broker::start_blocking(config).unwrap()
}

fn producer(broker: &Broker, more: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers());
    for (name, value) in more {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

const WAIT: Duration = Duration::from_secs(10);

/// Produces records: partition, key, value.
fn produce(broker: &Broker, topic: &str, records: &[(i32, Option<&str>, Option<&str>)]) {
    produce_at(&broker.bootstrap_servers(), topic, records);
}

fn produce_at(servers: &str, topic: &str, records: &[(i32, Option<&str>, Option<&str>)]) {
    let mut config = ClientConfig::new();
    let producer: BaseProducer = config.set("bootstrap.servers", servers).create().unwrap();
    for (partition, key, value) in records {
        let mut record = BaseRecord::<str, str>::to(topic)
            .partition(*partition)
            .timestamp(1_700_000_000_000);
        if let Some(key) = key {
            record = record.key(key);
        }
        if let Some(value) = value {
            record = record.payload(value);
        }
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

fn table(broker: &Broker, connector: &str, options: &[(&str, &str)]) -> Table {
    table_at(&broker.bootstrap_servers(), connector, options)
}

fn table_at(servers: &str, connector: &str, options: &[(&str, &str)]) -> Table {
    let options = [
        ("connector", connector),
        ("properties.bootstrap.servers", servers),
    ]
    .iter()
    .chain(options)
    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
    .collect();
    let column = |name: &str, data_type| TableColumn {
        field: Field::new(name, data_type, true),
        metadata: None,
        is_virtual: false,
    };
    Table {
        name: "orders".into(),
        columns: vec![
            column("id", DataType::Int64),
            column("qty", DataType::Int64),
        ],
        options,
        ..Table::default()
    }
}

fn plain(broker: &Broker, options: &[(&str, &str)]) -> Table {
    plain_at(&broker.bootstrap_servers(), options)
}

fn plain_at(servers: &str, options: &[(&str, &str)]) -> Table {
    let defaults = [
        ("topic", "orders"),
        ("format", "json"),
        ("scan.startup.mode", "earliest-offset"),
    ];
    let mut table = table_at(servers, "kafka", &defaults);
    table.options.extend(
        options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    );
    table
}

fn upserted(broker: &Broker, options: &[(&str, &str)]) -> Table {
    let defaults = [
        ("topic", "orders"),
        ("key.format", "json"),
        ("value.format", "json"),
    ];
    let mut table = table(broker, "upsert-kafka", &[&defaults, options].concat());
    table.primary_key = vec![0];
    table
}

fn bounded<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("scan.bounded.mode", "latest-offset")], more].concat()
}

/// All polls of all partitions up to their end.
fn read(table: &Table, wanted: &[Column], rows_max: usize) -> Result<Vec<Polled>> {
    let source = crate::source(table, wanted)?;
    let mut polls = Vec::new();
    for partition in source.partitions()? {
        let mut reader = source.open(&partition, partition.start)?;
        loop {
            let polled = reader.poll(rows_max, Duration::from_millis(200))?;
            assert!(polled.delta.rows() <= rows_max);
            let state = polled.state;
            polls.push(polled);
            if state == State::End {
                break;
            }
        }
    }
    Ok(polls)
}

/// Weight and the BIGINT columns of each row.
fn rows(polls: &[Polled]) -> Vec<(i64, Vec<Option<i64>>)> {
    let mut rows = Vec::new();
    for polled in polls {
        for row in 0..polled.delta.rows() {
            let columns = polled.delta.batch().columns().iter();
            let value = |column: &arrow::array::ArrayRef| {
                let column = column.as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            rows.push((polled.delta.weight(row), columns.map(value).collect()));
        }
    }
    rows
}

fn ids(table: &Table) -> Vec<i64> {
    let polls = read(table, &columns::all(table, &[]), 1000).unwrap();
    rows(&polls)
        .iter()
        .map(|(_, row)| row[0].unwrap())
        .collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("{{\"id\":{n},\"qty\":{}}}", n * 2))
        .collect()
}
