//! Topics as a source: their partitions, where each begins and ends, and what is wanted of their messages.

use super::client::{Claim, Consumer, code_error};
use super::fields::KeyFields;
use super::offsets::Place as Offsets;
use super::properties::Properties;
use super::reader::PartitionReader;
use super::rows::{Meta, Rows, Slot, headers_type};
use super::system::is_internal;
use crate::format::Format;
use crate::{Metadata, clock, columns};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use millstream_dataflow::source::{Offset, Partition, Reader, Source};
use millstream_dataflow::{Changes, Column, Error, Options, Place, Result, Table};
use millstream_formats::{DecodingFormat, Input};
use rdkafka::Offset as KafkaOffset;
use rdkafka::error::RDKafkaErrorCode;
use regex::Regex;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The topics of a table.
#[derive(Clone, Debug)]
pub(super) enum Topics {
    /// By name.
    Named(Vec<String>),
    /// All whose whole name matches.
    Matching(Regex),
}

impl Topics {
    /// The options 'topic' and 'topic-pattern'.
    pub(super) fn new(options: &mut Options) -> Result<Self> {
        let pattern = options.text("topic-pattern");
        match (options.text("topic"), pattern) {
            (Some(_), Some(_)) => Err(Error::user(format!(
                "table `{}` has both 'topic' and 'topic-pattern'",
                options.owner()
            ))),
            (None, None) => options.required("topic").map(|_| Self::Named(Vec::new())),
            (Some(text), None) => {
                let names: Vec<String> =
                    text.split(';').map(|name| name.trim().to_owned()).collect();
                if names.iter().any(String::is_empty) {
                    return Err(options.invalid(
                        "topic",
                        &text,
                        "a topic, or several with ';' between",
                    ));
                }
                Ok(Self::Named(names))
            }
            (None, Some(pattern)) => Regex::new(&format!("^(?:{pattern})$"))
                .map(Self::Matching)
                .map_err(|error| {
                    options
                        .invalid("topic-pattern", &pattern, "a regular expression")
                        .detail(error.to_string())
                }),
        }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(names) => f.write_str(&names.join(", ")),
            Self::Matching(pattern) => write!(f, "topics like {pattern}"),
        }
    }
}

/// What is settled of a table's source.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) topics: Topics,
    pub(super) properties: Properties,
    pub(super) startup: Offsets,
    pub(super) bounded: Option<Offsets>,
    /// How often new topics and partitions are looked for.
    pub(super) discovery: Option<Duration>,
    pub(super) upsert: bool,
}

/// The decoders of a table and where its columns come from.
#[derive(Debug)]
pub(super) struct Layout {
    slots: Arc<[Slot]>,
    schema: SchemaRef,
    value: Arc<dyn DecodingFormat>,
    key: Option<Arc<dyn DecodingFormat>>,
    changes: Changes,
}

impl Layout {
    /// Spreads the wanted columns over value, key and message.
    pub(super) fn new(
        table: &Table,
        wanted: &[Column],
        fields: &KeyFields,
        value: &Format,
        key: Option<&Format>,
        upsert: bool,
    ) -> Result<Self> {
        let (mut values, mut keys) = (Vec::new(), Vec::new());
        let mut slots = Vec::with_capacity(wanted.len());
        for column in wanted {
            slots.push(match &column.place {
                Place::Metadata(name) => match (meta(name), name.strip_prefix("value.")) {
                    (Some(meta), _) => Slot::Message(meta),
                    (None, Some(of_format)) => {
                        values.push(Column {
                            place: Place::Metadata(of_format.to_owned()),
                            ..column.clone()
                        });
                        Slot::Value(values.len() - 1)
                    }
                    (None, None) => {
                        return Err(Error::user(format!("Kafka has no metadata '{name}'")));
                    }
                },
                Place::Field(path) => {
                    let head = path.first().map_or("", String::as_str);
                    let in_key = fields.contains(head) && (upsert || !fields.in_value);
                    if in_key {
                        keys.push(fields.in_key(column));
                        Slot::Key(keys.len() - 1)
                    } else {
                        values.push(column.clone());
                        Slot::Value(values.len() - 1)
                    }
                }
            });
        }
        let value_format = value.decoder(&fields.value_table(table), &values)?;
        let key_format = match key {
            None => None,
            Some(key) => {
                let format = key.decoder(&fields.key_table(table), &keys)?;
                (upsert || !keys.is_empty()).then_some(format)
            }
        };
        let changes = match upsert {
            false => value_format.changes(),
            true => Changes::Upsert(key_columns(fields, wanted)?),
        };
        Ok(Self {
            slots: slots.into(),
            schema: columns::schema(wanted),
            value: value_format,
            key: key_format,
            changes,
        })
    }

