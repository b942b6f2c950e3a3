//! A graph that shrinks while it runs: nodes go, and with them what only they needed.

use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::job::Job;
use crate::plan::name;
use millstream_dataflow::graph::{Edge, Node, NodeId, NodeKind, OnBad};
use std::collections::HashSet;
use std::sync::Arc;

impl Job {
    /// Removes nodes, and what only they needed. Sinks still write and commit what they were given.
    ///
    /// # Errors
    /// When others need them: then nothing is removed.
    pub fn remove(&self, nodes: &[NodeId]) -> Result<Vec<NodeId>> {
        self.wait_recovered()?;
        let nodes: HashSet<NodeId> = nodes.iter().copied().collect();
        self.call(move |driver| driver.remove(&nodes))?
    }
}

impl Driver {
    fn remove(&mut self, nodes: &HashSet<NodeId>) -> Result<Vec<NodeId>> {
        let (pending, running): (Vec<NodeId>, Vec<NodeId>) =
            nodes.iter().partition(|id| self.beside.contains_key(id));
        for id in &running {
            self.flow.plan().find(*id)?;
        }
        for id in &pending {
            let outlets = self.beside[id].together.iter();
            let mut outlets = outlets.filter(|id| self.beside.get(id).is_some_and(|p| p.is_outlet));
            if let Some(left) = outlets.find(|id| !nodes.contains(id)) {
                return Err(Error::CatchingUp(*left));
            }
        }
        self.check_unused(nodes)?;
        let mut removed: Vec<NodeId> = Vec::new();
        for id in pending {
            let Some(pending) = self.beside.get(&id) else {
                continue;
            };
            pending.cancel();
            let together = Arc::clone(&pending.together);
            removed.extend(
                together
                    .iter()
                    .filter(|id| self.beside.remove(id).is_some()),
            );
        }
        removed.extend(self.remove_running(running.into_iter().collect()));
        removed.sort_unstable();
        self.refresh_meters();
        Ok(removed)
    }

    /// Refuses if a node that stays needs one that goes.
    fn check_unused(&self, nodes: &HashSet<NodeId>) -> Result<()> {
        let in_use = |id: &NodeId, consumer: String| Error::InUse {
            name: self.flow.node(*id).map_or_else(|| id.0.to_string(), name),
            consumer,
        };
        for node in self
            .flow
            .nodes()
            .iter()
            .filter(|node| !nodes.contains(&node.id))
        {
            if let Some(edge) = node.inputs.iter().find(|edge| nodes.contains(&edge.from)) {
                return Err(in_use(&edge.from, name(node)));
            }
        }
        for (id, pending) in self.beside.iter().filter(|(id, _)| !nodes.contains(id)) {
            let gone = pending.together.iter().any(|id| nodes.contains(id));
            let used = pending.inputs.iter().find(|input| nodes.contains(input));
            if let Some(used) = used.filter(|_| !gone && pending.failure.is_none()) {
                return Err(in_use(used, self.beside[id].meter.name.to_string()));
            }
        }
        Ok(())
    }

    /// Removes running nodes, and those before them that nobody needs then.
    fn remove_running(&mut self, gone: HashSet<NodeId>) -> Vec<NodeId> {
        if gone.is_empty() {
            return Vec::new();
        }
        let needed_beside: HashSet<NodeId> = self
            .beside
            .values()
            .flat_map(|pending| pending.inputs.iter().copied())
            .collect();
        let gone = unneeded(self.flow.nodes(), gone, &needed_beside);
        let mut parts = self.flow.take_apart();
        parts.retain(|part| !gone.contains(&part.node.id));
        self.flow.put_together(parts);
        for id in &gone {
            self.intake.remove_source(*id);
            self.discovery.forget(*id);
        }
        gone.into_iter().collect()
    }
}

/// These nodes of a graph, and those before them that nobody needs when they are gone. `needed`: by others than the graph.
pub fn unneeded<S: std::hash::BuildHasher>(
    nodes: &[Node],
    mut gone: HashSet<NodeId, S>,
    needed: &HashSet<NodeId>,
) -> HashSet<NodeId, S> {
    for node in nodes.iter().rev() {
        let computes = matches!(node.kind, NodeKind::Operator(_) | NodeKind::Source(_));
        let fed = |edge: &Edge| edge.from == node.id;
        let consumers: Vec<&Node> = nodes
            .iter()
            .filter(|other| other.inputs.iter().any(fed))
            .collect();
        let lost_all =
            !consumers.is_empty() && consumers.iter().all(|other| gone.contains(&other.id));
        if computes
            && lost_all
            && !needed.contains(&node.id)
            && !feeds_letters(node, nodes, &gone, needed)
        {
            gone.insert(node.id);
        }
    }
    gone
}

/// Whether a source's bad records are still wanted.
fn feeds_letters<S: std::hash::BuildHasher>(
    node: &Node,
    nodes: &[Node],
    gone: &HashSet<NodeId, S>,
    needed: &HashSet<NodeId>,
) -> bool {
    let NodeKind::Source(source) = &node.kind else {
        return false;
    };
    let OnBad::DeadLetter(letters) = source.on_bad else {
        return false;
    };
    if needed.contains(&letters) {
        return true;
    }
    let mut consumers = nodes.iter().filter(|other| !gone.contains(&other.id));
    consumers.any(|other| other.inputs.iter().any(|edge| edge.from == letters))
}
