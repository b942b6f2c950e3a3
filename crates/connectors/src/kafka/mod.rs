//! `kafka` and `upsert-kafka`: topics as tables.
//!
//! ```text
//! offsets, properties, fields   what the options mean (pure)
//! client                        a cluster's consumer; what its errors mean
//! batch                         many messages at once (the unsafe part)
//! rows                          messages -> rows
//! source, reader                topics -> partitions -> polls
//! sink, records, upsert         changes -> records
//! producer, drain               records -> brokers
//! system, transactions          all sinks of a job in one transaction
//! progress, progress_topic      what was committed, as the transactions themselves say it
//! ```
//!
//! | option | default | |
//! |---|---|---|
//! | `topic` | | a topic, or several with `;` between |
//! | `topic-pattern` | | all topics whose whole name matches (source) |
//! | `properties.bootstrap.servers` | | |
//! | `properties.*` | | every property of librdkafka; Java's names where they differ |
//! | `format`, `value.format` | | of values; its options are `json.*`, with `value.format` `value.json.*` |
//! | `key.format` | | of keys; its options are `key.json.*` |
//! | `key.fields` | | the columns in the key, with `;` between (`upsert-kafka`: the primary key) |
//! | `key.fields-prefix` | | what these columns' names have before the names in the key |
//! | `value.fields-include` | ALL | or EXCEPT_KEY |
//! | `scan.startup.mode` | group-offsets | earliest-offset, latest-offset, timestamp, specific-offsets (`upsert-kafka`: always the earliest) |
//! | `scan.startup.timestamp-millis`, `scan.startup.specific-offsets` | | |
//! | `scan.bounded.mode` | unbounded | latest-offset, group-offsets, timestamp, specific-offsets |
//! | `scan.bounded.timestamp-millis`, `scan.bounded.specific-offsets` | | |
//! | `scan.topic-partition-discovery.interval` | 5 min | 0: never |
//! | `sink.delivery-guarantee` | exactly-once | at-least-once, none |
//! | `sink.transactional-id-prefix` | | comes before the job's name in the transactional id |
//! | `sink.partitioner` | default | fixed, round-robin |
//! | `sink.parallelism`, `sink.buffer-flush.*` | | taken and without effect |

mod batch;
mod client;
mod drain;
mod fields;
mod offsets;
mod producer;
mod progress;
mod progress_topic;
mod properties;
mod reader;
mod records;
mod rows;
mod sink;
mod source;
mod system;
mod transactions;
mod upsert;

use crate::format::Format;
use crate::{Capabilities, Connector, Metadata, Reads, columns};
use arrow::datatypes::{Schema, SchemaRef};
use fields::KeyFields;
use millstream_dataflow::sink::Sink;
use millstream_dataflow::{Column, Error, Options, Result, Table};
use properties::Properties;
use records::Places;
use sink::{Guarantee, KafkaSink, SinkOptions};
use source::{KafkaSource, Layout, Topics};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const CONNECTOR: Connector = Connector {
    name: "kafka",
    check: |table, options| Settings::new(table, options, false)?.check(table),
    source: |table, options, wanted| {
        Ok(Arc::new(
            Settings::new(table, options, false)?.source(table, wanted)?,
        ))
    },
    sink: |table, options| Ok(Arc::new(Settings::new(table, options, false)?.sink(table)?)),
};

pub(crate) const UPSERT: Connector = Connector {
    name: "upsert-kafka",
    check: |table, options| Settings::new(table, options, true)?.check(table),
    source: |table, options, wanted| {
        Ok(Arc::new(
            Settings::new(table, options, true)?.source(table, wanted)?,
        ))
    },
    sink: |table, options| Ok(Arc::new(Settings::new(table, options, true)?.sink(table)?)),
};

/// How often new partitions are looked for, unless the table says.
const DISCOVERY: Duration = Duration::from_secs(300);

/// The options of both directions.
struct Settings {
    topics: Topics,
    properties: Properties,
    startup: offsets::Place,
    bounded: Option<offsets::Place>,
    discovery: Duration,
    value: Format,
    key: Option<Format>,
    fields: KeyFields,
    sink: SinkOptions,
    upsert: bool,
}

impl Settings {
    fn new(table: &Table, mut options: Options, upsert: bool) -> Result<Self> {
        let topics = Topics::new(&mut options)?;
        let properties = Properties::new(&table.name, options.prefixed("properties."))?;
        properties.check(&table.name)?;
        let startup = match upsert {
            true => offsets::Place::Earliest,
            false => offsets::startup(&mut options)?,
        };
        let bounded = offsets::bounded(&mut options)?;
        let discovery = options
            .duration("scan.topic-partition-discovery.interval")?
            .unwrap_or(DISCOVERY);
        let _: Option<u32> = options.parse("scan.parallelism")?;
        let (value, key) = formats(&mut options, upsert)?;
        let fields = match upsert {
            true => KeyFields::of_primary_key(table, &mut options)?,
            false => KeyFields::of_kafka(table, &mut options, key.is_some())?,
        };
        let sink = SinkOptions::new(&mut options)?;
        options.finish()?;
        Ok(Self {
            topics,
            properties,
            startup,
            bounded,
            discovery,
            value,
            key,
            fields,
            sink,
            upsert,
        })
    }