    /// What the rows mean.
    pub(super) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Whether the format of values or keys is asked to skip bad records.
    pub(super) fn skips_bad(&self) -> bool {
        let key = self.key.as_ref();
        self.value.skips_bad() || key.is_some_and(|key| key.skips_bad())
    }

    fn rows(&self, topic: &str, partition: i32, upsert: bool) -> Result<Rows> {
        Ok(Rows {
            topic: topic.to_owned(),
            partition,
            slots: Arc::clone(&self.slots),
            schema: Arc::clone(&self.schema),
            value: self.value.open(&Input::Messages)?,
            key: match &self.key {
                None => None,
                Some(key) => Some(key.open(&Input::Messages)?),
            },
            upsert,
        })
    }
}

/// Where the columns of the key stand among the wanted ones.
fn key_columns(fields: &KeyFields, wanted: &[Column]) -> Result<Vec<usize>> {
    let position = |name: &String| {
        wanted
            .iter()
            .position(|column| column.place == Place::Field(vec![name.clone()]))
            .ok_or_else(|| {
                Error::internal(format!(
                    "the key's column `{name}` of an upserted table is not read"
                ))
            })
    };
    fields.names.iter().map(position).collect()
}

fn meta(name: &str) -> Option<Meta> {
    Some(match name {
        "topic" => Meta::Topic,
        "partition" => Meta::Partition,
        "headers" => Meta::Headers,
        "leader-epoch" => Meta::LeaderEpoch,
        "offset" => Meta::Offset,
        "timestamp" => Meta::Timestamp,
        "timestamp-type" => Meta::TimestampType,
        _ => return None,
    })
}

/// The metadata of messages.
pub(super) fn metadata() -> Vec<Metadata> {
    let offer = |key: &str, data_type, writable| Metadata {
        key: key.to_owned(),
        data_type,
        writable,
    };
    vec![
        offer("topic", DataType::Utf8View, false),
        offer("partition", DataType::Int32, false),
        offer("headers", headers_type(), true),
        offer("leader-epoch", DataType::Int32, false),
        offer("offset", DataType::Int64, false),
        offer(
            "timestamp",
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            true,
        ),
        offer("timestamp-type", DataType::Utf8View, false),
    ]
}

/// Topics as a source.
pub(super) struct KafkaSource {
    settings: Settings,
    layout: Layout,
    consumer: OnceLock<Result<Arc<Consumer>>>,
    /// Consumers of readers that read partitions which the first consumer reads already (a view that is built beside
    /// a running job reads its topics from their start).
    others: Mutex<Vec<Weak<Consumer>>>,
    found: Mutex<Option<Found>>,
}

/// The partitions as they were found last.
struct Found {
    /// When; `None`: by the job before it was started again.
    at: Option<Instant>,
    partitions: Vec<Partition>,
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource")
            .field("settings", &self.settings)
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connector = if self.settings.upsert {
            "upsert-kafka"
        } else {
            "kafka"
        };
        write!(
            f,
            "{connector} {} ({})",
            self.settings.topics, self.layout.value
        )
    }
}

