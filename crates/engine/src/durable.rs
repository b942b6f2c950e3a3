//! A job that outlives its process: what it was made from is in its checkpoints, and made again from that.
//!
//! ```text
//! start    newest checkpoint -> its history is planned again, statement by statement -> the same graph -> the job goes on
//! DDL      done -> one more entry -> in a checkpoint before the client is answered
//! ```

use millstream_dataflow::graph::NodeId;
use millstream_dataflow::{Error, Kind, Result};
use millstream_runtime::{Durability, Job, Origin, Unrecovered};
use millstream_sql::{Spanned, Statement};
use millstream_state::checkpoint::{self, Manifest, Store};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;

use crate::engine::{Engine, State, from_runtime, parse};
use crate::script::words;

/// What a job was made from, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct History {
    /// The files that it was started with.
    pub files: String,
    /// What changed it since.
    pub changes: Vec<Entry>,
}

/// Something that changed a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// A statement.
    Statement {
        /// Its words.
        text: String,
        /// The last node before it: what has failed has taken numbers too.
        behind: u32,
    },
    /// It was started with other files.
    Files {
        /// Their text.
        text: String,
        /// The last node before them.
        behind: u32,
    },
}

impl History {
    /// The files that the job was last started with.
    pub(crate) fn newest_files(&self) -> &str {
        let files = self.changes.iter().rev().find_map(|entry| match entry {
            Entry::Files { text, .. } => Some(text.as_str()),
            Entry::Statement { .. } => None,
        });
        files.unwrap_or(&self.files)
    }
}

impl Engine {
    /// Runs files as a job that keeps checkpoints: goes on from the newest one that is whole, or begins.
    pub(crate) fn run_durable(&self, text: &str, url: &str) -> Result<Vec<String>> {
        let given = self.inner.state.lock().given.clone();
        let mut of_files = given.clone();
        for statement in &parse(text)? {
            if let Statement::Set(property) = &statement.node {
                of_files.set(&property.key.node, &property.value.node)?;
            }
        }
        let settings = checkpoint::Settings {
            keep: of_files.checkpoints_kept(),
            ..checkpoint::Settings::default()
        };
        let mut store = Store::open(url, settings)?;
        let mut notes = Vec::new();
        loop {
            let found = store.newest()?;
            for note in found.notes {
                tracing::error!("{note}");
                notes.push(note);
            }
            *self.inner.state.lock() = State::new(given.clone());
            let sequence = found.manifest.as_ref().map(|manifest| manifest.sequence);
            let made = match found.manifest {
                Some(manifest) => self.go_on(manifest, store),
                None => self.begin(text, store),
            };
            let Unrecovered { error, store: back } = match made {
                Ok(()) => break,
                Err(unrecovered) => unrecovered,
            };
            let error = from_runtime(*error);
            let (Some(mut back), Some(sequence), Kind::BadData) = (back, sequence, error.kind)
            else {
                return Err(error);
            };
            // Part of it cannot be read: the one before is tried, loudly.
            back.reject(sequence, &error);
            store = *back;
        }
        notes.extend(self.take_files(text)?);
        Ok(notes)
    }

    /// Begins a job.
    fn begin(&self, text: &str, store: Store) -> std::result::Result<(), Unrecovered> {
        let mut state = self.inner.state.lock();
        state.history = Some(History {
            files: text.to_owned(),
            changes: Vec::new(),
        });
        let planned = state
            .take_file(text)
            .and_then(|()| state.start(&self.inner.config));
        if let Err(error) = planned {
            return Err(unrecovered(error, store));
        }
        state.launch(&self.inner.config, store, None)
    }

    /// Goes on with a job.
    fn go_on(&self, manifest: Manifest, store: Store) -> std::result::Result<(), Unrecovered> {
        let origin = Origin::of(&manifest.about);
        let history = origin.and_then(|origin| {
            let history: History = serde_json::from_value(origin.catalog).map_err(|error| {
                Error::bad_data(format!("a checkpoint says what its job was made from in words that cannot be read: {error}"))
            })?;
            Ok((history, origin.nodes))
        });
        let (history, nodes) = match history {
            Ok(history) => history,
            Err(error) => return Err(unrecovered(error, store)),
        };
        if let Err(error) = self.plan_again(&history) {
            let error = error.context("what the job was made from, as its checkpoint says,");
            return Err(unrecovered(error, store));
        }
        let mut state = self.inner.state.lock();
        let nodes: HashSet<_> = nodes.into_iter().collect();
        state.graph.nodes.retain(|node| nodes.contains(&node.id));
        state.launch(&self.inner.config, store, Some(manifest))
    }

