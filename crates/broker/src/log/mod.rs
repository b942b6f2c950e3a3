//! The log on disk: batches in segments, segments in a partition, and what a partition knows of its producers.

pub(crate) mod batch;
pub(crate) mod index;
pub(crate) mod journal;
pub(crate) mod partition;
pub(crate) mod partition_log;
pub(crate) mod producers;
pub(crate) mod recovery;
pub(crate) mod segment;
pub(crate) mod waiters;
