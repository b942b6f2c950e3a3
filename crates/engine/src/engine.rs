//! The engine's state, and what statements do to it.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::context::SessionContext;
use millstream_dataflow::graph::{Graph, Node, NodeId, NodeKind};
use millstream_dataflow::source::Offset;
use millstream_dataflow::{Error, Result};
use millstream_planner::catalog::Relation;
use millstream_planner::{Target, explain};
use millstream_runtime::{Extension, Job, Progress};
use millstream_sql::{Explain, Spanned, Statement};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::durable::{History, only_tells};
use crate::script::{Declarations, located, words};
use crate::settings::Settings;
use crate::{ad_hoc, describe};

/// How an engine runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that run steps; each holds its share of the keys.
    pub workers: usize,
    /// At most this many rows a step; `None`: as many as serve latency while live, and throughput while catching up.
    pub step_rows_max: Option<usize>,
    /// Where checkpoints are kept: a folder, `file://`, `s3://`. `None`: nowhere, and the job begins anew each time.
    pub checkpoints: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            workers,
            step_rows_max: None,
            checkpoints: None,
        }
    }
}

/// What a statement gives.
#[derive(Debug)]
pub enum Response {
    /// It was done; the command tag as Postgres has it (`CREATE TABLE`).
    Done {
        /// The tag.
        tag: String,
        /// What the user should know.
        notes: Vec<String>,
    },
    /// Rows.
    Rows {
        /// Their columns.
        schema: SchemaRef,
        /// The rows.
        batches: Vec<RecordBatch>,
    },
}

/// A running engine. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: Config,
    pub state: Mutex<State>,
    /// Held by the statement that changes the job.
    changing: Mutex<()>,
}

/// What changes as statements run.
pub(crate) struct State {
    pub declared: Declarations,
    /// Everything that runs.
    pub graph: Graph,
    pub job: Option<Arc<Job>>,
    /// What the job was made from, if it keeps checkpoints.
    pub history: Option<History>,
    /// The settings that no file made.
    pub given: Settings,
}

