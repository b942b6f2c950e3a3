//! Changed files: what stays as it is, what is computed anew and from where, what comes and goes.
//!
//! A view or an INSERT stays, with its state, when its statement and all that it reads say the same as before. How statements
//! are laid out makes no difference; neither does what others ask of the same tables.

use millstream_dataflow::graph::NodeId;
use millstream_dataflow::{Error, Result};
use millstream_planner::catalog::{BadRecords, Catalog, Content, Definition, Relation};
use millstream_runtime::Origin;
use millstream_sql::{Spanned, Statement};
use millstream_state::checkpoint::{Settings, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::durable::{Entry, History};
use crate::engine::{Config, Engine, State, parse};
use crate::script::{Declarations, Inserted, located};

/// What becomes of a view or an INSERT when the files change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `view v`, `INSERT INTO t`.
    pub what: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of something that computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on with its state.
    Kept,
    /// It is computed from the start.
    Rebuilt {
        /// Why.
        why: String,
        /// What it reads for that.
        from: Vec<String>,
    },
    /// It was not there before.
    New {
        /// What it reads.
        from: Vec<String>,
    },
    /// It goes, with its state.
    Dropped,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fate {
            Fate::Kept => write!(f, "keep     {}", self.what),
            Fate::Dropped => write!(f, "drop     {}", self.what),
            Fate::New { from } => write!(f, "create   {}: {}", self.what, from.join("; ")),
            Fate::Rebuilt { why, from } => {
                write!(f, "rebuild  {} ({why}): {}", self.what, from.join("; "))
            }
        }
    }
}

/// What differs between two sets of declarations.
struct Difference {
    /// The relations of the old ones that are other ones now, or gone, with the reason.
    changed: BTreeMap<String, String>,
    /// The INSERTs of the old ones that are other ones now, or gone.
    inserts: Vec<usize>,
}

/// The files that the job of a state folder was last started with.
///
/// # Errors
/// When there is no state, or none that can be read.
pub fn saved_files(url: &str) -> Result<String> {
    let mut store = Store::look(url, Settings::default())?;
    let Some(manifest) = store.newest()?.manifest else {
        return Err(Error::user(format!("there is no state in {url}")));
    };
    let origin = Origin::of(&manifest.about)?;
    let history: History = serde_json::from_value(origin.catalog)
        .map_err(|error| Error::bad_data(format!("the state in {url} cannot be read: {error}")))?;
    Ok(history.newest_files().to_owned())
}

impl Engine {
    /// What becomes of the views and INSERTs of `old` when the files are `new`.
    ///
    /// # Errors
    /// When one of them cannot be planned.
    pub fn compare(&self, old: &str, new: &str) -> Result<Vec<Change>> {
        let (before, after) = {
            let state = self.inner.state.lock();
            (
                state.planned(old, &self.inner.config)?,
                state.planned(new, &self.inner.config)?,
            )
        };
        Ok(changes(&before.declared, &after.declared))
    }

    /// Makes the job what these files say instead of the ones before: what stays keeps its state.
    pub(crate) fn upgrade(&self, new: &str) -> Result<Vec<Change>> {
        let mut state = self.inner.state.lock();
        let Some(history) = state.history.clone() else {
            return Err(Error::internal("a job without history is changed"));
        };
        let behind = state.declared.planner.last_node().0;
        let before = state.planned(history.newest_files(), &self.inner.config)?;
        let after = state.planned(new, &self.inner.config)?;
        let changes = changes(&before.declared, &after.declared);
        let difference = Difference::of(&before.declared, &after.declared);
        let stays = state.take_out(&difference, &before.declared)?;
        state.take_in(new, &stays)?;
        let addition = state.start(&self.inner.config)?;
        if let Some(history) = &mut state.history {
            history.changes.push(Entry::Files {
                text: new.to_owned(),
                behind,
            });
        }
        drop(state);
        addition.map_or(Ok(()), |addition| addition.wait())?;
        Ok(changes)
    }
}

/// What is not declared again, as it is there.
struct Stays {
    relations: BTreeSet<String>,
    inserts: Vec<Inserted>,
    /// Views that no file declares, and that read what has changed.
    again: Vec<Definition>,
}

impl State {
    /// What a file declares, planned and not run.
    fn planned(&self, text: &str, config: &Config) -> Result<Self> {
        let mut state = Self::new(self.given.clone());
        state.history = Some(History::default());
        state.take_file(text)?;
        state.start(config)?;
        Ok(state)
    }

