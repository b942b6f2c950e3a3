//! CREATE OR REPLACE: a view becomes another one, and with it the views that read it.
//!
//! ```text
//! the view, then its readers: declared anew, each over the new ones -> built beside the running ones, caught up
//!     -> in one moment the names mean the new ones, and the old ones go
//! ```
//! Until that moment readers see the old rows, and whatever fails before it leaves them there.

use millstream_dataflow::graph::{NodeId, NodeKind};
use millstream_dataflow::{Error, Result};
use millstream_planner::catalog::Relation;
use millstream_sql::{ObjectKind, Spanned, Statement};
use std::sync::Arc;

use crate::change::read_by_others;
use crate::engine::{Engine, Response, State, failed, parse};
use crate::script::Declarations;

/// Names with what they mean.
type Meanings = Vec<(String, Arc<Relation>)>;

impl Engine {
    /// Replaces a view of the running job.
    pub(crate) fn replace(&self, statement: &Spanned<Statement>, text: &str) -> Result<Response> {
        let mut state = self.inner.state.lock();
        let known = state.graph.nodes.len();
        let (before, tag) = state.declared.redeclare(statement, text)?;
        let started = state
            .check_no_sink(&before)
            .and_then(|()| state.start(&self.inner.config));
        let names: Vec<String> = before.iter().map(|(name, _)| name.clone()).collect();
        let after = state.declared.meanings(&names);
        state.declared.set(&before);
        let addition = match started {
            Ok(addition) => addition,
            Err(error) => {
                state.declared.queries.clear();
                return Err(error);
            }
        };
        let added: Vec<NodeId> = state.graph.nodes[known..]
            .iter()
            .map(|node| node.id)
            .collect();
        let notes = std::mem::take(&mut state.declared.notes);
        // Readers go on while the new views catch up.
        drop(state);
        let caught_up = addition.map_or(Ok(()), |addition| addition.wait());
        let mut state = self.inner.state.lock();
        let replaced = caught_up
            .and_then(|()| state.check_works(&added))
            .and_then(|()| state.check_same(&before))
            .and_then(|()| state.remove(&nodes(&before)));
        match replaced {
            Ok(()) => state.declared.set(&after),
            Err(error) => {
                state.remove(&nodes(&after))?;
                return Err(error);
            }
        }
        Ok(Response::Done {
            tag: tag.to_owned(),
            notes,
        })
    }
}

