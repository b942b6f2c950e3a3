//! The engine: SQL in, answers out. The one place where planner, connectors, runtime and views meet.
//!
//! ```text
//! pipeline file -> script -> planner -> runtime::Job
//! psql          -> execute -> a declaration (the job grows or shrinks), or a query over one step of its views
//! ```

mod ad_hoc;
mod change;
mod describe;
mod durable;
mod engine;
mod provider;
mod replace;
mod script;
mod serving;
mod settings;
mod upgrade;
pub mod verify;

pub use engine::{Config, Engine, Response};
pub use millstream_planner::from_datafusion;
pub use millstream_runtime::{CheckpointProgress, Progress, SinkProgress, StepTimes};
pub use provider::{CATALOG, SCHEMA};
pub use script::{render, text_of};
pub use serving::{Status, ViewStatus};
pub use upgrade::{Change, Fate, saved_files};
