use super::*;
use arrow::array::{Array, AsArray, RecordBatch, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Field, Int32Type, Int64Type, TimeUnit, TimestampMillisecondType};
use millstream_dataflow::{Place, TableColumn};

fn table(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> Table {
    let column = |(name, data_type): &(&str, DataType)| TableColumn {
        field: Field::new(*name, data_type.clone(), true),
        metadata: None,
        is_virtual: false,
    };
    let options = [("connector", "datagen"), ("rows-per-second", "1000000000")]
        .iter()
        .chain(options);
    Table {
        name: "made".into(),
        columns: columns.iter().map(column).collect(),
        options: options
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        ..Table::default()
    }
}

fn wanted(table: &Table) -> Vec<Column> {
    let columns = table.columns.iter();
    columns
        .map(|c| Column::whole(c.field.name(), c.field.data_type().clone()))
        .collect()
}

fn read(table: &Table, columns: &[Column], partition: usize, from: i64) -> RecordBatch {
    let source = crate::source(table, columns).unwrap();
    let partition = &source.partitions().unwrap()[partition];
    let mut reader = source.open(partition, Offset(from)).unwrap();
    let mut batches = Vec::new();
    loop {
        let polled = reader.poll(100, Duration::from_millis(10)).unwrap();
        batches.push(polled.delta.batch().clone());
        if polled.state == State::End {
            return arrow::compute::concat_batches(&source.schema(), &batches).unwrap();
        }
    }
}

#[test]
fn a_sequence_ends_the_table_and_random_values_keep_their_bounds() {
    let made = table(
        &[
            ("id", DataType::Int64),
            ("n", DataType::Int32),
            ("price", DataType::Decimal128(10, 2)),
            ("name", DataType::Utf8View),
        ],
        &[
            ("fields.id.kind", "sequence"),
            ("fields.id.start", "5"),
            ("fields.id.end", "1004"),
            ("fields.n.min", "-3"),
            ("fields.n.max", "3"),
            ("fields.n.null-rate", "0.5"),
            ("fields.price.max", "9.99"),
            ("fields.name.length", "8"),
            ("fields.name.var-len", "true"),
        ],
    );
    assert!(crate::check(&made).unwrap().source.unwrap().bounded);
    let batch = read(&made, &wanted(&made), 0, 0);
    assert_eq!(batch.num_rows(), 1000);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(999), 1004);
    let n = batch.column(1).as_primitive::<Int32Type>();
    assert!((400..600).contains(&n.null_count()), "{}", n.null_count());
    let seen: std::collections::BTreeSet<i32> = n.iter().flatten().collect();
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [-3, -2, -1, 0, 1, 2, 3]
    );
    let prices = batch
        .column(2)
        .as_primitive::<arrow::datatypes::Decimal128Type>();
    assert!(
        prices
            .values()
            .iter()
            .all(|price| (0..=999).contains(price))
    );
    let names = batch.column(3).as_string_view();
    assert!(
        names
            .iter()
            .flatten()
            .all(|name| (1..=8).contains(&name.len()))
    );
}

#[test]
fn rows_depend_on_their_number_and_the_seed_only() {
    let columns = [("a", DataType::Int64), ("b", DataType::Utf8View)];
    let whole = table(&columns, &[("number-of-rows", "500"), ("seed", "7")]);
    let all = read(&whole, &wanted(&whole), 0, 0);
    assert_eq!(read(&whole, &wanted(&whole), 0, 123), all.slice(123, 377));

    let mut parts = whole.clone();
    parts.options.insert("scan.parallelism".into(), "2".into());
    let odd = read(&parts, &wanted(&parts), 1, 0);
    assert_eq!(odd.slice(10, 1), all.slice(21, 1));

    let mut other = whole.clone();
    other.options.insert("seed".into(), "8".into());
    assert_ne!(read(&other, &wanted(&other), 0, 0), all);
}

#[test]
fn a_field_alone_is_the_field_of_the_whole_row() {
    let row = DataType::Struct(
        vec![
            Field::new("x", DataType::Int32, true),
            Field::new("tags", DataType::new_list(DataType::Utf8View, true), true),
        ]
        .into(),
    );
    let made = table(
        &[("r", row)],
        &[
            ("number-of-rows", "200"),
            ("fields.r.null-rate", "0.3"),
            ("fields.r.x.max", "9"),
            ("fields.r.x.min", "0"),
        ],
    );
    let whole = read(&made, &wanted(&made), 0, 0);
    let leaf = Column {
        field: Field::new("x", DataType::Int32, true),
        place: Place::Field(vec!["r".into(), "x".into()]),
    };
    let alone = read(&made, &[leaf], 0, 0);
    let row = whole.column(0).as_struct();
    let x = row.column(0).to_data().into_builder();
    let nulls = NullBuffer::union(row.column(0).nulls(), row.nulls());
    let inside = make_array(x.nulls(nulls).build().unwrap());
    assert!(inside.null_count() > 20);
    assert_eq!(&inside, alone.column(0));
}

#[test]
fn a_start_time_makes_times_reproducible() {
    let ts = DataType::Timestamp(TimeUnit::Millisecond, None);
    let mut made = table(
        &[("ts", ts)],
        &[("number-of-rows", "11"), ("start-time", "1000000")],
    );
    made.options.insert("rows-per-second".into(), "1000".into());
    let batch = read(&made, &wanted(&made), 0, 0);
    let times = batch.column(0).as_primitive::<TimestampMillisecondType>();
    assert_eq!(times.value(10), 1_000_010);
}

#[test]
fn wrong_options_are_named() {
    let made = table(&[("a", DataType::Int32)], &[("fields.a.mim", "1")]);
    let error = crate::check(&made).unwrap_err();
    assert_eq!(
        error.message,
        "table `made` has the unknown option 'fields.a.mim'"
    );
    assert_eq!(error.hint.as_deref(), Some("did you mean 'fields.a.min'?"));
    let made = table(&[("a", DataType::Int32)], &[("fields.a.max", "3000000000")]);
    assert!(
        crate::check(&made)
            .unwrap_err()
            .message
            .contains("fields.a.min")
    );
}

#[test]
fn partitions_can_be_cut_anywhere() {
    let options = [("number-of-rows", "61"), ("scan.parallelism", "2")];
    let table = table(&[("id", DataType::Int64)], &options);
    let source = crate::source(&table, &wanted(&table)).unwrap();
    assert_eq!(crate::tests::cuts_change_nothing(&*source, 7), 61);
}
