//! Work that goes on beside the steps (readers, writers, the checkpointer) and the steps themselves, in turns.
//!
//! In a running job each actor has a thread, which waits for its bell. In a simulation all actors are on one stage and a seed
//! says whose turn it is: nothing depends on how an operating system schedules threads.

use crate::bell::Bell;
use crate::clock::Clock;
use millstream_dataflow::{Error, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It moved on, and may have more to do.
    Moved,
    /// Nothing to do until the bell rings.
    Rested,
    /// Nothing to do until the bell rings or the clock shows this.
    Until(Duration),
    /// Nothing to do ever again.
    Done,
}

pub(crate) trait Actor: Send {
    /// Does a piece of work, if there is any.
    fn turn(&mut self) -> Turn;
}

/// Where actors run.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Each on a thread of its own.
    Threads,
    /// All on whoever gives them their turns.
    Cast(Arc<Cast>),
}

impl Stage {
    /// Lets an actor run. `bell`: what wakes it.
    pub(crate) fn start(
        &self,
        name: &str,
        bell: Arc<Bell>,
        clock: Arc<dyn Clock>,
        mut actor: Box<dyn Actor>,
    ) -> Result<()> {
        match self {
            Self::Cast(cast) => {
                cast.actors.lock().push(actor);
                Ok(())
            }
            Self::Threads => {
                let run = move || {
                    loop {
                        match actor.turn() {
                            Turn::Moved => {}
                            Turn::Rested => bell.wait(None),
                            Turn::Until(at) => {
                                bell.wait(Some(at.saturating_sub(clock.elapsed())));
                            }
                            Turn::Done => return,
                        }
                    }
                };
                std::thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(run)
                    .map(drop)
                    .map_err(|error| Error::internal(format!("no thread for a {name}: {error}")))
            }
        }
    }
}

/// The actors of a simulation.
#[derive(Default)]
pub(crate) struct Cast {
    actors: Mutex<Vec<Box<dyn Actor>>>,
}

impl std::fmt::Debug for Cast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cast")
            .field("actors", &self.actors.lock().len())
            .finish()
    }
}

impl Cast {
    pub(crate) fn count(&self) -> usize {
        self.actors.lock().len()
    }

    /// Gives one of them a turn. Those that start meanwhile come last.
    pub(crate) fn turn(&self, which: usize) -> Turn {
        let mut actor = self.actors.lock().remove(which);
        let turn = actor.turn();
        if turn != Turn::Done {
            let mut actors = self.actors.lock();
            let which = which.min(actors.len());
            actors.insert(which, actor);
        }
        turn
    }

    /// Ends all of them where they are, as a crash would.
    pub(crate) fn clear(&self) {
        let actors = std::mem::take(&mut *self.actors.lock());
        drop(actors);
    }
}
