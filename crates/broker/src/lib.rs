//! millstream-broker