    fn metadata(&self, table: &Table) -> Vec<Metadata> {
        let mut offered = source::metadata();
        offered.extend(columns::of_format(table, &self.value.name, "value."));
        offered
    }

    fn check(&self, table: &Table) -> Result<Capabilities> {
        let metadata = self.metadata(table);
        let layout = self.layout(table, &columns::all(table, &metadata))?;
        Ok(Capabilities {
            source: Some(Reads {
                changes: layout.changes().clone(),
                bounded: self.bounded.is_some(),
                skips_bad: layout.skips_bad(),
            }),
            // What can be read and not written is no error before someone writes.
            sink: self.sink(table).ok().map(|sink| sink.changes()),
            metadata,
        })
    }

    fn layout(&self, table: &Table, wanted: &[Column]) -> Result<Layout> {
        Layout::new(
            table,
            wanted,
            &self.fields,
            &self.value,
            self.key.as_ref(),
            self.upsert,
        )
    }

    fn source(self, table: &Table, wanted: &[Column]) -> Result<KafkaSource> {
        for place in [Some(&self.startup), self.bounded.as_ref()]
            .into_iter()
            .flatten()
        {
            self.needs(table, place)?;
        }
        let layout = self.layout(table, wanted)?;
        let settings = source::Settings {
            topics: self.topics,
            properties: self.properties,
            startup: self.startup,
            bounded: self.bounded,
            discovery: (!self.discovery.is_zero()).then_some(self.discovery),
            upsert: self.upsert,
        };
        Ok(KafkaSource::new(settings, layout))
    }

    /// Refuses places that need what the table does not have.
    fn needs(&self, table: &Table, place: &offsets::Place) -> Result<()> {
        match place {
            offsets::Place::Group if self.properties.get("group.id").is_none() => {
                Err(Error::user(format!(
                    "table `{}` begins or ends at the offsets of a group, but has no 'properties.group.id'",
                    table.name
                ))
                .hint("that is the default: set 'scan.startup.mode' to earliest-offset or latest-offset, or name the group"))
            }
            offsets::Place::Specific(_) => match &self.topics {
                Topics::Named(names) if names.len() == 1 => Ok(()),
                Topics::Named(_) | Topics::Matching(_) => Err(Error::user(format!(
                    "table `{}`: specific offsets need a single topic",
                    table.name
                ))),
            },
            offsets::Place::Group
            | offsets::Place::Earliest
            | offsets::Place::Latest
            | offsets::Place::Timestamp(_) => Ok(()),
        }
    }

    fn sink(&self, table: &Table) -> Result<KafkaSink> {
        let topic = match &self.topics {
            Topics::Named(names) if names.len() == 1 => names[0].clone(),
            Topics::Named(_) | Topics::Matching(_) => {
                return Err(Error::user(format!(
                    "table `{}` cannot be written: it is of several topics",
                    table.name
                )));
            }
        };
        if self.sink.guarantee == Guarantee::ExactlyOnce {
            self.properties.check_transactional(&table.name)?;
        }
        let written: Vec<_> = columns::written(table).collect();
        let named = written
            .iter()
            .map(|c| (c.field.name().as_str(), c.metadata.as_deref()));
        let places = Places::new(named, &self.fields)
            .map_err(|error| error.context(format_args!("table `{}`", table.name)))?;
        let schema = |idxs: &[usize], prefix: usize| -> SchemaRef {
            let field = |idx: &usize| {
                let field = &written[*idx].field;
                field.clone().with_name(&field.name()[prefix..])
            };
            Arc::new(Schema::new(idxs.iter().map(field).collect::<Vec<_>>()))
        };
        let key_schema = schema(&places.key, self.fields.prefix.len());
        Ok(KafkaSink {
            topic,
            properties: self.properties.clone(),
            options: self.sink.clone(),
            value: self.value.encoder(&schema(&places.value, 0))?,
            key: match &self.key {
                None => None,
                Some(key) => Some(key.encoder(&key_schema)?),
            },
            key_schema,
            places,
            upsert: self.upsert,
        })
    }
}

/// The formats of value and key, with their options under the formats' own names.
fn formats(options: &mut Options, upsert: bool) -> Result<(Format, Option<Format>)> {
    let key = match upsert {
        true => Some(options.required("key.format")?),
        false => options.text("key.format"),
    };
    let key = key.map(|name| Format::take(options, "key.", name));
    let value = match (options.text("format"), options.text("value.format")) {
        (Some(_), Some(_)) => {
            return Err(Error::user(format!(
                "table `{}` has both 'format' and 'value.format'",
                options.owner()
            )));
        }
        (Some(name), None) if !upsert => Format::take(options, "", name),
        (_, Some(name)) => Format::take(options, "value.", name),
        (_, None) => {
            let wanted = if upsert { "value.format" } else { "format" };
            let name = options.required(wanted)?;
            Format::take(options, "", name)
        }
    };
    Ok((value, key))
}

#[cfg(test)]
mod tests;
