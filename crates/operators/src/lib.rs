//! millstream-operators
