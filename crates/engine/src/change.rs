//! DROP and ALTER: names that go, or change. What a view reads, by name, is there for as long as the view is.

use millstream_dataflow::graph::{Edge, Node, NodeId};
use millstream_dataflow::{Error, Result};
use millstream_planner::catalog::{BadRecords, Content, MaterializedView, Relation};
use millstream_planner::{Target, reads_view};
use millstream_runtime::unneeded;
use millstream_sql::{Alter, AlterAction, Name, ObjectKind, Statement, quoted};
use std::collections::HashSet;
use std::sync::Arc;

use crate::describe::kind_words;
use crate::engine::{Response, State, from_runtime, parse};
use crate::script::Declarations;

impl Declarations {
    /// The relation that a statement is about to drop or change.
    ///
    /// # Errors
    /// When there is none, or it is of another kind, or goes with another.
    pub(crate) fn of_kind(&self, kind: ObjectKind, name: &Name) -> Result<Arc<Relation>> {
        let name = name.object();
        let relation = self.catalog.require(name)?;
        let is_kind = matches!(
            (kind, relation.as_ref()),
            (ObjectKind::Table, Relation::Table(_))
                | (ObjectKind::View, Relation::View(_))
                | (ObjectKind::MaterializedView, Relation::Materialized(_))
        );
        if !is_kind {
            let found = relation.kind();
            return Err(Error::user(format!("`{name}` is a {found}"))
                .hint(format!("say {} `{name}`", found.to_uppercase())));
        }
        if let Relation::Materialized(MaterializedView {
            content: Content::BadRecords { table },
            ..
        }) = relation.as_ref()
        {
            return Err(
                Error::user(format!("`{name}` holds the bad records of `{table}`"))
                    .hint(format!("it goes with the table: DROP TABLE `{table}`")),
            );
        }
        Ok(Arc::clone(relation))
    }

    /// Refuses when views name a relation.
    fn check_unread(&self, name: &str) -> Result<()> {
        match self.catalog.readers(name).first() {
            Some(reader) => Err(read_by_others(name).detail(format!("`{reader}` does"))),
            None => Ok(()),
        }
    }

    /// Whether an INSERT that does not run yet reads a view.
    pub(crate) fn is_inserted(&self, view: NodeId) -> bool {
        self.queries
            .iter()
            .any(|(target, plan)| matches!(target, Target::Insert { .. }) && reads_view(plan, view))
    }

    /// Whether a view is declared, and does not run yet.
    pub(crate) fn is_pending(&self, view: NodeId) -> bool {
        let mut targets = self.queries.iter().map(|(target, _)| target);
        targets.any(|target| matches!(target, Target::View { node, .. } if *node == view))
    }

    /// Gives up computing a view that does not run yet.
    pub(crate) fn forget_pending(&mut self, view: NodeId) {
        self.queries
            .retain(|(target, _)| !matches!(target, Target::View { node, .. } if *node == view));
    }

    /// ALTER. Gives its command tag.
    pub(crate) fn alter(&mut self, kind: ObjectKind, alter: &Alter) -> Result<&'static str> {
        let tag = match kind {
            ObjectKind::View => "ALTER VIEW",
            ObjectKind::MaterializedView => "ALTER MATERIALIZED VIEW",
            _ => "ALTER TABLE",
        };
        if alter.if_exists && !self.is_there(&alter.name) {
            return Ok(tag);
        }
        let relation = self.of_kind(kind, &alter.name)?;
        let name = alter.name.object();
        let refused = |what: &str| Error::user(format!("{tag} `{name}` {what} is not supported"));
        let anew = format!(
            "write CREATE OR REPLACE {} `{name}` AS ...",
            kind_words(kind)
        );
        match (&alter.action, relation.as_ref()) {
            (AlterAction::Rename(_), Relation::Table(_)) => {
                Err(refused("RENAME TO").hint("what is read runs under the table's name: drop the table, and create it under the other"))
            }
            (AlterAction::Rename(to), Relation::View(_) | Relation::Materialized(_)) => {
                self.rename(name, relation.as_ref().clone(), to.object())?;
                Ok(tag)
            }
            (_, Relation::Table(_)) => Err(refused("with anything but RENAME TO")
                .hint("drop the table, and create it anew")),
            (AlterAction::RenameColumn { .. }, _) => Err(refused("RENAME column").hint(anew)),
            (AlterAction::Query(_), _) => Err(refused("AS").hint(anew)),
            (AlterAction::Set(_) | AlterAction::Reset(_), _) => {
                Err(refused("SET and RESET").hint("a view has no options"))
            }
        }
    }

    fn rename(&mut self, name: &str, mut relation: Relation, to: &str) -> Result<()> {
        self.check_unread(name)?;
        match &mut relation {
            Relation::View(view) => view.definition.sql = renamed(&view.definition.sql, to)?,
            Relation::Materialized(view) => {
                if let Content::Query(definition) = &mut view.content {
                    definition.sql = renamed(&definition.sql, to)?;
                }
                for (target, _) in &mut self.queries {
                    if let Target::View { name, node } = target
                        && *node == view.node
                    {
                        to.clone_into(name);
                    }
                }
            }
            Relation::Table(_) => return Err(Error::internal("a table under another name")),
        }
        self.catalog.create(to, relation)?;
        self.catalog.remove(name);
        Ok(())
    }
}