impl Engine {
    /// An engine that runs nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            inner: Arc::new(Inner {
                config,
                state: Mutex::new(State::new(Settings::default())),
                changing: Mutex::new(()),
            }),
        }
    }

    /// Sets a setting before any statement runs (a command-line flag).
    ///
    /// # Errors
    /// `User` for an unknown setting.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.given.set(key, value)?;
        state.declared.settings.set(key, value).map(drop)
    }

    /// Runs a pipeline file: all its statements together, as one job. Gives notes for the user.
    ///
    /// # Errors
    /// `User`, with the place in the text; then nothing of it runs.
    pub fn run(&self, text: &str) -> Result<Vec<String>> {
        if let Some(url) = &self.inner.config.checkpoints {
            return self.run_durable(text, url);
        }
        let mut state = self.inner.state.lock();
        state.take_file(text)?;
        state.start(&self.inner.config)?;
        Ok(std::mem::take(&mut state.declared.notes))
    }

    /// Checks a pipeline file without running it. Gives what it would run, as EXPLAIN prints it, and notes.
    ///
    /// # Errors
    /// `User`, with the place in the text.
    pub fn check(&self, text: &str) -> Result<(String, Vec<String>)> {
        let statements = parse(text)?;
        let mut state = self.inner.state.lock();
        for statement in &statements {
            state
                .take(statement, text)
                .map_err(|error| located(error, statement.span, text))?;
        }
        let planned = state.plan()?;
        let mut notes = std::mem::take(&mut state.declared.notes);
        notes.extend(planned.warnings);
        Ok((explain(&planned.graph), notes))
    }

    /// Adds a view over a query to what a file declares, under a name that no file has: for `eval`.
    ///
    /// # Errors
    /// `User`, with the place in the query.
    pub fn run_with_query(&self, text: &str, query: &str) -> Result<Vec<String>> {
        let statements = parse(text)?;
        let mut state = self.inner.state.lock();
        for statement in &statements {
            state
                .take(statement, text)
                .map_err(|error| located(error, statement.span, text))?;
        }
        // The place in the query's text says nothing in the file's.
        let of_query = |error: Error| Error { at: None, ..error }.context("the query");
        let parsed =
            millstream_sql::parse_query(query).map_err(|error| of_query(syntax(&error)))?;
        let (plan, definition) = state
            .declared
            .bind(&parsed, &[], query.to_owned())
            .map_err(of_query)?;
        state.declared.materialize(QUERY_VIEW, plan, definition)?;
        state.start(&self.inner.config)?;
        Ok(std::mem::take(&mut state.declared.notes))
    }

    /// The rows of the query of [`Engine::run_with_query`].
    ///
    /// # Errors
    /// The view's, if it failed.
    pub fn query_rows(&self) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let (job, relation) = {
            let state = self.inner.state.lock();
            (
                state.job.clone(),
                Arc::clone(state.declared.catalog.require(QUERY_VIEW)?),
            )
        };
        let Relation::Materialized(view) = relation.as_ref() else {
            return Err(Error::internal("the query is no view"));
        };
        let batches = match job {
            Some(job) => ad_hoc::whole_view(&job, view.node)?,
            None => Vec::new(),
        };
        Ok((Arc::clone(&view.schema), batches))
    }

    /// Runs statements as a session sends them: declarations change the job, queries read one step of its views.
    ///
    /// # Errors
    /// Of the first statement that fails, with its place in the text.
    pub async fn execute(&self, session: &SessionContext, text: &str) -> Result<Vec<Response>> {
        if ad_hoc::is_query(text) {
            return Ok(vec![self.query(session, text).await?]);
        }
        let statements = parse(text)?;
        let mut responses = Vec::new();
        for statement in &statements {
            responses.push(
                self.statement(session, statement, text)
                    .await
                    .map_err(|error| located(error, statement.span, text))?,
            );
        }
        Ok(responses)
    }

    async fn statement(
        &self,
        session: &SessionContext,
        statement: &Spanned<Statement>,
        text: &str,
    ) -> Result<Response> {
        if let Statement::Query(_) = &statement.node {
            return self.query(session, &words(statement, text)).await;
        }
        // Planning and splicing block: they may take as long as a catch-up does.
        let (engine, statement, text) = (self.clone(), statement.clone(), text.to_owned());
        let done = SpawnedTask::spawn_blocking(move || engine.change(&statement, &text));
        done.await
            .map_err(|error| Error::internal(format!("the statement was lost: {error}")))?
    }

    fn change(&self, statement: &Spanned<Statement>, text: &str) -> Result<Response> {
        if only_tells(&statement.node) {
            return self.change_job(statement, text);
        }
        // One at a time: the job is made again in the order in which statements are noted.
        let _changing = self.inner.changing.lock();
        let behind = self.with_state(|state| state.declared.planner.last_node());
        let response = self.change_job(statement, text)?;
        self.remember(statement, text, behind)?;
        Ok(response)
    }

    /// Does what a statement says, now.
    pub(crate) fn change_job(
        &self,
        statement: &Spanned<Statement>,
        text: &str,
    ) -> Result<Response> {
        let mut state = self.inner.state.lock();
        let (before, known) = (state.declared.known(), state.graph.nodes.len());
        let (tag, addition) = match &statement.node {
            Statement::Explain(explain) => return state.explain(explain, text),
            Statement::Show(show) => return describe::show(&state, show),
            Statement::ShowSettings => return describe::settings(&state),
            Statement::Describe { name, .. } => return describe::describe(&state, name),
            Statement::Drop(drop) => return state.drop_relation(drop),
            node if state.declared.replaces(node).is_some() => {
                drop(state);
                return self.replace(statement, text);
            }
            _ => {
                let started = state
                    .take(statement, text)
                    .and_then(|tag| Ok((tag, state.start(&self.inner.config)?)));
                started.inspect_err(|_| state.declared.go_back(&before))?
            }
        };
        let notes = std::mem::take(&mut state.declared.notes);
        let added = state.graph.nodes[known..].iter().map(|node| node.id);
        let added: Vec<NodeId> = added.collect();
        // Readers go on while the addition catches up.
        drop(state);
        if let Some(Err(error)) = addition.map(|addition| addition.wait()) {
            let mut state = self.inner.state.lock();
            state.remove(&added)?;
            state.declared.go_back(&before);
            return Err(error);
        }
        Ok(Response::Done {
            tag: tag.to_owned(),
            notes,
        })
    }

    async fn query(&self, session: &SessionContext, text: &str) -> Result<Response> {
        let (schema, batches) = ad_hoc::query(self, session, text).await?;
        Ok(Response::Rows { schema, batches })
    }

    /// A session over the engine's views, with the catalogs that SQL tools ask for.
    pub fn session(&self) -> SessionContext {
        crate::provider::session(self)
    }

    /// Blocks until all bounded input has ended and everything that follows from it is done.
    ///
    /// # Errors
    /// What has failed of its own: sources, operators, sinks.
    pub fn wait_end(&self) -> std::result::Result<(), Vec<Error>> {
        let job = self.inner.state.lock().job.clone();
        let failures = job.map(|job| job.wait_end()).unwrap_or_default();
        if failures.is_empty() {
            return Ok(());
        }
        Err(failures.iter().map(failed).collect())
    }

    /// Why the job has stopped for good: another process has taken its place.
    pub fn fenced(&self) -> Option<Error> {
        let state = self.inner.state.lock();
        state.job.as_ref().and_then(|job| job.fenced().cloned())
    }

    /// How far the job is; `None` before there is one.
    pub fn progress(&self) -> Option<Progress> {
        self.inner
            .state
            .lock()
            .job
            .as_ref()
            .map(|job| job.progress())
    }

    /// Ends the job: what is written is committed.
    pub fn stop(&self) {
        if let Some(job) = self.inner.state.lock().job.take() {
            job.stop();
        }
    }

    pub(crate) fn with_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.inner.state.lock())
    }
}

