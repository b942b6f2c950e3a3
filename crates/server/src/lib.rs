//! millstream-server