/// A view's statement with another name in it.
fn renamed(sql: &str, to: &str) -> Result<String> {
    let statements = parse(sql)?;
    let name = match statements.first().map(|statement| &statement.node) {
        Some(Statement::CreateView(create)) => &create.name,
        Some(Statement::CreateMaterializedView(create)) => &create.name,
        _ => return Err(Error::internal("a view that no statement has made")),
    };
    let mut sql = sql.to_owned();
    sql.replace_range(name.span.range(), &quoted(to));
    Ok(sql)
}

pub(crate) fn read_by_others(name: &str) -> Error {
    Error::user(format!("other views or sinks read `{name}`")).hint("drop those first")
}

impl State {
    pub(crate) fn drop_relation(&mut self, statement: &millstream_sql::Drop) -> Result<Response> {
        let name = statement.name.object();
        let done = || Response::Done {
            tag: format!("DROP {}", kind_words(statement.kind)),
            notes: Vec::new(),
        };
        if statement.if_exists && !self.declared.is_there(&statement.name) {
            return Ok(done());
        }
        let relation = self.declared.of_kind(statement.kind, &statement.name)?;
        self.declared.check_unread(name)?;
        match relation.as_ref() {
            Relation::Table(table) => {
                if let BadRecords::DeadLetter { table: letters, .. } = &table.bad_records {
                    self.drop_letters(letters)?;
                }
                self.declared.planner.forget_table(name);
            }
            Relation::Materialized(view) => self.drop_view(name, view.node)?,
            Relation::View(_) => {}
        }
        self.declared.catalog.remove(name);
        Ok(done())
    }

    fn drop_letters(&mut self, letters: &str) -> Result<()> {
        self.declared.check_unread(letters)?;
        if let Some(Relation::Materialized(view)) =
            self.declared.catalog.get(letters).map(Arc::as_ref)
        {
            self.drop_view(letters, view.node)?;
        }
        self.declared.catalog.remove(letters);
        Ok(())
    }

    fn drop_view(&mut self, name: &str, view: NodeId) -> Result<()> {
        let reads = |node: &Node| node.inputs.iter().any(|edge| edge.from == view);
        if self.graph.nodes.iter().any(reads) || self.declared.is_inserted(view) {
            return Err(read_by_others(name));
        }
        self.declared.forget_pending(view);
        self.remove(&[view])
    }

    /// These views and all nodes that get rows from them.
    pub(crate) fn behind(&self, views: &[NodeId]) -> Vec<&Node> {
        let mut found: Vec<&Node> = Vec::new();
        for node in &self.graph.nodes {
            let reads = |edge: &Edge| found.iter().any(|before| before.id == edge.from);
            if views.contains(&node.id) || node.inputs.iter().any(reads) {
                found.push(node);
            }
        }
        found
    }

    /// Takes views out of the job, and what gets rows from them.
    pub(crate) fn remove(&mut self, views: &[NodeId]) -> Result<()> {
        let nodes: Vec<NodeId> = self.behind(views).iter().map(|node| node.id).collect();
        let gone = match &self.job {
            _ if nodes.is_empty() => Vec::new(),
            Some(job) => job.remove(&nodes).map_err(from_runtime)?,
            None => {
                let nodes: HashSet<NodeId> = nodes.into_iter().collect();
                let gone = unneeded(&self.graph.nodes, nodes, &HashSet::new());
                gone.into_iter().collect()
            }
        };
        self.declared.planner.forget(&gone);
        let is_gone = |sink: Option<NodeId>| sink.is_some_and(|sink| gone.contains(&sink));
        self.declared.inserts.retain(|insert| !is_gone(insert.sink));
        self.graph.nodes.retain(|node| !gone.contains(&node.id));
        Ok(())
    }
}
