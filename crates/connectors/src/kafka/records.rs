//! The changes of a delta as records: keys, values, timestamps and headers, encoded all at once.

use super::fields::KeyFields;
use super::upsert;
use crate::columns;
use arrow::array::{Array, ArrayRef, AsArray, MapArray};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMillisecondType};
use millstream_dataflow::format::Encoder;
use millstream_dataflow::{Delta, Error, Result};
use rdkafka::message::{Header, OwnedHeaders};
use std::sync::Arc;

/// Where the parts of a record stand in the sink's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) key: Vec<usize>,
    pub(super) value: Vec<usize>,
    pub(super) timestamp: Option<usize>,
    pub(super) headers: Option<usize>,
}

impl Places {
    /// Spreads the columns that a sink takes, given with their metadata keys.
    pub(super) fn new<'a>(
        columns: impl Iterator<Item = (&'a str, Option<&'a str>)>,
        fields: &KeyFields,
    ) -> Result<Self> {
        let mut places = Self::default();
        let mut keys = vec![None; fields.names.len()];
        for (idx, (name, metadata)) in columns.enumerate() {
            match metadata {
                Some("timestamp") => places.timestamp = Some(idx),
                Some("headers") => places.headers = Some(idx),
                Some(other) => {
                    return Err(Error::user(format!(
                        "the metadata column `{name}` ('{other}') cannot be written"
                    ))
                    .hint("declare it METADATA VIRTUAL"));
                }
                None => {
                    if let Some(at) = fields.names.iter().position(|key| key == name) {
                        keys[at] = Some(idx);
                    }
                    if fields.value_contains(name) {
                        places.value.push(idx);
                    }
                }
            }
        }
        places.key = keys.into_iter().flatten().collect();
        Ok(places)
    }
}

/// Makes records of deltas.
pub(super) struct Recorder {
    pub(super) value: Box<dyn Encoder>,
    pub(super) key: Option<Box<dyn Encoder>>,
    /// The key's columns under the names that they have there.
    pub(super) key_schema: SchemaRef,
    pub(super) places: Places,
    /// Whether a retraction deletes by key.
    pub(super) upsert: bool,
}

impl Recorder {
    /// The records of a delta, in its order.
    pub(super) fn encode(&mut self, delta: &Delta) -> Result<Records> {
        let delta = match self.upsert {
            true => upsert::last_of_each_key(delta, &self.places.key)?,
            false => delta.clone(),
        };
        let mut encoded = Records::new(&delta, &self.places)?;
        let values = delta.with_batch(delta.batch().project(&self.places.value)?)?;
        if self.upsert {
            // A deletion has no value; the format need not know of deletions.
            let kept = (0..delta.rows())
                .map(|row| Some(delta.weight(row) > 0))
                .collect();
            let values = values.filter(&kept)?;
            self.value
                .encode(&values, &mut encoded.values, &mut encoded.value_ends)?;
            encoded.spread_over_deletions(&delta)?;
        } else {
            self.value
                .encode(&values, &mut encoded.values, &mut encoded.value_ends)?;
        }
        if let Some(key) = &mut self.key {
            let keys = upsert::as_inserts(&delta)?;
            let columns = self
                .places
                .key
                .iter()
                .map(|idx| Arc::clone(keys.column(*idx)));
            let batch = columns::batch(&self.key_schema, columns.collect(), keys.rows())?;
            let keys = keys.with_batch(batch)?;
            let mut ends = Vec::new();
            key.encode(&keys, &mut encoded.keys, &mut ends)?;
            encoded.key_ends = Some(ends);
        }
        encoded.check()
    }
}

/// The records of a delta.
#[derive(Default)]
pub(super) struct Records {
    values: Vec<u8>,
    value_ends: Vec<usize>,
    /// Of each record, whether it deletes (has no value); empty if none does.
    deletions: Vec<bool>,
    keys: Vec<u8>,
    key_ends: Option<Vec<usize>>,
    /// Of each record, the row that it is of.
    rows: Vec<u32>,
    timestamps: Option<ArrayRef>,
    headers: Option<MapArray>,
}

