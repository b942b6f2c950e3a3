//! How a job runs: workers, sizes of steps and queues, intervals.

use crate::clock::{Clock, SystemClock};
use crate::record::Recorder;
use std::sync::Arc;
use std::time::Duration;

/// How a job runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many copies of the operators share the keys. The results do not depend on it.
    pub workers: usize,
    /// The rows that a step takes at most, over all sources. `None`: paced by how long steps take.
    pub step_rows_max: Option<usize>,
    /// The rows that a reader is asked for at once.
    pub poll_rows: usize,
    /// The decoded rows that wait for a step at most, over all partitions (each may hold one poll more).
    pub queue_rows: usize,
    /// The polls of one partition that wait for a step at most.
    pub queue_items: usize,
    /// The rows that wait for a sink at most (one step's output more).
    pub sink_queue_rows: usize,
    /// The steps that wait for a sink at most.
    pub sink_queue_items: usize,
    /// From how many rows on a step is spread over the workers' threads.
    pub parallel_rows: usize,
    /// How often sinks commit.
    pub commit_interval: Duration,
    /// How often time passes without input, when an operator watches the clock.
    pub tick: Duration,
    /// How often sources are asked for new partitions.
    pub discover_interval: Duration,
    /// How long a live step should take.
    pub live_step: Duration,
    /// How long a step may take while the job catches up.
    pub catch_up_step: Duration,
    /// How many threads read at most; beyond it partitions share them.
    pub reader_threads_max: usize,
    /// Seeds the jitter of retries.
    pub seed: u64,
    /// The job's time.
    pub clock: Arc<dyn Clock>,
    /// Who is told what each step was made of.
    pub recorder: Option<Arc<dyn Recorder>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 1,
            step_rows_max: None,
            poll_rows: 8_192,
            queue_rows: 524_288,
            queue_items: 1_024,
            sink_queue_rows: 262_144,
            sink_queue_items: 1_024,
            parallel_rows: 4_096,
            commit_interval: Duration::from_millis(100),
            tick: Duration::from_millis(100),
            discover_interval: Duration::from_secs(5),
            live_step: Duration::from_millis(20),
            catch_up_step: Duration::from_millis(100),
            reader_threads_max: 64,
            seed: 1,
            clock: Arc::new(SystemClock::new()),
            recorder: None,
        }
    }
}
