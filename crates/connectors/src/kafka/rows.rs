//! Messages as rows: values, keys and metadata of a batch, put together column by column.
//!
//! ```text
//!   message 0   message 1 (tombstone)   message 2 (bad value)   message 3
//!   value rows  0                       -                       -             1     <- row_of_message
//!   key rows    0                       1                       2             3
//! ```
//!
//! A message is a row where its value is one (of a changelog: the rows of its value), or where it is a tombstone and
//! the table is upserted: then the row has weight -1 and only the key.

use super::batch::Message;
use crate::columns;
use arrow::array::{
    Array, ArrayRef, BinaryViewBuilder, Int32Array, Int64Array, MapBuilder, MapFieldNames,
    StringViewArray, StringViewBuilder, TimestampMillisecondArray, UInt32Array, new_null_array,
};
use arrow::buffer::Buffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use millstream_dataflow::format::{Decoded, Decoder, Records};
use millstream_dataflow::source::{BadRecord, Offset, RowOffsets};
use millstream_dataflow::{Delta, Error, Result};
use std::sync::Arc;

/// Where a wanted column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The value's decoder, by column.
    Value(usize),
    /// The key's decoder, by column.
    Key(usize),
    /// The message itself.
    Message(Meta),
}

/// A metadata key of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    Topic,
    Partition,
    Headers,
    LeaderEpoch,
    Offset,
    Timestamp,
    TimestampType,
}

/// Makes rows of messages.
pub(super) struct Rows {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) slots: Arc<[Slot]>,
    pub(super) schema: SchemaRef,
    pub(super) value: Box<dyn Decoder>,
    pub(super) key: Option<Box<dyn Decoder>>,
    /// Whether a tombstone deletes, rather than being nothing.
    pub(super) upsert: bool,
}

/// The rows of a run of messages.
pub(super) struct Made {
    pub(super) delta: Delta,
    pub(super) offsets: RowOffsets,
    pub(super) bad: Vec<BadRecord>,
}

/// For each row, the message that it is of, and where its value and its key stand in what was decoded.
#[derive(Default)]
struct Origins {
    message: Vec<u32>,
    value: Vec<Option<u32>>,
    key: Vec<Option<u32>>,
}

