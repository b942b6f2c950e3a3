//! The options `properties.*`: librdkafka's properties pass through as they are; those of the Java client that have
//! another name or form are translated, and those that have no meaning here are refused with what to write instead.

use millstream_dataflow::{Error, Result};
use rdkafka::ClientConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a request may take, unless `properties.default.api.timeout.ms` says.
const TIMEOUT_MS: u64 = 10_000;

/// The properties of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Properties {
    values: BTreeMap<String, String>,
    /// Java's `auto.offset.reset`, which has a meaning for this connector too.
    pub(super) reset: Option<String>,
    /// How long a request may take.
    pub(super) timeout: Duration,
}

/// Java's names of what librdkafka has under another.
const RENAMED: [(&str, &str); 6] = [
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("max.request.size", "message.max.bytes"),
    (
        "connections.setup.timeout.ms",
        "socket.connection.setup.timeout.ms",
    ),
    (
        "socket.connection.setup.timeout.max.ms",
        "socket.connection.setup.timeout.ms",
    ),
];

/// What only the Java client has, and what to do instead.
const REFUSED: [(&str, &str); 17] = [
    (
        "max.block.ms",
        "leave it out: a full buffer slows the job until there is room",
    ),
    ("key.deserializer", "the table's 'key.format' decides"),
    ("value.deserializer", "the table's 'format' decides"),
    ("key.serializer", "the table's 'key.format' decides"),
    ("value.serializer", "the table's 'format' decides"),
    ("partitioner.class", "use 'sink.partitioner'"),
    ("interceptor.classes", "Java classes cannot be loaded"),
    ("metric.reporters", "Java classes cannot be loaded"),
    (
        "max.poll.records",
        "leave it out: batches are as large as what has arrived",
    ),
    (
        "ssl.truststore.location",
        "export the certificates as PEM and set 'properties.ssl.ca.location'",
    ),
    (
        "ssl.truststore.password",
        "export the certificates as PEM and set 'properties.ssl.ca.location'",
    ),
    (
        "ssl.truststore.type",
        "export the certificates as PEM and set 'properties.ssl.ca.location'",
    ),
    (
        "ssl.truststore.certificates",
        "write the certificates to a file and set 'properties.ssl.ca.location'",
    ),
    (
        "ssl.keystore.type",
        "a keystore must be PKCS#12, or set 'properties.ssl.certificate.location' and 'properties.ssl.key.location' (PEM)",
    ),
    (
        "sasl.client.callback.handler.class",
        "Java classes cannot be loaded",
    ),
    (
        "sasl.login.callback.handler.class",
        "use 'properties.sasl.oauthbearer.method' = 'oidc'",
    ),
    (
        "transactional.id",
        "leave it out: a job names its own ('sink.transactional-id-prefix' comes before that)",
    ),
];

/// librdkafka lets half of the first pause go by between any two connections that a new client makes, and pauses for up to
/// ten seconds when brokers are away: too long for a job that starts again.
const PATIENCE: [(&str, &str); 2] = [
    ("reconnect.backoff.ms", "20"),
    ("reconnect.backoff.max.ms", "1000"),
];

