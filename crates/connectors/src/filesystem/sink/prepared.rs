//! What a checkpoint holds of a sink: which files it prepared, and where the table's list stood then. JSON.

use super::upload::Uploaded;
use millstream_dataflow::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of the form.
const FORMAT: u32 = 1;

/// A file that is written and not yet visible, or has become so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DataFile {
    /// Under the table's path, with `/` between.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    /// The values of the PARTITIONED BY columns, as text or NULL.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) partition: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upload: Option<Uploaded>,
}

/// Files that become visible together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prepared {
    format: u32,
    /// The table's path or URL.
    pub(super) table: String,
    /// The sink, over all restarts of the job.
    pub(super) writer: String,
    /// Counts what the writer prepared.
    pub(super) number: u64,
    /// The commits of these files, and all later ones of the writer, have this number in the table's list or a higher one.
    pub(super) mark: u64,
    pub(super) files: Vec<DataFile>,
}

impl Prepared {
    pub(super) fn new(
        table: String,
        writer: &str,
        number: u64,
        mark: u64,
        files: Vec<DataFile>,
    ) -> Self {
        Self {
            format: FORMAT,
            table,
            writer: writer.to_owned(),
            number,
            mark,
            files,
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::internal("what was prepared cannot be written").detail(error.to_string())
        })
    }

    /// Reads what a checkpoint holds for the table of this path.
    pub(super) fn decode(bytes: &[u8], table: &str) -> Result<Self> {
        let unreadable = |detail: String| {
            Error::user("the checkpoint's record of the files that were written cannot be read")
                .detail(detail)
                .hint("it was written by another version of the program")
        };
        let prepared: Self =
            serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
        if prepared.format != FORMAT {
            return Err(unreadable(format!(
                "its format is {}, known is {FORMAT}",
                prepared.format
            )));
        }
        if prepared.table != table {
            return Err(Error::user(format!(
                "the files of the last checkpoint were written for '{}', but the table's path is now '{table}'",
                prepared.table
            ))
            .hint("start the job once with the path as it was, or give the sink's table another name"));
        }
        Ok(prepared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_prepared_is_read_back_and_other_forms_are_refused() {
        let file = DataFile {
            path: "country=FR/part-1.json".into(),
            bytes: 7,
            rows: 2,
            partition: Map::from_iter([("country".to_owned(), Value::from("FR"))]),
            upload: None,
        };
        let prepared = Prepared::new("/data/sales".into(), "w", 3, 9, vec![file]);
        let bytes = prepared.encode().unwrap();
        assert_eq!(Prepared::decode(&bytes, "/data/sales").unwrap(), prepared);
        let error = Prepared::decode(&bytes, "/data/other").unwrap_err();
        assert!(error.message.contains("'/data/sales'"), "{error}");
        let newer = String::from_utf8(bytes).unwrap().replace(":1,", ":2,");
        let error = Prepared::decode(newer.as_bytes(), "/data/sales").unwrap_err();
        assert!(error.to_string().contains("its format is 2"), "{error}");
        assert!(Prepared::decode(b"{", "/data/sales").is_err());
    }
}