impl Rows {
    /// The rows of messages that are no errors.
    pub(super) fn make(&mut self, messages: &[Message<'_>]) -> Result<Made> {
        let (records, record_message) = records(messages, Message::value);
        let values = self.value.decode(&records)?;
        let mut bad = Vec::new();
        for (record, reason) in &values.bad {
            let message = messages[record_message[*record as usize] as usize];
            bad.push(bad_record(message, message.value(), reason.clone()));
        }
        let keys = self.keys(messages, &mut bad)?;
        bad.sort_by_key(|bad| bad.offset);
        bad.dedup_by_key(|bad| bad.offset);
        let plain = keys.is_none() && !self.upsert && record_message.len() == messages.len();
        if plain && values.origin.is_none() {
            let columns = self.columns(messages, &values, None, None)?;
            let batch = columns::batch(&self.schema, columns, values.delta.rows())?;
            let delta = values.delta.with_batch(batch)?;
            let offsets = RowOffsets::Each(messages.iter().map(Message::offset).collect());
            return Ok(Made {
                delta,
                offsets,
                bad,
            });
        }
        let origins = self.origins(messages, &values, &record_message, keys.as_ref(), &bad);
        let columns = self.columns(messages, &values, keys.as_ref(), Some(&origins))?;
        let batch = columns::batch(&self.schema, columns, origins.message.len())?;
        let weight = |row: &Option<u32>| row.map_or(-1, |row| values.delta.weight(row as usize));
        let weights: Vec<i64> = origins.value.iter().map(weight).collect();
        let delta = Delta::new(batch, weights.into())?;
        let offset = |message: &u32| messages[*message as usize].offset();
        let offsets = RowOffsets::Each(origins.message.iter().map(offset).collect());
        Ok(Made {
            delta,
            offsets,
            bad,
        })
    }

    /// The keys, one record for each message.
    fn keys(
        &mut self,
        messages: &[Message<'_>],
        bad: &mut Vec<BadRecord>,
    ) -> Result<Option<Decoded>> {
        let Some(decoder) = &mut self.key else {
            return Ok(None);
        };
        let decoded = decoder.decode(&keys(messages))?;
        for (record, reason) in &decoded.bad {
            let message = messages[*record as usize];
            bad.push(bad_record(
                message,
                message.key(),
                format!("the key: {reason}"),
            ));
        }
        if self.upsert {
            let keyless = messages.iter().filter(|message| message.key().is_none());
            bad.extend(keyless.map(|message| {
                let reason = "the message has no key, which an upserted table needs".to_owned();
                bad_record(*message, message.value(), reason)
            }));
        }
        Ok(Some(decoded))
    }

    fn origins(
        &self,
        messages: &[Message<'_>],
        values: &Decoded,
        record_message: &[u32],
        keys: Option<&Decoded>,
        bad: &[BadRecord],
    ) -> Origins {
        let key_row = keys.map(|keys| row_of_record(keys, messages.len()));
        let is_bad = |message: &Message<'_>| {
            bad.binary_search_by_key(&Offset(message.offset()), |bad| bad.offset)
                .is_ok()
        };
        let mut origins = Origins::default();
        let mut add = |message: u32, value: Option<u32>| {
            origins.message.push(message);
            origins.value.push(value);
            let key = key_row.as_ref().and_then(|rows| rows[message as usize]);
            origins.key.push(key);
        };
        let mut row = 0;
        let mut record = 0;
        for (idx, message) in messages.iter().enumerate() {
            let here = idx as u32;
            if record < record_message.len() && record_message[record] == here {
                // The rows of this value, one in most formats.
                while row < values.delta.rows() && origin(values, row) == record as u32 {
                    if bad.is_empty() || !is_bad(message) {
                        add(here, Some(row as u32));
                    }
                    row += 1;
                }
                record += 1;
            } else if self.upsert && (bad.is_empty() || !is_bad(message)) {
                add(here, None);
            }
        }
        origins
    }

    fn columns(
        &self,
        messages: &[Message<'_>],
        values: &Decoded,
        keys: Option<&Decoded>,
        origins: Option<&Origins>,
    ) -> Result<Vec<ArrayRef>> {
        let value_rows = origins.map(|origins| UInt32Array::from(origins.value.clone()));
        let key_rows = origins.map(|origins| UInt32Array::from(origins.key.clone()));
        let slot = |slot: &Slot| -> Result<ArrayRef> {
            match slot {
                Slot::Value(idx) => pick(values.delta.column(*idx), value_rows.as_ref()),
                Slot::Key(idx) => {
                    let keys = keys.ok_or_else(|| Error::internal("a key column without keys"))?;
                    pick(keys.delta.column(*idx), key_rows.as_ref())
                }
                Slot::Message(meta) => match origins {
                    None => Ok(self.metadata(*meta, messages.iter().copied(), messages.len())),
                    Some(origins) => {
                        let each = origins.message.iter().map(|idx| messages[*idx as usize]);
                        Ok(self.metadata(*meta, each, origins.message.len()))
                    }
                },
            }
        };
        let typed = |(one, field): (&Slot, &Arc<arrow::datatypes::Field>)| {
            columns::to_type(slot(one)?, field.data_type())
        };
        self.slots
            .iter()
            .zip(self.schema.fields())
            .map(typed)
            .collect()
    }

    fn metadata<'a>(
        &self,
        meta: Meta,
        messages: impl Iterator<Item = Message<'a>>,
        rows: usize,
    ) -> ArrayRef {
        match meta {
            Meta::Topic => Arc::new(StringViewArray::from_iter_values(
                messages.map(|_| self.topic.as_str()),
            )),
            Meta::Partition => Arc::new(Int32Array::from_value(self.partition, rows)),
            Meta::Offset => Arc::new(Int64Array::from_iter_values(messages.map(|m| m.offset()))),
            Meta::LeaderEpoch => {
                Arc::new(Int32Array::from_iter(messages.map(|m| m.leader_epoch())))
            }
            Meta::Timestamp => {
                let times = TimestampMillisecondArray::from_iter(messages.map(|m| m.timestamp().0));
                Arc::new(times.with_timezone("UTC"))
            }
            Meta::TimestampType => Arc::new(StringViewArray::from_iter_values(
                messages.map(|m| m.timestamp().1),
            )),
            Meta::Headers => headers(messages),
        }
    }
}

/// The type of headers: MAP of STRING to BYTES.
pub(super) fn headers_type() -> DataType {
    headers(std::iter::empty()).data_type().clone()
}

fn headers<'a>(messages: impl Iterator<Item = Message<'a>>) -> ArrayRef {
    let names = MapFieldNames {
        entry: "entries".to_owned(),
        key: "keys".to_owned(),
        value: "values".to_owned(),
    };
    let mut maps = MapBuilder::new(
        Some(names),
        StringViewBuilder::new(),
        BinaryViewBuilder::new(),
    );
    for message in messages {
        for (name, value) in message.headers() {
            maps.keys().append_value(name);
            maps.values().append_option(value);
        }
        // Appending fails only where keys and values differ in number.
        let appended = maps.append(true);
        debug_assert!(appended.is_ok());
    }
    Arc::new(maps.finish())
}

/// The record that a decoded row came from.
fn origin(decoded: &Decoded, row: usize) -> u32 {
    decoded
        .origin
        .as_ref()
        .map_or(row as u32, |origin| origin[row])
}

/// For each record its (first) row.
fn row_of_record(decoded: &Decoded, records: usize) -> Vec<Option<u32>> {
    let mut rows = vec![None; records];
    for row in (0..decoded.delta.rows()).rev() {
        rows[origin(decoded, row) as usize] = Some(row as u32);
    }
    rows
}

/// The rows of a column at these places; all of them without.
fn pick(column: &ArrayRef, rows: Option<&UInt32Array>) -> Result<ArrayRef> {
    match rows {
        None => Ok(Arc::clone(column)),
        Some(rows) if column.is_empty() => Ok(new_null_array(column.data_type(), rows.len())),
        Some(rows) => Ok(take(column, rows, None)?),
    }
}

/// The parts of messages that are there, copied one behind the other, and the messages that they are of.
fn records<'a>(
    messages: &[Message<'a>],
    part: fn(&Message<'a>) -> Option<&'a [u8]>,
) -> (Records, Vec<u32>) {
    let length = messages.iter().filter_map(part).map(<[u8]>::len).sum();
    let mut bytes = Vec::with_capacity(length);
    let mut ends = Vec::with_capacity(messages.len());
    let mut of = Vec::with_capacity(messages.len());
    for (idx, message) in messages.iter().enumerate() {
        if let Some(part) = part(message) {
            bytes.extend_from_slice(part);
            ends.push(bytes.len());
            of.push(idx as u32);
        }
    }
    let records = Records {
        bytes: Buffer::from_vec(bytes),
        start: 0,
        ends,
    };
    (records, of)
}

/// The keys of all messages; a missing one is empty.
fn keys(messages: &[Message<'_>]) -> Records {
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(messages.len());
    for message in messages {
        bytes.extend_from_slice(message.key().unwrap_or_default());
        ends.push(bytes.len());
    }
    Records {
        bytes: Buffer::from_vec(bytes),
        start: 0,
        ends,
    }
}

fn bad_record(message: Message<'_>, bytes: Option<&[u8]>, reason: String) -> BadRecord {
    BadRecord {
        bytes: bytes.unwrap_or_default().to_vec(),
        offset: Offset(message.offset()),
        reason,
    }
}
