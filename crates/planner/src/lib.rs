//! From SQL to a graph.
//!
//! ```text
//! text -> millstream-sql -> bind (DataFusion) -> analyze -> optimize -> lower (one match) -> exchange -> Graph
//! ```
//!
//! What the engine can't maintain correctly is refused here, with the reason.

mod aggregates;
mod analyze;
mod bind;
mod calls;
pub mod catalog;
mod clock_filter;
mod declare;
mod dialect;
mod error;
mod explain;
mod expr;
mod group_windows;
mod interval;
pub mod logical;
mod lower;
mod now;
mod paths;
mod reshape;
mod source;
mod text;
mod time;
pub mod types;
mod unnest;
mod values;
mod window_tvf;

pub use bind::Binder;
pub use catalog::Catalog;
pub use declare::declare;
pub use error::from_datafusion;
pub use explain::explain;
pub use lower::{Planned, Planner, Target, engine_schema};
pub use paths::reads_view;
pub use reshape::{arrange, rename};
pub use types::to_text;
