//! millstream-runtime
