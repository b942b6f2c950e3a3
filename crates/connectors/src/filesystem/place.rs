//! Columns that have one value in a whole file: the metadata of the file, and PARTITIONED BY columns, whose values
//! are in the names of the directories (`country=FR/day=2024-01-01/part-0.json`).

use super::location::Entry;
use crate::{Metadata, columns};
use arrow::array::{
    ArrayRef, Int64Array, StringViewArray, TimestampMillisecondArray, new_null_array,
};
use arrow::datatypes::{DataType, TimeUnit};
use millstream_dataflow::{Column, Error, Place, Result, Table};
use std::sync::Arc;

/// The metadata of files.
pub(super) fn metadata() -> Vec<Metadata> {
    let offer = |key: &str, data_type| Metadata {
        key: key.to_owned(),
        data_type,
        writable: false,
    };
    vec![
        offer("file.path", DataType::Utf8View),
        offer("file.name", DataType::Utf8View),
        offer("file.size", DataType::Int64),
        offer(
            "file.modification-time",
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        ),
    ]
}

/// Where a wanted column of a file comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Slot {
    /// Decoded: the column of this number that the format gives.
    Decoded(usize),
    /// A metadata key of the file.
    File(String, DataType),
    /// The value of a directory's name.
    Directory(String, DataType),
}

/// Sorts the wanted columns into what the format shall decode and what the file itself says.
pub(super) fn slots(table: &Table, wanted: &[Column]) -> (Vec<Slot>, Vec<Column>) {
    let mut decoded = Vec::new();
    let partitioned = |name: &str| {
        table
            .partitioned_by
            .iter()
            .any(|idx| table.columns[*idx].field.name() == name)
    };
    let slot = |column: &Column| {
        let data_type = column.field.data_type().clone();
        match &column.place {
            Place::Metadata(key) if key.starts_with("file.") => Slot::File(key.clone(), data_type),
            Place::Field(path) if path.len() == 1 && partitioned(&path[0]) => {
                Slot::Directory(path[0].clone(), data_type)
            }
            Place::Metadata(_) | Place::Field(_) => {
                decoded.push(column.clone());
                Slot::Decoded(decoded.len() - 1)
            }
        }
    };
    let slots = wanted.iter().map(slot).collect();
    (slots, decoded)
}

/// The value of a slot in a file, as an array of one; `None` where the format decodes it.
pub(super) fn value(slot: &Slot, file: &Entry, null_directory: &str) -> Result<Option<ArrayRef>> {
    let (array, data_type): (ArrayRef, _) = match slot {
        Slot::Decoded(_) => return Ok(None),
        Slot::File(key, data_type) => {
            let array: ArrayRef = match key.as_str() {
                "file.path" => text(&file.name),
                "file.name" => text(file.name.rsplit('/').next().unwrap_or_default()),
                "file.size" => Arc::new(Int64Array::from_value(file.size.cast_signed(), 1)),
                _ => {
                    let time = TimestampMillisecondArray::from_value(file.modified_ms, 1);
                    Arc::new(time.with_timezone("UTC"))
                }
            };
            (array, data_type)
        }
        Slot::Directory(name, data_type) => match directory(&file.name, name) {
            None => {
                return Err(Error::user(format!(
                    "the file '{}' is in no directory `{name}=...`, but the table is PARTITIONED BY it",
                    file.name
                )));
            }
            Some(value) if value == null_directory => (new_null_array(data_type, 1), data_type),
            Some(value) => (text(&value), data_type),
        },
    };
    columns::to_type(array, data_type)
        .map(Some)
        .map_err(|error| {
            Error::user(format!(
                "the name of the file '{}' does not fit its column",
                file.name
            ))
            .detail(error.message)
        })
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values([value]))
}

/// The value that a directory `name=value` of a path gives.
fn directory(path: &str, name: &str) -> Option<String> {
    let (directories, _) = path.rsplit_once('/')?;
    directories.split('/').rev().find_map(|directory| {
        let (key, value) = directory.split_once('=')?;
        (key == name).then(|| super::location::percent_decoded(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::Date32Type;

    #[test]
    fn directories_and_files_give_values() {
        let file = Entry {
            name: "/data/day=2024-01-02/country=C%C3%B4te/part-0.json".into(),
            size: 7,
            modified_ms: 0,
        };
        let of = |slot| value(&slot, &file, "__NULL__").unwrap().unwrap();
        let day = of(Slot::Directory("day".into(), DataType::Date32));
        assert_eq!(day.as_primitive::<Date32Type>().value(0), 19_724);
        let country = of(Slot::Directory("country".into(), DataType::Utf8View));
        assert_eq!(country.as_string_view().value(0), "Côte");
        let name = of(Slot::File("file.name".into(), DataType::Utf8View));
        assert_eq!(name.as_string_view().value(0), "part-0.json");
        let error = value(
            &Slot::Directory("sku".into(), DataType::Utf8View),
            &file,
            "",
        )
        .unwrap_err();
        assert!(error.message.contains("`sku=...`"), "{error}");
        let error = value(
            &Slot::Directory("country".into(), DataType::Int32),
            &file,
            "",
        )
        .unwrap_err();
        assert!(error.message.contains("does not fit"), "{error}");
    }
}
