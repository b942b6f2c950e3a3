//! Delta Lake's transaction log, for tables that are appended to: what its readers need, by its open protocol
//! (github.com/delta-io/delta, PROTOCOL.md).
//!
//! The first commit says what the table is (`protocol`, `metaData`); each names files (`add`, and `remove` where a job
//! goes back to an older checkpoint), and who committed what (`txn`).

use super::super::location::percent_decoded;
use super::log::{Commit, Entry};
use super::prepared::DataFile;
use super::records::Records;
use super::writer::unique;
use crate::clock;
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use millstream_dataflow::{Error, Result};
use serde_json::{Value, json};
use std::sync::Arc;

/// What `txn` actions of ours begin with; the writer follows.
const APP: &str = "millstream/";

/// The features of tables that concern nobody who only appends.
const FEATURES: [&str; 8] = [
    "appendOnly",
    "changeDataFeed",
    "deletionVectors",
    "invariants",
    "timestampNtz",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "checkConstraints",
];

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

fn field_of(field: &Field, has_ntz: &mut bool) -> Result<Value, String> {
    let of_type = type_of(field.data_type(), has_ntz)
        .map_err(|reason| format!("column `{}`: {reason}", field.name()))?;
    Ok(
        json!({"name": field.name(), "type": of_type, "nullable": field.is_nullable(), "metadata": {}}),
    )
}

fn type_of(data_type: &DataType, has_ntz: &mut bool) -> Result<Value, String> {
    use DataType as D;
    Ok(match data_type {
        D::Boolean => json!("boolean"),
        D::Int8 => json!("byte"),
        D::Int16 => json!("short"),
        D::Int32 => json!("integer"),
        D::Int64 => json!("long"),
        D::Float32 => json!("float"),
        D::Float64 => json!("double"),
        D::Decimal128(precision, scale) => json!(format!("decimal({precision},{scale})")),
        D::Utf8 | D::LargeUtf8 | D::Utf8View => json!("string"),
        D::Binary | D::LargeBinary | D::BinaryView => json!("binary"),
        D::Date32 => json!("date"),
        D::Timestamp(TimeUnit::Nanosecond, _) => {
            return Err("Delta's times have microseconds: declare TIMESTAMP(6)".to_owned());
        }
        D::Timestamp(_, Some(_)) => json!("timestamp"),
        D::Timestamp(_, None) => {
            *has_ntz = true;
            json!("timestamp_ntz")
        }
        D::Struct(fields) => {
            let fields: Vec<Value> = fields
                .iter()
                .map(|field| field_of(field, has_ntz))
                .collect::<Result<_, _>>()?;
            json!({"type": "struct", "fields": fields})
        }
        D::List(item) => json!({
            "type": "array", "elementType": type_of(item.data_type(), has_ntz)?, "containsNull": item.is_nullable(),
        }),
        D::Map(entries, _) => match entries.data_type() {
            D::Struct(fields) if fields.len() == 2 => json!({
                "type": "map",
                "keyType": type_of(fields[0].data_type(), has_ntz)?,
                "valueType": type_of(fields[1].data_type(), has_ntz)?,
                "valueContainsNull": fields[1].is_nullable(),
            }),
            other => return Err(format!("Delta has no type for {other}")),
        },
        other => return Err(format!("Delta has no type for {other}")),
    })
}

/// The columns as Delta's files hold them: times in microseconds.
pub(in super::super) fn stored(schema: &Schema) -> Schema {
    Schema::new(stored_fields(schema.fields()))
}

fn stored_fields(fields: &Fields) -> Fields {
    fields.iter().map(stored_field).collect()
}

