//! millstream-state