/// The view of `eval`'s query.
const QUERY_VIEW: &str = "\u{1}query";

impl State {
    /// Nothing, with these settings.
    pub(crate) fn new(given: Settings) -> Self {
        Self {
            declared: Declarations {
                settings: given.clone(),
                ..Declarations::new()
            },
            graph: Graph::default(),
            job: None,
            history: None,
            given,
        }
    }

    /// Takes all statements of a file.
    pub(crate) fn take_file(&mut self, text: &str) -> Result<()> {
        for statement in &parse(text)? {
            self.take(statement, text)
                .map_err(|error| located(error, statement.span, text))?;
        }
        Ok(())
    }

    /// Takes a statement of a file.
    pub(crate) fn take(
        &mut self,
        statement: &Spanned<Statement>,
        text: &str,
    ) -> Result<&'static str> {
        match &statement.node {
            Statement::Drop(drop) => self.drop_relation(drop).map(|_| "DROP"),
            Statement::Explain(_)
            | Statement::Show(_)
            | Statement::ShowSettings
            | Statement::Describe { .. } => {
                self.declared.notes.push("EXPLAIN, SHOW and DESCRIBE print nothing in a file that runs: send them with psql".to_owned());
                Ok("SHOW")
            }
            _ => self.declared.declare(statement, text),
        }
    }

    fn plan(&mut self) -> Result<millstream_planner::Planned> {
        let queries = std::mem::take(&mut self.declared.queries);
        let views: Vec<String> = queries
            .iter()
            .filter_map(|(target, _)| match target {
                Target::View { name, .. } => Some(name.clone()),
                Target::Insert { .. } => None,
            })
            .collect();
        let declared = &mut self.declared;
        declared
            .planner
            .plan(&declared.catalog, queries)
            .inspect(|planned| declared.place_inserts(&planned.graph.nodes))
            .inspect_err(|_| {
                // What can't be planned is not declared either.
                views
                    .iter()
                    .for_each(|name| drop(declared.catalog.remove(name)));
                declared.place_inserts(&[]);
            })
    }

    /// Plans what is wanted and adds it to the job. What is added to a running job catches up first.
    pub(crate) fn start(&mut self, config: &Config) -> Result<Option<Addition>> {
        if self.declared.queries.is_empty() {
            return Ok(None);
        }
        let planned = self.plan()?;
        self.declared.notes.extend(planned.warnings);
        let mut addition = None;
        match &self.job {
            Some(job) => {
                let extended = job.extend(planned.graph.clone()).inspect_err(|_| {
                    let nodes = planned.graph.nodes.iter().map(|node| node.id);
                    self.declared.planner.forget(&nodes.collect::<Vec<_>>());
                });
                let extension = extended.map_err(from_runtime)?;
                let is_source = |node: &&Node| matches!(node.kind, NodeKind::Source(_));
                let sources = planned
                    .graph
                    .nodes
                    .iter()
                    .filter(is_source)
                    .map(|node| node.id)
                    .collect();
                addition = Some(Addition {
                    job: Arc::clone(job),
                    extension,
                    sources,
                });
            }
            // It is started when all that it is made from has been planned.
            None if self.history.is_some() => {}
            None => {
                let job = Job::start(planned.graph.clone(), self.job_config(config));
                self.job = Some(Arc::new(job.map_err(from_runtime)?));
            }
        }
        self.graph.nodes.extend(planned.graph.nodes);
        Ok(addition)
    }

    pub(crate) fn job_config(&self, config: &Config) -> millstream_runtime::Config {
        millstream_runtime::Config {
            workers: config.workers,
            step_rows_max: config.step_rows_max,
            commit_interval: self.declared.settings.commit_interval(),
            ..millstream_runtime::Config::default()
        }
    }

    fn explain(&mut self, explained: &Explain, text: &str) -> Result<Response> {
        let mut scratch = Declarations {
            catalog: self.declared.catalog.clone(),
            planner: self.declared.planner.over_views(),
            settings: self.declared.settings.clone(),
            ..Declarations::new()
        };
        match &explained.statement.node {
            Statement::Query(parsed) => {
                let (plan, definition) = scratch.bind(parsed, &[], String::new())?;
                scratch.materialize("query", plan, definition)?;
            }
            statement => {
                if let Some(name) = scratch.replaces(statement).map(str::to_owned) {
                    scratch.catalog.remove(&name);
                }
                scratch.declare(&explained.statement, text)?;
            }
        }
        let queries = std::mem::take(&mut scratch.queries);
        let planned = scratch.planner.plan(&scratch.catalog, queries)?;
        Ok(describe::text(
            "plan",
            explain(&planned.graph).lines().map(str::to_owned),
        ))
    }
}

