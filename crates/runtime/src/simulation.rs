//! A job without threads of its own: whoever holds it says whose turn it is. With a seeded choice, a clock that only moves
//! when told and an outside that is a function of the same seed, a run can be repeated exactly.

use crate::config::Config;
use crate::job::{Job, Unrecovered};
use crate::recovery::Durability;
use crate::turn::{Cast, Stage, Turn};
use millstream_dataflow::graph::Graph;
use std::sync::Arc;
use std::time::Duration;

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Something moved.
    Moved,
    /// There was nothing to do; at this time of the job's clock there will be, if not before.
    Rested(Option<Duration>),
    /// The actor has ended.
    Ended,
}

/// A job that runs in turns. Requests to it that wait for an answer must not be made on the thread that gives the turns: use
/// [`Job::snapshot_then`] and its like.
#[derive(Debug)]
pub struct Simulation {
    job: Job,
    cast: Arc<Cast>,
}

impl Simulation {
    /// Starts a job, or lets it go on, as [`Job::recover`] does.
    ///
    /// # Errors
    /// As of [`Job::recover`].
    pub fn start(
        graph: Graph,
        config: Config,
        durability: Durability,
    ) -> Result<Self, Unrecovered> {
        let cast = Arc::new(Cast::default());
        let config = Config {
            // Readers share no threads, and workers have none.
            reader_threads_max: usize::MAX,
            parallel_rows: usize::MAX,
            ..config
        };
        let job = Job::recover_on(graph, config, durability, Stage::Cast(Arc::clone(&cast)))?;
        Ok(Self { job, cast })
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// How many actors there are: readers, writers, the one that steps, the one that saves.
    pub fn actors(&self) -> usize {
        self.cast.count()
    }

    /// Gives an actor a turn, by its place below [`Simulation::actors`].
    pub fn turn(&self, which: usize) -> Turned {
        match self.cast.turn(which) {
            Turn::Moved => Turned::Moved,
            Turn::Rested => Turned::Rested(None),
            Turn::Until(at) => Turned::Rested(Some(at)),
            Turn::Done => Turned::Ended,
        }
    }
}

impl Drop for Simulation {
    /// Everything ends where it is, as at a crash.
    fn drop(&mut self) {
        self.cast.clear();
    }
}
