//! How a broker is set up, and what a topic can be configured with.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

/// How to start a broker. [`Config::default`] listens on a free loopback port and keeps its log in a temporary
/// folder that is deleted with the broker.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The host that clients are told to connect to; without it, the address that is listened on.
    pub advertised_host: Option<String>,
    /// The port that clients are told to connect to; without it, the one that is listened on.
    pub advertised_port: Option<u16>,
    /// Where the log is kept; `None` is a temporary folder.
    pub dir: Option<PathBuf>,
    /// Whether a topic is made when a client first names it.
    pub auto_create_topics: bool,
    /// How many partitions a topic gets that does not say.
    pub default_partitions: i32,
    /// Topic settings for topics that do not say, by Kafka's names (`retention.ms`, `segment.bytes`, ...).
    pub topic_defaults: BTreeMap<String, String>,
    /// How long the first member of a group waits for others before the first assignment. Kafka's default is three
    /// seconds; here it is zero, because development has few members and little patience.
    pub group_initial_delay: Duration,
    /// The longest transaction timeout that a producer may ask for.
    pub transaction_timeout_max: Duration,
    /// How often session timeouts and transaction timeouts are looked at.
    pub tick: Duration,
    /// How often retention is looked at.
    pub retention_interval: Duration,
    /// Threads that serve requests.
    pub threads: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertised_host: None,
            advertised_port: None,
            dir: None,
            auto_create_topics: true,
            default_partitions: 1,
            topic_defaults: BTreeMap::new(),
            group_initial_delay: Duration::ZERO,
            transaction_timeout_max: Duration::from_secs(900),
            tick: Duration::from_millis(50),
            retention_interval: Duration::from_secs(5),
            threads: 2,
        }
    }
}

/// What kind of value a topic setting takes; the numbers are those of the DescribeConfigs answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// One topic setting that Kafka knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
}

const fn setting(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting {
        name,
        kind,
        default,
    }
}

/// The topic settings that are accepted. The broker acts on `cleanup.policy` (delete only), `max.message.bytes`,
/// `message.timestamp.type`, `retention.*` and `segment.bytes`; the others are kept and told, so that scripts made
/// for a cluster run, and change nothing on a single node.
pub(crate) const SETTINGS: &[Setting] = &[
    setting("cleanup.policy", Kind::List, "delete"),
    setting("compression.type", Kind::Text, "producer"),
    setting("delete.retention.ms", Kind::Long, "86400000"),
    setting("file.delete.delay.ms", Kind::Long, "60000"),
    setting("flush.messages", Kind::Long, "9223372036854775807"),
    setting("flush.ms", Kind::Long, "9223372036854775807"),
    setting("max.compaction.lag.ms", Kind::Long, "9223372036854775807"),
    setting("max.message.bytes", Kind::Int, "1048588"),
    setting("message.timestamp.type", Kind::Text, "CreateTime"),
    setting("min.cleanable.dirty.ratio", Kind::Double, "0.5"),
    setting("min.compaction.lag.ms", Kind::Long, "0"),
    setting("min.insync.replicas", Kind::Int, "1"),
    setting("preallocate", Kind::Boolean, "false"),
    setting("retention.bytes", Kind::Long, "-1"),
    setting("retention.ms", Kind::Long, "604800000"),
    setting("segment.bytes", Kind::Int, "134217728"),
    setting("segment.ms", Kind::Long, "604800000"),
    setting("unclean.leader.election.enable", Kind::Boolean, "false"),
];

/// The settings that the broker acts on, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicConfig {
    pub(crate) deletes: bool,
    pub(crate) message_bytes_max: usize,
    pub(crate) stamps_append_time: bool,
    /// `None` keeps for ever.
    pub(crate) retention_ms: Option<i64>,
    /// `None` keeps any size.
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) segment_bytes: u64,
}