impl Properties {
    /// Translates the options, given without their prefix.
    pub(super) fn new(table: &str, given: BTreeMap<String, String>) -> Result<Self> {
        let mut values = BTreeMap::new();
        let mut reset = None;
        let mut timeout_ms = TIMEOUT_MS;
        for (name, value) in given {
            if let Some((_, hint)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
                let message = format!("table `{table}`: 'properties.{name}' cannot be set here");
                return Err(Error::user(message).hint(*hint));
            }
            match name.as_str() {
                "auto.offset.reset" => reset = Some(offset_reset(table, &value)?),
                "default.api.timeout.ms" => {
                    timeout_ms = value
                        .trim()
                        .parse()
                        .map_err(|_| invalid(table, &name, &value, "a number"))?;
                }
                "buffer.memory" => {
                    let bytes: u64 = value
                        .trim()
                        .parse()
                        .map_err(|_| invalid(table, &name, &value, "a number of bytes"))?;
                    let kbytes = (bytes / 1024).max(1).to_string();
                    values.insert("queue.buffering.max.kbytes".to_owned(), kbytes);
                }
                "sasl.jaas.config" => values.extend(jaas(table, &value)?),
                "ssl.endpoint.identification.algorithm" if value.is_empty() => {
                    values.insert(name, "none".to_owned());
                }
                _ => {
                    let renamed = RENAMED.iter().find(|(java, _)| *java == name);
                    let name = renamed.map_or(name.clone(), |(_, name)| (*name).to_owned());
                    values.insert(name, value);
                }
            }
        }
        if !values.contains_key("bootstrap.servers") && !values.contains_key("metadata.broker.list")
        {
            return Err(Error::user(format!(
                "table `{table}` needs the option 'properties.bootstrap.servers'"
            )));
        }
        Ok(Self {
            values,
            reset,
            timeout: Duration::from_millis(timeout_ms),
        })
    }

    /// A property, if it was given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The brokers, for messages.
    pub(super) fn servers(&self) -> &str {
        self.get("bootstrap.servers")
            .or_else(|| self.get("metadata.broker.list"))
            .unwrap_or_default()
    }

    /// The configuration of a client: these defaults, what was given, and what cannot be otherwise.
    pub(super) fn config(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        let patience = |name: &&String| name.starts_with("reconnect.backoff.");
        let patience: &[_] = match self.values.keys().any(|name| patience(&name)) {
            true => &[],
            false => &PATIENCE,
        };
        for (name, value) in patience.iter().chain(defaults) {
            config.set(*name, *value);
        }
        for (name, value) in &self.values {
            config.set(name, value);
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config
    }

    /// Refuses names and values that librdkafka does not know.
    pub(super) fn check(&self, table: &str) -> Result<()> {
        let config = self.config(&[], &[]).create_native_config();
        config.map(|_| ()).map_err(|error| {
            Error::user(format!("table `{table}`: a property of 'properties.*' is wrong"))
                .detail(error.to_string())
                .hint("'properties.*' takes the configuration properties of librdkafka, and those of the Java client that mean the same")
        })
    }

    /// Refuses what no transaction can hold with.
    pub(super) fn check_transactional(&self, table: &str) -> Result<()> {
        let unfit = |name: &str, value: &str| match name {
            "enable.idempotence" => value != "true",
            "acks" | "request.required.acks" => !matches!(value, "all" | "-1"),
            _ => false,
        };
        match self.values.iter().find(|(name, value)| unfit(name, value)) {
            None => Ok(()),
            Some((name, value)) => Err(Error::user(format!(
                "table `{table}`: 'properties.{name}' = '{value}' does not go with 'sink.delivery-guarantee' = 'exactly-once'"
            ))
            .hint("leave the property out, or set the guarantee to at-least-once")),
        }
    }

    /// Which cluster these properties lead to, and as whom.
    pub(super) fn cluster(&self) -> String {
        let mut servers: Vec<&str> = self.servers().split(',').map(str::trim).collect();
        servers.sort_unstable();
        servers.dedup();
        let identity = IDENTITY
            .iter()
            .filter_map(|name| self.get(name).map(|value| format!(", {name} {value}")));
        format!(
            "Kafka at {}{}",
            servers.join(","),
            identity.collect::<String>()
        )
    }

    /// The properties of producers that are not the same in both.
    pub(super) fn differences<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        let of_producers = |name: &&str| {
            !OF_CONSUMERS.contains(name)
                && !["fetch.", "queued."]
                    .iter()
                    .any(|start| name.starts_with(start))
                && !matches!(*name, "bootstrap.servers" | "metadata.broker.list")
        };
        let names = self.values.keys().chain(other.values.keys());
        names
            .map(String::as_str)
            .filter(of_producers)
            .filter(|name| self.get(name) != other.get(name))
            .collect()
    }
}