    /// Takes out what has changed or gone, and all that reads it. `before`: what the files declared so far.
    fn take_out(&mut self, difference: &Difference, before: &Declarations) -> Result<Stays> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for name in difference.changed.keys() {
            names.extend(self.declared.catalog.with_readers(name));
        }
        let of_files = |name: &String| before.catalog.get(name).is_some();
        let mut again = Vec::new();
        let mut nodes: Vec<NodeId> = Vec::new();
        for name in &names {
            let Some(relation) = self.declared.catalog.get(name) else {
                continue;
            };
            if !of_files(name) {
                again.extend(relation.definition().cloned());
            }
            if let Relation::Materialized(view) = relation.as_ref() {
                nodes.push(view.node);
            }
        }
        for at in &difference.inserts {
            let gone = &before.inserts[*at];
            let same = |insert: &&Inserted| {
                insert.table == gone.table && insert.definition.sql == gone.definition.sql
            };
            let running = self.declared.inserts.iter().find(same);
            nodes.extend(running.and_then(|insert| insert.sink));
        }
        self.remove(&nodes)?;
        for name in &names {
            if let Some(Relation::Table(_)) = self.declared.catalog.get(name).map(Arc::as_ref) {
                self.declared.planner.forget_table(name);
            }
            self.declared.catalog.remove(name);
        }
        Ok(Stays {
            relations: self.declared.catalog.names().map(str::to_owned).collect(),
            inserts: self.declared.inserts.clone(),
            again,
        })
    }

    /// Declares what a file declares and is not there, then the views that went along with what has changed.
    fn take_in(&mut self, text: &str, stays: &Stays) -> Result<()> {
        for statement in &parse(text)? {
            let is_there = match &statement.node {
                Statement::CreateTable(create) => stays.relations.contains(create.name.object()),
                Statement::CreateView(create) => stays.relations.contains(create.name.object()),
                Statement::CreateMaterializedView(create) => {
                    stays.relations.contains(create.name.object())
                }
                Statement::Insert(_) | Statement::StatementSet(_) => {
                    self.insert_missing(statement, stays, text)?;
                    true
                }
                _ => false,
            };
            if !is_there {
                self.take(statement, text)
                    .map_err(|error| located(error, statement.span, text))?;
            }
        }
        for definition in &stays.again {
            for statement in &parse(&definition.sql)? {
                self.take(statement, &definition.sql)?;
            }
        }
        Ok(())
    }

    /// Takes the INSERTs of a statement that do not run.
    fn insert_missing(
        &mut self,
        statement: &Spanned<Statement>,
        stays: &Stays,
        text: &str,
    ) -> Result<()> {
        let known = self.declared.queries.len();
        let mut left = stays.inserts.clone();
        self.take(statement, text)
            .map_err(|error| located(error, statement.span, text))?;
        let inserts = self.declared.inserts.len() - (self.declared.queries.len() - known);
        for at in (inserts..self.declared.inserts.len()).rev() {
            let insert = &self.declared.inserts[at];
            let same = |other: &Inserted| {
                other.table == insert.table && other.definition.sql == insert.definition.sql
            };
            if let Some(running) = left.iter().position(same) {
                left.remove(running);
                self.declared.inserts.remove(at);
                self.declared.queries.remove(known + at - inserts);
            }
        }
        Ok(())
    }
}

impl Difference {
    fn of(before: &Declarations, after: &Declarations) -> Self {
        let mut changed = BTreeMap::new();
        for (name, relation) in before.catalog.iter() {
            if let Some(why) = own_change(name, relation, &after.catalog) {
                changed.insert(name.to_owned(), why);
            }
        }
        // Bad records go with their table.
        let letters = |name: &String| match before.catalog.get(name).map(Arc::as_ref) {
            Some(Relation::Table(table)) => match &table.bad_records {
                BadRecords::DeadLetter { table, .. } => Some((table.clone(), name.clone())),
                BadRecords::Fail | BadRecords::Skip => None,
            },
            _ => None,
        };
        let letters: Vec<(String, String)> = changed.keys().filter_map(letters).collect();
        for (letters, table) in letters {
            changed.insert(letters, format!("`{table}` has changed"));
        }
        let roots: Vec<String> = changed.keys().cloned().collect();
        for root in roots {
            for reader in before.catalog.with_readers(&root) {
                changed
                    .entry(reader)
                    .or_insert_with(|| format!("it reads `{root}`, which has changed"));
            }
        }
        let mut left: Vec<&Inserted> = after.inserts.iter().collect();
        let mut inserts = Vec::new();
        for (at, insert) in before.inserts.iter().enumerate() {
            let same = left.iter().position(|other| {
                other.table == insert.table && other.definition.sql == insert.definition.sql
            });
            match same {
                Some(same) if insert_change(insert, &changed).is_none() => drop(left.remove(same)),
                _ => inserts.push(at),
            }
        }
        Self { changed, inserts }
    }
}