impl TopicConfig {
    /// Reads a topic's own settings over the broker's defaults; the error is for the client.
    pub(crate) fn read(
        own: &BTreeMap<String, String>,
        defaults: &BTreeMap<String, String>,
    ) -> Result<TopicConfig, String> {
        for (name, value) in own {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
                return Err(format!("Unknown topic config name: {name}"));
            };
            check(setting, value)?;
        }
        let number = |name| -> i64 { value_of(name, own, defaults).parse().unwrap_or(-1) };
        Ok(TopicConfig {
            deletes: value_of("cleanup.policy", own, defaults)
                .split(',')
                .any(|policy| policy.trim() == "delete"),
            message_bytes_max: usize::try_from(number("max.message.bytes")).unwrap_or(usize::MAX),
            stamps_append_time: value_of("message.timestamp.type", own, defaults)
                == "LogAppendTime",
            retention_ms: Some(number("retention.ms")).filter(|keep| *keep >= 0),
            retention_bytes: u64::try_from(number("retention.bytes")).ok(),
            segment_bytes: u64::try_from(number("segment.bytes")).unwrap_or(u64::MAX),
        })
    }
}

/// The value of a setting: the topic's own, the broker's, or Kafka's.
pub(crate) fn value_of<'a>(
    name: &str,
    own: &'a BTreeMap<String, String>,
    defaults: &'a BTreeMap<String, String>,
) -> &'a str {
    let built_in = || {
        SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .map_or("", |setting| setting.default)
    };
    own.get(name)
        .or_else(|| defaults.get(name))
        .map_or_else(built_in, String::as_str)
}

fn check(setting: &Setting, value: &str) -> Result<(), String> {
    let name = setting.name;
    let invalid = |why: &str| {
        Err(format!(
            "Invalid value {value} for configuration {name}: {why}"
        ))
    };
    let least = match name {
        "segment.bytes" => 14,
        "min.insync.replicas" => 1,
        "retention.ms" | "retention.bytes" => -1,
        _ => 0,
    };
    match setting.kind {
        Kind::Int | Kind::Long => match value.parse::<i64>() {
            Ok(number) if number < least => invalid(&format!("Value must be at least {least}")),
            Ok(number) if setting.kind == Kind::Int && i32::try_from(number).is_err() => {
                invalid("Not a number of type INT")
            }
            Ok(_) => Ok(()),
            Err(_) => invalid("Not a number"),
        },
        Kind::Double if value.parse::<f64>().is_err() => invalid("Not a number of type DOUBLE"),
        Kind::Boolean if !matches!(value, "true" | "false") => {
            invalid("Expected value to be either true or false")
        }
        Kind::Text | Kind::List | Kind::Boolean | Kind::Double => match name {
            "message.timestamp.type" if !matches!(value, "CreateTime" | "LogAppendTime") => {
                invalid("String must be one of: CreateTime, LogAppendTime")
            }
            "cleanup.policy"
                if !value
                    .split(',')
                    .all(|policy| matches!(policy.trim(), "delete" | "compact")) =>
            {
                invalid("String must be one of: compact, delete")
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn own_settings_go_before_the_brokers_and_kafkas() {
        let defaults = map(&[("retention.ms", "5"), ("segment.bytes", "1000")]);
        let config = TopicConfig::read(
            &map(&[("retention.ms", "-1"), ("cleanup.policy", "compact")]),
            &defaults,
        );
        let config = config.unwrap();
        assert_eq!(
            (config.retention_ms, config.segment_bytes, config.deletes),
            (None, 1000, false)
        );
        assert_eq!(config.retention_bytes, None);
    }

    #[test]
    fn a_wrong_setting_is_explained() {
        let error =
            |name, value| TopicConfig::read(&map(&[(name, value)]), &BTreeMap::new()).unwrap_err();
        assert!(error("retention", "1").contains("Unknown topic config name: retention"));
        assert!(error("retention.ms", "soon").contains("Not a number"));
        assert!(error("segment.bytes", "3").contains("at least 14"));
        assert!(error("cleanup.policy", "burn").contains("compact, delete"));
        assert!(error("max.message.bytes", "9999999999").contains("INT"));
    }
}