/// What was added to a running job.
pub(crate) struct Addition {
    job: Arc<Job>,
    extension: Extension,
    /// The sources that nothing read before: they begin with the addition.
    sources: Vec<NodeId>,
}

impl Addition {
    /// Waits until the addition is part of the job, and its own sources have come to where they ended when they began.
    pub(crate) fn wait(&self) -> Result<()> {
        self.extension.wait().map_err(from_runtime)?;
        let mut ends: BTreeMap<(NodeId, String), Offset> = BTreeMap::new();
        while !self
            .sources
            .iter()
            .all(|source| self.is_read(*source, &mut ends))
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn is_read(&self, source: NodeId, ends: &mut BTreeMap<(NodeId, String), Offset>) -> bool {
        let progress = self.job.progress();
        let failed = progress
            .nodes
            .iter()
            .any(|node| node.id == source && node.failure.is_some());
        let mut partitions = progress
            .partitions
            .iter()
            .filter(|partition| partition.source == source)
            .peekable();
        if failed || progress.ended {
            return true;
        }
        // A reader that cannot tell where its partition ends is not waited for, nor one that has nobody to ask.
        partitions.peek().is_some()
            && partitions.all(|partition| {
                let Some(end) = partition.end else {
                    return partition.ended || partition.retrying.is_some() || partition.rows > 0;
                };
                let end = *ends
                    .entry((source, partition.partition.clone()))
                    .or_insert(end);
                partition.ended || partition.retrying.is_some() || partition.position >= end
            })
    }
}

/// A runtime's error as the engine's.
pub(crate) fn from_runtime(error: millstream_runtime::Error) -> Error {
    match error {
        millstream_runtime::Error::Dataflow(error) => error,
        millstream_runtime::Error::Failed(failure) => failed(&failure),
        other => Error::user(other.to_string()),
    }
}

pub(crate) fn failed(failure: &millstream_runtime::Failure) -> Error {
    failure.error().clone().context(failure.name())
}

pub(crate) fn parse(text: &str) -> Result<Vec<Spanned<Statement>>> {
    millstream_sql::parse(text).map_err(|error| syntax(&error))
}

fn syntax(error: &millstream_sql::SyntaxError) -> Error {
    let millstream_sql::Diagnostic {
        message,
        span,
        hint,
    } = &error.diagnostic;
    let location = millstream_dataflow::Location {
        line: span.start.line as u64,
        column: span.start.column as u64,
        end_line: span.end.line as u64,
        end_column: span.end.column as u64,
    };
    let found = Error::user(message.clone()).at(location);
    match hint {
        Some(hint) => found.hint(hint.clone()),
        None => found,
    }
}
