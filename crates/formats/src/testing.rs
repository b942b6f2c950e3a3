//! What the tests of all formats share.

use crate::{Input, decoder};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, TimeUnit};
use millstream_dataflow::format::{Decoded, Decoder, Records};
use millstream_dataflow::{Column, Options, Place, Table, TableColumn, testing};
use std::sync::Arc;

/// What a decoder gave, as text.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) rows: String,
    pub(crate) origin: Option<Vec<u32>>,
    pub(crate) bad: Vec<(u32, String)>,
}

pub(crate) fn options(pairs: &[(&str, &str)]) -> Options {
    Options::new(
        "t",
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

/// Types by name: those of `dataflow::testing`, `[item]`, `{name type, ...}`, `<value>` (a MAP from text).
pub(crate) fn data_type(name: &str) -> DataType {
    if let Some(item) = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return DataType::List(Arc::new(Field::new("item", data_type(item), true)));
    }
    if let Some(value) = name
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
    {
        let fields = vec![
            Field::new("key", DataType::Utf8View, false),
            Field::new("value", data_type(value), true),
        ];
        let entries = Field::new("entries", DataType::Struct(fields.into()), false);
        return DataType::Map(Arc::new(entries), false);
    }
    if let Some(fields) = name
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        let fields = fields.split(", ").map(|field| {
            let (name, kind) = field.split_once(' ').unwrap();
            Field::new(name, data_type(kind), true)
        });
        return DataType::Struct(fields.collect());
    }
    match name {
        "bytes" => DataType::BinaryView,
        "time" => DataType::Time32(TimeUnit::Millisecond),
        "time9" => DataType::Time64(TimeUnit::Nanosecond),
        "timestamp9" => DataType::Timestamp(TimeUnit::Nanosecond, None),
        "ltz" => DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into())),
        other => testing::schema(&format!("x {other}"))
            .field(0)
            .data_type()
            .clone(),
    }
}

/// A wanted column; `a.b` is a field inside a ROW, `@key` metadata.
pub(crate) fn column(path: &str, kind: &str) -> Column {
    let place = match path.strip_prefix('@') {
        Some(key) => Place::Metadata(key.to_owned()),
        None => Place::Field(path.split('.').map(str::to_owned).collect()),
    };
    Column {
        field: Field::new(path, data_type(kind), true),
        place,
    }
}

/// The table whose columns are the wanted ones.
pub(crate) fn table(columns: &[Column]) -> Table {
    Table {
        name: "t".to_owned(),
        columns: columns
            .iter()
            .map(|column| TableColumn {
                field: column.field.clone(),
                metadata: match &column.place {
                    Place::Metadata(key) => Some(key.clone()),
                    Place::Field(_) => None,
                },
                is_virtual: false,
            })
            .collect(),
        ..Table::default()
    }
}

pub(crate) fn records<T: AsRef<[u8]>>(texts: &[T]) -> Records {
    // Something stands before and behind the run.
    let mut bytes = b"{\"".to_vec();
    let start = bytes.len();
    let ends = texts
        .iter()
        .map(|text| {
            bytes.extend_from_slice(text.as_ref());
            bytes.len()
        })
        .collect();
    bytes.extend_from_slice(b"\"}],\"\\\"}");
    Records {
        bytes: Buffer::from_vec(bytes),
        start,
        ends,
    }
}

pub(crate) fn got(decoded: &Decoded) -> Got {
    Got {
        rows: testing::show(&decoded.delta),
        origin: decoded.origin.clone(),
        bad: decoded.bad.clone(),
    }
}

pub(crate) fn open(format: &str, pairs: &[(&str, &str)], columns: &[Column]) -> Box<dyn Decoder> {
    let mut options = options(pairs);
    let format = decoder(format, &mut options, &table(columns), columns).unwrap();
    options.finish().unwrap();
    format.open(&Input::Messages).unwrap()
}

/// Decodes messages.
pub(crate) fn decode<T: AsRef<[u8]>>(
    format: &str,
    pairs: &[(&str, &str)],
    columns: &[Column],
    texts: &[T],
) -> Got {
    got(&open(format, pairs, columns)
        .decode(&records(texts))
        .unwrap())
}

/// Decodes a file.
pub(crate) fn decode_file(
    format: &str,
    pairs: &[(&str, &str)],
    columns: &[Column],
    text: &str,
) -> Got {
    let format = decoder(format, &mut options(pairs), &table(columns), columns).unwrap();
    let framing = format.framing();
    let mut ends = Vec::new();
    framing.split(text.as_bytes(), 0, true, usize::MAX, &mut ends);
    let start = if framing.header { ends.remove(0) } else { 0 };
    let header = framing.header.then(|| &text.as_bytes()[..start]);
    let mut decoder = format.open(&Input::File { header }).unwrap();
    let records = Records {
        bytes: Buffer::from(text.as_bytes()),
        start,
        ends,
    };
    got(&decoder.decode(&records).unwrap())
}

/// Bad records as `number reason`.
pub(crate) fn reasons(got: &Got) -> Vec<String> {
    got.bad
        .iter()
        .map(|(record, why)| format!("{record} {why}"))
        .collect()
}

/// Encodes a delta, as texts.
pub(crate) fn encode(
    format: &str,
    pairs: &[(&str, &str)],
    delta: &millstream_dataflow::Delta,
) -> Vec<String> {
    let mut options = options(pairs);
    let format = crate::encoder(format, &mut options, &delta.schema()).unwrap();
    options.finish().unwrap();
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    format.open().encode(delta, &mut out, &mut ends).unwrap();
    let mut from = 0;
    ends.into_iter()
        .map(|end| String::from_utf8(out[std::mem::replace(&mut from, end)..end].to_vec()).unwrap())
        .collect()
}
