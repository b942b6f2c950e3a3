//! Which topics there are. A topic is a folder: its description in a file, and a folder for each partition.
//!
//! A topic comes into being by one rename and goes by one rename, so that a kill leaves it whole or not there.
//!
//! ```text
//! topics/<name>/topic          id, partition count and settings, as lines of `name=value`
//! topics/<name>/<partition>/   the partition's log
//! making/<id>/                 being created
//! gone/<id>/                   being deleted
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use kafka_protocol::error::ResponseError;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::{
    config::TopicConfig,
    error::{At, Error, Result},
    log::partition::Partition,
};

const NAME_MAX: usize = 249;
const PARTITIONS_MAX: i32 = 10_000;

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    state: RwLock<State>,
}

#[derive(Clone, Debug)]
struct State {
    partitions: Vec<Arc<Partition>>,
    settings: BTreeMap<String, String>,
    config: Arc<TopicConfig>,
}

/// All topics.
#[derive(Debug)]
pub(crate) struct Topics {
    dir: PathBuf,
    defaults: BTreeMap<String, String>,
    all: RwLock<Catalog>,
    /// Held while the set of topics or a topic's description changes, so that readers never wait for the disk.
    changing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Catalog {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

/// Why a change to the topics was refused.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) error: ResponseError,
    pub(crate) message: String,
}

impl Denied {
    pub(crate) fn new(error: ResponseError, message: impl Into<String>) -> Denied {
        Denied {
            error,
            message: message.into(),
        }
    }
}

impl From<Error> for Denied {
    fn from(error: Error) -> Denied {
        tracing::error!(%error, "topics");
        Denied::new(ResponseError::KafkaStorageError, error.to_string())
    }
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.state
            .read()
            .partitions
            .get(usize::try_from(index).ok()?)
            .cloned()
    }

    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.state.read().partitions.clone()
    }

    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.state.read().partitions.len()).unwrap_or(i32::MAX)
    }

    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.state.read().config)
    }

    pub(crate) fn settings(&self) -> BTreeMap<String, String> {
        self.state.read().settings.clone()
    }
}

