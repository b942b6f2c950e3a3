//! Ends a statement before its time: a cancel request on another connection, or its own timeout.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::error::SqlError;
use super::wire::Failure;

/// The connections whose statements can be cancelled, by what they were told at their start.
#[derive(Debug, Default)]
pub(crate) struct Cancels {
    connections: Mutex<HashMap<(i32, i32), watch::Sender<u64>>>,
    pid_last: AtomicI32,
}

impl Cancels {
    /// Registers a connection.
    pub(crate) fn register(self: &Arc<Self>) -> Registration {
        let pid = self
            .pid_last
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        let secret = rand::random();
        let (sender, requests) = watch::channel(0);
        self.connections.lock().insert((pid, secret), sender);
        Registration {
            cancels: Arc::clone(self),
            pid,
            secret,
            requests,
        }
    }

    /// Cancels what a connection does. A wrong secret does nothing, and is not told.
    pub(crate) fn cancel(&self, pid: i32, secret: i32) {
        if let Some(sender) = self.connections.lock().get(&(pid, secret)) {
            sender.send_modify(|count| *count += 1);
        }
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.connections.lock().len()
    }
}

/// A connection's place among those that can be cancelled; it is given up when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    cancels: Arc<Cancels>,
    pub pid: i32,
    pub secret: i32,
    requests: watch::Receiver<u64>,
}

impl Registration {
    /// Watches over a statement from now on: an earlier request is not for it.
    pub(crate) fn statement(&self, timeout: Option<Duration>) -> Interrupt {
        let mut requests = self.requests.clone();
        requests.mark_unchanged();
        Interrupt {
            requests,
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cancels
            .connections
            .lock()
            .remove(&(self.pid, self.secret));
    }
}

/// Ends a statement's work when it is cancelled or takes too long.
#[derive(Debug)]
pub(crate) struct Interrupt {
    requests: watch::Receiver<u64>,
    deadline: Option<Instant>,
}

impl Interrupt {
    /// Does work, unless the statement ends first; then the work is dropped.
    pub(crate) async fn guard<T, E: Into<Failure>>(
        &mut self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let deadline = self.deadline;
        let timeout = async move {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Ok(()) = self.requests.changed() => Err(SqlError::new("57014", "canceling statement due to user request").into()),
            () = timeout => {
                let error = SqlError::new("57014", "canceling statement due to statement timeout");
                Err(error.hint("SET statement_timeout = '10min' allows more").into())
            }
            done = work => done.map_err(Into::into),
        }
    }
}
