//! Where results go: a [`Sink`] opens a [`Writer`], which writes behind the steps on a thread of its own.
//!
//! ```text
//! at least once   write write commit        write write commit              again from the checkpoint after a crash
//! checkpoint      write write prepare  (the checkpoint is complete)  publish
//! transaction     write write commit + records of the steps, as a whole    the records are replayed after a crash
//! ```

use crate::{Changes, Delta, Result, Step};
use std::any::Any;
use std::fmt::{Debug, Display};
use std::sync::Arc;

/// A table to write to: connector, format and options, all settled. Printed by EXPLAIN.
pub trait Sink: Any + Debug + Display + Send + Sync {
    /// Which changes it can express.
    fn changes(&self) -> Changes;

    /// Connects and makes ready to write.
    fn open(&self) -> Result<Box<dyn Writer>>;

    /// What is promised when the job is killed and goes on. Only a job that keeps checkpoints can hold more than
    /// [`Delivery::AtLeastOnce`]; without them every sink is opened by [`Sink::open`] and commits at intervals.
    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }
}

/// How often a row is seen at a sink's outside when the job is killed and goes on.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Rows since the last checkpoint may be written again.
    AtLeastOnce,
    /// Once: rows become visible when the checkpoint that counts them is complete.
    Checkpoint,
    /// Once: rows commit in transactions of this system, together with the records of the steps that they come from.
    Transaction(Arc<dyn System>),
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

    /// For [`Delivery::Checkpoint`], instead of `commit`: makes all that was written durable, but not visible. Gives what
    /// `publish` and `recover` need to make it visible, which the checkpoint will hold. May be called again before `publish`
    /// when a checkpoint did not come about; then what it gives covers what the call before gave too.
    fn prepare(&mut self, step: Step) -> Result<Vec<u8>> {
        self.commit(step).map(|()| Vec::new())
    }

    /// The checkpoint that holds `prepared` is complete: makes visible what it stands for. Doing it again changes nothing.
    fn publish(&mut self, prepared: &[u8]) -> Result<()> {
        let _ = prepared;
        Ok(())
    }

    /// Called once, first, when the job goes on from a checkpoint: publishes what it holds if that has not been done, and
    /// removes what was written after it. `None`: the checkpoint is older than the sink.
    fn recover(&mut self, prepared: Option<&[u8]>) -> Result<()> {
        prepared.map_or(Ok(()), |prepared| self.publish(prepared))
    }
}

/// A system whose transactions span tables: all sinks of a job that name the same one commit together.
pub trait System: Debug + Send + Sync {
    /// Which system it is.
    fn name(&self) -> String;

    /// Takes the job's place in the system: whoever wrote for it before can commit no more, and what was left open is
    /// aborted. `job` is the job's name, the same over restarts.
    ///
    /// # Errors
    /// `Retryable`: the system does not answer.
    fn open(&self, job: &str) -> Result<Box<dyn Transactions>>;
}

/// A job's transactions in a system, one after the other.
pub trait Transactions: Send {
    /// The records of all transactions that committed, oldest first; those that were let go by `forget` may be missing.
    fn records(&mut self) -> Result<Vec<Vec<u8>>>;

    /// Makes ready to write to a sink of this system. Gives its number for `write`.
    fn add(&mut self, sink: &Arc<dyn Sink>) -> Result<usize>;

    /// Writes changes to a sink, in a transaction that begins with the first of them.
    ///
    /// # Errors
    /// `Retryable`: the transaction is aborted, nothing of it will be visible; write all of it again. `Fenced`: another
    /// instance of the job has taken this one's place.
    fn write(&mut self, sink: usize, delta: &Delta) -> Result<()>;

    /// Commits what was written since the last commit, and these records with it. `Ok`: it has been committed, also where
    /// an answer was lost on the way.
    ///
    /// # Errors
    /// As for `write`.
    fn commit(&mut self, records: &[Vec<u8>]) -> Result<()>;

    /// The first `count` of all the records since the beginning (as `records` gives them, and those committed since) are not
    /// needed any more. They may be kept.
    fn forget(&mut self, count: u64) -> Result<()> {
        let _ = count;
        Ok(())
    }
}
