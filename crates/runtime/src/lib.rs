//! Runs a graph: steps, workers, watermarks, readers and writers.
//!
//! ```text
//! reader threads          stepping thread (and workers beside it)            writer threads
//! poll, decode, prepare   take what has arrived -> one step of all nodes     write, commit
//!   -> bounded queue ->   serve readers of views between two steps   -> bounded queue ->
//! ```
//!
//! Knows neither SQL nor Kafka: a [`Graph`](millstream_dataflow::graph::Graph) comes in, views and sinks come out. A step
//! is a pure function of state and input (`step`), everything that touches a clock, a thread or the outside is around it.

mod backoff;
mod bell;
mod beside;
mod checkpoint;
mod checkpointer;
mod clock;
mod config;
mod crew;
mod discover;
mod driver;
mod error;
mod exchange;
mod failpoint;
mod feed;
mod grow;
mod inspect;
mod intake;
mod job;
mod letters;
mod meter;
mod outlet;
mod pace;
mod plan;
mod prepare;
mod progress;
mod queue;
mod reader;
mod record;
mod recovery;
mod saved;
mod shrink;
mod simulation;
mod snapshot;
mod step;
mod target;
mod turn;
mod watermark;
mod worker;
mod writer;
mod writing;

pub use checkpoint::CheckpointProgress;
pub use clock::{Clock, SystemClock};
pub use config::Config;
pub use error::{Error, Failure, Result};
pub use grow::Extension;
pub use inspect::{Inspection, NodeState, ReadRange};
pub use job::{Job, Unrecovered};
pub use outlet::Follower;
pub use progress::{
    BadProgress, NodeProgress, PartitionProgress, Progress, SinkProgress, StepTimes,
};
pub use record::{Range, Recorder, StepRecord};
pub use recovery::Durability;
pub use saved::Origin;
pub use shrink::unneeded;
pub use simulation::{Simulation, Turned};
pub use snapshot::{Snapshot, Subscription, ViewRequest, ViewRows};
pub use watermark::NodeTime;