    /// Plans what a job was made from in the order in which it came, so that all nodes get their numbers again.
    fn plan_again(&self, history: &History) -> Result<()> {
        {
            let mut state = self.inner.state.lock();
            state.history = Some(History {
                files: history.files.clone(),
                changes: Vec::new(),
            });
            state.take_file(&history.files)?;
            state.start(&self.inner.config)?;
        }
        for entry in &history.changes {
            let (Entry::Files { behind, .. } | Entry::Statement { behind, .. }) = entry;
            let behind = NodeId(*behind);
            self.inner.state.lock().declared.planner.number_from(behind);
            match entry {
                Entry::Files { text, .. } => self.upgrade(text).map(drop)?,
                Entry::Statement { text, .. } => {
                    for statement in &parse(text)? {
                        self.change_job(statement, text)?;
                        self.note(text.clone(), behind);
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes the running job what these files say, if they are not what it was started with.
    fn take_files(&self, text: &str) -> Result<Vec<String>> {
        let (mut notes, job, is_new) = {
            let mut state = self.inner.state.lock();
            let history = state.history.as_ref();
            let is_new = history.is_some_and(|history| history.newest_files() != text);
            let notes = std::mem::take(&mut state.declared.notes);
            (notes, state.job.clone(), is_new)
        };
        if !is_new {
            return Ok(notes);
        }
        let changes = self.upgrade(text)?;
        notes.extend(changes.iter().map(ToString::to_string));
        let history = self.inner.state.lock().history.clone().unwrap_or_default();
        if let Some(job) = job {
            job.save(in_json(&history)?).map_err(from_runtime)?;
        }
        Ok(notes)
    }

    fn note(&self, text: String, behind: NodeId) -> Option<History> {
        let mut state = self.inner.state.lock();
        let history = state.history.as_mut()?;
        let behind = behind.0;
        history.changes.push(Entry::Statement { text, behind });
        Some(history.clone())
    }

    /// Notes a statement that changed the job, and waits until a checkpoint holds that. `behind`: the last node before it.
    pub(crate) fn remember(
        &self,
        statement: &Spanned<Statement>,
        text: &str,
        behind: NodeId,
    ) -> Result<()> {
        let history = self.note(words(statement, text), behind);
        let job = self.inner.state.lock().job.clone();
        let (Some(job), Some(history)) = (job, history) else {
            return Ok(());
        };
        job.save(in_json(&history)?)
            .map_err(from_runtime)
            .map_err(|error| {
                error.context("the statement was done, but is not in a checkpoint yet")
            })
    }
}

/// Whether a statement tells something and changes nothing.
pub(crate) fn only_tells(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Explain(_)
            | Statement::Show(_)
            | Statement::ShowSettings
            | Statement::Describe { .. }
            | Statement::Query(_)
    )
}

impl State {
    /// Starts the job, from a checkpoint if there is one.
    fn launch(
        &mut self,
        config: &crate::engine::Config,
        store: Store,
        manifest: Option<Manifest>,
    ) -> std::result::Result<(), Unrecovered> {
        let catalog = match in_json(&self.history.clone().unwrap_or_default()) {
            Ok(catalog) => catalog,
            Err(error) => return Err(unrecovered(error, store)),
        };
        let settings = &self.declared.settings;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let durability = Durability {
            store,
            manifest,
            job: format!(
                "{}-{}",
                settings.job_name().unwrap_or("millstream"),
                &id[..8]
            ),
            catalog,
            interval: settings.checkpoint_interval(),
        };
        let job = Job::recover(self.graph.clone(), self.job_config(config), durability)?;
        self.job = Some(Arc::new(job));
        Ok(())
    }
}

fn in_json(history: &History) -> Result<serde_json::Value> {
    serde_json::to_value(history).map_err(|error| {
        Error::internal(format!(
            "what the job was made from cannot be written down: {error}"
        ))
    })
}

fn unrecovered(error: Error, store: Store) -> Unrecovered {
    Unrecovered {
        error: Box::new(error.into()),
        store: Some(Box::new(store)),
    }
}
