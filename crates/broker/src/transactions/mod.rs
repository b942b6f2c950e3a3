//! Transactional producers: the state machine of one transactional id, and the coordinator that makes it durable.

pub(crate) mod coordinator;
pub(crate) mod state;
