//! Consumer groups: the membership state machine, the committed offsets, and the coordinator around both.

pub(crate) mod coordinator;
pub(crate) mod group;
pub(crate) mod offsets;
