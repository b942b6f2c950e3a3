//! A Kafka cluster as a system whose transactions span all of a job's topics.

use super::progress::Ledger;
use super::progress_topic::ProgressTopic;
use super::properties::Properties;
use super::transactions::KafkaTransactions;
use millstream_dataflow::Result;
use millstream_dataflow::sink::{System, Transactions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

/// Kafka's limit of a topic's name.
const NAME_MAX: usize = 249;

/// A cluster, as the properties of a table lead to it.
#[derive(Debug)]
pub(super) struct KafkaSystem {
    properties: Properties,
    prefix: Option<String>,
}

impl KafkaSystem {
    /// The cluster of a table; a prefix makes it another system.
    pub(super) fn new(properties: &Properties, prefix: Option<&str>) -> Self {
        Self {
            properties: properties.clone(),
            prefix: prefix.map(str::to_owned),
        }
    }
}

impl System for KafkaSystem {
    fn name(&self) -> String {
        let prefix = self.prefix.as_ref();
        let prefix = prefix.map_or_else(String::new, |prefix| {
            format!(", sink.transactional-id-prefix {prefix}")
        });
        format!("{}{prefix}", self.properties.cluster())
    }

    fn open(&self, job: &str) -> Result<Box<dyn Transactions>> {
        let id = transactional_id(self.prefix.as_deref(), job);
        let instance = (u128::from(random()) << 64) | u128::from(random());
        let topic = ProgressTopic::open(progress_topic(&id), &self.properties)?;
        let transactions = KafkaTransactions::open(Place {
            job: job.to_owned(),
            system: self.name(),
            transactional_id: id,
            instance,
            topic,
            ledger: Arc::new(Mutex::new(Ledger::new(instance))),
            kept: Arc::default(),
        })?;
        Ok(Box::new(transactions))
    }
}

/// The place of a job in a cluster, as one instance of the job holds it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) job: String,
    pub(super) system: String,
    pub(super) transactional_id: String,
    pub(super) instance: u128,
    pub(super) topic: ProgressTopic,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Whether it was said that progress which is not needed cannot be removed.
    pub(super) kept: Arc<AtomicBool>,
}

/// What the brokers know a job's transactions by.
fn transactional_id(prefix: Option<&str>, job: &str) -> String {
    match prefix {
        None => format!("millstream-{job}"),
        Some(prefix) => format!("{prefix}-millstream-{job}"),
    }
}

/// The name of the topic that holds the progress of these transactions. Characters that no topic may have, or too many of
/// them, are replaced, with a hash so that other names stay other topics.
fn progress_topic(transactional_id: &str) -> String {
    let (start, end) = ("__", "_progress");
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = transactional_id.chars().all(allowed)
        && transactional_id.len() <= NAME_MAX - start.len() - end.len();
    if fits {
        return format!("{start}{transactional_id}{end}");
    }
    // FNV-1a: the same in every build, as it names what outlives the process.
    let hash = transactional_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let readable: String = transactional_id
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(200)
        .collect();
    format!("{start}{readable}-{hash:016x}{end}")
}

/// Whether a topic is Millstream's or the brokers' own, which a pattern does not mean.
pub(super) fn is_internal(topic: &str) -> bool {
    matches!(topic, "__consumer_offsets" | "__transaction_state")
        || (topic.starts_with("__")
            && topic.ends_with("_progress")
            && topic.contains("millstream-"))
}

/// A number that no other process has.
pub(super) fn process() -> u64 {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    *PROCESS.get_or_init(random)
}

/// The standard library seeds its hashers from the system's random numbers.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Properties::new("t", pairs.collect::<BTreeMap<_, _>>()).unwrap()
    }

    fn name(pairs: &[(&str, &str)], prefix: Option<&str>) -> String {
        KafkaSystem::new(&properties(pairs), prefix).name()
    }

    #[test]
    fn sinks_of_the_same_cluster_go_together() {
        let plain = name(&[("bootstrap.servers", "a:1, b:2")], None);
        assert_eq!(plain, "Kafka at a:1,b:2");
        let given = [("bootstrap.servers", "b:2,a:1"), ("linger.ms", "3")];
        assert_eq!(name(&given, None), plain);
        let given = [
            ("bootstrap.servers", "a:1,b:2"),
            ("sasl.username", "shop"),
            ("sasl.password", "secret"),
        ];
        assert_eq!(name(&given, None), format!("{plain}, sasl.username shop"));
        assert_ne!(name(&[("bootstrap.servers", "a:1,b:2")], Some("x")), plain);
    }

    #[test]
    fn every_job_has_a_topic_of_its_own() {
        assert_eq!(
            progress_topic(&transactional_id(None, "shop")),
            "__millstream-shop_progress"
        );
        let topics = ["a b", "a-b", "a/b", &"x".repeat(300), &"x".repeat(301)]
            .map(|job| progress_topic(&transactional_id(Some("eu"), job)));
        for (idx, topic) in topics.iter().enumerate() {
            assert!(topic.len() <= NAME_MAX && is_internal(topic), "{topic}");
            assert!(!topics[..idx].contains(topic), "{topic}");
            assert!(
                topic
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            );
        }
        assert!(!is_internal("orders_progress") && !is_internal("__orders"));
    }
}
