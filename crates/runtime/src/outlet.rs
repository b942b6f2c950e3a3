//! Where rows leave the graph: a view's table with those who follow it, or a sink's writer.

use crate::writer::Writer;
use millstream_dataflow::{Delta, Step};
use millstream_state::ViewTable;

pub(crate) enum Outlet {
    View(View),
    Sink(Writer),
}

/// A view's rows, and those who are told of each change. The table travels while a step applies it on a thread.
pub(crate) struct View {
    table: Option<Box<ViewTable>>,
    followers: Vec<Follower>,
}

/// Is told of the changes of each step, on the stepping thread; gives false when it wants no more.
pub type Follower = Box<dyn FnMut(Step, &[Delta]) -> bool + Send>;

impl Outlet {
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::View(_) => false,
            Self::Sink(writer) => writer.is_full(),
        }
    }
}

impl View {
    pub(crate) fn new(table: ViewTable) -> Self {
        Self {
            table: Some(Box::new(table)),
            followers: Vec::new(),
        }
    }

    pub(crate) fn follow(&mut self, follower: Follower) {
        self.followers.push(follower);
    }

    pub(crate) fn tell(&mut self, step: Step, deltas: &[Delta]) {
        self.followers.retain_mut(|follower| follower(step, deltas));
    }

    pub(crate) fn table(&mut self) -> Option<&mut ViewTable> {
        self.table.as_deref_mut()
    }

    pub(crate) fn take_table(&mut self) -> Option<Box<ViewTable>> {
        self.table.take()
    }

    pub(crate) fn give_table(&mut self, table: Box<ViewTable>) {
        self.table = Some(table);
    }
}