impl Records {
    fn new(delta: &Delta, places: &Places) -> Result<Self> {
        let timestamps = match places.timestamp {
            None => None,
            Some(idx) => {
                let zone = Some("UTC".into());
                let wanted = DataType::Timestamp(TimeUnit::Millisecond, zone);
                Some(columns::to_type(Arc::clone(delta.column(idx)), &wanted)?)
            }
        };
        let headers = match places.headers {
            None => None,
            Some(idx) => {
                let wanted = super::rows::headers_type();
                let headers = columns::to_type(Arc::clone(delta.column(idx)), &wanted)?;
                Some(headers.as_map().clone())
            }
        };
        let times = |row: usize| delta.weight(row).unsigned_abs() as usize;
        Ok(Self {
            rows: (0..delta.rows())
                .flat_map(|row| std::iter::repeat_n(row as u32, times(row)))
                .collect(),
            timestamps,
            headers,
            ..Self::default()
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.value_ends.len()
    }

    /// Puts an empty value where a record deletes.
    fn spread_over_deletions(&mut self, delta: &Delta) -> Result<()> {
        self.deletions = self
            .rows
            .iter()
            .map(|row| delta.weight(*row as usize) < 0)
            .collect();
        let mut encoded = std::mem::take(&mut self.value_ends).into_iter();
        let mut end = 0;
        for deletes in &self.deletions {
            if !deletes {
                end = encoded
                    .next()
                    .ok_or_else(|| Error::internal("a format wrote fewer records than rows"))?;
            }
            self.value_ends.push(end);
        }
        Ok(())
    }

    fn check(self) -> Result<Self> {
        let records = self.rows.len();
        let keys = self.key_ends.as_ref().map_or(records, Vec::len);
        if self.value_ends.len() != records || keys != records {
            return Err(Error::internal(format!(
                "{records} changes were written as {} values and {keys} keys",
                self.value_ends.len()
            )));
        }
        Ok(self)
    }

    /// The value of a record; `None` deletes.
    pub(super) fn value(&self, idx: usize) -> Option<&[u8]> {
        let deletes = self.deletions.get(idx).copied().unwrap_or(false);
        (!deletes).then(|| part(&self.values, &self.value_ends, idx))
    }

    /// The key of a record.
    pub(super) fn key(&self, idx: usize) -> Option<&[u8]> {
        self.key_ends
            .as_ref()
            .map(|ends| part(&self.keys, ends, idx))
    }

    /// The timestamp that a record is given, in milliseconds.
    pub(super) fn timestamp(&self, idx: usize) -> Option<i64> {
        let times = self
            .timestamps
            .as_ref()?
            .as_primitive::<TimestampMillisecondType>();
        let row = self.rows[idx] as usize;
        times.is_valid(row).then(|| times.value(row))
    }

    /// The headers of a record.
    pub(super) fn headers(&self, idx: usize) -> Option<OwnedHeaders> {
        let maps = self.headers.as_ref()?;
        let row = self.rows[idx] as usize;
        if maps.is_null(row) {
            return None;
        }
        let entries = maps.value(row);
        let (names, values) = (
            entries.column(0).as_string_view(),
            entries.column(1).as_binary_view(),
        );
        let mut headers = OwnedHeaders::new_with_capacity(names.len());
        for at in 0..names.len() {
            headers = headers.insert(Header {
                key: names.value(at),
                value: values.is_valid(at).then(|| values.value(at)),
            });
        }
        Some(headers)
    }
}

fn part<'a>(bytes: &'a [u8], ends: &[usize], idx: usize) -> &'a [u8] {
    let start = if idx == 0 { 0 } else { ends[idx - 1] };
    &bytes[start..ends[idx]]
}
