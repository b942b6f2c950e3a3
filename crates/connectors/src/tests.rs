use super::*;
use millstream_dataflow::source::{Offset, Partition, Polled, State};
use millstream_dataflow::testing::delta;
use millstream_dataflow::{Delta, Kind, Step};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Duration;

/// Reads every partition to its end, cut at every place where a row or a bad record stands or a poll ended: the rows
/// before the cut, and those of a reader that is opened there, are all rows. Gives how many rows there are.
pub(crate) fn cuts_change_nothing(source: &dyn Source, rows_max: usize) -> usize {
    let mut rows = 0;
    for partition in source.partitions().unwrap() {
        let polls = polls(source, &partition, partition.start, rows_max);
        let all: Vec<Delta> = polls.iter().map(|polled| polled.delta.clone()).collect();
        let all = Delta::concat(&source.schema(), &all).unwrap();
        rows += all.rows();
        let mut places: BTreeSet<Offset> = polls.iter().map(|polled| polled.position).collect();
        for polled in &polls {
            places.extend((0..polled.delta.rows()).map(|row| polled.offsets.get(row)));
            places.extend(polled.bad.iter().map(|bad| bad.offset));
        }
        for cut in places {
            let before = |polled: &Polled| {
                let rows = polled.offsets.before(cut, polled.delta.rows());
                polled.delta.slice(0, rows)
            };
            let mut parts: Vec<Delta> = polls.iter().map(before).collect();
            let after = self::polls(source, &partition, cut, rows_max);
            parts.extend(after.into_iter().map(|polled| polled.delta));
            let parts = Delta::concat(&source.schema(), &parts).unwrap();
            assert_eq!(parts.batch(), all.batch(), "cut at {cut:?}");
            assert_eq!(parts.weight_array(), all.weight_array(), "cut at {cut:?}");
        }
    }
    rows
}

/// The polls of a partition up to its end, whose rows stand, ascending, between the positions before and behind.
fn polls(source: &dyn Source, partition: &Partition, from: Offset, rows_max: usize) -> Vec<Polled> {
    let mut reader = source.open(partition, from).unwrap();
    let mut polls = Vec::new();
    let mut at = from;
    loop {
        let polled = reader.poll(rows_max, Duration::from_millis(20)).unwrap();
        for row in 0..polled.delta.rows() {
            let offset = polled.offsets.get(row);
            assert!(
                at <= offset && offset < polled.position,
                "{at:?} {polled:?}"
            );
            at = offset;
        }
        at = polled.position;
        let ended = polled.state == State::End;
        polls.push(polled);
        if ended {
            return polls;
        }
    }
}

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
