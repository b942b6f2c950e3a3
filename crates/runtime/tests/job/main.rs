//! Jobs over sources, operators and sinks in memory.

mod bounded;
mod failures;
mod fixture;
mod growth;
mod live;
