//! millstream-engine