impl Topics {
    /// Opens all topics below `dir`.
    pub(crate) fn open(dir: &Path, defaults: BTreeMap<String, String>) -> Result<Topics> {
        // What a kill left half made or half deleted.
        for unfinished in [dir.join("making"), dir.join("gone")] {
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished).at("delete", &unfinished)?;
            }
        }
        let topics = Topics {
            dir: dir.to_path_buf(),
            defaults,
            all: RwLock::default(),
            changing: Mutex::new(()),
        };
        let root = dir.join("topics");
        fs::create_dir_all(&root).at("create", &root)?;
        for entry in fs::read_dir(&root).at("read", &root)? {
            let path = entry.at("read", &root)?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                topics.admit(Arc::new(topics.load(name, &path)?));
            }
        }
        Ok(topics)
    }

    pub(crate) fn defaults(&self) -> &BTreeMap<String, String> {
        &self.defaults
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.all.read().by_name.get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: &Uuid) -> Option<Arc<Topic>> {
        self.all.read().by_id.get(id).cloned()
    }

    pub(crate) fn partition(&self, name: &str, index: i32) -> Option<Arc<Partition>> {
        self.get(name)?.partition(index)
    }

    pub(crate) fn list(&self) -> Vec<Arc<Topic>> {
        self.all.read().by_name.values().cloned().collect()
    }

    /// Checks a creation without doing it.
    pub(crate) fn check(
        &self,
        name: &str,
        partitions: i32,
        settings: &BTreeMap<String, String>,
    ) -> Result<TopicConfig, Denied> {
        check_name(name)?;
        if self.get(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(Denied::new(ResponseError::TopicAlreadyExists, message));
        }
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            let message =
                format!("Number of partitions was {partitions}, it must be 1 to {PARTITIONS_MAX}.");
            return Err(Denied::new(ResponseError::InvalidPartitions, message));
        }
        TopicConfig::read(settings, &self.defaults)
            .map_err(|message| Denied::new(ResponseError::InvalidConfig, message))
    }

    /// Makes a topic.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: i32,
        settings: &BTreeMap<String, String>,
    ) -> Result<Arc<Topic>, Denied> {
        let _changing = self.changing.lock();
        self.check(name, partitions, settings)?;
        let id = Uuid::new_v4();
        let path = self.path(name);
        let unfinished = self.dir.join("making").join(id.to_string());
        fs::create_dir_all(&unfinished).at("create", &unfinished)?;
        write_description(&unfinished, &id, partitions, settings)?;
        fs::rename(&unfinished, &path).at("rename", &unfinished)?;
        let topic = Arc::new(self.load(name, &path)?);
        self.admit(Arc::clone(&topic));
        Ok(topic)
    }

    /// Deletes a topic and its records.
    pub(crate) fn delete(&self, topic: &Topic) -> Result<(), Denied> {
        let _changing = self.changing.lock();
        let gone = self.dir.join("gone");
        fs::create_dir_all(&gone).at("create", &gone)?;
        let (path, target) = (self.path(&topic.name), gone.join(topic.id.to_string()));
        {
            let mut all = self.all.write();
            if all.by_id.remove(&topic.id).is_none() {
                let message = "This server does not host this topic-partition.";
                return Err(Denied::new(ResponseError::UnknownTopicOrPartition, message));
            }
            all.by_name.remove(&topic.name);
        }
        fs::rename(&path, &target).at("rename", &path)?;
        topic
            .partitions()
            .iter()
            .for_each(|partition| partition.ring());
        fs::remove_dir_all(&target).at("delete", &target)?;
        Ok(())
    }

    /// Gives a topic more partitions.
    pub(crate) fn grow(&self, topic: &Topic, count: i32, only_check: bool) -> Result<(), Denied> {
        let _changing = self.changing.lock();
        let before = topic.partition_count();
        if count <= before || count > PARTITIONS_MAX {
            let message = format!(
                "The topic {} currently has {before} partition(s); {count} would not be an increase.",
                topic.name
            );
            return Err(Denied::new(ResponseError::InvalidPartitions, message));
        }
        if only_check {
            return Ok(());
        }
        let path = self.path(&topic.name);
        write_description(&path, &topic.id, count, &topic.settings())?;
        let added = open_partitions(&path, before..count)?;
        topic.state.write().partitions.extend(added);
        Ok(())
    }

    /// Replaces a topic's own settings.
    pub(crate) fn configure(
        &self,
        topic: &Topic,
        settings: BTreeMap<String, String>,
        only_check: bool,
    ) -> Result<(), Denied> {
        let _changing = self.changing.lock();
        let config = TopicConfig::read(&settings, &self.defaults)
            .map_err(|message| Denied::new(ResponseError::InvalidConfig, message))?;
        if only_check {
            return Ok(());
        }
        write_description(
            &self.path(&topic.name),
            &topic.id,
            topic.partition_count(),
            &settings,
        )?;
        let mut state = topic.state.write();
        state.settings = settings;
        state.config = Arc::new(config);
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join("topics").join(name)
    }

    fn admit(&self, topic: Arc<Topic>) {
        let mut all = self.all.write();
        all.by_id.insert(topic.id, Arc::clone(&topic));
        all.by_name.insert(topic.name.clone(), topic);
    }

    fn load(&self, name: &str, path: &Path) -> Result<Topic> {
        let (id, partitions, settings) = read_description(path)?;
        let damaged = |what| Error::Damaged {
            path: path.join("topic"),
            position: 0,
            what,
        };
        let config = TopicConfig::read(&settings, &self.defaults).map_err(damaged)?;
        let partitions = open_partitions(path, 0..partitions)?;
        let state = State {
            partitions,
            settings,
            config: Arc::new(config),
        };
        Ok(Topic {
            name: name.to_owned(),
            id,
            state: RwLock::new(state),
        })
    }
}

fn open_partitions(path: &Path, indexes: std::ops::Range<i32>) -> Result<Vec<Arc<Partition>>> {
    indexes
        .map(|index| {
            Ok(Arc::new(Partition::open(
                index,
                path.join(index.to_string()),
            )?))
        })
        .collect()
}

fn write_description(
    dir: &Path,
    id: &Uuid,
    partitions: i32,
    settings: &BTreeMap<String, String>,
) -> Result<()> {
    let mut text = format!("id={id}\npartitions={partitions}\n");
    for (name, value) in settings {
        text.push_str(&format!("{name}={value}\n"));
    }
    let (path, new) = (dir.join("topic"), dir.join("topic.new"));
    fs::write(&new, text).at("write", &new)?;
    fs::rename(&new, &path).at("rename", &new)
}

fn read_description(dir: &Path) -> Result<(Uuid, i32, BTreeMap<String, String>)> {
    let path = dir.join("topic");
    let text = fs::read_to_string(&path).at("read", &path)?;
    let mut settings: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let id = settings
        .remove("id")
        .and_then(|id| Uuid::parse_str(&id).ok());
    let partitions = settings
        .remove("partitions")
        .and_then(|count| count.parse().ok());
    match (id, partitions) {
        (Some(id), Some(partitions)) => Ok((id, partitions, settings)),
        _ => Err(Error::Damaged {
            path,
            position: 0,
            what: "no id or no partition count".into(),
        }),
    }
}

fn check_name(name: &str) -> Result<(), Denied> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let message = if name.is_empty() {
        "Topic name is invalid: the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        "Topic name is invalid: '.' or '..' is not allowed".to_owned()
    } else if name.len() > NAME_MAX {
        format!("Topic name is invalid: it is longer than {NAME_MAX} characters")
    } else if !name.chars().all(allowed) {
        format!(
            "Topic name is invalid: '{name}' has characters other than ASCII letters, digits, '.', '_' and '-'"
        )
    } else {
        return Ok(());
    };
    Err(Denied::new(ResponseError::InvalidTopicException, message))
}