fn stored_field(field: &Arc<Field>) -> Arc<Field> {
    let data_type = match field.data_type() {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Struct(fields) => DataType::Struct(stored_fields(fields)),
        DataType::List(item) => DataType::List(stored_field(item)),
        DataType::Map(entries, sorted) => DataType::Map(stored_field(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
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

/// The table is what the sink takes it for, as the commits below a number say.
///
/// # Errors
/// `User`: it has other columns, or needs of writers what this one does not do.
pub(super) fn check(table: &DeltaTable, records: &Records, below: u64) -> Result<()> {
    let (mut protocol, mut metadata) = (None, None);
    for number in (0..below).rev() {
        if protocol.is_some() && metadata.is_some() {
            break;
        }
        let Some(bytes) = records.read(number)? else {
            break;
        };
        let actions = actions(&bytes).map_err(|detail| {
            Error::user(format!("commit {number} of the Delta table cannot be read")).detail(detail)
        })?;
        for mut action in actions {
            for (kind, found) in [("protocol", &mut protocol), ("metaData", &mut metadata)] {
                if let (None, Some(action)) = (&found, action.get_mut(kind)) {
                    *found = Some(action.take());
                }
            }
        }
    }
    let mismatch = match (protocol, metadata) {
        (Some(protocol), Some(metadata)) => {
            unwritable(&protocol).or_else(|| different(table, &metadata))
        }
        _ => Some("the commit that says what it is has been removed".to_owned()),
    };
    mismatch.map_or(Ok(()), |detail| {
        Err(Error::user(format!(
            "the Delta table at the path of `{}` cannot be appended to",
            table.name
        ))
        .detail(detail))
    })
}

/// What the protocol demands of writers and this one does not do.
fn unwritable(protocol: &Value) -> Option<String> {
    let version = protocol["minWriterVersion"].as_u64().unwrap_or(u64::MAX);
    if version <= 2 {
        return None;
    }
    if version != 7 {
        return Some(format!("it needs writers of version {version}"));
    }
    let features = protocol["writerFeatures"].as_array()?;
    let unknown = features
        .iter()
        .filter_map(Value::as_str)
        .find(|feature| !FEATURES.contains(feature))?;
    Some(format!("it needs writers that do '{unknown}'"))
}

/// How the columns of a table are not those of the sink.
fn different(table: &DeltaTable, metadata: &Value) -> Option<String> {
    let schema = metadata["schemaString"].as_str().unwrap_or_default();
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let no_fields = Vec::new();
    let theirs = schema["fields"].as_array().unwrap_or(&no_fields);
    let ours = table.schema["fields"].as_array().unwrap_or(&no_fields);
    let find =
        |fields: &[Value], name: &Value| fields.iter().position(|field| field["name"] == *name);
    for field in ours {
        let name = &field["name"];
        let Some(at) = find(theirs, name) else {
            return Some(format!("it has no column {name}"));
        };
        if theirs[at]["type"] != field["type"] {
            let (theirs, ours) = (&theirs[at]["type"], &field["type"]);
            return Some(format!("its column {name} is of type {theirs}, not {ours}"));
        }
    }
    for field in theirs {
        let ours = find(ours, &field["name"]).map(|at| &ours[at]);
        let fills = ours.is_some_and(|ours| ours["nullable"] == json!(false));
        if field["nullable"] == json!(false) && !fills {
            return Some(format!("its column {} takes no NULL", field["name"]));
        }
        let rules = field["metadata"].as_object();
        if let Some((rule, _)) =
            rules.and_then(|rules| rules.iter().find(|(key, _)| key.starts_with("delta.")))
        {
            return Some(format!(
                "its column {} has the rule '{rule}'",
                field["name"]
            ));
        }
    }
    if let Some((rule, _)) = metadata["configuration"].as_object().and_then(|all| {
        all.iter()
            .find(|(key, _)| key.starts_with("delta.constraints."))
    }) {
        return Some(format!("it has the rule '{rule}'"));
    }
    let partitioned_by = json!(table.partitioned_by);
    let theirs = &metadata["partitionColumns"];
    (*theirs != partitioned_by)
        .then(|| format!("it is partitioned by {theirs}, not {partitioned_by}"))
}

/// A path as an RFC 2396 URI.
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b'=' => {
                out.push(byte as char);
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
