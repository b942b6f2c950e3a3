//! What tells the changelog formats apart.

/// A changelog format.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Its name, which is also the prefix of its options.
    pub(crate) name: &'static str,
    /// The field that holds the row as it is. For those that are partial it is also the row that a delete removes.
    pub(crate) after: &'static str,
    /// The field that holds the row as it was.
    pub(crate) before: &'static str,
    /// The field that names the operation.
    pub(crate) op: &'static str,
    pub(crate) shape: Shape,
    /// Whether the row as it was has the changed columns only.
    pub(crate) partial: bool,
    /// What the operations are called; the first insert and the first delete are those that are written.
    pub(crate) insert: &'static [&'static str],
    pub(crate) update: &'static str,
    pub(crate) delete: &'static str,
    /// Operations that are no changes of rows.
    pub(crate) ignored: &'static [&'static str],
    /// Whether the envelope may itself be wrapped, with its schema.
    pub(crate) has_schema: bool,
    /// Whether there are options for the databases and tables to read.
    pub(crate) filters: bool,
    pub(crate) metadata: &'static [Metadata],
}

/// How an envelope holds rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One row.
    Objects,
    /// A list of rows.
    Lists,
}

/// A metadata key.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) key: &'static str,
    pub(crate) path: &'static [&'static str],
    /// For a time that is a number: what it counts since the epoch.
    pub(crate) units_per_second: Option<i64>,
    /// Whether it stands beside the wrapped envelope rather than in it.
    pub(crate) outside: bool,
}

const fn plain(key: &'static str, path: &'static [&'static str]) -> Metadata {
    Metadata {
        key,
        path,
        units_per_second: None,
        outside: false,
    }
}

const fn epoch(
    key: &'static str,
    path: &'static [&'static str],
    units_per_second: i64,
) -> Metadata {
    Metadata {
        key,
        path,
        units_per_second: Some(units_per_second),
        outside: false,
    }
}

const DIALECTS: [Dialect; 4] = [
    Dialect {
        name: "debezium-json",
        after: "after",
        before: "before",
        op: "op",
        shape: Shape::Objects,
        partial: false,
        insert: &["c", "r"],
        update: "u",
        delete: "d",
        ignored: &[],
        has_schema: true,
        filters: false,
        metadata: &[
            Metadata {
                key: "schema",
                path: &["schema"],
                units_per_second: None,
                outside: true,
            },
            epoch("ingestion-timestamp", &["ts_ms"], 1000),
            epoch("source.timestamp", &["source", "ts_ms"], 1000),
            plain("source.database", &["source", "db"]),
            plain("source.schema", &["source", "schema"]),
            plain("source.table", &["source", "table"]),
            plain("source.properties", &["source"]),
        ],
    },
    Dialect {
        name: "canal-json",
        after: "data",
        before: "old",
        op: "type",
        shape: Shape::Lists,
        partial: true,
        insert: &["INSERT"],
        update: "UPDATE",
        delete: "DELETE",
        ignored: &["CREATE"],
        has_schema: false,
        filters: true,
        metadata: &[
            plain("database", &["database"]),
            plain("table", &["table"]),
            plain("sql-type", &["sqlType"]),
            plain("pk-names", &["pkNames"]),
            epoch("ingestion-timestamp", &["ts"], 1000),
            epoch("event-timestamp", &["es"], 1000),
        ],
    },
    Dialect {
        name: "maxwell-json",
        after: "data",
        before: "old",
        op: "type",
        shape: Shape::Objects,
        partial: true,
        insert: &["insert"],
        update: "update",
        delete: "delete",
        ignored: &[],
        has_schema: false,
        filters: false,
        metadata: &[
            plain("database", &["database"]),
            plain("table", &["table"]),
            plain("primary-key-columns", &["primary_key_columns"]),
            epoch("ingestion-timestamp", &["ts"], 1),
        ],
    },
    Dialect {
        name: "ogg-json",
        after: "after",
        before: "before",
        op: "op_type",
        shape: Shape::Objects,
        partial: false,
        insert: &["I"],
        update: "U",
        delete: "D",
        ignored: &[],
        has_schema: false,
        filters: false,
        metadata: &[
            plain("table", &["table"]),
            plain("primary-keys", &["primary_keys"]),
            plain("ingestion-timestamp", &["current_ts"]),
            plain("event-timestamp", &["op_ts"]),
        ],
    },
];

/// The changelog format of this name.
pub(crate) fn dialect(name: &str) -> Option<&'static Dialect> {
    static KNOWN: [Dialect; 4] = DIALECTS;
    KNOWN.iter().find(|dialect| dialect.name == name)
}
