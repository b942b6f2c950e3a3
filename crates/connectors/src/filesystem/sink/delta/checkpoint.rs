//! Checkpoints of the log: what all commits up to one come to, as rows of a Parquet file, one for each action that still
//! holds.
//!
//! ```text
//! the checkpoint before, without what has changed since  +  the commits since  ->  <number>.checkpoint.parquet
//!                                                                                   _last_checkpoint
//! ```

use super::super::records::Records;
use super::definition::Definition;
use super::{actions, percent_decoded};
use crate::clock;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, StructArray, make_array,
    new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use bytes::Bytes;
use millstream_dataflow::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many commits are summed up at a time.
const EVERY: u64 = 100;

/// Removed files are remembered so long, for those who delete them (Delta's default).
const REMEMBERED_MS: i64 = 7 * 24 * 60 * 60 * 1000;

const LAST: &str = "_last_checkpoint";

fn name(number: u64) -> String {
    format!("{number:020}.checkpoint.parquet")
}

/// The number of the last checkpoint that is one file.
pub(super) fn last(records: &Records) -> Result<Option<u64>> {
    let Some(bytes) = records.read_name(LAST)? else {
        return Ok(None);
    };
    let last: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let of_parts = last.get("parts").is_some_and(|parts| !parts.is_null());
    Ok(last["version"].as_u64().filter(|_| !of_parts))
}

/// The actions of a checkpoint that say what the table is.
pub(super) fn definition(records: &Records, number: u64) -> Result<Vec<Value>> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::user(format!(
            "checkpoint {number} of the Delta table's log cannot be read"
        ))
        .detail(error.to_string())
    };
    let Some(bytes) = records.read_name(&name(number))? else {
        return Ok(Vec::new());
    };
    let batches = read(bytes, &["protocol", "metaData"]).map_err(|error| failed(&*error))?;
    let mut json = LineDelimitedWriter::new(Vec::new());
    for batch in &batches {
        let says = |row| batch.columns().iter().any(|column| column.is_valid(row));
        let says: BooleanArray = (0..batch.num_rows()).map(|row| Some(says(row))).collect();
        let written = filter_record_batch(batch, &says).and_then(|batch| json.write(&batch));
        written.map_err(|error| failed(&error))?;
    }
    json.finish().map_err(|error| failed(&error))?;
    actions(&json.into_inner()).map_err(|error| failed(&error))
}