impl Declarations {
    /// The view that a statement puts another in the place of.
    pub(crate) fn replaces<'a>(&self, statement: &'a Statement) -> Option<&'a str> {
        let name = match statement {
            Statement::CreateView(create) if create.or_replace => &create.name,
            Statement::CreateMaterializedView(create) if create.or_replace => &create.name,
            _ => return None,
        };
        self.is_there(name).then(|| name.object())
    }

    /// Replaces a view that an earlier statement of the same file has declared.
    pub(crate) fn replace_pending(
        &mut self,
        statement: &Spanned<Statement>,
        text: &str,
    ) -> Result<&'static str> {
        let name = self.replaces(&statement.node).unwrap_or_default();
        let before = self.meanings(&self.catalog.with_readers(name));
        for node in nodes(&before) {
            if !self.is_pending(node) {
                return Err(Error::user(format!("`{name}` runs already"))
                    .hint("replace it over the Postgres port"));
            }
            if self.is_inserted(node) {
                return Err(read_by_others(name).hint("write the INSERT behind this statement"));
            }
        }
        let (_, tag) = self.redeclare(statement, text)?;
        nodes(&before)
            .into_iter()
            .for_each(|node| self.forget_pending(node));
        Ok(tag)
    }

    /// Declares a view anew, and after it those that read it. Gives what the names meant before, in that order, and the
    /// statement's command tag.
    ///
    /// # Errors
    /// When one of them cannot be bound, or a reader would have other columns; then nothing has changed.
    fn redeclare(
        &mut self,
        statement: &Spanned<Statement>,
        text: &str,
    ) -> Result<(Meanings, &'static str)> {
        let (kind, name) = match &statement.node {
            Statement::CreateView(create) => (ObjectKind::View, &create.name),
            Statement::CreateMaterializedView(create) => {
                (ObjectKind::MaterializedView, &create.name)
            }
            _ => return Err(Error::internal("a statement that replaces nothing")),
        };
        self.of_kind(kind, name)?;
        let before = self.meanings(&self.catalog.with_readers(name.object()));
        let (settings, pending) = (self.settings.clone(), self.queries.len());
        for (name, _) in &before {
            self.catalog.remove(name);
        }
        let declared = self.declare_all(&before, statement, text);
        self.settings = settings;
        match declared {
            Ok(tag) => Ok((before, tag)),
            Err(error) => {
                self.queries.truncate(pending);
                self.set(&before);
                Err(error)
            }
        }
    }

    fn declare_all(
        &mut self,
        before: &Meanings,
        statement: &Spanned<Statement>,
        text: &str,
    ) -> Result<&'static str> {
        let Some(((first, _), readers)) = before.split_first() else {
            return Err(Error::internal("nothing to replace"));
        };
        let tag = self.declare(statement, text).map_err(|error| {
            let missing = |(name, _): &&(String, _)| error.message.ends_with(&format!("`{name}`"));
            match before.iter().find(missing) {
                Some((name, _)) if name == first => {
                    Error::user(format!("`{first}` can't read itself"))
                }
                Some((name, _)) => {
                    Error::user(format!("`{first}` can't read `{name}`, which reads it"))
                }
                None => error,
            }
        })?;
        for (name, relation) in readers {
            self.declare_again(name, relation).map_err(|error| {
                Error { at: None, ..error }.context(format!("`{name}`, which reads `{first}`"))
            })?;
        }
        Ok(tag)
    }

    /// Declares a view by its own statement, over what its names mean now.
    fn declare_again(&mut self, name: &str, relation: &Relation) -> Result<()> {
        let Some(definition) = relation.definition() else {
            return Err(Error::internal("a reader without a query"));
        };
        self.settings
            .set("table.local-time-zone", &definition.time_zone)?;
        for statement in parse(&definition.sql)? {
            self.declare(&statement, &definition.sql)?;
        }
        let columns = |relation: &Relation| -> Vec<_> {
            let schema = relation.schema();
            let fields = schema.fields().iter();
            let column = fields.map(|field| (field.name().clone(), field.data_type().clone()));
            column.collect()
        };
        if columns(self.catalog.require(name)?) != columns(relation) {
            return Err(Error::user("it would have other columns").hint(format!(
                "drop `{name}` first, and create it anew afterwards"
            )));
        }
        Ok(())
    }

    /// What these names mean now.
    fn meanings(&self, names: &[String]) -> Meanings {
        let of = |name: &String| Some((name.clone(), Arc::clone(self.catalog.get(name)?)));
        names.iter().filter_map(of).collect()
    }

    /// Gives the names these meanings.
    fn set(&mut self, meanings: &Meanings) {
        for (name, relation) in meanings {
            self.catalog.set(name, Arc::clone(relation));
        }
    }
}

impl State {
    /// Refuses when a sink writes what one of these views gives: what it has written stays.
    fn check_no_sink(&self, views: &Meanings) -> Result<()> {
        for node in self.behind(&nodes(views)) {
            if let NodeKind::Sink(sink) = &node.kind {
                let name = views.first().map_or("", |(name, _)| name);
                return Err(read_by_others(name)
                    .detail(format!("an INSERT INTO `{}` does", sink.table))
                    .hint("an INSERT that runs keeps its query: restart with changed files"));
            }
        }
        Ok(())
    }

    /// Refuses when one of the new nodes has failed on its way.
    fn check_works(&self, added: &[NodeId]) -> Result<()> {
        let progress = self.job.as_ref().map(|job| job.progress());
        let nodes = progress.into_iter().flat_map(|progress| progress.nodes);
        let mut failures = nodes
            .filter(|node| added.contains(&node.id))
            .filter_map(|node| node.failure);
        failures
            .next()
            .map_or(Ok(()), |failure| Err(failed(&failure)))
    }

    /// Refuses when the views have changed, or have got readers, while the new ones were built.
    fn check_same(&self, before: &Meanings) -> Result<()> {
        let changed = |why: String| Err(Error::user(why).hint("try again"));
        for (name, relation) in before {
            if !self
                .declared
                .catalog
                .get(name)
                .is_some_and(|now| Arc::ptr_eq(now, relation))
            {
                return changed(format!("`{name}` has changed meanwhile"));
            }
        }
        let name = before.first().map_or("", |(name, _)| name);
        let readers = self.declared.catalog.with_readers(name);
        let new = |reader: &&String| !before.iter().any(|(name, _)| name == *reader);
        match readers.iter().find(new) {
            Some(reader) => changed(format!("`{reader}` has come meanwhile, and reads `{name}`")),
            None => self.check_no_sink(before),
        }
    }
}

/// The nodes that hold views.
fn nodes(views: &Meanings) -> Vec<NodeId> {
    let node = |(_, relation): &(String, Arc<Relation>)| match relation.as_ref() {
        Relation::Materialized(view) => Some(view.node),
        Relation::Table(_) | Relation::View(_) => None,
    };
    views.iter().filter_map(node).collect()
}