/// What says, beside the brokers, who writes.
const IDENTITY: [&str; 6] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "ssl.certificate.location",
    "ssl.keystore.location",
];

/// What has no effect on producers (as all of `fetch.*` and `queued.*`).
const OF_CONSUMERS: [&str; 15] = [
    "group.id",
    "group.instance.id",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "enable.auto.commit",
    "auto.commit.interval.ms",
    "enable.auto.offset.store",
    "max.partition.fetch.bytes",
    "isolation.level",
    "check.crcs",
    "partition.assignment.strategy",
    "client.rack",
    "enable.partition.eof",
    "coordinator.query.interval.ms",
];

fn invalid(table: &str, name: &str, value: &str, wanted: &str) -> Error {
    Error::user(format!(
        "table `{table}`: option 'properties.{name}' is '{value}', but must be {wanted}"
    ))
}

fn offset_reset(table: &str, value: &str) -> Result<String> {
    let lower = value.trim().to_ascii_lowercase();
    match lower.as_str() {
        "earliest" | "smallest" | "beginning" => Ok("earliest".to_owned()),
        "latest" | "largest" | "end" => Ok("latest".to_owned()),
        "none" | "error" => Ok("error".to_owned()),
        _ => Err(invalid(
            table,
            "auto.offset.reset",
            value,
            "earliest, latest or none",
        )),
    }
}

/// User and password of a login module of Java: `...PlainLoginModule required username="u" password="p";`
fn jaas(table: &str, value: &str) -> Result<[(String, String); 2]> {
    let unsupported = || {
        Error::user(format!(
            "table `{table}`: 'properties.sasl.jaas.config' names a login module of Java that is not known here"
        ))
        .hint("known are PlainLoginModule and ScramLoginModule; or set 'properties.sasl.username' and 'properties.sasl.password', and for OAUTHBEARER 'properties.sasl.oauthbearer.*'")
    };
    if !value.contains("PlainLoginModule") && !value.contains("ScramLoginModule") {
        return Err(unsupported());
    }
    let quoted = |name: &str| {
        let (_, rest) = value.split_once(&format!("{name}="))?;
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (inner, _) = rest[1..].split_once(quote)?;
        Some(inner.to_owned())
    };
    let username = quoted("username").ok_or_else(unsupported)?;
    let password = quoted("password").ok_or_else(unsupported)?;
    Ok([
        ("sasl.username".to_owned(), username),
        ("sasl.password".to_owned(), password),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Result<Properties> {
        let servers = [("bootstrap.servers", "localhost:9092")];
        let all = servers.iter().chain(pairs);
        Properties::new(
            "t",
            all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn properties_pass_through_and_javas_are_translated() {
        let given = properties(&[
            ("security.protocol", "SASL_SSL"),
            ("fetch.max.wait.ms", "50"),
            ("auto.offset.reset", "earliest"),
            ("sasl.jaas.config", "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"me\" password='it''s';"),
        ])
        .unwrap();
        assert_eq!(given.get("security.protocol"), Some("SASL_SSL"));
        assert_eq!(given.get("fetch.wait.max.ms"), Some("50"));
        assert_eq!(given.get("sasl.username"), Some("me"));
        assert_eq!(given.reset.as_deref(), Some("earliest"));
        given.check("t").unwrap();
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_do() {
        let error = properties(&[("ssl.truststore.location", "/x.jks")]).unwrap_err();
        assert!(error.hint.unwrap().contains("ssl.ca.location"));
        let error = properties(&[(
            "sasl.jaas.config",
            "com.sun.security.Krb5LoginModule required;",
        )])
        .unwrap_err();
        assert!(error.hint.unwrap().contains("sasl.username"));
        let error = properties(&[("fetch.min.bites", "1")])
            .unwrap()
            .check("t")
            .unwrap_err();
        assert!(error.detail.unwrap().contains("fetch.min.bites"));
        let error = Properties::new("t", BTreeMap::new()).unwrap_err();
        assert!(error.message.contains("properties.bootstrap.servers"));
    }
}