/// Sums up the commits up to one that was just made, if it is time to. Without it readers have more to read, no less: a
/// failure is only told.
pub(in super::super) fn sum_up(records: &Records, number: u64) {
    if number == 0 || !number.is_multiple_of(EVERY) {
        return;
    }
    match write(records, number) {
        Ok(()) => {}
        Err(error) => {
            tracing::warn!(number, %error, "the log of a Delta table could not be summed up")
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn write(records: &Records, number: u64) -> Result<(), Failure> {
    let before = last(records)?;
    let mut changes = Changes::default();
    for number in before.map_or(0, |before| before + 1)..=number {
        let bytes = records.read(number)?.ok_or("a commit is gone")?;
        for action in actions(&bytes)? {
            changes.take(action);
        }
    }
    let mut kept = Vec::new();
    if let Some(before) = before {
        for action in definition(records, before)? {
            changes.definition.take(&mut action.clone());
        }
        let bytes = records.read_name(&name(before))?.ok_or("it is gone")?;
        for batch in read(bytes, &[])? {
            kept.push(changes.unchanged(&batch)?);
        }
    }
    if !changes.is_simple() {
        // The table has been extended by another program, which sums it up.
        return Ok(());
    }
    kept.push(changes.rows()?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties))?;
    let (mut rows, mut added) = (0, 0);
    for batch in &kept {
        writer.write(batch)?;
        rows += batch.num_rows();
        added += batch.num_rows() - batch.column(ADD).null_count();
    }
    let bytes = writer.into_inner()?;
    let length = bytes.len();
    records.replace_name(&name(number), bytes)?;
    let last =
        json!({"version": number, "size": rows, "sizeInBytes": length, "numOfAddFiles": added});
    records.replace_name(LAST, last.to_string().into_bytes())?;
    Ok(())
}

/// The actions of some commits that no later one among them undoes.
#[derive(Default)]
struct Changes {
    definition: Definition,
    /// By the application.
    transactions: BTreeMap<String, Value>,
    /// The last `add` or `remove` of each file, by its decoded path: not all programs encode alike.
    files: BTreeMap<String, Value>,
}

impl Changes {
    /// Takes the next action, which overrules earlier ones.
    fn take(&mut self, mut action: Value) {
        let mut later = Definition::default();
        later.take(&mut action);
        self.definition.protocol = later.protocol.or(self.definition.protocol.take());
        self.definition.metadata = later.metadata.or(self.definition.metadata.take());
        if let Some(app) = action["txn"]["appId"].as_str() {
            self.transactions.insert(app.to_owned(), action);
            return;
        }
        for kind in ["add", "remove"] {
            if let Some(path) = action[kind]["path"].as_str() {
                let path = percent_decoded(path);
                action[kind]["dataChange"] = json!(false);
                self.files.insert(path, action);
                return;
            }
        }
    }

    /// Whether the table is as this program makes them.
    fn is_simple(&self) -> bool {
        let Some(protocol) = &self.definition.protocol else {
            return false;
        };
        let ntz = json!(["timestampNtz"]);
        let plain =
            protocol["minReaderVersion"] == json!(1) && protocol["minWriterVersion"] == json!(2);
        plain || (protocol["readerFeatures"] == ntz && protocol["writerFeatures"] == ntz)
    }

    /// The rows of an earlier checkpoint that these changes leave as they are, of the definition none.
    fn unchanged(&self, batch: &RecordBatch) -> Result<RecordBatch, Failure> {
        let forget_before = clock::wall_ms() - REMEMBERED_MS;
        let apps = text(batch, TXN)?;
        let (added, removed) = (text(batch, ADD)?, text(batch, REMOVE)?);
        let removed_at = field(batch, REMOVE, 1)?;
        let removed_at = removed_at.as_primitive::<Int64Type>();
        let changed =
            |paths: &StringArray, row| self.files.contains_key(&percent_decoded(paths.value(row)));
        let holds = |row: usize| {
            let remembered = removed_at.is_valid(row) && removed_at.value(row) >= forget_before;
            (apps.is_valid(row) && !self.transactions.contains_key(apps.value(row)))
                || (added.is_valid(row) && !changed(&added, row))
                || (removed.is_valid(row) && remembered && !changed(&removed, row))
        };
        let holds: BooleanArray = (0..batch.num_rows()).map(|row| Some(holds(row))).collect();
        Ok(filter_record_batch(batch, &holds)?)
    }

    /// These changes as rows.
    fn rows(&self) -> Result<RecordBatch, Failure> {
        let mut actions = vec![
            json!({"protocol": self.definition.protocol}),
            json!({"metaData": self.definition.metadata}),
        ];
        actions.extend(self.transactions.values().cloned());
        actions.extend(self.files.values().cloned());
        let mut decoder = ReaderBuilder::new(schema())
            .with_batch_size(actions.len())
            .build_decoder()?;
        decoder.serialize(&actions)?;
        Ok(decoder.flush()?.ok_or("there is no action")?)
    }
}

/// A field in the actions of one kind; NULL where the action is another one, also if the field is never NULL.
fn field(batch: &RecordBatch, column: usize, field: usize) -> Result<ArrayRef, Failure> {
    let action = batch.column(column).as_struct();
    let values = action.column(field);
    let nulls = NullBuffer::union(action.nulls(), values.nulls());
    Ok(make_array(
        values.to_data().into_builder().nulls(nulls).build()?,
    ))
}

fn text(batch: &RecordBatch, column: usize) -> Result<StringArray, Failure> {
    let text = cast(&field(batch, column, 0)?, &DataType::Utf8)?;
    Ok(text.as_string().clone())
}

const TXN: usize = 0;
const ADD: usize = 1;
const REMOVE: usize = 2;

/// The columns of a checkpoint: one for each kind of action.
fn schema() -> SchemaRef {
    let of = |name: &str, data_type| Field::new(name, data_type, true);
    let text = |name: &str| of(name, DataType::Utf8);
    let long = |name: &str| of(name, DataType::Int64);
    let flag = |name: &str| of(name, DataType::Boolean);
    let map = |name: &str| {
        let entry = Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, true),
        ]);
        let entries = Field::new("key_value", DataType::Struct(entry), false);
        of(name, DataType::Map(Arc::new(entries), false))
    };
    let texts = |name: &str| {
        let element = Field::new("element", DataType::Utf8, true);
        of(name, DataType::List(Arc::new(element)))
    };
    let action = |name: &str, fields: Vec<Field>| of(name, DataType::Struct(fields.into()));
    let format = action("format", vec![text("provider"), map("options")]);
    Arc::new(Schema::new(vec![
        action(
            "txn",
            vec![text("appId"), long("version"), long("lastUpdated")],
        ),
        action(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                flag("dataChange"),
                text("stats"),
                map("tags"),
            ],
        ),
        action(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                flag("dataChange"),
                flag("extendedFileMetadata"),
                map("partitionValues"),
                long("size"),
            ],
        ),
        action(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                format,
                text("schemaString"),
                texts("partitionColumns"),
                map("configuration"),
                long("createdTime"),
            ],
        ),
        action(
            "protocol",
            vec![
                of("minReaderVersion", DataType::Int32),
                of("minWriterVersion", DataType::Int32),
                texts("readerFeatures"),
                texts("writerFeatures"),
            ],
        ),
    ]))
}

