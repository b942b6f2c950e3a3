//! What can go wrong with a job, as its owner sees it.

use millstream_dataflow as dataflow;
use millstream_dataflow::graph::NodeId;
use std::fmt;
use std::sync::Arc;

/// The result of what a job is asked.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a job.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The outside, the data or a plan is wrong.
    #[error(transparent)]
    Dataflow(#[from] dataflow::Error),
    /// A part of the job has failed.
    #[error("{0}")]
    Failed(Failure),
    /// The job has been stopped.
    #[error("the job has stopped")]
    Stopped,
    /// There is no such node.
    #[error("the job has no node {}", .0.0)]
    UnknownNode(NodeId),
    /// The node is not a view.
    #[error("node {} is not a view", .0.0)]
    NotAView(NodeId),
    /// The node still catches up with the job.
    #[error("node {} is still catching up", .0.0)]
    CatchingUp(NodeId),
    /// The node cannot go: others need it.
    #[error("`{name}` is needed by `{consumer}`")]
    InUse {
        /// The node that was to go.
        name: String,
        /// Who needs it.
        consumer: String,
    },
    /// The graph is not one.
    #[error("the graph is not valid: {0}")]
    Graph(String),
}

/// Why a part of a job stopped: the node that failed first, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(Arc<Cause>);

#[derive(Debug, PartialEq, Eq)]
struct Cause {
    node: NodeId,
    name: String,
    error: dataflow::Error,
}

impl Failure {
    pub(crate) fn new(node: NodeId, name: impl Into<String>, error: dataflow::Error) -> Self {
        Self(Arc::new(Cause {
            node,
            name: name.into(),
            error,
        }))
    }

    /// The node that failed.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// The failed node as EXPLAIN shows it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What happened.
    pub fn error(&self) -> &dataflow::Error {
        &self.0.error
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed: {}", self.0.name, self.0.error)
    }
}

impl From<Error> for dataflow::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Dataflow(error) => error,
            Error::Failed(failure) => failure
                .error()
                .clone()
                .context(format!("`{}` failed", failure.name())),
            Error::CatchingUp(_) => Self::retryable(error.to_string()),
            Error::Stopped | Error::UnknownNode(_) | Error::NotAView(_) | Error::InUse { .. } => {
                Self::user(error.to_string())
            }
            Error::Graph(_) => Self::internal(error.to_string()),
        }
    }
}

/// What a panic said, as an error.
pub(crate) fn of_panic(payload: &(dyn std::any::Any + Send)) -> dataflow::Error {
    let said = payload
        .downcast_ref::<&str>()
        .map(|said| (*said).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    dataflow::Error::internal("a panic").detail(said.unwrap_or_else(|| "without words".to_owned()))
}

/// Runs what may panic, and gives the panic as an error.
pub(crate) fn guarded<T>(run: impl FnOnce() -> dataflow::Result<T>) -> dataflow::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .unwrap_or_else(|payload| Err(of_panic(payload.as_ref())))
}
