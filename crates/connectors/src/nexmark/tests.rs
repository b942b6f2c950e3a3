use super::*;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, TimeUnit, TimestampMillisecondType};
use millstream_dataflow::{Place, TableColumn};

fn table(options: &[(&str, &str)]) -> Table {
    let bid = DataType::Struct(
        vec![
            Field::new("auction", DataType::Int64, true),
            Field::new("price", DataType::Int64, true),
            Field::new(
                "dateTime",
                DataType::Timestamp(TimeUnit::Millisecond, None),
                true,
            ),
        ]
        .into(),
    );
    let column = |name: &str, data_type| TableColumn {
        field: Field::new(name, data_type, true),
        metadata: None,
        is_virtual: false,
    };
    let mut options: Vec<_> = options.to_vec();
    options.push(("connector", "nexmark"));
    Table {
        name: "events".into(),
        columns: vec![column("event_type", DataType::Int32), column("bid", bid)],
        options: options
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
        ..Table::default()
    }
}

fn price() -> [Column; 2] {
    let leaf = |name: &str, data_type| Column {
        field: Field::new(name, data_type, true),
        place: Place::Field(vec!["bid".into(), name.into()]),
    };
    [
        leaf("price", DataType::Int64),
        leaf("dateTime", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ]
}

fn read(source: &dyn Source, partition: usize, from: i64, rows_max: usize) -> RecordBatch {
    let partition = &source.partitions().unwrap()[partition];
    let mut reader = source.open(partition, Offset(from)).unwrap();
    let mut batches = Vec::new();
    loop {
        let polled = reader.poll(rows_max, Duration::from_millis(1)).unwrap();
        batches.push(polled.delta.batch().clone());
        if polled.state == State::End {
            return arrow::compute::concat_batches(&source.schema(), &batches).unwrap();
        }
    }
}

#[test]
fn partitions_cover_the_events_and_offsets_resume() {
    let whole = crate::source(&table(&[("events", "1001")]), &price()).unwrap();
    let whole = read(&*whole, 0, 0, 100_000);
    assert_eq!(whole.num_rows(), 1001);
    let bids = whole.column(0).as_primitive::<Int64Type>();
    assert_eq!(
        bids.len() - arrow::array::Array::null_count(bids),
        46 * 20,
        "20 rounds and a person"
    );

    let parts = crate::source(&table(&[("events", "1001"), ("parts", "3")]), &price()).unwrap();
    let second = read(&*parts, 1, 0, 7);
    assert_eq!(second.num_rows(), 334);
    for row in 0..second.num_rows() {
        assert_eq!(second.slice(row, 1), whole.slice(row * 3 + 1, 1));
    }
    assert_eq!(read(&*parts, 1, 300, 1000), second.slice(300, 34));
}

#[test]
fn a_partition_can_be_read_up_to_an_offset() {
    let source = crate::source(&table(&[("events", "1000")]), &price()).unwrap();
    let mut partition = source.partitions().unwrap().remove(0);
    partition.end = Some(Offset(70));
    let mut reader = source.open(&partition, Offset(60)).unwrap();
    let polled = reader.poll(100, Duration::ZERO).unwrap();
    assert_eq!((polled.delta.rows(), polled.state), (10, State::End));
}

#[test]
fn preloaded_events_are_the_same_events() {
    let options = [("events", "20000"), ("parts", "2")];
    let generated = crate::source(&table(&options), &price()).unwrap();
    let mut preloaded = options.to_vec();
    preloaded.push(("preload", "true"));
    let preloaded = crate::source(&table(&preloaded), &price()).unwrap();
    assert_eq!(read(&*generated, 1, 5, 3000), read(&*preloaded, 1, 5, 3000));
}

#[test]
fn the_first_event_has_the_base_time_and_the_rate_spreads_the_rest() {
    let source = crate::source(&table(&[("events", "101"), ("rate", "100")]), &price()).unwrap();
    let batch = read(&*source, 0, 0, 1000);
    let times = batch.column(1).as_primitive::<TimestampMillisecondType>();
    assert_eq!(times.value(4), 1_704_067_200_040);
    assert_eq!(times.value(99), 1_704_067_200_990);
}

#[test]
fn declared_columns_must_fit() {
    let mut wrong = table(&[]);
    wrong.columns[1].field = Field::new("bids", DataType::Int32, true);
    let error = crate::check(&wrong).unwrap_err();
    assert_eq!(
        error.message,
        "table `events`: nexmark has no column `bids`"
    );
    assert_eq!(error.hint.as_deref(), Some("did you mean `bid`?"));
    let reads = crate::check(&table(&[])).unwrap().source.unwrap();
    assert!(!reads.bounded);
}

#[test]
fn partitions_can_be_cut_anywhere() {
    for preload in ["false", "true"] {
        let options = [("events", "61"), ("parts", "2"), ("preload", preload)];
        let source = crate::source(&table(&options), &price()).unwrap();
        assert_eq!(crate::tests::cuts_change_nothing(&*source, 7), 61);
    }
}
