//! The workers' threads: parked until a large step has something for them, so that a tiny step never meets anybody.

use crate::error::guarded;
use crate::plan::Plan;
use crate::worker::{Moment, Worker};
use millstream_dataflow::{Delta, Error, Result};
use millstream_state::ViewTable;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Something to do, which owns all that it needs and gives it back.
pub(crate) enum Task {
    /// A worker's part of a stage.
    Stage {
        worker: Box<Worker>,
        plan: Arc<Plan>,
        stage: usize,
        moment: Moment,
        place: usize,
    },
    /// A view's part of a step.
    View {
        node: usize,
        table: Box<ViewTable>,
        deltas: Vec<Delta>,
        outcome: Result<()>,
    },
}

impl Task {
    pub(crate) fn run(&mut self) {
        match self {
            Self::Stage {
                worker,
                plan,
                stage,
                moment,
                place: _,
            } => worker.run_stage(plan, *stage, *moment),
            Self::View {
                node: _,
                table,
                deltas,
                outcome,
            } => *outcome = guarded(|| table.apply(deltas)),
        }
    }
}

/// Threads beside the stepping thread.
#[derive(Debug)]
pub(crate) struct Crew {
    posts: Vec<SyncSender<Task>>,
    done: Receiver<Task>,
}

impl Crew {
    /// `threads` may be none: then everything runs on the caller's thread.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let (done_in, done) = sync_channel(threads.max(1));
        let mut posts = Vec::with_capacity(threads);
        for number in 0..threads {
            let (post, tasks) = sync_channel::<Task>(1);
            let done = done_in.clone();
            std::thread::Builder::new()
                .name(format!("worker-{}", number + 1))
                .spawn(move || {
                    while let Ok(mut task) = tasks.recv() {
                        task.run();
                        if done.send(task).is_err() {
                            return;
                        }
                    }
                })
                .map_err(|error| Error::internal(format!("no thread to work with: {error}")))?;
            posts.push(post);
        }
        Ok(Self { posts, done })
    }

    /// Runs all tasks, the first of each round here and the others beside, and gives them back in any order.
    pub(crate) fn run(&self, tasks: Vec<Task>) -> Result<Vec<Task>> {
        let lost = || Error::internal("a worker's thread has died");
        let mut finished = Vec::with_capacity(tasks.len());
        let mut waiting = tasks.into_iter();
        while let Some(mut own) = waiting.next() {
            let mut posted = 0;
            for post in &self.posts {
                let Some(task) = waiting.next() else { break };
                post.send(task).map_err(|_| lost())?;
                posted += 1;
            }
            own.run();
            finished.push(own);
            for _ in 0..posted {
                finished.push(self.done.recv().map_err(|_| lost())?);
            }
        }
        Ok(finished)
    }
}
