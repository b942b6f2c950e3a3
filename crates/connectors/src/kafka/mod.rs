//! `kafka` and `upsert-kafka`: topics as tables.
//!
//! ```text
//! offsets, properties, fields   what the options mean (pure)
//! client                        a cluster's consumer; what its errors mean
//! batch                         many messages at once (the unsafe part)
//! rows                          messages -> rows
//! source, reader                topics -> partitions -> polls
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

mod batch;
mod client;
mod fields;
mod offsets;
mod properties;
mod reader;
mod rows;
mod source;

use crate::{Capabilities, Connector, Reads, cannot_write, columns};
use fields::KeyFields;
use millstream_dataflow::source::Source;
use millstream_dataflow::{Column, Error, Options, Result, Table};
use properties::Properties;
use source::{Format, KafkaSource, Layout, Settings, Topics};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const CONNECTOR: Connector = Connector {
    name: "kafka",
    check: |table, options| check(table, options, false),
    source: |table, options, wanted| Ok(Arc::new(read(table, options, wanted, false)?)),
    sink: |table, _| Err(cannot_write(table)),
};

pub(crate) const UPSERT: Connector = Connector {
    name: "upsert-kafka",
    check: |table, options| check(table, options, true),
    source: |table, options, wanted| Ok(Arc::new(read(table, options, wanted, true)?)),
    sink: |table, _| Err(cannot_write(table)),
};

/// How often new partitions are looked for, unless the table says.
const DISCOVERY: Duration = Duration::from_secs(300);

fn check(table: &Table, options: Options, upsert: bool) -> Result<Capabilities> {
    let source = read(table, options, &columns::physical(table), upsert)?;
    Ok(Capabilities {
        source: Some(Reads {
            changes: source.changes(),
            bounded: source.bounded(),
            skips_bad: source.skips_bad(),
        }),
        sink: None,
        metadata: source::metadata(),
    })
}

fn read(
    table: &Table,
    mut options: Options,
    wanted: &[Column],
    upsert: bool,
) -> Result<KafkaSource> {
    let topics = Topics::new(&mut options)?;
    let properties = Properties::new(&table.name, options.prefixed("properties."))?;
    properties.check(&table.name)?;
    let startup = match upsert {
        true => offsets::Place::Earliest,
        false => offsets::startup(&mut options)?,
    };
    let bounded = offsets::bounded(&mut options)?;
    for place in [Some(&startup), bounded.as_ref()].into_iter().flatten() {
        needs(table, place, &topics, &properties)?;
    }
    let discovery = options
        .duration("scan.topic-partition-discovery.interval")?
        .unwrap_or(DISCOVERY);
    let _: Option<u32> = options.parse("scan.parallelism")?;
    let (value, key) = formats(&mut options, upsert)?;
    let fields = if upsert {
        KeyFields::of_primary_key(table, &mut options)?
    } else {
        KeyFields::of_kafka(table, &mut options, key.is_some())?
    };
    if upsert && fields.names.is_empty() {
        return Err(Error::user(format!(
            "table `{}` of connector 'upsert-kafka' has no primary key",
            table.name
        ))
        .hint("declare PRIMARY KEY (...) NOT ENFORCED: it is the key of the messages"));
    }
    options.finish()?;
    let layout = Layout::new(table, wanted, &fields, value, key, upsert)?;
    let settings = Settings {
        topics,
        properties,
        startup,
        bounded,
        discovery: (!discovery.is_zero()).then_some(discovery),
        upsert,
    };
    Ok(KafkaSource::new(settings, layout))
}

/// Refuses places that need what the table does not have.
fn needs(
    table: &Table,
    place: &offsets::Place,
    topics: &Topics,
    properties: &Properties,
) -> Result<()> {
    match place {
        offsets::Place::Group if properties.get("group.id").is_none() => Err(Error::user(format!(
            "table `{}` begins or ends at the offsets of a group, but has no 'properties.group.id'",
            table.name
        ))
        .hint("that is the default: set 'scan.startup.mode' to earliest-offset or latest-offset, or name the group")),
        offsets::Place::Specific(_) => match topics {
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

/// The formats of value and key, with their options under the formats' own names.
fn formats(options: &mut Options, upsert: bool) -> Result<(Format, Option<Format>)> {
    let key = match options.text("key.format") {
        Some(name) => Some(format(options, "key.", name)),
        None if upsert => {
            return Err(options
                .required("key.format")
                .err()
                .unwrap_or_else(|| Error::internal("no key.format")));
        }
        None => None,
    };
    let value = match (options.text("format"), options.text("value.format")) {
        (Some(_), Some(_)) => {
            return Err(Error::user(format!(
                "table `{}` has both 'format' and 'value.format'",
                options.owner()
            )));
        }
        (Some(name), None) if !upsert => format(options, "", name),
        (_, Some(name)) => format(options, "value.", name),
        (_, None) => {
            let name = options.required(if upsert { "value.format" } else { "format" })?;
            format(options, "", name)
        }
    };
    Ok((value, key))
}

fn format(options: &mut Options, prefix: &str, name: String) -> Format {
    let of_format = options.prefixed(&format!("{prefix}{name}."));
    let renamed = of_format
        .into_iter()
        .map(|(option, value)| (format!("{name}.{option}"), value));
    Format {
        options: Options::new(options.owner(), renamed),
        name,
    }
}

#[cfg(test)]
mod tests;
