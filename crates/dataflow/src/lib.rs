//! millstream-dataflow
