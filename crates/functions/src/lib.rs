//! millstream-functions