impl KafkaSource {
    pub(super) fn new(settings: Settings, layout: Layout) -> Self {
        Self {
            settings,
            layout,
            consumer: OnceLock::new(),
            others: Mutex::default(),
            found: Mutex::new(None),
        }
    }

    fn consumer(&self) -> Result<&Arc<Consumer>> {
        let made = self
            .consumer
            .get_or_init(|| Consumer::new(&self.settings.properties, true).map(Arc::new));
        made.as_ref().map_err(Clone::clone)
    }

    /// A consumer that no reader reads this partition with.
    fn claim(&self, topic: &str, partition: i32) -> Result<Claim> {
        if let Some(claim) = Claim::new(self.consumer()?, topic, partition) {
            return Ok(claim);
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|other| other.strong_count() > 0);
        let free = others
            .iter()
            .filter_map(Weak::upgrade)
            .find_map(|other| Claim::new(&other, topic, partition));
        if let Some(claim) = free {
            return Ok(claim);
        }
        let other = Arc::new(Consumer::new(&self.settings.properties, false)?);
        others.push(Arc::downgrade(&other));
        Claim::new(&other, topic, partition)
            .ok_or_else(|| Error::internal("a new consumer has readers"))
    }

    /// Topics and partitions that exist now.
    fn list(&self) -> Result<Vec<(String, i32)>> {
        let consumer = self.consumer()?;
        let topics = match &self.settings.topics {
            Topics::Matching(pattern) => {
                let mut all = consumer.topics(None)?;
                all.retain(|(name, _)| pattern.is_match(name) && !is_internal(name));
                all
            }
            Topics::Named(names) => {
                let mut all = Vec::new();
                for name in names {
                    all.extend(consumer.topics(Some(name))?);
                }
                all
            }
        };
        if let (Some((name, _)), Topics::Named(_)) = (
            topics.iter().find(|(_, count)| *count == 0),
            &self.settings.topics,
        ) {
            let what = format!("the topic '{name}' cannot be read");
            return Err(code_error(
                &what,
                RDKafkaErrorCode::UnknownTopicOrPartition,
                "",
            ));
        }
        let each = |(name, count): (String, i32)| {
            (0..count).map(move |partition| (name.clone(), partition))
        };
        Ok(topics.into_iter().flat_map(each).collect())
    }

    fn offsets(
        &self,
        partitions: &[(String, i32)],
        place: &Offsets,
        unnamed: Unnamed,
    ) -> Result<Vec<i64>> {
        let consumer = self.consumer()?;
        match place {
            Offsets::Earliest => consumer.offsets(partitions, KafkaOffset::Beginning),
            Offsets::Latest => consumer.offsets(partitions, KafkaOffset::End),
            Offsets::Timestamp(ms) => {
                consumer.offsets(partitions, KafkaOffset::Offset((*ms).max(0)))
            }
            Offsets::Group => self.committed(partitions),
            Offsets::Specific(given) => {
                let others = match unnamed {
                    Unnamed::Earliest => consumer.offsets(partitions, KafkaOffset::Beginning)?,
                    Unnamed::Nothing => vec![0; partitions.len()],
                };
                let offset = |((_, partition), other): (&(String, i32), i64)| {
                    given.get(partition).copied().unwrap_or(other)
                };
                Ok(partitions.iter().zip(others).map(offset).collect())
            }
        }
    }

