use super::*;
use millstream_dataflow::testing::delta;
use millstream_dataflow::{Kind, Step};
use std::io::{self, Write};
use std::sync::Mutex;

fn table(options: &[(&str, &str)]) -> Table {
    Table {
        name: "t".into(),
        options: options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        ..Table::default()
    }
}

#[test]
fn an_unknown_connector_is_refused_with_the_nearest_name() {
    let error = check(&table(&[("connector", "blackhol")])).unwrap_err();
    assert_eq!(error.kind, Kind::User);
    assert_eq!(
        error.message,
        "table `t` has the unknown connector 'blackhol'"
    );
    assert_eq!(error.hint.as_deref(), Some("did you mean 'blackhole'?"));
    let error = check(&table(&[("connector", "mq")])).unwrap_err();
    assert!(error.hint.unwrap().contains("nexmark"));
    let error = check(&table(&[])).unwrap_err();
    assert_eq!(error.message, "table `t` needs the option 'connector'");
}

#[test]
fn one_way_connectors_refuse_the_other_way() {
    let print = table(&[("connector", "print")]);
    assert_eq!(check(&print).unwrap().source, None);
    let error = source(&print, &[]).unwrap_err();
    assert_eq!(
        error.message,
        "table `t` cannot be read: the connector 'print' only writes"
    );
    let error = sink(&table(&[("connector", "nexmark")])).unwrap_err();
    assert!(error.message.contains("cannot be written"), "{error}");
}

#[test]
fn metadata_that_is_not_offered_is_refused() {
    let mut given = table(&[("connector", "blackhole")]);
    given.columns.push(millstream_dataflow::TableColumn {
        field: arrow::datatypes::Field::new("p", DataType::Int32, true),
        metadata: Some("partition".into()),
        is_virtual: true,
    });
    let error = check(&given).unwrap_err();
    assert!(
        error.message.contains("metadata key 'partition'"),
        "{error}"
    );
}

/// Output that tests can look into.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn print_writes_lines_where_the_process_says() {
    let output = Shared::default();
    print::set_output(Box::new(output.clone()));
    let sink = sink(&table(&[
        ("connector", "print"),
        ("print-identifier", "out"),
    ]))
    .unwrap();
    let mut writer = sink.open().unwrap();
    writer
        .write(Step(1), &delta("a text, n int", "+1 x 1 / -1 y NULL"))
        .unwrap();
    writer.commit(Step(1)).unwrap();
    let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text, "out> +I[x, 1]\nout> -D[y, null]\n");
}
