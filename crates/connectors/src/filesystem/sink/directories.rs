//! The rows of a delta by the directory that they belong in: `country=FR/day=2024-01-01`, from the values of the
//! PARTITIONED BY columns.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use millstream_dataflow::{Delta, Result};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// How rows are spread over directories.
#[derive(Clone, Debug)]
pub(in super::super) struct Directories {
    /// The PARTITIONED BY columns: their names, and where they stand in the sink's rows.
    columns: Vec<(String, usize)>,
    /// The directory of a NULL or an empty text.
    null_directory: String,
}

/// The rows of a directory.
#[derive(Debug)]
pub(super) struct Share {
    /// Its path under the table, without a slash at the end.
    pub(super) directory: String,
    /// The values of the PARTITIONED BY columns, as text or NULL.
    pub(super) values: Map<String, Value>,
    pub(super) delta: Delta,
}

impl Directories {
    pub(in super::super) fn new(columns: Vec<(String, usize)>, null_directory: String) -> Self {
        Self {
            columns,
            null_directory,
        }
    }

    /// The rows of each directory, in the order in which the directories appear.
    pub(super) fn split(&self, delta: &Delta) -> Result<Vec<Share>> {
        if self.columns.is_empty() {
            return Ok(vec![Share {
                directory: String::new(),
                values: Map::new(),
                delta: delta.clone(),
            }]);
        }
        let keys: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|(_, idx)| ArrayRef::clone(delta.column(*idx)))
            .collect();
        let fields = keys
            .iter()
            .map(|key| SortField::new(key.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let rows = converter.convert_columns(&keys)?;
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut group_of: HashMap<&[u8], usize> = HashMap::new();
        for row in 0..delta.rows() {
            let group = *group_of.entry(rows.row(row).data()).or_insert(groups.len());
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push(row as u32);
        }
        let texts = keys.iter().map(text).collect::<Result<Vec<_>>>()?;
        groups
            .into_iter()
            .map(|rows| {
                let first = rows[0] as usize;
                Ok(Share {
                    directory: self.directory(&texts, first),
                    values: self.values(&texts, first),
                    delta: delta.take(&UInt32Array::from(rows))?,
                })
            })
            .collect()
    }

    fn directory(&self, texts: &[ArrayRef], row: usize) -> String {
        let part = |((name, _), texts): (&(String, usize), &ArrayRef)| {
            let texts = texts.as_string::<i32>();
            let value = match texts.is_null(row) || texts.value(row).is_empty() {
                true => self.null_directory.clone(),
                false => escaped(texts.value(row)),
            };
            format!("{}={value}", escaped(name))
        };
        let parts: Vec<String> = self.columns.iter().zip(texts).map(part).collect();
        parts.join("/")
    }

    fn values(&self, texts: &[ArrayRef], row: usize) -> Map<String, Value> {
        let value = |((name, _), texts): (&(String, usize), &ArrayRef)| {
            let texts = texts.as_string::<i32>();
            let value = match texts.is_null(row) || texts.value(row).is_empty() {
                true => Value::Null,
                false => Value::from(texts.value(row)),
            };
            (name.clone(), value)
        };
        self.columns.iter().zip(texts).map(value).collect()
    }
}

/// The values as texts, times in UTC.
fn text(key: &ArrayRef) -> Result<ArrayRef> {
    let utc = match key.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            cast(key, &DataType::Timestamp(*unit, Some("+00:00".into())))?
        }
        _ => ArrayRef::clone(key),
    };
    Ok(cast(&utc, &DataType::Utf8)?)
}

/// Percent-encodes what would be taken for another directory, a glob or an escape, and what one tool or another stumbles
/// over in a path: all of ASCII but letters, digits, `-`, `_`, `.` and spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '-' | '_' | '.' | ' ' => out.push(c),
            c if c.is_ascii_alphanumeric() => out.push(c),
            c if c.is_ascii() => out.push_str(&format!("%{:02X}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::{delta, show};

    #[test]
    fn rows_go_to_the_directories_of_their_values() {
        let columns = vec![("country".to_owned(), 0), ("day".to_owned(), 2)];
        let directories = Directories::new(columns, "__NULL__".to_owned());
        let given = delta(
            "country text, n int, day date",
            "+1 FR 1 2024-01-01 / +1 a:b 2 2024-01-01 / +1 FR 3 2024-01-01 / +1 NULL 4 NULL",
        );
        let split = directories.split(&given).unwrap();
        let shown: Vec<(String, String)> = split
            .iter()
            .map(|share| (share.directory.clone(), show(&share.delta)))
            .collect();
        let wanted = [
            (
                "country=FR/day=2024-01-01",
                "+1 FR 1 2024-01-01 / +1 FR 3 2024-01-01",
            ),
            ("country=a%3Ab/day=2024-01-01", "+1 a:b 2 2024-01-01"),
            ("country=__NULL__/day=__NULL__", "+1 NULL 4 NULL"),
        ];
        assert_eq!(shown, wanted.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let values: Vec<String> = split
            .iter()
            .map(|share| Value::from(share.values.clone()).to_string())
            .collect();
        assert_eq!(
            values,
            [
                r#"{"country":"FR","day":"2024-01-01"}"#,
                r#"{"country":"a:b","day":"2024-01-01"}"#,
                r#"{"country":null,"day":null}"#,
            ]
        );
    }
}