    /// The group's offsets; where it has none, what 'properties.auto.offset.reset' says.
    fn committed(&self, partitions: &[(String, i32)]) -> Result<Vec<i64>> {
        let consumer = self.consumer()?;
        let committed = consumer.committed(partitions)?;
        let missing: Vec<(String, i32)> = partitions
            .iter()
            .zip(&committed)
            .filter(|(_, offset)| offset.is_none())
            .map(|(partition, _)| partition.clone())
            .collect();
        let mut instead = match (missing.first(), self.settings.properties.reset.as_deref()) {
            (None, _) => Vec::new(),
            (_, Some("earliest")) => consumer.offsets(&missing, KafkaOffset::Beginning)?,
            (_, Some("latest")) => consumer.offsets(&missing, KafkaOffset::End)?,
            (Some((topic, partition)), _) => {
                let group = self.settings.properties.get("group.id").unwrap_or_default();
                return Err(Error::user(format!(
                    "the group '{group}' has committed no offset of '{topic}/{partition}'"
                ))
                .hint("set 'scan.startup.mode' (earliest-offset, latest-offset), or 'properties.auto.offset.reset' (earliest, latest) for where the group has none"));
            }
        }
        .into_iter();
        let offset = |offset: Option<i64>| offset.or_else(|| instead.next()).unwrap_or(0);
        Ok(committed.into_iter().map(offset).collect())
    }

    /// The partitions with their offsets; those that are new since `before` begin where they begin.
    fn find(&self, before: Option<&Found>) -> Result<Vec<Partition>> {
        let listed = self.list()?;
        let known: BTreeSet<&str> = before
            .iter()
            .flat_map(|found| &found.partitions)
            .map(|partition| partition.name.as_str())
            .collect();
        let new: Vec<(String, i32)> = listed
            .into_iter()
            .filter(|(topic, partition)| !known.contains(name(topic, *partition).as_str()))
            .collect();
        let startup = match before {
            None => &self.settings.startup,
            Some(_) => &Offsets::Earliest,
        };
        let starts = self.offsets(&new, startup, Unnamed::Earliest)?;
        let ends = match &self.settings.bounded {
            None => vec![None; new.len()],
            Some(place) => {
                let ends = self.offsets(&new, place, Unnamed::Nothing)?;
                ends.into_iter().map(Some).collect()
            }
        };
        let partition =
            |(((topic, partition), start), end): (((String, i32), i64), Option<i64>)| Partition {
                name: name(&topic, partition),
                start: Offset(start),
                // A partition that ends before it begins has nothing to read.
                end: end.map(|end| Offset(end.max(start))),
            };
        let mut all: Vec<Partition> =
            before.map_or_else(Vec::new, |found| found.partitions.clone());
        all.extend(new.into_iter().zip(starts).zip(ends).map(partition));
        Ok(all)
    }
}

/// What becomes of partitions that specific offsets do not name.
#[derive(Clone, Copy)]
enum Unnamed {
    /// Read from their start.
    Earliest,
    /// Not read.
    Nothing,
}

fn name(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}

impl Source for KafkaSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    fn changes(&self) -> Changes {
        self.layout.changes.clone()
    }

    fn bounded(&self) -> bool {
        self.settings.bounded.is_some()
    }

    fn partitions(&self) -> Result<Vec<Partition>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = &*found {
            let fresh = match self.settings.discovery {
                None => true,
                Some(interval) => before.at.is_some_and(|at| at.elapsed() < interval),
            };
            if fresh || self.bounded() {
                return Ok(before.partitions.clone());
            }
        }
        let partitions = self.find(found.as_ref())?;
        *found = Some(Found {
            at: Some(clock::now()),
            partitions: partitions.clone(),
        });
        Ok(partitions)
    }

    fn resume(&self, known: &[Partition]) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        *found = Some(Found {
            at: None,
            partitions: known.to_vec(),
        });
    }

    fn open(&self, partition: &Partition, from: Offset) -> Result<Box<dyn Reader>> {
        let unknown =
            || Error::internal(format!("'{}' is no partition of a topic", partition.name));
        let (topic, number) = partition.name.rsplit_once('/').ok_or_else(unknown)?;
        let number = number.parse().map_err(|_| unknown())?;
        let rows = self.layout.rows(topic, number, self.settings.upsert)?;
        let end = partition.end.map(|end| end.0);
        let reader = PartitionReader::new(self.claim(topic, number)?, rows, from.0, end)?;
        Ok(Box::new(reader))
    }
}