/// The rows of a checkpoint, whoever wrote it, with the columns of `schema`, or some of them.
fn read(bytes: Bytes, only: &[&str]) -> Result<Vec<RecordBatch>, Failure> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let roots = builder.schema().fields().iter().enumerate();
    let wanted =
        roots.filter(|(_, field)| only.is_empty() || only.contains(&field.name().as_str()));
    let wanted: Vec<usize> = wanted.map(|(idx, _)| idx).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let fields = schema();
    let fields = fields.fields().iter();
    let fields = fields.filter(|field| only.is_empty() || only.contains(&field.name().as_str()));
    let fields: Fields = fields.cloned().collect();
    let own = Arc::new(Schema::new(fields.clone()));
    builder
        .with_projection(mask)
        .build()?
        .map(|batch| {
            let rows = StructArray::from(batch?);
            let rows = as_type(
                &(Arc::new(rows) as ArrayRef),
                &DataType::Struct(fields.clone()),
            )?;
            let columns = rows.as_struct().columns().to_vec();
            Ok(RecordBatch::try_new(Arc::clone(&own), columns)?)
        })
        .collect()
}

/// The same values with these fields only; those that are not there are NULL.
fn as_type(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Failure> {
    let (DataType::Struct(fields), Some(row)) = (wanted, array.as_struct_opt()) else {
        return Ok(cast(array, wanted)?);
    };
    let columns = fields
        .iter()
        .map(|field| match row.column_by_name(field.name()) {
            Some(column) => as_type(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), row.len())),
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(Arc::new(StructArray::try_new(
        fields.clone(),
        columns,
        row.nulls().cloned(),
    )?))
}

#[cfg(test)]
mod tests {
    use super::super::super::super::location::Location;
    use super::super::super::log::{Commit, ListFormat, Log};
    use super::super::super::prepared::DataFile;
    use super::super::DeltaTable;
    use super::*;
    use std::collections::BTreeSet;

    fn file(number: u64) -> DataFile {
        DataFile {
            path: format!("day=a b/part-{number}"),
            bytes: number,
            rows: 1,
            partition: serde_json::Map::from_iter([("day".to_owned(), json!("a b"))]),
            upload: None,
        }
    }

    /// The files that a checkpoint adds and removes.
    fn files(records: &Records, number: u64) -> (BTreeSet<String>, BTreeSet<String>) {
        let bytes = records.read_name(&name(number)).unwrap().unwrap();
        let (mut added, mut removed) = (BTreeSet::new(), BTreeSet::new());
        for batch in read(bytes, &[]).unwrap() {
            for (column, files) in [(ADD, &mut added), (REMOVE, &mut removed)] {
                for path in text(&batch, column).unwrap().iter().flatten() {
                    assert!(files.insert(path.to_owned()), "{path} is there twice");
                }
            }
        }
        (added, removed)
    }

    #[test]
    fn a_checkpoint_is_what_all_commits_come_to() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Local(folder.path().to_path_buf());
        let records = Records::new(location.clone(), "_delta_log", ".json");
        let day = Field::new("day", DataType::Utf8View, true);
        let id = Field::new("id", DataType::Int64, true);
        let table = DeltaTable::new("t", &[&id, &day], vec!["day".into()]).unwrap();
        let table = Arc::new(table);
        let mut log = Log::new(location, ListFormat::Delta(Arc::clone(&table)));
        // Two writers take turns; each third file is taken back by the commit after it.
        let path = |number| file(number).path;
        for number in 0..205 {
            let (own, taken_back) = (file(number), path(number.saturating_sub(1)));
            let takes_back = number % 3 == 1;
            let commit = Commit {
                writer: if number % 2 == 0 { "a" } else { "b" },
                number,
                added: vec![&own],
                removed: takes_back
                    .then_some(taken_back.as_str())
                    .into_iter()
                    .collect(),
            };
            assert!(log.commit(0, &commit).unwrap());
        }
        assert_eq!(last(&records).unwrap(), Some(200));
        for at in [100, 200] {
            let gone = |number: &u64| number.is_multiple_of(3) && *number < at;
            let encoded = |number| path(number).replace(' ', "%20");
            let (added, removed) = files(&records, at);
            assert_eq!(removed, (0..=at).filter(gone).map(encoded).collect());
            let stays = (0..=at).filter(|number| !gone(number));
            assert_eq!(added, stays.map(encoded).collect());
        }
        // The commits below it may go.
        for number in 0..200 {
            std::fs::remove_file(folder.path().join(format!("_delta_log/{number:020}.json")))
                .unwrap();
        }
        super::super::check(&table, &records, 205).unwrap();
        let other = DeltaTable::new("t", &[&day], vec!["day".into()]).unwrap();
        super::super::check(&other, &records, 205).unwrap();
        let more = Field::new("more", DataType::Int64, true);
        let other = DeltaTable::new("t", &[&more, &day], vec!["day".into()]).unwrap();
        let error = super::super::check(&other, &records, 205).unwrap_err();
        assert!(error.to_string().contains("no column \"more\""), "{error}");
    }
}
