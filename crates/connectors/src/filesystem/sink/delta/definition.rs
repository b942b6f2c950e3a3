//! Whether a Delta table is what the sink takes it for: its columns, and what it demands of writers.

use super::{DeltaTable, Records, actions, checkpoint};
use millstream_dataflow::{Error, Result};
use serde_json::{Value, json};

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

/// The table is what the sink takes it for, as the commits below a number say.
///
/// # Errors
/// `User`: it has other columns, or needs of writers what this one does not do.
pub(in super::super) fn check(table: &DeltaTable, records: &Records, below: u64) -> Result<()> {
    let found = find(records, below)?;
    let mismatch = match (&found.protocol, &found.metadata) {
        (Some(protocol), Some(metadata)) => {
            unwritable(protocol).or_else(|| different(table, metadata))
        }
        _ => Some("the commit that says what it is has been removed".to_owned()),
    };
    mismatch.map_or(Ok(()), |detail| {
        let message = format!(
            "the Delta table at the path of `{}` cannot be appended to",
            table.name
        );
        Err(Error::user(message).detail(detail))
    })
}

/// The latest `protocol` and `metaData`.
#[derive(Default)]
pub(super) struct Definition {
    pub(super) protocol: Option<Value>,
    pub(super) metadata: Option<Value>,
}

impl Definition {
    /// Takes what an action says and a later one has not said.
    pub(super) fn take(&mut self, action: &mut Value) {
        let kinds = [
            ("protocol", &mut self.protocol),
            ("metaData", &mut self.metadata),
        ];
        for (kind, found) in kinds {
            if let (None, Some(said)) = (&found, action.get_mut(kind))
                && !said.is_null()
            {
                *found = Some(said.take());
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.protocol.is_some() && self.metadata.is_some()
    }
}

fn find(records: &Records, below: u64) -> Result<Definition> {
    let mut found = Definition::default();
    let last = checkpoint::last(records)?;
    for number in (last.map_or(0, |last| last + 1)..below).rev() {
        if found.is_whole() {
            return Ok(found);
        }
        let Some(bytes) = records.read(number)? else {
            break;
        };
        let actions = actions(&bytes).map_err(|detail| {
            Error::user(format!("commit {number} of the Delta table cannot be read")).detail(detail)
        })?;
        for mut action in actions {
            found.take(&mut action);
        }
    }
    if let (Some(last), false) = (last, found.is_whole()) {
        for mut action in checkpoint::definition(records, last)? {
            found.take(&mut action);
        }
    }
    Ok(found)
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
    let find = |fields: &[Value], name: &Value| {
        let named = |field: &Value| field["name"] == *name;
        fields.iter().position(named)
    };
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
    if let Some(rule) = theirs
        .iter()
        .find_map(|field| rule(field, find(ours, &field["name"]).map(|at| &ours[at])))
    {
        return Some(rule);
    }
    let settings = metadata["configuration"].as_object();
    let constraint = |key: &&String| key.starts_with("delta.constraints.");
    if let Some(rule) = settings.and_then(|all| all.keys().find(constraint)) {
        return Some(format!("it has the rule '{rule}'"));
    }
    let partitioned_by = json!(table.partitioned_by);
    let theirs = &metadata["partitionColumns"];
    (*theirs != partitioned_by)
        .then(|| format!("it is partitioned by {theirs}, not {partitioned_by}"))
}

/// What a column of the table demands that the sink's column, if there is one, does not hold.
fn rule(theirs: &Value, ours: Option<&Value>) -> Option<String> {
    let name = &theirs["name"];
    let never_null = json!(false);
    if theirs["nullable"] == never_null && ours.is_none_or(|ours| ours["nullable"] != never_null) {
        return Some(format!("its column {name} takes no NULL"));
    }
    let rules = theirs["metadata"].as_object()?;
    let rule = rules.keys().find(|key| key.starts_with("delta."))?;
    Some(format!("its column {name} has the rule '{rule}'"))
}