/// Why a relation is another one now, not counting what it reads.
fn own_change(name: &str, relation: &Relation, after: &Catalog) -> Option<String> {
    let Some(now) = after.get(name) else {
        return Some("it is gone".to_owned());
    };
    let of = |relation: &Relation| {
        let idle = match relation {
            Relation::Table(table) => table.idle_timeout_ms,
            Relation::View(_) | Relation::Materialized(_) => None,
        };
        let zone = relation.definition().map(|of| of.time_zone.clone());
        (relation.kind(), canonical(&relation.sql()), idle, zone)
    };
    (of(relation) != of(now)).then(|| "its statement has changed".to_owned())
}

/// A statement without regard to how it is laid out.
fn canonical(sql: &str) -> String {
    let Ok(statements) = parse(sql) else {
        return sql.to_owned();
    };
    let text = |statement: &Spanned<Statement>| match &statement.node {
        Statement::CreateView(create) => {
            let columns = create.columns.iter().map(|column| &column.name.node);
            let columns: Vec<&str> = columns.map(String::as_str).collect();
            format!("({}) {}", columns.join(", "), create.query.ast)
        }
        Statement::CreateMaterializedView(create) => {
            let columns = create.columns.iter().map(|column| &column.name.node);
            let columns: Vec<&str> = columns.map(String::as_str).collect();
            format!("({}) {}", columns.join(", "), create.query.ast)
        }
        other => other.to_string(),
    };
    let each: Vec<String> = statements.iter().map(text).collect();
    each.join("; ")
}

/// Why an INSERT has to begin anew although it says the same.
fn insert_change(insert: &Inserted, changed: &BTreeMap<String, String>) -> Option<String> {
    let mut named = insert.definition.reads.iter().chain([&insert.table]);
    named
        .find(|name| changed.contains_key(*name))
        .map(|name| format!("`{name}` has changed"))
}

/// What becomes of all that computes.
fn changes(before: &Declarations, after: &Declarations) -> Vec<Change> {
    let difference = Difference::of(before, after);
    let mut changes = Vec::new();
    for (name, relation) in before.catalog.iter() {
        if is_computed(relation) {
            let now = after.catalog.get(name).filter(|now| is_computed(now));
            let fate = match (difference.changed.get(name), now) {
                (None, _) => Fate::Kept,
                (Some(_), None) => Fate::Dropped,
                (Some(why), Some(now)) => Fate::Rebuilt {
                    why: why.clone(),
                    from: now
                        .definition()
                        .map_or_else(Vec::new, |of| sources(of, &after.catalog)),
                },
            };
            changes.push(change(format!("view {name}"), fate));
        }
    }
    for (name, relation) in after.catalog.iter() {
        let was = before.catalog.get(name).is_some_and(|was| is_computed(was));
        if let Some(definition) = relation
            .definition()
            .filter(|_| is_computed(relation) && !was)
        {
            let from = sources(definition, &after.catalog);
            changes.push(change(format!("view {name}"), Fate::New { from }));
        }
    }
    let mut left: Vec<&Inserted> = after.inserts.iter().collect();
    for (at, insert) in before.inserts.iter().enumerate() {
        let what = format!("INSERT INTO {}", insert.table);
        let same = |other: &&Inserted| {
            other.table == insert.table && other.definition.sql == insert.definition.sql
        };
        let same = left.iter().position(same);
        let is_changed = difference.inserts.contains(&at);
        let now = same.map(|same| left.remove(same));
        let fate = match now {
            Some(_) if !is_changed => Fate::Kept,
            Some(now) => Fate::Rebuilt {
                why: insert_change(insert, &difference.changed).unwrap_or_default(),
                from: sources(&now.definition, &after.catalog),
            },
            None => Fate::Dropped,
        };
        changes.push(change(what, fate));
    }
    for insert in left {
        let from = sources(&insert.definition, &after.catalog);
        changes.push(change(
            format!("INSERT INTO {}", insert.table),
            Fate::New { from },
        ));
    }
    changes
}

fn change(what: String, fate: Fate) -> Change {
    Change { what, fate }
}

fn is_computed(relation: &Relation) -> bool {
    matches!(
        relation,
        Relation::Materialized(view) if matches!(view.content, Content::Query(_))
    )
}

/// What is read to compute something from the start.
fn sources(definition: &Definition, catalog: &Catalog) -> Vec<String> {
    let mut found = Vec::new();
    for name in &definition.reads {
        match catalog.get(name).map(Arc::as_ref) {
            Some(Relation::Table(_)) => found.push(format!("table {name} is read from its start")),
            Some(Relation::Materialized(_)) => found.push(format!("the rows of view {name}")),
            Some(Relation::View(view)) => found.extend(sources(&view.definition, catalog)),
            None => {}
        }
    }
    found.sort();
    found.dedup();
    found
}
