//! Delta Lake's transaction log, for tables that are appended to: what its readers need, by its open protocol
//! (github.com/delta-io/delta, PROTOCOL.md).
//!
//! The first commit says what the table is (`protocol`, `metaData`); each names files (`add`, and `remove` where a job
//! goes back to an older checkpoint), and who committed what (`txn`). Every hundred commits a checkpoint of the log sums
//! up what there is, so that readers need not read all commits since the first.

mod checkpoint;
mod columns;
mod definition;

use super::super::location::percent_decoded;
use super::log::{Commit, Entry};
use super::prepared::DataFile;
use super::records::Records;
use super::writer::unique;
use crate::clock;
use arrow::datatypes::Field;
use columns::field_of;
use millstream_dataflow::{Error, Result};
use serde_json::{Value, json};

pub(super) use checkpoint::sum_up;
pub(in super::super) use columns::stored;
pub(super) use definition::check;

/// What `txn` actions of ours begin with; the writer follows.
const APP: &str = "millstream/";

/// What a table is, in Delta's terms.
#[derive(Debug)]
pub(in super::super) struct DeltaTable {
    name: String,
    schema: Value,
    partitioned_by: Vec<String>,
    /// TIMESTAMP columns without a time zone came later to the protocol.
    has_ntz: bool,
}

impl DeltaTable {
    /// The table of these columns.
    ///
    /// # Errors
    /// `User` where Delta has no such type.
    pub(in super::super) fn new(
        name: &str,
        columns: &[&Field],
        partitioned_by: Vec<String>,
    ) -> Result<Self> {
        let mut has_ntz = false;
        let fields: Vec<Value> = columns
            .iter()
            .map(|field| field_of(field, &mut has_ntz))
            .collect::<Result<_, String>>()
            .map_err(|detail| {
                Error::user(format!("table `{name}` cannot be a Delta table")).detail(detail)
            })?;
        Ok(Self {
            name: name.to_owned(),
            schema: json!({"type": "struct", "fields": fields}),
            partitioned_by,
            has_ntz,
        })
    }

    fn protocol(&self) -> Value {
        match self.has_ntz {
            false => json!({"minReaderVersion": 1, "minWriterVersion": 2}),
            true => json!({
                "minReaderVersion": 3, "minWriterVersion": 7,
                "readerFeatures": ["timestampNtz"], "writerFeatures": ["timestampNtz"],
            }),
        }
    }

    fn metadata(&self) -> Value {
        let id = unique() + &unique();
        let (a, b, c) = (&id[..8], &id[8..12], &id[12..16]);
        json!({
            "id": format!("{a}-{b}-{c}-{}-{}", &id[16..20], &id[20..32]),
            "name": self.name,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": self.schema.to_string(),
            "partitionColumns": self.partitioned_by,
            "configuration": {},
            "createdTime": clock::wall_ms(),
        })
    }
}

/// A commit as a record of the log: an action on each line.
pub(super) fn encode(table: &DeltaTable, commit: &Commit, first: bool) -> Vec<u8> {
    let now = clock::wall_ms();
    let append = commit.removed.is_empty();
    let mut actions = vec![json!({"commitInfo": {
        "timestamp": now,
        "operation": if append { "WRITE" } else { "RESTORE" },
        "operationParameters": if append { json!({"mode": "Append"}) } else { json!({}) },
        "isBlindAppend": append,
        "engineInfo": concat!("millstream/", env!("CARGO_PKG_VERSION")),
    }})];
    if first {
        actions.push(json!({"protocol": table.protocol()}));
        actions.push(json!({"metaData": table.metadata()}));
    }
    actions.push(json!({"txn": {
        "appId": format!("{APP}{}", commit.writer), "version": commit.number, "lastUpdated": now,
    }}));
    let add = |file: &&DataFile| {
        json!({"add": {
            "path": encoded(&file.path),
            "partitionValues": file.partition,
            "size": file.bytes,
            "modificationTime": now,
            "dataChange": true,
            "stats": json!({"numRecords": file.rows}).to_string(),
        }})
    };
    actions.extend(commit.added.iter().map(add));
    let remove = |path: &&str| json!({"remove": {"path": encoded(path), "deletionTimestamp": now, "dataChange": true}});
    actions.extend(commit.removed.iter().map(remove));
    let lines = actions.iter().map(|action| format!("{action}\n"));
    lines.collect::<String>().into_bytes()
}

/// What a record of the log did.
pub(super) fn decode(bytes: &[u8]) -> Result<Entry, String> {
    let mut entry = Entry::default();
    for action in actions(bytes)? {
        let path = |action: &Value| action["path"].as_str().map(percent_decoded);
        if let Some(app) = action["txn"]["appId"].as_str() {
            entry.writer = app.strip_prefix(APP).map(str::to_owned).or(entry.writer);
        }
        entry.added.extend(path(&action["add"]));
        entry.removed.extend(path(&action["remove"]));
        entry.redefines |= action.get("metaData").is_some() || action.get("protocol").is_some();
    }
    Ok(entry)
}

fn actions(bytes: &[u8]) -> Result<Vec<Value>, String> {
    serde_json::Deserializer::from_slice(bytes)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// A path as a URI, with only what must be encoded: others compare paths as texts.
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b"_-!.~'()*,;:$&+=@/".contains(&b) => {
                out.push(byte as char);
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
