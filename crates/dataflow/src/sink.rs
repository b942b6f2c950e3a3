//! Where results go: a [`Sink`] opens a [`Writer`], which writes behind the steps on a thread of its own.

use crate::{Changes, Delta, Result, Step};
use std::fmt::{Debug, Display};

/// A table to write to: connector, format and options, all settled. Printed by EXPLAIN.
pub trait Sink: Debug + Display + Send + Sync {
    /// Which changes it can express.
    fn changes(&self) -> Changes;

    /// Connects and makes ready to write.
    fn open(&self) -> Result<Box<dyn Writer>>;
}

/// Writes a job's results, step by step.
pub trait Writer: Send {
    /// Takes the changes of a step, consolidated. May buffer.
    ///
    /// # Errors
    /// `Retryable`: call again with the same delta, nothing of it was taken.
    fn write(&mut self, step: Step, delta: &Delta) -> Result<()>;

    /// Makes all that was written durable and visible. Called at every commit interval and at the end.
    fn commit(&mut self, step: Step) -> Result<()>;

    /// The input has ended: commits, and closes what stays open between commits (a file that is still growing).
    fn finish(&mut self, step: Step) -> Result<()> {
        self.commit(step)
    }
}
