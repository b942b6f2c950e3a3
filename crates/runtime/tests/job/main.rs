//! Jobs over sources, operators and sinks in memory.

mod bounded;
mod fixture;
