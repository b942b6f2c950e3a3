//! millstream-formats
