//! What readers see is what checkpoints committed, wherever the process was killed and whatever failed.

mod crashes;
mod faulty;
mod full;

use super::super::location::Location;
use super::super::remote::{Remote, Store, runtime};
use super::super::{Settings, columns};
use super::log::ListFormat;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type};
use faulty::Faulty;
use millstream_dataflow::sink::{Sink, Writer};
use millstream_dataflow::source::{Offset, State};
use millstream_dataflow::{Delta, Options, Step, Table, TableColumn};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A table that is written and read, in a folder or in a store that fails.
struct Sales {
    table: Table,
    location: Location,
    faulty: Option<Arc<Faulty>>,
    _folder: Option<TempDir>,
}

impl Sales {
    fn local(options: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Local(folder.path().join("sales"));
        Self::new(options, location, None, Some(folder))
    }

    fn remote(options: &[(&str, &str)]) -> Self {
        let faulty = Arc::new(Faulty::default());
        let store: Arc<dyn Store> = Arc::clone(&faulty) as _;
        let location = Location::Remote(Remote::in_store(&store, "lake/sales"));
        Self::new(options, location, Some(faulty), None)
    }

    fn new(
        options: &[(&str, &str)],
        location: Location,
        faulty: Option<Arc<Faulty>>,
        folder: Option<TempDir>,
    ) -> Self {
        let column = |(name, data_type): (&str, DataType)| TableColumn {
            field: Field::new(name, data_type, true),
            metadata: None,
            is_virtual: false,
        };
        let columns = [("country", DataType::Utf8View), ("id", DataType::Int64)];
        let options = [("path", "unused")].iter().chain(options);
        let table = Table {
            name: "sales".into(),
            columns: columns.map(column).into(),
            options: options
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            partitioned_by: vec![0],
            ..Table::default()
        };
        Self {
            table,
            location,
            faulty,
            _folder: folder,
        }
    }

    fn settings(&self) -> Settings {
        let mut settings =
            Settings::new(Options::new("sales", self.table.options.clone())).unwrap();
        settings.location = self.location.clone();
        settings
    }

    fn open(&self) -> Box<dyn Writer> {
        self.settings().sink(&self.table).unwrap().open().unwrap()
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(self.settings().sink(&self.table).unwrap())
    }

    /// The ids in all visible files.
    fn visible(&self) -> Vec<i64> {
        let files = self.location.files().unwrap_or_default();
        self.ids(files.into_iter().map(|file| file.name).collect())
    }

    /// The ids in the files that the table lists.
    fn listed(&self) -> Vec<i64> {
        let files = log_of(self).into_iter();
        self.ids(
            files
                .map(|file| format!("{}/{file}", self.location))
                .collect(),
        )
    }

    fn ids(&self, files: Vec<String>) -> Vec<i64> {
        let wanted = columns::all(&self.table, &[]);
        let source = self.settings().source(&self.table, &wanted).unwrap();
        let mut ids = Vec::new();
        for name in files {
            let partition = millstream_dataflow::source::Partition {
                name,
                start: Offset(0),
                end: None,
            };
            let mut reader = source.open(&partition, Offset(0)).unwrap();
            loop {
                let polled = reader.poll(1000, Duration::ZERO).unwrap();
                ids.extend(polled.delta.column(1).as_primitive::<Int64Type>().values());
                if polled.state == State::End {
                    break;
                }
            }
        }
        ids.sort_unstable();
        ids
    }

    /// How much is staged: files, or uploads and notes of them.
    fn staged(&self) -> usize {
        match (&self.location, &self.faulty) {
            (Location::Remote(remote), Some(faulty)) => {
                let notes = remote.list("_millstream/staged", None);
                runtime().unwrap().block_on(notes).unwrap().len() + faulty.uploads()
            }
            (Location::Local(root), _) => {
                let pattern = format!("{}/_millstream/staged/*/*", root.display());
                glob::glob(&pattern).unwrap().count()
            }
            (Location::Remote(_), None) => 0,
        }
    }

    fn assert_holds(&self, ids: std::ops::Range<i64>, when: &str) {
        let ids: Vec<i64> = ids.collect();
        assert_eq!(self.visible(), ids, "visible {when}");
        assert_eq!(self.listed(), ids, "listed {when}");
    }
}

/// The files that a table's list names, read as a stranger would.
fn log_of(sales: &Sales) -> Vec<String> {
    let sink = sales.settings().sink(&sales.table).unwrap();
    let delta = matches!(sink.list, ListFormat::Delta(_));
    let (folder, extension) = match delta {
        true => ("_delta_log", ".json"),
        false => ("_millstream/commits", ".commit"),
    };
    let records = super::records::Records::new(sales.location.clone(), folder, extension);
    let mut files = std::collections::BTreeSet::new();
    for number in records.numbers(0).unwrap() {
        let bytes = records.read(number).unwrap().unwrap();
        for line in std::str::from_utf8(&bytes).unwrap().lines() {
            let action: serde_json::Value = serde_json::from_str(line).unwrap();
            let texts = |value: &serde_json::Value| -> Vec<String> {
                let all = value.as_array().cloned().unwrap_or_default();
                let path = |one: &serde_json::Value| {
                    one.as_str().or(one["path"].as_str()).unwrap().to_owned()
                };
                all.iter().map(path).collect()
            };
            let (added, removed) = match delta {
                true => {
                    let path = |of: &str| {
                        action[of]["path"]
                            .as_str()
                            .map(|path| vec![super::super::location::percent_decoded(path)])
                    };
                    (
                        path("add").unwrap_or_default(),
                        path("remove").unwrap_or_default(),
                    )
                }
                false => (texts(&action["added"]), texts(&action["removed"])),
            };
            for file in added {
                assert!(files.insert(file), "a file is added twice");
            }
            for file in removed {
                assert!(files.remove(&file), "a file that is not there is removed");
            }
        }
    }
    files.into_iter().collect()
}

/// Rows of these ids, of two countries in turn.
fn rows(ids: std::ops::Range<i64>) -> Delta {
    let rows: Vec<String> = ids
        .map(|id| format!("+1 {} {id}", if id % 2 == 0 { "FR" } else { "C:e" }))
        .collect();
    millstream_dataflow::testing::delta("country text, id bigint", &rows.join(" / "))
}

/// Every kind of table.
fn tables() -> Vec<(String, Sales)> {
    let formats: [&[(&str, &str)]; 4] = [
        &[("format", "json")],
        &[
            ("format", "csv"),
            ("compression", "gzip"),
            ("sink.commit-format", "manifest"),
        ],
        &[("format", "parquet")],
        &[("format", "parquet"), ("sink.commit-format", "delta")],
    ];
    let both = |options: &&[(&str, &str)]| {
        [
            (format!("local {options:?}"), Sales::local(options)),
            (format!("remote {options:?}"), Sales::remote(options)),
        ]
    };
    formats.iter().flat_map(both).collect()
}

/// The process is killed: nothing of a writer is cleaned up.
fn kill(writer: Box<dyn Writer>) {
    std::mem::forget(writer);
}

fn write(writer: &mut dyn Writer, ids: std::ops::Range<i64>) {
    writer.write(Step(0), &rows(ids)).unwrap();
}
